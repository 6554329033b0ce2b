"""What a stream of `tests.helpers.encoders` sounds like by decoders that are not ours: ffmpeg's command, and libraries."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.helpers import codec_libraries as libraries
from tests.helpers import encoders
from tests.helpers.voices import expand

I16 = npt.NDArray[np.int16]


def decode(codec: str, payloads: list[bytes], **options: Any) -> I16:
    """The sound of payloads of `encode(codec, ..., **options)` without DTX: int16[n], mono.

    Raises subprocess.CalledProcessError where ffmpeg refuses them.
    """
    stream = b"".join(payloads)
    if codec in ("PCMU", "PCMA"):
        return expand(codec, stream)
    if codec == "L16":
        return np.frombuffer(stream, ">i2").astype(np.int16)
    if codec.startswith(("G726", "AAL2")):
        kbit = int(codec.rpartition("-")[2])
        demuxer = "g726" if codec.startswith("AAL2") else "g726le"
        return _ffmpeg(demuxer, stream, "-code_size", str(encoders.G726_BITS[kbit]))
    if codec in ("AMR", "AMR-WB"):
        return decode_amr(_amr_frames(codec, payloads, **options), wide=codec == "AMR-WB")
    if codec in _DEMUXERS:
        return _ffmpeg(_DEMUXERS[codec], stream)
    return _by_library(codec, payloads, **options)


def decode_amr(frames: list[bytes], *, wide: bool) -> I16:
    """Frames as in a file (RFC 4867 5)."""
    return _ffmpeg("amr", (b"#!AMR-WB\n" if wide else b"#!AMR\n") + b"".join(frames))


def _amr_frames(codec: str, payloads: list[bytes], *, octet_aligned: bool = False, **_: Any) -> list[bytes]:
    """As in a file, from payloads of RFC 4867 4.3 and 4.4 whose frames are all of one mode and undamaged."""
    sizes = encoders.AMR_WB_BITS if codec == "AMR-WB" else encoders.AMR_BITS
    spare = "00" * octet_aligned
    frames = []
    for payload in payloads:
        text = "".join(f"{byte:08b}" for byte in payload)[8 if octet_aligned else 4 :]
        kind = int(text[1:5], 2)
        count = 1 + next(n for n in range(len(text)) if text[n * (6 + len(spare))] == "0")
        at, size = count * (6 + len(spare)), sizes[kind]
        for _number in range(count):
            bits = text[at : at + size].ljust(-(-size // 8) * 8, "0")
            frames.append(bytes([kind << 3 | 4]) + int(bits, 2).to_bytes(len(bits) // 8, "big"))
            at += len(bits) if octet_aligned else size
    return frames


_DEMUXERS = {"G722": "g722", "GSM": "gsm", "G723": "g723_1"}


def _by_library(codec: str, payloads: list[bytes], **options: Any) -> I16:
    stream = b"".join(payloads)
    if codec == "opus":
        return libraries.decode_opus(payloads)
    if codec == "speex":
        return libraries.decode_speex(payloads, rate=options.get("rate", 8_000))
    if codec == "G729":
        return libraries.decode_g729([stream[at : at + 10] for at in range(0, len(stream), 10)])
    assert codec == "iLBC"
    mode = options.get("mode_ms", 20)
    size = {20: 38, 30: 50}[mode]
    frames_of = [stream[at : at + size] for at in range(0, len(stream), size)]
    return libraries.decode_ilbc(frames_of, mode_ms=mode)


def _ffmpeg(demuxer: str, stream: bytes, *options: str) -> I16:
    command = ["ffmpeg", "-v", "error", "-f", demuxer, *options, "-i", "-", "-f", "s16le", "-"]
    done = subprocess.run(command, input=stream, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.int16)
