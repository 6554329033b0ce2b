"""Arrival on the monotonic clock, whatever is done to the real-time clock meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.clock import OLDEST_NS, STEP_NS, ClockMapper

S = 1_000_000_000
MS = 1_000_000
EPOCH = 1_700_000_000 * S
HOUR = 3600 * S


class Clocks:
    """A mapper beside the two clocks of a machine; `step` moves the real-time one."""

    def __init__(self) -> None:
        self.now, self.offset = 50 * S, EPOCH
        self.mapper = ClockMapper(monotonic=self.now, realtime=self.now + self.offset)

    def stamp(self, at: int) -> int:
        """What the kernel writes on a packet that arrives at a monotonic time, by the clock as set now."""
        return at + self.offset

    def drain(self, at: int, stamps: list[int]) -> list[int]:
        self.now = at
        self.mapper.observe(monotonic=at, realtime=at + self.offset)
        return self.mapper.to_monotonic(np.array(stamps, np.int64)).tolist()


def test_arrivals_are_mapped_exactly_while_the_clock_is_steady():
    clocks = Clocks()
    arrivals = [50 * S + 1, 50 * S + 100 * MS, 50 * S + 199 * MS]
    assert clocks.drain(50 * S + 200 * MS, [clocks.stamp(at) for at in arrivals]) == arrivals
    assert clocks.mapper.steps == 0


def test_no_stamp_counts_as_arrived_at_the_start_of_the_drain():
    clocks = Clocks()
    assert clocks.drain(51 * S, [0, clocks.stamp(50 * S + 5)]) == [51 * S, 50 * S + 5]


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * S, -10 * S, 300 * MS, -300 * MS])
def test_a_step_between_two_drains_moves_neither_the_packets_before_nor_after_it(step):
    clocks = Clocks()
    before = [clocks.stamp(50 * S + 20 * MS), clocks.stamp(50 * S + 80 * MS)]
    clocks.offset += step
    after = [clocks.stamp(50 * S + 120 * MS), clocks.stamp(50 * S + 180 * MS)]
    got = clocks.drain(50 * S + 200 * MS, before + after)
    assert got == [50 * S + n * MS for n in (20, 80, 120, 180)]
    assert clocks.mapper.steps == 1


@pytest.mark.parametrize("step", [HOUR, -HOUR, 30 * S])
def test_packets_that_wait_in_their_sockets_over_many_drains_keep_their_arrival(step):
    clocks = Clocks()
    waiting = [clocks.stamp(50 * S + n * MS) for n in (10, 110)]
    clocks.offset += step
    for tick in range(1, 26):
        assert clocks.drain(50 * S + tick * 200 * MS, []) == []
    fresh = clocks.stamp(50 * S + 5100 * MS)
    got = clocks.drain(50 * S + 5200 * MS, [*waiting, fresh])
    assert got == [50 * S + n * MS for n in (10, 110, 5100)]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_within_a_drain_does_not_put_a_packet_hours_away(step):
    clocks = Clocks()
    clocks.mapper.observe(monotonic=51 * S, realtime=clocks.stamp(51 * S))
    clocks.offset += step
    got = clocks.mapper.to_monotonic(np.array([clocks.stamp(51 * S + MS)]))
    assert got.tolist() == [51 * S]


def test_a_packet_that_comes_in_while_the_drain_runs_keeps_its_arrival():
    clocks = Clocks()
    assert clocks.drain(51 * S, [clocks.stamp(51 * S + 30 * MS)]) == [51 * S + 30 * MS]


def test_slewing_is_followed_and_is_no_step():
    clocks = Clocks()
    for tick in range(1, 500):
        clocks.offset += 100_000  # 500 ppm
        at = 50 * S + tick * 200 * MS
        assert clocks.drain(at, [clocks.stamp(at - 50 * MS)]) == [at - 50 * MS]
    assert clocks.mapper.steps == 0


def test_each_step_is_told_with_its_size():
    clocks = Clocks()
    for step in (5 * S, -7 * S, STEP_NS, STEP_NS - 1):
        clocks.offset += step
        clocks.now += 200 * MS
        told = clocks.mapper.observe(monotonic=clocks.now, realtime=clocks.now + clocks.offset)
        assert told == (step if abs(step) >= STEP_NS else 0)
    assert clocks.mapper.steps == 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, HOUR, -HOUR, 5 * S, -3 * S, 50 * MS, -50 * MS]), st.integers(1, 199)),
        min_size=1,
        max_size=12,
    )
)
def test_no_arrival_is_later_than_the_drain_or_older_than_any_packet_can_be(ticks):
    clocks = Clocks()
    at = 50 * S
    for step, arrived in ticks:
        at += 200 * MS
        stamp = clocks.stamp(at - arrived * MS)
        clocks.offset += step
        (got,) = clocks.drain(at, [stamp])
        assert at - OLDEST_NS <= got <= at + S
