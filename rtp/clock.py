"""From the kernel's arrival stamps to the monotonic clock.

`SO_TIMESTAMPNS` stamps are CLOCK_REALTIME, which an operator or NTP may step at any moment. Decisions are
made on CLOCK_MONOTONIC. After a step packets from before it still come out of the sockets: of the offset
before the step and the one since, the right one is the one that puts the stamp into the time it was valid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

STEP_NS = 2_000_000
"A change of the offset above this is a step of the clock; below it, slewing and reading jitter."
OLDEST_NS = 60_000_000_000
"No packet waits in a socket for longer than this."
_DRAIN_NS = 1_000_000_000
"A drain takes less: packets that come in meanwhile are that much later than its start."


class ClockMapper:
    """Maps CLOCK_REALTIME stamps [ns] to CLOCK_MONOTONIC [ns]; survives steps of the real-time clock."""

    def __init__(self, *, monotonic: int, realtime: int) -> None:
        self._offset = realtime - monotonic
        self._now = monotonic
        self._older = self._offset
        "Offset before the last step."
        self._step_from = self._step_until = monotonic - OLDEST_NS
        "The last step was between these."
        self.steps = 0

    def observe(self, *, monotonic: int, realtime: int) -> int:
        """Note both clocks, read together at the start of a drain. Returns the step seen [ns], 0 if none."""
        offset = realtime - monotonic
        step, before = offset - self._offset, self._now
        if abs(step) < STEP_NS:
            step = 0
        else:
            self._older, self._step_from, self._step_until = self._offset, before, monotonic
            self.steps += 1
        self._offset, self._now = offset, monotonic
        return step

    def monotonic_of(self, stamp: int) -> int:
        """As `to_monotonic`, of one stamp."""
        return int(self.to_monotonic(np.array([stamp], np.int64))[0])

    def to_monotonic(self, stamps: I64) -> I64:
        """Arrival on the monotonic clock of rows drained after the last `observe`: int64[n] in, int64[n] out.

        A stamp of 0 (none given) counts as arrived at the last `observe`, and so does one that cannot be true: the
        clock was stepped within this drain.
        """
        arrival = stamps - self._offset
        if self._now - self._step_until < OLDEST_NS:
            older = stamps - self._older
            wrong = np.maximum(self._step_from - arrival, arrival - self._now)
            arrival = np.where(np.maximum(older - self._step_until, 0) < wrong, older, arrival)
        false = (stamps == 0) | (arrival > self._now + _DRAIN_NS) | (arrival < self._now - OLDEST_NS)
        return np.where(false, self._now, arrival)
