"""What the recorder could not decode is kept raw, and becomes sound when somebody says what it is: `siprec redecode`."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siprec.daemon.control_client import CommandRefusedError
from siprec.storage.wav import SampleFormat, header
from tests.helpers.caller import Caller
from tests.helpers.calls import Recorded, Start, record
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.kept import locked
from tests.helpers.offers import Line
from tests.helpers.player import Packet, Player, assert_aligned, assert_heard, play, talk
from tests.helpers.voices import RATE, read_audio, voice

NewPlayer = Callable[..., Player]
UNKNOWN = 96
SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", bytes(range(30))


def unnamed(packets: list[Packet]) -> list[Packet]:
    """The packets with a payload type that no SDP has explained."""
    return [
        replace(one, wire=bytes([one.wire[0], one.wire[1] & 0x80 | UNKNOWN]) + one.wire[2:])
        for one in packets
    ]


def record_unnamed(
    start: Start, daemon: Daemon, player: NewPlayer, seed: int
) -> tuple[Recorded, Player, Player]:
    """A call whose left side sends A-law as payload type 96, which its offer does not explain."""
    left = player(unnamed(talk(voice(seed, 2.0, "PCMA"), "PCMA", ssrc=seed)))
    right = player(talk(voice(seed + 1, 2.0), ssrc=seed + 1, start=397))
    got = record(start, daemon, [left, right], [Line(left.port, "1", (0, 8, UNKNOWN)), Line(right.port, "2")])
    assert got.shown["verdict"]["reasons"] == ["undecodable"]
    assert got.shown["legs"][0]["codecs"] == ["UNKNOWN"]
    assert not got.audio[:, 0].any()
    return got, left, right


def assert_complete(daemon: Daemon, got: Recorded, left: Player, right: Player) -> None:
    """Both sides are in the new file, sample by sample and as far apart as they came; the original is untouched."""
    shown = daemon.show(got.shown["id"])
    assert shown["verdict"] == {"result": "complete", "reasons": [], "findings": []}
    assert (Path(shown["path"]).name, shown["original"]) == ("audio-redecoded.wav", "audio.wav")
    assert shown["legs"][0]["verdict"]["result"] == "complete"
    assert shown["legs"][0]["codecs"] == ["PCMA"]
    (event,) = [event for event in shown["events"] if event["type"] == "redecoded"]
    assert (event["legs"], event["codecs"], event["packets"]) == ([0], ["PCMA"], 100)
    assert event["uid"] == os.getuid()
    audio = read_audio(shown["path"])
    at = assert_heard(audio[:, 0], left.packets), assert_heard(audio[:, 1], right.packets)
    assert_aligned((left, right), (at[0], at[1] + 397))
    assert event["at_s"] == round(at[0] / RATE, 3)
    assert np.array_equal(read_audio(got.shown["path"]), got.audio)


def test_a_payload_type_that_is_explained_afterwards_completes_the_recording(
    daemon: Daemon, sipp: Start, player: NewPlayer, tmp_path: Path
) -> None:
    got, left, right = record_unnamed(sipp, daemon, player, 70)
    identity = got.shown["id"]
    before = daemon.command("redecode", identity)
    assert before.status == 1
    assert "payload type 96 without a decoder, say what it is with --payload 96=" in before.err
    assert daemon.show(identity)["verdict"]["reasons"] == ["undecodable"]

    outcome = daemon.command("redecode", identity, "--payload", "96=PCMA/8000", "--leg", "0", "--json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["legs"][0]["packets"] == 100
    wait_for("the catalogue", lambda: daemon.show(identity)["verdict"]["result"] == "complete")
    assert_complete(daemon, got, left, right)
    assert f"by user {os.getuid()}" in daemon.log

    made = Path(daemon.show(identity)["path"]).stat()
    again = daemon.command("redecode", identity)
    assert (again.status, again.out.splitlines()[0]) == (0, "nothing left to do")
    assert Path(daemon.show(identity)["path"]).stat() == made
    exported = daemon.command("export", identity, "-o", str(tmp_path / "out"))
    assert exported.status == 0
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"audio.wav", "audio-redecoded.wav", "leg0.rtpdump", "recording.json"} <= names


def test_a_claim_without_the_sound_for_it_is_refused(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """Who may use the control socket can still not make a verdict better than it is."""
    got, _, _ = record_unnamed(sipp, daemon, player, 74)
    leg = {"leg": 0, "packets": 100, "left": 0, "late": 0, "first_s": 0.0, "codecs": ["PCMA"]}
    claim = {"id": got.shown["id"], "started_at": got.shown["started_at"], "legs": [leg]}
    for wrong, said in [
        ({}, "cannot take over the audio of"),
        ({"id": "../../etc"}, "cannot take over the audio of"),
        ({"started_at": "yesterday"}, "cannot take over the audio of"),
        ({"legs": {}}, "legs: a list is needed"),
        ({"legs": [leg | {"packets": -1}]}, "legs: not a leg"),
    ]:
        with pytest.raises(CommandRefusedError, match=said):
            daemon.control("redecoded", **(claim | wrong))
    shorter = Path(got.shown["path"]).with_name("audio-redecoded.wav")
    shorter.write_bytes(header(2, RATE, SampleFormat.PCM16, 0))
    with pytest.raises(CommandRefusedError, match="is not the same sound as"):
        daemon.control("redecoded", **claim)
    assert daemon.show(got.shown["id"]) == got.shown


def test_what_payload_types_mean_is_in_the_document_also_when_an_offer_changes_it(daemon: Daemon) -> None:
    """RFC 3264 8.3.2; packets that came before keep their meaning."""
    first, second = (
        (Line(40_000, "1", (0, UNKNOWN), extra=(f"rtpmap:{UNKNOWN} {name}",)), Line(40_002, "2"))
        for name in ("G728/8000", "AMR/8000")
    )
    with Caller(daemon.ports["udp"]) as caller:
        assert caller.call(first).status == 200
        assert caller.call(second).status == 200
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
    leg = shown["legs"][0]
    assert leg["payloads"] == {"0": "PCMU/8000", "96": "AMR/8000"}
    assert {0, 8, UNKNOWN} <= set(leg["decodable"])
    (change,) = [event for event in shown["events"] if event["type"] == "payloads_changed"]
    assert change["leg"] == 0
    assert change["before"]["payloads"] == {"0": "PCMU/8000", "96": "G728/8000"}
    assert UNKNOWN not in change["before"]["decodable"]


def crypto(key: bytes) -> str:
    return f"crypto:1 {SUITE} inline:{base64.b64encode(key).decode()}"


def test_the_right_key_opens_what_those_of_the_sdp_did_not(
    daemon: Daemon, player: NewPlayer, tmp_path: Path
) -> None:
    spoken = talk(voice(80, 1.5), ssrc=80)
    left, right = player(locked(spoken, SUITE, KEY)), player(talk(voice(81, 1.5), ssrc=81))
    lines = (
        Line(left.port, "1", (0,), proto="RTP/SAVP", extra=(crypto(bytes(30)),)),
        Line(right.port, "2"),
    )
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call(lines)
        play([left, right], answer.message.ports())
        for one in (left, right):
            one.finish()
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
    assert "undecryptable" in shown["verdict"]["reasons"]
    assert "is encrypted, give its key with --key-file" in daemon.command("redecode", shown["id"]).err
    (tmp_path / "keys").write_text(f"a={crypto(KEY)}\n")
    outcome = daemon.command("redecode", shown["id"], "--key-file", str(tmp_path / "keys"))
    assert outcome.status == 0, outcome.err
    wait_for("the catalogue", lambda: daemon.show(shown["id"])["verdict"]["result"] == "complete")
    audio = read_audio(daemon.show(shown["id"])["path"])
    at = assert_heard(audio[:, 0], spoken), assert_heard(audio[:, 1], right.packets)
    assert_aligned((left, right), at)


def test_a_leg_that_only_looked_encrypted_is_opened_up_to_where_that_was_known(
    daemon: Daemon, player: NewPlayer, tmp_path: Path
) -> None:
    """SRTP in an AVP line (INTEROP 3.14): its first packets were taken for sound, and the verdict says for how long."""
    spoken = talk(voice(82, 2.0), ssrc=82)
    left, right = player(locked(spoken, SUITE, KEY)), player(talk(voice(83, 2.0), ssrc=83))
    with Caller(daemon.ports["udp"]) as caller:
        answer = caller.call((Line(left.port, "1"), Line(right.port, "2")))
        play([left, right], answer.message.ports())
        for one in (left, right):
            one.finish()
        assert caller.bye().status == 200
        shown = daemon.recording_of(caller.call_id)
    assert shown["verdict"]["reasons"] == ["undecodable", "probable_srtp"]
    (tmp_path / "keys").write_text(f"a={crypto(KEY)}\n")
    outcome = daemon.command("redecode", shown["id"], "--key-file", str(tmp_path / "keys"))
    assert outcome.status == 0, outcome.err
    wait_for("the catalogue", lambda: "original" in daemon.show(shown["id"]))
    after = daemon.show(shown["id"])
    assert after["verdict"]["reasons"] == ["probable_srtp"]
    (found,) = after["verdict"]["findings"]
    assert 0.2 <= found["length_s"] < 1.0
    audio = read_audio(after["path"])
    right_at = assert_heard(audio[:, 1], right.packets)
    left_at = right_at + round((left.sent[0][0] - right.sent[0][0]) * RATE / 1e9)
    said = np.concatenate([packet.audio for packet in spoken if packet.audio is not None])
    begin = round(found["length_s"] * RATE) + 160  # behind the noise
    opened = audio[left_at + begin :, 0][:8000]
    off = [n for n in range(-8, 9) if np.array_equal(opened, said[begin + n :][: opened.size])]
    assert len(off) == 1  # within a millisecond of the other side
    assert opened.size > RATE // 2


def test_a_codec_that_came_in_mid_call_is_filled_in_where_silence_was(
    daemon: Daemon, sipp: Start, player: NewPlayer
) -> None:
    """One SSRC, one clock; the first and the last second were sound at once."""
    parts = [
        talk(voice(84 + i, 1.0, law), law, ssrc=84, seq=50 * i, timestamp=RATE * i, start=RATE * i)
        for i, law in enumerate(("PCMU", "PCMA", "PCMU"))
    ]
    left = player([*parts[0], *unnamed(parts[1]), *parts[2]])
    right = player(talk(voice(87, 3.0), ssrc=87))
    got = record(sipp, daemon, [left, right], [Line(left.port, "1", (0, UNKNOWN)), Line(right.port, "2")])
    assert got.shown["verdict"]["reasons"] == ["undecodable"]
    at = assert_heard(got.audio[:, 0], [*parts[0], *parts[2]])
    outcome = daemon.command("redecode", got.shown["id"], "--payload", f"{UNKNOWN}=PCMA/8000")
    assert outcome.status == 0, outcome.err
    wait_for("the catalogue", lambda: daemon.show(got.shown["id"])["verdict"]["result"] == "complete")
    after = daemon.show(got.shown["id"])
    assert after["legs"][0]["codecs"] == ["PCMU", "PCMA"]
    channel = read_audio(after["path"])[:, 0]
    edge = RATE // 10  # its place is that of its arrival, so it is off by the jitter of its first packet
    middle = np.concatenate([packet.audio for packet in parts[1] if packet.audio is not None])[edge:-edge]
    places = [
        n
        for n in range(-edge, edge)
        if np.array_equal(channel[at + RATE + edge + n :][: middle.size], middle)
    ]
    assert len(places) == 1
    changed = np.flatnonzero(channel != got.audio[:, 0])
    assert at + RATE + places[0] <= changed[0]
    assert changed[-1] < at + 2 * RATE + places[0]


def test_it_works_while_the_recorder_is_stopped_and_the_recorder_knows_it_afterwards(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer
) -> None:
    daemon = start_daemon()
    got, left, right = record_unnamed(sipp, daemon, player, 72)
    identity = got.shown["id"]
    daemon.stop()
    outcome = daemon.command("redecode", identity, "--payload", "96=PCMA/8000")
    assert outcome.status == 0, outcome.err
    assert_complete(daemon, got, left, right)
    daemon.start()
    assert_complete(daemon, got, left, right)
    daemon.stop()


def test_a_recording_that_still_runs_is_left_alone(
    start_daemon: Callable[..., Daemon], sipp: Start, player: NewPlayer
) -> None:
    daemon = start_daemon()
    with Caller(daemon.ports["udp"]) as caller:
        assert caller.call().status == 200
        wait_for("the recording", lambda: bool(daemon.recordings_of(caller.call_id)))
        (one,) = daemon.recordings_of(caller.call_id)
        outcome = daemon.command("redecode", one["id"])
        assert (outcome.status, "is still running; wait for its end" in outcome.err) == (1, True)
        assert caller.bye().status == 200
    daemon.stop()
