"""Which packets are missing for good, and where in the recording they are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siprec.rtp.sequence import I64, History, lost_packets
from siprec.rtp.state import HISTORY, Rows


@dataclass(slots=True)
class LossGap:
    """Packets of one stream that never came. start, end: samples from the epoch."""

    leg: int
    start: int
    end: int
    packets: int


def find_gaps(
    legs: Rows, streams: Rows, history: History, which: I64, *, final: bool = False
) -> list[LossGap]:
    """Gaps of the streams `which` since the last call, older than one call ago (so that late ones had time).

    Streams without any loss cost a few nanoseconds. With `final` everything up to the newest packet counts.
    """
    complete = lost_packets(streams[which]) == 0
    whole = which[complete]
    streams["checked"][whole] = streams["horizon"][whole] = streams["highest"][whole]
    gaps: list[LossGap] = []
    for stream in which[~complete].tolist():
        gaps += gaps_of(legs, streams, history, stream, final=final)
    return gaps


def gaps_of(legs: Rows, streams: Rows, history: History, stream: int, *, final: bool) -> list[LossGap]:
    """`find_gaps` for one stream. What the history has forgotten is not listed; it counts all the same."""
    row = streams[stream]
    highest = int(row["highest"])
    last = highest if final else int(row["horizon"])
    first = max(int(row["checked"]), int(row["base"]), highest - HISTORY) + 1
    row["checked"], row["horizon"] = max(last, int(row["checked"])), highest
    if last < first:
        return []
    leg = stream >> 1
    delta = int(legs["delta"][leg])
    _, gaps = history.missing(stream, first, last)
    return [LossGap(leg=leg, start=u + delta, end=end + delta, packets=n) for u, end, n in gaps if end > u]


def total_lost(legs: Rows, streams: Rows, leg: int) -> int:
    """Packets of a leg that were expected and never came, over all its streams."""
    rows = np.arange(2 * leg, 2 * leg + 2)
    return int(legs["lost_before"][leg]) + int(lost_packets(streams[rows]).sum())
