"""What an alarm does."""

import logging

import pytest

from siprec.daemon.alarm import LINES_PER_KIND, WINDOW_S, Alarm, AlarmKind, Alarms
from siprec.daemon.metrics import Metrics


def counted(metrics: Metrics, kind: AlarmKind) -> float | None:
    return metrics.registry.get_sample_value("siprec_alarms_total", {"kind": kind.value})


def test_an_alarm_is_logged_counted_and_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    metrics, heard = Metrics(), list[Alarm]()
    alarms = Alarms(metrics.registry, listener=heard.append)
    alarms(AlarmKind.NO_MEDIA, "no RTP for 30 s", recording="0192", leg=1)
    alarms(AlarmKind.DISK_LOW, "1,000 MB left")
    assert [record.getMessage() for record in caplog.records] == [
        "[0192] no_media: leg 1: no RTP for 30 s",
        "disk_low: 1,000 MB left",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert counted(metrics, AlarmKind.NO_MEDIA) == 1
    assert heard == [
        Alarm(kind=AlarmKind.NO_MEDIA, text="no RTP for 30 s", recording="0192", leg=1),
        Alarm(kind=AlarmKind.DISK_LOW, text="1,000 MB left", recording=None),
    ]


def test_every_kind_is_counted_from_zero() -> None:
    metrics = Metrics()
    Alarms(metrics.registry)
    assert [counted(metrics, kind) for kind in AlarmKind] == [0.0] * len(AlarmKind)


def test_a_storm_is_counted_whole_and_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    metrics, now = Metrics(), [100.0]
    alarms = Alarms(metrics.registry, clock=lambda: now[0])
    for _ in range(1_000):
        alarms(AlarmKind.FLOOD, "strangers on a port")
    alarms(AlarmKind.DISK_LOW, "another kind is not held back")
    assert len(caplog.records) == LINES_PER_KIND + 1
    now[0] += WINDOW_S
    alarms(AlarmKind.FLOOD, "strangers on a port")
    assert caplog.records[-1].getMessage().endswith("(990 more of this kind were not logged)")
    alarms(AlarmKind.FLOOD, "strangers on a port")
    assert caplog.records[-1].getMessage() == "flood: strangers on a port"
    assert counted(metrics, AlarmKind.FLOOD) == 1_002
