"""Everything that a call needs is there before its 200 OK, or it gets a final answer in time and nothing is left."""

import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers import daemon as daemons
from tests.helpers.caller import ANSWER_S, Caller
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.service import launched
from tests.helpers.witness import (
    nothing_left_by,
    open_files,
    recording_folders,
    running_call,
    untouched_call,
)

Start = Callable[..., Daemon]

FAST = {"quarantine_s": 0.1}


def assert_refused(daemon: Daemon, *words: str, transport: str = "udp") -> None:
    """A call is answered 503 in time, with words that say why, and with nothing left behind."""
    before = daemon.metric("siprec_calls_refused_total", status="503")
    with nothing_left_by(daemon), Caller(daemon.ports[transport], transport=transport) as caller:
        answer = caller.call()
        assert answer.is_refusal(503), (answer.status, answer.seconds)
        assert answer.message.header("Retry-After")
        warning = answer.message.header("Warning") or ""
        assert all(word in warning for word in words), warning
    assert daemon.metric("siprec_calls_refused_total", status="503") == before + 1
    assert daemon.metric("siprec_alarms_total", kind="call_refused") > 0


def assert_recorded(daemon: Daemon) -> None:
    """Calls are recorded as if nothing had been."""
    with untouched_call(daemon, seconds=0.3):
        pass


@pytest.fixture
def daemon(start_daemon: Start) -> Daemon:
    """A daemon that has had its first call."""
    one = start_daemon(rtp=FAST)
    assert_recorded(one)
    return one


# -- ports --


def test_without_a_free_port_a_call_is_refused(start_daemon: Start) -> None:
    """All pairs but one are taken by somebody else: the first m-line finds one, the second does not."""
    daemon = start_daemon(pairs=6, rtp=FAST)
    assert_recorded(daemon)
    first = int(daemon_ports(daemon).split("-")[0])
    with ExitStack() as stack:
        for port in range(first, first + 10, 2):
            taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            taken.bind(("127.0.0.1", port))
        assert_refused(daemon, "no free port pair")
        assert daemon.metric("siprec_ports_skipped_total") > 0
    wait_for("the ports to have rested", lambda: daemon.metric("siprec_port_pairs_free") == 6)
    assert_recorded(daemon)
    daemon.stop()


def daemon_ports(daemon: Daemon) -> str:
    line = next(line for line in daemon.config_file.read_text().splitlines() if "ports: " in line)
    return line.partition("ports: ")[2]


def test_when_running_calls_have_all_ports_it_is_not_ready(start_daemon: Start) -> None:
    daemon = start_daemon(pairs=4, rtp=FAST)
    with running_call(daemon) as one, running_call(daemon, seed=3) as other:
        one.wait_until_heard()
        other.wait_until_heard()
        assert_refused(daemon, "full: room for 2 two-leg calls", "the ports")
        status, reason = daemon.http("/readyz")
        assert (status, "widen rtp.ports" in reason) == (503, True)
        with Caller(daemon.ports["tcp"], transport="tcp") as caller:
            assert caller.ask(caller.request("OPTIONS")).is_refusal(503)
    assert_recorded(daemon)
    assert daemon.http("/readyz")[0] == 200
    daemon.stop()


# -- disk --


