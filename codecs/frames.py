"""What a payload holds, by its size and its first bits: how many samples, and where its frames are.

Nothing is decoded here, and nothing raises: whatever the bytes are, the answer is a number. Sizes are those of RFC 3551 4.5
and of the payload format of each codec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from siprec.codecs.registry import CODECS, Codec

MALFORMED = -1
LONGEST_S = 1
"A packet that says that it holds more is lying: frames without speech have a few bits, and 1,500 bytes of them are a minute."
OPUS_LONGEST = 5760
"Samples of a packet at 48 kHz: 120 ms (RFC 6716 3.2.5)."
_OPUS_SILK = (480, 960, 1920, 2880)
_OPUS_HYBRID = (480, 960)
_OPUS_CELT = (120, 240, 480, 960)
G723_SIZES = (24, 20, 4, 1)
"Bytes of a G.723.1 frame by its two lowest bits; the last two hold no speech (RFC 3551 4.5.3)."
G729_FRAME, G729_SID = 10, 2
ILBC_SIZES = ((38, 160), (50, 240))
"Bytes and samples of a frame of 20 and of 30 ms (RFC 3952 3)."
GSM_FRAME = 33
AMR_BITS = (95, 103, 118, 134, 148, 159, 204, 244, 39)
"Bits by frame type (RFC 4867 table 1 and 3GPP TS 26.101); the last one is SID."
AMRWB_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)
_NO_DATA = 15
_SPEECH_LOST = 14
SPEEX_NARROW = (5, 43, 119, 160, 220, 300, 364, 492, 79)
"Bits of a narrow-band frame by its mode, with the flag and mode bits (Speex manual, table 9.2)."
SPEEX_WIDE = (4, 36, 112, 192, 352)
"Bits of a layer above."
_SPEEX_END = 15


def samples_in(codec: Codec, payload: bytes) -> int:
    """Samples at the codec's rate, of one channel, that a payload stands for; 0 for none, MALFORMED if it cannot be one."""
    if not payload:
        return 0
    samples = _SAMPLES[codec.form](codec, payload)
    return samples if samples <= codec.rate * LONGEST_S else MALFORMED


def g729_frames(payload: bytes) -> int:
    """Frames of 10 ms, the last of which may be a SID of 2 bytes; MALFORMED if the size does not fit."""
    whole, rest = divmod(len(payload), G729_FRAME)
    if rest not in (0, G729_SID):
        return MALFORMED
    return whole + (rest == G729_SID)


def g723_frames(payload: bytes) -> list[bytes] | None:
    """The frames of 30 ms; None if the last one is cut."""
    frames, at = [], 0
    while at < len(payload):
        size = G723_SIZES[payload[at] & 3]
        frames.append(payload[at : at + size])
        at += size
    return frames if at == len(payload) else None


@dataclass(frozen=True, slots=True)
class AmrFrame:
    """A frame of 20 ms: its type, whether it is undamaged, its bits as bytes, the first bit highest."""

    type: int
    good: bool
    data: bytes


