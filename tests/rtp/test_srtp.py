"""SRTP of one leg: every suite, MKI, new keys, roll-over, repetition, and what is not to be opened (INTEROP 21, 29)."""

from __future__ import annotations

import struct
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from siprec.rtp.srtp import MAX_SSRCS, PATIENCE, LegSrtp, MasterKey, Outcome, Profile, _Context
from tests.helpers.srtp_reference import Sender

SUITES = [profile.name for profile in Profile]
LENGTHS = dict(zip(SUITES, (30, 30, 28, 44), strict=True))
CM = SUITES[0]


def secret(suite: str, seed: int = 1) -> bytes:
    return Random(seed).randbytes(LENGTHS[suite])


def packet(n: int, *, ssrc: int = 7, size: int = 160) -> bytes:
    """A packet by its extended sequence number."""
    return struct.pack("!BBHII", 0x80, 0, n & 0xFFFF, n * 160 & 0xFFFFFFFF, ssrc) + bytes(size)


class Peer:
    """An independent sender of SRTP."""

    def __init__(self, suite: str = CM, seed: int = 1, mki: bytes = b"") -> None:
        self.suite, self.mki, self.secret = suite, mki, secret(suite, seed)
        policy = Policy(
            key=self.secret, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=Profile[suite].profile
        )
        policy.allow_repeat_tx = True
        self._session = Session(policy)

    @property
    def key(self) -> MasterKey:
        return MasterKey(self.secret, self.mki)

    def send(self, n: int, **more: int) -> bytes:
        data = self._session.protect(packet(n, **more))
        return self._with_mki(data, Profile[self.suite].tag)

    def report(self) -> bytes:
        data = self._session.protect_rtcp(REPORT)
        return self._with_mki(data, Profile[self.suite].rtcp_tag)

    def _with_mki(self, data: bytes, tag: int) -> bytes:
        end = len(data) - tag
        return data[:end] + self.mki + data[end:]

    def reach(self, n: int, *, ssrc: int = 7) -> None:
        """Send, to nobody, up to the extended number n."""
        for at in range(0, n, 0x4000):
            self._session.protect(packet(at, ssrc=ssrc))


REPORT = struct.pack("!BBHI", 0x80, 201, 1, 99)


def leg(*peers: Peer, required: bool = True) -> LegSrtp:
    suite = peers[0].suite
    return LegSrtp(suite, [peer.key for peer in peers], secret(suite, 50), required=required)


@pytest.mark.parametrize("mki", [b"", b"\1", b"\0\0\0\2"])
@pytest.mark.parametrize("suite", SUITES)
def test_packets_and_reports_of_every_suite_are_opened_with_and_without_mki(suite, mki):
    peer = Peer(suite, mki=mki)
    ours = leg(peer)
    for n in range(65_530, 65_560):
        assert ours.open(peer.send(n)) == (packet(n), Outcome.OPENED)
    assert ours.index_of(7) == 65_559
    assert ours.open_rtcp(peer.report()) == REPORT


@pytest.mark.parametrize("suite", SUITES)
def test_our_reports_are_opened_by_the_peer(suite):
    ours = leg(Peer(suite))
    policy = Policy(
        key=secret(suite, 50), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=Profile[suite].profile
    )
    theirs = Session(policy)
    for _ in range(3):
        assert theirs.unprotect_rtcp(ours.close_rtcp(REPORT)) == REPORT


def test_rfc_3711_counts_three_roll_overs():
    peer = Peer()
    ours = leg(peer)
    for n in range(65_000, 3 * 65_536 + 500, 400):
        assert ours.open(peer.send(n))[1] is Outcome.OPENED
    assert ours.index_of(7) == max(range(65_000, 3 * 65_536 + 500, 400))