def test_a_disk_without_room_at_the_start_means_no_calls_and_says_so(tmp_path: Path) -> None:
    """The daemon runs all the same: it answers, and people see why."""
    with launched(tmp_path, storage={"low_water_mb": 10_000_000}) as service:
        wait_for("the greeting", lambda: service.greeted)
        assert "room for 0 two-leg calls at a time, limited by " in service.err
        assert service.http("/healthz")[0] == 200
        status, reason = service.http("/readyz")
        assert (status, "MB of free disk" in reason) == (503, True)
        with Caller(int(service.out.partition("udp://127.0.0.1:")[2].split(",")[0])) as caller:
            assert caller.call().is_refusal(503)
            assert caller.ask(caller.request("OPTIONS")).is_refusal(503)
        assert not list((tmp_path / "recordings").glob("2*"))
        assert service.end() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB and 200 files in the place of the storage."""
    at = tmp_path / "recordings"
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=200", "none", str(at)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs: run as root")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


def test_when_the_disk_fills_up_calls_are_refused_and_the_running_one_goes_on(
    small_disk: Path, start_daemon: Start
) -> None:
    daemon = start_daemon(rtp=FAST, storage={"low_water_mb": 20})
    with untouched_call(daemon) as call:
        call.wait_until_heard()
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 50_000_000)
        assert_refused(daemon, "no space")
        full = (503, "no space for another call above storage.low_water_mb\n")
        wait_for("the daemon to say so", lambda: daemon.http("/readyz") == full)
        ballast.unlink()
        wait_for("readiness", lambda: daemon.http("/readyz")[0] == 200)
        assert_recorded(daemon)
    daemon.stop()


def test_when_no_file_can_be_made_calls_are_refused_and_the_running_one_goes_on(
    small_disk: Path, start_daemon: Start
) -> None:
    """Room for bytes, none for names: the disk says so only when it is asked."""
    daemon = start_daemon(rtp=FAST)
    with running_call(daemon) as call:
        call.wait_until_heard()
        ballast = small_disk / "ballast"
        ballast.mkdir()
        with suppress(OSError):
            for number in range(1_000):
                (ballast / str(number)).touch()
        assert_refused(daemon, "No space left on device")
        shutil.rmtree(ballast)
        assert_recorded(daemon)
    call.assert_exact(0, 1)
    daemon.stop()


@contextmanager
def file_limit(daemon: Daemon, size: int) -> Iterator[None]:
    """No file of the keeper process may grow beyond so many bytes: writes fail with EFBIG."""
    keeper = daemon.keeper()
    before = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(keeper, resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_be_written_refuses_the_call(daemon: Daemon) -> None:
    with file_limit(daemon, 0):
        assert_refused(daemon, "storage: write: File too large")
        assert_refused(daemon, "storage: write: File too large", transport="tcp")
    assert_recorded(daemon)
    daemon.stop()


def test_a_journal_that_cannot_be_written_refuses_the_call(daemon: Daemon) -> None:
    """The audio file was created already; it goes, and the running call does not notice."""
    with untouched_call(daemon) as call:
        call.wait_until_heard()
        with file_limit(daemon, 512):
            for _ in range(3):
                assert_refused(daemon, "storage: write: File too large")
        assert_recorded(daemon)
    daemon.stop()


def test_a_folder_that_cannot_be_created_refuses_the_call(daemon: Daemon) -> None:
    """A file stands where the folder of the day would be."""
    (recording,) = recording_folders(daemon)
    day = recording.parent
    day.rename(day.with_name("away"))
    day.touch()
    assert_refused(daemon, "create directory", "Not a directory")
    day.unlink()
    day.with_name("away").rename(day)
    assert_recorded(daemon)
    daemon.stop()


def test_a_journal_that_cannot_be_opened_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings/journal").touch()
    with launched(tmp_path) as service:
        assert service.process.wait(30) == 1
        assert service.err.startswith("siprec: storage.path: ")
        assert service.err.count("\n") == 1


HANGING = """
import sys, time
from pathlib import Path

from siprec.storage.fileops import FileOps

def hanging(real):
    def call(*args):
        while Path("hang").exists():
            time.sleep(0.01)
        return real(*args)
    return call

if "siprec.daemon.keeper_main" in sys.orig_argv:
    for name in ("open", "mkdir", "pwrite", "fsync", "fdatasync", "replace"):
        setattr(FileOps, name, hanging(getattr(FileOps, name)))
"""
"The keeper process waits in every call that changes a file as long as there is a file `hang`."


def test_a_disk_that_hangs_refuses_calls_in_time_and_leaves_nothing_when_it_comes_back(
    start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More calls than there are threads that wait; the running call is written by its worker all the same."""
    hook, hang = tmp_path / "hook", tmp_path / "hang"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(hook))
    daemon = start_daemon(rtp=FAST)
    assert_recorded(daemon)
    with untouched_call(daemon, seconds=3.0) as call:
        call.wait_until_heard()
        before = recording_folders(daemon)
        hang.touch()
        try:
            for transport in ("udp", "tcp", "udp", "tcp"):
                assert_refused(daemon, "the disk takes too long", transport=transport)
            assert recording_folders(daemon) == before
        finally:
            hang.unlink()
        assert_recorded(daemon)
        wait_for("late folders to be gone", lambda: len(recording_folders(daemon)) == len(before) + 1)
    assert len(daemon.ls("--state", "ended")) == len(before) + 1
    assert {one["state"] for one in daemon.ls()} <= {"ended", "discarded"}
    daemon.stop()


# -- the keeper process --


def test_a_keeper_that_is_killed_is_replaced_and_no_document_is_lost(daemon: Daemon) -> None:
    """Calls are refused while there is none; the running one ends with its documents, written by the next one."""
    with untouched_call(daemon) as call:
        call.wait_until_heard()
        os.kill(daemon.keeper(), signal.SIGKILL)
        wait_for("another keeper", lambda: daemon.metric("siprec_keeper_deaths_total") == 1)
        wait_for("readiness", lambda: daemon.http("/readyz")[0] == 200)
        assert_recorded(daemon)
    assert daemon.metric("siprec_alarms_total", kind="disk_error") >= 1
    daemon.stop()


def test_while_the_keeper_does_not_answer_calls_are_refused_and_ends_are_written_later(
    daemon: Daemon,
) -> None:
    with running_call(daemon, seconds=0.5, wait=False) as call:
        call.wait_until_heard()
        keeper = daemon.keeper()
        os.kill(keeper, signal.SIGSTOP)
        try:
            assert_refused(daemon, "the disk takes too long")
        finally:
            os.kill(keeper, signal.SIGCONT)
    shown = daemon.recording_of(call.caller.call_id)
    assert shown["verdict"]["result"] == "complete"
    wait_for("the folder of the refused call to go", lambda: len(recording_folders(daemon)) == 2)
    assert_recorded(daemon)
    daemon.stop()


