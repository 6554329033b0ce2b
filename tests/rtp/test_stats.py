"""Interarrival jitter over batches against the loop of RFC 3550 A.8."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.groups import Groups
from siprec.rtp.sequence import History
from siprec.rtp.state import new_legs, new_streams
from siprec.rtp.stats import update_jitter
from siprec.rtp.timeline import Batch, Timeline

RATE, FRAME, EPOCH = 8000, 160, 10**12


def a8(arrival: list[float], timestamp: list[int]) -> float:
    """RFC 3550 A.8, packet by packet."""
    jitter, before = 0.0, None
    for at, ts in zip(arrival, timestamp, strict=True):
        transit = at - ts
        if before is not None:
            jitter += (abs(transit - before) - jitter) / 16
        before = transit
    return jitter


def packets(draw, stream: int):
    return [(stream, draw(st.integers(0, 5000)), 80_000 + FRAME * i) for i in range(draw(st.integers(0, 30)))]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_jitter_of_many_streams_is_that_of_the_loop_however_the_batches_are_cut(data):
    streams = new_streams(2)
    streams["transit"] = np.nan
    rows = {s: packets(data.draw, s) for s in range(4)}
    at = dict.fromkeys(rows, 0)
    while any(at[s] < len(rows[s]) for s in rows):
        batch = []
        for s in rows:
            size = data.draw(st.integers(0, 10)) or 1
            batch += rows[s][at[s] : at[s] + size]
            at[s] += size
        stream, late, timestamp = (np.array(column, np.int64) for column in zip(*batch, strict=True))
        known = np.ones(stream.shape, np.bool_)
        update_jitter(streams, Groups.of(stream), (timestamp + late).astype(np.float64), timestamp, known)
    for s, all_rows in rows.items():
        expected = a8([ts + late for _, late, ts in all_rows], [ts for _, _, ts in all_rows])
        assert streams["jitter"][s] == pytest.approx(expected, abs=1e-6)


def test_rows_that_cannot_be_trusted_are_passed_over():
    streams = new_streams(1)
    streams["transit"] = np.nan
    stream = np.zeros(5, np.int64)
    timestamp = np.array([0, 160, 10**9, 480, 640])
    arrival = np.array([0.0, 160, 320, 480, 640])
    update_jitter(streams, Groups.of(stream), arrival, timestamp, np.array([1, 1, 0, 1, 1], np.bool_))
    assert streams["jitter"][0] == 0.0


class Leg:
    def __init__(self) -> None:
        self.legs, self.streams = new_legs(1), new_streams(1)
        self.legs["active"], self.legs["rate"], self.legs["epoch_ns"] = 1, RATE, EPOCH
        self.timeline = Timeline(self.legs, self.streams, History.private(2), hold_back_s=0.5)
        self.batch = 0

    def take(self, numbers: range, timestamp: int, *, late: list[int] | None = None, ssrc: int = 7) -> None:
        """late: samples by which each packet is behind its pace."""
        self.batch += 1
        n = np.array(numbers, np.int64)
        arrived = 80_000 + FRAME * n + np.array(late if late is not None else [0] * n.size)
        batch = Batch(
            number=self.batch,
            leg=np.zeros(n.size, np.int64),
            seq=(n & 0xFFFF).astype(np.int32),
            timestamp=((timestamp + FRAME * n) & 0xFFFFFFFF).astype(np.uint32),
            ssrc=np.full(n.size, ssrc, np.uint32),
            arrival_ns=EPOCH + arrived * (10**9 // RATE),
            audio=np.ones(n.size, np.bool_),
            samples=np.full(n.size, FRAME, np.int64),
            clock=np.full(n.size, RATE, np.int64),
        )
        self.timeline.place(batch)

    @property
    def jitter(self) -> float:
        return float(self.streams["jitter"][int(self.legs["current"][0])])


@pytest.mark.parametrize("timestamp", [0, 5, 2**31 - 300, 2**31, 2**31 + 5, 2**32 - 300, 2**32 - 1])
def test_a_paced_sender_has_no_jitter_wherever_its_timestamps_begin(timestamp):
    leg = Leg()
    for first in range(0, 50, 10):
        leg.take(range(first, first + 10), timestamp)
        assert leg.jitter < 0.01


def test_jitter_of_a_leg_is_that_of_the_loop():
    leg = Leg()
    rng = np.random.default_rng(1)
    late = rng.integers(0, 80, 200).tolist()
    for first in range(0, 200, 10):
        leg.take(range(first, first + 10), 2**32 - 5000, late=late[first : first + 10])
    expected = a8([FRAME * i + late[i] for i in range(200)], [FRAME * i for i in range(200)])
    assert leg.jitter == pytest.approx(expected, abs=0.01)


def test_a_jump_of_the_timestamp_is_no_jitter():
    leg = Leg()
    leg.take(range(50), 1000)
    leg.take(range(50, 100), 1000 + 2**30)
    assert leg.jitter < 5


def test_another_ssrc_has_its_own_jitter():
    leg = Leg()
    leg.take(range(50), 1000, late=[0, 79] * 25)
    shaky = leg.jitter
    leg.take(range(50, 100), 77, ssrc=8)
    assert shaky > 20
    assert leg.jitter < 1
