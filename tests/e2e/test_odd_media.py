"""What some peers send to an audio port: encrypted packets without keys, a fax; named in the verdict, kept as it came."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.helpers.calls import Start, record, recorded
from tests.helpers.daemon import Daemon
from tests.helpers.fax import udptl
from tests.helpers.offers import MULTIPART, Line, metadata, multipart, sdp
from tests.helpers.player import PACKET, Packet, Player, assert_heard, heard, play, rtp, talk
from tests.helpers.sipp import Scenario
from tests.helpers.voices import RATE, voice

NewPlayer = Callable[..., Player]


def test_interop_3_14_srtp_on_a_plain_line_raises_an_alarm_and_is_the_verdict(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    chance = random.Random(91)
    secret = [
        Packet(i / 50, rtp(chance.randbytes(PACKET + 10), pt=0, seq=i, timestamp=i * PACKET, ssrc=91))
        for i in range(100)
    ]
    left, right = player(secret), player(talk(voice(92, 2.0), ssrc=92))
    got = record(sipp, daemon, [left, right], [Line(left.port, "1"), Line(right.port, "2")])
    leg = got.shown["legs"][0]
    assert got.shown["verdict"]["reasons"] == ["undecodable", "probable_srtp"]
    assert leg["undecodable"] == leg["probable_srtp"] >= 50
    assert leg["not_kept"] == 0
    assert Path(got.shown["path"]).with_name("leg0.rtpdump").stat().st_size > 50 * 182
    assert [event["type"] for event in got.shown["events"]].count("probable_srtp") == 1
    assert daemon.metric("siprec_alarms_total", kind="probable_srtp") == 1
    assert_heard(got.audio[:, 1], right.packets)


def test_interop_3_10_a_fax_on_a_leg_is_the_verdict(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    talked = talk(voice(93, 1.0), ssrc=93)
    fax = [Packet(1.0 + i / 30, udptl(i, b"\xc0" + bytes([i] * 30), earlier=[b"\x06"])) for i in range(30)]
    left, right = player([*talked, *fax]), player(talk(voice(94, 2.0), ssrc=94))
    got = record(sipp, daemon, [left, right], [Line(left.port, "1"), Line(right.port, "2")])
    assert got.shown["verdict"]["reasons"] == ["t38"]
    leg = got.shown["legs"][0]
    assert leg["t38"] >= 29  # the first one is certain if another came in the same tick
    assert leg["t38"] + leg["foreign"] == 30
    (found,) = got.shown["verdict"]["findings"]
    assert 0.9 < found["at_s"] < 1.4
    assert 0.8 < found["length_s"] < 1.1
    assert_heard(got.audio[:, 0], talked)
    assert_heard(got.audio[:, 1], right.packets)


def test_interop_3_10_two_senders_at_once_are_not_mixed_and_are_the_verdict(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    first, second = talk(voice(95, 2.0), ssrc=95), talk(voice(96, 1.2), ssrc=96, start=RATE // 2)
    both = sorted([*first, *second], key=lambda packet: packet.at_s)
    left, right = player(both), player(talk(voice(97, 2.0), ssrc=97))
    got = record(sipp, daemon, [left, right], [Line(left.port, "1"), Line(right.port, "2")])
    assert got.shown["verdict"]["reasons"] == ["second_sender"]
    leg = got.shown["legs"][0]
    assert (leg["packets"], leg["ssrcs"], leg["not_kept"]) == (160, [95, 96], 0)
    assert len(second) - 8 <= leg["second_sender"] <= len(second)
    assert [event["ssrc"] for event in got.shown["events"] if event["type"] == "second_sender"] == [96]
    channel = got.audio[:, 0]
    start = int(np.flatnonzero(channel)[0])
    wrong = np.flatnonzero(channel != heard(first, channel.size, start)) - start
    # up to 60 ms of the second may be over the first before it is clear that both go on
    assert not ((wrong < RATE // 2) | (wrong > RATE * 7 // 10)).any()
    assert_heard(got.audio[:, 1], right.packets)


def test_interop_46_what_belongs_to_the_communication_session_is_ignored(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """RFC 7866 6.1.2 and 7.1.2: record-aware, a=record and a=recordpref say nothing to a recorder."""
    left, right = player(talk(voice(98, 1.0), ssrc=98)), player(talk(voice(99, 1.0), ssrc=99))
    lines = [
        Line(left.port, "1", extra=("recordpref:off",)),
        Line(right.port, "2", extra=("record:paused", "recordpref:nopreference")),
    ]
    scenario = Scenario().invite(
        multipart(sdp(lines), metadata()),
        MULTIPART,
        tagged=False,
        headers=("Supported: record-aware, timer",),
    )
    with sipp(daemon, scenario.answered().wait().bye()) as call:
        answer = call.answer()
        assert "a=record" not in answer.body
        play([left, right], answer.ports())
        for one in (left, right):
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    assert got.shown["verdict"] == {"result": "complete", "reasons": [], "findings": []}
    assert_heard(got.audio[:, 0], left.packets)
    assert_heard(got.audio[:, 1], right.packets)
