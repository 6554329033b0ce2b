"""What a test must leave as it was: a call that goes on meanwhile, and everything that the daemon holds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.caller import Caller
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import Line
from tests.helpers.player import Player, assert_heard, play, talk
from tests.helpers.voices import read_audio, voice

BACK_S = 15.0
"How long a daemon may keep what it needs no more."
LOOK_S = 0.3
COMPLETE = {"result": "complete", "reasons": [], "findings": []}


@dataclass(slots=True)
class Running:
    """A call that is being recorded while a test does its worst."""

    caller: Caller
    players: list[Player]
    ports: list[int]
    "Of the recorder, by m-line."
    shown: dict[str, Any] = field(default_factory=dict)
    "As `siprec show` has it, once it has ended."

    def wait_until_heard(self) -> None:
        """Until the recorder has seen the first packets of both players."""
        for player in self.players:
            player.wait_for(25)

    def assert_exact(self, *channels: int) -> None:
        """These channels of the file hold every sample that was sent, and nothing else."""
        audio = read_audio(self.shown["path"])
        for channel in channels:
            assert_heard(audio[:, channel], self.players[channel].packets)


@contextmanager
def running_call(
    daemon: Daemon, *, seconds: float = 2.0, seed: int = 1, transport: str = "udp", wait: bool = True
) -> Iterator[Running]:
    """A call of two legs, played for so long; the block runs meanwhile. It ends with BYE.

    wait: until the catalogue has its last document, which is read.
    """
    with ExitStack() as stack:
        players = []
        for side in (0, 1):
            player = Player(talk(voice(seed + side, seconds), ssrc=100 * seed + side, seq=65_500))
            stack.callback(player.close)
            players.append(player)
        caller = stack.enter_context(Caller(daemon.ports[transport], transport=transport))
        answer = caller.call(tuple(Line(one.port, str(i)) for i, one in enumerate(players, 1)))
        assert answer.status == 200, answer.message.text
        call = Running(caller, players, answer.message.ports())
        play(players, call.ports)
        try:
            yield call
            for player in players:
                player.finish()
        finally:
            assert caller.bye().status == 200
        if wait:
            call.shown = daemon.recording_of(caller.call_id)


@contextmanager
def untouched_call(daemon: Daemon, *, seconds: float = 2.0) -> Iterator[Running]:
    """A running call of which nothing may be missing after the block."""
    with running_call(daemon, seconds=seconds) as call:
        yield call
    assert call.shown["verdict"] == COMPLETE
    call.assert_exact(0, 1)


@dataclass(frozen=True, slots=True)
class Held:
    """What a daemon has in use."""

    descriptors: dict[str, int]
    "Open files of the main process, the keeper and the media workers."
    metrics: dict[str, float]
    folders: frozenset[Path]
    "Recordings on disk."


def held(daemon: Daemon) -> Held:
    """What a daemon has in use now."""
    names = (
        "siprec_calls",
        "siprec_port_pairs_free",
        "siprec_space_reserved_bytes",
        "siprec_sip_connections",
    )
    workers = sorted(daemon.workers())
    return Held(
        descriptors={f"worker {i}": open_files(pid) for i, pid in enumerate(workers)}
        | {"main": open_files(daemon.pid), "keeper": open_files(daemon.keeper())},
        metrics={name: daemon.metric(name) for name in names},
        folders=recording_folders(daemon),
    )


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def recording_folders(daemon: Daemon) -> frozenset[Path]:
    """The folders of recordings in the storage."""
    return frozenset(daemon.storage.glob("[0-9]*/*/*/*"))


@contextmanager
def nothing_left_by(daemon: Daemon) -> Iterator[None]:
    """After the block the daemon holds what it held before; recordings of the block have ended, and are whole."""
    before = _at_rest(daemon)
    yield
    give_up = time.monotonic() + BACK_S
    # one look decides: the next one could catch the connection of the look before while it closes
    while (left := _left(before, held(daemon))) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert left == {}
    wait_for("the catalogue", lambda: len(daemon.ls("--state", "recording")) == daemon.metric("siprec_calls"))
    new = recording_folders(daemon) - before.folders
    wait_for(
        "the catalogue", lambda: new <= {Path(one["path"]).parent for one in daemon.ls("--state", "ended")}
    )


def _at_rest(daemon: Daemon) -> Held:
    """What a daemon holds once the ports of calls before have rested: two looks in turn that are alike."""
    give_up = time.monotonic() + BACK_S
    before, now = None, held(daemon)
    while before != now and time.monotonic() < give_up:
        time.sleep(LOOK_S)
        before, now = now, held(daemon)
    return now


def _left(before: Held, now: Held) -> dict[str, tuple[float, float]]:
    """What is not as before: (before, now) by name. A file that failed may be closed until it is needed again."""
    files = {
        name: (before.descriptors.get(name, 0), count)
        for name, count in now.descriptors.items()
        if count > before.descriptors.get(name, 0)
    }
    figures = {
        name: (before.metrics[name], value)
        for name, value in now.metrics.items()
        if value != before.metrics[name]
    }
    if before.metrics["siprec_calls"]:  # what is reserved shrinks while a call writes
        figures.pop("siprec_space_reserved_bytes", None)
    free = "siprec_port_pairs_free"
    if now.metrics[free] > before.metrics[free]:  # those of a call before the block rested for longer
        figures.pop(free, None)
    return files | figures
