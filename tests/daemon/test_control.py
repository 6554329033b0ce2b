"""Commands over the control socket, with the daemon's server and the commands' client."""

import asyncio
import json
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from siprec.daemon import control
from siprec.daemon.control import ControlError, ControlRequest, ControlServer, Handler
from siprec.daemon.control_client import CommandRefusedError, ControlClient, DaemonAwayError


async def echo(request: ControlRequest) -> object:
    return {"args": request.args, "uid": request.peer.uid, "gid": request.peer.gid, "pid": request.peer.pid}


async def refuse(request: ControlRequest) -> object:
    raise ControlError(f"no recording {request.args['id']}")


async def fail(_: ControlRequest) -> object:
    raise KeyError("secret detail")


HANDLERS: dict[str, Handler] = {"echo": echo, "refuse": refuse, "fail": fail}


def served(path: Path, client: Callable[[], None]) -> None:
    """Run `client` in a thread against a server at `path`."""

    async def run() -> None:
        server = ControlServer(HANDLERS)
        await server.start(path)
        try:
            await asyncio.to_thread(client)
        finally:
            await server.close()

    uvloop.run(run())


def test_a_command_brings_its_result_and_the_handler_knows_who_asked(tmp_path: Path) -> None:
    def client() -> None:
        with ControlClient(tmp_path / "s") as daemon:
            for number in range(3):
                assert daemon.call("echo", number=number, text="zwei\nZeilen ü") == {
                    "args": {"number": number, "text": "zwei\nZeilen ü"},
                    "uid": os.getuid(),
                    "gid": os.getgid(),
                    "pid": os.getpid(),
                }

    served(tmp_path / "s", client)


def test_a_refusal_carries_its_reason_and_the_connection_goes_on(tmp_path: Path) -> None:
    def client() -> None:
        with ControlClient(tmp_path / "s") as daemon:
            with pytest.raises(CommandRefusedError, match="no recording 7"):
                daemon.call("refuse", id=7)
            with pytest.raises(CommandRefusedError, match="unknown command; known are echo, fail, refuse"):
                daemon.call("shutdown")
            assert daemon.call("echo")

    served(tmp_path / "s", client)


def test_a_fault_in_a_command_is_logged_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def client() -> None:
        with (
            ControlClient(tmp_path / "s") as daemon,
            pytest.raises(CommandRefusedError, match="internal error"),
        ):
            daemon.call("fail")

    served(tmp_path / "s", client)
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "line", [b"hello", b"[]", b'{"command": 5}', b'{"command": "echo", "args": []}', b"[" * 9_000]
)
def test_what_is_no_request_is_refused(tmp_path: Path, line: bytes) -> None:
    def client() -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(tmp_path / "s"))
            raw.sendall(line + b"\n")
            assert json.loads(raw.recv(1000))["error"].startswith("a request is")

    served(tmp_path / "s", client)


def test_a_request_without_end_is_refused_and_the_connection_closed(tmp_path: Path) -> None:
    def client() -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(tmp_path / "s"))
            raw.sendall(b"x" * (control.MAX_REQUEST_BYTES + 1))
            with raw.makefile("rb") as replies:
                assert json.loads(replies.readline())["error"] == "a request has at most 65536 bytes"
                assert replies.read() == b""

    served(tmp_path / "s", client)


def test_connections_above_the_bound_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CONNECTIONS", 1)

    def client() -> None:
        with ControlClient(tmp_path / "s") as first, ControlClient(tmp_path / "s") as second:
            assert first.call("echo")
            with pytest.raises(DaemonAwayError, match="closed the connection"):
                second.call("echo")

    served(tmp_path / "s", client)


def test_an_idle_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "IDLE_S", 0.05)

    def client() -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(tmp_path / "s"))
            assert raw.recv(10) == b""

    served(tmp_path / "s", client)


def test_the_socket_is_for_owner_and_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def client() -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    served(path, client)
    assert not path.exists()


def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    def client() -> None:
        with ControlClient(path) as daemon:
            assert daemon.call("echo")

    served(path, client)


def test_a_second_daemon_is_refused_and_the_first_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def client() -> None:
        with pytest.raises(ControlError, match="another daemon is running"):
            asyncio.run(ControlServer(HANDLERS).start(path))
        with ControlClient(path) as daemon:
            assert daemon.call("echo")

    served(path, client)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ControlError, match="is no socket"):
        control.bind(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "reason"), [("x" * 200, "longer than 107 bytes"), ("none/s", "No such file")]
)
def test_an_impossible_path_is_refused_with_a_reason(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ControlError, match=reason):
        control.bind(tmp_path / name)


def test_without_a_daemon_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(DaemonAwayError, match="start it with `siprec serve`"):
        ControlClient(tmp_path / "s")


def test_a_daemon_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with (
            ControlClient(tmp_path / "s", timeout_s=0.05) as daemon,
            pytest.raises(DaemonAwayError, match="not answer"),
        ):
            daemon.call("echo")


def test_a_daemon_that_ends_in_the_middle_is_reported(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            ControlClient(tmp_path / "s") as daemon,
            pytest.raises(DaemonAwayError, match="closed the connection"),
        ):
            daemon.call("echo")
        thread.join()
