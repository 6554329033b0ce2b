"""The daemon as a user starts and stops it."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.calls import Start, offered
from tests.helpers.daemon import SIPREC, Daemon
from tests.helpers.offers import MULTIPART, metadata, multipart, sdp
from tests.helpers.player import Player, assert_heard, play, talk
from tests.helpers.sipp import Scenario
from tests.helpers.voices import read_audio, voice


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True], ids=["main process", "whole group"])
def test_an_idle_daemon_ends_with_status_0(
    start_daemon: Callable[..., Daemon], number: signal.Signals, whole_group: bool
) -> None:
    """Ctrl-C in a terminal reaches the media workers as well, `kill` the main process alone."""
    daemon = start_daemon()
    assert len(daemon.workers()) == 1
    daemon.stop(number, whole_group=whole_group)


def test_the_installed_commands_reach_the_running_daemon(daemon: Daemon, tmp_path: Path) -> None:
    """As processes of their own, from another folder."""
    listed = subprocess.run(
        [SIPREC, "ls", "--json", "-c", daemon.config_file],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (listed.returncode, listed.stdout.strip(), listed.stderr) == (0, "[]", "")
    assert daemon.control("status")["not_ready"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_calls_in_progress_are_ended_and_finished(
    start_daemon: Callable[..., Daemon],
    sipp: Start,
    player: Callable[..., Player],
    number: signal.Signals,
) -> None:
    """The peer gets a BYE, the file all that arrived, the catalogue its verdict; all by the command line, afterwards."""
    daemon = start_daemon()
    pair = [player(talk(voice(side, 1.0), ssrc=side)) for side in (1, 2)]
    scenario = Scenario().invite(multipart(sdp(offered(*pair)), metadata()), MULTIPART, tagged=False)
    scenario.answered().serve("BYE")
    with sipp(daemon, scenario) as call:
        play(pair, call.answer().ports())
        for one in pair:
            one.finish()
        daemon.stop(number, whole_group=number == signal.SIGINT)
    (listed,) = daemon.recordings_of(call.call_id)
    shown = daemon.show(listed["id"])
    assert (shown["state"], shown["verdict"]["reasons"]) == ("ended", ["ended_without_bye"])
    audio = read_audio(shown["path"])
    for i, one in enumerate(pair):
        assert_heard(audio[:, i], one.packets)
