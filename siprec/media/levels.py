"""How loud the legs of running recordings are, read from the rings while the call goes on."""

from __future__ import annotations

import math

import numpy as np

from siprec.media.rings import RingReader
from siprec.media.store import StateStore

SILENCE_DB = -96.0
QUIET_NS = 1_000_000_000
"A leg whose last packet is older than this is silent now."


def level_db(
    state: StateStore, rings: RingReader, leg: int, *, now_ns: int, window_s: float = 0.3
) -> float | None:
    """RMS of a leg's newest audio in dB below full scale; None before its first packet. now_ns: monotonic."""
    row = state.load(np.array([leg]))[0][0]
    if not row["active"] or not row["segments"]:
        return None
    if now_ns - int(row["last_ns"]) > QUIET_NS:
        return SILENCE_DB
    samples = np.empty(int(row["rate"] * window_s), np.int16)
    rings.read(leg, int(row["top_u"]) - samples.size, samples)
    power = float(np.mean(np.square(samples.astype(np.float64))))
    return max(SILENCE_DB, 10 * math.log10(power / 32768**2)) if power > 0 else SILENCE_DB
