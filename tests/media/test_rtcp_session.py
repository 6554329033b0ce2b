"""RTCP of a leg: what its sender reports, and what we report back (RFC 3550 6.4)."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from siprec.media.protocol import EndLeg
from siprec.media.recordings import LegState
from siprec.media.rtcp_session import RtcpSession, seen_of
from siprec.media.secure import SecureLegs
from siprec.rtp.rtcp import middle_of_ntp, parse_compound, sender_report
from siprec.rtp.sequence import start_stream
from siprec.rtp.state import new_legs, new_streams
from tests.helpers.media_rig import FRAMES_A_TICK, TICK_S, MediaRig, S, Speaker


def reports(speaker: Speaker) -> list[tuple[int, ...]]:
    """(ssrc, fraction and lost, highest, jitter, LSR, DLSR) of each receiver report that waits; () of an empty one."""
    speaker.sock.setblocking(False)
    found = []
    try:
        while True:
            data = speaker.sock.recv(2048)
            if data[1] == 201:
                found.append(struct.unpack_from("!IIIIII", data, 8) if data[0] & 31 else ())
    except BlockingIOError:
        return found


def report(media: MediaRig, speaker: Speaker, packets: int, *, leg: int = 0) -> int:
    """Send a sender report; returns what a receiver report has to repeat of it."""
    data = sender_report(
        speaker.ssrc, unix_time=1e9 + packets, rtp_timestamp=1, packets=packets, octets=1, cname=b"x"
    )
    speaker.sock.sendto(data, media.sockets[2 * leg + 1].getsockname())
    (part, *_) = parse_compound(data)
    return middle_of_ntp(part.ntp)


def test_every_leg_reports_every_five_seconds_whatever_the_tick(rig):
    media: MediaRig = rig(tick_s=0.2)
    media.open([media.spec(leg, 0) for leg in range(5)])
    speakers = [media.speaker(leg) for leg in range(5)]
    seconds = 41
    for tick in range(5 * seconds):
        for speaker in speakers:
            speaker.say(1)
            if tick == 0:
                report(media, speaker, 1, leg=speakers.index(speaker))
        media.now += 7_000_000  # a tick is never exactly as long as it should be
        media.tick()
    media.hang_up()
    elapsed = 5 * seconds * 0.207
    for speaker in speakers:
        assert elapsed / 5 - 1 <= len(reports(speaker)) <= elapsed / 5 + 1


def silent_leg(media: MediaRig, *, known: bool = True, active: bool = True) -> Speaker:
    """A leg whose speaker has said nothing yet. known: the SDP says where its reports are to go."""
    spec = media.spec(0, 0, active=active)
    speaker = media.speaker(0)
    spec.rtcp_remote = speaker.sock.getsockname() if known else None
    media.open([spec])
    return speaker


def test_a_leg_without_a_packet_reports_that_it_has_none_until_the_first_one_comes(rig):
    """RFC 3550 6.1 and 6.4.2: an empty report; 6.2: the first one after half an interval."""
    media: MediaRig = rig()
    speaker = silent_leg(media)
    media.tick(round(2.4 / TICK_S))
    assert reports(speaker) == []
    media.tick(round(15 / TICK_S))
    assert reports(speaker) == [()] * 3
    for _ in range(round(10 / TICK_S)):
        speaker.say()
        media.tick()
    assert [block[0] for block in reports(speaker)] == [speaker.ssrc] * 2
    media.hang_up()


@pytest.mark.parametrize("leg", [{"known": False}, {"active": False}])
def test_nothing_is_reported_to_nowhere_nor_about_a_leg_on_hold(rig, leg):
    media: MediaRig = rig()
    speaker = silent_leg(media, **leg)
    media.tick(round(12 / TICK_S))
    assert reports(speaker) == []
    media.hang_up()


def test_a_leg_that_ended_before_its_first_packet_reports_nothing(rig):
    media: MediaRig = rig()
    speaker = silent_leg(media)
    media.worker.command(EndLeg(leg=0, at_ns=media.now), [])
    media.tick(round(12 / TICK_S))
    assert reports(speaker) == []
    media.hang_up()


def test_a_report_repeats_the_last_report_of_its_own_stream(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    old, new = media.speaker(0), media.speaker(0)
    new.sock.close()
    new.sock = old.sock.dup()
    old.say()
    media.tick()
    repeated = report(media, old, 10)
    for _ in range(30):
        old.say()
        media.tick()
    *_, lsr, dlsr = reports(old)[-1]
    assert lsr == repeated
    assert 0 < dlsr <= 6 * 65536
    for _ in range(30):
        new.say()
        media.tick()
    ssrc, *_, lsr, dlsr = reports(old)[-1]
    assert (ssrc, lsr, dlsr) == (new.ssrc, 0, 0)
    media.hang_up()


def test_with_mux_reports_go_to_where_the_media_comes_from(rig):
    """RFC 4961: the address in the SDP may be one that is never reached."""
    media: MediaRig = rig()
    media.spec(0, 0)
    media.open([media.spec(0, 0, remote=("192.0.2.1", 9), rtcp_remote=("192.0.2.1", 9), mux=True)])
    speaker = media.speaker(0)
    for _ in range(30):
        speaker.say()
        media.tick()
    assert reports(speaker)
    media.hang_up()


def test_packets_that_only_the_sender_counted_are_missing(rig):
    """The end of the stream never came: no number shows it, the last report does."""
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(10):
        speaker.say()
        media.tick()
    report(media, speaker, 10 * FRAMES_A_TICK)
    media.tick()
    report(media, speaker, 10 * FRAMES_A_TICK + 7)
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.sender_packets == leg.counts["packets"] + 7


def test_packets_missing_before_the_first_one_are_missing(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    media.tick(10)
    for _ in range(5):
        speaker.say()
        media.tick()
    report(media, speaker, 50 + 100)
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.sender_packets == leg.counts["packets"] + 100


def test_a_call_that_is_recorded_from_its_middle_on_misses_nothing(rig):
    """Its reports count what was sent to others before."""
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    report(media, speaker, 90_000 + FRAMES_A_TICK)
    for _ in range(5):
        speaker.say()
        media.tick()
    report(media, speaker, 90_000 + 6 * FRAMES_A_TICK)
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.sender_packets == leg.counts["packets"] == 60


def test_another_ssrc_does_not_hide_what_the_first_one_sent(rig):
    media: MediaRig = rig()
    media.open([media.spec(0, 0)])
    old, new = media.speaker(0), media.speaker(0)
    new.sock.close()
    new.sock = old.sock.dup()
    old.say()
    media.tick()
    report(media, old, FRAMES_A_TICK + 5)
    media.tick()
    for _ in range(5):
        new.say()
        media.tick()
    report(media, new, 5 * FRAMES_A_TICK)
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.sender_packets == leg.counts["packets"] + 5


@pytest.mark.parametrize("waited_s", [0.0, 0.25, 2.0])
def test_the_delay_since_a_report_is_from_its_arrival(waited_s):
    legs, streams = new_legs(1), new_streams(1)
    start_stream(streams[0], ssrc=9, seq=1)
    session = RtcpSession(legs, streams, SecureLegs(legs, streams))
    leg = LegState(spec=_Spec(), recording=0, rtp=None, rtcp=None, ssrc=1)  # type: ignore[arg-type]
    data = sender_report(9, unix_time=1e9, rtp_timestamp=1, packets=1, octets=1, cname=b"x")
    session.received(leg, data, 100 * S)
    block = session._block(leg, seen_of(legs, streams, np.array([0]))[0], 100 * S + round(waited_s * S))
    assert block.delay == round(waited_s * 65536)


class _Spec:
    leg = 0
    rtcp_remote = None
