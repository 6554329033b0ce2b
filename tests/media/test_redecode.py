"""What was kept raw, decoded afterwards: every sample at the place where the recorder would have put it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.media.kept import Key, kept_leg
from siprec.media.meaning import Meaning, read_meaning
from siprec.media.redecode import Redecoded, decode_leg
from siprec.storage.model import Event, Recording
from siprec.storage.rtpdump import RtpdumpError
from tests.helpers.encoders import encode, sample_rate, speech
from tests.helpers.kept import (
    I16,
    RATE,
    T0,
    UNKNOWN,
    as_type,
    dumped,
    kept_document,
    later,
    locked,
)
from tests.helpers.likeness import correlation, delay, resampled
from tests.helpers.player import Packet, doubled, rtp, shuffled, talk, without
from tests.helpers.voices import voice

PCMA: dict[int, Meaning] = {UNKNOWN: ("PCMA", 8000, 1, "")}
SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", bytes(range(30))


def spoken(seed: int, seconds: float = 1.0, **where: int) -> list[Packet]:
    """A-law under a payload type that nobody explained."""
    return as_type(talk(voice(seed, seconds, "PCMA"), "PCMA", ssrc=seed, **where), UNKNOWN)


def decoded(
    document: Recording,
    dumps: Sequence[bytes],
    given: dict[int, Meaning] = PCMA,
    keys: Sequence[Key] = (),
    *,
    rate: int = RATE,
    frames: int = 10 * RATE,
) -> tuple[Redecoded, I16]:
    """What becomes of the first leg, and its channel; that it is given in order and once is checked on the way."""
    channel, reached = np.zeros(frames, np.int16), 0

    def write(frame: int, samples: I16) -> None:
        nonlocal reached
        assert frame >= reached
        reached = frame + samples.size
        channel[frame:reached] = samples

    kept = kept_leg(document, document.legs[0], dumps, given, keys)
    result = decode_leg(kept, rate, write, hold_back_s=0.5)
    assert kept.total - result.decoded >= 0
    return result, channel


def assert_there(channel: I16, packets: Sequence[Packet], at: int, *, within: int = 0) -> None:
    """Every packet at its place and nothing else. at: the frame of the player's start; within: frames it may be off."""
    first = min(packet.place for packet in packets)
    start = int(np.flatnonzero(channel)[0]) - first
    assert abs(start - at) <= within
    expected = np.zeros(channel.size, np.int16)
    for packet in packets:
        assert packet.audio is not None
        expected[start + packet.place : start + packet.place + packet.audio.size] = packet.audio
    assert np.array_equal(channel, expected)


def test_a_leg_becomes_sound_where_its_first_packet_came() -> None:
    packets, first = spoken(1), T0 + timedelta(microseconds=123_456)
    result, channel = decoded(kept_document(50, first=first), [dumped(packets, at=first)])
    assert (result.decoded, result.late, result.codecs) == (50, 0, ["PCMA"])
    assert_there(channel, packets, round(0.123456 * RATE))
    assert result.first_frame == int(np.flatnonzero(channel)[0])
    assert result.end_frame == int(np.flatnonzero(channel)[-1]) + 1


@pytest.mark.parametrize("micros", [0, 1, 499, 500, 700, 999])
def test_the_milliseconds_of_a_dump_put_it_half_a_millisecond_off_at_most(micros: int) -> None:
    """Where the document does not say when the first packet came: RFC 3550 7 gives the dump its milliseconds."""
    packets, first = spoken(2), T0 + timedelta(milliseconds=100, microseconds=micros)
    _, channel = decoded(kept_document(50), [dumped(packets, at=first)])
    assert_there(channel, packets, round((0.1 + micros / 1e6) * RATE), within=5)


def test_loss_disorder_and_pauses_are_as_when_recorded() -> None:
    packets = spoken(3, 3.0, seq=65_500, timestamp=2**32 - 4000)
    sent = shuffled(without(packets, [20, 21, 70]), 4, random.Random(3))
    result, channel = decoded(kept_document(147, first=T0), [dumped(sent)])
    assert (result.decoded, result.late) == (147, 0)
    assert_there(channel, sent, 0, within=4 * 160)


def test_hours_of_silence_cost_nothing_and_move_nothing() -> None:
    long = 3 * 3600
    first, second = spoken(4), spoken(4, start=long * RATE, seq=50, timestamp=long * RATE)
    result, channel = decoded(
        kept_document(100, first=T0), [dumped([*first, *second])], frames=(long + 2) * RATE
    )
    assert result.decoded == 100
    assert_there(channel, [*first, *second], 0)


