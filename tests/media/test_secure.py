"""Legs with SRTP: opened before anything else, over roll-overs, new keys and a worker that dies (INTEROP 21, 29)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from pylibsrtp import Error as PylibsrtpError
from pylibsrtp import Policy, Session

from siprec.codecs import g711
from siprec.media import protocol
from siprec.media.protocol import SrtpSpec
from siprec.rtp.rtcp import parse_compound, sender_report
from siprec.rtp.srtp import Profile
from siprec.storage.rtpdump import RtpdumpReader
from tests.helpers.media_rig import FRAME, MediaRig, Opened, Speaker, rtp

SUITES = [profile.name for profile in Profile]
CM = SUITES[0]
LENGTHS = dict(zip(SUITES, (30, 30, 28, 44), strict=True))
LOCAL = 50


def secret(suite: str, seed: int) -> bytes:
    return Random(seed).randbytes(LENGTHS[suite])


def spec_of(suite: str = CM, seed: int = 1, *, mki: str = "", required: bool = True) -> SrtpSpec:
    return SrtpSpec(
        suite=suite,
        keys=[(secret(suite, seed).hex(), mki)],
        local=secret(suite, LOCAL).hex(),
        required=required,
    )


class SecureSpeaker(Speaker):
    """A speaker whose packets are protected by libsrtp."""

    def lock(self, suite: str = CM, seed: int = 1) -> None:
        policy = Policy(
            key=secret(suite, seed),
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Profile[suite].profile,
        )
        self.session = Session(policy)

    def send(self, payload: bytes, *, pt: int = 0, seq: int | None = None) -> None:
        number = self._seq if seq is None else seq
        if seq is None:
            self._seq += 1
        plain = rtp(number, self._timestamp + FRAME * self._frames, payload, ssrc=self.ssrc, pt=pt)
        self.sock.sendto(self.session.protect(plain), self.address)
        self.sent += 1


@pytest.fixture
def media(tmp_path) -> Iterator[MediaRig]:
    rig = MediaRig(tmp_path)
    yield rig
    rig.stop()


def speaker(media: MediaRig, leg: int = 0, **lock: Any) -> SecureSpeaker:
    one = SecureSpeaker(media.sockets[2 * leg].getsockname(), ssrc=100 + len(media.speakers))
    one.lock(**lock)
    media.speakers.append(one)
    return one


def talk(media: MediaRig, *speakers: Speaker, ticks: int = 5) -> None:
    for _ in range(ticks):
        for one in speakers:
            one.say()
        media.tick()


def heard(opened: Opened, one: Speaker, channel: int = 0) -> bool:
    audio, said = opened.read()[:, channel], one.said
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    return bool((audio[first : first + said.size] == said).all())


@pytest.mark.parametrize("suite", SUITES)
def test_an_encrypted_and_a_plain_leg_are_recorded_sample_by_sample(media, suite):
    opened = media.open([media.spec(0, 0, srtp=spec_of(suite)), media.spec(1, 1)])
    locked, plain = speaker(media, suite=suite), media.speaker(1)
    talk(media, locked, plain, ticks=8)
    closed = media.hang_up()
    assert heard(opened, locked)
    assert heard(opened, plain, 1)
    assert [(leg.counts["packets"], leg.counts["undecryptable"]) for leg in closed.legs] == [(80, 0), (80, 0)]


def test_padding_inside_the_encrypted_payload_is_taken_off(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    codes = np.random.default_rng(5).integers(0, 256, FRAME, np.uint8).tobytes()
    padded = bytearray(rtp(5, 0, codes + bytes(7) + b"\x08", ssrc=9))
    padded[0] |= 0x20
    one.sock.sendto(one.session.protect(bytes(padded)), one.address)
    media.tick(2)
    closed = media.hang_up()
    assert closed.legs[0].counts["octets"] == FRAME
    audio = opened.read()[:, 0]
    said = g711.ULAW[np.frombuffer(codes, np.uint8)]
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    assert (audio[first : first + FRAME] == said).all()
    assert not audio[first + FRAME :].any()


def test_a_worker_that_takes_over_goes_on_behind_a_roll_over(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)  # begins at 65,530
    talk(media, one, ticks=4)
    assert one._seq > 65_536
    media.replace_worker()
    talk(media, one, ticks=4)
    media.replace_worker()
    talk(media, one, ticks=4)
    closed = media.hang_up()
    assert heard(opened, one)
    assert (closed.legs[0].counts["packets"], closed.legs[0].counts["undecryptable"]) == (120, 0)


def test_new_keys_in_mid_call_cost_no_packet(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    talk(media, one)
    one.say(5)  # on its way when the keys change
    media.worker.command(protocol.UpdateLeg(spec=media.spec(0, 0, srtp=spec_of(seed=2)), at_ns=media.now), [])
    one.lock(seed=2)
    one.say(5)
    media.tick()
    talk(media, one)
    closed = media.hang_up()
    assert heard(opened, one)
    assert closed.legs[0].counts["undecryptable"] == 0


def test_an_offer_that_takes_the_keys_away_is_plain_from_then_on(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    talk(media, one)
    media.worker.command(protocol.UpdateLeg(spec=media.spec(0, 0), at_ns=media.now), [])
    plain = media.speaker(0, ssrc=one.ssrc, seq=one._seq, timestamp=one._timestamp + FRAME * one._frames)
    plain.sock.close()
    plain.sock = one.sock.dup()
    talk(media, plain)
    media.hang_up()
    audio = opened.read()[:, 0]
    said = np.concatenate([one.said, plain.said])
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    assert (audio[first : first + said.size] == said).all()


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_plain_profile_with_keys_takes_what_comes(media, encrypted):
    opened = media.open([media.spec(0, 0, srtp=spec_of(required=False))], channels=1)
    one = speaker(media) if encrypted else media.speaker(0)
    talk(media, one)
    closed = media.hang_up()
    assert heard(opened, one)
    assert closed.legs[0].counts["undecryptable"] == 0


def test_what_the_keys_do_not_open_is_counted_told_and_kept_as_it_came(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of()), media.spec(1, 1)])
    stranger, plain = speaker(media, seed=9), media.speaker(1)
    talk(media, stranger, plain)
    closed = media.hang_up()
    leg = closed.legs[0]
    assert (leg.counts["undecryptable"], leg.counts["undecodable"], leg.counts["packets"]) == (50, 50, 50)
    assert leg.counts["not_kept"] == leg.counts["lost"] == 0
    assert len(list(RtpdumpReader((media.folder / "leg0.rtpdump").read_bytes()))) == 50
    assert not opened.read()[:, 0].any()
    assert heard(opened, plain, 1)
    assert [event.leg for event in media.events("undecryptable")] == [0]
    assert set(leg.spans) >= {"undecryptable", "undecodable"}


def test_packets_that_somebody_puts_in_between_do_not_disturb_a_stream_that_is_understood(media):
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    talk(media, one)
    for n in range(50):
        one.sock.sendto(rtp(30_000 + 977 * n, n * 7_777_777, bytes(170), ssrc=one.ssrc), one.address)
    talk(media, one)
    closed = media.hang_up()
    assert heard(opened, one)
    counts = closed.legs[0].counts
    # those with numbers from before the window are taken for repetitions before anybody looks at their tag
    assert counts["undecryptable"] + counts["duplicates"] == 50
    assert counts["undecryptable"] > 0
    assert counts["packets"] == 100
    assert media.events("ssrc_changed") == []


def test_a_packet_that_the_network_doubles_is_a_duplicate(media):
    media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    data = one.session.protect(rtp(7, 0, bytes(FRAME), ssrc=9))
    for _ in range(3):
        one.sock.sendto(data, one.address)
    media.tick()
    counts = media.hang_up().legs[0].counts
    assert (counts["packets"], counts["duplicates"], counts["undecryptable"]) == (1, 2, 0)


def test_reports_are_opened_and_ours_are_closed(media):
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(5)
    media.open([media.spec(0, 0, srtp=spec_of(), rtcp_remote=peer.getsockname())], channels=1)
    one = speaker(media)
    ours = Session(
        Policy(key=secret(CM, LOCAL), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=Profile[CM].profile)
    )
    talk(media, one, ticks=2)
    report = sender_report(one.ssrc, unix_time=5.0, rtp_timestamp=0, packets=20, octets=3200, cname=b"peer")
    peer.sendto(one.session.protect_rtcp(report), media.sockets[1].getsockname())
    peer.sendto(report, media.sockets[1].getsockname())  # in clear: not taken
    talk(media, one, ticks=30)
    counted = media.hang_up().legs[0]
    answer = ours.unprotect_rtcp(peer.recv(2048))
    peer.close()
    assert parse_compound(answer) == []
    assert answer[:2] == b"\x81\xc9"
    assert int.from_bytes(answer[8:12], "big") == one.ssrc
    assert counted.sender_packets is not None
    assert media.worker.beat().counters["rtcp_malformed"] == 1


def test_a_datagram_longer_than_any_packet_does_not_end_the_worker(media):
    """What libsrtp's binding refuses to look at is counted as what it cannot open."""
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    talk(media, one)
    one.sock.sendto(rtp(9, 0, bytes(1800), ssrc=one.ssrc), one.address)
    one.sock.sendto(b"\x80\xc9" + bytes(1800), one.address)
    one.sock.sendto(b"\x80\xc9" + bytes(1800), media.sockets[1].getsockname())
    talk(media, one)
    closed = media.hang_up()
    assert heard(opened, one)
    assert closed.legs[0].counts["undecryptable"] == 1
    assert media.worker.beat().counters["rtcp_malformed"] == 2


