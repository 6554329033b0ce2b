"""Who is recorded on a leg with two senders: hand-overs are followed, two at once are never mixed (INTEROP 3.10, 3.11)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from siprec.rtp.senders import OVERLAP_NS, QUIET_NS, RIVAL_PACKETS, follow
from siprec.rtp.state import new_legs

MS = 1_000_000
START = 1000 * MS


def every(start: int, end: int, *, ptime: int = 20, stream: int) -> list[tuple[int, int]]:
    """Packets of a stream: (arrival in ms, stream)."""
    return [(at, stream) for at in range(start, end, ptime)]


def hear(
    packets: Iterable[tuple[int, int]], *, late: tuple[int, ...] = (), tick_ms: int = 200
) -> dict[int, list[int]]:
    """Arrival [ms] of the packets that are not placed, by stream. late: of those that come after newer ones."""
    packets = sorted(packets)
    leg = new_legs(1)[0]
    hidden: dict[int, list[int]] = {0: [], 1: []}
    current = 0
    for tick in range(packets[0][0] // tick_ms, packets[-1][0] // tick_ms + 1):
        some = [packet for packet in packets if packet[0] // tick_ms == tick]
        if not some:
            continue
        which = np.array([stream for _, stream in some], np.int64)
        arrival = START + np.array([at for at, _ in some], np.int64) * MS
        if (which != current).any() or leg["sender"]:
            behind = np.array([at in late for at, _ in some])
            left_outs = follow(leg, current, which, arrival, behind)
            for (at, stream), left_out in zip(some, left_outs, strict=True):
                if left_out:
                    hidden[stream].append(at)
        current = int(leg["sender"]) - 1 if leg["contest"] else int(which[-1])
        leg["last_ns"] = arrival[-1]
    return hidden


TICKS = pytest.mark.parametrize("tick_ms", [50, 200, 1000])


@TICKS
@pytest.mark.parametrize("overlap", [-500, -20, 0, 20, 60])
def test_a_hand_over_with_a_small_overlap_hides_nothing(overlap, tick_ms):
    packets = every(0, 1010, stream=0) + every(1013 - overlap, 3000, stream=1)
    assert hear(packets, tick_ms=tick_ms) == {0: [], 1: []}


@TICKS
def test_a_hand_over_and_the_return_hide_nothing(tick_ms):
    packets = every(0, 1010, stream=0) + every(993, 2000, stream=1) + every(1985, 3000, stream=0)
    assert hear(packets, tick_ms=tick_ms) == {0: [], 1: []}


@TICKS
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("ptimes", [(20, 20), (30, 20), (20, 60), (10, 10)])
def test_of_two_that_go_on_side_by_side_the_first_one_is_recorded(first, ptimes, tick_ms):
    packets = every(0, 4000, ptime=ptimes[0], stream=first)
    packets += every(1007, 4000, ptime=ptimes[1], stream=1 - first)
    hidden = hear(packets, tick_ms=tick_ms)
    assert hidden[first] == []
    placed = set(range(1007, 4000, ptimes[1])) - set(hidden[1 - first])
    # what is placed of the other came before it was clear that there are two
    assert len(placed) <= max(RIVAL_PACKETS, OVERLAP_NS // MS // ptimes[1] + 2)
    assert max(placed, default=0) < 1007 + max(OVERLAP_NS // MS + 40, RIVAL_PACKETS * ptimes[1])


def test_within_one_batch_nothing_of_the_second_is_placed():
    packets = every(0, 1000, stream=0) + every(203, 400, stream=1)
    assert hear(packets)[1] == list(range(203, 400, 20))


@TICKS
def test_when_the_first_falls_silent_the_second_is_recorded_from_there(tick_ms):
    packets = every(0, 2000, stream=0) + every(1007, 4000, stream=1)
    hidden = hear(packets, tick_ms=tick_ms)
    assert hidden[0] == []
    assert 1980 + QUIET_NS // MS - 20 <= max(hidden[1]) <= 1980 + QUIET_NS // MS


@TICKS
def test_a_first_that_comes_back_beside_the_second_is_the_second_now(tick_ms):
    packets = every(0, 1000, stream=0) + every(603, 4000, stream=1) + every(2000, 4000, stream=0)
    hidden = hear(packets, tick_ms=tick_ms)
    assert max(hidden[1]) < 1300
    assert min(hidden[0]) >= 2000
    assert max(hidden[0]) > 3900


@TICKS
def test_late_packets_of_the_sender_before_are_no_second_sender(tick_ms):
    packets = every(0, 1000, stream=0) + every(1003, 4000, stream=1)
    late = (1105, 1106, 1190, 1700, 2300, 2301, 2302, 2399, 2480, 3100)
    assert hear(packets + [(at, 0) for at in late], late=late, tick_ms=tick_ms) == {0: [], 1: []}


def test_late_packets_of_a_second_sender_are_not_placed_either():
    packets = every(0, 3000, stream=0) + every(1007, 3000, stream=1)
    assert 2500 in hear([*packets, (2500, 1)], late=(2500,))[1]


@TICKS
def test_a_second_sender_that_speaks_now_and_then_is_known_again(tick_ms):
    packets = every(0, 6000, stream=0)
    for start in (1007, 3007, 5007):
        packets += every(start, start + 500, stream=1)
    hidden = hear(packets, tick_ms=tick_ms)
    assert hidden[0] == []
    assert len([at for at in hidden[1] if at > 3000]) == 50
