"""Test streams of every codec, made by encoders that have nothing to do with our decoders, as RTP payloads."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.audio.frame import AudioFrame

from tests.helpers import codec_libraries as libraries

I16 = npt.NDArray[np.int16]

G726_BITS = {16: 2, 24: 3, 32: 4, 40: 5}
"Bits per sample by the rate [kbit/s]."
AMR_BITS = (95, 103, 118, 134, 148, 159, 204, 244, 39)
AMR_WB_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)
"Bits of a frame by its type, the last one SID (RFC 4867 3.6, 4.3)."
_NO_DATA = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A stream that is ready to be sent."""

    payloads: list[bytes]
    timestamps: list[int]
    "RTP time of each payload, the first sample's being 0: with DTX there are gaps."
    timestamp_step: int
    "Of one packet of ptime."
    clock: int
    rate: int
    "Of the samples [Hz]."
    encoding: str
    "What follows the payload type in a=rtpmap."
    fmtp: str
    "What follows it in a=fmtp; empty for none."
    delay_samples: int
    "By how much the decoded sound is later than what was encoded, in samples of `rate`: of the codec itself."


@dataclass(frozen=True, slots=True)
class _Frames:
    """payload, its place in ticks of the RTP clock."""

    payloads: list[bytes]
    timestamps: list[int]
    fmtp: str = ""


def sample_rate(codec: str, **options: Any) -> int:
    """Rate [Hz] of the samples that `encode` wants with these options."""
    if "rate" in options:
        return int(options["rate"])
    return _RATES.get(codec, 8_000)


def clock_rate(codec: str, **options: Any) -> int:
    """RTP clock [Hz]."""
    return 8_000 if codec == "G722" else sample_rate(codec, **options)


