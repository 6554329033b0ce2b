"""Every decoder against streams of independent encoders, and against what other decoders make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from siprec.codecs.decoder import DecodeError, open_decoder
from siprec.codecs.frames import samples_in
from siprec.codecs.registry import L16_CLOCKS, Codec, find
from tests.helpers import reference
from tests.helpers.codec_libraries import amr_wb
from tests.helpers.encoders import (
    CODECS,
    Encoded,
    amr_frames,
    encode,
    sample_rate,
    speech,
)
from tests.helpers.likeness import correlation, delay, snr_db

EXACT = [codec for codec in CODECS if codec.startswith(("G726", "AAL2")) or codec in ("G722", "GSM", "G723")]
"Their decoding is defined bit by bit, or FFmpeg's is the only one there is."
VARIANTS: list[tuple[str, int, dict[str, Any]]] = [
    *((codec, 60 if codec == "G723" else 20, {}) for codec in CODECS if codec != "opus"),
    ("opus", 20, {"bit_rate": 96_000}),
    ("AMR", 60, {"octet_aligned": True}),
    ("AMR", 20, {"mode": 0}),
    ("AMR-WB", 40, {"octet_aligned": True}),
    ("AMR-WB", 20, {"mode": 0}),
    ("iLBC", 30, {"mode_ms": 30}),
    ("iLBC", 60, {"mode_ms": 20}),
    ("speex", 60, {}),
    ("speex", 20, {"rate": 16_000}),
    ("speex", 20, {"rate": 32_000}),
    ("G729", 10, {}),
    ("G729", 60, {}),
]
NAMES = ["-".join([codec, str(ptime), *map(str, options)]) for codec, ptime, options in VARIANTS]
LIKENESS = {"AMR": 0.8, "G729": 0.85, "iLBC": 0.88, "GSM": 0.88, "speex": 0.88, "AMR-WB": 0.88}
"How alike what is heard is to what was said at least; 0.95 for all others."


def codec_of(stream: Encoded) -> Codec:
    """As the SDP names it."""
    name, clock, *channels = stream.encoding.split("/")
    return find(
        name, clock=int(clock), channels=int(channels[0]) if channels else 1, fmtp=f"ptime=20; {stream.fmtp}"
    )


def decoded(codec: Codec, payloads: list[bytes]) -> list[np.ndarray]:
    """The sound of each payload; every one is decoded, and as long as its payload says."""
    sounds = []
    for payload, sound in zip(payloads, open_decoder(codec).decode_many(payloads), strict=True):
        assert not isinstance(sound, DecodeError), sound
        assert sound.dtype == np.int16
        assert sound.shape == (samples_in(codec, payload),)
        sounds.append(sound)
    return sounds


@pytest.mark.parametrize(("codec", "ptime", "options"), VARIANTS, ids=NAMES)
def test_what_is_heard_is_what_was_said_after_the_codecs_own_delay(codec, ptime, options):
    said = speech(4, sample_rate(codec, **options), seed=3)
    stream = encode(codec, said, ptime_ms=ptime, **options)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    assert heard.size == len(stream.payloads) * ptime * stream.rate // 1000
    assert abs(delay(heard, said) - stream.delay_samples) <= 1
    assert correlation(heard, said, later=stream.delay_samples) > LIKENESS.get(codec, 0.95)


@pytest.mark.parametrize("ptime", [20, 60])
@pytest.mark.parametrize("codec", [codec for codec in EXACT if codec != "G723"])
def test_waveform_codecs_decode_as_ffmpeg_does_sample_by_sample(codec, ptime):
    stream = encode(codec, speech(3, sample_rate(codec), seed=5), ptime_ms=ptime)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    assert heard.tolist() == reference.decode(codec, stream.payloads).tolist()


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("ptime", [10, 30, 120])
def test_g711_decodes_as_libsndfile_does_sample_by_sample(codec, ptime):
    stream = encode(codec, speech(1, seed=7), ptime_ms=ptime)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    assert heard.tolist() == reference.decode(codec, stream.payloads).tolist()


@pytest.mark.parametrize("clock", L16_CLOCKS)
def test_linear_samples_come_out_as_they_went_in_at_any_clock(clock):
    said = speech(0.5, clock)
    stream = encode("L16", said, rate=clock)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    assert heard.tolist() == said[: heard.size].tolist()


def test_two_channels_of_linear_samples_become_their_mean():
    left, right = speech(0.5, 44_100, seed=1), speech(0.5, 44_100, seed=2)
    stream = encode("L16", np.stack((left, right), axis=1))
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    mean = (left.astype(np.int32) + right) // 2
    assert heard.tolist() == mean[: heard.size].tolist()


@pytest.mark.parametrize(
    ("codec", "ptime", "options", "wanted_db"),
    [
        ("opus", 20, {}, 40),
        ("opus", 60, {}, 40),
        ("G723", 30, {}, 40),
        ("G729", 20, {}, 17),
        ("iLBC", 20, {"mode_ms": 20}, 20),
        ("iLBC", 30, {"mode_ms": 30}, 20),
        ("speex", 20, {}, 15),
        ("speex", 20, {"rate": 16_000}, 15),
        ("speex", 20, {"rate": 32_000}, 15),
    ],
)
def test_speech_codecs_decode_as_other_decoders_do(codec, ptime, options, wanted_db):
    stream = encode(codec, speech(4, sample_rate(codec, **options), seed=6), ptime_ms=ptime, **options)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    other = reference.decode(codec, stream.payloads, **options)
    assert heard.size == other.size
    assert delay(heard, other) == 0
    assert snr_db(heard, other) > wanted_db


@pytest.mark.parametrize("octet_aligned", [False, True])
@pytest.mark.parametrize("codec", ["AMR", "AMR-WB"])
@pytest.mark.parametrize("mode", range(8))
def test_every_mode_of_amr_decodes_as_ffmpegs_own_decoder_does(codec, mode, octet_aligned):
    said = speech(2, sample_rate(codec), seed=8)
    frames = (amr_frames if codec == "AMR" else amr_wb)(said, mode=mode)
    stream = encode(codec, said, mode=mode, octet_aligned=octet_aligned, ptime_ms=40)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    other = reference.decode_amr(frames, wide=codec == "AMR-WB")
    assert delay(heard, other) == 0
    assert snr_db(heard, other) > 15


@pytest.mark.parametrize("ptime", [10, 20, 40, 60, 120])
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_of_any_ptime_and_channels_becomes_one_channel(ptime, channels):
    said = speech(2.4, 48_000, seed=9)
    samples = said if channels == 1 else np.stack((said, said), axis=1)
    stream = encode("opus", samples, ptime_ms=ptime, bit_rate=96_000)
    heard = np.concatenate(decoded(codec_of(stream), stream.payloads))
    assert heard.size == 48 * ptime * len(stream.payloads)
    assert abs(delay(heard, said) - stream.delay_samples) <= 1
    assert correlation(heard, said, later=stream.delay_samples) > 0.95


@pytest.mark.parametrize(
    ("codec", "options"),
    [("AMR", {"dtx": True}), ("AMR-WB", {"dtx": True}), ("G729", {"vad": True}), ("opus", {"dtx": True})],
)
@pytest.mark.parametrize("ptime", [20, 60])
def test_a_pause_that_is_not_sent_leaves_a_gap_and_the_speech_after_it_is_whole(codec, options, ptime):
    rate = sample_rate(codec)
    said = np.concatenate(
        (speech(1.2, rate, seed=1), np.zeros(3 * rate, np.int16), speech(1.2, rate, seed=2))
    )
    stream = encode(codec, said, ptime_ms=ptime, **options)
    assert len(stream.payloads) < 0.8 * said.size / rate * 1000 / ptime
    heard = np.zeros(said.size, np.int16)
    for at, sound in zip(stream.timestamps, decoded(codec_of(stream), stream.payloads), strict=True):
        start = at * rate // stream.clock
        assert not heard[start : start + sound.size].any()
        heard[start : start + sound.size] = sound
    second = slice(round(4.2 * rate), None)
    assert correlation(heard[second], said[second], later=stream.delay_samples) > 0.8


def test_a_g729_packet_that_ends_with_a_sid_is_speech_and_then_silence():
    speech_frames = encode("G729", speech(0.2)).payloads
    whole, with_sid = open_decoder(find("G729")).decode_many(
        [speech_frames[0], speech_frames[1][:10] + b"\1\2"]
    )
    assert whole.size == 160
    assert with_sid.size == 160
    assert with_sid[:80].any()
    assert not with_sid[80:].any()


def test_frames_of_g723_without_speech_are_silence_between_those_with_it():
    """RFC 3551 4.5.3: the two lowest bits say how long a frame is; 4 bytes are a SID, one byte is nothing."""
    stream = encode("G723", speech(1), ptime_ms=30).payloads
    sounds = decoded(find("G723"), [*stream[:10], stream[10] + b"\2abc", b"\3", *stream[11:]])
    assert [sound.size for sound in sounds[9:13]] == [240, 480, 240, 240]
    assert sounds[10][:240].any()
    assert not sounds[10][240:].any()
    assert not sounds[11].any()
    assert sounds[12].any()


@pytest.mark.parametrize(
    ("codec", "kind"), [("AMR", 8), ("AMR", 15), ("AMR-WB", 9), ("AMR-WB", 14), ("AMR-WB", 15)]
)
@pytest.mark.parametrize("octets", [False, True])
def test_amr_frames_without_speech_are_silence(codec, kind, octets):
    """RFC 4867: types 8 and 9 are SID, 14 a lost frame of AMR-WB, 15 no data."""
    bits = {8: 39, 9: 40}.get(kind, 0)
    text = "1111" + "0000" * octets + f"0{kind:04b}1" + "00" * octets + "1" * bits
    text += "0" * (-len(text) % 8)
    payload = int(text, 2).to_bytes(len(text) // 8, "big")
    codec = find(codec, fmtp=f"octet-align={int(octets)}")
    (sound,) = decoded(codec, [payload])
    assert sound.size == codec.rate // 50
    assert not sound.any()


@pytest.mark.parametrize(("codec", "ptime", "options"), VARIANTS, ids=NAMES)
def test_packet_by_packet_sounds_as_all_at_once(codec, ptime, options):
    stream = encode(codec, speech(1.5, sample_rate(codec, **options), seed=4), ptime_ms=ptime, **options)
    form = codec_of(stream)
    together = np.concatenate(decoded(form, stream.payloads))
    decoder = open_decoder(form)
    one_by_one = [sound for payload in stream.payloads for sound in decoder.decode_many([payload])]
    assert np.concatenate(one_by_one).tolist() == together.tolist()


def test_an_ilbc_stream_that_begins_in_the_middle_of_a_word_does_not_begin_with_a_bang():
    stream = encode("iLBC", speech(1, seed=3)[2_000:])
    heard = np.concatenate(decoded(find("iLBC"), stream.payloads))
    assert np.abs(heard.astype(np.int32)).max() < 15_000
