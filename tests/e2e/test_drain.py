"""`siprec drain`: no new calls, and the running ones go on to their end."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.caller import Caller
from tests.helpers.daemon import SIPREC, Daemon, wait_for
from tests.helpers.offers import SDP, Line, sdp
from tests.helpers.witness import untouched_call


@pytest.fixture
def drained(daemon: Daemon) -> Iterator[Daemon]:
    """The daemon, draining; in the end it takes calls again."""
    assert daemon.command("drain", "--no-wait").status == 0
    yield daemon
    outcome = daemon.command("drain", "--undo")
    assert (outcome.status, outcome.out) == (0, "new calls are taken\n")


def test_new_calls_are_refused_and_running_ones_go_on(daemon: Daemon) -> None:
    with untouched_call(daemon) as call, Caller(daemon.ports["udp"]) as newcomer:
        outcome = daemon.command("drain", "--no-wait")
        assert (outcome.status, outcome.out) == (0, "new calls are refused; 1 recording goes on\n")
        answer = newcomer.call()
        assert answer.is_refusal(503)
        assert answer.message.header("Retry-After")
        assert newcomer.ask(newcomer.request("OPTIONS")).is_refusal(503)
        assert daemon.http("/readyz") == (503, "draining: no new calls\n")
        assert daemon.http("/healthz")[0] == 200
        assert daemon.metric("siprec_draining") == 1
        inside = call.caller
        assert inside.ask(inside.request("OPTIONS")).status == 200
        lines = [Line(one.port, str(i)) for i, one in enumerate(call.players, 1)]
        assert inside.invite(sdp(lines, version=2), SDP).message.ports() == call.ports
    assert daemon.command("drain", "--undo").status == 0
    assert daemon.http("/readyz") == (200, "ready\n")
    with untouched_call(daemon, seconds=0.5):
        pass


def test_it_waits_for_the_last_recording_and_says_how_many_are_left(daemon: Daemon, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with untouched_call(daemon, seconds=1.0), said.open("wb") as out:
        waiting = subprocess.Popen([SIPREC, "drain", "-c", daemon.config_file], stdout=out, stderr=out)
        wait_for("the number of calls", lambda: said.read_text() == "waiting for 1 recording\n")
        assert waiting.poll() is None
    try:
        assert waiting.wait(10) == 0
    finally:
        daemon.command("drain", "--undo")
    assert said.read_text().splitlines() == [
        "waiting for 1 recording",
        "new calls are refused; no recording is open",
    ]


def test_whoever_waits_is_told_when_somebody_undoes_it(daemon: Daemon, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with untouched_call(daemon, seconds=1.0), said.open("wb") as out:
        waiting = subprocess.Popen(
            [SIPREC, "drain", "-c", daemon.config_file], stdout=subprocess.DEVNULL, stderr=out
        )
        wait_for("the drain", lambda: daemon.http("/readyz")[0] == 503)
        assert daemon.command("drain", "--undo").status == 0
        assert waiting.wait(10) == 1
    assert said.read_text() == "siprec: the drain was undone; new calls are taken again\n"


def test_an_idle_recorder_is_drained_at_once(drained: Daemon) -> None:
    outcome = drained.command("drain")
    assert (outcome.status, outcome.out) == (0, "new calls are refused; no recording is open\n")


def test_as_json_it_prints_the_state(drained: Daemon) -> None:
    outcome = drained.command("drain", "--json")
    assert outcome.status == 0
    state = json.loads(outcome.out)
    assert (state["draining"], state["open"], state["calls"]) == (True, 0, 0)
    assert state["not_ready"] == "draining: no new calls"
    assert "draining, by user" in drained.log
