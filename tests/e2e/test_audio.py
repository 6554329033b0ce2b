"""What was sent stands in the file: every sample, on its channel, at its place."""

import random
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.calls import Start, offered, record, recorded, simple_call
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import (
    ALICE,
    BOB,
    CAROL,
    Line,
    Person,
    metadata,
    multipart,
    sdp,
)
from tests.helpers.player import (
    PACKET,
    Packet,
    Player,
    assert_aligned,
    assert_heard,
    heard,
    play,
    rtp,
    talk,
)
from tests.helpers.voices import I16, RATE, read_audio, voice

NewPlayer = Callable[..., Player]
COMPLETE = {"result": "complete", "reasons": [], "findings": []}


@pytest.mark.parametrize(
    ("transport", "labels", "laws"),
    [
        ("udp", "12", ("PCMU", "PCMU")),
        ("udp", "21", ("PCMA", "PCMA")),
        ("udp", "12", ("PCMU", "PCMA")),
        ("tcp", "12", ("PCMA", "PCMU")),
        ("tcp", "21", ("PCMU", "PCMU")),
    ],
)
def test_two_legs_are_recorded_sample_by_sample(
    daemon: Daemon, sipp: Start, player: NewPlayer, transport: str, labels: str, laws: tuple[str, str]
) -> None:
    """The caller, whose label is 1, is on the left wherever the m-line stands; both are as far apart as sent."""
    left = player(talk(voice(1, 2.0, laws[0]), laws[0], ssrc=11, seq=65500, timestamp=2**32 - 4000))
    right = player(talk(voice(2, 2.0, laws[1]), laws[1], ssrc=22, seq=7, timestamp=123, start=797))
    by_label = {"1": left, "2": right}
    got = record(
        sipp,
        daemon,
        [by_label[label] for label in labels],
        [Line(by_label[label].port, label) for label in labels],
        transport=transport,
    )
    left_at = assert_heard(got.audio[:, 0], left.packets)
    right_at = assert_heard(got.audio[:, 1], right.packets)
    assert_aligned((left, right), (left_at, right_at + 797))
    assert got.shown["verdict"] == COMPLETE
    assert [(channel["index"], channel["role"]) for channel in got.shown["channels"]] == [
        (0, "caller"),
        (1, "callee"),
    ]
    by_channel = {leg["channel"]: leg for leg in got.shown["legs"]}
    assert [by_channel[i]["label"] for i in (0, 1)] == ["1", "2"]
    assert [by_channel[i]["codecs"] for i in (0, 1)] == [[laws[0]], [laws[1]]]
    assert [by_channel[i]["participants"] for i in (0, 1)] == [
        [{"aor": ALICE.aor, "name": ALICE.name}],
        [{"aor": BOB.aor, "name": BOB.name}],
    ]
    assert [by_channel[i]["packets"] for i in (0, 1)] == [100, 100]
    assert max(leg["jitter_ms"] for leg in got.shown["legs"]) < 200
    assert [a for a in got.answer.body.splitlines() if a.startswith("a=label:")] == [
        f"a=label:{label}" for label in labels
    ]


