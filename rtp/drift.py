"""Sender clocks that run false: what a stream gains or loses against arrival is taken back in small pieces.

A sender's clock may be off by some hundred ppm, and two legs of an hour-long call would end up a second apart. Of
each `WINDOW` packets the one with the least delay says where the stream stands against arrival (INTEROP 3.12). A path that
becomes longer or shorter moves that at once, a false clock slowly: only the latter is followed, so that a sender whose
clock is true keeps every sample (DESIGN rule 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.event import TimelineEvent
from siprec.rtp.state import Rows

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

WINDOW = 500
"Packets over which the least delay is looked for: 10 s of 20 ms."
STEP_S = 0.02
"Between two windows, a change above this is of the path and not of the clock (2,000 ppm)."
TOLERANCE_S = 0.06
"A stream may run this far from where it stood at first."
SLIP_S = 0.01
"What is taken back at a time."


def forget_clock(stream: Any) -> None:
    """Begin to watch a stream anew. stream: one STREAM row, or rows."""
    stream["lead"], stream["lead_before"], stream["lead_base"], stream["heard"] = -np.inf, np.nan, np.nan, 0


def note_lead(streams: Rows, key: I64, lead: F64, packets: I64) -> I64:
    """Take in a batch; returns the streams whose window is full.

    key: int64[g], streams; lead: float64[g], the furthest that a packet of each ran ahead of its arrival, in samples;
    packets: int64[g].
    """
    streams["lead"][key] = np.maximum(streams["lead"][key], lead)
    streams["heard"][key] += packets
    return key[streams["heard"][key] >= WINDOW]


def follow_clocks(legs: Rows, streams: Rows, which: I64) -> list[TimelineEvent]:
    """End the window of the streams `which`, and move those that have run away by one slip."""
    row = streams[which]
    rate = legs["rate"][which >> 1]
    lead, before = row["lead"], row["lead_before"]
    step = np.where(np.isnan(before), 0.0, lead - before)
    base = np.where(np.isnan(before), lead, row["lead_base"])
    base = np.where(np.abs(step) > STEP_S * rate, base + step, base)
    away = np.abs(lead - base) > TOLERANCE_S * rate
    slip = np.where(away, np.sign(lead - base) * np.rint(SLIP_S * rate), 0.0)
    slip = np.where(np.isfinite(slip), slip, 0.0)
    streams["lead_base"][which], streams["lead_before"][which] = base, lead - slip
    streams["lead"][which], streams["heard"][which] = -np.inf, 0
    return _slip(legs, streams, which[slip != 0], slip[slip != 0].astype(np.int64))


def _slip(legs: Rows, streams: Rows, which: I64, slip: I64) -> list[TimelineEvent]:
    """Place what comes next `slip` samples earlier."""
    streams["u_base"][which] -= slip
    streams["newest_u"][which] -= slip
    streams["transit"][which] += slip
    leg = which >> 1
    at = streams["newest_u"][which] + legs["delta"][leg]
    rows = zip(leg.tolist(), streams["ssrc"][which].tolist(), at.tolist(), (-slip).tolist(), strict=True)
    return [TimelineEvent("drift", number, ssrc, p, moved) for number, ssrc, p, moved in rows]
