"""Whether recordings of loops are what was sent: length, losses, verdict, and likeness of each channel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.loops import SLOT_MS, Loop
from tests.helpers.likeness import correlation

I16 = npt.NDArray[np.int16]

LEAST_LIKENESS, LEAST_WITH_LOSS = 0.7, 0.5
"Speech codecs come to 0.85 to 0.95 on their own; after a loss a decoder needs some time to be right again."
_LENGTH_S = 0.25
"By which a call may be longer than what its legs sent: set-up, jitter, the end."


def verify(recordings: Path, calls: Sequence[dict[str, Any]], loops: Sequence[Loop]) -> dict[str, Any]:
    """Compare every recording of an answered call with what was counted and sent."""
    documents = [json.loads(path.read_text()) for path in recordings.rglob("recording.json")]
    by_call = {document["dialogs"][0]["call_id"]: document for document in documents}
    known: dict[tuple[int, int], I16] = {}
    verified = recorded = 0
    faults: dict[str, int] = {}
    likeness = [1.0]
    for call in calls:
        document = by_call.get(call["call_id"])
        if document is None:
            faults["missing"] = faults.get("missing", 0) + 1
            continue
        recorded += sum(leg["packets"] for leg in document["legs"])
        audio, rate = soundfile.read(document["path"], dtype="int16", always_2d=True)
        wrong = _counted(document, call, audio.shape[0] / rate)
        for side, loop in enumerate(loops):
            if (side, rate) not in known:
                known[side, rate] = loop.heard(rate)
            alike = _likeness(audio[:, side], known[side, rate])
            likeness.append(alike)
            least = LEAST_WITH_LOSS if any(call["lost"]) else LEAST_LIKENESS
            wrong += ["likeness"] * (alike < least)
        verified += not wrong
        for fault in set(wrong):
            faults[fault] = faults.get(fault, 0) + 1
    return {
        "packets_sent": sum(sum(call["sent"]) for call in calls),
        "packets_recorded": recorded,
        "packets_left_out": sum(sum(call["lost"]) for call in calls),
        "recordings_verified": verified,
        "least_likeness": round(min(likeness), 3),
        **{f"wrong_{fault}": count for fault, count in sorted(faults.items())},
    }


def _counted(document: dict[str, Any], call: dict[str, Any], length_s: float) -> list[str]:
    """What is wrong with length, counts and verdict."""
    legs, wrong = document["legs"], []
    talked_s = max(call["slots"]) * SLOT_MS / 1000
    if not talked_s - 0.1 <= length_s <= talked_s + _LENGTH_S:
        wrong.append("length")
    if [leg["packets"] for leg in legs] != call["sent"]:
        wrong.append("packets")
    if [leg["lost"] for leg in legs] != call["lost"]:
        wrong.append("lost")
    reasons = ["loss"] if any(call["lost"]) else []
    if document["verdict"]["reasons"] != reasons:
        wrong.append("verdict")
    return wrong


def _likeness(channel: I16, loop: I16) -> float:
    """Correlation of a channel with its loop, repeated, where that fits best."""
    folded = np.zeros(loop.size)
    for at in range(0, channel.size, loop.size):
        part = channel[at : at + loop.size]
        folded[: part.size] += part
    spectrum = np.fft.rfft(folded) * np.conj(np.fft.rfft(loop))
    lag = int(np.argmax(np.fft.irfft(spectrum, loop.size)))
    heard = np.flatnonzero(channel)
    if not heard.size:
        return 0.0
    wanted = loop[(np.arange(channel.size) - lag) % loop.size]
    span = slice(int(heard[0]), int(heard[-1]) + 1)
    return correlation(channel[span], wanted[span])
