"""Decoders with memory, one for each SSRC. G.711 is a table; all others but L16 are FFmpeg's, through PyAV.

What a payload stands for is `samples_in`, and a decoder gives exactly so many samples. Frames that hold no speech
(SID, NO_DATA) are silence: no sound is invented (DESIGN rule 3).
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Any, Protocol

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext

from siprec.codecs import g711
from siprec.codecs.frames import (
    AMR_BITS,
    AMRWB_BITS,
    G723_SIZES,
    G729_FRAME,
    ILBC_SIZES,
    LONGEST_S,
    MALFORMED,
    AmrFrame,
    amr_frames,
    g723_frames,
    g729_frames,
    samples_in,
    speex_frames,
)
from siprec.codecs.registry import Codec

I16 = npt.NDArray[np.int16]
Samples = npt.NDArray[Any]
"As FFmpeg's decoder gives them: int16, or float32 of full scale 1."
Frame = tuple[bytes, int]
"""Bytes for FFmpeg, b"" for a frame without speech; and its samples."""

av.logging.set_level(None)  # what a peer sends must not fill the log; what is refused is counted

_FULL_SCALE, _LARGEST = np.float32(32768), np.float32(32767)
_NO_SAMPLES: I16 = np.zeros(0, np.int16)
_ILBC_SILENCE = {
    38: bytes.fromhex("ffa6340160425555249249249241ccccccccf3cf3cf3cf3cf3cf3cf3e68b8227ee0101011616"),
    50: bytes.fromhex(
        "ffa63ffa6320300c492480000000001600a28210cf3cf3cf3ffffffffffffffffffff622c571e3e02032900a894161614050"
    ),
}
"By frame size: the first frame that an encoder makes of silence."


class DecodeError(ValueError):
    """A payload that its decoder refuses."""


class Decoder(Protocol):
    """The sound of one stream of one codec."""

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        """Decode payloads that follow each other: for each int16[samples_in(payload)], or why there is none."""


def open_decoder(codec: Codec) -> Decoder:
    """A decoder for a codec of kind AUDIO, at its beginning."""
    return _DECODERS[codec.form](codec)


class _G711:
    def __init__(self, codec: Codec) -> None:
        self._law = codec.law

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        joined = np.frombuffer(b"".join(payloads), np.uint8)[None, :]
        return _split(g711.decode_rows(self._law, joined)[0], [len(payload) for payload in payloads])


class _L16:
    def __init__(self, codec: Codec) -> None:
        self._channels = codec.channels

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        whole = 2 * self._channels
        counts = [len(payload) // whole for payload in payloads]
        # an odd last byte is of no sample
        even = [payload[: count * whole] for payload, count in zip(payloads, counts, strict=True)]
        samples = np.frombuffer(b"".join(even), ">i2").reshape(-1, self._channels)
        return _split(_mono(samples.astype(np.int16)), counts)


class _Joined:
    """G.722, G.726 and GSM: payloads that FFmpeg takes as they are, of several packets in one piece."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        options = {"bits_per_coded_sample": str(codec.bits)} if codec.bits else {}
        self._av = _Av(codec.form, codec.rate, options=options)

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        counts = [samples_in(self._codec, payload) for payload in payloads]
        if min(counts, default=0) >= 0:
            samples = self._av.decode(b"".join(payloads), sum(counts))
            if not isinstance(samples, DecodeError):
                return _split(samples, counts)
        return [
            self._av.decode(payload, count) if count >= 0 else DecodeError("malformed")
            for payload, count in zip(payloads, counts, strict=True)
        ]


class _Framed(ABC):
    """Codecs of frames. `frames` takes a payload apart: (bytes for FFmpeg, samples), b"" for a frame without speech."""

    def __init__(
        self, codec: Codec, frames: Callable[[bytes], list[Frame] | None], *, together: bool
    ) -> None:
        """together: FFmpeg takes several frames at once."""
        self._codec, self._frames, self._together = codec, frames, together

    @abstractmethod
    def decoder_of(self, size: int) -> _Av:
        """FFmpeg's decoder for a frame of so many bytes."""

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        taken = [self._taken(payload) for payload in payloads]
        if self._together and None not in taken:
            every = [frame for frames in taken if frames is not None for frame in frames]
            samples = self._speak(every)
            if not isinstance(samples, DecodeError):
                return _split(samples, [sum(n for _, n in frames or ()) for frames in taken])
        return [DecodeError("malformed") if frames is None else self._speak(frames) for frames in taken]

    def _taken(self, payload: bytes) -> list[Frame] | None:
        """The frames of a payload, None if it is malformed: as `samples_in` says."""
        frames = self._frames(payload)
        if frames and sum([n for _, n in frames]) > LONGEST_S * self._codec.rate:
            return None
        return frames

    def _speak(self, frames: list[Frame]) -> Samples | DecodeError:
        if len(frames) == 1 and (only := frames[0])[0]:
            return self.decoder_of(len(only[0])).decode(*only)
        parts = []
        for data, count in self._pieces(frames):
            samples = self.decoder_of(len(data)).decode(data, count) if data else np.zeros(count, np.int16)
            if isinstance(samples, DecodeError):
                return samples
            parts.append(samples)
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else _NO_SAMPLES

    def _pieces(self, frames: list[Frame]) -> list[Frame]:
        """The frames, those that FFmpeg takes together in one; a frame without speech stands alone."""
        if not self._together or len(frames) < 2:
            return frames
        pieces = []
        for silent, group in groupby(frames, key=lambda frame: not frame[0]):
            same = list(group)
            data = b"" if silent else b"".join([data for data, _ in same])
            pieces.append((data, sum([count for _, count in same])))
        return pieces


