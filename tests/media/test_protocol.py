"""What main process and workers say to each other, over a real socket pair."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from siprec.media import protocol
from siprec.media.protocol import (
    MAX_FDS,
    MAX_MESSAGE,
    AddLeg,
    Answered,
    Beat,
    Closed,
    CloseRecording,
    EndLeg,
    LegEvent,
    LegReport,
    LegSpec,
    Message,
    OpenRecording,
    SrtpSpec,
    Stop,
    UpdateLeg,
)
from siprec.media.reports import shorten
from siprec.media.supervisor import LEGS_AT_ONCE
from siprec.sdp.crypto import MAX_KEYS

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def spec(leg: int = 3) -> LegSpec:
    return LegSpec(
        leg=leg,
        channel=1,
        dump="leg1.rtpdump",
        remote=("192.0.2.1", 4000),
        rtcp_remote=None,
        payloads={0: ("PCMU", 8000, 1, ""), 101: ("telephone-event", 8000, 1, "")},
        active=False,
        mux=True,
        srtp=SrtpSpec(
            suite="AEAD_AES_128_GCM",
            keys=[("0a" * 28, "01"), ("0b" * 28, "02")],
            local="0c" * 28,
            required=True,
        ),
    )


def report(gaps: int = 1, ssrcs: int = 2) -> LegReport:
    return LegReport(
        leg=3,
        counts={"packets": 5, "lost": 1},
        ssrcs=[2**32 - 1 - i for i in range(ssrcs)],
        codecs=["PCMU"],
        jitter_ms=0.125,
        first_at=0.5,
        last_at=None,
        covered_until=12.000125,
        gaps=[(1.00125 + i, 1.02125 + i, 1) for i in range(gaps)],
        spans={"undecodable": (1.5, 2.25), "t38": (3.0, 4.0)},
        sender_packets=None,
    )


MESSAGES: list[Message] = [
    OpenRecording(
        recording=7,
        path="/recordings/ä b/audio.wav",
        rate=8000,
        max_rate=16_000,
        channels=2,
        format="wav",
        epoch_ns=2**62,
        epoch_unix_us=1_700_000_000_000_000,
        legs=[spec(), spec(4)],
        resume=True,
    ),
    AddLeg(recording=7, spec=spec(), resume=True),
    Answered(recording=7, at_ns=12),
    UpdateLeg(spec=spec(), at_ns=12),
    EndLeg(leg=3, at_ns=12),
    CloseRecording(recording=7, at_ns=12),
    Stop(),
    LegEvent(recording=7, leg=3, type="dtmf", at_ns=12, data={"digit": "5"}),
    Closed(recording=7, t0_ns=1, end_ns=2, frames=3, legs=[report()], error=None),
    Beat(counters={"packets": 5, "cpu_s": 0.25}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_arrives_as_it_was_sent(pair, message):
    protocol.send(pair[0], message)
    received = protocol.receive(pair[1])
    assert received is not None
    assert received[1] == []
    expected = message
    if isinstance(message, Closed):  # JSON knows no tuples
        expected = protocol.decode(protocol.encode(message))
        assert isinstance(expected, Closed)
        leg, sent = expected.legs[0], message.legs[0]
        assert [tuple(gap) for gap in leg.gaps] == sent.gaps
        assert {reason: tuple(span) for reason, span in leg.spans.items()} == sent.spans
    assert received[0] == expected


def test_messages_keep_their_borders_and_their_order(pair):
    for message in MESSAGES:
        protocol.send(pair[0], message)
    got = [protocol.receive(pair[1]) for _ in MESSAGES]
    assert [type(received[0]) for received in got if received] == [type(m) for m in MESSAGES]
    with pytest.raises(BlockingIOError):
        protocol.receive(pair[1])


def test_the_end_of_the_other_side_is_none(pair):
    protocol.send(pair[0], Stop())
    pair[0].close()
    assert protocol.receive(pair[1]) == (Stop(), [])
    assert protocol.receive(pair[1]) is None


def test_as_many_descriptors_as_fit_arrive_in_order_and_are_not_inherited(pair):
    files = [os.memfd_create(f"{i}") for i in range(MAX_FDS)]
    for i, fd in enumerate(files):
        os.write(fd, b"%d" % i)
    protocol.send(pair[0], Stop(), files)
    received = protocol.receive(pair[1])
    assert received is not None
    assert [os.pread(fd, 9, 0) for fd in received[1]] == [b"%d" % i for i in range(MAX_FDS)]
    assert not any(os.get_inheritable(fd) for fd in received[1])
    for fd in [*files, *received[1]]:
        os.close(fd)


def test_what_the_other_side_could_not_take_whole_is_not_sent(pair):
    with pytest.raises(ValueError, match="254 descriptors"):
        protocol.send(pair[0], Stop(), [0] * (MAX_FDS + 1))
    with pytest.raises(ValueError, match="LegEvent of"):
        protocol.send(pair[0], LegEvent(recording=1, leg=1, type="x" * MAX_MESSAGE, at_ns=1))
    with pytest.raises(BlockingIOError):
        protocol.receive(pair[1])


def test_descriptors_beside_what_is_no_message_are_closed(pair):
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(pair[0], [b'["Format", {}]'], [0, 1, 2])
    with pytest.raises(ValueError, match="Format"):
        protocol.receive(pair[1])
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_representation_of_an_order_shows_a_key():
    shown = repr([AddLeg(recording=1, spec=spec()), UpdateLeg(spec=spec(), at_ns=1)])
    assert "AEAD_AES_128_GCM" in shown
    assert not any(key in shown for key in ("0a0a", "0b0b", "0c0c"))


def test_the_longest_message_passes(pair):
    event = LegEvent(recording=1, leg=1, type="", at_ns=1)
    event.type = "x" * (MAX_MESSAGE - len(protocol.encode(event)))
    protocol.send(pair[0], event)
    assert protocol.receive(pair[1]) == (event, [])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'["Format", {}]', b'["Stop", {"now": 1}]', b"\xff"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises((ValueError, TypeError)):
        protocol.decode(data)


@pytest.mark.parametrize("character", ["X", "é", "\U0001f600", '"', "\\", "\1"])
def test_an_order_of_many_legs_with_hostile_payload_names_and_many_keys_fits(character):
    hostile = dict.fromkeys(range(128), (character * 10_000, 1_000_000, 255, character * 10_000))
    longest = SrtpSpec(
        suite="AES_CM_128_HMAC_SHA1_80",
        keys=[("f" * 88, "f" * 256)] * MAX_KEYS,
        local="f" * 88,
        required=False,
    )
    specs = [
        LegSpec(
            leg=leg,
            channel=0,
            dump="x" * 100,
            remote=("f" * 39, 65535),
            rtcp_remote=("f" * 39, 65535),
            payloads=dict(hostile),
            srtp=longest,
        )
        for leg in range(10_000, 10_000 + LEGS_AT_ONCE)
    ]
    opened = MESSAGES[0]
    assert isinstance(opened, OpenRecording)
    message = OpenRecording(
        **{name: getattr(opened, name) for name in opened.__slots__} | {"legs": specs, "path": "é" * 2048}
    )
    assert len(protocol.encode(message)) <= MAX_MESSAGE


@pytest.mark.parametrize(("legs", "gaps"), [(1, 1000), (2, 1000), (8, 1000), (60, 1000), (400, 0)])
def test_a_closing_report_is_shortened_until_it_fits(legs, gaps):
    closed = Closed(
        recording=7,
        t0_ns=1,
        end_ns=2,
        frames=3,
        legs=[report(gaps, 64) for _ in range(legs)],
        error=None,
    )
    first = closed.legs[0].gaps[:10]
    shorten(closed)
    assert len(protocol.encode(closed)) <= MAX_MESSAGE
    assert closed.legs[0].gaps[:10] == first[: len(closed.legs[0].gaps)]
    if legs <= 2:
        assert [len(leg.gaps) for leg in closed.legs] == [gaps] * legs
    if gaps:
        assert len(closed.legs) == legs
        assert all(leg.gaps for leg in closed.legs)