def encode(codec: str, samples: I16, *, ptime_ms: int = 20, **options: Any) -> Encoded:
    """RTP payloads of `ptime_ms` each; what does not fill one is left out.

    codec: PCMU, PCMA, G722, GSM, G723, G726-16, -24, -32, -40, AAL2-G726-16 ..., L16, opus, AMR, AMR-WB, G729, iLBC, speex.
    samples: int16[n] of `sample_rate(codec)`; int16[n, 2] for two channels. options: `rate` [Hz] of L16 and speex;
    `dtx` of opus, speex, AMR, AMR-WB; `vad` of G729; `octet_aligned` and `mode` (frame type) of AMR and AMR-WB;
    `mode_ms` of iLBC; `bit_rate` of opus. Raises KeyError for another codec, ValueError for a ptime that it has not.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    rate, clock = sample_rate(codec, **options), clock_rate(codec, **options)
    step = clock * ptime_ms // 1000
    made = _ENCODERS[codec.partition("-")[0] if codec.startswith("G726") else codec](
        codec, samples, ptime_ms, step, **options
    )
    count = f"/{channels}" if channels > 1 or codec == "opus" else ""
    return Encoded(
        payloads=made.payloads,
        timestamps=made.timestamps,
        timestamp_step=step,
        clock=clock,
        rate=rate,
        encoding=f"{codec}/{clock}" + ("/2" if codec == "opus" else count),
        fmtp=made.fmtp,
        delay_samples=_delay(codec, rate),
    )


def _delay(codec: str, rate: int) -> int:
    if codec == "speex":
        return _SPEEX_DELAYS[rate]
    return _DELAYS.get(codec, 0)


def _cut(stream: bytes, size: int, step: int) -> _Frames:
    """A stream without frames, in payloads of `size` bytes."""
    payloads = [stream[at : at + size] for at in range(0, len(stream) - size + 1, size)]
    return _Frames(payloads, [number * step for number in range(len(payloads))])


def _grouped(frames: list[bytes], frame_ms: int, ptime_ms: int, step: int) -> _Frames:
    """Frames of a constant duration, so many to a payload."""
    each = _whole(ptime_ms, frame_ms)
    payloads = [b"".join(frames[at : at + each]) for at in range(0, len(frames) - each + 1, each)]
    return _Frames(payloads, [number * step for number in range(len(payloads))])


def _whole(ptime_ms: int, frame_ms: int) -> int:
    if ptime_ms % frame_ms:
        raise ValueError(f"ptime {ptime_ms} ms: need a multiple of {frame_ms}")
    return ptime_ms // frame_ms


def _g711(codec: str, samples: I16, _ptime_ms: int, step: int) -> _Frames:
    raw = io.BytesIO()
    law = {"PCMU": "ULAW", "PCMA": "ALAW"}[codec]
    soundfile.write(raw, samples, 8_000, format="RAW", subtype=law)
    return _cut(raw.getvalue(), step, step)


def _l16(_codec: str, samples: I16, _ptime_ms: int, step: int, *, rate: int = 44_100) -> _Frames:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    return _cut(samples.astype(">i2").tobytes(), 2 * channels * step, step)


def _libav(name: str, samples: I16, rate: int, size: int, **settings: Any) -> list[bytes]:
    """Packets of an encoder of libavcodec, fed `size` samples at a time."""
    context: Any = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout, context.format = rate, "mono", "s16"
    context.options = settings.pop("options", {})
    for key, value in settings.items():
        setattr(context, key, value)
    made = []
    for at in range(0, samples.size - size + 1, size):
        frame = AudioFrame.from_ndarray(samples[at : at + size].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, at
        made += [bytes(packet) for packet in context.encode(frame)]
    return made + [bytes(packet) for packet in context.encode(None)]


def _g722(_codec: str, samples: I16, _ptime_ms: int, step: int) -> _Frames:
    return _cut(b"".join(_libav("g722", samples, 16_000, 320)), step, step)


def _g726(codec: str, samples: I16, ptime_ms: int, step: int) -> _Frames:
    """Code words from the low bits on (RFC 3551 4.5.4), or from the high ones on (ITU-T I.366.2 annex E)."""
    kbit = int(codec.rpartition("-")[2])
    name = "g726" if codec.startswith("AAL2") else "g726le"
    stream = b"".join(_libav(name, samples, 8_000, 160, bit_rate=1000 * kbit))
    return _cut(stream, ptime_ms * kbit // 8, step)


def _g723(_codec: str, samples: I16, ptime_ms: int, step: int) -> _Frames:
    return _grouped(_libav("g723_1", samples, 8_000, 240, bit_rate=6300), 30, ptime_ms, step)


def _gsm(_codec: str, samples: I16, ptime_ms: int, step: int) -> _Frames:
    return _grouped(libraries.gsm(samples), 20, ptime_ms, step)


def _ilbc(_codec: str, samples: I16, ptime_ms: int, step: int, *, mode_ms: int = 20) -> _Frames:
    made = _grouped(libraries.ilbc(samples, mode_ms=mode_ms), mode_ms, ptime_ms, step)
    return _Frames(made.payloads, made.timestamps, f"mode={mode_ms}")


def _speex(
    _codec: str, samples: I16, ptime_ms: int, step: int, *, rate: int = 8_000, dtx: bool = False
) -> _Frames:
    payloads = libraries.speex(samples, rate=rate, frames_per_packet=_whole(ptime_ms, 20), dtx=dtx)
    return _Frames(payloads, [number * step for number in range(len(payloads))])


def _opus(
    _codec: str, samples: I16, ptime_ms: int, step: int, *, dtx: bool = False, bit_rate: int = 32_000
) -> _Frames:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    packets = libraries.opus(
        np.ascontiguousarray(samples).reshape(-1),
        channels=channels,
        frame_ms=ptime_ms,
        bit_rate=bit_rate,
        dtx=dtx,
    )
    sent = [number for number, packet in enumerate(packets) if len(packet) > 2]
    fmtp = ["useinbandfec=0"] + ["stereo=1;sprop-stereo=1"] * (channels == 2) + ["usedtx=1"] * dtx
    return _Frames([packets[number] for number in sent], [number * step for number in sent], ";".join(fmtp))


def _g729(_codec: str, samples: I16, ptime_ms: int, step: int, *, vad: bool = False) -> _Frames:
    """RFC 3551 4.5.6: any number of speech frames, then at most one SID; nothing while there is nothing to say."""
    frames = libraries.g729(samples, vad=vad)
    each = _whole(ptime_ms, 10)
    payloads, timestamps = [], []
    for at in range(0, len(frames) - each + 1, each):
        for first, payload in _runs(frames[at : at + each]):
            payloads.append(payload)
            timestamps.append(at // each * step + 80 * first)
    return _Frames(payloads, timestamps, "" if vad else "annexb=no")


def _runs(frames: list[bytes]) -> list[tuple[int, bytes]]:
    """Payloads of the frames of one packet time, each with the number of its first frame."""
    runs: list[tuple[int, bytes]] = []
    open_run = False
    for number, frame in enumerate(frames):
        if frame and open_run:
            first, payload = runs.pop()
            runs.append((first, payload + frame))
        elif frame:
            runs.append((number, frame))
        open_run = len(frame) == 10
    return runs


def _amr(
    _codec: str,
    samples: I16,
    ptime_ms: int,
    step: int,
    *,
    octet_aligned: bool = False,
    mode: int = 7,
    dtx: bool = False,
) -> _Frames:
    frames = amr_frames(samples, mode=mode, dtx=dtx)
    return _amr_payloads(frames, AMR_BITS, ptime_ms, step, octet_aligned)


def amr_frames(samples: I16, *, mode: int = 7, dtx: bool = False) -> list[bytes]:
    """Frames of AMR as in a file (RFC 4867 5.3), of int16[n] of 8 kHz."""
    bit_rate = (4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200)[mode]
    options = {"dtx": str(int(dtx))}
    frames = _libav("libopencore_amrnb", samples, 8_000, 160, bit_rate=bit_rate, options=options)
    return frames[: samples.size // 160]


def _amr_wb(
    _codec: str,
    samples: I16,
    ptime_ms: int,
    step: int,
    *,
    octet_aligned: bool = False,
    mode: int = 8,
    dtx: bool = False,
) -> _Frames:
    frames = libraries.amr_wb(samples, mode=mode, dtx=dtx)
    return _amr_payloads(frames, AMR_WB_BITS, ptime_ms, step, octet_aligned)


def _amr_payloads(
    frames: list[bytes], bits: tuple[int, ...], ptime_ms: int, step: int, octet_aligned: bool
) -> _Frames:
    """Payloads of RFC 4867 4.3 and 4.4 from frames as in 5.3; one without data is not sent, unless beside others."""
    each = _whole(ptime_ms, 20)
    payloads, timestamps = [], []
    for at in range(0, len(frames) - each + 1, each):
        group = frames[at : at + each]
        if any(frame[0] >> 3 & 15 != _NO_DATA for frame in group):
            payloads.append(pack_amr(group, bits, octet_aligned=octet_aligned))
            timestamps.append(at // each * step)
    return _Frames(payloads, timestamps, "octet-align=1" if octet_aligned else "")


def pack_amr(frames: list[bytes], bits: tuple[int, ...], *, octet_aligned: bool) -> bytes:
    """One payload of frames as in a file. bits: per frame type."""
    text = "1111" + "0000" * octet_aligned
    for number, frame in enumerate(frames):
        more = number < len(frames) - 1
        text += f"{int(more)}{frame[0] >> 2 & 31:05b}" + "00" * octet_aligned
    for frame in frames:
        kind = frame[0] >> 3 & 15
        count = bits[kind] if kind < len(bits) else 0
        speech = "".join(f"{byte:08b}" for byte in frame[1:])[:count]
        text += speech + "0" * (-count % 8 if octet_aligned else 0)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


_RATES = {"G722": 16_000, "AMR-WB": 16_000, "opus": 48_000, "L16": 44_100}
_DELAYS = {"G722": 22, "opus": 312, "AMR": 40, "AMR-WB": 95, "G729": 40, "G723": 60}
_SPEEX_DELAYS = {8_000: 80, 16_000: 223, 32_000: 509}
_ENCODERS: dict[str, Callable[..., _Frames]] = {
    "PCMU": _g711,
    "PCMA": _g711,
    "G722": _g722,
    "GSM": _gsm,
    "G723": _g723,
    "G726": _g726,
    **{f"AAL2-G726-{kbit}": _g726 for kbit in G726_BITS},
    "L16": _l16,
    "opus": _opus,
    "AMR": _amr,
    "AMR-WB": _amr_wb,
    "G729": _g729,
    "iLBC": _ilbc,
    "speex": _speex,
}
CODECS = (
    "PCMU", "PCMA", "G722", "GSM", "G723", *(f"G726-{kbit}" for kbit in G726_BITS),
    *(f"AAL2-G726-{kbit}" for kbit in G726_BITS), "L16", "opus", "AMR", "AMR-WB", "G729", "iLBC", "speex",
)  # fmt: skip
"Every codec that `encode` knows."


def speech(seconds: float, rate: int = 8_000, seed: int = 1) -> I16:
    """Speech-like sound that repeats nowhere: voiced syllables, hisses and short pauses. int16[n]."""
    rng = np.random.default_rng(seed)
    size = round(seconds * rate)
    out = np.zeros(size)
    at = 0
    while at < size:
        length = int(rng.uniform(0.08, 0.26) * rate)
        sound = _voiced(length, rate, rng) if rng.random() < 0.8 else _hiss(length, rng)
        shape = np.sin(np.pi * np.arange(length) / length) ** 0.6
        part = out[at : at + length]
        part += (rng.uniform(0.5, 1.0) * shape * sound)[: part.size]
        at += length + int(rng.choice((0.0, 0.02, 0.12), p=(0.6, 0.3, 0.1)) * rate)
    noisy = 9_000 * out + 12 * rng.standard_normal(size)
    return np.clip(np.rint(noisy), -32_768, 32_767).astype(np.int16)


def _voiced(length: int, rate: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Harmonics of a gliding pitch, weighted by three formants that glide too."""
    t = np.arange(length) / rate
    pitch = rng.uniform(95, 230) * (1 + rng.uniform(-0.6, 0.6) * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = rng.uniform((280, 850, 2100), (800, 2000, 3200))[:, None] * (1 + rng.uniform(-0.5, 0.5) * t)
    out = np.zeros(length)
    for number in range(1, int(min(7_000, 0.45 * rate) / pitch.max())):
        near = (1 / (1 + ((number * pitch - formants) / 110) ** 2)).sum(axis=0)
        out += near / number**0.3 * np.sin(number * phase + rng.uniform(0, 6.28))
    return out / max(1e-9, float(np.abs(out).max(initial=0)))


def _hiss(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return 0.12 * np.diff(rng.standard_normal(length + 1))
