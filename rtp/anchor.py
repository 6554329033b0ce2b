"""Anchoring a stream to arrival: its first packets, jumps of the timestamp, restarts and late packets.

Row by row, for the few legs of a batch in which something is unusual (INTEROP 3.11 and 3.12).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.drift import forget_clock
from siprec.rtp.event import TimelineEvent
from siprec.rtp.pace import shown_pace
from siprec.rtp.packet import Bool
from siprec.rtp.sequence import I64, U32
from siprec.rtp.state import LATE_NONE, Rows

SNAP_S = 0.1
"A new stream that begins this close behind the one before continues it: jitter, not silence."
AHEAD_MARGIN_S = 0.1
"A timestamp may run this far ahead of arrival, beside the hold-back."
STEADY_S = 0.005
"A late packet that makes up for less of the lateness before it: the sender's clock has moved, no burst catches up."
BELIEVED_S = 60.0
"A packet that seems later than this has a timestamp that says nothing about its place."


class Anchor:
    """Places the rows of one stream at a time; updates its STREAM and LEG rows."""

    def __init__(self, legs: Rows, streams: Rows, *, hold_back_s: float) -> None:
        self._legs, self._streams = legs, streams
        self.ahead_s = hold_back_s + AHEAD_MARGIN_S

    def place(
        self,
        stream: int,
        ext: I64,
        timestamp: U32,
        clock: I64,
        arrived: npt.NDArray[np.float64],
        samples: I64,
        events: list[TimelineEvent],
    ) -> tuple[I64, Bool]:
        """Ring position of each row and whether to place it: int64[k], bool[k].

        ext: extended sequence numbers; timestamp: as received; clock: of each row's codec [Hz]; arrived: in samples
        from the epoch; samples: audio of each row. All in order of arrival. Late rows are counted and left out.
        """
        row, leg = self._streams[stream], self._legs[stream >> 1]
        timestamp = self._learn_pace(row, leg, stream >> 1, ext, timestamp, clock, arrived, samples, events)
        u = np.zeros(ext.shape, np.int64)
        keep = np.zeros(ext.shape, np.bool_)
        i = 0
        while i < ext.size:
            number, at = int(ext[i]), float(arrived[i])
            if clock[i] != row["codec_clock"]:
                _change_clock(row, int(clock[i]))
            if not row["anchored"]:
                alike = clock[i:] == clock[i]
                self._first(row, leg, stream >> 1, timestamp[i:][alike], at, events)
                if not alike.all():
                    continue
                rest = self._regular(row, leg, ext[i:], timestamp[i:], arrived[i:], samples[i:])
                if rest is not None:
                    u[i:], keep[i:] = rest, True
                    break
            ext_ts = _extended(int(timestamp[i]), int(row["newest_ts"]))
            place = _place(row, leg, ext_ts)
            if self._jumped(
                row, leg, number, place, at, self._next_dev(row, leg, ext, timestamp, arrived, i)
            ):
                place = self._rebase(row, leg, stream >> 1, ext_ts, place, at, events)
            u[i] = place
            keep[i] = self._accept(row, leg, number, place, at, int(samples[i]))
            if not keep[i]:
                self._note_late(row, leg, stream >> 1, place, at, int(samples[i]), events)
            if number > row["newest"]:
                row["newest"], row["newest_u"], row["newest_ts"] = number, place, ext_ts
            if keep[i]:
                leg["top_u"] = max(int(leg["top_u"]), place + int(samples[i]))
            i += 1
        return u, keep

    def _learn_pace(
        self,
        row: Any,
        leg: Any,
        number: int,
        ext: I64,
        timestamp: U32,
        clock: I64,
        arrived: npt.NDArray[np.float64],
        samples: I64,
        events: list[TimelineEvent],
    ) -> U32:
        """See what the timestamps count; returns those to go on with. A stream that counts otherwise is anchored anew."""
        if row["numbered"]:
            return timestamp
        if (clock != clock[0]).any():
            return timestamp
        rate, nominal = int(leg["rate"]), int(clock[0])
        pace = shown_pace(nominal, ext, timestamp.astype(np.int64), arrived / rate, samples / rate)
        known = int(row["clock"]) if row["codec_clock"] == nominal else nominal
        if pace is None or (pace.clock, pace.numbered) == (known, False):
            return timestamp
        row["codec_clock"] = nominal
        row["clock"], row["numbered"], row["anchored"] = (
            rate if pace.numbered else pace.clock,
            pace.numbered,
            0,
        )
        p = int(leg["top_u"] + leg["delta"])
        events.append(TimelineEvent("pace", number, int(row["ssrc"]), p, 0 if pace.numbered else pace.clock))
        return numbered_timestamps(ext, samples) if pace.numbered else timestamp

    def _regular(
        self,
        row: Any,
        leg: Any,
        ext: I64,
        timestamp: U32,
        arrived: npt.NDArray[np.float64],
        samples: I64,
    ) -> I64 | None:
        """Places of the packets after a first anchor, all at once when nothing about them is unusual."""
        step = (timestamp.astype(np.int64) - int(timestamp[0])) & 0xFFFFFFFF
        u = int(row["u_base"]) + (int(timestamp[0]) - int(row["ts_base"]) + step) * int(leg["rate"]) // int(
            row["clock"]
        )
        p = u + int(leg["delta"])
        early = (p - arrived > self.ahead_s * leg["rate"]).any()
        outside = p[0] < leg["floor_p"] or (p + samples > leg["ceiling_p"]).any()
        if early or outside or (np.diff(ext) <= 0).any() or (np.diff(u) <= 0).any():
            return None
        row["newest"], row["newest_u"], row["newest_ts"] = ext[-1], u[-1], int(timestamp[0]) + step[-1]
        leg["top_u"] = max(int(leg["top_u"]), int(u[-1] + samples[-1]))
        return u

    def _first(
        self, row: Any, leg: Any, number: int, timestamp: U32, at: float, events: list[TimelineEvent]
    ) -> None:
        """Anchor a stream: the lowest timestamp among its first packets arrived now."""
        first = int(timestamp[0])
        place = self._join(leg, at)
        lead = 0
        if leg["segments"]:
            back = (first - timestamp.astype(np.int64)) & 0xFFFFFFFF
            near = back[back < row["clock"]]
            lead = int(near.max()) * int(leg["rate"]) // int(row["clock"]) if near.size else 0
        else:
            leg["lowest_u"] = place
        leg["segments"] += 1
        row["anchored"] = 1
        row["newest_ts"] = first
        row["ts_base"], row["u_base"] = first, place + lead
        row["newest_u"] = place + lead - 1
        row["late_dev"] = LATE_NONE
        forget_clock(row)
        events.append(TimelineEvent("anchored", number, int(row["ssrc"]), place + int(leg["delta"]), 0))

    def _join(self, leg: Any, at: float) -> int:
        """Ring position of what arrives at `at`: behind what was placed, never over it.

        A small gap is closed: with SNAP_S it is jitter of the first packet and not a pause.
        """
        place = round(at) - int(leg["delta"])
        if not leg["segments"]:
            return place
        behind = int(leg["top_u"]) - place
        if -SNAP_S * leg["rate"] <= behind <= self.ahead_s * leg["rate"]:
            return int(leg["top_u"])
        return place

    @staticmethod
    def _next_dev(
        row: Any, leg: Any, ext: I64, timestamp: U32, arrived: npt.NDArray[np.float64], i: int
    ) -> float | None:
        """How far the next packet is ahead of its arrival, if it came in this batch and in order."""
        if i + 1 >= ext.size or ext[i + 1] != ext[i] + 1:
            return None
        place = _place(row, leg, _extended(int(timestamp[i + 1]), int(row["newest_ts"])))
        return place + int(leg["delta"]) - float(arrived[i + 1])

    def _jumped(self, row: Any, leg: Any, number: int, place: int, at: float, next_dev: float | None) -> bool:
        """Whether a newer packet's timestamp cannot be true: back or standing still, or far ahead of arrival.

        Far behind arrival is a jump too, once two packets in turn are late by the same time or more: after a
        stall of the network the packets come in a burst that catches up, a sender with a moved clock does not.
        """
        if number <= row["newest"]:
            return False
        dev = place + int(leg["delta"]) - at
        late = place + int(leg["delta"]) < leg["floor_p"]
        shrinks = STEADY_S * leg["rate"]
        again = row["late_dev"] != LATE_NONE and dev - float(row["late_dev"]) < shrinks
        steady = late and (again or (next_dev is not None and next_dev - dev < shrinks))
        row["late_dev"] = round(dev) if late else LATE_NONE
        return bool(place <= row["newest_u"] or dev > self.ahead_s * leg["rate"] or steady)

    def _rebase(
        self, row: Any, leg: Any, number: int, ext_ts: int, place: int, at: float, events: list[TimelineEvent]
    ) -> int:
        moved = self._join(leg, at)
        row["ts_base"], row["u_base"] = ext_ts, moved
        row["late_dev"] = LATE_NONE
        forget_clock(row)
        events.append(
            TimelineEvent("jump", number, int(row["ssrc"]), moved + int(leg["delta"]), moved - place)
        )
        return moved

    @staticmethod
    def _note_late(
        row: Any, leg: Any, number: int, place: int, at: float, samples: int, events: list[TimelineEvent]
    ) -> None:
        """Say which place stays empty, if the packet's timestamp can be believed."""
        p = place + int(leg["delta"])
        if p < leg["floor_p"] and at - p < BELIEVED_S * leg["rate"]:
            events.append(TimelineEvent("late", number, int(row["ssrc"]), p, samples))

    def _accept(self, row: Any, leg: Any, number: int, place: int, at: float, samples: int) -> bool:
        """Whether the row is in time and the ring has room for it; counts those that are not placed.

        An earlier first packet moves a leg of which nothing was written yet.
        """
        lowest, delta = int(leg["lowest_u"]), int(leg["delta"])
        earlier = lowest - place
        unwritten = leg["segments"] == 1 and lowest + delta >= leg["floor_p"]
        if 0 < earlier <= self.ahead_s * leg["rate"] - delta and unwritten:
            leg["delta"] += earlier
            leg["lowest_u"] = place
        p = place + int(leg["delta"])
        stale = number < row["newest"] and p - at > self.ahead_s * leg["rate"]  # from before a jump
        if p < leg["floor_p"] or stale:
            leg["late"] += 1
            return False
        if p + samples > leg["ceiling_p"]:
            leg["no_room"] += 1
            return False
        return True


def _change_clock(row: Any, clock: int) -> None:
    """Another codec with another clock: the timestamps are anchored anew, behind what was placed."""
    row["codec_clock"] = row["clock"] = clock
    row["numbered"] = row["anchored"] = 0


def _place(row: Any, leg: Any, ext_ts: int) -> int:
    """Ring position of an extended timestamp."""
    since = ext_ts - int(row["ts_base"])
    return int(row["u_base"]) + since * int(leg["rate"]) // int(row["clock"])


def numbered_timestamps(ext: I64, samples: I64) -> U32:
    """Timestamps in the place of those that stand still: each packet as many samples behind the one before as it has.

    ext, samples: int64[k]; uint32[k] in samples of the leg's rate.
    """
    return ((ext * samples) & 0xFFFFFFFF).astype(np.uint32)


def _extended(timestamp: int, reference: int) -> int:
    return reference + ((timestamp - reference + 2**31) & 0xFFFFFFFF) - 2**31
