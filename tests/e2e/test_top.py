"""`siprec top` against a running recorder."""

import codecs
import fcntl
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.daemon import SIPREC, Daemon, wait_for
from tests.helpers.player import Player
from tests.helpers.witness import running_call


def snapshot(daemon: Daemon) -> dict[str, Any]:
    outcome = daemon.command("top", "--json")
    assert (outcome.status, outcome.err) == (0, "")
    shown: dict[str, Any] = json.loads(outcome.out)
    return shown


def loudness(player: Player) -> float:
    """RMS of everything that a player sends, in dB below full scale."""
    samples = np.concatenate([packet.audio for packet in player.packets if packet.audio is not None])
    return 10 * math.log10(float(np.mean(samples.astype(np.float64) ** 2)) / 32768**2)


def test_a_snapshot_has_the_parties_and_levels_of_the_running_calls(daemon: Daemon) -> None:
    assert snapshot(daemon)["calls"] == []
    with running_call(daemon) as call:
        call.wait_until_heard()
        (shown,) = wait_for(
            "a level", lambda: [c for c in snapshot(daemon)["calls"] if c["legs"][1]["level_db"]]
        )
        assert Path(shown["path"]).exists()
        assert 0 < shown["duration_s"] < 5
        assert [p["name"] for p in shown["participants"]] == ["Alice", "Bob"]
        assert [leg["role"] for leg in shown["legs"]] == ["caller", "callee"]
        assert [leg["participants"][0]["name"] for leg in shown["legs"]] == ["Alice", "Bob"]
        assert [leg["port"] for leg in shown["legs"]] == call.ports
        for leg, player in zip(shown["legs"], call.players, strict=True):
            assert abs(leg["level_db"] - loudness(player)) < 1
        for player in call.players:
            player.finish()
        wait_for("silence", lambda: snapshot(daemon)["calls"][0]["legs"][0]["level_db"] == -96)
    assert snapshot(daemon)["calls"] == []


def test_into_a_pipe_it_prints_once(daemon: Daemon) -> None:
    with running_call(daemon):
        outcome = daemon.command("top")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("1 call, room for ")
    assert "Alice sip:alice@a.example.com" in outcome.out
    assert "Bob sip:bob@b.example.com" in outcome.out
    assert "\x1b" not in outcome.out


class Terminal:
    """`siprec top` on a terminal of 30 lines and 80 columns."""

    def __init__(self, daemon: Daemon) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
        self.process = subprocess.Popen(
            [SIPREC, "top", "-c", daemon.config_file],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"},
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self) -> str:
        """Everything that it has written."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.text += self._decoder.decode(os.read(self.master, 65_536))
            except OSError:  # the other end is closed
                break
        return self.text

    def showed(self, *words: str) -> bool:
        """Whether all of this was in one picture."""
        pictures = re.split(r"(?=\d calls?, room for)", self.read())
        return any(all(word in picture for word in words) for picture in pictures)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_on_a_terminal_it_goes_on_until_ctrl_c(daemon: Daemon) -> None:
    """Each picture is drawn over the one before: the lines are counted back, not scrolled."""
    terminal = Terminal(daemon)
    try:
        wait_for("the first picture", lambda: terminal.showed("0 calls, room for"))
        with running_call(daemon):
            wait_for("the call", lambda: terminal.showed("1 call, room for", "Alice", "█", " dB"))
        seen = len(terminal.read())
        wait_for("its end", lambda: "0 calls, " in terminal.read()[seen:])
        assert "\x1b[1A" in terminal.text
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(10) == 0
        assert "Traceback" not in terminal.read()
    finally:
        terminal.close()


def test_it_ends_with_a_line_when_the_daemon_goes_away(start_daemon: Any) -> None:
    daemon = start_daemon()
    terminal = Terminal(daemon)
    try:
        wait_for("the first picture", lambda: terminal.showed("0 calls, room for"))
        daemon.stop()
        assert terminal.process.wait(10) == 1
        assert "closed the connection; see its log" in terminal.read()
    finally:
        terminal.close()
