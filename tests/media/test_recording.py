"""What a worker writes: every sample at its place, whatever the network, the disk and the peer do."""

from __future__ import annotations

import socket

import numpy as np
import pytest
import soundfile

from siprec.codecs import g711
from siprec.media import protocol
from siprec.storage.wav import SampleFormat
from tests.helpers.media_rig import FRAME, FRAMES_A_TICK, RATE, TICK_S, S

TICK = round(TICK_S * RATE)


def placed(length: int, *parts) -> np.ndarray:
    """A channel of `length` frames with (start, samples) in it."""
    out = np.zeros(length, np.int16)
    for start, samples in parts:
        out[start : start + len(samples)] = samples
    return out


def test_two_legs_stand_in_their_channels_from_the_answer_to_the_bye(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    left, right = media.speaker(0), media.speaker(1)
    for tick in range(20):
        left.say()
        if tick >= 5:
            right.say(7)
            right.lose(1)
            right.say(2)
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    # the last packets run ahead of the BYE, for all of a tick arrive at its end
    assert closed.frames == len(audio) == 20 * TICK + TICK
    assert (audio[:, 0] == placed(len(audio), (TICK, left.said))).all()
    assert (audio[:, 1] == placed(len(audio), (6 * TICK, right.said))).all()
    assert [leg.counts["packets"] for leg in closed.legs] == [200, 15 * 9]
    assert [leg.counts["lost"] for leg in closed.legs] == [0, 15]
    assert closed.legs[0].gaps == []
    assert closed.legs[1].gaps == [
        pytest.approx((1.2 + 0.2 * i + 0.14, 1.2 + 0.2 * i + 0.16, 1)) for i in range(15)
    ]
    assert closed.error is None


def test_the_header_is_true_and_the_file_plays_at_every_moment(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    before = 0
    for tick in range(30):
        speaker.say()
        media.tick()
        frames = recording.header_frames()
        audio = recording.read()
        assert before <= frames == len(audio)
        assert frames >= tick * TICK - 0.5 * RATE - 1 * RATE
        before = frames
        wanted = placed(31 * TICK, (TICK, speaker.said))[:frames]
        assert (audio[:, 0] == wanted).all()
        assert recording.path.stat().st_size == SampleFormat.PCM16.header_size + 4 * frames
    assert before > 25 * TICK - 1.5 * RATE


def test_a_call_in_which_nobody_spoke_is_silence_of_its_length(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)])
    media.tick(25)
    closed = media.hang_up()
    assert closed.frames == 25 * TICK
    assert not recording.read().any()
    assert closed.legs[0].first_at is closed.legs[0].covered_until is None


def test_a_call_that_ends_at_once_has_a_file_without_frames(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)], answered=False)
    closed = media.hang_up()
    assert (closed.frames, len(recording.read()), closed.error) == (0, 0, None)
    assert closed.t0_ns == closed.end_ns


def test_packets_before_the_answer_are_the_zero_of_the_call(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)], answered=False)
    speaker = media.speaker(0)
    for _ in range(5):
        speaker.say()
        media.tick()
    zero = media.now - 4 * round(TICK_S * S)
    media.worker.command(protocol.Answered(recording=0, at_ns=media.now), [])
    media.tick(5)
    closed = media.hang_up()
    assert closed.t0_ns == zero
    assert (recording.read()[: 5 * TICK, 0] == speaker.said).all()


