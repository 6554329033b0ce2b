"""The recorder as a user runs it: `siprec serve -c FILE` in a process of its own, watched from outside."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from siprec.cli.main import run
from siprec.daemon.control_client import ControlClient

T = TypeVar("T")

SIPREC = Path(sys.executable).with_name("siprec")
START_S = 30.0
STOP_S = 30.0
POLL_S = 0.02

_GREETING = re.compile(r"(udp|tcp)://[\d.]+:(\d+)")
_MARK = "E2E_DAEMON"
"In the environment of every process of a daemon, those that outlive it included: the daemon's folder."
_FIRST_PORT, _LAST_PORT = 10_000, 31_999
_TEST_WORKERS = 20
_given = itertools.count()


def wait_for(what: str, look: Callable[[], T | None], *, timeout_s: float = 20.0) -> T:
    """The first value but None and False that `look` returns; fails the test, saying what was waited for, after `timeout_s`."""
    give_up = time.monotonic() + timeout_s
    while (found := look()) is None or found is False:
        if time.monotonic() > give_up:
            pytest.fail(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(POLL_S)
    return found


def free_tcp_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def rtp_range(pairs: int) -> str:
    """`FIRST-LAST` of so many RTP/RTCP pairs, all unbound now, that no other test worker of this run is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _TEST_WORKERS
    size = 2 * pairs
    lanes = (_LAST_PORT + 1 - _FIRST_PORT) // (size * _TEST_WORKERS)
    for _ in range(lanes):
        lane = next(_given) % lanes
        first = _LAST_PORT + 1 - (lane * _TEST_WORKERS + worker + 1) * size
        if all(_unbound(port) for port in range(first, first + size)):
            return f"{first}-{first + size - 1}"
    pytest.fail(f"no {pairs} free port pairs in {_FIRST_PORT}-{_LAST_PORT}")


