"""Calls of every codec: what is in the file is what was said, whoever encoded it, mixed pairs and changes included."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.helpers import reference
from tests.helpers.caller import Caller
from tests.helpers.daemon import Daemon
from tests.helpers.encoders import Encoded, encode, sample_rate, speech
from tests.helpers.likeness import correlation, delay, resampled, snr_db
from tests.helpers.offers import Line, metadata
from tests.helpers.player import Player, play
from tests.helpers.streams import line, packets
from tests.helpers.voices import I16

NewPlayer = Callable[..., Player]
SOURCE = Path(__file__).parents[1] / "helpers" / "pjsua2_source.py"
COMPLETE = {"result": "complete", "reasons": [], "findings": []}
SPEECH_S = 2.4

needs_pjsua2 = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None,
    reason="pjsua2 is missing: pip install 'siprec[pjsua2]' (CPython 3.11 and 3.12 on x86-64)",
)


def read(path: str) -> tuple[I16, int]:
    """Samples int16[frames, 2], and their rate."""
    audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert audio.shape[1] == 2
    return audio, rate


# -- calls of pjsua2 --

PJSUA_PAIRS = [
    ("PCMU/8000/1", "PCMA/8000/1"),
    ("GSM/8000/1", "G722/16000/1"),
    ("iLBC/8000/1", "speex/8000/1"),
    ("speex/16000/1", "speex/32000/1"),
    ("L16/44100/1", "PCMU/8000/1"),
]
LEAST_LIKENESS = {
    "PCMU": 0.95,
    "PCMA": 0.98,
    "L16": 0.98,
    "G722": 0.98,
    "GSM": 0.88,
    "iLBC": 0.88,
    "speex": 0.88,
}
"Correlation of what is recorded with what was played; PCMU lacks what is above 4 kHz in a file of 16 kHz."
PJSUA_CANNOT = {"L16/44100/2"}
"It offers two channels, but its conference bridge gives up with an assertion as soon as they are to be sent."


@needs_pjsua2
def test_every_codec_of_pjsua2_has_its_call() -> None:
    asked = subprocess.run([sys.executable, SOURCE], capture_output=True, text=True, timeout=60, check=True)
    known = set(json.loads(asked.stdout.splitlines()[-1]))
    assert known - PJSUA_CANNOT == {codec for pair in PJSUA_PAIRS for codec in pair}


@needs_pjsua2
@pytest.mark.parametrize("codecs", PJSUA_PAIRS, ids=["+".join(pair) for pair in PJSUA_PAIRS])
def test_a_call_of_pjsua2_with_a_codec_a_leg_is_heard_as_it_was_played(
    daemon: Daemon, tmp_path: Path, codecs: tuple[str, str]
) -> None:
    """pjsua2 says nowhere when it began to play: each file is looked for."""
    said = [speech(SPEECH_S, 16_000, seed) for seed in (11, 12)]
    files = [tmp_path / f"{number}.wav" for number in range(2)]
    for file, samples in zip(files, said, strict=True):
        soundfile.write(file, samples, 16_000, subtype="PCM_16")
    job = {
        "uri": f"sip:srs@127.0.0.1:{daemon.ports['udp']}",
        "transport": "udp",
        "codecs": codecs,
        "rate": 16_000,
        "files": [str(file) for file in files],
        "metadata": metadata(),
    }
    client = subprocess.run(
        [sys.executable, SOURCE, json.dumps(job)], capture_output=True, text=True, timeout=60, check=False
    )
    assert client.returncode == 0, client.stderr
    told = json.loads(client.stdout.splitlines()[-1])
    assert told["finished"], client.stdout
    shown = daemon.recording_of(told["call_id"])
    assert shown["verdict"] == COMPLETE
    assert [leg["codecs"] for leg in shown["legs"]] == [[codec.partition("/")[0]] for codec in codecs]
    audio, rate = read(shown["path"])
    assert rate == min(16_000, max(int(codec.split("/")[1]) for codec in codecs))
    starts = []
    for channel, samples, codec in zip(audio.T, said, codecs, strict=True):
        wanted = resampled(samples, 16_000, rate)
        start = delay(channel, wanted, longest=3 * rate)
        assert correlation(channel, wanted, later=start) > LEAST_LIKENESS[codec.partition("/")[0]]
        starts.append(start / rate)
    assert abs(starts[0] - starts[1]) < 0.1


# -- calls of our own: all codecs, changes of them --


@dataclass(frozen=True)
class Voice:
    """What a leg says, in one codec. exact_db: at least so like the decoding of others."""

    codec: str
    exact_db: float
    ptime_ms: int = 20
    options: dict[str, Any] = field(default_factory=dict)
    channels: int = 1

    def stream(self, seed: int) -> Encoded:
        """Encoded speech."""
        samples = speech(SPEECH_S, sample_rate(self.codec, **self.options), seed)
        if self.channels == 2:
            samples = np.stack((samples, samples), axis=1)
        return encode(self.codec, samples, ptime_ms=self.ptime_ms, **self.options)

    def sound(self, stream: Encoded, rate: int) -> I16:
        """What its stream sounds like by other decoders, at a file's rate [Hz]."""
        payloads = stream.payloads
        if self.codec == "L16" and self.channels == 2:
            payloads = [np.frombuffer(payload, ">i2")[::2].tobytes() for payload in payloads]
        return resampled(reference.decode(self.codec, payloads, **self.options), stream.rate, rate)


