"""A few seconds of speech in each codec, encoded once, that a sender plays again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.helpers.encoders import Encoded, encode, sample_rate, speech
from tests.helpers.likeness import resampled

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]

SLOT_MS = 20
LOOP_S = 6
SLOTS = LOOP_S * 1000 // SLOT_MS
PAUSE_S = (2.4, 3.6)
"Where nothing is said, with DTX."
_STATIC = {"PCMU": 0, "GSM": 3, "G723": 4, "PCMA": 8, "G722": 9, "G729": 18}
_DYNAMIC = 96
_DTX_OPTIONS = {"G729": "vad", "opus": "dtx", "speex": "dtx", "AMR": "dtx", "AMR-WB": "dtx"}
_LONG_FRAMES = {"G723": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """SLOTS packet times of 20 ms, in some of which there is a packet."""

    codec: str
    payload_type: int
    encoding: str
    fmtp: str
    payloads: list[bytes]
    "One for each slot; empty where nothing is sent."
    stamps: I64
    "RTP time of each slot's packet, within the loop: int64[SLOTS]."
    period: int
    "RTP time of the whole loop."
    rate: int
    sound: I16
    "What was encoded, of `rate`."

    def heard(self, rate: int) -> I16:
        """What was encoded, at the rate of a file [Hz]: a whole loop."""
        return resampled(self.sound, self.rate, rate)

    def pause_s(self) -> float:
        """The longest time in which nothing is sent [s]."""
        sent = [slot for slot, payload in enumerate(self.payloads) if payload]
        steps = np.diff([*sent, sent[0] + SLOTS])
        return (int(steps.max()) - 1) * SLOT_MS / 1000

    def attributes(self) -> list[str]:
        """Lines of an SDP about the payload type, without `a=`."""
        lines = [f"rtpmap:{self.payload_type} {self.encoding}"]
        return lines + [f"fmtp:{self.payload_type} {self.fmtp}"] * bool(self.fmtp)


def make(codec: str, *, dtx: bool = False) -> Loop:
    """A loop of a codec as `tests.helpers.encoders` names it; `speex/16000` and `L16/8000` have a rate of their own.

    dtx: a pause is not sent, as far as the codec's own encoder finds it; others leave out its packets.
    """
    name, _, rate_text = codec.partition("/")
    options: dict[str, Any] = {"rate": int(rate_text)} if rate_text else {}
    rate = sample_rate(name, **options)
    said = speech(LOOP_S, rate, seed=21)
    if dtx:
        said[round(PAUSE_S[0] * rate) : round(PAUSE_S[1] * rate)] = 0
        if name in _DTX_OPTIONS:
            options[_DTX_OPTIONS[name]] = True
    stream = encode(name, said, ptime_ms=_LONG_FRAMES.get(name, SLOT_MS), **options)
    payloads, stamps = _slots(stream)
    if dtx and name not in _DTX_OPTIONS:
        for slot in range(round(PAUSE_S[0] * 50), round(PAUSE_S[1] * 50)):
            payloads[slot] = b""
    return Loop(
        codec=name,
        payload_type=_STATIC.get(name, _DYNAMIC),
        encoding=stream.encoding,
        fmtp=stream.fmtp,
        payloads=payloads,
        stamps=stamps,
        period=stream.clock * LOOP_S,
        rate=rate,
        sound=said,
    )


def _slots(stream: Encoded) -> tuple[list[bytes], I64]:
    """Payloads by packet time. Where two belong into one, as a SID and what follows it, the first is left out."""
    step = stream.clock * SLOT_MS // 1000
    payloads = [b""] * SLOTS
    stamps = np.arange(SLOTS, dtype=np.int64) * step
    for payload, at in zip(stream.payloads, stream.timestamps, strict=True):
        payloads[at // step], stamps[at // step] = payload, at
    return payloads, stamps