def amr_frames(payload: bytes, bits: tuple[int, ...], *, octets: bool) -> list[AmrFrame] | None:
    """The frames of a payload of AMR or AMR-WB (RFC 4867 4.3, 4.4), one channel; None if it is malformed.

    bits: by frame type. octets: octet-aligned, else bandwidth-efficient.
    """
    total = 8 * len(payload)
    value = int.from_bytes(payload, "big")
    at, entry = (8, 8) if octets else (4, 6)
    contents: list[tuple[int, bool]] = []
    more = True
    while more:
        if at + entry > total:
            return None
        field = value >> (total - at - 6) & 0x3F
        more, kind, good = bool(field & 0x20), field >> 1 & 0x0F, bool(field & 1)
        contents.append((kind, good))
        at += entry
    frames = []
    for kind, good in contents:
        size = _amr_size(kind, bits)
        if size < 0 or at + size > total:
            return None
        padding = -size % 8
        data = (value >> (total - at - size) & ((1 << size) - 1)) << padding
        frames.append(AmrFrame(kind, good, data.to_bytes((size + 7) // 8, "big")))
        at += size + (padding if octets else 0)
    return frames


def _amr_size(kind: int, bits: tuple[int, ...]) -> int:
    if kind < len(bits):
        return bits[kind]
    return 0 if kind == _NO_DATA or (kind == _SPEECH_LOST and bits is AMRWB_BITS) else -1


@lru_cache(4096)  # asked twice for each packet of a tick: how long it is, and how to decode it
def speex_frames(payload: bytes) -> list[tuple[int, int]] | None:
    """First bit and number of bits of each frame, with the layers above it (RFC 5574 3.3); None if one is cut."""
    total, value = 8 * len(payload), int.from_bytes(payload, "big")
    frames: list[tuple[int, int]] = []
    at = 0
    while total - at >= SPEEX_NARROW[0]:
        if value >> (total - at - 1) & 1:  # a layer above the frame before
            mode = value >> (total - at - 4) & 7
            if not frames or mode >= len(SPEEX_WIDE):
                return None
            size = SPEEX_WIDE[mode]
            frames[-1] = (frames[-1][0], frames[-1][1] + size)
        else:
            mode = value >> (total - at - 5) & 15
            if mode == _SPEEX_END:
                break
            if mode >= len(SPEEX_NARROW):
                return None
            size = SPEEX_NARROW[mode]
            frames.append((at, size))
        at += size
        if at > total:
            return None
    return frames


def _g711(_: Codec, payload: bytes) -> int:
    return len(payload)


def _g722(_: Codec, payload: bytes) -> int:
    return 2 * len(payload)


def _g726(codec: Codec, payload: bytes) -> int:
    return 8 * len(payload) // codec.bits


def _l16(codec: Codec, payload: bytes) -> int:
    return len(payload) // (2 * codec.channels)


def _gsm(_: Codec, payload: bytes) -> int:
    return 160 * (len(payload) // GSM_FRAME) if len(payload) % GSM_FRAME == 0 else MALFORMED


def _g729(_: Codec, payload: bytes) -> int:
    frames = g729_frames(payload)
    return 80 * frames if frames > 0 else MALFORMED


def _g723(_: Codec, payload: bytes) -> int:
    frames = g723_frames(payload)
    return 240 * len(frames) if frames is not None else MALFORMED


def _ilbc(_: Codec, payload: bytes) -> int:
    return next((n * (len(payload) // size) for size, n in ILBC_SIZES if len(payload) % size == 0), MALFORMED)


def _opus(_: Codec, payload: bytes) -> int:
    """RFC 6716 3.1 and 3.2."""
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = _OPUS_SILK[config & 3]
    else:
        frame = _OPUS_HYBRID[config & 1] if config < 16 else _OPUS_CELT[config & 3]
    count = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[code]
    if code == 1 and len(payload) % 2 == 0:
        return MALFORMED
    return frame * count if 0 < frame * count <= OPUS_LONGEST else MALFORMED


def _amr(bits: tuple[int, ...], frame: int, *, octets: bool) -> Callable[[Codec, bytes], int]:
    def samples(_: Codec, payload: bytes) -> int:
        frames = amr_frames(payload, bits, octets=octets)
        return frame * len(frames) if frames is not None else MALFORMED

    return samples


def _speex(codec: Codec, payload: bytes) -> int:
    frames = speex_frames(payload)
    return len(frames) * codec.rate // 50 if frames is not None else MALFORMED


def _frame_of(codec: Codec) -> tuple[int, int]:
    """Bytes and samples of the smallest whole of a codec of constant size; (0, 0) for the others."""
    sizes = {"g711": (1, 1), "g722": (1, 2), "gsm": (GSM_FRAME, 160)}
    return sizes.get(codec.form, (0, 0))


FRAME_BYTES, FRAME_SAMPLES = (
    np.array(column, np.int64) for column in zip(*map(_frame_of, CODECS), strict=True)
)
"""int64[codecs], by number: `samples_in` in columns, where a payload is so many bytes for so many samples; 0 where its
content has to be looked at."""

_SAMPLES: dict[str, Callable[[Codec, bytes], int]] = {
    "g711": _g711,
    "g722": _g722,
    "g726": _g726,
    "g726le": _g726,
    "l16": _l16,
    "gsm": _gsm,
    "g729": _g729,
    "g723": _g723,
    "ilbc": _ilbc,
    "opus": _opus,
    "amr": _amr(AMR_BITS, 160, octets=False),
    "amr-octet": _amr(AMR_BITS, 160, octets=True),
    "amrwb": _amr(AMRWB_BITS, 320, octets=False),
    "amrwb-octet": _amr(AMRWB_BITS, 320, octets=True),
    "speex": _speex,
}