@pytest.mark.parametrize("suite", SUITES)
def test_a_session_that_takes_over_after_three_roll_overs_goes_on(suite):
    peer = Peer(suite)
    before = leg(peer)
    last = 3 * 65_536 + 20
    peer.reach(last)
    index = 3 * 65_536 + 17
    after = leg(peer)
    after.resume(7, index)
    assert after.open(peer.send(last)) == (packet(last), Outcome.OPENED)
    assert after.index_of(7) == last
    # without knowing where, it is found by trying
    assert before.open(peer.send(last + 1)) == (packet(last + 1), Outcome.OPENED)
    assert before.index_of(7) == last + 1


def test_packets_from_before_the_take_over_that_were_not_seen_are_opened_too():
    peer = Peer()
    ours = leg(peer)
    start = 2 * 65_536 + 5
    peer.reach(start - 1000)
    late = [peer.send(n) for n in range(start - 500, start)]
    ours.resume(7, start)
    assert ours.open(peer.send(start))[1] is Outcome.OPENED
    assert all(ours.open(data)[1] is Outcome.OPENED for data in late)


def test_a_key_by_its_mki_among_several():
    peers = [Peer(seed=i, mki=bytes([i])) for i in (1, 2, 3)]
    ours = leg(*peers)
    for n, peer in enumerate(peers * 5, start=100):
        assert ours.open(peer.send(n)) == (packet(n), Outcome.OPENED)
    assert ours.open(Peer(seed=1, mki=b"\x09").send(500))[1] is Outcome.FAILED


def test_a_packet_that_came_before_is_a_repetition_and_no_failure():
    peer = Peer()
    ours = leg(peer)
    sent = [peer.send(n) for n in range(5000, 7000)]
    for data in sent:
        ours.open(data)
    assert ours.open(sent[-1])[1] is Outcome.REPEATED
    assert ours.open(sent[0])[1] is Outcome.REPEATED  # too old to tell


def test_new_keys_hold_at_once_and_the_old_ones_for_what_is_on_its_way():
    old, new = Peer(), Peer(seed=2)
    ours = leg(old)
    under_way = [old.send(n) for n in range(100, 110)]
    for data in under_way[:5]:
        ours.open(data)
    ours.rekey(CM, [new.key], secret(CM, 50))
    assert ours.open(new.send(110)) == (packet(110), Outcome.OPENED)
    assert [ours.open(data)[1] for data in under_way[5:]] == [Outcome.OPENED] * 5


@pytest.mark.parametrize("kept", [True, False])
def test_the_roll_over_counter_may_go_on_or_begin_anew_with_a_new_key(kept):
    """RFC 3711 lets it go on, RFC 4568 has senders that begin at 0."""
    old, new = Peer(), Peer(seed=2)
    ours = leg(old)
    for n in range(65_000, 2 * 65_536 + 100, 100):
        ours.open(old.send(n))
    ours.rekey(CM, [new.key], secret(CM, 50))
    start = 2 * 65_536 + 200
    if kept:
        new.reach(start)
    else:
        start &= 0xFFFF
    assert all(ours.open(new.send(n)) == (packet(n), Outcome.OPENED) for n in range(start, start + 50))
    assert ours.index_of(7) == start + 49


def test_the_same_keys_again_change_nothing():
    peer = Peer()
    ours = leg(peer)
    peer.reach(65_536)
    ours.open(peer.send(65_535))
    ours.rekey(CM, [peer.key], secret(CM, 50))
    assert ours.open(peer.send(65_540))[1] is Outcome.OPENED
    assert ours.open(peer.send(65_540))[1] is Outcome.REPEATED


def test_another_suite_by_a_new_offer():
    old, new = Peer(), Peer("AEAD_AES_256_GCM", seed=2)
    ours = leg(old)
    ours.open(old.send(1))
    ours.rekey(new.suite, [new.key], secret(new.suite, 60))
    assert ours.open(new.send(2))[1] is Outcome.OPENED


