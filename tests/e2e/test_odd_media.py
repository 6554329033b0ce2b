"""What some peers send to an audio port: encrypted packets without keys, a fax; named in the verdict, kept as it came."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.helpers.calls import Start, record
from tests.helpers.daemon import Daemon
from tests.helpers.fax import udptl
from tests.helpers.offers import Line
from tests.helpers.player import PACKET, Packet, Player, assert_heard, rtp, talk
from tests.helpers.voices import voice

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
    assert (got.shown["legs"][0]["t38"], got.shown["legs"][0]["foreign"]) == (30, 0)
    (found,) = got.shown["verdict"]["findings"]
    assert 0.9 < found["at_s"] < 1.4
    assert 0.8 < found["length_s"] < 1.1
    assert_heard(got.audio[:, 0], talked)
    assert_heard(got.audio[:, 1], right.packets)