def test_a_hold_is_silence_of_the_right_length(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(5):
        speaker.say()
        media.tick()
    media.tick(15)
    speaker.pause(15 * FRAMES_A_TICK)
    for _ in range(5):
        speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    assert (audio[:, 0] == placed(len(audio), (TICK, speaker.said))).all()
    assert closed.legs[0].counts["lost"] == 0


def test_what_comes_while_a_leg_is_inactive_is_silence_and_no_loss(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for tick in range(20):
        if tick in (5, 15):
            spec = media.spec(0, 0, active=tick == 15)
            media.worker.command(protocol.UpdateLeg(spec=spec, at_ns=media.now + 1), [])
        speaker.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    wanted = speaker.said
    wanted[5 * TICK : 15 * TICK] = 0
    assert (audio[:, 0] == placed(len(audio), (TICK, wanted))).all()
    assert closed.legs[0].counts["discarded"] == 100
    assert closed.legs[0].counts["lost"] == 0


def test_a_leg_that_begins_inactive_is_silent_until_it_is_active(rig):
    media = rig()
    recording = media.open([media.spec(0, 0, active=False)])
    speaker = media.speaker(0)
    for tick in range(10):
        if tick == 5:
            media.worker.command(protocol.UpdateLeg(spec=media.spec(0, 0), at_ns=media.now + 1), [])
        speaker.say()
        media.tick()
    media.hang_up()
    audio = recording.read()
    assert not audio[: 6 * TICK].any()
    assert (audio[6 * TICK :, 0] == speaker.said[5 * TICK :]).all()


def test_a_leg_that_joins_late_and_one_that_ends_early_keep_their_places(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    first, second = media.speaker(0), None
    for tick in range(30):
        first.say()
        if tick == 10:
            media.add_leg(0, media.spec(1, 1))
            second = media.speaker(1)
        if tick == 20:
            media.worker.command(protocol.EndLeg(leg=0, at_ns=media.now), [])
        if second is not None:
            second.say()
        media.tick()
    closed = media.hang_up()
    audio = recording.read()
    assert second is not None
    assert (audio[:, 0] == placed(len(audio), (TICK, first.said[: 20 * TICK]))).all()
    assert (audio[:, 1] == placed(len(audio), (11 * TICK, second.said))).all()
    assert closed.legs[0].counts["discarded"] == 100
    assert [leg.leg for leg in closed.legs] == [0, 1]


def test_legs_that_share_a_channel_are_added_and_clipped(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 0), media.spec(2, 0)])
    speakers = [media.speaker(leg) for leg in range(3)]
    for tick in range(10):
        for speaker in speakers:
            speaker.say(loud=0x80 if tick == 5 else 0x00 if tick == 6 else None)
        media.tick()
    media.hang_up()
    audio = recording.read()
    total = sum(speaker.said.astype(np.int64) for speaker in speakers)
    assert total.max() > 32767
    assert total.min() < -32768
    assert (audio[:, 0] == placed(len(audio), (TICK, np.clip(total, -32768, 32767)))).all()
    assert not audio[:, 1].any()


def test_one_line_that_carries_both_parties_is_a_file_of_one_channel(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)], channels=1)
    speaker = media.speaker(0)
    for _ in range(10):
        speaker.say()
        media.tick()
    media.hang_up()
    audio = recording.read()
    assert audio.shape == (11 * TICK, 1)
    assert (audio[TICK:, 0] == speaker.said).all()


def test_wav_g711_holds_the_code_words_that_were_sent(rig):
    media = rig()
    recording = media.open([media.spec(0, 0), media.spec(1, 1)], format="wav-g711")
    speakers = [media.speaker(0), media.speaker(1)]
    for _ in range(15):
        for speaker in speakers:
            speaker.say()
        media.tick()
    media.hang_up()
    assert soundfile.info(recording.path).subtype == "ULAW"
    audio = recording.read()
    for channel, speaker in enumerate(speakers):
        assert (audio[:, channel] == placed(len(audio), (TICK, speaker.said))).all()