def test_a_stream_that_begins_anew_with_the_same_key_is_recorded_again(media):
    """INTEROP 3.13: what comes before that is noticed is kept, not lost."""
    media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    talk(media, one)
    one.lock()
    one._seq = 20_000
    talk(media, one, ticks=10)
    counts = media.hang_up().legs[0].counts
    assert counts["packets"] + counts["undecryptable"] == 150
    assert counts["undecryptable"] == len(list(RtpdumpReader((media.folder / "leg0.rtpdump").read_bytes())))
    assert 0 < counts["undecryptable"] < 30
    assert media.worker.beat().counters["srtp_searches"] == 1


def test_three_roll_overs_and_a_worker_that_dies_behind_each(media):
    """Packets of a millisecond, of which one in 16 comes: hours are soon told."""
    opened = media.open([media.spec(0, 0, srtp=spec_of())], channels=1)
    one = speaker(media)
    rng, samples, first, last = np.random.default_rng(7), 8, one._seq, 3 * 65_536 + 300
    codes = rng.integers(0, 256, (last - first + 200, samples), np.uint8)
    voice, laps, sent, n = g711.ULAW[codes], 0, 0, first
    came = np.zeros(len(codes), np.bool_)
    while n < last:
        for number in range(n, n + 200, 16):
            plain = rtp(number, samples * number, codes[number - first].tobytes(), ssrc=one.ssrc)
            one.sock.sendto(one.session.protect(plain), one.address)
            came[number - first], sent, highest = True, sent + 1, number
        n += 200
        media.tick()
        if highest >> 16 > laps:
            laps = highest >> 16
            media.replace_worker()
    counts = media.hang_up().legs[0].counts
    assert laps == 3
    assert (counts["packets"], counts["undecryptable"]) == (sent, 0)
    assert counts["lost"] == highest - first + 1 - sent
    voice[~came] = 0
    audio, said = opened.read()[:, 0], voice[: highest - first + 1].reshape(-1)
    start = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    assert (audio[start : start + said.size] == said).all()
    assert media.store.load(np.array([0]))[1]["srtp_index"].max() == highest


