"""Whether recordings of loops are what was sent: length, losses, verdict, and the sound of each channel.

G.711 in a file of its own rate is compared sample by sample, a packet that was left out being silence; all else by likeness.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.loops import SLOT_MS, SLOTS, Loop
from siprec.codecs import g711
from tests.helpers.likeness import correlation

I16 = npt.NDArray[np.int16]

LEAST_LIKENESS, LEAST_WITH_LOSS = 0.7, 0.5
"Speech codecs come to 0.85 to 0.95 on their own; after a loss a decoder needs some time to be right again."
_LENGTH_S = 0.25
"By which a call may be longer than what its legs sent: set-up, jitter, the end."
_TABLES = {"PCMU": g711.ULAW, "PCMA": g711.ALAW}
_LAW_RATE = 8_000
_GAP_S = 1.0
"From here on what is missing at one place is a gap to the verdict."


def verify(recordings: Path, calls: Sequence[dict[str, Any]], loops: Sequence[Loop]) -> dict[str, Any]:
    """Compare every recording of an answered call with what was counted and sent."""
    documents = [json.loads(path.read_text()) for path in recordings.rglob("recording.json")]
    by_call = {document["dialogs"][0]["call_id"]: document for document in documents}
    known: dict[tuple[int, int], I16] = {}
    verified = recorded = exact = 0
    faults: dict[str, int] = {}
    likeness = [1.0]
    for call in calls:
        document = by_call.get(call["call_id"])
        if document is None:
            faults["missing"] = faults.get("missing", 0) + 1
            continue
        recorded += sum(leg["packets"] for leg in document["legs"])
        audio, rate = soundfile.read(document["path"], dtype="int16", always_2d=True)
        wrong = _counted(document, call, audio.shape[0] / rate, loops)
        for side, loop in enumerate(loops):
            if rate == _LAW_RATE and loop.codec in _TABLES:
                exact += 1
                wrong += ["samples"] * (not is_verbatim(audio[:, side], loop, call, side))
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
        "channels_by_sample": exact,
        "least_likeness": round(min(likeness), 3),
        **{f"wrong_{fault}": count for fault, count in sorted(faults.items())},
    }


def _counted(
    document: dict[str, Any], call: dict[str, Any], length_s: float, loops: Sequence[Loop]
) -> list[str]:
    """What is wrong with length, counts and verdict."""
    legs, wrong = document["legs"], []
    talked_s = max(call["slots"]) * SLOT_MS / 1000
    if not talked_s - 0.1 <= length_s <= talked_s + _LENGTH_S:
        wrong.append("length")
    if [leg["packets"] for leg in legs] != call["sent"]:
        wrong.append("packets")
    if [leg["lost"] for leg in legs] != call["lost"]:
        wrong.append("lost")
    reasons = set(document["verdict"]["reasons"])
    if any(call["lost"]) and max(loop.pause_s() for loop in loops) >= _GAP_S:
        reasons = {"loss" if reason == "gap" else reason for reason in reasons}  # lost beside a pause
    if reasons != ({"loss"} if any(call["lost"]) else set()):
        wrong.append("verdict")
    return wrong


def is_verbatim(channel: I16, loop: Loop, call: dict[str, Any], side: int) -> bool:
    """Whether a channel has all G.711 samples of a leg, but silence for so many packets as were left out."""
    slots, frame = call["slots"][side], _LAW_RATE * SLOT_MS // 1000
    wanted = np.zeros((slots, frame), np.int16)
    for slot in range(slots):
        payload = loop.payloads[(call["first"][side] + slot) % SLOTS]
        wanted[slot, : len(payload)] = _TABLES[loop.codec][np.frombuffer(payload, np.uint8)]
    sound, heard = np.flatnonzero(wanted), np.flatnonzero(channel)
    if not sound.size or not heard.size:
        return not sound.size and not heard.size
    start = int(heard[0]) - int(sound[0])  # the first packet of a leg is never left out
    end = start + wanted.size
    if start < 0 or int(heard[-1]) >= end:
        return False
    got = np.zeros(wanted.size, np.int16)
    part = channel[start:end]  # the file may end in the middle of a packet that was left out
    got[: part.size] = part
    frames = got.reshape(wanted.shape)
    there = (frames == wanted).all(axis=1)
    newest = int(np.flatnonzero(frames.any(axis=1))[-1])
    left_out = np.flatnonzero(~there[:newest])
    return not frames[~there].any() and left_out.size == call["lost"][side]


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