# -- descriptors --


def test_few_descriptors_mean_few_calls_and_it_says_how_many(
    start_daemon: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections have their share, calls the rest: both at once fit."""
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 256\nexec {daemons.SIPREC} "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setattr(daemons, "SIPREC", limited)
    daemon = start_daemon(rtp=FAST)
    assert_recorded(daemon)
    assert "room for 12 two-leg calls at a time, limited by 256 file descriptors" in daemon.log
    with nothing_left_by(daemon), ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(Caller(daemon.ports["tcp"], transport="tcp"))
        wait_for("the connections", lambda: daemon.metric("siprec_sip_connections") == 64)
        callers = [stack.enter_context(Caller(daemon.ports["udp"])) for _ in range(13)]
        answers = [caller.call() for caller in callers]
        assert [answer.status for answer in answers] == [200] * 12 + [503]
        assert all(answer.seconds < ANSWER_S for answer in answers)
        assert open_files(daemon.pid) < 256
        for caller in callers[:12]:
            assert caller.bye().status == 200
    daemon.stop()


def test_exhausted_descriptors_refuse_the_call(daemon: Daemon) -> None:
    """Whoever lowers the limit of the running daemon: 503 as long as it lasts."""
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with untouched_call(daemon), Caller(daemon.ports["udp"]) as caller:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_files(daemon.pid) + 2, before[1]))
        try:
            answer = caller.call()
        finally:
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
        assert answer.is_refusal(503)
        assert_recorded(daemon)
    daemon.stop()


# -- a media worker that dies, a catalogue that is away --


def test_calls_placed_while_a_worker_is_replaced_are_recorded_or_refused(daemon: Daemon) -> None:
    """Nothing that was promised is lost: what got its 200 has its recording, sample by sample from there on."""
    with running_call(daemon, seconds=3.0) as call:
        call.wait_until_heard()
        os.kill(daemon.workers()[0], signal.SIGKILL)
        with ExitStack() as stack:
            callers = [stack.enter_context(Caller(daemon.ports["udp"])) for _ in range(5)]
            answers = [caller.call() for caller in callers]
            assert all(answer.seconds < ANSWER_S for answer in answers)
            assert {answer.status for answer in answers} <= {200, 503}
            wait_for("another worker", lambda: daemon.http("/readyz")[0] == 200)
            for caller, answer in zip(callers, answers, strict=True):
                if answer.status == 200:
                    assert caller.bye().status == 200
                    assert "no_media" in daemon.recording_of(caller.call_id)["verdict"]["reasons"]
    assert call.shown["verdict"]["reasons"] == ["interrupted"]
    call.assert_exact(0, 1)
    assert daemon.metric("siprec_worker_deaths_total") == 1
    assert daemon.metric("siprec_alarms_total", kind="worker_died") == 1
    assert_recorded(daemon)
    daemon.stop()


@contextmanager
def locked_catalogue(daemon: Daemon) -> Iterator[None]:
    """Somebody else writes into the catalogue and does not end."""
    with closing(sqlite3.connect(daemon.storage / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_calls_go_on_while_the_catalogue_is_locked(daemon: Daemon) -> None:
    """The journal has them; once the lock is gone the catalogue catches up."""
    with locked_catalogue(daemon), ExitStack() as stack:
        call = stack.enter_context(running_call(daemon, seconds=1.0, wait=False))
        callers = [stack.enter_context(Caller(daemon.ports["udp"])) for _ in range(20)]
        for caller in callers:
            answer = caller.call()
            assert answer.status == 200
            assert answer.seconds < ANSWER_S
            assert caller.bye().status == 200
        wait_for("the lag to show", lambda: daemon.metric("siprec_catalog_lag_bytes") > 0)
        wait_for("the files", lambda: len(recording_folders(daemon)) == 22)
        wait_for("the fault to show", lambda: daemon.metric("siprec_catalog_away") == 1)
        assert "the catalogue is away, recording goes on" in daemon.log
    call.shown = daemon.recording_of(call.caller.call_id)
    call.assert_exact(0, 1)
    for caller in callers:
        assert daemon.recording_of(caller.call_id)["state"] == "ended"
    wait_for("the catalogue", lambda: daemon.metric("siprec_catalog_away") == 0)
    assert daemon.metric("siprec_catalog_lag_bytes") == 0
    daemon.stop()


def test_a_daemon_starts_while_the_catalogue_is_locked(daemon: Daemon) -> None:
    daemon.stop()
    with locked_catalogue(daemon):
        daemon.start()
        with Caller(daemon.ports["udp"]) as caller:
            assert caller.call().status == 200
            assert caller.bye().status == 200
    assert daemon.recording_of(caller.call_id)["state"] == "ended"
    daemon.stop()