def test_one_m_line_with_both_parties_gives_one_mixed_channel(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    one = player(talk(voice(41, 1.2), ssrc=41))
    people = [Person(p.id, p.aor, p.name, ("1",)) for p in (ALICE, BOB)]
    got = record(sipp, daemon, [one], document=metadata(people))
    assert got.audio.shape[1] == 1
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["channels"] == [{"index": 0, "role": "mixed", "legs": [0]}]
    assert [p["name"] for p in got.shown["legs"][0]["participants"]] == ["Alice", "Bob"]
    assert got.shown["verdict"] == COMPLETE


def test_three_legs_are_mixed_into_two_sides_by_participant(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """The caller alone on the left, both others added on the right."""
    alice, bob = player(talk(voice(51, 1.5), ssrc=51)), player(talk(voice(52, 1.5), ssrc=52))
    carol = player(talk(voice(53, 0.8), ssrc=53, start=4_000))
    got = record(sipp, daemon, [alice, bob, carol], document=metadata([ALICE, BOB, CAROL]))
    alice_at = assert_heard(got.audio[:, 0], alice.packets)
    right = got.audio[:, 1].astype(np.int32)
    bob_at = int(np.flatnonzero(right)[0])
    assert_aligned((alice, bob), (alice_at, bob_at))
    rest = right - heard(bob.packets, right.size, bob_at)
    carol_at = int(np.flatnonzero(rest)[0]) - 4_000
    assert_aligned((bob, carol), (bob_at, carol_at + 4_000))
    both = heard(bob.packets, right.size, bob_at).astype(np.int32)
    both += heard(carol.packets, right.size, carol_at)
    assert np.array_equal(right, np.clip(both, -32768, 32767))
    assert [(c["role"], c["legs"]) for c in got.shown["channels"]] == [("caller", [0]), ("callee", [1, 2])]
    assert [leg["participants"][0]["name"] for leg in got.shown["legs"]] == ["Alice", "Bob", "Carol"]
    assert got.shown["verdict"] == COMPLETE


def test_video_is_answered_with_port_0_and_the_audio_is_recorded(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    left, right = player(talk(voice(61, 1.0), ssrc=61)), player(talk(voice(62, 1.0), ssrc=62))
    one, two = offered(left, right)
    video = Line(50_000, "9", (96,), media="video", extra=("rtpmap:96 H264/90000",))
    got = record(sipp, daemon, [left, right], [one, video, two])
    assert [(kind, port > 0) for kind, port in got.answer.m_lines()] == [
        ("audio", True),
        ("video", False),
        ("audio", True),
    ]
    assert_heard(got.audio[:, 0], left.packets)
    assert_heard(got.audio[:, 1], right.packets)
    assert [leg["label"] for leg in got.shown["legs"]] == ["1", "2"]
    assert got.shown["verdict"] == COMPLETE


def sender_report(ssrc: int, *, packets: int, at_s: float) -> Packet:
    """RFC 3550 6.4.1, without report blocks."""
    now, rtp_time = (3_900_000_000 << 32) + 1, packets * PACKET
    return Packet(
        at_s, struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, now, rtp_time, packets, packets * PACKET)
    )


def test_rtcp_may_share_the_port_with_rtp(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """RFC 5761: reports on the RTP port are read as such, never heard, and answered from there."""
    packets = talk(voice(71, 1.5), ssrc=71)
    one = player([*packets[:40], sender_report(71, packets=40, at_s=0.8), *packets[40:]])
    with sipp(
        daemon,
        simple_call(multipart(sdp([Line(one.port, "1", extra=("rtcp-mux",))]), metadata([ALICE]))),
    ) as call:
        answer = call.answer()
        assert "a=rtcp-mux" in answer.body.splitlines()
        play([one], answer.ports())
        one.finish()
        one.assert_report(71, mux=True)
        call.go_on()
    got = recorded(daemon, call)
    assert_heard(got.audio[:, 0], one.packets)
    assert got.shown["legs"][0]["rtcp"] == 1
    assert got.shown["legs"][0]["packets"] == 75
    assert got.shown["verdict"] == COMPLETE


def test_a_codec_without_decoder_is_kept_as_it_came(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """G.728 in an rtpdump beside the file; the other leg is recorded as always."""
    frames = random.Random(81)
    raw = [
        Packet(i / 50, rtp(frames.randbytes(20), pt=15, seq=900 + i, timestamp=i * PACKET, ssrc=81))
        for i in range(50)
    ]
    left, right = player(raw), player(talk(voice(82, 1.0), ssrc=82))
    lines = [Line(left.port, "1", (15, 101)), Line(right.port, "2")]
    got = record(sipp, daemon, [left, right], lines)
    assert got.answer.body.splitlines()[5] == f"m=audio {got.answer.ports()[0]} RTP/AVP 15 101"
    assert rtpdump_packets(Path(got.shown["path"]).with_name("leg0.rtpdump")) == [p.wire for p in raw]
    assert not got.audio[:, 0].any()
    assert_heard(got.audio[:, 1], right.packets)
    assert got.shown["verdict"]["reasons"] == ["undecodable"]
    assert [leg["verdict"]["reasons"] for leg in got.shown["legs"]] == [["undecodable"], []]
    assert got.shown["legs"][0]["codecs"] == ["G728"]
    assert (got.shown["legs"][0]["undecodable"], got.shown["legs"][0]["not_kept"]) == (50, 0)
    (found,) = got.shown["verdict"]["findings"]
    assert (found["reason"], found["leg"]) == ("undecodable", 0)
    assert (found["at_s"], found["length_s"]) == (pytest.approx(0.0, abs=0.3), pytest.approx(0.98, abs=0.1))
    assert daemon.metric("siprec_alarms_total", kind="undecodable") == 1


def rtpdump_packets(path: Path) -> list[bytes]:
    """The packets of an rtpdump file, in its order."""
    line, _, rest = path.read_bytes().partition(b"\n")
    assert line.startswith(b"#!rtpplay1.0 ")
    packets, at = [], 16
    while at < len(rest):
        length, size, _ = struct.unpack_from("!HHI", rest, at)
        packets.append(rest[at + 8 : at + 8 + size])
        assert length == size + 8
        at += length
    return packets


@pytest.mark.parametrize("silent", [(0,), (1,), (0, 1)])
def test_a_leg_that_sends_nothing_is_named(
    daemon: Daemon, sipp: Start, player: NewPlayer, silent: tuple[int, ...]
) -> None:
    """A call whose other leg is heard is one-way; the silence on its channel is as long as the call."""
    players = [player([] if i in silent else talk(voice(90 + i, 1.0), ssrc=90 + i)) for i in (0, 1)]
    got = record(sipp, daemon, players)
    for i, one in enumerate(players):
        if i in silent:
            assert not got.audio[:, i].any()
        else:
            assert_heard(got.audio[:, i], one.packets)
    assert got.shown["verdict"]["result"] == "incomplete"
    reasons = ["no_media"] + ["one_way"] * (len(silent) == 1)
    assert got.shown["verdict"]["reasons"] == reasons
    whole = {"at_s": 0.0, "length_s": pytest.approx(got.shown["duration_s"], abs=0.01)}
    assert got.shown["verdict"]["findings"] == [
        {"reason": reason, "leg": leg, **whole} for reason in reasons for leg in silent
    ]
    assert [leg["verdict"]["reasons"] for leg in got.shown["legs"]] == [
        ["no_media"] if i in silent else [] for i in (0, 1)
    ]


def test_a_leg_that_falls_silent_before_the_end_is_named_with_its_place(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer
) -> None:
    """Its last packet is its last sign of life; the other leg speaks on to the end."""
    daemon = start_daemon(recording={"no_media_s": 5})
    players = [
        player(talk(voice(93 + side, length), ssrc=93 + side)) for side, length in enumerate((1.0, 6.5))
    ]
    got = record(sipp, daemon, players)
    assert [leg["verdict"]["reasons"] for leg in got.shown["legs"]] == [["no_media"], []]
    assert got.shown["verdict"]["reasons"] == ["no_media"]
    (found,) = got.shown["verdict"]["findings"]
    speech_end = (int(np.flatnonzero(got.audio[:, 0])[-1]) + 1) / RATE
    assert found["leg"] == 0
    assert found["at_s"] == pytest.approx(speech_end, abs=0.05)
    assert found["at_s"] + found["length_s"] == pytest.approx(got.shown["duration_s"], abs=0.01)
    daemon.stop()


def longer(path: str, frames: int) -> I16 | None:
    """What is in a file, if it has more than so many frames."""
    audio = read_audio(path)
    return audio if len(audio) > frames else None


def test_the_file_can_be_played_while_the_call_goes_on(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """Whatever a player reads at any moment is the beginning of what the file is in the end."""
    left, right = player(talk(voice(95, 4.0), ssrc=95)), player(talk(voice(96, 4.0), ssrc=96))
    seen: list[I16] = []
    with sipp(daemon, simple_call(multipart(sdp(offered(left, right)), metadata()))) as call:
        play([left, right], call.answer().ports())
        live = wait_for("the running call", lambda: daemon.live(call.call_id))
        while len(seen) < 3:
            length = len(seen[-1]) if seen else 0
            seen.append(wait_for("more of the file", partial(longer, live["path"], length)))
        assert daemon.live(call.call_id) is not None
        assert daemon.show(live["id"])["state"] == "recording"
        left.finish()
        right.finish()
        call.go_on()
    got = recorded(daemon, call)
    for early in seen:
        assert np.array_equal(early, got.audio[: len(early)])
    assert seen[-1].any(axis=0).all()
    assert_heard(got.audio[:, 0], left.packets)
    assert_heard(got.audio[:, 1], right.packets)