class _Plain(_Framed):
    """One FFmpeg decoder for all frames."""

    def __init__(
        self,
        codec: Codec,
        name: str,
        frames: Callable[[bytes], list[Frame] | None],
        *,
        together: bool = False,
        extradata: bytes = b"",
    ) -> None:
        super().__init__(codec, frames, together=together)
        self._av = _Av(name, codec.rate, extradata=extradata)

    def decoder_of(self, size: int) -> _Av:
        return self._av


class _Floating(_Plain):
    """FFmpeg's decoder gives floats: those of all packets become integers at once."""

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        decoded = super().decode_many(payloads)
        good = [samples for samples in decoded if not isinstance(samples, DecodeError)]
        if not good:
            return decoded
        whole = iter(_split(_to_integers(np.concatenate(good)), [samples.size for samples in good]))
        return [samples if isinstance(samples, DecodeError) else next(whole) for samples in decoded]


class _Ilbc(_Framed):
    """Frames of 20 and of 30 ms have a decoder each."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec, _ilbc_frames, together=False)
        self._av: dict[int, _Av] = {}

    def decoder_of(self, size: int) -> _Av:
        if size not in self._av:
            decoder = _Av("ilbc", 8000, bit_rate=15200 if size == ILBC_SIZES[0][0] else 13333)
            # FFmpeg's decoder answers to a first frame that is not silent with noise at full scale
            decoder.decode(_ILBC_SILENCE[size], 0)
            self._av[size] = decoder
        return self._av[size]


class _Av:
    """A decoder of FFmpeg's for mono."""

    def __init__(
        self,
        name: str,
        rate: int,
        *,
        options: dict[str, str] | None = None,
        bit_rate: int = 0,
        extradata: bytes = b"",
    ) -> None:
        context = AudioCodecContext.create(name, "r")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout = rate, "mono"
        if bit_rate:
            context.bit_rate = bit_rate
        if extradata:
            context.extradata = extradata
        context.options = options or {}
        context.open()
        self._context = context
        self._read: Callable[[av.AudioFrame], Samples] | None = None
        "For the form of its frames, which does not change."

    def decode(self, data: bytes, count: int) -> Samples | DecodeError:
        """What FFmpeg makes of `data`: [count]; cut, or filled up with silence."""
        if not data:
            return np.zeros(count, np.int16)
        try:
            frames = self._context.decode(av.Packet(data))
        except (av.FFmpegError, ValueError) as exc:
            return DecodeError(str(exc))
        if not frames:
            return np.zeros(count, np.int16)
        read = self._read
        if read is None:
            read = self._read = _reader(frames[0])
        samples = read(frames[0]) if len(frames) == 1 else np.concatenate(list(map(read, frames)))
        if samples.size == count:
            return samples
        if samples.size < count:
            samples = np.pad(samples, (0, count - samples.size))
        return samples[:count]


def _reader(frame: av.AudioFrame) -> Callable[[av.AudioFrame], Samples]:
    """How to read frames like this one: all decoders here give one channel, of 16-bit integers or of floats."""
    form = frame.format.packed.name
    if frame.layout.nb_channels != 1 or form not in ("s16", "flt"):
        raise AssertionError(f"{frame.layout.nb_channels} channels of {form}")
    return _integers if form == "s16" else _floats


def _integers(frame: av.AudioFrame) -> Samples:
    return np.frombuffer(memoryview(frame.planes[0]), np.int16, frame.samples)


def _floats(frame: av.AudioFrame) -> Samples:
    return np.frombuffer(memoryview(frame.planes[0]), np.float32, frame.samples)


def _to_integers(values: Samples) -> I16:
    scaled = values * _FULL_SCALE
    np.rint(scaled, out=scaled)
    np.fmin(scaled, _LARGEST, out=scaled)  # unlike `clip`, these leave no NaN
    np.fmax(scaled, -_FULL_SCALE, out=scaled)
    return scaled.astype(np.int16)


