"""Where each packet's audio belongs on the call's clock, for all streams of a batch at once.

A packet's place comes from its RTP timestamp, anchored to arrival at the first packet of a stream (DESIGN rule 3).
There is no jitter buffer to sort: audio is written into a ring at its place, and the writer takes what is
older than the hold-back. Reordering, loss, DTX and wraps need no code of their own. What does not fit the
arrival clock (a jump, a restart, a late packet) goes row by row through `siprec.rtp.anchor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siprec.rtp.anchor import Anchor, numbered_timestamps
from siprec.rtp.drift import follow_clocks, note_lead
from siprec.rtp.event import TimelineEvent
from siprec.rtp.groups import Groups, stable_order
from siprec.rtp.loss import LossGap, gaps_of
from siprec.rtp.packet import Bool
from siprec.rtp.senders import Senders
from siprec.rtp.sequence import (
    I32,
    I64,
    U32,
    History,
    StreamChange,
    after_outage,
    assign_known,
    assign_leg,
    delta16,
    delta32,
)
from siprec.rtp.state import Rows
from siprec.rtp.stats import update_jitter

__all__ = ["Batch", "Placement", "Timeline"]

_YOUNG = 64
"Packets within which a stream's timestamps are watched for what they count."
_LEAP = 64
"Packets missing in a row from which on the gap is noted at once: soon the history has forgotten its edges."


@dataclass(slots=True)
class Batch:
    """Accepted RTP packets, rows of one leg together and in order of arrival."""

    number: int
    leg: I64
    seq: I32
    timestamp: U32
    ssrc: U32
    arrival_ns: I64
    "Monotonic."
    audio: Bool
    "Rows whose audio is to be placed; the others (events, comfort noise) only count in the sequence."
    samples: I64
    "Samples of audio at the leg's rate."
    clock: I64
    "What the timestamps count by the codec [Hz]."
    repeated: Bool | None = None
    "Rows that repeat an earlier packet (RFC 2198): duplicates unless that one is missing."


@dataclass(slots=True)
class Placement:
    """What became of a batch, by the batch's own row numbers."""

    rows: I64
    "Rows to place, int64[k]."
    u: I64
    "Ring position of each, int64[k]."
    stream: I64
    "Stream row of each, int64[k]."
    ext: I64
    "Extended sequence number of each, int64[k]."
    fresh: Bool
    "bool[n]: not a duplicate and not left out."
    changes: list[StreamChange]
    events: list[TimelineEvent]
    gaps: list[LossGap]
    "Gaps too long to wait for `find_gaps`, and those before them."
    second: Bool | None = None
    "bool[n]: fresh audio of a second sender, which is not placed; None: there is none."


@dataclass(slots=True)
class _Leap:
    """A row whose sequence number is far ahead of all before it. top_u: of the leg, before the batch."""

    row: int
    stream: int
    packets: int
    top_u: int


