"""Sequence numbers over a batch: unwrapping, duplicates, loss (RFC 3550 A.1), for all streams at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.encrypted import look_anew
from siprec.rtp.packet import Bool
from siprec.rtp.state import HISTORY, LATE_NONE, Rows

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]

MAX_DROPOUT = 3000
MAX_MISORDER = 200
"RFC 3550 A.1: a number outside these limits is a restart, not loss or reordering."
OUTAGE_S = 0.5
"After an outage beyond MAX_DROPOUT a stream goes on if its numbers, timestamps and arrival agree this well."
_LONGER = 2
"A lost packet may have been so many times as long as its neighbours; what is missing beyond that is a pause."
_END_BITS = 16
_NO_PLACE = -1


def delta16(seq: I32, reference: I64) -> I64:
    """Signed distance of 16-bit numbers from extended ones: int64[n] in -32768..32767."""
    distance: I64 = ((seq - reference + 32768) & 0xFFFF) - 32768
    return distance


def delta32(timestamp: U32, reference: I64) -> I64:
    """Signed distance of 32-bit timestamps from extended ones: int64[n] in -2**31..2**31-1."""
    distance: I64 = ((timestamp.astype(np.int64) - reference + 2**31) & 0xFFFFFFFF) - 2**31
    return distance


class History:
    """The last 256 packets of each stream: which came, where they were placed.

    Shared memory, written in place. To be repeatable after a worker died inside a batch, each entry carries
    the number of the batch that wrote it: entries of the batch being repeated do not count as seen.
    """

    def __init__(self, ext: U32, batch: U32, place: I64) -> None:
        """ext, batch: uint32[streams, 256]; place: int64[streams, 256], see `remember`."""
        self._ext, self._batch, self._place = (a.reshape(-1) for a in (ext, batch, place))
        self._winner = np.zeros(self._ext.shape, np.int32)

    @classmethod
    def private(cls, streams: int) -> History:
        """A history that no other process sees."""
        shape = (streams, HISTORY)
        return cls(np.zeros(shape, np.uint32), np.zeros(shape, np.uint32), np.zeros(shape, np.int64))

    def unseen(self, stream: I64, ext: I64, batch: int) -> Bool:
        """True for each row that is the first of its sequence number, and remembers it: bool[n]."""
        flat = stream * HISTORY + (ext & (HISTORY - 1))
        low = (ext & 0xFFFFFFFF).astype(np.uint32)
        number = np.uint32(batch & 0xFFFFFFFF)
        seen = (self._ext[flat] == low) & (self._batch[flat] != number)
        rows = np.arange(flat.size, dtype=np.int32)[::-1]
        self._winner[flat[::-1]] = rows  # the last assignment is kept: the earliest row of a number
        winner = self._winner[flat]
        beaten = winner != rows[::-1]
        if beaten.any():
            seen |= self._repeated(flat, ext, winner, beaten)
        fresh: Bool = np.logical_not(seen)
        where = flat[fresh]
        self._ext[where], self._batch[where] = low[fresh], number
        self._place[where] = _NO_PLACE
        return fresh

    @staticmethod
    def _repeated(flat: I64, ext: I64, winner: I32, beaten: Bool) -> Bool:
        """Rows whose number an earlier row of the batch has, among those that found their entry taken: bool[n]."""
        repeated: Bool = np.logical_and(beaten, ext[winner] == ext)
        # more than a whole history in one batch: entries shared by different numbers
        others = np.flatnonzero(beaten & ~repeated)
        if others.size:
            numbers = flat[others] << 32 | (ext[others] & 0xFFFFFFFF)
            _, firsts = np.unique(numbers, return_index=True)
            repeated[np.delete(others, firsts)] = True
        return repeated

    def remember(self, stream: I64, ext: I64, u: I64, samples: I64) -> None:
        """Note where audio rows were placed: ring position and length in samples."""
        self._place[stream * HISTORY + (ext & (HISTORY - 1))] = (u << _END_BITS) | samples

    def missing(self, stream: int, first: int, last: int) -> tuple[int, list[tuple[int, int, int]]]:
        """Sequence numbers of `first..last` that never came.

        Returns how many, and the gaps between placed audio: (u, end, packets), u to end in ring positions.
        A gap with no placed packet on one of its sides is counted but has no place.
        """
        first = max(first, last - HISTORY + 2)
        ext = np.arange(first - 1, last + 2, dtype=np.int64)
        flat = stream * HISTORY + (ext & (HISTORY - 1))
        absent = self._ext[flat] != (ext & 0xFFFFFFFF).astype(np.uint32)
        place = np.where(absent, _NO_PLACE, self._place[flat])
        absent[0] = absent[-1] = False
        if not absent.any():
            return 0, []
        edges = np.diff(absent.astype(np.int8))
        gaps = []
        for before, last_absent in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            left, right = int(place[before]), int(place[last_absent + 1])
            if left != _NO_PLACE and right != _NO_PLACE:
                end_of_left, packets = (left >> _END_BITS) + (left & 0xFFFF), int(last_absent - before)
                # beside a pause of the sender the place between the two is longer than what was lost
                most = _LONGER * packets * max(left & 0xFFFF, right & 0xFFFF)
                gaps.append((end_of_left, min(right >> _END_BITS, end_of_left + most), packets))
        return int(absent.sum()), gaps


@dataclass(slots=True)
class StreamChange:
    """A leg began to send with another SSRC, or the same sender started anew."""

    leg: int
    stream: int
    ssrc: int
    restart: bool


def assign_known(streams: Rows, leg: I64, ssrc: U32, seq: I32) -> tuple[I64, Bool]:
    """Stream row of each packet by its leg's two SSRCs: int64[n], and bool[n] whether that is certain."""
    first = leg * 2
    ssrcs, live, highest = streams["ssrc"], streams["live"], streams["highest"]

    def fits(stream: I64) -> Bool:
        distance = delta16(seq, highest[stream])
        same: Bool = (live[stream] != 0) & (ssrcs[stream] == ssrc)
        near: Bool = (distance > -MAX_MISORDER) & (distance <= MAX_DROPOUT)
        return np.logical_and(same, near)

    zero, one = fits(first), fits(first + 1)
    return np.where(one & ~zero, first + 1, first), zero ^ one