def _mono(values: npt.NDArray[np.int16]) -> I16:
    """int16[n, channels] to int16[n]: the mean."""
    if values.shape[1] == 1:
        return values.reshape(-1)
    mean: I16 = (values.sum(axis=1, dtype=np.int32) // values.shape[1]).astype(np.int16)
    return mean


def _split(samples: I16, counts: Sequence[int]) -> list[I16 | DecodeError]:
    return [samples[end - count : end] for end, count in zip(accumulate(counts), counts, strict=True)]


def _g729_frames(payload: bytes) -> list[Frame] | None:
    if g729_frames(payload) == MALFORMED:
        return None
    whole = len(payload) // G729_FRAME
    frames: list[Frame] = [(payload[: whole * G729_FRAME], 80 * whole)] if whole else []
    if len(payload) % G729_FRAME:
        frames.append((b"", 80))
    return frames


def _g723_frames(payload: bytes) -> list[Frame] | None:
    frames = g723_frames(payload)
    if frames is None:
        return None
    return [(frame if len(frame) >= G723_SIZES[1] else b"", 240) for frame in frames]


def _ilbc_frames(payload: bytes) -> list[Frame] | None:
    for size, count in ILBC_SIZES:
        if len(payload) % size == 0:
            return [(payload[at : at + size], count) for at in range(0, len(payload), size)]
    return None


def _opus_frames(codec: Codec) -> Callable[[bytes], list[Frame] | None]:
    def frames(payload: bytes) -> list[Frame] | None:
        count = samples_in(codec, payload)
        return [(payload, count)] if count >= 0 else None

    return frames


def _amr_frames(bits: tuple[int, ...], count: int, *, octets: bool) -> Callable[[bytes], list[Frame] | None]:
    """Frames as in a file (RFC 4867 5.3): a byte with type and quality, then the bits."""

    def stored(frame: AmrFrame) -> bytes:
        silent = frame.type >= len(bits) - 1  # SID, or no data
        return b"" if silent else bytes((frame.type << 3 | frame.good << 2,)) + frame.data

    def frames(payload: bytes) -> list[Frame] | None:
        found = amr_frames(payload, bits, octets=octets)
        return [(stored(frame), count) for frame in found] if found is not None else None

    return frames


def _amr(codec: Codec) -> Decoder:
    octets = codec.form.endswith("-octet")
    if codec.form.startswith("amrwb"):
        return _Plain(codec, "libopencore_amrwb", _amr_frames(AMRWB_BITS, 320, octets=octets))
    return _Plain(codec, "libopencore_amrnb", _amr_frames(AMR_BITS, 160, octets=octets))


def _speex(codec: Codec) -> Decoder:
    """Frames that do not begin at a byte are moved there; what is left of the last byte says that nothing follows."""
    count = codec.rate // 50

    def frames(payload: bytes) -> list[Frame] | None:
        found = speex_frames(payload)
        if found is None:
            return None
        if len(found) == 1:
            return [(payload, count)]
        total, value = 8 * len(payload), int.from_bytes(payload, "big")
        return [(_bits(value >> (total - at - size), size), count) for at, size in found]

    return _Floating(codec, "speex", frames, extradata=_speex_header(codec.rate))


def _bits(value: int, size: int) -> bytes:
    """The lowest `size` bits of a value, from a byte on, with Speex's terminator (0, then ones) behind them."""
    padding = -size % 8
    filled = (value & ((1 << size) - 1)) << padding | ((1 << padding) - 1 >> 1)
    return filled.to_bytes((size + padding) // 8, "big")


def _speex_header(rate: int) -> bytes:
    """The header packet that RTP does not carry (Speex manual, table 7.1): FFmpeg takes the mode from it."""
    mode = {8000: 0, 16000: 1, 32000: 2}[rate]
    fields = (1, 80, rate, mode, 4, 1, -1, rate // 50, 0, 1, 0, 0, 0)
    return b"Speex   " + b"1.2".ljust(20, b"\0") + struct.pack("<13i", *fields)


_DECODERS: dict[str, Callable[[Codec], Decoder]] = {
    "g711": _G711,
    "l16": _L16,
    "g722": _Joined,
    "g726": _Joined,
    "g726le": _Joined,
    "gsm": _Joined,
    "g729": lambda codec: _Plain(codec, "g729", _g729_frames, together=True),
    "g723": lambda codec: _Plain(codec, "g723_1", _g723_frames),
    "ilbc": _Ilbc,
    "opus": lambda codec: _Plain(codec, "libopus", _opus_frames(codec)),
    "amr": _amr,
    "amr-octet": _amr,
    "amrwb": _amr,
    "amrwb-octet": _amr,
    "speex": _speex,
}
