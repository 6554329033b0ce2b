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
        ("G722", 16000, UNKNOWN),
        ("opus", 8000, UNKNOWN),
        ("EVRC", 8000, UNKNOWN),
        ("", 8000, UNKNOWN),
        ("unknown", 8000, UNKNOWN),
    ],
)
def test_a_codec_is_found_by_name_in_any_case_and_audio_by_its_clock(name, clock, codec):
    assert find(name, clock=clock) is codec


@pytest.mark.parametrize(
    ("name", "clock", "rate"),
    [
        ("G722", 8000, 16000),
        ("G729", 8000, 8000),
        ("g729a", 8000, 8000),
        ("G7231", 8000, 8000),
        ("GSM", 8000, 8000),
        ("iLBC", 8000, 8000),
        ("OPUS", 48000, 48000),
        ("amr", 8000, 8000),
        ("AMR-WB", 16000, 16000),
        ("SPEEX", 32000, 32000),
        ("G726-32", 8000, 8000),
        ("AAL2-G726-16", 8000, 8000),
        ("L16", 44100, 44100),
    ],
)
def test_the_rate_of_the_sound_is_the_decoder_s_and_not_the_clock(name, clock, rate):
    codec = find(name, clock=clock)
    assert (codec.kind, codec.clock, codec.rate) == (AUDIO, clock, rate)


@pytest.mark.parametrize(
    ("fmtp", "form"),
    [
        ("", "amr"),
        ("octet-align=0; mode-set=7", "amr"),
        ("mode-set=0,2;Octet-Align = 1", "amr-octet"),
        ("octet-align=1;crc=1", ""),
        ("octet-align=1;robust-sorting=1", ""),
        ("octet-align=1;interleaving=30", ""),
        ("octet-align=1;crc=0;robust-sorting=0", "amr-octet"),
        (";;=;octet-align", "amr"),
    ],
)
def test_the_packing_of_amr_follows_from_its_parameters_and_what_is_not_read_is_unknown(fmtp, form):
    assert find("AMR", clock=8000, fmtp=fmtp).form == form


def test_channels_count_where_the_payload_has_them():
    assert find("L16", clock=16000, channels=2).channels == 2
    assert find("L16", clock=16000, channels=3) is UNKNOWN
    assert find("opus", clock=48000, channels=2) is find("opus", clock=48000)
    assert find("AMR", clock=8000, channels=2) is UNKNOWN


def mapped(pairs):
    return payload_map({number: (name, clock, 1, "") for number, (name, clock) in pairs.items()})


def test_without_any_rtpmap_the_static_types_mean_what_rfc_3551_says():
    numbers = payload_map({})
    assert numbers.dtype == np.uint8
    assert {pt: CODECS[n].name for pt, n in enumerate(numbers.tolist()) if n} == {
        0: "PCMU",
        2: "G726-32",
        3: "GSM",
        4: "G723",
        8: "PCMA",
        9: "G722",
        10: "L16",
        11: "L16",
        13: "CN",
        18: "G729",
        19: "CN",
    }
    assert [CODECS[numbers[pt]].channels for pt in (10, 11)] == [2, 1]


def test_dynamic_types_mean_what_the_sdp_says_and_static_ones_stay():
    numbers = mapped({96: ("PCMA", 8000), 101: ("telephone-event", 8000), 97: ("EVRC", 8000)})
    assert [CODECS[n] for n in numbers[[96, 101, 97, 0, 8]].tolist()] == [
        PCMA,
        TELEPHONE_EVENT,
        UNKNOWN,
        PCMU,
        PCMA,
    ]


def test_a_static_type_that_the_sdp_maps_anew_means_what_the_sdp_says():
    assert mapped({0: ("EVRC", 8000), 8: ("PCMU", 8000)})[[0, 8]].tolist() == [0, PCMU.number]


@pytest.mark.parametrize("number", [-1, 128, 10**6])
def test_a_payload_type_that_is_none_is_left_out(number):
    assert (mapped({number: ("PCMU", 8000)}) == payload_map({})).all()
