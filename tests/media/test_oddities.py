"""RTP as it really comes (INTEROP 46 to 50, 3.10 to 3.14), through a worker with real sockets and files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pylibsrtp
import pytest

from siprec.codecs import g711
from siprec.media import protocol
from siprec.storage.rtpdump import RtpdumpReader
from tests.helpers.fax import udptl
from tests.helpers.media_rig import FRAME, RATE, TICK_S, rtp

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


# -- probable SRTP (INTEROP 3.14) --


class Scrambler:
    """SRTP of a peer that offered plain RTP."""

    def __init__(self) -> None:
        policy = pylibsrtp.Policy(key=bytes(range(30)), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._session = pylibsrtp.Session(policy=policy)
        self.sent: list[bytes] = []

    def say(self, speaker, packets: int, *, first: int = 0) -> None:
        for i in range(first, first + packets):
            clear = rtp(i, i * FRAME, g711.encode("ulaw", np.zeros(FRAME, np.int16)).tobytes(), ssrc=77)
            self.sent.append(self._session.protect(clear))
            send(speaker, self.sent[-1])


def test_interop_3_14_srtp_on_a_plain_line_is_kept_as_it_came_and_told_once(rig, tmp_path):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    speaker, other, scrambler = media.speaker(0), media.speaker(1), Scrambler()
    for i in range(8):
        scrambler.say(speaker, 10, first=10 * i)
        other.say()
        media.tick()
    closed = media.hang_up()
    (event,) = media.events("probable_srtp")
    assert (event.leg, event.data) == (0, {})
    secret, clear = closed.legs
    hidden = secret.counts["probable_srtp"]
    assert 50 <= hidden <= 70
    assert secret.counts["undecodable"] == hidden
    assert (secret.counts["packets"], secret.counts["lost"], secret.counts["not_kept"]) == (80, 0, 0)
    assert dumped(tmp_path / "leg0.rtpdump") == scrambler.sent[-hidden:]
    assert secret.spans["probable_srtp"] == secret.spans["undecodable"]
    assert (clear.counts["probable_srtp"], clear.spans) == (0, {})
    audio = recording.read()
    noise_until = (1 + (80 - hidden) // 10) * TICK + 10  # of packets before it was known
    assert not audio[noise_until:, 0].any()
    assert (audio[:, 1] == placed(len(audio), (TICK, other.said))).all()


def test_a_re_invite_that_moves_the_peer_lets_the_stream_be_looked_at_anew(rig):
    media = rig()
    speaker_at = ("127.0.0.1", 4)
    media.open([media.spec(0, 0, remote=speaker_at)])
    speaker, scrambler = media.speaker(0), Scrambler()
    for i in range(4):
        scrambler.say(speaker, 10, first=10 * i)
        media.tick()
    spec = media.spec(0, 0, remote=speaker.sock.getsockname())
    media.worker.command(protocol.UpdateLeg(spec=spec, at_ns=media.now), [])
    for i in range(4, 8):
        speaker_rtp = [rtp(n, n * FRAME, b"\x31" * FRAME, ssrc=77) for n in range(10 * i, 10 * i + 10)]
        send(speaker, *speaker_rtp)
        media.tick()
    leg = media.hang_up().legs[0]
    assert leg.counts["probable_srtp"] < 40
    assert len(media.events("probable_srtp")) == 1
    audio = media.recordings[0].read()[:, 0]
    assert (audio[-3 * TICK : -TICK] == g711.ULAW[0x31]).sum() > TICK


def test_a_worker_that_takes_over_still_knows_the_stream(rig):
    media = rig()
    media.open([media.spec(0, 0)])
    speaker, scrambler = media.speaker(0), Scrambler()
    for i in range(8):
        scrambler.say(speaker, 10, first=10 * i)
        media.tick()
        if i == 4:
            media.replace_worker()
    assert 50 <= media.hang_up().legs[0].counts["probable_srtp"] <= 70