def _unbound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@dataclass(slots=True)
class Daemon:
    """One recorder. `folder` holds its configuration, recordings and log, and survives a restart."""

    folder: Path
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    "Configuration beside what is set here, by section."
    pairs: int = 50
    "RTP/RTCP port pairs."
    ports: dict[str, int] = field(default_factory=dict)
    "SIP port by transport: `udp` and `tcp`."
    process: subprocess.Popen[bytes] | None = None
    metrics_port: int = 0
    _short: str = ""
    _starts: int = 0

    @property
    def config_file(self) -> Path:
        return self.folder / "siprec.yaml"

    @property
    def storage(self) -> Path:
        return self.folder / "recordings"

    @property
    def control_socket(self) -> Path:
        return Path(self._short) / "siprec.sock"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything it has written to stdout and stderr, over all its starts."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("serve.*")))

    # -- life --

    def start(self) -> None:
        """Start it and wait until it takes calls."""
        self._short = self._short or tempfile.mkdtemp(prefix="siprec-")
        self.metrics_port = free_tcp_port()
        self._starts += 1
        self.config_file.write_text(yaml.safe_dump(self._configuration()))
        greeting = self.folder / f"serve.{self._starts}.out"
        with greeting.open("wb") as out, (self.folder / f"serve.{self._starts}.err").open("wb") as err:
            self.process = subprocess.Popen(
                [SIPREC, "serve", "-c", self.config_file],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=os.environ | {_MARK: str(self.folder)},
                start_new_session=True,  # so that Ctrl-C can be sent as a terminal does
            )
        wait_for("the greeting", lambda: self._greeted(greeting), timeout_s=START_S)
        wait_for("readiness", lambda: self.http("/readyz")[0] == 200, timeout_s=START_S)

    def _greeted(self, greeting: Path) -> bool:
        assert self.process is not None
        if (status := self.process.poll()) is not None:
            pytest.fail(f"`siprec serve` ended with status {status}:\n{self.log}")
        text = greeting.read_text()
        self.ports = {transport: int(port) for transport, port in _GREETING.findall(text)}
        return "test call:" in text

    def _configuration(self) -> dict[str, dict[str, Any]]:
        ports = {"udp": 0, "tcp": 0} | self.ports
        made: dict[str, dict[str, Any]] = {
            "sip": {"listen": [f"{transport}://127.0.0.1:{port}" for transport, port in ports.items()]},
            "rtp": {"ports": rtp_range(self.pairs), "workers": 1, "pool_mb": 16, "quarantine_s": 1},
            "storage": {"path": "recordings", "low_water_mb": 0, "reserve_mb_per_call": 1},
            "control": {"socket": str(self.control_socket)},
            "metrics": {"listen": f"127.0.0.1:{self.metrics_port}"},
            "log": {"level": "debug"},
        }
        for name, section in self.sections.items():
            made[name] = made.get(name, {}) | section
        return made

    def stop(self, number: signal.Signals = signal.SIGTERM, *, whole_group: bool = False) -> None:
        """Stop it and check that it ends with status 0 and has met no fault of its own.

        whole_group: to its process group, as Ctrl-C in a terminal.
        """
        assert self.process is not None
        (os.killpg if whole_group else os.kill)(self.pid, number)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running {STOP_S:g} s after {number.name}:\n{self.log}")
        assert status == 0, f"ended with status {status}:\n{self.log}"
        assert "Traceback" not in self.log
        wait_for("the end of the media workers", lambda: not self.processes())

    def kill(self, *, workers: bool = False) -> None:
        """SIGKILL to the main process alone, whose workers end by themselves, or to all processes at once."""
        assert self.process is not None
        for pid in [self.pid, *(self.workers() if workers else [])]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_for("the end of the media workers", lambda: not self.processes())

    def close(self) -> None:
        """End whatever of it is still there."""
        if self.process is not None:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            wait_for("the end of its processes", lambda: not self.processes())
        shutil.rmtree(self._short, ignore_errors=True)

    def processes(self) -> dict[int, list[str]]:
        """The living processes of the daemon: their command lines by id."""
        mark = f"{_MARK}={self.folder}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):  # empty for one that has ended
                    found[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
            except OSError:
                continue
        return found

    def workers(self) -> list[int]:
        """The ids of its media workers."""
        return self._running("siprec.media.worker_main")

    def keeper(self) -> int:
        """The id of the process that writes journal and documents."""
        (pid,) = self._running("siprec.daemon.keeper_main")
        return pid

    def _running(self, module: str) -> list[int]:
        return [pid for pid, command in self.processes().items() if module in command]

    # -- what it says --

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the metrics listener; 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except ConnectionError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics whose labels include these; 0 when there is none yet."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.http("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def control(self, command: str, **args: object) -> Any:
        """The result of a command on the control socket."""
        with ControlClient(self.control_socket) as client:
            return client.call(command, **args)

    def command(self, *args: str) -> Outcome:
        """`siprec ARGS -c FILE`, run in this process: the interpreter's start would take longer than the command."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run([*args, "-c", str(self.config_file)])
        return Outcome(status, out.getvalue(), err.getvalue())

    def show(self, recording: str) -> dict[str, Any]:
        """`siprec show ID --json`."""
        outcome = self.command("show", recording, "--json")
        assert outcome.status == 0, outcome.err
        shown: dict[str, Any] = json.loads(outcome.out)
        return shown

    def ls(self, *options: str) -> list[dict[str, Any]]:
        """`siprec ls --json`, newest first."""
        outcome = self.command("ls", "--json", *options)
        assert outcome.status == 0, outcome.err
        listed: list[dict[str, Any]] = json.loads(outcome.out)
        return listed

    def recordings_of(self, call_id: str) -> list[dict[str, Any]]:
        """Recordings that a dialog with this Call-ID carried, newest first."""
        return [one for one in self.ls() if any(d["call_id"] == call_id for d in one["dialogs"])]

    def recording_of(self, call_id: str, *, state: str = "ended") -> dict[str, Any]:
        """The one recording of a call, as `siprec show` has it, once it is in `state`."""
        wait_for(
            f"the recording of {call_id} to be {state}",
            lambda: any(one["state"] == state for one in self.recordings_of(call_id)),
        )
        (one,) = self.recordings_of(call_id)
        return self.show(one["id"])

    def live(self, call_id: str) -> dict[str, Any] | None:
        """A running call as the command `top` has it; None when there is none."""
        found = [one["id"] for one in self.recordings_of(call_id)]
        return next((call for call in self.control("top")["calls"] if call["id"] in found), None)


@contextlib.contextmanager
def running(folder: Path, *, pairs: int = 50, **sections: dict[str, Any]) -> Iterator[Daemon]:
    """A daemon in `folder`, with sections of the configuration; killed at the end if it still runs.

    Its log goes to stdout at the end, which pytest shows with a test that failed.
    """
    daemon = Daemon(folder, sections, pairs)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()
        print(daemon.log)