EXACT = 90.0
G729, G723 = Voice("G729", 15), Voice("G723", 40, 30)
OPUS, OPUS_60 = Voice("opus", 20), Voice("opus", 20, 60)
PAIRS = [
    (G729, Voice("PCMU", EXACT)),
    (Voice("AMR", 15), Voice("AMR-WB", 15)),
    (Voice("AMR", 15, 40, {"octet_aligned": True}), Voice("AMR-WB", 15, 60, {"octet_aligned": True})),
    (OPUS, OPUS_60),
    (G723, Voice("G726-32", EXACT)),
    (Voice("G726-16", EXACT), Voice("G726-24", EXACT)),
    (Voice("G726-40", EXACT), Voice("AAL2-G726-32", EXACT)),
    (Voice("iLBC", 20), Voice("iLBC", 20, 30, {"mode_ms": 30})),
    (Voice("L16", EXACT, 20, {"rate": 16_000}), Voice("GSM", 20)),
    (Voice("G722", EXACT), Voice("G729", 12, 60)),
    (Voice("L16", EXACT, 10, {"rate": 44_100}, channels=2), Voice("opus", 20, channels=2)),
    (Voice("speex", 15, 60), Voice("speex", 15, 20, {"rate": 16_000})),
]


def placed(
    daemon: Daemon, lines: Sequence[Line], players: Sequence[Player], *, again: Any = None
) -> dict[str, Any]:
    """A call: invite, play, BYE; what `siprec show` says of it. again: called with the caller while they play."""
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call(tuple(lines))
        assert answer.status == 200, answer.message.text
        play(players, answer.message.ports())
        if again is not None:
            again(caller)
        for one in players:
            one.finish()
        assert caller.bye().status == 200
        return daemon.recording_of(caller.call_id)