def test_each_worker_that_had_the_leg_left_a_file_of_its_own() -> None:
    packets = spoken(5)
    result, channel = decoded(kept_document(50, first=T0), [dumped(packets[:20]), dumped(packets[20:])])
    assert result.decoded == 50
    assert_there(channel, packets, 0)


def test_repeated_packets_are_heard_once() -> None:
    packets = spoken(6)
    _, channel = decoded(kept_document(50, first=T0), [dumped(doubled(packets, [3, 4]))])
    assert_there(channel, packets, 0)


def test_another_rate_is_brought_to_that_of_the_file() -> None:
    """L16 of 16 kHz in a file of 16 kHz sample by sample, in one of 8 kHz within a sample of its length."""
    tone = np.rint(9000 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000)).astype(np.int16)
    packets = [
        Packet(
            i / 50,
            rtp(tone[i * 320 :][:320].astype(">i2").tobytes(), pt=UNKNOWN, seq=i, timestamp=320 * i, ssrc=7),
        )
        for i in range(50)
    ]
    given: dict[int, Meaning] = {UNKNOWN: ("L16", 16_000, 1, "")}
    document = kept_document(50, first=T0)
    _, same = decoded(document, [dumped(packets)], given, rate=16_000)
    assert np.array_equal(same[:16_000], tone)
    assert not same[16_000:].any()
    result, half = decoded(document, [dumped(packets)], given)
    assert (result.decoded, result.codecs) == (50, ["L16"])
    assert (
        abs(half[50:7950].astype(int) - tone[100:15_900:2]).max() < 40
    )  # but where the filter begins and ends
    assert not half[8010:].any()


def test_what_nobody_explains_stays_raw() -> None:
    result, channel = decoded(kept_document(50), [dumped(spoken(8))], {})
    assert (result.decoded, result.first_frame, result.codecs) == (0, None, [])
    assert not channel.any()


def test_what_an_offer_explained_needs_only_its_decoder() -> None:
    """The document has what the SDP said; whether there was a decoder then is there, too."""
    packets = spoken(9)
    document = kept_document(50, first=T0, payloads={str(UNKNOWN): "PCMA/8000"})
    result, channel = decoded(document, [dumped(packets)], {})
    assert result.decoded == 50
    assert_there(channel, packets, 0)


def test_a_payload_type_means_what_it_meant_when_the_packet_came() -> None:
    """Mapped anew by a re-INVITE in the middle (RFC 3264 8.3.2)."""
    alaw, ulaw = (
        spoken(10),
        as_type(talk(voice(11, 1.0), ssrc=10, seq=50, timestamp=8000, start=8000), UNKNOWN),
    )
    document = kept_document(100, first=T0, payloads={str(UNKNOWN): "PCMU/8000"})
    before = {"payloads": {str(UNKNOWN): "PCMA/8000"}, "decodable": []}
    document.events.append(Event(at_s=0.99, type="payloads_changed", extra={"leg": 0, "before": before}))
    result, channel = decoded(document, [dumped([*alaw, *ulaw])], {})
    assert result.decoded == 100
    assert_there(channel, [*alaw, *ulaw], 0)


def test_what_had_a_decoder_was_kept_for_another_reason_and_is_not_mixed_in() -> None:
    """Another sender's packets lie in the same dump."""
    mine, others = spoken(12), talk(voice(13, 1.0), ssrc=13)
    both = sorted([*mine, *others], key=lambda packet: packet.at_s)
    result, channel = decoded(kept_document(50, first=T0), [dumped(both)])
    assert result.decoded == 50
    assert_there(channel, mine, 0)


def test_a_second_sender_that_was_told_of_is_no_part_of_the_leg() -> None:
    mine, others = spoken(14), spoken(15)
    document = kept_document(50, first=T0)
    document.events.append(Event(at_s=0.0, type="second_sender", extra={"leg": 0, "ssrc": 15}))
    both = sorted([*mine, *others], key=lambda packet: packet.at_s)
    result, channel = decoded(document, [dumped(both)])
    assert result.decoded == 50
    assert_there(channel, mine, 0)


def test_a_stream_that_looks_encrypted_is_left_out_from_its_beginning() -> None:
    """Whatever somebody says that its payload type means: it would be noise."""
    secret = locked(spoken(16), SUITE, KEY)
    result, channel = decoded(kept_document(50), [dumped(secret)])
    assert (result.decoded, result.encrypted) == (0, {16})
    assert not channel.any()


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"])
@pytest.mark.parametrize("seq", [0, 65_520])
def test_a_key_opens_what_was_encrypted(suite: str, seq: int) -> None:
    """Also when the sequence number runs over (RFC 3711 3.3.1), and with keys before it that fit nothing."""
    packets = talk(voice(17, 1.0), ssrc=17, seq=seq)
    document = kept_document(50, first=T0, undecryptable=50)
    keys = [Key(suite=suite, secret=bytes(30)), Key(suite=suite, secret=KEY)]
    result, channel = decoded(document, [dumped(locked(packets, suite, KEY))], {}, keys)
    assert (result.decoded, result.codecs) == (50, ["PCMU"])
    assert_there(channel, packets, 0)


