"""Looks at the first packet in each socket of the recordings whose rate is open, and fixes it.

No sound is taken out of a socket before: a worker that dies meanwhile leaves the packets to the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from siprec.media.pipeline import Pipeline
from siprec.media.protocol import RateFixed
from siprec.media.rate import DECIDE_NS, LOWEST, arriving_rate
from siprec.media.recordings import LegState, RecordingState
from siprec.media.roster import Roster
from siprec.rtp.clock import ClockMapper
from siprec.rtp.packet import FIXED_HEADER
from siprec.rtp.receiver import peek_stamped

_VERSION_MASK, _VERSION = 0xC0, 0x80


class RateChoice:
    """What the legs of a worker's undecided recordings have shown."""

    def __init__(self, roster: Roster, pipeline: Pipeline, clock: ClockMapper) -> None:
        self._roster, self._pipeline, self._clock = roster, pipeline, clock
        self._shown: dict[int, tuple[int, int]] = {}
        "Leg: arrival of its first sound [monotonic ns], and the rate of that."
        self.strays: list[tuple[int, int]] = []
        "(leg, descriptor) of sockets with something else in front of the first sound; it may be taken out."

    def decide(self, now_ns: int) -> list[RateFixed]:
        """Fix the rate of each recording that can be decided on now; undecided ones are left alone."""
        fixed = []
        self.strays = []
        for recording in self._roster.undecided():
            legs = [self._roster.legs[number] for number in recording.legs]
            for leg in legs:
                self._look(leg, now_ns)
            if (rate := self._rate(recording, legs, now_ns)) is not None:
                fixed.append(self._roster.fix_rate(recording, rate))
                for leg in legs:
                    self._shown.pop(leg.spec.leg, None)
        return fixed

    def _look(self, leg: LegState, now_ns: int) -> None:
        number = leg.spec.leg
        if number in self._shown:
            return
        try:
            data, stamp = peek_stamped(leg.rtp, FIXED_HEADER)
        except OSError:
            return
        at_ns = min(now_ns, self._clock.monotonic_of(stamp))
        rate = None
        if len(data) == FIXED_HEADER and data[0] & _VERSION_MASK == _VERSION:
            rate = arriving_rate(int(self._pipeline.maps[number, data[1] & 0x7F]), leg.spec.payloads)
        if rate is not None:
            self._shown[number] = at_ns, rate
        else:
            self.strays.append((number, leg.rtp.fileno()))

    def _rate(self, recording: RecordingState, legs: Iterable[LegState], now_ns: int) -> int | None:
        """The rate to fix, None to wait: until each leg that is to send has shown a rate, or time is up."""
        shown = {leg.spec.leg: self._shown[leg.spec.leg] for leg in legs if leg.spec.leg in self._shown}
        waiting = not shown or any(leg.spec.active and leg.spec.leg not in shown for leg in legs)
        over = recording.end_ns is not None
        due = bool(shown) and now_ns - min(at_ns for at_ns, _ in shown.values()) >= DECIDE_NS
        if waiting and not (over or due):
            return None
        return min(max((rate for _, rate in shown.values()), default=LOWEST), recording.max_rate)
