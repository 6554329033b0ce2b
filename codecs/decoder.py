"""Decoders with memory, one for each SSRC. G.711 is a table; all others but L16 are FFmpeg's, through PyAV.

What a payload stands for is `samples_in`, and a decoder gives exactly so many samples. Frames that hold no speech
(SID, NO_DATA) are silence: no sound is invented (DESIGN rule 3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

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
    GSM_FRAME,
    ILBC_SIZES,
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
Frame = tuple[bytes, int]
"Bytes for FFmpeg, None for a frame without speech; and its samples."

av.logging.set_level(None)  # what a peer sends must not fill the log; what is refused is counted

_FULL_SCALE = 32768.0
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
        return [self._decode(payload) for payload in payloads]

    def _decode(self, payload: bytes) -> I16 | DecodeError:
        count = len(payload) // (2 * self._channels)
        samples = np.frombuffer(payload, ">i2", count * self._channels).reshape(count, self._channels)
        return _mono(samples.astype(np.int16))


class _Joined:
    """G.722 and G.726: samples without frames, so that packets can be decoded in one piece."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        options = {"bits_per_coded_sample": str(codec.bits)} if codec.bits else {}
        self._av = _context(codec.form, codec.rate, options)

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        counts = [samples_in(self._codec, payload) for payload in payloads]
        samples = _decoded(self._av, b"".join(payloads), sum(counts))
        if isinstance(samples, DecodeError):
            return [samples] * len(payloads)
        return _split(samples, counts)


class _Framed:
    """Codecs of frames. `frames` takes a payload apart: (bytes for FFmpeg, samples), b"" for a frame without speech."""

    def __init__(
        self, codec: Codec, frames: Callable[[bytes], list[Frame] | None], *, together: bool
    ) -> None:
        """together: FFmpeg takes several frames at once."""
        self._codec, self._frames, self._together = codec, frames, together

    def context_of(self, size: int) -> AudioCodecContext:
        """FFmpeg's decoder for a frame of so many bytes."""
        raise NotImplementedError

    def decode_many(self, payloads: Sequence[bytes]) -> list[I16 | DecodeError]:
        taken = [self._frames(payload) for payload in payloads]
        if self._together and None not in taken:
            every = [frame for frames in taken if frames is not None for frame in frames]
            samples = self._speak(every)
            if not isinstance(samples, DecodeError):
                return _split(samples, [sum(n for _, n in frames or ()) for frames in taken])
        return [DecodeError("malformed") if frames is None else self._speak(frames) for frames in taken]

    def _speak(self, frames: list[Frame]) -> I16 | DecodeError:
        parts = []
        for data, count in self._pieces(frames):
            samples = _decoded(self.context_of(len(data)), data, count) if data else np.zeros(count, np.int16)
            if isinstance(samples, DecodeError):
                return samples
            parts.append(samples)
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def _pieces(self, frames: list[Frame]) -> Iterator[Frame]:
        if not self._together:
            yield from frames
            return
        for _, group in groupby(frames, key=lambda frame: len(frame[0])):
            same = list(group)
            yield b"".join(data for data, _ in same), sum(count for _, count in same)


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
        self._av = _context(name, codec.rate, {}, extradata=extradata)

    def context_of(self, size: int) -> AudioCodecContext:
        return self._av


class _Ilbc(_Framed):
    """Frames of 20 and of 30 ms have a decoder each."""

    def __init__(self, codec: Codec) -> None:
        super().__init__(codec, _ilbc_frames, together=False)
        self._av: dict[int, AudioCodecContext] = {}

    def context_of(self, size: int) -> AudioCodecContext:
        if size not in self._av:
            context = _context("ilbc", 8000, {}, bit_rate=15200 if size == ILBC_SIZES[0][0] else 13333)
            # FFmpeg's decoder answers to a first frame that is not silent with noise at full scale
            context.decode(av.Packet(_ILBC_SILENCE[size]))
            self._av[size] = context
        return self._av[size]


def _context(
    name: str, rate: int, options: dict[str, str], *, bit_rate: int = 0, extradata: bytes = b""
) -> AudioCodecContext:
    context = AudioCodecContext.create(name, "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout = rate, "mono"
    if bit_rate:
        context.bit_rate = bit_rate
    if extradata:
        context.extradata = extradata
    context.options = options
    context.open()
    return context


def _decoded(context: AudioCodecContext, data: bytes, count: int) -> I16 | DecodeError:
    """What FFmpeg makes of `data`: int16[count]; cut, or filled up with silence."""
    if not data:
        return np.zeros(count, np.int16)
    try:
        frames = context.decode(av.Packet(data))
    except (av.FFmpegError, ValueError) as exc:
        return DecodeError(str(exc))
    parts = [_samples(frame) for frame in frames]
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.int16)
    if samples.size < count:
        samples = np.pad(samples, (0, count - samples.size))
    return samples[:count]


def _samples(frame: av.AudioFrame) -> I16:
    """The samples of a frame as int16, mono."""
    kind = frame.format.packed.name
    channels = frame.layout.nb_channels
    dtype = np.int16 if kind == "s16" else np.float32
    planes = [np.frombuffer(memoryview(plane), dtype) for plane in frame.planes]
    if frame.format.is_planar:
        values = np.stack([plane[: frame.samples] for plane in planes], axis=1)
    else:
        values = planes[0][: frame.samples * channels].reshape(-1, channels)
    if dtype is np.float32:
        loud = np.nan_to_num(values) * _FULL_SCALE
        values = np.clip(np.rint(loud), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return _mono(values)


def _mono(values: npt.NDArray[np.int16]) -> I16:
    """int16[n, channels] to int16[n]: the mean."""
    if values.shape[1] == 1:
        return values.reshape(-1)
    mean: I16 = (values.sum(axis=1, dtype=np.int32) // values.shape[1]).astype(np.int16)
    return mean


def _split(samples: I16, counts: Sequence[int]) -> list[I16 | DecodeError]:
    ends = np.cumsum(counts).tolist()
    return [samples[end - count : end] for end, count in zip(ends, counts, strict=True)]


def _gsm_frames(payload: bytes) -> list[Frame] | None:
    whole, rest = divmod(len(payload), GSM_FRAME)
    return [(payload, 160 * whole)] if not rest else None


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
        total, value = 8 * len(payload), int.from_bytes(payload, "big")
        return [(_bits(value >> (total - at - size), size), count) for at, size in found]

    return _Plain(codec, "speex", frames, extradata=_speex_header(codec.rate))


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
    "gsm": lambda codec: _Plain(codec, "gsm", _gsm_frames, together=True),
    "g729": lambda codec: _Plain(codec, "g729", _g729_frames),
    "g723": lambda codec: _Plain(codec, "g723_1", _g723_frames),
    "ilbc": _Ilbc,
    "opus": lambda codec: _Plain(codec, "libopus", _opus_frames(codec)),
    "amr": _amr,
    "amr-octet": _amr,
    "amrwb": _amr,
    "amrwb-octet": _amr,
    "speex": _speex,
}
