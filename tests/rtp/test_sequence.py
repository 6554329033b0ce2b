"""Sequence numbers: wraps, duplicates, restarts, and a batch that is repeated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.sequence import (
    MAX_DROPOUT,
    MAX_MISORDER,
    History,
    assign_known,
    assign_leg,
    delta16,
    delta32,
    lost_packets,
    start_stream,
)
from siprec.rtp.state import HISTORY, new_legs, new_streams


def unseen(history: History, numbers: list[int], batch: int, stream: int = 0) -> list[bool]:
    ext = np.array(numbers, np.int64)
    return history.unseen(np.full(ext.shape, stream, np.int64), ext, batch).tolist()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**40), st.integers(-32768, 32767))
def test_a_16_bit_number_is_unwrapped_to_the_nearest(reference, distance):
    seq = np.array([(reference + distance) & 0xFFFF], np.int32)
    assert delta16(seq, np.array([reference])).tolist() == [distance]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**50), st.integers(-(2**31), 2**31 - 1))
def test_a_32_bit_timestamp_is_unwrapped_to_the_nearest(reference, distance):
    timestamp = np.array([(reference + distance) & 0xFFFFFFFF], np.uint32)
    assert delta32(timestamp, np.array([reference])).tolist() == [distance]


def test_the_first_of_equal_numbers_in_a_batch_is_the_new_one():
    assert unseen(History.private(1), [70000, 70001, 70000, 70002, 70001, 70000], 1) == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]


def test_a_number_of_an_earlier_batch_is_a_duplicate_until_a_whole_history_has_passed():
    history = History.private(1)
    unseen(history, list(range(70000, 70010)), 1)
    assert unseen(history, [70003, 70010], 2) == [False, True]
    assert unseen(history, list(range(70011, 70011 + HISTORY)), 3) == [True] * HISTORY
    assert unseen(history, [70003], 4) == [True]


def test_more_numbers_than_a_history_in_one_batch_are_told_apart():
    history = History.private(1)
    numbers = [70000, 70000 + HISTORY, 70000 + HISTORY, 70000, 70000 + HISTORY, 70001]
    assert unseen(history, numbers, 1) == [True, True, False, False, False, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3 * HISTORY), min_size=1, max_size=60), st.integers(0, 1))
def test_within_a_batch_exactly_the_first_of_each_number_is_new(numbers, stream):
    history = History.private(2)
    shifted = [(2 << 16) + n for n in numbers]
    firsts = [n not in shifted[:i] for i, n in enumerate(shifted)]
    assert unseen(history, shifted, 1, stream) == firsts


def test_the_same_numbers_of_two_streams_are_no_duplicates():
    history = History.private(2)
    ext = np.array([70000, 70001, 70000, 70001])
    assert history.unseen(np.array([0, 0, 1, 1]), ext, 1).all()
    assert not history.unseen(np.array([0, 0, 1, 1]), ext, 2).any()


def test_an_unfinished_batch_that_is_repeated_under_its_number_gives_the_same():
    history = History.private(1)
    unseen(history, list(range(70000, 70020)), 1)
    again = [70018, 70020, 70021, 70020, 70019, 70022]
    first = unseen(history, again, 2)
    assert first == [False, True, True, False, False, True]
    assert unseen(history, again, 2) == first
    assert unseen(history, again, 3) == [False] * 6


def test_a_batch_number_wraps_without_harm():
    history = History.private(1)
    assert unseen(history, [70000], 2**32) == [True]
    assert unseen(history, [70000], 2**32 + 1) == [False]


def test_gaps_lie_between_the_ends_of_what_was_placed():
    history = History.private(1)
    ext = np.array([70000, 70001, 70004, 70005, 70007])
    stream, samples = np.zeros(5, np.int64), np.full(5, 160, np.int64)
    history.unseen(stream, ext, 1)
    u = (ext - 70003) * 160  # below zero at first
    history.remember(stream, ext, u, samples)
    assert history.missing(0, 70001, 70007) == (3, [(-160, 160, 2), (480, 640, 1)])


def test_a_gap_beside_a_packet_without_a_place_is_counted_only():
    history = History.private(1)
    ext = np.array([70000, 70002])
    history.unseen(np.zeros(2, np.int64), ext, 1)
    history.remember(np.zeros(1, np.int64), ext[1:], np.array([320]), np.array([160]))
    assert history.missing(0, 70001, 70002) == (1, [])


# -- streams of a leg --


class Leg:
    def __init__(self) -> None:
        self.legs, self.streams = new_legs(1), new_streams(1)

    def assign(self, packets: list[tuple[int, int]]) -> tuple[list[int], list[tuple[int, bool]]]:
        """(ssrc, seq) of each packet in; stream of each and (ssrc, restart) of each change out."""
        ssrc = np.array([s for s, _ in packets], np.uint32)
        seq = np.array([n for _, n in packets], np.int32)
        out, changes = assign_leg(self.legs, self.streams, 0, ssrc, seq, np.zeros((len(seq), 2), np.bool_))
        return out.tolist(), [(c.ssrc, c.restart) for c in changes]


def test_a_new_ssrc_is_taken_at_its_first_packet_and_the_old_one_is_still_known():
    leg = Leg()
    assert leg.assign([(7, 10), (7, 11)]) == ([0, 0], [(7, False)])
    assert leg.assign([(7, 12), (9, 500), (7, 13)]) == ([0, 1, 0], [(9, False)])
    assert leg.streams["ssrc"].tolist() == [7, 9]


@pytest.mark.parametrize("distance", [MAX_DROPOUT + 1, -MAX_MISORDER - 5, 30000])
def test_a_restart_with_the_same_ssrc_needs_two_packets_in_sequence(distance):
    leg = Leg()
    leg.assign([(7, 1000)])
    leg.streams["highest"][0] = (2 << 16) + 1000
    there = (1000 + distance) & 0xFFFF
    assert leg.assign([(7, there)]) == ([-1], [])
    assert leg.assign([(7, there + 2)]) == ([-1], [])
    assert leg.assign([(7, there + 3)]) == ([1], [(7, True)])


@pytest.mark.parametrize("distance", [1, 2, MAX_DROPOUT, 0, -1, 1 - MAX_MISORDER])
def test_numbers_within_the_limits_of_rfc_3550_belong_to_the_stream(distance):
    leg = Leg()
    leg.assign([(7, 1000)])
    leg.streams["highest"][0] = (2 << 16) + 1000
    assert leg.assign([(7, (1000 + distance) & 0xFFFF)]) == ([0], [])
    stream, certain = assign_known(
        leg.streams, np.array([0]), np.array([7], np.uint32), np.array([(1000 + distance) & 0xFFFF])
    )
    assert (stream.tolist(), certain.tolist()) == ([0], [True])


def test_a_stream_that_has_packets_of_this_batch_is_not_given_away():
    leg = Leg()
    out, changes = leg.assign([(1, 10), (2, 20), (3, 30), (4, 40), (1, 11), (2, 21)])
    assert out == [0, 1, -1, -1, 0, 1]
    assert changes == [(1, False), (2, False)]
    assert leg.assign([(3, 31)])[0] == [0]


def test_a_stream_that_begins_lies_above_whatever_its_row_had():
    streams = new_streams(1)
    seen = []
    for seq in (65535, 0, 40000):
        start_stream(streams[0], ssrc=1, seq=seq)
        seen.append(int(streams["base"][0]))
        assert seen[-1] & 0xFFFF == seq
    assert all(after - before > 1 << 16 for before, after in itertools.pairwise(seen))


def test_nothing_of_the_stream_before_is_left_in_its_row():
    streams = new_streams(1)
    start_stream(streams[0], ssrc=1, seq=5)
    streams["jitter"], streams["transit"], streams["received"], streams["anchored"] = 99.0, 5.0, 70, 1
    start_stream(streams[0], ssrc=2, seq=9)
    row = streams[0]
    assert (row["jitter"], row["received"], row["anchored"], row["ssrc"]) == (0.0, 0, 0, 2)
    assert np.isnan(row["transit"])


def test_lost_is_expected_less_received_and_never_negative():
    streams = new_streams(2)
    start_stream(streams[0], ssrc=1, seq=100)
    streams["highest"][0] = streams["base"][0] + 9
    streams["received"][0] = 7
    start_stream(streams[1], ssrc=1, seq=100)
    streams["received"][1] = 5
    assert lost_packets(streams).tolist() == [3, 0, 0, 0]