def after_outage(
    legs: Rows, streams: Rows, stream: I64, seq: I32, timestamp: U32, arrival: I64, samples: I64
) -> Bool:
    """Rows that are no restart of `stream` although their numbers lie beyond MAX_DROPOUT: bool[n].

    While nothing came, the timestamp went on as long as the time that passed [ns], and the sequence number as
    many packets of this row's length as that takes: those were sent and are lost. samples: of each row.
    """
    leg = stream >> 1
    rate = legs["rate"][leg]
    missed = delta16(seq, streams["highest"][stream])
    clock = np.maximum(streams["clock"][stream], 1)
    spoken = delta32(timestamp, streams["newest_ts"][stream]) * rate // clock
    passed = (arrival - legs["last_ns"][leg]) * (rate / 1e9)
    packed = samples * delta16(seq, streams["newest"][stream])
    near = OUTAGE_S * rate
    agree = (np.abs(spoken - packed) < near) & (np.abs(spoken - passed) < near)
    found: Bool = agree & (missed > MAX_DROPOUT) & (samples > 0) & (streams["anchored"][stream] != 0)
    return found


def start_stream(stream: Any, *, ssrc: int, seq: int) -> None:
    """Begin a stream at its first packet. stream: one STREAM row.

    Its extended numbers lie two wraps above those of the stream that had the row before, so that the history
    of that one cannot be taken for its own.
    """
    ext = (((int(stream["highest"]) >> 16) + 2) << 16) + seq
    stream["live"], stream["anchored"], stream["ssrc"] = 1, 0, ssrc
    stream["base"] = ext
    stream["highest"] = stream["horizon"] = stream["newest"] = ext - 1
    stream["checked"] = ext - MAX_MISORDER  # packets from before the first one may still come
    stream["received"] = 0
    stream["odd_seq"] = -1
    stream["srtp_index"] = 0
    stream["codec_clock"], stream["clock"], stream["numbered"] = 0, 1, 0
    stream["late_dev"] = LATE_NONE
    look_anew(stream)
    stream["transit"], stream["jitter"] = np.nan, 0.0


