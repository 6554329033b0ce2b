"""Legs of any codec in one file: its rate, resampling, codecs that change, packets that repeat others (INTEROP 3.14)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest

from siprec.codecs import g711
from siprec.media import protocol
from siprec.storage.rtpdump import RtpdumpReader
from tests.helpers.media_rig import FRAME, MediaRig, S, Speaker

L16_8, L16_16, L16_48, GSM, RED, PCMA = 96, 97, 98, 3, 99, 8
PAYLOADS = {
    0: ("PCMU", 8000, 1, ""),
    L16_8: ("L16", 8000, 1, ""),
    L16_16: ("L16", 16000, 1, ""),
    L16_48: ("L16", 48000, 1, ""),
    RED: ("red", 8000, 1, ""),
}
CLOCKS = {L16_8: 8000, L16_16: 16000, L16_48: 48000}


@pytest.fixture
def media(tmp_path) -> Iterator[MediaRig]:
    rig = MediaRig(tmp_path)
    yield rig
    rig.stop()


class Voice:
    """Sends a steady sound as linear samples, 20 ms a packet."""

    def __init__(self, rig: MediaRig, leg: int, pt: int, *, hz: float = 300.0) -> None:
        self._by = rig.speaker(leg)
        self.pt, self._hz, self._n, self.seq = pt, hz, 0, 7
        self.clock = CLOCKS[pt]

    def at(self, n: np.ndarray) -> np.ndarray:
        return np.rint(9000 * np.sin(2 * np.pi * self._hz * n / self.clock)).astype(np.int16)

    def say(self, packets: int = 10) -> None:
        frame = min(self.clock // 50, 800)  # a packet has room for no more
        for _ in range(packets * (self.clock // 50) // frame):
            samples = self.at(self._n + np.arange(frame))
            head = struct.pack("!BBHII", 0x80, self.pt, self.seq, self._n, self._by.ssrc)
            self._by.sock.sendto(head + samples.astype(">i2").tobytes(), self._by.address)
            self._n += frame
            self.seq += 1


def talk(media: MediaRig, *voices: Voice | Speaker, ticks: int = 10) -> None:
    for _ in range(ticks):
        for voice in voices:
            voice.say()
        media.tick()


def aligned(channel: np.ndarray, voice: Voice, rate: int) -> tuple[int, float]:
    """First sample of a voice in a channel at another rate, and the worst difference from it behind its first 10 ms."""
    first = int(np.flatnonzero(np.abs(channel) > 200)[0])
    inner = channel[first + rate // 100 : first + rate]
    best = min(
        (
            int(
                np.abs(
                    inner - 9000 * np.sin(2 * np.pi * 300 * (np.arange(inner.size) + rate // 100 + d) / rate)
                ).max()
            ),
            d,
        )
        for d in (-1, 0, 1, 2)
    )
    return first, best[0]


def test_a_wide_and_a_narrow_leg_share_a_file_of_the_wider_rate(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS), media.spec(1, 1, payloads=PAYLOADS)], rate=0)
    narrow, wide = media.speaker(0), Voice(media, 1, L16_16)
    talk(media, narrow, wide)
    closed = media.hang_up()
    assert media.rate_fixed() == [16000]
    audio = opened.read(16000)
    first = int(np.flatnonzero(audio[:, 1])[0]) - 1
    said = wide.at(np.arange(2 * 16000))
    assert (audio[first : first + said.size, 1] == said).all()
    left = audio[first : first + 2 * narrow.said.size, 0]
    # every other sample of what was doubled is the sample that was sent, but for the filter's rounding
    error = left[::2].astype(np.int32) - narrow.said
    assert np.sqrt((error.astype(float) ** 2).mean()) < 0.05 * narrow.said.std()
    assert [e.data for e in media.events("resampled")] == [
        {"codec": "PCMU", "rate": 8000, "file_rate": 16000}
    ]
    assert [leg.codecs for leg in closed.legs] == [["PCMU"], ["L16"]]
    assert closed.frames == opened.header_frames() == len(audio)


def test_a_file_has_8000_hz_when_only_narrow_sound_arrives_whatever_was_agreed_on(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS), media.spec(1, 1, payloads=PAYLOADS)], rate=0)
    one, two = media.speaker(0), media.speaker(1)
    talk(media, one, two)
    media.hang_up()
    assert media.rate_fixed() == [8000]
    audio = opened.read()
    for channel, speaker in enumerate((one, two)):
        first = int(np.flatnonzero(audio[:, channel])[0]) - int(np.flatnonzero(speaker.said)[0])
        assert (audio[first : first + speaker.said.size, channel] == speaker.said).all()
    assert media.events("resampled") == []


def test_what_comes_wider_later_is_resampled_to_the_file(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS), media.spec(1, 1, payloads=PAYLOADS)], rate=0)
    one = media.speaker(0)
    talk(media, one, ticks=5)
    wide = Voice(media, 1, L16_48)
    talk(media, one, wide)
    media.hang_up()
    assert media.rate_fixed() == [8000]
    audio = opened.read()
    _, worst = aligned(audio[:, 1], wide, 8000)
    assert worst < 40
    assert [(e.leg, e.data["codec"]) for e in media.events("resampled")] == [(1, "L16")]


def test_nothing_leaves_the_sockets_before_the_rate_is_fixed_and_nothing_is_lost(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS), media.spec(1, 1, payloads=PAYLOADS)], rate=0)
    one = media.speaker(0)
    talk(media, one, ticks=1)
    assert media.rate_fixed() == []
    assert media.worker.packets == 0
    media.replace_worker()
    media.tick(3)
    talk(media, one, ticks=6)
    closed = media.hang_up()
    assert media.rate_fixed() == [8000]
    assert closed.legs[0].counts["packets"] == one.sent
    audio = opened.read()
    first = int(np.flatnonzero(audio[:, 0])[0]) - int(np.flatnonzero(one.said)[0])
    assert (audio[first : first + one.said.size, 0] == one.said).all()


def test_a_worker_that_takes_over_knows_the_rate_that_was_fixed(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1, rate=0)
    wide = Voice(media, 0, L16_16)
    talk(media, wide, ticks=5)
    assert media.worker._roster.recordings[0].rate == 16000
    media.replace_worker()  # the message was not taken: the main process does not know
    talk(media, wide, ticks=5)
    media.hang_up()
    audio = opened.read(16000)
    first = int(np.flatnonzero(audio[:, 0])[0]) - 1
    assert (audio[first : first + 32000, 0] == wide.at(np.arange(32000))).all()


def test_a_call_that_is_silent_for_an_hour_before_its_first_packet_keeps_its_length(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1, rate=0)
    media.now += 3600 * S
    one = media.speaker(0)
    talk(media, one)
    closed = media.hang_up()
    audio = opened.read()
    assert abs(len(audio) / 8000 - (closed.end_ns - closed.t0_ns) / 1e9) < 0.2
    first = int(np.flatnonzero(audio[:, 0])[0]) - int(np.flatnonzero(one.said)[0])
    assert abs(first / 8000 - 3600.2) < 0.01
    assert (audio[first : first + one.said.size, 0] == one.said).all()


def test_a_recording_without_any_packet_ends_with_an_empty_file_of_8000_hz(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1, rate=0, answered=False)
    media.tick(3)
    closed = media.hang_up()
    assert closed.error is None
    assert opened.read().shape == (closed.frames, 1)


def test_a_codec_that_changes_by_payload_type_goes_on_without_a_gap(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
    voice = Voice(media, 0, L16_8)
    talk(media, voice, ticks=3)
    voice.pt, mulaw = 0, g711.encode("ulaw", voice.at(voice._n + np.arange(FRAME)))
    head = struct.pack("!BBHII", 0x80, 0, voice.seq, voice._n, voice._by.ssrc)
    voice._by.sock.sendto(head + mulaw.tobytes(), voice._by.address)
    voice.seq, voice._n, voice.pt = voice.seq + 1, voice._n + FRAME, L16_8
    talk(media, voice, ticks=3)
    closed = media.hang_up()
    audio = opened.read()[:, 0]
    first = int(np.flatnonzero(audio)[0]) - 1
    expected = voice.at(np.arange(voice._n))
    assert (audio[first : first + 30 * FRAME] == expected[: 30 * FRAME]).all()
    assert (audio[first + 30 * FRAME : first + 31 * FRAME] == g711.ULAW[mulaw]).all()
    assert (audio[first + 31 * FRAME : first + expected.size] == expected[31 * FRAME :]).all()
    assert closed.legs[0].codecs == ["PCMU", "L16"]


def test_a_payload_type_that_is_mapped_anew_means_the_old_codec_for_what_came_before(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
    one = media.speaker(0)
    anew = media.spec(0, 0, payloads=PAYLOADS | {0: ("PCMA", 8000, 1, "")})
    media.worker.command(protocol.UpdateLeg(spec=anew, at_ns=media.now + 3 * S // 10), [])
    talk(media, one, ticks=4)
    media.hang_up()
    audio = opened.read()[:, 0]
    said = one.said.copy()
    codes = g711.encode("ulaw", said)
    said[10 * FRAME :] = g711.ALAW[codes[10 * FRAME :]]  # the second tick is behind the change
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    same = audio[first : first + said.size] == said
    # two mu-law bytes mean 0, and the encoder knows one of them
    assert same.mean() > 0.99


def red(primary: bytes, earlier: list[tuple[int, bytes]]) -> bytes:
    """A payload with redundancy, all of PCMU: (timestamp offset, payload) of each earlier block, oldest first."""
    heads = b"".join(struct.pack("!I", 0x80000000 | offset << 10 | len(block)) for offset, block in earlier)
    return heads + b"\0" + b"".join(block for _, block in earlier) + primary


def test_redundant_blocks_take_the_place_of_lost_packets(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
    one = media.speaker(0)
    codes = np.random.default_rng(3).integers(0, 256, (60, FRAME), np.uint8)
    lost = {15, 20, 21, 39, 40, 41}
    for n in range(60):
        earlier = [(back * FRAME, codes[n - back].tobytes()) for back in (2, 1) if n - back >= 0]
        if n in lost:
            one._seq += 1
        else:
            one.send(red(codes[n].tobytes(), earlier), pt=RED)
        one._frames += 1
        if n % 10 == 9:
            media.tick()
    closed = media.hang_up()
    audio = opened.read()[:, 0]
    said = g711.ULAW[codes].reshape(-1)
    gone = slice(39 * FRAME, 40 * FRAME)  # three lost in a row: the first one is repeated by none that came
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(said)[0])
    heard = audio[first : first + said.size]
    assert not heard[gone].any()
    said[gone] = 0
    assert (heard == said).all()
    counts = closed.legs[0].counts
    assert (counts["lost"], counts["recovered"], counts["duplicates"]) == (1, 5, 0)
    assert closed.legs[0].codecs == ["PCMU"]


def test_a_payload_that_cannot_be_read_is_kept_as_it_came(media):
    media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
    one = media.speaker(0)
    one.say(5)
    one.send(b"\xd0" * 32, pt=GSM)  # a frame has 33 bytes
    one.send(b"\x80\x00\x00", pt=RED)
    media.tick()
    closed = media.hang_up()
    kept = [p.data for p in RtpdumpReader((media.folder / "leg0.rtpdump").read_bytes())]
    assert [(data[1], len(data)) for data in kept] == [(GSM, 44), (RED, 15)]
    assert closed.legs[0].counts["undecodable"] == 2


@pytest.mark.parametrize(("lost", "filled"), [(1, True), (3, True), (4, False)])
def test_short_losses_are_filled_and_marked_when_that_is_asked_for(tmp_path, lost, filled):
    media = MediaRig(tmp_path, conceal=True)
    try:
        opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
        voice = Voice(media, 0, L16_8)
        talk(media, voice, ticks=3)
        voice.seq, voice._n = voice.seq + lost, voice._n + lost * FRAME
        talk(media, voice, ticks=5)
        closed = media.hang_up()
        audio = opened.read()[:, 0]
        first = int(np.flatnonzero(audio)[0]) - 1
        gap = audio[first + 30 * FRAME : first + (30 + lost) * FRAME]
        assert closed.legs[0].counts["lost"] == lost
        marked = media.events("concealed")
        if not filled:
            assert not gap.any()
            assert marked == []
            return
        assert np.abs(gap[:FRAME]).max() > 4000
        assert [e.data["length_s"] for e in marked] == [round(0.02 * lost, 4)]
        expected = voice.at(30 * FRAME + np.arange(80))
        assert np.corrcoef(gap[:80], expected)[0, 1] > 0.95
    finally:
        media.stop()


def test_losses_are_silence_unless_that_is_asked_for(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1)
    voice = Voice(media, 0, L16_8)
    talk(media, voice, ticks=3)
    voice.seq, voice._n = voice.seq + 1, voice._n + FRAME
    talk(media, voice, ticks=5)
    media.hang_up()
    audio = opened.read()[:, 0]
    first = int(np.flatnonzero(audio)[0]) - 1
    assert not audio[first + 30 * FRAME : first + 31 * FRAME].any()
    assert media.events("concealed") == []


def test_what_is_no_sound_in_front_of_it_has_no_say_in_the_rate(media):
    """STUN, a digit and comfort noise come first; G.711 makes a file of 8,000 Hz although wider sound was agreed on."""
    opened = media.open(
        [media.spec(0, 0, payloads=PAYLOADS | {101: ("telephone-event", 8000, 1, "")})], rate=0
    )
    one = media.speaker(0)
    one.sock.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), one.address)
    for _ in range(3):
        one.send(struct.pack("!BBH", 5, 0x80, 800), pt=101)
    one.send(b"\x40", pt=13)
    media.tick()
    assert media.rate_fixed() == []
    one.pause(10)
    talk(media, one)
    closed = media.hang_up()
    assert media.rate_fixed() == [8000]
    counts = closed.legs[0].counts
    assert (counts["stun"], counts["events"], counts["noise"]) == (1, 3, 1)
    assert [event.data["digit"] for event in media.events("dtmf")] == ["5"]
    audio = opened.read()[:, 0]
    spoken = one.said[10 * FRAME :]
    first = int(np.flatnonzero(audio)[0]) - int(np.flatnonzero(spoken)[0])
    assert (audio[first : first + spoken.size] == spoken).all()


def test_a_codec_that_changes_with_every_packet_is_decoded_without_new_decoders(media):
    opened = media.open([media.spec(0, 0, payloads=PAYLOADS)], channels=1, rate=16000)
    voice = Voice(media, 0, L16_8)
    for n in range(50):
        samples = voice.at(n * FRAME + np.arange(FRAME))
        law = n % 2
        payload = g711.encode("ulaw", samples).tobytes() if law else samples.astype(">i2").tobytes()
        voice._by.send(payload, pt=0 if law else L16_8)
        voice._by._frames += 1
        if n % 10 == 9:
            media.tick()
    (sound,) = media.worker.pipeline.sounds._streams.values()
    assert (len(sound._decoders), len(sound._resamplers)) == (2, 1)
    media.hang_up()
    _, worst = aligned(opened.read(16000)[:, 0], voice, 16000)
    assert worst < 400  # a step of mu-law at this level
