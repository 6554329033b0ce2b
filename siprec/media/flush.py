"""When which second of which recording goes to the writer, and when a recording is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from siprec.media.pipeline import Pipeline
from siprec.media.recordings import LegState, RecordingState
from siprec.media.rings import BLOCK, REACH
from siprec.media.writer import Flush, Part, WriterThread
from siprec.rtp.state import Rows

QUANTUM_S = 1
"A recording is written about every second."
GIVE_UP_NS = 10_000_000_000
"A closed recording whose last seconds the disk refuses for this long ends with an error."
_RETRY_NS = 1_000_000_000
"A flush that failed is repeated after this."
_RESERVE_PER_LEG = 2
_SPAN = REACH - 6 * BLOCK
"Samples that wait for the disk before a recording's packets wait in their sockets; the most of one flush."


class Flusher:
    """Decides what the writer thread gets. Positions in samples from a recording's epoch.

    Only what has been drained is written: while packets wait in their sockets, so does their place in the file.
    """

    def __init__(self, pipeline: Pipeline, writer: WriterThread, *, hold_back_s: float) -> None:
        self._pipeline, self._writer = pipeline, writer
        self._hold_back_s = hold_back_s
        self.full_legs: set[int] = set()
        "Legs whose rings hold all they can; their packets wait in the sockets."
        self._ended: set[int] = set()
        self._busy = 0
        "Flushes that are with the writer."

    def has_room(self, legs: int) -> bool:
        """Whether to take another tick's packets; else they wait in their sockets until the writer is back.

        When nothing is with the writer, waiting would not help: what finds no block then is counted.
        """
        return self._roomy(legs) or not self._busy

    def _roomy(self, legs: int) -> bool:
        reserve = min(_RESERVE_PER_LEG * legs, self._pipeline.rings.blocks // 2)
        return self._pipeline.rings.free_blocks >= reserve

    def collect(self, recordings: Mapping[int, RecordingState], now_ns: int) -> None:
        """Take notice of what the writer has done, and give its blocks back."""
        done = self._writer.done
        written: list[tuple[RecordingState, int]] = []
        while done:
            job = done.popleft()
            recording = recordings[job.recording]
            recording.busy, recording.error = False, job.error
            self._busy -= 1
            if not job.written:
                recording.queued_p, recording.retry_ns = recording.written_p, now_ns + _RETRY_NS
                continue
            written.append((recording, recording.written_p))
            recording.written_p = recording.queued_p
            if job.last:
                self._ended.add(recording.number)
        if written:
            self._release(written)

    def _release(self, written: list[tuple[RecordingState, int]]) -> None:
        """Give back the blocks of what was just written; written: (recording, position before)."""
        counts = [len(recording.legs) for recording, _ in written]
        legs = np.array([leg for recording, _ in written for leg in recording.legs], np.int64)
        before = np.repeat(np.array([start for _, start in written], np.int64), counts)
        end = np.repeat(np.array([recording.written_p for recording, _ in written], np.int64), counts)
        delta = self._pipeline.legs["delta"][legs]
        # one block more in front: the one that was only partly written
        self._pipeline.rings.release(legs, before - delta - BLOCK, end - delta)
        self._pipeline.legs["ceiling_p"][legs] = end + REACH

    def schedule(
        self, recordings: Mapping[int, RecordingState], legs: Mapping[int, LegState], now_ns: int
    ) -> None:
        """Queue what is due at `now_ns`; when the pool runs low, all that can be written."""
        self.full_legs.clear()
        quantum_s = QUANTUM_S if self._roomy(len(legs)) else 0
        for recording in recordings.values():
            if not recording.rate or (recording.t0_ns is None and not self._set_zero(recording)):
                continue
            if recording.p_of(recording.drained_ns) - recording.written_p > _SPAN:
                self.full_legs.update(recording.legs)
            if recording.busy or recording.number in self._ended or now_ns < recording.retry_ns:
                continue
            last = recording.end_ns is not None and recording.end_ns <= recording.drained_ns
            limit = self._end_of(recording) if last else self._settled(recording)
            if limit - recording.queued_p > _SPAN:
                limit, last = recording.queued_p + _SPAN, False
            if last or limit - recording.queued_p >= max(1, quantum_s * recording.rate):
                self._queue(recording, legs, limit, last=last)

    def _settled(self, recording: RecordingState) -> int:
        """Position before which nothing changes any more."""
        return recording.p_of(recording.drained_ns) - int(self._hold_back_s * recording.rate)

    def _set_zero(self, recording: RecordingState) -> bool:
        """A call's zero: its first packet or its 200 OK, whichever is earlier (DESIGN rule 3). False if unknown."""
        rows = self._pipeline.legs[recording.legs]
        known = [int(ns) for ns in rows["first_ns"] if ns]
        known += [ns for ns in (recording.answered_ns, recording.end_ns) if ns is not None]
        drained = recording.drained_ns
        over = recording.end_ns is not None and recording.end_ns <= drained
        if not known or not (over or drained >= min(known) + self._hold_back_s * 1e9):
            return False
        recording.t0_ns = min(known)
        self._pipeline.store.t0[recording.number] = recording.t0_ns
        recording.t0_p = recording.p_of(recording.t0_ns)
        recording.queued_p = recording.written_p = self._first_of(recording, rows)
        legs = self._pipeline.legs
        legs["floor_p"][recording.legs], legs["ceiling_p"][recording.legs] = (
            recording.queued_p,
            recording.queued_p + REACH,
        )
        return True

    def _first_of(self, recording: RecordingState, rows: Rows) -> int:
        """Where writing begins: at the zero, but not at a silence before the first packet that no ring could hold.

        A rate that was long undecided leaves one; the file's writer fills what is skipped.
        """
        reached = recording.p_of(recording.drained_ns)
        tops = (rows["lowest_u"] + rows["delta"])[rows["segments"] > 0]
        first = min([reached, *map(int, tops)])
        return max(recording.t0_p, min(first, reached - _SPAN // 2))

    def _end_of(self, recording: RecordingState) -> int:
        """The end: the BYE, or behind the last packet's samples, whichever is later."""
        assert recording.end_ns is not None
        rows = self._pipeline.legs[recording.legs]
        placed = rows["segments"] > 0
        tops = (rows["top_u"] + rows["delta"])[placed]
        return int(max([recording.p_of(recording.end_ns), recording.queued_p, *tops.tolist()]))

    def _queue(
        self, recording: RecordingState, legs: Mapping[int, LegState], limit: int, *, last: bool
    ) -> None:
        rows = self._pipeline.legs
        parts = [
            Part(leg=n, channel=legs[n].spec.channel, u=recording.queued_p - int(rows["delta"][n]))
            for n in recording.legs
            if rows["segments"][n]
        ]
        job = Flush(
            recording=recording.number,
            writer=recording.writer,
            channels=recording.channels,
            g711=recording.g711,
            start=recording.queued_p - recording.t0_p,
            frames=limit - recording.queued_p,
            parts=parts,
            last=last,
        )
        recording.queued_p, recording.busy = limit, True
        self._busy += 1
        rows["floor_p"][recording.legs] = limit
        self._writer.put(job)

    def finished(self, recordings: Mapping[int, RecordingState], now_ns: int) -> Iterator[RecordingState]:
        """Recordings that are wholly written, or that the disk has refused for too long."""
        ready = [recordings[number] for number in self._ended]
        self._ended.clear()
        yield from ready
        for recording in list(recordings.values()):
            late = recording.end_ns is not None and now_ns - recording.end_ns > GIVE_UP_NS
            if late and recording.error is not None and not recording.busy:
                yield recording