@pytest.mark.parametrize("suite", SUITES)
def test_reports_on_the_rtp_port_are_opened_and_answered_from_there(media, suite):
    """RFC 5761, and INTEROP 29."""
    media.open([media.spec(0, 0, srtp=spec_of(suite), mux=True)], channels=1)
    one = speaker(media, suite=suite)
    one.sock.settimeout(5)
    talk(media, one, ticks=2)
    report = sender_report(one.ssrc, unix_time=5.0, rtp_timestamp=0, packets=20, octets=3200, cname=b"peer")
    one.sock.sendto(one.session.protect_rtcp(report), one.address)
    talk(media, one, ticks=30)
    counted = media.hang_up().legs[0]
    policy = Policy(
        key=secret(suite, LOCAL), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=Profile[suite].profile
    )
    answer = Session(policy).unprotect_rtcp(one.sock.recv(2048))
    assert int.from_bytes(answer[8:12], "big") == one.ssrc
    assert counted.sender_packets is not None
    assert media.worker.beat().counters["rtcp_malformed"] == 0


@pytest.mark.parametrize("suite", SUITES)
def test_whatever_comes_to_an_encrypted_leg_ends_no_worker(media, suite):
    """Noise, cut packets, and odd headers with a tag that is right: one that has the key may still send nonsense."""
    opened = media.open([media.spec(0, 0, srtp=spec_of(suite)), media.spec(1, 1)])
    one, plain, rng = speaker(media, suite=suite), media.speaker(1), Random(suite)
    sent = 0
    for _ in range(12):
        talk(media, plain, ticks=1)
        for n in range(40):
            head = bytearray(rtp(rng.randrange(1 << 16), rng.randrange(1 << 32), b"", ssrc=rng.randrange(4)))
            head[0] = 0x80 | rng.randrange(64)  # padding, extension, up to 15 CSRC
            head[1] = rng.choice((0, 8, 9, 96, 101, 13, 18))
            data = bytes(head) + rng.randbytes(rng.randrange(200))
            try:
                data = one.session.protect(data)
            except PylibsrtpError:  # it finds the header wrong
                data = data[: rng.randrange(len(data))]
            if n % 4 == 0:
                data = data[: rng.randrange(len(data) + 1)]
            one.sock.sendto(data, one.address)
            sent += 1
    closed = media.hang_up()
    assert heard(opened, plain, 1)
    counts = closed.legs[0].counts
    named = (
        "packets",
        "undecryptable",
        "broken",
        "duplicates",
        "rtcp",
        "foreign",
        "discarded",
        "second_sender",
    )
    assert sum(counts[name] for name in named) >= sent
    assert media.worker.beat().counters["commands_refused"] == 0
