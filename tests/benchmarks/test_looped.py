"""The load generator sends what it says, and its comparison of recordings notices what is wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pylibsrtp import Policy, Session

from benchmarks import looped
from benchmarks.calls import parser, way_of
from benchmarks.loop_sender import LoopSender, Network
from benchmarks.loops import PAUSE_S, SLOTS, Loop, make
from tests.helpers.voices import I16, expand

ROUNDS, FIRST = 60, 290
"Packet times that are sent, from this slot of the loop on: across its end."
KEY = bytes(range(30))


@pytest.fixture(scope="module")
def loop() -> Loop:
    return make("PCMU")


@pytest.fixture(scope="module")
def paused() -> Loop:
    """With a pause of more than a second."""
    return make("PCMU", dtx=True)


Send = Callable[..., tuple[list[bytes], LoopSender]]


@pytest.fixture
def send() -> Iterator[Send]:
    """`packets, sender = send(loop, Network(...))`: what arrives of ROUNDS packet times of one leg."""
    made: list[LoopSender] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.setblocking(False)

        def run(loop: Loop, network: Network, *, key: bytes = b"") -> tuple[list[bytes], LoopSender]:
            sender = LoopSender([loop], 1, network)
            made.append(sender)
            sender.join(0, "127.0.0.1", sock.getsockname()[1], ssrc=7, first=FIRST, loop=0, key=key)
            for _ in range(ROUNDS):
                for _ in range(4):
                    sender.step()
                sender.round()
            sender.leave(0)
            packets = []
            while len(packets) < sender.sent[0]:
                packets.append(sock.recv(2048))
            return packets, sender

        yield run
    for sender in made:
        sender.close()


def number(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


def stamp(packet: bytes) -> int:
    return int.from_bytes(packet[4:8], "big")


def test_a_loop_is_sent_again_and_again_with_one_clock(loop: Loop, send: Send) -> None:
    packets, sender = send(loop, Network())
    assert [number(packet) for packet in packets] == list(range(ROUNDS))
    assert [stamp(packet) for packet in packets] == [160 * (FIRST + i) for i in range(ROUNDS)]
    assert [packet[12:] for packet in packets] == [loop.payloads[(FIRST + i) % SLOTS] for i in range(ROUNDS)]
    assert {packet[:2] for packet in packets} == {b"\x80\x00"}
    assert {packet[8:12] for packet in packets} == {b"\0\0\0\x07"}
    assert (sender.sent[0], sender.lost(0)) == (ROUNDS, 0)


def test_every_packet_that_is_left_out_is_counted_and_the_first_one_never_is(loop: Loop, send: Send) -> None:
    packets, sender = send(loop, Network(loss_pct=20))
    got = [number(packet) for packet in packets]
    assert got == sorted(got)
    assert got[0] == 0
    assert sender.lost(0) == got[-1] + 1 - len(got) > 0


def test_late_packets_come_behind_later_ones_and_all_of_them_come(loop: Loop, send: Send) -> None:
    packets, sender = send(loop, Network(reorder_pct=20, jitter_ms=15))
    got = [number(packet) for packet in packets]
    assert sorted(got) == list(range(ROUNDS))
    assert got != sorted(got)
    assert sender.lost(0) == 0
    assert [stamp(packet) for packet in packets] == [160 * (FIRST + i) for i in got]


def test_encrypted_packets_open_with_the_key_of_the_leg(loop: Loop, send: Send) -> None:
    packets, _ = send(loop, Network(), key=KEY)
    session = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_INBOUND))
    opened = [session.unprotect(packet) for packet in packets]
    assert [packet[12:] for packet in opened] == [loop.payloads[(FIRST + i) % SLOTS] for i in range(ROUNDS)]
    assert all(packet[12:172] != plain[12:] for packet, plain in zip(packets, opened, strict=True))


def test_a_pause_is_not_sent_and_takes_its_time(paused: Loop) -> None:
    silent = [slot for slot, payload in enumerate(paused.payloads) if not payload]
    assert silent == list(range(round(PAUSE_S[0] * 50), round(PAUSE_S[1] * 50)))
    assert paused.pause_s() == pytest.approx(PAUSE_S[1] - PAUSE_S[0])
    assert paused.stamps.tolist() == [160 * slot for slot in range(SLOTS)]


# -- the comparison --

LENGTH, LOST = 200, (20, 21, 119)
"Packet times of a call, and which packets are left out: the last one before the pause of one leg, too."
LEAD = 37
"Samples in the file before the first packet."


def channel(loop: Loop, first: int, lost: tuple[int, ...]) -> I16:
    """What a recording has of a leg."""
    out = np.zeros(LEAD + LENGTH * 160, np.int16)
    for slot in range(LENGTH):
        payload = loop.payloads[(first + slot) % SLOTS]
        if payload and slot not in lost:
            at = LEAD + 160 * slot
            out[at : at + 160] = expand("PCMU", payload)
    return out


def sent_packets(loop: Loop, first: int, lost: tuple[int, ...]) -> int:
    return sum(bool(loop.payloads[(first + slot) % SLOTS]) for slot in range(LENGTH) if slot not in lost)


class Recording:
    """A recording of two legs as it should be, of which a test spoils something."""

    def __init__(self, loop: Loop, *, lost: tuple[int, ...] = LOST) -> None:
        self.loop, first = loop, (0, FIRST)
        self.audio = np.stack([channel(loop, one, lost) for one in first], axis=1)
        sent = [sent_packets(loop, one, lost) for one in first]
        self.call: dict[str, Any] = {
            "call_id": "a@b",
            "first": first,
            "sent": sent,
            "lost": [len(lost)] * 2,
            "slots": [LENGTH, LENGTH],
        }
        reasons = ["loss"] if lost else []
        self.document: dict[str, Any] = {
            "dialogs": [{"call_id": "a@b"}],
            "legs": [{"packets": count, "lost": len(lost)} for count in sent],
            "verdict": {"reasons": reasons},
        }

    def verify(self, folder: Path) -> dict[str, Any]:
        soundfile.write(folder / "audio.wav", self.audio, 8_000, subtype="PCM_16")
        self.document["path"] = str(folder / "audio.wav")
        (folder / "recording.json").write_text(json.dumps(self.document))
        return looped.verify(folder, [self.call], [self.loop, self.loop])


@pytest.mark.parametrize("lost", [(), LOST])
def test_a_recording_as_it_was_sent_is_verified(
    loop: Loop, paused: Loop, tmp_path: Path, lost: tuple[int, ...]
) -> None:
    for one in (loop, paused):
        found = Recording(one, lost=lost).verify(tmp_path)
        assert (found["recordings_verified"], found["channels_by_sample"]) == (1, 2)
        assert not [name for name in found if name.startswith("wrong_")]


def _one_sample(one: Recording) -> None:
    one.audio[12_345, 1] ^= 1


def _sound_where_a_packet_was_lost(one: Recording) -> None:
    one.audio[LEAD + 20 * 160 + 5, 0] = 1


def _moved(one: Recording) -> None:
    one.audio[8_000:, 0] = np.roll(one.audio[8_000:, 0], 1)


def _another_packet_silent(one: Recording) -> None:
    one.audio[LEAD + 60 * 160 : LEAD + 61 * 160, 0] = 0


def _exchanged(one: Recording) -> None:
    one.audio = one.audio[:, ::-1].copy()


def _longer(one: Recording) -> None:
    one.audio = np.concatenate([one.audio, np.zeros((4_000, 2), np.int16)])


def _one_more_lost(one: Recording) -> None:
    one.document["legs"][0]["lost"] += 1


def _one_more_packet(one: Recording) -> None:
    one.document["legs"][1]["packets"] += 1


def _another_reason(one: Recording) -> None:
    one.document["verdict"]["reasons"].append("late")


def _a_gap(one: Recording) -> None:
    one.document["verdict"]["reasons"] = ["gap"]


def _complete(one: Recording) -> None:
    one.document["verdict"]["reasons"] = []


DAMAGE: list[tuple[Callable[[Recording], None], str]] = [
    (_one_sample, "samples"),
    (_sound_where_a_packet_was_lost, "samples"),
    (_moved, "samples"),
    (_another_packet_silent, "samples"),
    (_exchanged, "samples"),
    (_longer, "length"),
    (_one_more_lost, "lost"),
    (_one_more_packet, "packets"),
    (_another_reason, "verdict"),
    (_a_gap, "verdict"),
    (_complete, "verdict"),
]


@pytest.mark.parametrize(("spoil", "fault"), DAMAGE, ids=[spoil.__name__ for spoil, _ in DAMAGE])
def test_a_recording_that_is_wrong_is_not_verified(
    loop: Loop, tmp_path: Path, spoil: Callable[[Recording], None], fault: str
) -> None:
    one = Recording(loop)
    spoil(one)
    found = one.verify(tmp_path)
    assert found["recordings_verified"] == 0
    assert found[f"wrong_{fault}"] == 1


def test_a_loss_beside_a_pause_may_be_called_a_gap(paused: Loop, tmp_path: Path) -> None:
    one = Recording(paused)
    one.document["verdict"]["reasons"] = ["loss", "gap"]
    assert one.verify(tmp_path)["recordings_verified"] == 1


def test_a_call_without_recording_is_missed(loop: Loop, tmp_path: Path) -> None:
    one = Recording(loop)
    one.call["call_id"] = "c@d"
    found = one.verify(tmp_path)
    assert (found["recordings_verified"], found["wrong_missing"]) == (0, 1)


# -- what is asked for --


@pytest.mark.parametrize("asked", [[], ["--codec", "PCMU"]])
def test_plain_g711_is_not_sent_in_loops(asked: list[str]) -> None:
    assert way_of(parser().parse_args(asked)) == {}


@pytest.mark.parametrize(
    ("asked", "codecs"),
    [
        (["--codec", "opus"], ["opus", "opus"]),
        (["--codec", "PCMU+speex/16000"], ["PCMU", "speex/16000"]),
        (["--srtp"], ["PCMU", "PCMU"]),
    ],
)
def test_a_call_has_the_codec_or_codecs_that_are_asked_for(asked: list[str], codecs: list[str]) -> None:
    assert way_of(parser().parse_args(asked))["codecs"] == codecs


@pytest.mark.parametrize("codec", ["g722", "PCMU/16000", "speex/wide", "PCMU+PCMA+GSM", ""])
def test_a_codec_that_no_loop_can_be_made_of_is_refused(
    capsys: pytest.CaptureFixture[str], codec: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--codec", codec])
    assert ended.value.code == 2
    assert "--codec" in capsys.readouterr().err
