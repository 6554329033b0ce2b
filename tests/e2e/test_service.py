"""The recorder as a service manager and its operator see it."""

import json
import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

from tests.helpers.caller import Caller
from tests.helpers.daemon import wait_for
from tests.helpers.offers import Line, metadata
from tests.helpers.player import Player, play, talk
from tests.helpers.service import Service, launched
from tests.helpers.voices import voice


def reload(service: Service, expected: str) -> str:
    """SIGHUP, and what the log says of it; `expected` is in it."""
    before = len(service.err)
    service.process.send_signal(signal.SIGHUP)
    wait_for(f"a log line with {expected!r}", lambda: expected in service.err[before:])
    return service.err[before:]


def sip_port(service: Service) -> int:
    wait_for("the greeting", lambda: service.greeted)
    return int(service.out.partition("udp://127.0.0.1:")[2].split(",")[0])


def test_what_a_reload_cannot_change_is_named_each_time_and_stays_as_it_was(tmp_path: Path) -> None:
    with launched(tmp_path) as service:
        port = sip_port(service)
        service.configure(
            log={"level": "debug"}, storage={"path": "elsewhere", "reserve_mb_per_call": 10_000}
        )
        said = reload(service, "reloaded: log.level")
        assert "needs a restart: storage.path, storage.reserve_mb_per_call" in said
        said = reload(service, "reloaded: nothing changed")
        assert "needs a restart: storage.path, storage.reserve_mb_per_call" in said
        with Caller(port) as caller:
            caller.acknowledge(caller.call())
            assert caller.bye().status == 200
        assert service.http("/metrics")[1].count("siprec_calls_admitted_total 1.0") == 1
        assert service.end() == 0
        assert list((tmp_path / "recordings").glob("2*/*/*/*/audio.wav"))
        assert not (tmp_path / "elsewhere").exists()


def test_a_wrong_configuration_is_not_taken_over(tmp_path: Path) -> None:
    with launched(tmp_path) as service:
        sip_port(service)
        service.configure(recording={"max_call": 1})
        said = reload(service, "not reloaded: ")
        assert "unknown key recording.max_call, the nearest known one is recording.max_calls" in said
        assert service.http("/readyz")[0] == 200
        assert service.end() == 0


def test_a_reload_during_the_start_does_not_say_ready_before_the_sockets_are_bound(tmp_path: Path) -> None:
    states: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0siprec-test-{tmp_path.name}-{time.monotonic_ns()}")
        name = manager.getsockname().decode().replace("\0", "@", 1)
        manager.settimeout(20)
        with launched(tmp_path, environ={"NOTIFY_SOCKET": name}) as service:
            wait_for("the control socket", Path(service.settings["control"]["socket"]).exists)
            service.process.send_signal(signal.SIGHUP)
            while not states or not states[-1].startswith("READY=1"):
                states.append(manager.recv(500).decode())
            assert service.http("/readyz") == (200, "ready\n")
            assert service.end() == 0
    assert states[0].startswith("READY=1"), "nothing was said before"


def test_the_greeting_is_three_lines_with_a_command_that_finds_the_recording(tmp_path: Path) -> None:
    with launched(tmp_path) as service:
        port = sip_port(service)
        where, files, call = service.out.splitlines()
        assert where.startswith(f"recording: point the SBC's SIPREC server at udp://127.0.0.1:{port}, tcp://")
        assert files == f"files:     {tmp_path}/recordings"
        assert call.endswith(f"siprec probe -c {tmp_path}/siprec.yaml --verify 'sip:127.0.0.1:{port}'")
        assert service.end() == 0


def test_a_reload_of_the_log_level_reaches_the_process_that_fills_the_catalogue(tmp_path: Path) -> None:
    """Its warnings about a catalogue that is away are left out at `error`, and come back."""
    with launched(tmp_path, log={"level": "error"}) as service:
        sip_port(service)
        catalog = tmp_path / "recordings" / "catalog.db"
        catalog.rename(tmp_path / "aside")
        with Caller(sip_port(service)) as caller:
            caller.acknowledge(caller.call())
            assert caller.bye().status == 200
        wait_for(
            "the catalogue to be missed", lambda: "siprec_catalog_away 1.0" in service.http("/metrics")[1]
        )
        assert "siprec.storage.catalog" not in service.err
        (tmp_path / "aside").rename(catalog)
        wait_for("the catalogue to be back", lambda: "siprec_catalog_away 0.0" in service.http("/metrics")[1])
        service.configure(log={"level": "info"})
        reload(service, "reloaded: log.level")
        catalog.rename(tmp_path / "aside")
        with Caller(sip_port(service)) as caller:
            caller.acknowledge(caller.call())
            assert caller.bye().status == 200
        wait_for("a warning of that process", lambda: "siprec.storage.catalog" in service.err)
        (tmp_path / "aside").rename(catalog)
        assert service.end() == 0


def test_closing_the_terminal_that_it_was_started_from_ends_it_and_finishes_its_recordings(
    tmp_path: Path,
) -> None:
    ours, its = os.openpty()
    with launched(tmp_path, stdin=its) as service:
        os.close(its)
        with Caller(sip_port(service)) as caller:
            caller.acknowledge(caller.call())
            os.close(ours)
            assert service.end(signal.SIGHUP) == 0
        assert "reloaded" not in service.err
        (document,) = (tmp_path / "recordings").rglob("recording.json")
        assert '"state":"ended"' in document.read_text()


def test_odd_metadata_and_a_silent_leg_are_alarms_and_events_of_their_recording(tmp_path: Path) -> None:
    """One about all that is odd in a request; the log does not repeat what the peer wrote."""
    odd = metadata().replace("</recording>", '<stream stream_id="sip:eve@x"/><stream/></recording>')
    with (
        launched(tmp_path) as service,
        Caller(sip_port(service)) as caller,
        closing(Player(talk(voice(1, 0.4), ssrc=1))) as player,
    ):
        answer = caller.call((Line(player.port, "1"), Line(40_002, "2")), odd)
        assert answer.status == 200
        play([player], answer.message.ports()[:1])
        player.finish()
        assert caller.bye().status == 200
        wait_for("the alarm", lambda: "one_way: leg 1: no RTP on this leg" in service.err)
        assert service.err.count(" metadata: stream … has no label, and 2 more; see") == 1
        assert "sip:eve" not in service.err
        metrics = service.http("/metrics")[1]
        assert 'siprec_alarms_total{kind="metadata"} 1.0' in metrics
        assert 'siprec_alarms_total{kind="one_way"} 1.0' in metrics
        assert service.end() == 0
        (document,) = (tmp_path / "recordings").rglob("recording.json")
        types = [event["type"] for event in json.loads(document.read_text())["events"]]
        assert types.count("odd_request") == 3
        assert types.count("metadata") == 1
        assert types.count("one_way") == 1


def test_an_alarm_about_a_leg_is_an_event_of_its_recording(tmp_path: Path) -> None:
    with launched(tmp_path, recording={"no_media_s": 5}) as service:
        with Caller(sip_port(service)) as caller:
            caller.acknowledge(caller.call())
            wait_for("the alarms", lambda: service.err.count("no_media: leg ") == 2)
            assert caller.bye().status == 200
        assert 'siprec_alarms_total{kind="no_media"} 2.0' in service.http("/metrics")[1]
        assert service.end() == 0
        (document,) = (tmp_path / "recordings").rglob("recording.json")
        for leg in (0, 1):
            assert f'"type":"no_media","leg":{leg},"text":"no RTP at all for 5 s' in document.read_text()