def test_an_ssrc_that_changes_and_returns_keeps_its_roll_over_counter():
    peer = Peer()
    ours = leg(peer)
    for n in range(65_000, 66_000, 100):
        ours.open(peer.send(n))
    assert ours.open(peer.send(10, ssrc=8))[1] is Outcome.OPENED
    assert ours.open(peer.send(66_000))[1] is Outcome.OPENED
    assert (ours.index_of(7), ours.index_of(8)) == (66_000, 10)


def test_plain_packets_are_taken_only_where_that_was_agreed_on_and_nothing_was_encrypted():
    peer = Peer()
    assert leg(peer).open(packet(1))[1] is Outcome.FAILED
    best_effort = leg(peer, required=False)
    assert best_effort.open(packet(1)) == (packet(1), Outcome.PLAIN)
    assert not best_effort.encrypts
    assert best_effort.open(peer.send(2))[1] is Outcome.OPENED
    assert best_effort.encrypts
    assert best_effort.open(packet(3))[1] is Outcome.FAILED
    assert best_effort.open_rtcp(REPORT) == REPORT
    assert leg(peer).open_rtcp(REPORT) == b""


def test_what_other_keys_made_fails_and_costs_a_bounded_number_of_searches(monkeypatch):
    searches = []
    monkeypatch.setattr(_Context, "open_at", lambda *args: searches.append(args))
    ours, stranger = leg(Peer()), Peer(seed=9)
    assert {ours.open(stranger.send(n))[1] for n in range(3000)} == {Outcome.FAILED}
    assert len(searches) == ours.searches == 1 + 3000 // 50
    for n in range(200):
        ours.open(stranger.send(1, ssrc=1000 + n))
    assert len(searches) == 1 + 3000 // 50 + 7
    assert ours.index_of(7) is None


def test_the_ssrcs_that_are_remembered_are_bounded_and_the_one_that_is_heard_stays():
    peer = Peer()
    ours = leg(peer)
    for ssrc in range(MAX_SSRCS + 20):
        assert ours.open(peer.send(1, ssrc=1000 + ssrc))[1] is Outcome.OPENED
        assert ours.open(peer.send(ssrc))[1] is Outcome.OPENED
    assert len(ours._index) == MAX_SSRCS
    assert ours.index_of(7) == MAX_SSRCS + 19


def test_a_sender_of_ever_new_ssrcs_takes_a_bounded_memory_and_a_stream_goes_on_beside_it(monkeypatch):
    monkeypatch.setattr("siprec.rtp.srtp.MAX_STREAMS", 20)
    peer = Peer()
    ours = leg(peer)
    start = 2 * 65_536
    peer.reach(start)
    for n in range(100):
        assert ours.open(peer.send(start + n)) == (packet(start + n), Outcome.OPENED)
        assert ours.open(peer.send(1, ssrc=1000 + n))[1] is Outcome.OPENED
    assert len(ours._contexts[0].opened) <= 20


@pytest.mark.parametrize("gap", [0x9000, 65_536 + 0x7000, 5 * 65_536 + 0x9000])
def test_a_stream_that_was_away_for_more_than_half_a_lap_is_found_again(gap):
    """INTEROP 3.10: a recording is paused while the call, whose numbers are passed on, goes on."""
    peer = Peer()
    ours = leg(peer)
    for n in range(0, 2 * 65_536 + 1, 0x4000):
        assert ours.open(peer.send(n))[1] is Outcome.OPENED
    last = n
    for n in range(last + 0x4000, last + gap, 0x4000):
        peer.send(n)
    outcomes = [ours.open(peer.send(last + gap + n))[1] for n in range(60)]
    assert outcomes[PATIENCE - 1 :] == [Outcome.OPENED] * (61 - PATIENCE)
    assert ours.index_of(7) == last + gap + 59


