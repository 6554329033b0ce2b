"""Probable SRTP: real SRTP is found after a few packets, nothing that is sent in clear ever is (INTEROP 3.14)."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pylibsrtp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.codecs import g711
from siprec.rtp.encrypted import (
    CLEAR,
    ENOUGH,
    PATIENCE,
    SECRET,
    TRAILER,
    UNDECIDED,
    SecretWatch,
    excess,
    is_uniform,
)
from siprec.rtp.sequence import start_stream
from siprec.rtp.state import new_streams

RATE = 8000
PROFILES = {
    4: (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    10: (pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    16: (pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}


def speech(seconds: float, *, loud: float = 1.0) -> np.ndarray:
    """Something with the statistics of a voice: syllables of harmonics and noise, and pauses. int16."""
    rng = np.random.default_rng(3)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * pitch) / k for k in range(1, 12))
    syllable = np.clip(np.sin(2 * np.pi * 3.1 * t) + 0.3, 0, None) * (np.sin(2 * np.pi * 0.4 * t) > -0.5)
    audio = (tone + 0.2 * rng.standard_normal(t.size)) * syllable * 9000 * loud
    return np.clip(audio, -32768, 32767).astype(np.int16)


def clear_sounds() -> dict[str, np.ndarray]:
    """Sounds that are sent in clear, as mu-law or A-law bytes."""
    rng = np.random.default_rng(4)
    t = np.arange(4 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 440, 554, 1318)) * 5000
    ringing = np.sin(2 * np.pi * 425 * t) * 12_000
    white = rng.standard_normal(t.size) * 12_000
    sounds = {"voice": speech(4), "loud": speech(4, loud=3), "music": chord, "tone": ringing, "white": white}
    coded = {
        f"{name}-{law}": g711.encode(law, np.clip(audio, -32768, 32767).astype(np.int16))
        for name, audio in sounds.items()
        for law in ("ulaw", "alaw")
    }
    coded["silence"] = np.full(4 * RATE, 0xFF, np.uint8)
    coded["chance"] = rng.integers(0, 256, 4 * RATE, np.uint8)  # as uniform as anything encrypted
    return coded


CLEAR_SOUNDS = clear_sounds()


def packets(codes: np.ndarray, ptimes: list[int]) -> list[bytes]:
    """RTP packets of so many ms in turn, over several wraps of the timestamp."""
    out, at, timestamp = [], 0, 2**32 - 3000
    while at < codes.size:
        n = 8 * ptimes[len(out) % len(ptimes)]
        payload = codes[at : at + n].tobytes()
        out.append(struct.pack("!BBHII", 0x80, 0, (65_520 + len(out)) & 0xFFFF, timestamp, 7) + payload)
        at, timestamp = at + n, (timestamp + n) & 0xFFFFFFFF
    return out


def protect(clear: list[bytes], tag: int, mki: bytes = b"") -> list[bytes]:
    profile, size = PROFILES[tag]
    policy = pylibsrtp.Policy(
        key=bytes(range(size)), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
    )
    session = pylibsrtp.Session(policy=policy)
    secret = [session.protect(data) for data in clear]
    assert {len(b) - len(a) for a, b in zip(clear, secret, strict=True)} == {tag}
    return [data[:-tag] + mki + data[-tag:] for data in secret]


class Watched:
    """One stream whose packets are looked at in batches, as a worker does."""

    def __init__(self) -> None:
        self.streams = new_streams(1)
        start_stream(self.streams[0], ssrc=7, seq=65_520)
        self.watch = SecretWatch(self.streams)
        self.seen = 0
        self.found: list[int] = []
        "After how many packets it turned out to be encrypted."

    def hear(self, datagrams: list[bytes], batch: int = 10) -> int:
        for start in range(0, len(datagrams), batch):
            some = datagrams[start : start + batch]
            heads = [struct.unpack_from("!BBHII", data) for data in some]
            self.seen += len(some)
            if 0 not in self.watch.undecided(np.array([0])):
                continue
            if self.watch.look(
                0,
                seen=len(some),
                seq=np.array([head[2] for head in heads], np.int32),
                timestamp=np.array([head[3] for head in heads], np.uint32),
                size=np.array([len(data) - 12 for data in some], np.int64),
                bytes_per_unit=np.ones(len(some)),
                payload=np.frombuffer(b"".join(data[12:-TRAILER] for data in some), np.uint8),
            ):
                self.found.append(self.seen)
        return int(self.streams["secret"][0])


@pytest.mark.parametrize("tag", sorted(PROFILES))
@pytest.mark.parametrize("sound", ["voice-ulaw", "loud-alaw", "silence", "tone-ulaw", "white-ulaw"])
def test_interop_3_14_real_srtp_is_found_within_30_packets_whatever_is_said(tag, sound):
    watched = Watched()
    assert watched.hear(protect(packets(CLEAR_SOUNDS[sound], [20]), tag)) == SECRET
    assert len(watched.found) == 1
    assert ENOUGH <= watched.found[0] <= 30


@pytest.mark.parametrize(
    ("ptimes", "batch"), [([10], 4), ([10], 20), ([30], 2), ([60], 1), ([60], 3), ([20, 30, 20, 40], 10)]
)
def test_real_srtp_is_found_with_any_length_of_packets_and_batches(ptimes, batch):
    watched = Watched()
    assert watched.hear(protect(packets(CLEAR_SOUNDS["voice-ulaw"], ptimes), 10), batch) == SECRET


def test_an_mki_of_four_bytes_is_part_of_the_length():
    watched = Watched()
    secret = protect(packets(CLEAR_SOUNDS["voice-ulaw"], [20]), 10, mki=b"\0\0\0\1")
    assert watched.hear(secret) == SECRET


@pytest.mark.parametrize("ptimes", [[10], [20], [30], [60], [20, 30], [10, 20, 10, 40, 20, 20, 30]])
@pytest.mark.parametrize("sound", sorted(CLEAR_SOUNDS))
def test_interop_3_14_nothing_that_is_sent_in_clear_is_ever_taken_for_srtp(sound, ptimes):
    watched = Watched()
    assert watched.hear(packets(CLEAR_SOUNDS[sound], ptimes)) == CLEAR
    assert watched.found == []


@pytest.mark.parametrize("tag", [4, 10, 14, 16])
@pytest.mark.parametrize("sound", sorted(set(CLEAR_SOUNDS) - {"chance"}))
def test_sounds_in_packets_that_are_too_long_are_not_taken_for_srtp(sound, tag):
    """A sender with a false timestamp step or with bytes of its own behind the audio."""
    watched = Watched()
    clear = packets(CLEAR_SOUNDS[sound], [20])
    assert watched.hear([data + data[-tag:] for data in clear]) == CLEAR
    assert watched.found == []


def test_silence_between_packets_says_nothing_and_loss_neither():
    secret = protect(packets(CLEAR_SOUNDS["voice-ulaw"], [20]), 10)
    moved = [
        data[:4] + struct.pack("!I", (i // 5 * 8000 + i * 160) % 2**32) + data[8:]
        for i, data in enumerate(secret)
    ]
    for datagrams in (moved, [data for i, data in enumerate(secret) if i % 4]):
        watched = Watched()
        assert watched.hear(datagrams) == SECRET


def test_a_stream_that_shows_nothing_is_clear_after_so_many_packets():
    watched = Watched()
    odd = packets(CLEAR_SOUNDS["voice-ulaw"], [20])[::2]  # no two in turn
    assert watched.hear(odd[: PATIENCE - 10]) == UNDECIDED
    assert watched.hear(odd[PATIENCE - 10 : PATIENCE]) == CLEAR


def test_which_packets_are_hidden_is_told_by_leg_and_ssrc():
    streams = new_streams(2)
    start_stream(streams[2], ssrc=7, seq=1)
    start_stream(streams[3], ssrc=8, seq=1)
    watch = SecretWatch(streams)
    leg, ssrc = np.array([0, 1, 1]), np.array([7, 7, 8], np.uint32)
    assert watch.hidden(leg, ssrc) is None
    streams["secret"][2] = SECRET
    hidden = SecretWatch(streams).hidden(leg, ssrc)  # as a worker that takes over finds it
    assert hidden is not None
    assert hidden.tolist() == [False, True, False]
    start_stream(streams[2], ssrc=7, seq=1)
    assert SecretWatch(streams).hidden(leg, ssrc) is None


def test_excess_is_what_a_packet_has_beyond_its_time():
    seq = np.array([65535, 0, 1, 3], np.int32)
    timestamp = np.array([2**32 - 160, 0, 240, 400], np.uint32)
    size = np.array([170, 240, 80, 160], np.int64)
    longer = excess(seq, timestamp, size, np.ones(4)).tolist()
    assert longer[:2] == [10, 0]
    assert longer[2] < -(2**31)
    assert excess(seq, timestamp, size // 2, np.full(4, 0.5)).tolist()[:2] == [5, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(256, 4000))
def test_bytes_of_chance_are_uniform_and_a_few_values_more_often_are_not(seed, n):
    payload = np.random.default_rng(seed).integers(0, 256, n, np.uint8)
    assert is_uniform(payload)
    assert not is_uniform(payload & 0x7F)
    assert not is_uniform(payload[:255])


def test_consecutive_packets_of_the_tests_follow_each_other():
    numbers = [struct.unpack_from("!H", data, 2)[0] for data in packets(CLEAR_SOUNDS["silence"], [20])]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
