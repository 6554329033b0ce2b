"""Encrypted calls: keys in the SDP, packets by senders that we did not write, the file compared (INTEROP 21, 29)."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
from pylibsrtp import Policy, Session

from siprec.rtp.srtp import Profile
from tests.helpers.caller import Caller, two_parties
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.encoders import speech
from tests.helpers.likeness import correlation, delay
from tests.helpers.offers import Line, metadata
from tests.helpers.player import Packet, Player, assert_heard, play, talk
from tests.helpers.voices import I16, expand, voice

SOURCE = Path(__file__).parents[1] / "helpers" / "pjsua2_source.py"
COMPLETE = {"result": "complete", "reasons": [], "findings": []}
LENGTHS = dict(zip((profile.name for profile in Profile), (30, 30, 28, 44), strict=True))
CM80 = "AES_CM_128_HMAC_SHA1_80"
BEST = "AEAD_AES_256_GCM"

needs_pjsua2 = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None,
    reason="pjsua2 is missing: pip install 'siprec[pjsua2]' (CPython 3.11 and 3.12 on x86-64)",
)


def secret(suite: str, seed: int) -> bytes:
    return Random(seed).randbytes(LENGTHS[suite])


def crypto(suite: str, seed: int, *, tag: int = 1) -> str:
    return f"crypto:{tag} {suite} inline:{base64.b64encode(secret(suite, seed)).decode()}"


class Lock:
    """Encrypts packets as libsrtp does it."""

    def __init__(self, suite: str, seed: int) -> None:
        policy = Policy(
            key=secret(suite, seed),
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Profile[suite].profile,
        )
        self._session = Session(policy)

    def __call__(self, packets: list[Packet]) -> list[Packet]:
        return [replace(packet, wire=self._session.protect(packet.wire)) for packet in packets]


@pytest.fixture
def player() -> Iterator[Callable[[list[Packet]], Player]]:
    made: list[Player] = []

    def new(packets: list[Packet]) -> Player:
        made.append(Player(packets))
        return made[-1]

    yield new
    for one in made:
        one.close()


def audio_of(daemon: Daemon, caller: Caller) -> tuple[dict, I16]:
    shown = daemon.recording_of(caller.call_id)
    audio, rate = soundfile.read(shown["path"], dtype="int16", always_2d=True)
    assert rate == 8000
    return shown, audio


def keys_on_disk(daemon: Daemon, *secrets: bytes) -> list[Path]:
    """Files that hold one of the keys, in whatever form: recordings, journal, catalogue, and its log at level debug."""
    forms = [form for key in secrets for form in (key, key.hex().encode(), base64.b64encode(key))]
    found = [file for file in daemon.folder.rglob("*") if file.is_file()]
    return [file for file in found if any(form in file.read_bytes() for form in forms)]


@needs_pjsua2
@pytest.mark.parametrize("optional", [False, True], ids=["SAVP", "AVP"])
@pytest.mark.parametrize("suite", [CM80, "AES_CM_128_HMAC_SHA1_32", "any"])  # its build has no AES-GCM
def test_a_call_of_pjsua2_is_recorded_with_its_suites_in_both_profiles(
    daemon: Daemon, tmp_path: Path, suite: str, optional: bool
) -> None:
    said = [speech(1.5, 8_000, seed) for seed in (21, 22)]
    files = [tmp_path / f"{number}.wav" for number in range(2)]
    for file, samples in zip(files, said, strict=True):
        soundfile.write(file, samples, 8_000, subtype="PCM_16")
    job = {
        "uri": f"sip:srs@127.0.0.1:{daemon.ports['udp']}",
        "transport": "udp",
        "codec": "PCMU/8000",
        "files": [str(file) for file in files],
        "metadata": metadata(),
        "srtp": suite,
        "srtp_optional": optional,
    }
    client = subprocess.run(
        [sys.executable, SOURCE, json.dumps(job)], capture_output=True, text=True, timeout=60, check=False
    )
    assert client.returncode == 0, client.stderr
    told = json.loads(client.stdout.splitlines()[-1])
    assert told["finished"], client.stdout
    profile = "RTP/AVP" if optional else "RTP/SAVP"
    assert re.findall(r"^m=audio \d+ (\S+)", told["answer"], re.MULTILINE) == [profile] * 2
    # any: it offers AES with 256 bits first, which is passed over
    taken = CM80 if suite == "any" else suite
    assert re.findall(r"^a=crypto:\d+ (\S+)", told["answer"], re.MULTILINE) == [taken] * 2
    shown = daemon.recording_of(told["call_id"])
    assert shown["verdict"] == COMPLETE
    audio, _ = soundfile.read(shown["path"], dtype="int16", always_2d=True)
    for channel, samples in zip(audio.T, said, strict=True):
        start = delay(channel, samples, longest=24_000)
        assert correlation(channel, samples, later=start) > 0.97


@pytest.mark.parametrize("suite", [CM80, "AES_CM_128_HMAC_SHA1_32"])
def test_what_ffmpeg_encrypts_is_heard_sample_by_sample(daemon: Daemon, tmp_path: Path, suite: str) -> None:
    words = [voice(seed, 1.5) for seed in (31, 32)]
    with Caller(daemon.ports["udp"]) as caller:
        lines = tuple(
            Line(40_000 + 2 * i, str(i + 1), (0,), proto="RTP/SAVP", extra=(crypto(suite, 40 + i),))
            for i in (0, 1)
        )
        answer = caller.call(lines)
        assert answer.status == 200
        senders = []
        for i, port in enumerate(answer.message.ports()):
            raw = tmp_path / f"{i}.ul"
            raw.write_bytes(words[i])
            # fmt: off
            command = [
                "ffmpeg", "-loglevel", "error", "-re", "-f", "mulaw", "-ar", "8000", "-ac", "1", "-i", str(raw),
                "-c:a", "copy", "-f", "rtp", "-srtp_out_suite", suite,
                "-srtp_out_params", base64.b64encode(secret(suite, 40 + i)).decode(),
                f"srtp://127.0.0.1:{port}?pkt_size=188",
            ]
            # fmt: on
            senders.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        assert [sender.wait(30) for sender in senders] == [0, 0]
        assert caller.bye().status == 200
        shown, audio = audio_of(daemon, caller)
    assert shown["verdict"]["reasons"] == []
    for channel, said in zip(audio.T, words, strict=True):
        samples = expand("PCMU", said)
        start = int(np.flatnonzero(channel)[0]) - int(np.flatnonzero(samples)[0])
        assert (channel[start : start + samples.size] == samples).all()
    assert keys_on_disk(daemon, secret(suite, 40), secret(suite, 41)) == []


@pytest.mark.parametrize("dies", [False, True], ids=["", "worker dies"])
def test_new_keys_by_re_invite_and_a_plain_leg_beside(
    daemon: Daemon, player: Callable[[list[Packet]], Player], dies: bool
) -> None:
    """A worker that takes over has the new keys, and goes on behind the roll-over."""
    left = talk(voice(51, 3.0), ssrc=51, seq=65_500)
    cut = 80
    old, new = Lock(BEST, 61), Lock(BEST, 62)
    locked, plain = player(old(left[:cut])), player(talk(voice(52, 3.0), ssrc=52))

    def lines(seed: int) -> tuple[Line, ...]:
        return (
            Line(locked.port, "1", (0,), proto="RTP/SAVPF", extra=(crypto(BEST, seed),)),
            Line(plain.port, "2"),
        )

    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call(lines(61))
        assert answer.status == 200
        play([locked, plain], answer.message.ports())
        locked.wait_for(cut - 10)
        anew = caller.invite(two_parties(lines(62)))
        assert anew.status == 200
        assert anew.message.ports() == answer.message.ports()
        locked.more(new(left[cut:]))
        if dies:
            locked.wait_for(cut + 20)
            os.kill(daemon.workers()[0], signal.SIGKILL)
        locked.finish()
        plain.finish()
        assert caller.bye().status == 200
        shown, audio = audio_of(daemon, caller)
    assert shown["verdict"]["reasons"] == (["interrupted"] if dies else [])
    assert assert_heard(audio[:, 0], left) >= 0
    assert assert_heard(audio[:, 1], plain.packets) >= 0
    assert [leg["undecryptable"] for leg in shown["legs"]] == [0, 0]
    # libsrtp counts roll-overs from 0 with a new key (RFC 4568), and the new one came behind a roll-over
    assert shown["legs"][0]["srtp_index"] == {"51": 65_500 + len(left) - 1 - 65_536}
    assert "srtp_index" not in shown["legs"][1]
    assert keys_on_disk(daemon, secret(BEST, 61), secret(BEST, 62)) == []


def test_a_worker_that_dies_costs_nothing_of_what_comes_later(
    daemon: Daemon, player: Callable[[list[Packet]], Player]
) -> None:
    """Its successor gets the keys again and goes on behind the roll-over of the sequence number."""
    said = talk(voice(71, 4.0), ssrc=71, seq=65_480)
    one = player(Lock(CM80, 81)(said))
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call((Line(one.port, "1", (0,), proto="RTP/SAVP", extra=(crypto(CM80, 81),)),))
        assert answer.status == 200
        play([one], answer.message.ports())
        one.wait_for(100)
        os.kill(daemon.workers()[0], signal.SIGKILL)
        wait_for("another worker", lambda: daemon.http("/readyz")[0] == 200)
        one.finish()
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
    audio, _ = soundfile.read(shown["path"], dtype="int16", always_2d=True)
    assert shown["verdict"]["reasons"] == ["interrupted"]
    (leg,) = shown["legs"]
    assert (leg["packets"], leg["lost"], leg["undecryptable"]) == (200, 0, 0)
    assert assert_heard(audio[:, 0], said) >= 0


def test_packets_that_the_keys_do_not_open_are_kept_and_there_is_an_alarm(
    daemon: Daemon, player: Callable[[list[Packet]], Player]
) -> None:
    one = player(Lock(CM80, 91)(talk(voice(91, 1.0), ssrc=91)))
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call((Line(one.port, "1", (0,), proto="RTP/SAVP", extra=(crypto(CM80, 92),)),))
        play([one], answer.message.ports())
        one.finish()
        assert caller.bye().status == 200
        shown, audio = audio_of(daemon, caller)
    assert "undecryptable" in shown["verdict"]["reasons"]
    assert shown["legs"][0]["undecryptable"] == 50
    assert not audio.any()
    dump = Path(shown["path"]).with_name("leg0.rtpdump").read_bytes()
    assert all(packet.wire in dump for packet in one.packets)
    assert daemon.metric("siprec_alarms_total", kind="undecryptable") == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (Line(40_000, "1", proto="RTP/SAVP"), "without a crypto line that can be used"),
        (Line(40_000, "1", proto="UDP/TLS/RTP/SAVPF", extra=("fingerprint:sha-256 00",)), "DTLS-SRTP"),
    ],
)
def test_interop_29_a_secure_line_that_cannot_be_served_is_refused_and_the_others_are_recorded(
    daemon: Daemon, player: Callable[[list[Packet]], Player], line: Line, reason: str
) -> None:
    one = player(talk(voice(95, 1.0), ssrc=95))
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call((line, Line(one.port, "2")))
        assert answer.status == 200
        ports = answer.message.ports()
        assert ports[0] == 0
        assert f"m=audio 0 {line.proto}" in answer.message.body
        play([one], ports[1:])
        one.finish()
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
        assert shown["verdict"] == COMPLETE
        alone = Caller(daemon.ports["udp"])
        with alone:
            assert alone.call((line,)).status == 488
    assert reason in daemon.log
