"""Lost packets: repeated by later ones (RFC 2198), filled when that is asked for, and else silent."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from tests.helpers.caller import Caller
from tests.helpers.daemon import Daemon
from tests.helpers.offers import Line
from tests.helpers.player import PACKET, Packet, Player, assert_heard, play, rtp, talk, without
from tests.helpers.voices import RATE, voice

RED = 97


def red(words: bytes, *, ssrc: int) -> list[Packet]:
    """Packets of 20 ms, each with the one before it again (RFC 2198 3)."""
    made = []
    for i in range(0, len(words), PACKET):
        before = words[max(0, i - PACKET) : i]
        head = struct.pack("!I", 0x80000000 | PACKET << 10 | len(before)) if before else b""
        payload = head + b"\0" + before + words[i : i + PACKET]
        made.append(Packet(i / RATE, rtp(payload, pt=RED, seq=i // PACKET, timestamp=i, ssrc=ssrc)))
    return made


def recorded(daemon: Daemon, players: list[Player], lines: tuple[Line, ...]) -> tuple[dict, np.ndarray]:
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call(lines)
        assert answer.status == 200
        play(players, answer.message.ports())
        for player in players:
            player.finish()
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
    audio, rate = soundfile.read(shown["path"], dtype="int16", always_2d=True)
    assert rate == RATE
    return shown, audio


def test_what_later_packets_repeat_is_not_missing(daemon: Daemon) -> None:
    words = voice(61, 2.0)
    lost = {10, 30, 31, 70}  # of two in a row, only the second is repeated by one that came
    player = Player(without(red(words, ssrc=61), lost))
    formats = (RED, 0)
    line = Line(player.port, "1", formats, extra=(f"rtpmap:{RED} red/8000", f"fmtp:{RED} 0/0"))
    try:
        shown, audio = recorded(daemon, [player], (line,))
    finally:
        player.close()
    (leg,) = shown["legs"]
    assert (leg["lost"], leg["recovered"], leg["codecs"]) == (1, 3, ["PCMU"])
    assert shown["verdict"]["reasons"] == ["loss"]
    assert_heard(audio[:, 0], without(talk(words, ssrc=61), {30}))


@pytest.mark.parametrize("conceal", ["off", "short"])
def test_short_losses_are_filled_and_marked_only_when_that_is_asked_for(
    start_daemon: Callable[..., Daemon], conceal: str
) -> None:
    daemon = start_daemon(codecs={"conceal": conceal})
    said = talk(voice(62, 2.0), ssrc=62)
    lost = [20, 40, 41, 42, 60, 61, 62, 63]  # the last four are longer than what is filled
    player = Player(without(said, lost))
    try:
        shown, audio = recorded(daemon, [player], (Line(player.port, "1"),))
    finally:
        player.close()
    channel = audio[:, 0].copy()
    start = int(np.flatnonzero(channel)[0]) - int(np.flatnonzero(said[0].audio)[0])
    holes = {i: channel[start + i * PACKET : start + (i + 1) * PACKET] for i in lost}
    filled = {i for i, hole in holes.items() if hole.any()}
    marked = [event for event in shown["events"] if event["type"] == "concealed"]
    assert shown["legs"][0]["lost"] == len(lost)
    assert "loss" in shown["verdict"]["reasons"]
    if conceal == "off":
        assert (filled, marked) == (set(), [])
    else:
        assert {20, 40} <= filled <= {20, 40, 41, 42}
        assert [event["length_s"] for event in marked] == [0.02, 0.06]
        assert marked[0]["at_s"] == pytest.approx(0.4, abs=0.1)
    for hole in holes.values():
        hole[:] = 0
    assert_heard(channel, without(said, lost))
