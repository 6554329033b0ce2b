"""What the watch raises alarms about."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from siprec.config import Config
from siprec.daemon.alarm import Alarm, Alarms
from siprec.daemon.calls import Calls
from siprec.daemon.limits import Capacity
from siprec.daemon.live import LiveRecording
from siprec.daemon.metrics import Metrics
from siprec.daemon.roll_over import MAX_STREAMS
from siprec.daemon.watch import CATALOG_AWAY_S, ROLL_OVER_S, Watch
from siprec.media.supervisor import MediaSupervisor
from siprec.rtp.state import new_legs, new_streams
from siprec.storage.space import SpaceAccount


class Watched:
    """A watch over two idle workers and a catalogue."""

    def __init__(self) -> None:
        self.heard: list[Alarm] = []
        self.fault: str | None = None
        self.saved: list[LiveRecording] = []
        self.counters: list[dict[str, float]] = [{}, {}]
        self.now = 100.0
        workers = [SimpleNamespace(number=i, counters=counters) for i, counters in enumerate(self.counters)]
        self.calls = Calls(Capacity(calls=1, limit="a test"))
        self._watch = Watch(
            Config(),
            self.calls,
            cast(MediaSupervisor, SimpleNamespace(workers=workers)),
            cast(SpaceAccount, None),
            Alarms(Metrics().registry, listener=self.heard.append),
            catalog_fault=lambda: self.fault,
            save=self.saved.append,
        )

    def kinds(self, seconds: float = 1.0) -> list[Any]:
        """What is raised at the next look, so much later."""
        self.now += seconds
        self.heard.clear()
        self._watch.look(self.now)
        return [alarm.kind.value for alarm in self.heard]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_catalogue_that_stays_away_is_one_alarm_each_time(watched: Watched) -> None:
    for _ in range(2):
        watched.fault = "OperationalError: connection refused"
        assert watched.kinds() == []
        assert watched.kinds(CATALOG_AWAY_S) == ["catalog_away"]
        assert watched.heard[0].text.startswith("OperationalError: connection refused; recording goes on")
        assert watched.kinds(CATALOG_AWAY_S) == []
        watched.fault = None
        assert watched.kinds() == []


def test_a_catalogue_that_is_soon_back_is_none(watched: Watched) -> None:
    watched.fault = "locked"
    assert watched.kinds() == []
    watched.fault = None
    assert watched.kinds(CATALOG_AWAY_S) == []


@pytest.mark.parametrize(
    ("counter", "kind"), [("stalled_ticks", "disk_stalled"), ("clock_steps", "clock_step")]
)
def test_a_counter_that_begins_to_grow_is_one_alarm(watched: Watched, counter: str, kind: str) -> None:
    assert watched.kinds() == []
    watched.counters[1][counter] = 3
    assert watched.kinds() == [kind]
    assert watched.heard[0].text.startswith("media worker 1: ")
    watched.counters[1][counter] = 8
    assert watched.kinds() == []
    assert watched.kinds() == []
    watched.counters[1][counter] = 9
    watched.counters[0][counter] = 1
    assert watched.kinds() == [kind, kind]


def test_a_new_worker_counts_from_0(watched: Watched) -> None:
    watched.counters[0]["clock_steps"] = 5
    watched.kinds()
    watched.counters[0].clear()
    assert watched.kinds() == []
    watched.counters[0]["clock_steps"] = 1
    assert watched.kinds() == ["clock_step"]


EPOCH_NS = 77


def encrypted_call(watched: Watched) -> tuple[Any, Any, Any]:
    """A call that runs, of one encrypted and one plain leg; its rows in the worker's memory."""
    legs, streams = new_legs(2), new_streams(2)
    legs["epoch_ns"], streams["live"] = EPOCH_NS, [1, 0, 1, 0]
    streams["ssrc"] = [11, 12, 13, 14]

    def load(numbers: Any) -> tuple[Any, Any]:
        return legs[numbers], streams[(2 * numbers[:, None] + np.arange(2)).reshape(-1)]

    media = SimpleNamespace(
        worker=SimpleNamespace(state=SimpleNamespace(load=load)), opened=SimpleNamespace(epoch_ns=EPOCH_NS)
    )
    legs_of = [
        SimpleNamespace(spec=SimpleNamespace(leg=leg, srtp=keys), srtp_index={}, active_since=None)
        for leg, keys in enumerate((object(), None))
    ]
    live = SimpleNamespace(media=media, legs=legs_of, end_ns=None, answered_ns=None)
    watched.calls.live["id"] = cast(LiveRecording, live)
    return live, legs, streams


def test_a_roll_over_counter_that_rises_is_journaled_once(watched: Watched) -> None:
    live, _, streams = encrypted_call(watched)
    streams["srtp_index"] = 65_000
    watched.kinds()
    assert watched.saved == []
    assert live.legs[0].srtp_index == {11: 65_000}
    assert live.legs[1].srtp_index == {}
    streams["srtp_index"][0] = 65_540
    watched.kinds(ROLL_OVER_S)
    assert watched.saved == [live]
    assert live.legs[0].srtp_index == {11: 65_540}
    streams["srtp_index"][0] = 66_000
    watched.kinds(ROLL_OVER_S)
    assert watched.saved == [live]
    streams["live"][1], streams["srtp_index"][1] = 1, 5 * 65_536
    watched.kinds(ROLL_OVER_S)
    assert watched.saved == [live, live]
    assert live.legs[0].srtp_index == {11: 66_000, 12: 5 * 65_536}


def test_rows_that_another_call_has_by_now_say_nothing(watched: Watched) -> None:
    live, legs, streams = encrypted_call(watched)
    legs["epoch_ns"], streams["srtp_index"] = EPOCH_NS + 1, 70_000
    watched.kinds()
    assert (watched.saved, live.legs[0].srtp_index) == ([], {})


def test_the_ssrcs_of_a_leg_are_remembered_up_to_a_bound(watched: Watched) -> None:
    live, _, streams = encrypted_call(watched)
    for number in range(MAX_STREAMS + 10):
        streams["ssrc"][0], streams["srtp_index"][0] = number, 9
        watched.kinds(ROLL_OVER_S)
    assert list(live.legs[0].srtp_index) == list(range(10, MAX_STREAMS + 10))
