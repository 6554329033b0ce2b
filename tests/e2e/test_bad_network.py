"""Loss, disorder, holds and restarts: what arrived is in its place, everything else is silence."""

import random
import time
from collections.abc import Callable, Sequence

import numpy as np

from tests.helpers.calls import Start, offered, recorded
from tests.helpers.daemon import Daemon
from tests.helpers.offers import (
    MULTIPART,
    SDP,
    Line,
    metadata,
    multipart,
    sdp,
)
from tests.helpers.player import (
    PACKET,
    Packet,
    Player,
    assert_heard,
    digit,
    doubled,
    play,
    shuffled,
    talk,
    without,
)
from tests.helpers.sipp import Scenario
from tests.helpers.voices import RATE, voice

NewPlayer = Callable[..., Player]
COMPLETE = {"result": "complete", "reasons": [], "findings": []}


def damaged(packets: Sequence[Packet], rng: random.Random) -> tuple[list[Packet], list[tuple[int, int]], int]:
    """Packets after a bad network: 5 % lost, groups of 8 in disorder, some twice. The first eight keep their order.

    Returns what arrives, what is missing as (first sample, packets), and how many came twice.
    """
    inner = range(8, len(packets) - 8)
    lost = set(rng.sample(inner, round(0.05 * len(packets))))
    runs: list[tuple[int, int]] = []
    for i in sorted(lost):
        if runs and runs[-1][0] + runs[-1][1] == i:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((i, 1))
    left = list(packets[:8]) + shuffled(without(packets, lost)[8:], 8, rng)
    twice = rng.sample(range(len(left)), 6)
    return doubled(left, twice), [(packets[i].place, n) for i, n in runs], len(twice)


class Speaker:
    """One leg of the bad call: talk, a hold, more talk, another SSRC, a digit, the rest; all of it damaged."""

    def __init__(self, player: Player, seed: int) -> None:
        self.player, self._seed, self._rng = player, seed, random.Random(seed)
        self.ssrcs = [seed, seed + 1_000_000]
        self._timestamp, self._seq = self._rng.getrandbits(32), 65_500
        self.missing: list[tuple[int, int]] = []
        self.doubles = self.digit_packets = 0

    def _talk(self, seconds: float, start: int, which: int) -> list[Packet]:
        words = voice(self._seed + start, seconds)
        first = self._timestamp + which * 77_777_777 + start
        packets = talk(
            words, ssrc=self.ssrcs[which], seq=self._seq + which * 4_321, timestamp=first, start=start
        )
        self._seq += len(packets)
        arriving, missing, doubles = damaged(packets, self._rng)
        self.missing += missing
        self.doubles += doubles
        return arriving

    def before_hold(self) -> list[Packet]:
        return self._talk(1.6, 0, 0)

    def after_hold(self, start: int) -> list[Packet]:
        packets = self._talk(0.8, start, 0)
        start += round(0.8 * RATE)
        packets += self._talk(0.8, start, 1)
        start += round(0.8 * RATE)
        pressed = digit(
            7,
            ssrc=self.ssrcs[1],
            seq=self._seq + 4_321,
            timestamp=self._timestamp + 77_777_777 + start,
            start=start,
        )
        self._seq += len(pressed)
        self.digit_packets = len(pressed)
        start += 5 * PACKET
        return packets + pressed + self._talk(0.8, start, 1)


