"""A whole call: placed by sipp, played by one player per m-line, ended, and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.offers import MULTIPART, Line, metadata, multipart, sdp
from tests.helpers.player import Player, play
from tests.helpers.sipp import Message, Scenario, Sipp
from tests.helpers.voices import I16, RATE, read_audio

Start = Callable[..., Sipp]
"`start(daemon, scenario)`: the fixture `sipp`."


PACKET_S = 0.02


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a call."""

    call: Sipp
    answer: Message
    shown: dict[str, Any]
    "As `siprec show --json` has it."
    audio: I16
    "int16[frames, channels]."


def offered(*players: Player, laws: Sequence[int] = (0, 8, 101)) -> list[Line]:
    """An m-line for each player, labelled 1, 2, …"""
    return [Line(player.port, str(number), tuple(laws)) for number, player in enumerate(players, 1)]


def simple_call(body: str, content_type: str = MULTIPART, *, hang_up: bool = True, **caller: str) -> Scenario:
    """INVITE, and when the test says so BYE, or what the test puts behind it. caller: as Scenario has it."""
    scenario = Scenario(**caller).invite(body, content_type, tagged=False).answered().wait()
    return scenario.bye() if hang_up else scenario


def recorded(daemon: Daemon, call: Sipp) -> Recorded:
    """The recording of a call that has ended. Its length is that of the call."""
    shown = daemon.recording_of(call.call_id)
    audio = read_audio(shown["path"])
    assert_true_length(call, shown, audio)
    return Recorded(call, call.answer(), shown, audio)


def record(
    start: Start,
    daemon: Daemon,
    players: Sequence[Player],
    lines: Sequence[Line] = (),
    *,
    document: str | None = None,
    transport: str = "udp",
) -> Recorded:
    """Place a call, play everything, hang up.

    players: one for each m-line that is recorded.   lines: the offer; else one line per player, labelled 1, 2, …
    document: the metadata; else Alice on label 1 and Bob on label 2.
    """
    body = multipart(sdp(lines or offered(*players)), metadata() if document is None else document)
    with start(daemon, simple_call(body), transport=transport) as call:
        play(players, [port for kind, port in call.answer().m_lines() if port])
        for player in players:
            player.finish()
        call.go_on()
    return recorded(daemon, call)


def assert_true_length(call: Sipp, shown: dict[str, Any], audio: I16) -> None:
    """The call is as long as sipp saw it, to one packet, and the file as long as the call (DESIGN rule 3).

    A call begins between INVITE and 200, or with an earlier packet, and ends between BYE and its 200; samples of its
    last packet that are heard after that still belong to it.
    """
    invite = next(m for m in call.messages() if m.sent)
    bye = next(m for m in call.messages() if m.sent and m.start.startswith("BYE"))
    shortest, longest = bye.at - call.answer().at, call.answer(method="BYE").at - invite.at
    duration = shown["duration_s"]
    assert shortest - PACKET_S <= duration <= longest + PACKET_S
    sound_end = max([0, *np.flatnonzero(audio.any(axis=1)) + 1]) / RATE
    assert len(audio) / RATE == pytest.approx(max(duration, sound_end), abs=0.001)
