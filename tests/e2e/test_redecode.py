"""What the recorder could not decode is kept raw, and becomes sound when somebody says what it is: `siprec redecode`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.helpers.caller import Caller
from tests.helpers.calls import Recorded, Start, record
from tests.helpers.daemon import Daemon, wait_for
from tests.helpers.offers import Line
from tests.helpers.player import Packet, Player, assert_aligned, assert_heard, talk
from tests.helpers.voices import RATE, read_audio, voice

NewPlayer = Callable[..., Player]
UNKNOWN = 96


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
    assert got.shown["legs"][0]["codecs"] == ["unknown"]
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