def test_packets_of_any_length_and_both_laws_are_placed(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    rng = np.random.default_rng(1)
    expected, at = [], 0
    for i in range(60):
        size = [80, 160, 240, 33, 1, 960, 320][i % 7]
        pt = 8 if i % 3 == 0 else 0
        codes = rng.integers(0, 256, size, np.uint8)
        table = g711.ALAW if pt == 8 else g711.ULAW
        speaker.send(codes.tobytes(), pt=pt)
        speaker.leap(size)
        expected.append(table[codes])
        at += size
        if at > TICK:
            at -= TICK
            media.tick()
    media.tick(3)
    media.hang_up()
    audio = recording.read()[:, 0]
    wanted = np.concatenate(expected)
    start = TICK
    assert (audio[start : start + len(wanted)] == wanted).all()


def test_another_recording_on_the_same_rows_hears_nothing_of_the_one_before(rig):
    media = rig()
    media.open([media.spec(0, 0)])
    loud = media.speaker(0)
    for _ in range(10):
        loud.say()
        media.tick()
    media.hang_up()
    second = media.open([media.spec(0, 0)])
    quiet = media.speaker(0)
    media.tick(3)
    quiet.say(1)
    media.tick(5)
    closed = media.hang_up()
    audio = second.read()
    assert (audio[:, 0] == placed(len(audio), (4 * TICK, quiet.said))).all()
    assert closed.legs[0].counts["packets"] == 1
    assert closed.legs[0].jitter_ms == 0
    assert closed.legs[0].ssrcs == [quiet.ssrc]


def test_two_recordings_at_once_do_not_mix(rig):
    media = rig()
    recordings = [media.open([media.spec(n, 0)], number=n, channels=1) for n in range(3)]
    speakers = [media.speaker(n) for n in range(3)]
    for _ in range(12):
        for speaker in speakers:
            speaker.say()
        media.tick()
    media.hang_up(1)
    for _ in range(12):
        for speaker in (speakers[0], speakers[2]):
            speaker.say()
        media.tick()
    for n in (0, 2):
        media.hang_up(n)
    for recording, speaker in zip(recordings, speakers, strict=True):
        audio = recording.read()[:, 0]
        assert (audio[TICK : TICK + len(speaker.said)] == speaker.said).all()


def test_a_digit_is_told_with_its_moment_and_is_not_heard(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    pressed = media.now + round(TICK_S * S)
    for i in range(5):
        speaker.send(bytes([5, 10, 0, 32 * i]), pt=101)
    for _ in range(3):
        speaker.send(bytes([5, 0x8A, 3, 32]), pt=101)
    speaker.pause(FRAMES_A_TICK)
    media.tick()
    speaker.say()
    media.tick()
    media.hang_up()
    (event,) = media.events("dtmf")
    assert (event.at_ns, event.data, event.leg) == (pressed, {"digit": "5"}, 0)
    audio = recording.read()
    assert (audio[:, 0] == placed(len(audio), (TICK, speaker.said))).all()


def test_what_the_kernel_drops_at_the_very_end_is_counted_though_no_packet_tells_of_it(rig):
    """SO_MEMINFO: the counter that comes with a packet comes with the next one only."""
    media = rig()
    media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    speaker.say()
    media.tick()
    media.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    speaker.say(60)
    leg = media.hang_up().legs[0]
    assert leg.counts["dropped"] > 0
    assert leg.counts["packets"] + leg.counts["discarded"] + leg.counts["dropped"] == 70


def test_packets_that_come_too_late_are_told_with_the_place_that_stays_empty(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for _ in range(10):
        speaker.say()
        media.tick()
    held_back = [speaker._rng.integers(0, 256, FRAME, np.uint8).tobytes() for _ in range(3)]
    seq, frames = speaker._seq, speaker._frames
    speaker.lose(3)
    for _ in range(10):
        speaker.say(7)
        media.tick()
        speaker.say(3)
    now, speaker._frames = speaker._frames, frames
    for i, payload in enumerate(held_back):
        speaker.send(payload, seq=seq + i)
        speaker._frames += 1
    speaker._frames = now
    media.tick()
    leg = media.hang_up().legs[0]
    assert leg.counts["late"] == 3
    assert leg.counts["lost"] == 0
    assert (2.2, 2.26, 0) in [pytest.approx(gap) for gap in leg.gaps]
    assert not recording.read()[round(2.2 * RATE) : round(2.26 * RATE), 0].any()


def test_a_sender_whose_clock_is_fast_is_followed_and_told_once(rig):
    media = rig()
    recording = media.open([media.spec(0, 0)])
    speaker = media.speaker(0)
    for tick in range(600):
        if tick % 50 == 49:  # 10 ms more each 10 s: 1,000 ppm
            speaker.send(b"\x80" * (FRAME // 2))
            speaker.leap(FRAME // 2)
        speaker.say()
        media.tick()
    closed = media.hang_up()
    assert len(media.events("clock_drift")) == 1
    assert media.events("timestamp_jump") == []
    assert closed.legs[0].counts["late"] == closed.legs[0].counts["lost"] == 0
    assert closed.frames <= 601 * TICK + 0.08 * RATE
    last = speaker.said[-TICK:]
    assert (recording.read()[closed.frames - TICK :, 0] == last).all()


def test_a_frame_is_as_long_as_the_packets_of_the_tests():
    assert FRAME * FRAMES_A_TICK == TICK
