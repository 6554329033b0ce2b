"""What the service manager is told."""

import os
import socket
from pathlib import Path

import pytest

from siprec.daemon.sdnotify import Notifier, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive_at_a_path_and_at_an_abstract_socket(tmp_path: Path, abstract: bool) -> None:
    address = f"@siprec-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1) if abstract else address)
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": address})
        assert notifier.ready("recording\non 2 listeners")
        assert manager.recv(200) == b"READY=1\nSTATUS=recording on 2 listeners"
        assert notifier.reloading(monotonic_ns=123_456_789_000)
        assert manager.recv(200) == b"RELOADING=1\nMONOTONIC_USEC=123456789"
        assert notifier.status("3 calls")
        assert manager.recv(200) == b"STATUS=3 calls"
        assert notifier.watchdog()
        assert manager.recv(200) == b"WATCHDOG=1"
        assert notifier.stopping("finishing")
        assert manager.recv(200) == b"STOPPING=1\nSTATUS=finishing"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_sent(environ: dict[str, str]) -> None:
    assert not Notifier.from_environ(environ).ready("recording")


def test_a_manager_that_is_gone_does_not_disturb(tmp_path: Path) -> None:
    assert not Notifier(str(tmp_path / "gone")).watchdog()


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        notifier = Notifier(str(tmp_path / "n"))
        assert not all(notifier.status("x" * 1000) for _ in range(10_000))


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time_by_the_process_it_watches(
    environ: dict[str, str], interval: float | None
) -> None:
    assert watchdog_interval(environ, pid=7) == interval