def assert_like(channel: I16, wanted: I16, least_db: float) -> int:
    """The channel is this sound and silence around it; returns where it begins."""
    start = delay(channel, wanted, longest=channel.size // 2)
    assert snr_db(channel, wanted, later=start) > least_db
    return start


@pytest.mark.parametrize(
    "pair", PAIRS, ids=["+".join(f"{v.codec}-{v.ptime_ms}" for v in pair) for pair in PAIRS]
)
def test_a_call_with_a_codec_a_leg_sounds_as_other_decoders_make_it_sound(
    daemon: Daemon, player: NewPlayer, pair: tuple[Voice, Voice]
) -> None:
    streams = [voice.stream(seed) for seed, voice in enumerate(pair, 31)]
    players = [
        player(packets(stream, pt=96, ssrc=300 + number, seq=65_500, timestamp=2**32 - 9_000))
        for number, stream in enumerate(streams)
    ]
    lines = [
        line(one.port, label, {96: stream}) for one, label, stream in zip(players, "12", streams, strict=True)
    ]
    shown = placed(daemon, lines, players)
    assert shown["verdict"] == COMPLETE
    assert [leg["codecs"] for leg in shown["legs"]] == [[voice.codec] for voice in pair]
    assert [leg["packets"] for leg in shown["legs"]] == [len(stream.payloads) for stream in streams]
    audio, rate = read(shown["path"])
    assert rate == min(16_000, max(stream.rate for stream in streams))
    starts = []
    for channel, voice, stream in zip(audio.T, pair, streams, strict=True):
        wanted = voice.sound(stream, rate)
        starts.append(
            assert_like(channel, wanted, voice.exact_db if stream.rate == rate else min(20, voice.exact_db))
        )
    assert abs(starts[0] - starts[1]) < 0.05 * rate


def assert_spans(channel: I16, wanted: Sequence[tuple[float, I16, float]], rate: int) -> None:
    """Sounds in a channel, each (its start after the first one [s], samples, least dB): at its place and as it should be."""
    begin = delay(channel, wanted[0][1], longest=channel.size // 2)
    for start_s, samples, least_db in wanted:
        start = begin + round(start_s * rate)
        part = channel[start : start + samples.size]
        assert abs(delay(part, samples, longest=400)) <= 1
        assert snr_db(part, samples, later=max(0, delay(part, samples, longest=400))) > least_db


def test_a_codec_that_changes_by_payload_type_goes_on_in_the_same_stream(
    daemon: Daemon, player: NewPlayer
) -> None:
    """One SSRC, one row of sequence numbers and timestamps: PCMU, G.722, GSM, G.729 and PCMU again, by turns."""
    turns = [Voice("PCMU", 15), Voice("G722", 15), Voice("GSM", 15), Voice("G729", 10), Voice("PCMU", 15)]
    types = {"PCMU": 0, "G722": 9, "GSM": 3, "G729": 18}
    sent, wanted, seq = [], [], 0
    for number, voice in enumerate(turns):
        stream = voice.stream(50 + number)
        start_s = number * SPEECH_S
        sent += packets(
            stream, pt=types[voice.codec], ssrc=5, seq=seq, timestamp=round(start_s * 8_000), start_s=start_s
        )
        seq += len(stream.payloads)
        wanted.append((start_s, voice.sound(stream, 8_000), voice.exact_db))
    other = Voice("PCMA", EXACT).stream(60)
    left, right = player(sent), player(packets(other, pt=8, ssrc=6))
    lines = [Line(left.port, "1", (0, 9, 3, 18)), Line(right.port, "2", (8,))]
    shown = placed(daemon, lines, [left, right])
    assert shown["legs"][0]["ssrcs"] == [5]
    assert shown["legs"][0]["lost"] == 0
    assert set(shown["legs"][0]["codecs"]) == set(types)
    audio, rate = read(shown["path"])
    scaled = [(start_s, resampled(samples, 8_000, rate), db) for start_s, samples, db in wanted]
    assert_spans(audio[:, 0], scaled, rate)


def test_a_payload_type_that_a_reinvite_maps_anew_is_another_codec_from_then_on(
    daemon: Daemon, player: NewPlayer
) -> None:
    one, other = Voice("G726-32", EXACT), Voice("AMR", 15)
    before, after = one.stream(71), other.stream(72)
    constant = Voice("PCMU", EXACT).stream(73)
    first = packets(before, pt=96, ssrc=7)
    # between the two lies a second, in which the re-INVITE is answered
    second = packets(
        after,
        pt=96,
        ssrc=7,
        seq=len(first),
        timestamp=round((SPEECH_S + 1) * 8_000),
        start_s=SPEECH_S + 1,
    )
    left, right = player([*first, *second]), player(packets(constant, pt=0, ssrc=8))
    lines = [line(left.port, "1", {96: before}), Line(right.port, "2", (0,))]
    changed = [line(left.port, "1", {96: after}), lines[1]]

    def reinvite(caller: Caller) -> None:
        left.wait_for(len(first))
        assert caller.call(tuple(changed)).status == 200

    shown = placed(daemon, lines, [left, right], again=reinvite)
    assert set(shown["legs"][0]["codecs"]) == {"G726-32", "AMR"}
    assert shown["legs"][0]["undecodable"] == 0
    audio, rate = read(shown["path"])
    assert rate == 8_000
    wanted = [
        (0.0, one.sound(before, rate), one.exact_db),
        (SPEECH_S + 1, other.sound(after, rate), other.exact_db),
    ]
    assert_spans(audio[:, 0], wanted, rate)


@pytest.mark.parametrize("codecs", [("PCMU", "opus"), ("G729", "G722")])
def test_a_ptime_that_changes_in_mid_call_changes_nothing_to_be_heard(
    daemon: Daemon, player: NewPlayer, codecs: tuple[str, str]
) -> None:
    """10, 20, 30, 60 and 120 ms; Opus has no packets of 30 ms."""
    players, lines, wholes = [], [], []
    for number, codec in enumerate(codecs):
        rate = sample_rate(codec)
        sent, wanted, seq, last = [], [], 0, None
        for turn, ptime in enumerate((10, 20, 40 if codec == "opus" else 30, 60, 120)):
            last = encode(codec, speech(1.2, rate, 80 + 5 * number + turn), ptime_ms=ptime)
            sent += packets(
                last,
                pt=97,
                ssrc=80 + number,
                seq=seq,
                timestamp=turn * last.clock * 6 // 5,
                start_s=1.2 * turn,
            )
            seq += len(last.payloads)
            wanted.append(last)
        assert last is not None
        players.append(player(sent))
        lines.append(line(players[-1].port, str(number + 1), {97: last}))
        wholes.append(wanted)
    shown = placed(daemon, lines, players)
    assert shown["verdict"] == COMPLETE
    audio, rate = read(shown["path"])
    for channel, codec, wanted in zip(audio.T, codecs, wholes, strict=True):
        payloads = [payload for stream in wanted for payload in stream.payloads]
        stream = wanted[-1]
        whole = resampled(reference.decode(codec, payloads), stream.rate, rate)
        assert_like(channel, whole, 15)
