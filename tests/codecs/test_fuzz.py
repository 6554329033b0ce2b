"""Whatever the bytes of a payload are: nothing raises, lengths agree, and good packets afterwards are heard."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.codecs.decoder import open_decoder
from siprec.codecs.frames import MALFORMED, samples_in
from siprec.codecs.registry import CODECS, Codec
from tests.helpers.damage import CODECS_OF_SOUND, damaged, good_payloads
from tests.helpers.decoding import check_anything, check_good

SOUND = [codec for codec in CODECS_OF_SOUND if codec.form != "l16" or codec.clock in (8_000, 44_100)]
IDS = [f"{codec.name}-{codec.form}-{codec.clock}-{codec.channels}" for codec in SOUND]


@pytest.mark.parametrize("codec", SOUND, ids=IDS)
@settings(max_examples=60, deadline=None)
@given(payloads=st.lists(st.binary(max_size=300), max_size=5))
def test_random_payloads_become_as_many_samples_as_they_stand_for_or_are_refused(
    codec: Codec, payloads: list[bytes]
) -> None:
    check_anything(codec, open_decoder(codec), payloads)


@pytest.mark.parametrize("codec", SOUND, ids=IDS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_payloads_do_the_same_and_good_ones_after_them_are_heard(codec: Codec, seed: int) -> None:
    rng = random.Random(seed)
    good, decoder = good_payloads(codec), open_decoder(codec)
    check_good(codec, decoder, good[:5])
    check_anything(codec, decoder, [damaged(good, rng) for _ in range(5)])
    check_good(codec, decoder, good[5:20])


@pytest.mark.parametrize("codec", SOUND, ids=IDS)
def test_every_truncation_of_a_good_payload_is_measured_and_decoded_or_refused(codec: Codec) -> None:
    payload, decoder = good_payloads(codec)[10], open_decoder(codec)
    for length in range(min(len(payload), 200)):
        check_anything(codec, decoder, [payload[:length]])


@settings(max_examples=300, deadline=None)
@given(codec=st.sampled_from([codec for codec in CODECS if codec.form]), payload=st.binary(max_size=1400))
def test_the_samples_of_any_bytes_are_a_number(codec: Codec, payload: bytes) -> None:
    assert MALFORMED <= samples_in(codec, payload) <= 8 * 1400 * 320
