"""What the watch raises alarms about."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from siprec.config import Config
from siprec.daemon.alarm import Alarm, Alarms
from siprec.daemon.calls import Calls
from siprec.daemon.limits import Capacity
from siprec.daemon.metrics import Metrics
from siprec.daemon.watch import CATALOG_AWAY_S, Watch
from siprec.media.supervisor import MediaSupervisor
from siprec.storage.space import SpaceAccount


class Watched:
    """A watch over two idle workers and a catalogue."""

    def __init__(self) -> None:
        self.heard: list[Alarm] = []
        self.fault: str | None = None
        self.counters: list[dict[str, float]] = [{}, {}]
        self.now = 100.0
        workers = [SimpleNamespace(number=i, counters=counters) for i, counters in enumerate(self.counters)]
        self._watch = Watch(
            Config(),
            Calls(Capacity(calls=1, limit="a test")),
            cast(MediaSupervisor, SimpleNamespace(workers=workers)),
            cast(SpaceAccount, None),
            Alarms(Metrics().registry, listener=self.heard.append),
            catalog_fault=lambda: self.fault,
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
