"""Two senders on one leg: one that takes over is followed, two that go on side by side are never mixed (INTEROP 3.10, 3.11).

A leg has one sender at a time. When another SSRC of the same source begins, both are placed until it is clear what it is: the
first one stops, and the other has taken over; or both go on, and then the one that was there first goes on being recorded.
The other one is kept as it came, until the first has been silent for a while. Only legs in which another stream than
the last one has packets are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.groups import Groups
from siprec.rtp.packet import Bool
from siprec.rtp.state import Rows

I64 = npt.NDArray[np.int64]

OVERLAP_NS = 60_000_000
"Two that are heard in turn for longer go on side by side; less is the end of one and the beginning of another."
QUIET_NS = 200_000_000
"A sender that was silent for longer has given the leg away."
RIVAL_PACKETS = 4
"A few late packets of an earlier sender are no second one."


def follow(leg: Any, current: int, which: I64, arrival: I64, late: Bool) -> Bool:
    """Which packets of a leg are of a second sender and are not to be placed: bool[n]; notes in the leg's row who sends.

    leg: one LEG row, before these packets were counted in it. current: the stream (0 or 1) that sent before them. which:
    of each packet, 0 or 1; arrival: int64[n], monotonic ns, in order; late: sent before one of its stream that is here already,
    which says nothing of who sends now.
    """
    hidden = np.zeros(which.shape, np.bool_)
    if not leg["sender"]:
        before = int(leg["last_ns"])
        leg["sender"] = 1 + (current if before else int(which[0]))
        leg["sender_ns"] = before or int(arrival[0])
        leg["contest"] = leg["rivals"] = 0
    undecided: list[int] = []
    rows = zip(which.tolist(), arrival.tolist(), late.tolist(), strict=True)
    for i, (stream, at, behind) in enumerate(rows):
        if behind:
            hidden[i] = leg["contest"] and stream + 1 != leg["sender"]
        elif stream + 1 == leg["sender"]:
            leg["sender_ns"] = at
        elif at - leg["sender_ns"] > QUIET_NS:
            leg["sender"], leg["sender_ns"] = stream + 1, at
            leg["contest"] = leg["rivals"] = 0
            undecided = []
        elif leg["contest"]:
            hidden[i] = True
        else:
            if not leg["rivals"] or at - leg["rival_last_ns"] > QUIET_NS:
                leg["rival_ns"], leg["rivals"] = at, 0
                undecided = []
            leg["rivals"] += 1
            leg["rival_last_ns"] = at
            undecided.append(i)
            if leg["rivals"] >= RIVAL_PACKETS and leg["sender_ns"] - leg["rival_ns"] > OVERLAP_NS:
                leg["contest"] = 1
                hidden[undecided] = True
    over = not leg["rivals"] or int(arrival[-1]) - int(leg["rival_last_ns"]) > QUIET_NS
    if over and not leg["contest"]:
        leg["sender"] = 0
    return hidden


class Senders:
    """Who sends on the legs of a batch. legs: LEG[n], updated in place; streams: STREAM[2n], read."""

    def __init__(self, legs: Rows, streams: Rows) -> None:
        self._legs, self._streams = legs, streams

    def unusual(self, groups: Groups) -> I64:
        """Legs in which another stream than the last one sends, or did lately. groups: rows by stream."""
        leg = groups.key >> 1
        odd = ((groups.key & 1) != self._legs["current"][leg]) | (self._legs["sender"][leg] != 0)
        return np.unique(leg[odd]) if odd.any() else leg[:0]

    def second(
        self,
        which: I64,
        began: dict[int, int],
        leg: I64,
        stream: I64,
        ext: I64,
        audio: Bool,
        arrival: I64,
    ) -> Bool | None:
        """Packets of second senders on the legs `which`: bool[n], None if there is none.

        To be called before the streams' `highest` is brought up to date. began: the first stream that began in this
        batch, by leg; leg, audio, arrival, ext (extended sequence number): of every packet of the batch in order of
        arrival; stream: STREAM row of each, -1 for one that was left out.
        """
        hidden = np.zeros(leg.shape, np.bool_)
        for number in which.tolist():
            rows = np.flatnonzero((leg == number) & audio & (stream >= 0))
            if not rows.size:
                continue
            current = 1 - (began[number] & 1) if number in began else int(self._legs["current"][number])
            late = self._late(stream[rows], ext[rows])
            hidden[rows] = follow(self._legs[number], current, stream[rows] & 1, arrival[rows], late)
        return hidden if hidden.any() else None

    def _late(self, stream: I64, ext: I64) -> Bool:
        """Which packets are behind the newest of their stream: bool[n]."""
        late = np.zeros(ext.shape, np.bool_)
        for number in np.unique(stream).tolist():
            mine = np.flatnonzero(stream == number)
            newest = np.maximum.accumulate(np.append(self._streams["highest"][number], ext[mine]))
            late[mine] = ext[mine] <= newest[:-1]
        return late

    def hold(self, which: I64) -> None:
        """While a second sender goes on, the one that is recorded stays the current one of its leg."""
        held = which[self._legs["contest"][which] != 0]
        self._legs["current"][held] = self._legs["sender"][held] - 1
