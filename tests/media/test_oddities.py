"""RTP as it really comes (INTEROP 46 to 50, 3.10 to 3.14), through a worker with real sockets and files."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pylibsrtp
import pytest

from siprec.codecs import g711
from siprec.media import protocol
from siprec.storage.rtpdump import RtpdumpReader
from tests.helpers.fax import udptl
from tests.helpers.media_rig import EVENTS_PT, FRAME, FRAMES_A_TICK, RATE, TICK_S, S, rtp

TICK = round(TICK_S * RATE)


def placed(length: int, *parts: tuple[int, np.ndarray]) -> np.ndarray:
    """Silence with pieces of audio: (start, samples)."""
    out = np.zeros(length, np.int16)
    for start, samples in parts:
        piece = samples[: max(0, length - start)]
        out[start : start + len(piece)] = piece
    return out


def find(audio: np.ndarray, wanted: np.ndarray) -> int:
    """Where `wanted` stands in `audio`, sample by sample; -1 if it does not."""
    heads = np.flatnonzero(audio[: len(audio) - len(wanted) + 1] == wanted[0])
    return next((int(i) for i in heads if (audio[i : i + len(wanted)] == wanted).all()), -1)


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


# -- two senders at once (INTEROP 3.10, 3.11) --


def same_source(media, leg: int, count: int):
    """Speakers that send to a leg from one address."""
    speakers = [media.speaker(leg) for _ in range(count)]
    for one in speakers[1:]:
        one.sock.close()
        one.sock = speakers[0].sock.dup()
    return speakers


def test_interop_3_10_two_senders_at_once_are_never_mixed(rig, tmp_path):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    first, second = same_source(media, 0, 2)
    other = media.speaker(1)
    for i in range(12):
        first.say()
        if 2 <= i < 8:
            second.say()
        other.say()
        media.tick()
    closed = media.hang_up()
    (event,) = media.events("second_sender")
    assert (event.leg, event.data) == (0, {"ssrc": second.ssrc})
    leg = closed.legs[0]
    assert (leg.counts["packets"], leg.counts["second_sender"], leg.counts["undecodable"]) == (180, 50, 0)
    assert leg.counts["not_kept"] == 0
    assert leg.spans == {"second_sender": pytest.approx((4 * TICK_S, 8 * TICK_S))}
    assert leg.codecs == ["PCMU"]
    assert leg.ssrcs == [first.ssrc, second.ssrc]
    kept = dumped(tmp_path / "leg0.rtpdump")
    words = np.frombuffer(b"".join(data[12:] for data in kept), np.uint8)
    assert (g711.ULAW[words] == second.said[10 * FRAME :]).all()
    audio = recording.read()
    # a tick is the finest that arrivals of this rig differ: one of the second is over the first before it is clear
    mixed = slice(3 * TICK, 4 * TICK)
    expected = placed(len(audio), (TICK, first.said))
    assert (np.delete(audio[:, 0], mixed) == np.delete(expected, mixed)).all()
    assert (audio[:, 1] == placed(len(audio), (TICK, other.said))).all()


def test_interop_3_10_the_second_sender_is_recorded_once_the_first_is_silent(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    first, second = same_source(media, 0, 2)
    for i in range(12):
        if i < 6:
            first.say()
        if i >= 2:
            second.say()
        media.tick()
    closed = media.hang_up()
    assert (
        closed.legs[0].counts["second_sender"] == 40
    )  # from the fourth to the sixth tick, and one of silence
    audio = recording.read()[:, 0]
    assert (audio[4 * TICK : 7 * TICK] == first.said[3 * TICK :]).all()
    assert audio[8 * TICK + 10 :].any()
    start = 8 * TICK
    wanted = second.said[5 * TICK :]
    assert any(
        (audio[start + d : start + d + len(wanted) - TICK] == wanted[:-TICK]).all() for d in range(TICK + 1)
    )


def test_interop_3_11_a_change_of_ssrc_and_the_return_are_one_leg(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    first, second = same_source(media, 0, 2)
    first._timestamp, second._timestamp = 5, 2**31
    first.say(15)
    media.tick()
    media.tick()
    second.say(10)
    media.tick()
    media.tick()
    first.pause(10)
    first.say(15)
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.ssrcs == [first.ssrc, second.ssrc]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["second_sender"], leg.spans) == (
        40,
        0,
        0,
        {},
    )
    assert media.events("second_sender") == []
    heard = recording.read()[:, 0]
    for said in (first.said[: 15 * FRAME], second.said, first.said[25 * FRAME :]):
        assert find(heard, said) >= 0


def test_interop_3_11_one_ssrc_on_both_legs_and_in_two_calls_is_told_apart_by_our_ports_alone(rig):
    """INTEROP 2.2: one source port and one SSRC may serve every call."""
    media = rig()
    calls = [media.open([media.spec(2 * n, 0), media.spec(2 * n + 1, 1)], number=n) for n in (0, 1)]
    speakers = [media.speaker(leg, ssrc=77, seq=10 * leg) for leg in range(4)]
    for speaker in speakers[1:]:
        speaker.sock.close()
        speaker.sock = speakers[0].sock.dup()
    for seed, speaker in enumerate(speakers):
        speaker._rng = np.random.default_rng(seed)  # else it says the same, with the same SSRC
    for _ in range(5):
        for speaker in speakers:
            speaker.say()
        media.tick()
    for n, recording in enumerate(calls):
        closed = media.hang_up(n)
        assert [leg.ssrcs for leg in closed.legs] == [[77], [77]]
        assert [
            (leg.counts["packets"], leg.counts["lost"], leg.counts["foreign"]) for leg in closed.legs
        ] == [
            (50, 0, 0),
            (50, 0, 0),
        ]
        audio = recording.read()
        for channel in (0, 1):
            said = speakers[2 * n + channel].said
            assert (audio[:, channel] == placed(len(audio), (TICK, said))).all()


@pytest.mark.parametrize("ssrc", [100, 999])
def test_interop_3_11_a_restart_after_a_transfer_goes_on_at_the_moment_of_its_arrival(rig, ssrc):
    """New random numbers must not make hours of silence; with the old SSRC (100) or with another one."""
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0, ssrc=100)
    for _ in range(5):
        speaker.say()
        media.tick()
    before = speaker.said
    media.tick(2)
    speaker._seq, speaker.ssrc = 40_000, ssrc
    speaker.leap(-(2**31) - 12_345)
    speaker._said = []
    for _ in range(5):
        speaker.say()
        media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["late"]) == (100, 0, 0)
    audio = recording.read()[:, 0]
    assert len(audio) <= 13 * TICK + FRAME
    assert (audio == placed(len(audio), (TICK, before), (8 * TICK, speaker.said))).all()
    assert len(media.events("ssrc_changed")) == 1


# -- RTCP (INTEROP 47, 48) --


def rtcp_bye(ssrc: int) -> bytes:
    return struct.pack("!BBHIBBHI", 0x80, 201, 1, ssrc, 0x81, 203, 1, ssrc)


@pytest.mark.parametrize("mux", [False, True])
def test_interop_48_an_rtcp_bye_ends_a_source_and_not_the_leg(rig, mux):
    """RFC 3550 6.6; media that goes on, or a new source, is recorded as if nothing had been said."""
    media = rig()
    recording = media.open([media.spec(0, 0, mux=False)])
    first, second = same_source(media, 0, 2)
    first.say(20)
    media.tick(2)
    first.sock.sendto(rtcp_bye(first.ssrc), media.sockets[0 if mux else 1].getsockname())
    media.tick()
    first.pause(10)
    first.say(20)
    media.tick(2)
    first.sock.sendto(rtcp_bye(first.ssrc), media.sockets[0 if mux else 1].getsockname())
    second.say(20)
    media.tick(2)
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["rtcp"]) == (60, 0, 2)
    assert (leg.counts["second_sender"], leg.counts["discarded"]) == (0, 0)
    audio = recording.read()[:, 0]
    for said in (first.said[: 20 * FRAME], first.said[30 * FRAME :], second.said):
        assert find(audio, said) >= 0


def test_interop_47_receiver_reports_follow_a_change_of_ssrc(rig):
    media = rig()
    media.open([media.spec(0, 0)])
    first, second = same_source(media, 0, 2)
    first.sock.setblocking(False)
    told = []
    for speaker in (first, second):
        for _ in range(26):
            first.sock.sendto(rtcp_bye(7), media.sockets[1].getsockname())  # where reports are to go
            speaker.say()
            media.tick()
            with contextlib.suppress(BlockingIOError):
                told.append(struct.unpack_from("!I", first.sock.recv(2048), 8)[0])
    assert sorted(set(told)) == [first.ssrc, second.ssrc]
    assert told == sorted(told)
    media.hang_up()


# -- the header and what is in it (INTEROP 48, 3.14) --


def dressed(
    speaker,
    payload: bytes,
    *,
    first: int = 0x80,
    behind_header: bytes = b"",
    padding: bytes = b"",
    pt: int = 0,
) -> None:
    """Send a packet of the speaker with an unusual header; it counts as said."""
    timestamp = speaker._timestamp + FRAME * speaker._frames
    head = struct.pack("!BBHII", first, pt, speaker._seq & 0xFFFF, timestamp & 0xFFFFFFFF, speaker.ssrc)
    send(speaker, head + behind_header + payload + padding)
    speaker._seq += 1
    speaker._frames += 1
    speaker._said.append(g711.ULAW[np.frombuffer(payload, np.uint8)])


ONE_BYTE = b"\xbe\xde\0\x02" + b"\x10\xff\x21\x01\x02\0\0\0"
TWO_BYTE = b"\x10\0\0\x02" + b"\x01\x03abc\x02\0\0"


@pytest.mark.parametrize(
    ("first", "behind_header", "padding"),
    [
        (0x90, ONE_BYTE, b""),
        (0x90, TWO_BYTE, b""),
        (0x90, b"\xab\xac\0\0", b""),
        (0x8F, b"\1\2\3\4" * 15, b""),
        (0x92, b"\1\2\3\4" * 2 + ONE_BYTE, b""),
        (0xA0, b"", b"\0\0\0\4"),
        (0xBF, b"\1\2\3\4" * 15 + TWO_BYTE, bytes(99) + b"\x64"),
    ],
    ids=["one-byte", "two-byte", "empty", "csrc", "csrc-and-extension", "padding", "everything"],
)
def test_interop_48_extensions_contributing_sources_and_padding_are_not_heard(
    rig, first, behind_header, padding
):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for i in range(30):
        payload = np.random.default_rng(i).integers(0, 256, FRAME, np.uint8).tobytes()
        dressed(speaker, payload, first=first, behind_header=behind_header, padding=padding)
        if i % 10 == 9:
            media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["broken"]) == (30, 0, 0)
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


@pytest.mark.parametrize(
    ("first", "behind_header"),
    [(0x90, b"\xbe\xde\xff\xff"), (0x90, b"\xbe\xde\0\x29"), (0x8F, b"")],
    ids=["65535-words", "a-word-too-long", "csrc-longer-than-packet"],
)
def test_interop_48_a_header_that_is_longer_than_its_packet_costs_that_packet_alone(
    rig, first, behind_header
):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.say(5)
    payload = b"\x31" * (FRAME if behind_header else 40)
    dressed(speaker, payload, first=first, behind_header=behind_header)
    speaker._said[-1] = np.zeros(FRAME, np.int16)
    speaker.say(4)
    media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["broken"], leg.counts["lost"]) == (9, 1, 1)
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


def test_interop_3_14_padding_beyond_the_packet_is_taken_for_audio(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for i in range(10):
        payload = np.random.default_rng(i).integers(0, 256, FRAME, np.uint8)
        payload[-1] = 0xF0  # 240 bytes of padding in a packet of 160
        dressed(speaker, payload.tobytes(), first=0xA0)
    media.tick()
    assert media.hang_up().legs[0].counts["packets"] == 10
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


def test_interop_3_14_packets_of_every_length_and_an_odd_last_one_are_placed_by_their_time(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    said, at = [], 0
    rng = np.random.default_rng(5)
    for seq, n in enumerate([80, 160, 240, 480, 960, 160, 1, 77, 320, 160, 80, 37]):
        codes = rng.integers(0, 256, n, np.uint8)
        send(speaker, rtp(seq, at, codes.tobytes(), ssrc=9))
        said.append(g711.ULAW[codes])
        at += n
    media.tick(2)
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["late"]) == (12, 0, 0)
    audio = recording.read()[:, 0]
    start = find(audio, said[0])
    assert (audio[start : start + at] == np.concatenate(said)).all()


def test_interop_3_12_markers_on_every_packet_or_after_a_pause_change_nothing(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(2):
        for _ in range(FRAMES_A_TICK):
            speaker.send(b"\x21" * FRAME, pt=0x80)
            speaker._frames += 1
            speaker._said.append(g711.ULAW[np.full(FRAME, 0x21)])
        media.tick()
        speaker.pause(FRAMES_A_TICK)
        media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"]) == (20, 0)
    assert media.events("timestamp_jump") == []
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


# -- payload types (INTEROP 49, 3.14) --


def test_interop_49_static_types_are_heard_though_nobody_named_them_and_both_comfort_noises_are_silence(rig):
    media = rig()
    recording = media.open([media.spec(0, 0, payloads={96: ("secret", 8000, 1, "")})])
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    for pt in (13, 19):
        speaker.send(b"\x40", pt=pt)
        speaker.pause(FRAMES_A_TICK)
        media.tick()
    alaw = np.random.default_rng(3).integers(0, 256, FRAME, np.uint8)
    speaker.send(alaw.tobytes(), pt=8)
    speaker._said.append(g711.ALAW[alaw])
    media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["noise"], leg.counts["undecodable"], leg.counts["lost"]) == (2, 0, 0)
    assert leg.codecs == ["PCMU", "PCMA", "CN"]
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


def test_interop_3_14_a_dynamic_type_that_a_re_invite_maps_anew_is_heard_by_its_new_meaning(rig):
    media = rig()
    recording = media.open([media.spec(0, 0, payloads={96: ("PCMU", 8000, 1, "")})])
    speaker = media.speaker(0)
    words = np.arange(FRAME, dtype=np.uint8)
    for law in ("PCMU", "PCMA"):
        spec = media.spec(0, 0, payloads={96: (law, 8000, 1, "")})
        media.worker.command(protocol.UpdateLeg(spec=spec, at_ns=media.now), [])
        for _ in range(FRAMES_A_TICK):
            speaker.send(words.tobytes(), pt=96)
            speaker._frames += 1
            speaker._said.append((g711.ULAW if law == "PCMU" else g711.ALAW)[words])
        media.tick()
    assert media.hang_up().legs[0].codecs == ["PCMU", "PCMA"]
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


# -- reorder, silence, hold, the end (INTEROP 50, 3.13, 2.2) --


def test_interop_3_13_reorder_doubles_silence_suppression_and_hold_keep_the_length(rig):
    media = rig()
    spec = media.spec(0, 0)
    recording = media.open([spec])
    speaker = media.speaker(0)
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 256, (30, FRAME), np.uint8)
    order = [i ^ 1 for i in range(30)]
    for start in range(0, 30, 10):
        for i in order[start : start + 10]:
            send(speaker, *[rtp(i, i * FRAME, codes[i].tobytes(), ssrc=9)] * (1 + i % 2))
        media.tick()
    media.tick(5)  # nothing is sent for a second
    send(speaker, *[rtp(30 + i, (80 + i) * FRAME, b"\x12" * FRAME, ssrc=9) for i in range(10)])
    media.tick()
    spec.active = False
    media.worker.command(protocol.UpdateLeg(spec=spec, at_ns=media.now), [])
    send(speaker, *[rtp(40 + i, (90 + i) * FRAME, b"\x12" * FRAME, ssrc=9) for i in range(10)])
    media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["lost"], leg.counts["duplicates"]) == (50, 0, 15)
    assert leg.counts["discarded"] == 10
    audio = recording.read()[:, 0]
    assert len(audio) == 10 * TICK
    first = g711.ULAW[codes].reshape(-1)
    after = g711.ULAW[np.full(10 * FRAME, 0x12)]
    assert find(audio, first) >= 0
    begin = find(audio, first)
    assert (audio == placed(len(audio), (begin, first), (begin + 80 * FRAME, after))).all()


def test_interop_50_a_key_of_13_packets_over_two_ticks_is_one_digit_and_the_timeline_goes_on(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    pressed = media.now + round(TICK_S * S)
    for i in range(6):
        speaker.send(bytes([9, 10]) + (160 * (i + 1)).to_bytes(2, "big"), pt=EVENTS_PT)
    media.tick()
    for i in range(6, 13):
        length, end = min(160 * (i + 1), 1760), i >= 10
        speaker.send(bytes([9, end << 7 | 10]) + length.to_bytes(2, "big"), pt=EVENTS_PT)
    speaker.pause(2 * FRAMES_A_TICK)
    media.tick()
    speaker.say()
    media.tick()
    leg = media.hang_up().legs[0]
    (event,) = media.events("dtmf")
    assert (event.at_ns, event.data) == (pressed, {"digit": "9"})
    assert (leg.counts["events"], leg.counts["lost"]) == (13, 0)
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, speaker.said))).all()


def test_malformed_events_are_counted_for_the_worker(rig):
    media = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for payload in (b"\x05", b"\x05\x8a\0"):
        speaker.send(payload, pt=EVENTS_PT)
    media.tick()
    assert media.worker.beat().counters["dtmf_malformed"] == 2
    media.hang_up()


def test_interop_2_2_media_that_goes_on_after_the_bye_is_counted_and_not_recorded(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(5):
        speaker.say()
        media.tick()
    said = speaker.said
    media.worker.command(protocol.CloseRecording(recording=0, at_ns=media.now), [])
    for _ in range(3):
        speaker.say()
        media.tick()
    closed = media.closed()
    assert closed.legs[0].counts["packets"] == 50
    assert closed.legs[0].counts["discarded"] > 0
    audio = recording.read()[:, 0]
    assert (audio == placed(len(audio), (TICK, said))).all()


@pytest.mark.parametrize(("pt", "size"), [(9, 160), (3, 33), (97, 80)], ids=["G722", "GSM", "G726-32"])
@pytest.mark.parametrize("secret", [False, True])
def test_interop_3_14_other_codecs_of_a_constant_rate_are_looked_at_for_srtp_too(rig, pt, size, secret):
    media = rig()
    media.open([media.spec(0, 0, payloads={97: ("G726-32", 8000, 1, "")})])
    speaker, scrambler = media.speaker(0), Scrambler()
    rng = np.random.default_rng(7)
    for i in range(80):
        payload = bytearray(rng.integers(0, 256, size, np.uint8).tobytes())
        payload[0] = 0xD0 | payload[0] & 0x0F  # as GSM has it
        clear = rtp(i, i * FRAME, bytes(payload), ssrc=77, pt=pt)
        send(speaker, scrambler._session.protect(clear) if secret else clear)
        if i % 10 == 9:
            media.tick()
    leg = media.hang_up().legs[0]
    assert (leg.counts["packets"], leg.counts["not_kept"]) == (80, 0)
    assert 50 <= leg.counts["probable_srtp"] <= 70 if secret else leg.counts["probable_srtp"] == 0
    assert len(media.events("probable_srtp")) == int(secret)
