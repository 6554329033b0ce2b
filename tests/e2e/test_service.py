"""The recorder as a service manager and its operator see it."""

import signal
import socket
import time
from pathlib import Path

from tests.helpers.caller import Caller
from tests.helpers.daemon import wait_for
from tests.helpers.service import Service, launched


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