def lost_packets(streams: Rows) -> I64:
    """Packets expected and not received, per stream (RFC 3550 A.3): int64[n], never negative."""
    expected = streams["highest"] - streams["base"] + 1
    lost: I64 = np.where(streams["live"] != 0, np.maximum(expected - streams["received"], 0), 0)
    return lost


def assign_leg(
    legs: Rows, streams: Rows, leg: int, ssrc: U32, seq: I32, goes_on: Bool
) -> tuple[I64, list[StreamChange]]:
    """Stream row of each packet of one leg, starting streams where they begin; -1 for a packet to leave out.

    ssrc, seq: the leg's packets in order of arrival. goes_on: bool[n, 2], whether the packet belongs to the leg's
    first or second stream by `after_outage`. A new SSRC is taken at its first packet; a restart
    with the same SSRC only when two packets in sequence agree (RFC 3550 A.1). A stream row that already has
    packets of this batch is not given to another stream: a sender that changes with every packet is noise.
    """
    out = np.full(seq.shape, -1, np.int64)
    changes: list[StreamChange] = []
    for i, (this, number) in enumerate(zip(ssrc.tolist(), seq.tolist(), strict=True)):
        stream = _known(legs, streams, leg, this, number)
        if stream < 0:
            stream = _going_on(streams, leg, this, goes_on[i])
        if stream < 0:
            restart, resting = _same_sender(streams, leg, this), _resting(legs, streams, leg)
            agreed = restart is None or _confirms(streams[restart], number)
            if agreed and not (out[:i] == resting).any():
                stream = resting
                _replace(legs, streams, stream, this, number)
                changes.append(StreamChange(leg=leg, stream=stream, ssrc=this, restart=restart is not None))
                if restart is not None:
                    _take_first_of_restart(streams[stream], out[:i], ssrc[:i], seq[:i], stream)
        out[i] = stream
    return out, changes


def _take_first_of_restart(row: Any, out: I64, ssrc: U32, seq: I32, stream: int) -> None:
    """The packet that a restart was confirmed by is its second one.

    The first is taken too if it came in this batch (out, ssrc, seq: the rows before); else it was left out: lost.
    """
    first = int(row["base"]) - 1
    row["base"] = first
    waiting = np.flatnonzero((out < 0) & (ssrc == row["ssrc"]) & (seq == (first & 0xFFFF)))
    out[waiting[-1:]] = stream


def _going_on(streams: Rows, leg: int, ssrc: int, goes_on: Bool) -> int:
    for which in (0, 1):
        stream = 2 * leg + which
        if goes_on[which] and streams["live"][stream] and streams["ssrc"][stream] == ssrc:
            return stream
    return -1


def _known(legs: Rows, streams: Rows, leg: int, ssrc: int, seq: int) -> int:
    current = int(legs["current"][leg])
    for which in (current, 1 - current):
        stream = 2 * leg + which
        row = streams[stream]
        if not row["live"] or row["ssrc"] != ssrc:
            continue
        distance = ((seq - int(row["highest"]) + 32768) & 0xFFFF) - 32768
        if -MAX_MISORDER < distance <= MAX_DROPOUT:
            return stream
    return -1


def _same_sender(streams: Rows, leg: int, ssrc: int) -> int | None:
    for stream in (2 * leg, 2 * leg + 1):
        if streams["live"][stream] and streams["ssrc"][stream] == ssrc:
            return stream
    return None


def _confirms(stream: Any, seq: int) -> bool:
    expected = int(stream["odd_seq"])
    stream["odd_seq"] = (seq + 1) & 0xFFFF
    return expected == seq


def _resting(legs: Rows, streams: Rows, leg: int) -> int:
    """The stream row of a leg that is not sending now."""
    current = int(legs["current"][leg])
    return 2 * leg + (1 - current if streams["live"][2 * leg + current] else current)


def _replace(legs: Rows, streams: Rows, stream: int, ssrc: int, seq: int) -> None:
    """Start a stream in a row; what was lost in that row is kept by the leg."""
    leg = stream >> 1
    legs["lost_before"][leg] += lost_packets(streams[stream : stream + 1])[0]
    start_stream(streams[stream], ssrc=ssrc, seq=seq)
    legs["current"][leg] = stream & 1
