"""Several calls at once, on several media workers, one of which may die."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.helpers.calls import Start, offered, recorded, simple_call
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import metadata, multipart, sdp
from tests.helpers.player import Player, assert_aligned, assert_heard, play, talk
from tests.helpers.voices import voice

NewPlayer = Callable[..., Player]

CALLS = 6


def test_calls_on_two_workers_do_not_mix(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer
) -> None:
    """Six calls with the same SSRCs and ports that differ by two, half by UDP and half by TCP."""
    daemon = start_daemon(rtp={"workers": 2})
    pairs = [
        [player(talk(voice(10 * number + side, 2.0), ssrc=side)) for side in (1, 2)]
        for number in range(CALLS)
    ]
    with ExitStack() as running:
        calls = [
            running.enter_context(
                sipp(
                    daemon,
                    simple_call(multipart(sdp(offered(*pair)), metadata())),
                    transport="tcp" if number % 2 else "udp",
                )
            )
            for number, pair in enumerate(pairs)
        ]
        for call, pair in zip(calls, pairs, strict=True):
            play(pair, call.answer().ports())
        assert daemon.metric("siprec_calls") == CALLS
        assert len(daemon.workers()) == 2
        for call, pair in zip(calls, pairs, strict=True):
            for one in pair:
                one.finish()
            call.go_on()
    used = set()
    for call, pair in zip(calls, pairs, strict=True):
        got = recorded(daemon, call)
        left, right = pair
        at = assert_heard(got.audio[:, 0], left.packets), assert_heard(got.audio[:, 1], right.packets)
        assert_aligned((left, right), at)
        assert got.shown["verdict"]["result"] == "complete"
        used.update(call.answer().ports())
    assert len(used) == 2 * CALLS
    wait_for(  # half of the calls each; a worker tells its counters once a second
        "the packets of both workers",
        lambda: all(
            daemon.metric("siprec_worker_packets_total", worker=worker) == CALLS * 100 for worker in "01"
        ),
    )
    daemon.stop()


@pytest.mark.parametrize("killed_after", [30, 75])
def test_a_killed_worker_is_replaced_and_nothing_that_arrived_is_lost(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer, killed_after: int
) -> None:
    """The recording says that it was interrupted; every packet is in its place all the same."""
    daemon = start_daemon()
    left, right = pair = [player(talk(voice(70 + side, 3.0), ssrc=side)) for side in (1, 2)]
    with sipp(daemon, simple_call(multipart(sdp(offered(*pair)), metadata()))) as call:
        play(pair, call.answer().ports())
        left.wait_for(killed_after)
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGKILL)
        for one in pair:
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    at = assert_heard(got.audio[:, 0], left.packets), assert_heard(got.audio[:, 1], right.packets)
    assert_aligned((left, right), at)
    assert got.shown["verdict"]["reasons"] == ["interrupted"]
    (found,) = got.shown["verdict"]["findings"]
    (died,) = [event["at_s"] for event in got.shown["events"] if event["type"] == "worker_died"]
    assert found["at_s"] == pytest.approx(died, abs=0.01)
    assert [leg["packets"] for leg in got.shown["legs"]] == [150, 150]
    assert daemon.metric("siprec_alarms_total", kind="worker_died") == 1
    daemon.stop()