class Timeline:
    """Positions for a set of legs. Pure: state rows in and out, time comes with the packets."""

    def __init__(self, legs: Rows, streams: Rows, history: History, *, hold_back_s: float) -> None:
        """legs: LEG[n], streams: STREAM[2n], both updated in place."""
        self._legs, self._streams, self._history = legs, streams, history
        self._senders = Senders(legs, streams)
        self._anchor = Anchor(legs, streams, hold_back_s=hold_back_s)

    def place(self, batch: Batch) -> Placement:
        """Take a batch (n > 0) into the streams' state and say where its audio goes."""
        stream, changes = self._assign(batch)
        fresh = stream >= 0
        order = self._sorted(stream, fresh)
        ext = np.zeros(stream.shape, np.int64)
        none = np.zeros(0, np.int64)
        out = Placement(
            rows=order, u=none, stream=none, ext=none, fresh=fresh, changes=changes, events=[], gaps=[]
        )
        leaps: list[_Leap] = []
        if order.size < fresh.size:
            np.add.at(self._legs["discarded"], batch.leg[~fresh], 1)
        if order.size:
            fresh[order], leaps = self._sequence(batch, stream[order], order, ext, out)
        if out.second is not None:
            out.second &= fresh
        audio = batch.audio if out.second is None else batch.audio & ~out.second
        out.rows = rows = order[fresh[order] & audio[order]]
        if rows.size:
            out.rows, out.u = self._place_audio(batch, rows, stream[rows], ext[rows], out.events)
            rows = out.rows
            out.stream, out.ext = stream[rows], ext[rows]
            self._history.remember(out.stream, out.ext, out.u, batch.samples[rows])
        for leap in leaps:
            self._measure(leap, batch, out)
        return out

    def _assign(self, batch: Batch) -> tuple[I64, list[StreamChange]]:
        """Stream of each row; legs with anything unusual are looked at by themselves."""
        stream, certain = assign_known(self._streams, batch.leg, batch.ssrc, batch.seq)
        changes: list[StreamChange] = []
        if not certain.all():
            for leg in np.unique(batch.leg[~certain]).tolist():
                rows = np.flatnonzero(batch.leg == leg)
                stream[rows], new = assign_leg(
                    self._legs,
                    self._streams,
                    leg,
                    batch.ssrc[rows],
                    batch.seq[rows],
                    self._after_outage(batch, rows),
                )
                changes += new
        return stream, changes

    def _after_outage(self, batch: Batch, rows: I64) -> Bool:
        """Whether each row goes on with its leg's first or second stream after an outage: bool[k, 2]."""
        samples = batch.samples[rows] * batch.audio[rows]
        both = [
            after_outage(
                self._legs,
                self._streams,
                2 * batch.leg[rows] + which,
                batch.seq[rows],
                batch.timestamp[rows],
                batch.arrival_ns[rows],
                samples,
            )
            for which in (0, 1)
        ]
        return np.stack(both, axis=1)

    @staticmethod
    def _sorted(stream: I64, wanted: Bool) -> I64:
        rows = np.arange(stream.size, dtype=np.int64) if wanted.all() else np.flatnonzero(wanted)
        order = stable_order(stream[rows])
        return rows if order is None else rows[order]

    def _sequence(
        self, batch: Batch, stream: I64, order: I64, ext: I64, out: Placement
    ) -> tuple[Bool, list[_Leap]]:
        """Unwrap, drop duplicates, count; fills `ext` and returns which rows are new, and leaps."""
        streams = self._streams
        groups = Groups.of(stream)
        highest = streams["highest"][stream]
        numbers = highest + delta16(batch.seq[order], highest)
        ext[order] = numbers
        leaps: list[_Leap] = []
        top, before = np.maximum.reduceat(numbers, groups.starts), streams["highest"][groups.key]
        for g in np.flatnonzero(top - before > _LEAP).tolist():
            leaps += self._leaps(int(groups.key[g]), order[groups.rows(g)], numbers[groups.rows(g)], out)
        fresh = self._history.unseen(stream, numbers, batch.number)
        unusual = self._senders.unusual(groups)
        if unusual.size:
            out.second = self._second_senders(unusual, batch, stream, order, ext, out.changes)
        streams["highest"][groups.key] = np.maximum(before, top)
        streams["base"][groups.key] = np.minimum(
            streams["base"][groups.key], np.minimum.reduceat(numbers, groups.starts)
        )
        new = np.add.reduceat(fresh.astype(np.int64), groups.starts)
        streams["received"][groups.key] += new
        counts = groups.counts
        if batch.repeated is not None:
            again = batch.repeated[order]
            counts = counts - np.add.reduceat((again & ~fresh).astype(np.int64), groups.starts)
            recovered = np.add.reduceat((again & fresh).astype(np.int64), groups.starts)
            np.add.at(self._legs["recovered"], groups.key >> 1, recovered)
        self._count(groups, new, counts, batch.arrival_ns[order], order)
        if unusual.size:
            self._senders.hold(unusual)
        return fresh, leaps

    def _second_senders(
        self, legs: I64, batch: Batch, stream: I64, order: I64, ext: I64, changes: list[StreamChange]
    ) -> Bool | None:
        began = {change.leg: change.stream for change in reversed(changes)}
        of_row = np.full(batch.leg.shape, -1, np.int64)
        of_row[order] = stream
        return self._senders.second(legs, began, batch.leg, of_row, ext, batch.audio, batch.arrival_ns)

    def _leaps(self, stream: int, rows: I64, numbers: I64, out: Placement) -> list[_Leap]:
        """Long gaps before rows of one stream. Gaps before these are listed now, while they are known."""
        row = self._streams[stream]
        reached = np.maximum.accumulate(np.append(row["highest"], numbers))
        steps = numbers - reached[:-1]
        long = np.flatnonzero(steps > _LEAP)
        if not long.size:
            return []
        if row["received"]:
            out.gaps += gaps_of(self._legs, self._streams, self._history, stream, final=True)
        row["checked"] = numbers[long[-1]] - 1
        top_u = int(self._legs["top_u"][stream >> 1])
        leaps = []
        for i in np.flatnonzero(steps[: long[-1] + 1] > 1).tolist():
            if not (
                (numbers > reached[i]) & (numbers < numbers[i])
            ).any():  # else they come later in the batch
                leaps.append(_Leap(int(rows[i]), stream, int(steps[i]) - 1, top_u))
        return leaps

    def _measure(self, leap: _Leap, batch: Batch, out: Placement) -> None:
        """List the gap before a leap: from behind everything placed before it to its own place."""
        own = np.flatnonzero(out.rows == leap.row)
        if not own.size:
            return
        leg = leap.stream >> 1
        earlier = (batch.leg[out.rows] == leg) & (out.rows < leap.row)
        ends = (out.u + batch.samples[out.rows])[earlier]
        start, end = max([leap.top_u, *ends.tolist()]), int(out.u[own[0]])
        if start < end:
            delta = int(self._legs["delta"][leg])
            out.gaps.append(LossGap(leg, start + delta, end + delta, leap.packets))

    def _count(self, groups: Groups, new: I64, counts: I64, arrival: I64, rows: I64) -> None:
        """Leg counters. A leg may have two groups, one of each stream: hence the `at` forms."""
        legs, leg = self._legs, groups.key >> 1
        np.add.at(legs["packets"], leg, new)
        doubled = counts > new
        np.add.at(legs["duplicates"], leg[doubled], (counts - new)[doubled])
        began = arrival[groups.starts]
        legs["current"][leg] = groups.key & 1
        twice = np.flatnonzero(leg[1:] == leg[:-1])
        if twice.size:
            # the stream of the leg's last row is its current one; its first row may be of either
            later = twice + (rows[groups.last[twice + 1]] > rows[groups.last[twice]])
            legs["current"][leg[later]] = groups.key[later] & 1
            began[twice] = began[twice + 1] = np.minimum(began[twice], began[twice + 1])
        early = (legs["first_ns"][leg] == 0) | (legs["first_ns"][leg] > began)
        legs["first_ns"][leg[early]] = began[early]
        np.maximum.at(legs["last_ns"], leg, arrival[groups.last])

    def _place_audio(
        self, batch: Batch, rows: I64, stream: I64, ext: I64, events: list[TimelineEvent]
    ) -> tuple[I64, I64]:
        streams, legs = self._streams, self._legs
        groups = Groups.of(stream)
        leg, of_row = groups.key >> 1, groups.of_row
        # what is the same for all rows of a stream is fetched once for each stream: the rows of the states lie far apart
        scale = legs["rate"][leg] / 1e9
        arrived = (batch.arrival_ns[rows] - legs["epoch_ns"][leg][of_row]) * scale[of_row]
        samples, clock = batch.samples[rows], batch.clock[rows]
        timestamp = self._timestamps(batch, rows, groups, ext)
        newest_ts = streams["newest_ts"][groups.key][of_row]
        ext_ts = newest_ts + delta32(timestamp, newest_ts)
        u = self._places(groups, leg, ext_ts)
        odd = self._odd(groups, leg, ext, u, arrived, samples, clock)
        keep = np.ones(rows.shape, np.bool_)
        plain = ~np.logical_or.reduceat(odd, groups.starts) & (streams["anchored"][groups.key] != 0)
        # before the others: a stream that begins continues what the one before it sent in this very batch
        tops = np.maximum.reduceat(u + samples, groups.starts)
        np.maximum.at(legs["top_u"], leg[plain], tops[plain])
        unusual = np.flatnonzero(~plain)
        for g in unusual[np.argsort(rows[groups.starts[unusual]])].tolist():
            span = groups.rows(g)
            u[span], keep[span] = self._anchor.place(
                int(groups.key[g]),
                ext[span],
                timestamp[span],
                clock[span],
                arrived[span],
                samples[span],
                events,
            )
        self._advance(groups, plain, ext, ext_ts, u)
        timely = keep if batch.repeated is None else keep & ~batch.repeated[rows]
        update_jitter(streams, groups, arrived, u, timely)
        lead = u - arrived
        if not keep.all():
            lead[~keep] = -np.inf
        furthest = np.maximum.reduceat(lead, groups.starts) + legs["delta"][leg]
        due = note_lead(streams, groups.key, furthest, groups.counts)
        if due.size:
            events += follow_clocks(legs, streams, due)
        return (rows, u) if keep.all() else (rows[keep], u[keep])

    def _timestamps(self, batch: Batch, rows: I64, groups: Groups, ext: I64) -> U32:
        """Timestamps of the rows; those of a sender that lets them stand still are made from its numbers."""
        timestamp = batch.timestamp[rows]
        numbered = self._streams["numbered"][groups.key] != 0
        if numbered.any():
            which = numbered[groups.of_row]
            timestamp[which] = numbered_timestamps(ext[which], batch.samples[rows[which]])
        return timestamp

    def _places(self, groups: Groups, leg: I64, ext_ts: I64) -> I64:
        """Ring positions of extended timestamps: int64[n]. leg: int64[g], of each group."""
        streams, key = self._streams, groups.key
        u_base, ts_base = streams["u_base"][key], streams["ts_base"][key]
        u: I64 = ext_ts + (u_base - ts_base)[groups.of_row]
        clock, rate = streams["clock"][key], self._legs["rate"][leg].astype(np.int64)
        for g in np.flatnonzero(clock != rate).tolist():
            span = groups.rows(g)
            u[span] = u_base[g] + (ext_ts[span] - ts_base[g]) * rate[g] // int(clock[g])
        return u

    def _odd(
        self,
        groups: Groups,
        leg: I64,
        ext: I64,
        u: I64,
        arrived: npt.NDArray[np.float64],
        samples: I64,
        clock: I64,
    ) -> Bool:
        """Rows that need a closer look.

        Too early, late, no room in the ring, time that runs against the sequence, or a codec with another clock.
        """
        streams, legs, of_row = self._streams, self._legs, groups.of_row
        delta = legs["delta"][leg]
        earliest = np.maximum(legs["floor_p"][leg] - delta, legs["lowest_u"][leg])
        furthest = legs["ceiling_p"][leg] - delta
        ahead = self._anchor.ahead_s * legs["rate"][leg] - delta
        steps = ext - groups.previous(ext, streams["newest"][groups.key])
        moved = u - groups.previous(u, streams["newest_u"][groups.key])
        odd: Bool = (steps > 0) != (moved > 0)
        uneven = (steps == 1) & (moved != samples)
        if uneven.any():  # a pause; or, while the stream is young, a clock that is not its codec's
            odd |= uneven & (ext - streams["base"][groups.key][of_row] < _YOUNG)
        odd |= (u - arrived > ahead[of_row]) | (u < earliest[of_row]) | (u + samples > furthest[of_row])
        known = streams["codec_clock"][groups.key]
        if (clock != clock[0]).any() or (known != clock[0]).any():
            odd |= clock != known[of_row]
        return odd

    def _advance(self, groups: Groups, plain: Bool, ext: I64, ext_ts: I64, u: I64) -> None:
        """Note the newest packet of the streams in which nothing was odd (`Anchor` does it for the others)."""
        streams = self._streams
        key = groups.key[plain]
        newest = np.maximum.reduceat(ext, groups.starts)[plain]
        ahead = newest > streams["newest"][key]
        key = key[ahead]
        streams["newest"][key] = newest[ahead]
        # without oddities time and sequence agree, so the largest of each belong to the same packet
        streams["newest_u"][key] = np.maximum.reduceat(u, groups.starts)[plain][ahead]
        streams["newest_ts"][key] = np.maximum.reduceat(ext_ts, groups.starts)[plain][ahead]