def test_everything_that_arrived_over_a_bad_network_is_in_its_place(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """5 % loss, disorder within 8 packets, duplicates, 3 s on hold, another SSRC, a digit: silence elsewhere."""
    speakers = [Speaker(player(), 101), Speaker(player(), 202)]
    players = [speaker.player for speaker in speakers]
    for speaker in speakers:
        speaker.player.packets = speaker.before_hold()
    lines = offered(*players)
    held = [Line(line.port, line.label, direction="inactive") for line in lines]
    scenario = Scenario().invite(multipart(sdp(lines), metadata()), MULTIPART, tagged=False).answered()
    scenario.wait().invite(sdp(held, version=2), SDP).answered()
    scenario.pause(3).invite(sdp(lines, version=3), SDP).answered().wait().bye()
    with sipp(daemon, scenario) as call:
        ports = call.answer().ports()
        play(players, ports)
        for one in players:
            one.finish()
        call.go_on()
        assert call.answer(1).body.count("a=inactive") == 2
        resumed = call.answer(2)
        assert resumed.body.count("a=recvonly") == 2
        assert resumed.ports() == ports
        for speaker in speakers:
            speaker.player.more(speaker.after_hold(speaker.player.now() + PACKET))
        for speaker in speakers:
            speaker.player.finish()
            speaker.player.assert_report(*speaker.ssrcs)
        call.go_on()
    got = recorded(daemon, call)
    for speaker, channel, leg in zip(speakers, got.audio.T, got.shown["legs"], strict=True):
        one = speaker.player
        at = assert_heard(channel, one.packets)
        findings = [f for f in got.shown["verdict"]["findings"] if f["leg"] == leg["id"]]
        assert [f["reason"] for f in findings] == ["loss"] * len(speaker.missing)
        for finding, (place, packets) in zip(findings, speaker.missing, strict=True):
            assert abs(finding["at_s"] - (at + place) / RATE) < 1.5 / RATE
            assert abs(finding["length_s"] - packets * PACKET / RATE) < 1.5 / RATE
        assert leg["lost"] == sum(packets for _, packets in speaker.missing)
        assert leg["duplicates"] == speaker.doubles
        assert leg["packets"] == len(one.packets) - speaker.doubles
        assert leg["late"] == leg["dropped"] == 0
        assert leg["ssrcs"] == speaker.ssrcs
        assert leg["verdict"]["reasons"] == ["loss"]
    assert got.shown["verdict"]["reasons"] == ["loss"]
    events = [(e["type"], e.get("leg"), e.get("digit")) for e in got.shown["events"]]
    for leg_id in (0, 1):
        order = [type_ for type_, leg, _ in events if leg == leg_id and type_ != "source"]
        assert order == ["held", "resumed", "ssrc_changed", "dtmf"]
    assert [shown for type_, _, shown in events if type_ == "dtmf"] == ["x", "x"]


def test_what_is_sent_during_a_hold_is_left_out(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """A sender that does not mind the hold: what comes between the answers is counted and silent."""
    one = player(talk(voice(31, 4.0), ssrc=31))
    (line,) = offered(one)
    held = Line(line.port, line.label, direction="inactive")
    scenario = Scenario().invite(multipart(sdp([line]), metadata()), MULTIPART, tagged=False).answered()
    scenario.wait().invite(sdp([held], version=2), SDP).answered()
    scenario.wait().invite(sdp([line], version=3), SDP).answered().wait().bye()
    with sipp(daemon, scenario) as call:
        play([one], call.answer().ports())
        turns = []
        for number, packets in ((1, 60), (2, 130)):
            one.wait_for(packets)
            asked = time.monotonic_ns()
            call.go_on()
            call.answer(number)
            turns.append((asked, time.monotonic_ns()))
        one.finish()
        call.go_on()
    got = recorded(daemon, call)
    (held_asked, held_done), (resume_asked, resume_done) = turns
    channel = got.audio[:, 0]
    at = int(np.flatnonzero(channel)[0])
    silent = 0
    for packet, (before, after) in zip(one.packets, one.sent, strict=True):
        assert packet.audio is not None
        found = channel[at + packet.place : at + packet.place + PACKET]
        silent += not found.any()
        if held_done < before and after < resume_asked:
            assert not found.any()
        elif after < held_asked or before > resume_done:
            assert np.array_equal(found, packet.audio)
        else:  # in the middle of a re-INVITE: as a whole or not at all
            assert np.array_equal(found, packet.audio) or not found.any()
    assert silent >= 50
    (leg,) = got.shown["legs"]
    assert leg["discarded"] == silent
    assert got.shown["verdict"] == COMPLETE
    assert [e["type"] for e in got.shown["events"] if e.get("leg") == 0] == ["source", "held", "resumed"]
