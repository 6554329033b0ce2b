"""Which codec a payload type means."""

from __future__ import annotations

import numpy as np
import pytest

from siprec.codecs.registry import (
    AUDIO,
    CODECS,
    COMFORT_NOISE,
    EVENT,
    KINDS,
    NOISE,
    PCMA,
    PCMU,
    RAW,
    TELEPHONE_EVENT,
    UNKNOWN,
    find,
    payload_map,
)


def test_every_codec_stands_at_its_number():
    assert [codec.number for codec in CODECS] == list(range(len(CODECS)))
    assert KINDS.tolist() == [codec.kind for codec in CODECS]
    assert UNKNOWN.number == 0
    assert [c.kind for c in (UNKNOWN, PCMU, PCMA, TELEPHONE_EVENT, COMFORT_NOISE)] == [
        RAW,
        AUDIO,
        AUDIO,
        EVENT,
        NOISE,
    ]


@pytest.mark.parametrize(
    ("name", "clock", "codec"),
    [
        ("PCMU", 8000, PCMU),
        ("pcma", 8000, PCMA),
        ("PcmU", None, PCMU),
        ("PCMU", 16000, UNKNOWN),
        ("TELEPHONE-EVENT", 8000, TELEPHONE_EVENT),
        ("telephone-event", 48000, TELEPHONE_EVENT),
        ("CN", 16000, COMFORT_NOISE),
        ("G729", 8000, UNKNOWN),
        ("", 8000, UNKNOWN),
        ("unknown", 8000, UNKNOWN),
    ],
)
def test_a_codec_is_found_by_name_in_any_case_and_audio_by_its_clock(name, clock, codec):
    assert find(name, clock=clock) is codec


def test_without_any_rtpmap_the_static_types_mean_what_rfc_3551_says():
    numbers = payload_map({})
    assert numbers.dtype == np.uint8
    assert {pt: CODECS[n] for pt, n in enumerate(numbers.tolist()) if n} == {
        0: PCMU,
        8: PCMA,
        13: COMFORT_NOISE,
        19: COMFORT_NOISE,
    }


def test_dynamic_types_mean_what_the_sdp_says_and_static_ones_stay():
    numbers = payload_map({96: ("PCMA", 8000), 101: ("telephone-event", 8000), 97: ("opus", 48000)})
    assert [CODECS[n] for n in numbers[[96, 101, 97, 0, 8]].tolist()] == [
        PCMA,
        TELEPHONE_EVENT,
        UNKNOWN,
        PCMU,
        PCMA,
    ]


def test_a_static_type_that_the_sdp_maps_anew_means_what_the_sdp_says():
    assert payload_map({0: ("G729", 8000), 8: ("PCMU", 8000)})[[0, 8]].tolist() == [0, PCMU.number]


@pytest.mark.parametrize("number", [-1, 128, 10**6])
def test_a_payload_type_that_is_none_is_left_out(number):
    assert (payload_map({number: ("PCMU", 8000)}) == payload_map({})).all()
