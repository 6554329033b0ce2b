"""WAV headers that are true at every length, RF64 included (RIFF/WAVE; EBU Tech 3306).

One layout, so that a header can be written over its predecessor while the data behind it grows: a chunk of 28 bytes
right after the form type, `JUNK` below 4 GiB and `ds64` above, then `fmt `, for G.711 also `fact`, and `data`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

_RIFF = struct.Struct("<4sI4s")
_DS64 = struct.Struct("<4sIQQQI")
_FMT = struct.Struct("<4sIHHIIHH")
_CHUNK_U32 = struct.Struct("<4sII")
_DATA = struct.Struct("<4sI")
_MAX_U32 = 0xFFFFFFFF
_FMT_AT = _RIFF.size + _DS64.size


class WavError(ValueError):
    """Not a header that `header()` made; the text says what is wrong."""


class SampleFormat(enum.Enum):
    """How one sample is stored; the value is the format tag (RFC 2361 for G.711)."""

    PCM16 = 0x0001
    ALAW = 0x0006
    MULAW = 0x0007

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return 2 if self is SampleFormat.PCM16 else 1

    @property
    def silence(self) -> bytes:
        """One sample of digital silence."""
        return {SampleFormat.PCM16: b"\0\0", SampleFormat.ALAW: b"\xd5", SampleFormat.MULAW: b"\xff"}[self]

    @property
    def header_size(self) -> int:
        """Bytes in front of the first sample, the same at every length."""
        return _FMT_AT + _FMT.size + _DATA.size + (0 if self is SampleFormat.PCM16 else 2 + _CHUNK_U32.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class WavHeader:
    """What a header says."""

    channels: int
    rate: int
    format: SampleFormat
    data_bytes: int

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return self.data_bytes // (self.channels * self.format.sample_bytes)


def header(channels: int, rate: int, format: SampleFormat, data_bytes: int) -> bytes:
    """The header of a file whose data chunk holds `data_bytes` bytes (a padding byte follows an odd number).

    channels: 1..255.   rate: samples a second, 1..2**24.   Becomes RF64 when the sizes no longer fit 32 bits.
    Returns `format.header_size` bytes. Raises ValueError if an argument is out of range or cuts a frame.
    """
    frame = channels * format.sample_bytes
    if not 1 <= channels <= 255 or not 1 <= rate <= 1 << 24:
        raise ValueError(f"{channels} channels at {rate} Hz: need 1..255 channels, 1..{1 << 24} Hz")
    if data_bytes < 0 or data_bytes % frame:
        raise ValueError(f"{data_bytes} data bytes: need whole frames of {frame}")
    riff_bytes = format.header_size - 8 + data_bytes + (data_bytes & 1)
    frames = data_bytes // frame
    if riff_bytes > _MAX_U32:
        front = _RIFF.pack(b"RF64", _MAX_U32, b"WAVE")
        front += _DS64.pack(b"ds64", 28, riff_bytes, data_bytes, frames, 0)
        return front + _fmt(channels, rate, format, _MAX_U32) + _DATA.pack(b"data", _MAX_U32)
    front = _RIFF.pack(b"RIFF", riff_bytes, b"WAVE") + _DS64.pack(b"JUNK", 28, 0, 0, 0, 0)
    return front + _fmt(channels, rate, format, frames) + _DATA.pack(b"data", data_bytes)


def _fmt(channels: int, rate: int, format: SampleFormat, fact_frames: int) -> bytes:
    frame, pcm = channels * format.sample_bytes, format is SampleFormat.PCM16
    bits, size = 8 * format.sample_bytes, 16 if pcm else 18
    fmt = _FMT.pack(b"fmt ", size, format.value, channels, rate, rate * frame, frame, bits)
    return fmt if pcm else fmt + b"\0\0" + _CHUNK_U32.pack(b"fact", 4, fact_frames)


def parse_header(head: bytes) -> WavHeader:
    """Read back a header of ours from the first bytes of a file (94 are enough).

    Raises WavError if it is short or differs in a single byte from the header that its own values would give.
    """
    if len(head) < SampleFormat.PCM16.header_size:
        raise WavError(f"{len(head)} bytes are too short for a header")
    tag, channels, rate = struct.unpack_from("<HHI", head, _FMT_AT + 8)
    try:
        format = SampleFormat(tag)
        size = format.header_size
        (data_bytes,) = struct.unpack_from("<I", head, size - 4)
        if head[:4] == b"RF64":
            (data_bytes,) = struct.unpack_from("<Q", head, _RIFF.size + 16)
        expected = header(channels, rate, format, data_bytes)
    except (ValueError, struct.error) as exc:
        raise WavError(f"not a header of ours: {exc}") from exc
    if head[:size] != expected:
        at = next(
            (i for i, pair in enumerate(zip(head, expected, strict=False)) if pair[0] != pair[1]), len(head)
        )
        raise WavError(f"not a header of ours: differs at byte {at}")
    return WavHeader(channels=channels, rate=rate, format=format, data_bytes=data_bytes)
