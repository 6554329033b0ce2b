"""RTP as it really comes (INTEROP 46 to 50, 3.10 to 3.14), through a worker with real sockets and files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from siprec.storage.rtpdump import RtpdumpReader
from tests.helpers.fax import udptl
from tests.helpers.media_rig import RATE, TICK_S

TICK = round(TICK_S * RATE)


def placed(length: int, *parts: tuple[int, np.ndarray]) -> np.ndarray:
    """Silence with pieces of audio: (start, samples)."""
    out = np.zeros(length, np.int16)
    for start, samples in parts:
        piece = samples[: max(0, length - start)]
        out[start : start + len(piece)] = piece
    return out


def dumped(path: Path) -> list[bytes]:
    return [packet.data for packet in RtpdumpReader(path.read_bytes())]


def send(speaker, *datagrams: bytes) -> None:
    for datagram in datagrams:
        speaker.sock.sendto(datagram, speaker.address)


# -- what is no RTP (INTEROP 3.10) --


def test_interop_3_10_a_fax_on_the_audio_port_is_kept_as_it_came_and_told_with_its_place(rig, tmp_path):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    speaker, other = media.speaker(0), media.speaker(1)
    speaker.say()
    media.tick()
    fax = [udptl(0x1400 + i, b"\xc0" + bytes([i] * 30), earlier=[b"\x06"] * 2) for i in range(20)]
    for half in (fax[:10], fax[10:]):
        send(speaker, *half)
        other.say()
        media.tick()
    closed = media.hang_up()
    assert dumped(tmp_path / "leg0.rtpdump") == fax
    leg = closed.legs[0]
    assert (leg.counts["t38"], leg.counts["foreign"], leg.counts["packets"]) == (20, 0, 10)
    assert (leg.counts["undecodable"], leg.counts["not_kept"]) == (0, 0)
    assert leg.spans == {"t38": pytest.approx((2 * TICK_S, 3 * TICK_S))}
    assert leg.codecs == ["PCMU", "t38"]
    audio = recording.read()
    assert (audio[:, 0] == placed(len(audio), (TICK, speaker.said))).all()
    assert (audio[:, 1] == placed(len(audio), (2 * TICK, other.said))).all()


def test_a_fax_from_somebody_else_is_foreign(rig, tmp_path):
    media = rig()
    media.open([media.spec(0, 0)])
    speaker, stranger = media.speaker(0), media.speaker(0)
    speaker.say()
    media.tick()
    send(stranger, *(udptl(i, b"\x04") for i in range(10)))
    media.tick()
    closed = media.hang_up()
    assert (closed.legs[0].counts["t38"], closed.legs[0].counts["foreign"]) == (0, 10)
    assert not (tmp_path / "leg0.rtpdump").exists()


def test_interop_3_10_stun_and_dtls_are_counted_and_not_kept(rig, tmp_path):
    media = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    send(speaker, *[struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(12)] * 3)
    send(speaker, *[struct.pack("!BHQH", 22, 0xFEFD, 0, 40) + bytes(40)] * 2)
    media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["stun"], leg.counts["dtls"], leg.counts["foreign"]) == (3, 2, 0)
    assert (leg.counts["packets"], leg.spans) == (0, {})
    assert not (tmp_path / "leg0.rtpdump").exists()