def test_a_key_that_does_not_fit_changes_nothing() -> None:
    packets = locked(talk(voice(18, 1.0), ssrc=18), SUITE, KEY)
    document = kept_document(50, undecryptable=50)
    result, channel = decoded(document, [dumped(packets)], {}, [Key(suite=SUITE, secret=bytes(30))])
    assert result.decoded == 0
    assert not channel.any()


def test_a_key_for_one_stream_leaves_the_plain_one_as_it_was() -> None:
    plain = later(spoken(19), 2.0)
    secret = locked(talk(voice(20, 1.0), ssrc=20), SUITE, KEY)
    document = kept_document(100, first=T0)
    result, channel = decoded(document, [dumped([*secret, *plain])], PCMA, [Key(suite=SUITE, secret=KEY)])
    assert (result.decoded, result.codecs) == (100, ["PCMU", "PCMA"])
    assert channel[: RATE // 2].any()
    assert channel[2 * RATE : 3 * RATE].any()


def test_what_is_no_rtp_stays_where_it_is() -> None:
    """A fax, noise, an empty datagram, more than a row holds."""
    odd = [
        Packet(0.1, b"\0\1\2\3"),
        Packet(0.2, b""),
        Packet(0.3, b"\x80"),
        Packet(0.4, b"\x80\x60" + bytes(9000)),
    ]
    packets = spoken(21)
    result, channel = decoded(kept_document(50, first=T0), [dumped([*odd, *packets])])
    assert result.decoded == 50
    assert_there(channel, packets, 0)


def test_a_dump_whose_writer_was_killed_gives_what_is_whole_and_what_is_none_is_refused() -> None:
    packets = spoken(22)
    result, _ = decoded(kept_document(50, first=T0), [dumped(packets)[:-7]])
    assert result.decoded == 49
    with pytest.raises(RtpdumpError):
        decoded(kept_document(50), [b"no dump"])


def test_without_its_zero_a_recording_cannot_be_completed() -> None:
    document = kept_document(50)
    document.t0 = None
    with pytest.raises(ValueError, match="not known when its audio begins"):
        decoded(document, [dumped(spoken(23))])


@pytest.mark.parametrize("codec", ["opus", "G722", "GSM", "AMR"])
def test_codecs_with_a_memory_are_alike_and_in_their_place(codec: str) -> None:
    """In a file of 8 kHz, whatever their own rate is; meant as an offer would say it."""
    said = speech(3.0, sample_rate(codec), seed=5)
    made = encode(codec, said)
    packets = [
        Packet(at / made.clock, rtp(payload, pt=UNKNOWN, seq=i, timestamp=at, ssrc=30))
        for i, (at, payload) in enumerate(zip(made.timestamps, made.payloads, strict=True))
    ]
    given = {UNKNOWN: read_meaning(f"{made.encoding};{made.fmtp}" if made.fmtp else made.encoding)}
    result, channel = decoded(kept_document(len(packets), first=T0), [dumped(packets)], given)
    assert (result.decoded, result.codecs) == (len(packets), [codec])
    heard, expected = channel[: 3 * RATE], resampled(said, made.rate, RATE)
    later_by = delay(heard, expected)
    assert abs(later_by - made.delay_samples * RATE / made.rate) <= RATE / 1000
    assert correlation(heard, expected, later=later_by) > 0.9


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=200)), max_size=30),
    st.sampled_from(
        [PCMA, {UNKNOWN: ("opus", 48_000, 2, "")}, {UNKNOWN: ("red", 8000, 1, ""), 8: ("G729", 8000, 1, "")}]
    ),
    st.booleans(),
)
def test_whatever_lies_in_a_dump_is_decoded_or_left(
    found: list[tuple[int, bytes]], given_meanings: dict[int, Meaning], with_key: bool
) -> None:
    packets = [Packet(at / 1000, b"\x80\x60" + data) for at, data in found]
    keys = [Key(suite=SUITE, secret=KEY)] if with_key else []
    result, _ = decoded(
        kept_document(len(packets)), [dumped(packets)], given_meanings, keys, frames=30 * RATE
    )
    assert 0 <= result.decoded <= len(packets)
