"""What is missing: how many packets, and where in the recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.loss import LossGap, find_gaps, total_lost
from siprec.rtp.sequence import History
from siprec.rtp.state import new_legs, new_streams
from siprec.rtp.timeline import Batch, Timeline

RATE, FRAME = 8000, 160
EPOCH = 10**12
FIRST = 80_000  # where packet 0 is placed, in samples from the epoch


class Leg:
    """A leg whose sender paces packet i at i * 20 ms; packets come in batches of the given numbers."""

    def __init__(self, *, seq: int = 65_400, timestamp: int = 2**32 - 40_000) -> None:
        self.legs, self.streams = new_legs(1), new_streams(1)
        self.legs["active"], self.legs["rate"], self.legs["epoch_ns"] = 1, RATE, EPOCH
        self.history = History.private(2)
        self.timeline = Timeline(self.legs, self.streams, self.history, hold_back_s=0.5)
        self._seq, self._timestamp, self._batch = seq, timestamp, 0
        self.gaps: list[LossGap] = []
        self.paused = 0
        "Samples for which the sender was silent; the numbers do not say so."

    def take(self, numbers: list[int], *, ssrc: int = 7, audio: bool = True) -> None:
        self._batch += 1
        n = np.array(numbers, np.int64)
        newest = np.maximum.accumulate(n)
        batch = Batch(
            number=self._batch,
            leg=np.zeros(n.size, np.int64),
            seq=((self._seq + n) & 0xFFFF).astype(np.int32),
            timestamp=((self._timestamp + self.paused + FRAME * n) & 0xFFFFFFFF).astype(np.uint32),
            ssrc=np.full(n.size, ssrc, np.uint32),
            arrival_ns=EPOCH + (FIRST + self.paused + FRAME * newest) * (10**9 // RATE),
            audio=np.full(n.size, audio),
            samples=np.full(n.size, FRAME, np.int64),
            clock=np.full(n.size, RATE, np.int64),
        )
        self.gaps += self.timeline.place(batch).gaps

    def look(self, *, final: bool = False) -> list[tuple[int, int]]:
        """What is found now, as (first missing packet, packets)."""
        found = self.gaps + find_gaps(self.legs, self.streams, self.history, np.array([0, 1]), final=final)
        self.gaps = []
        assert all(gap.end - gap.start == FRAME * gap.packets for gap in found)
        first = FIRST + int(self.legs["delta"][0])
        return [((gap.start - first) // FRAME, gap.packets) for gap in found]

    @property
    def lost(self) -> int:
        return total_lost(self.legs, self.streams, 0)


def run(first: int, end: int, without: set[int] = frozenset()) -> list[int]:
    return [i for i in range(first, end) if i not in without]


def test_a_stream_without_loss_has_no_gaps():
    leg = Leg()
    leg.take(run(0, 200))
    assert leg.look() == leg.look() == leg.look(final=True) == []
    assert leg.lost == 0


def test_gaps_are_listed_once_with_their_place_one_look_after_they_were_passed():
    leg = Leg()
    leg.take(run(0, 50, {10, 11, 30}))
    assert leg.lost == 3
    assert leg.look() == []
    leg.take(run(50, 100))
    assert leg.look() == [(10, 2), (30, 1)]
    assert leg.look() == leg.look(final=True) == []


def test_packets_that_come_in_disorder_are_no_loss():
    leg = Leg()
    for first in range(0, 100, 10):
        leg.take([first, *reversed(range(first + 1, first + 10))])
        assert leg.look() == []
    assert (leg.lost, leg.look(final=True)) == (0, [])


def test_a_packet_that_comes_after_one_look_is_no_loss_beside_others_that_are():
    leg = Leg()
    leg.take(run(0, 20, {5}))
    leg.take(run(20, 40, {38}))
    assert leg.look() == []
    leg.take([38, *range(40, 60)])
    assert leg.look() == [(5, 1)]
    assert leg.lost == 1
    assert leg.look(final=True) == []


def test_at_the_end_everything_up_to_the_newest_packet_counts():
    leg = Leg()
    leg.take(run(0, 50, {48}))
    assert leg.look(final=True) == [(48, 1)]


def test_what_is_missing_before_a_late_first_packet_is_found():
    leg = Leg()
    leg.take([3, 0, 4, 5])
    assert leg.lost == 2
    assert leg.look(final=True) == [(1, 2)]


@pytest.mark.parametrize("missing", [63, 64, 65, 128, 255, 256, 257, 300, 1000, 2900])
@pytest.mark.parametrize("alone", [True, False])
def test_an_outage_of_any_length_has_its_exact_place(missing, alone):
    """Whether its end comes in a batch of its own, or with packets before and after."""
    leg = Leg()
    leg.take(run(0, 100, {40}))
    assert leg.look() == []
    after = run(150 + missing, 200 + missing)
    if alone:
        leg.take(run(100, 150))
        leg.take(after)
    else:
        leg.take(run(100, 150) + after)
    gaps = leg.look()
    leg.take(run(200 + missing, 250 + missing))
    assert gaps + leg.look() + leg.look(final=True) == [(40, 1), (150, missing)]
    assert leg.lost == missing + 1


def test_two_outages_in_one_batch_are_two_gaps():
    leg = Leg()
    leg.take(run(0, 10) + run(200, 210) + run(400, 410))
    assert leg.look() == [(10, 190), (210, 190)]
    assert leg.lost == 380


def test_after_a_burst_longer_than_the_history_no_loss_is_invented():
    leg = Leg()
    leg.take(run(0, 20, {5}))
    leg.look()
    leg.take(run(20, 40))
    assert leg.look() == [(5, 1)]
    for first in range(40, 1640, 200):
        leg.take(run(first, first + 200))
    assert leg.look() == leg.look() == leg.look(final=True) == []
    assert leg.lost == 1


def test_loss_beside_packets_that_are_no_audio_is_counted_without_a_place():
    leg = Leg()
    leg.take(run(0, 10))
    leg.take([12, 13], audio=False)
    leg.take(run(14, 30))
    assert leg.lost == 2
    assert leg.look(final=True) == []


def test_loss_of_a_stream_that_ended_is_kept_by_the_leg():
    leg = Leg()
    for ssrc in (1, 2, 3, 4):
        leg.take(run(0, 20, {5, 6}), ssrc=ssrc)
    assert leg.lost == 8


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_places_and_counts_are_exact_for_any_loss(data):
    leg = Leg(seq=data.draw(st.integers(0, 65535)), timestamp=data.draw(st.integers(0, 2**32 - 1)))
    count = 400
    missing = data.draw(st.sets(st.integers(1, count - 2), max_size=60))
    hole = data.draw(st.integers(1, count - 150))
    missing |= set(range(hole, hole + data.draw(st.sampled_from([0, 20, 140]))))
    kept = run(0, count, missing)
    found: list[tuple[int, int]] = []
    unseen = 0
    while kept:
        size = data.draw(st.integers(1, 40))
        leg.take(kept[:size])
        kept, unseen = kept[size:], unseen + size
        if data.draw(st.booleans()) or unseen > 80:  # a worker looks once a second; the history holds 256
            found, unseen = found + leg.look(), 0
    found += leg.look(final=True)
    assert leg.lost == len(missing)
    assert sorted(i for first, packets in found for i in range(first, first + packets)) == sorted(missing)


def test_a_packet_lost_beside_a_pause_is_no_gap_as_long_as_the_pause():
    leg = Leg()
    leg.take(range(20))
    leg.paused = 10 * RATE
    leg.take(range(21, 40))
    (gap,) = leg.gaps + find_gaps(leg.legs, leg.streams, leg.history, np.array([0, 1]), final=True)
    assert gap.packets == 1
    assert FRAME <= gap.end - gap.start <= 2 * FRAME