@pytest.mark.parametrize(("reached", "again"), [(32_000, 10_000), (90_000, 50_000), (200_000, 300)])
def test_a_stream_that_begins_anew_with_the_same_key_is_found_again(reached, again):
    """INTEROP 3.13: an SBC restarts its media with other numbers and neither new key nor new SSRC."""
    peer = Peer()
    ours = leg(peer)
    for n in range(0, reached, 100):
        ours.open(peer.send(n))
    peer = Peer()
    outcomes = [ours.open(peer.send(again + n))[1] for n in range(60)]
    assert outcomes[PATIENCE - 1 :] == [Outcome.OPENED] * (61 - PATIENCE)
    assert ours.index_of(7) == again + 59


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-0x9000, 0x8800), min_size=1, max_size=12), st.integers(0, 0xFFFF))
def test_the_index_is_the_senders_wherever_its_packets_lie(steps, first):
    """RFC 3711 3.3.1: whatever is opened at once, or by a worker that takes over, is where the sender has it."""
    sender, key = Sender(CM, secret(CM)), MasterKey(secret(CM))
    ours, highest, at = LegSrtp(CM, [key], secret(CM, 50)), -1, first
    for step in [0, *steps]:
        at = max(0, at + step)
        if ours.open(sender.rtp(packet(at, size=4), at))[1] is Outcome.OPENED:
            highest = max(highest, at)
        assert ours.index_of(7) == highest
        after = LegSrtp(CM, [key], secret(CM, 50))
        after.resume(7, highest)
        following = sender.rtp(packet(highest + 1, size=4), highest + 1)
        assert after.open(following) == (packet(highest + 1, size=4), Outcome.OPENED)


def test_too_old_packets_of_another_key_are_repetitions_only_for_a_while():
    ours, stranger = leg(peer := Peer()), Peer(seed=9)
    for n in range(20_000, 22_000):
        ours.open(peer.send(n))
    outcomes = [ours.open(stranger.send(n))[1] for n in range(10_000, 10_100)]
    assert outcomes == [Outcome.REPEATED] * (PATIENCE - 1) + [Outcome.FAILED] * (101 - PATIENCE)


def test_a_stream_of_a_plain_profile_that_was_not_seen_from_its_beginning_is_no_plain_one():
    peer = Peer()
    ours = leg(peer, required=False)
    peer.reach(2 * 65_536)
    assert ours.open(peer.send(2 * 65_536 + 9)) == (packet(2 * 65_536 + 9), Outcome.OPENED)


@pytest.mark.parametrize("suite", SUITES)
def test_an_encrypted_report_is_not_taken_for_a_plain_one(suite):
    stranger = Peer(suite, seed=9)
    ours = leg(Peer(suite), required=False)
    assert ours.open_rtcp(stranger.report()) == b""
    assert ours.open_rtcp(REPORT) == REPORT


def test_an_mki_that_was_announced_may_be_left_out():
    peer = Peer(mki=b"\1")
    ours = leg(peer)
    peer.mki = b""
    assert ours.open(peer.send(1)) == (packet(1), Outcome.OPENED)
    assert ours.open_rtcp(peer.report()) == REPORT


@pytest.mark.parametrize("size", [1488, 1489, 2100])
def test_a_packet_that_is_too_long_is_not_opened_and_does_no_harm(size):
    ours = leg(Peer())
    assert ours.open(packet(1, size=size))[1] is Outcome.FAILED
    assert leg(Peer(), required=False).open_rtcp(packet(1, size=size)) == b""
    assert ours.open(Peer().send(2))[1] is Outcome.OPENED


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=12, max_size=200), st.sampled_from(SUITES))
def test_no_packet_makes_opening_raise(data, suite):
    for ours in (leg(Peer(suite, mki=b"\1\2")), leg(Peer(suite)), leg(Peer(suite), required=False)):
        assert ours.open(data)[1] in (Outcome.FAILED, Outcome.PLAIN)
        ours.open_rtcp(data)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=1))
def test_a_packet_that_was_touched_is_not_opened(at, byte):
    peer = Peer()
    good = peer.send(5)
    bad = bytearray(good)
    bad[at % len(bad)] ^= byte[0]
    outcome = leg(peer).open(bytes(bad))[1]
    assert outcome is (Outcome.OPENED if bytes(bad) == good else Outcome.FAILED)
