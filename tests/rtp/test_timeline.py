"""Placing by RTP timestamp: whatever the network does, each packet's audio stands where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.rtp.loss import total_lost
from tests.helpers.timeline import FRAME, HOLD, RATE, START, Recorder, Sent, placed_exactly, talk


def test_a_clean_stream_is_placed_sample_by_sample_over_both_wraps():
    rec = Recorder()
    packets = talk(200)
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets)
    assert rec.legs["packets"][0] == 200
    assert total_lost(rec.legs, rec.streams, 0) == 0


def test_lost_packets_leave_silence_of_their_length_and_are_listed():
    rec = Recorder()
    packets = talk(300)
    kept = [s for i, s in enumerate(packets) if i not in {50, 51, 52, 120}]
    rec.run(kept)
    assert placed_exactly(rec.audio(), kept)
    assert total_lost(rec.legs, rec.streams, 0) == 4
    base = int(START * RATE)
    assert [(g.start - base, g.end - base, g.packets) for g in rec.gaps] == [
        (8000, 8480, 3),
        (19200, 19360, 1),
    ]


def test_duplicates_count_once_within_a_batch_and_across_batches():
    rec = Recorder()
    packets = talk(100)
    doubled = packets + [replace(s, at=s.at + 0.001) for s in packets[::3]]
    doubled += [replace(s, at=s.at + 0.3) for s in packets[1::10]]
    rec.run(doubled)
    assert placed_exactly(rec.audio(), packets)
    assert rec.legs["packets"][0] == 100
    assert rec.legs["duplicates"][0] == len(doubled) - 100


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_permutation_within_the_hold_back_gives_the_same_samples(data):
    count = 60
    first_seq = data.draw(st.integers(0, 65535))
    first_ts = data.draw(st.integers(0, 2**32 - 1))
    packets = talk(count, seq=first_seq, timestamp=first_ts)
    lost = data.draw(st.sets(st.integers(1, count - 2), max_size=10))
    kept = [s for i, s in enumerate(packets) if i not in lost]
    keys = [s.mark / FRAME + data.draw(st.floats(0, 20)) for s in kept]
    shuffled = [s for _, s in sorted(zip(keys, kept, strict=True), key=lambda pair: pair[0])]
    arrivals = sorted(s.at for s in kept)
    rec = Recorder()
    rec.run([replace(s, at=at) for s, at in zip(shuffled, arrivals, strict=True)])
    assert placed_exactly(rec.audio(), kept)
    assert rec.legs["late"][0] == 0
    assert total_lost(rec.legs, rec.streams, 0) == len(lost)


def test_a_hold_with_a_timestamp_that_goes_on_is_silence_of_the_right_length():
    rec = Recorder()
    before = talk(50)
    after = talk(50, seq=65580, timestamp=2**32 - 1000 + 8000 + 24000, at=START + 4.0, mark=32000)
    rec.run(before + after)
    assert placed_exactly(rec.audio(), before + after)
    assert total_lost(rec.legs, rec.streams, 0) == 0
    assert rec.gaps == []


def test_a_timestamp_that_stood_still_during_a_hold_is_placed_by_arrival():
    rec = Recorder()
    before = talk(50)
    after = talk(100, seq=65580, timestamp=2**32 - 1000 + 8000, at=START + 4.0, mark=32000)
    rec.run(before + after)
    audio = rec.audio()
    # two packets show that this is no late burst; alone in its batch, the first one is taken for late
    assert (audio[32000 + FRAME : 48000] == np.arange(32000 + FRAME, 48000)).all()
    assert [e.type for e in rec.events] == ["anchored", *["late"] * int(rec.legs["late"][0]), "jump"]


@pytest.mark.parametrize("pause", [1.0, 3.0, 60.0])
def test_nothing_is_late_after_a_pause_in_which_the_timestamp_stood_still(pause):
    """Many senders do so on hold: the next packets are one packet further, and come a while later."""
    rec = Recorder()
    at, mark = START + 1.05 + pause, round((1.05 + pause) * RATE)
    packets = talk(50) + talk(100, seq=65580, timestamp=2**32 - 1000 + 8000, at=at, mark=mark)
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets)
    assert rec.legs["late"][0] == total_lost(rec.legs, rec.streams, 0) == 0
    assert [e.type for e in rec.events] == ["anchored", "jump"]


def test_a_burst_after_a_stall_of_the_network_does_not_move_the_timeline():
    rec = Recorder()
    packets = talk(300)
    stalled = [replace(s, at=START + 3.0 + i * 1e-4) if 100 <= i < 150 else s for i, s in enumerate(packets)]
    rec.run(stalled)
    audio = rec.audio()
    good = audio >= 0
    assert (audio[good] == np.flatnonzero(good)).all()
    assert (audio[150 * FRAME : 300 * FRAME] >= 0).all()
    assert rec.legs["packets"][0] == 300
    assert rec.legs["late"][0] > 0


def test_a_new_ssrc_continues_the_leg_at_the_next_sample():
    rec = Recorder()
    before = talk(100)
    after = talk(100, seq=3, timestamp=77, ssrc=8, at=START + 2.003, mark=16000)
    rec.run(before + after)
    assert placed_exactly(rec.audio(), before + after)
    assert [e.ssrc for e in rec.events] == [7, 8]


def test_a_late_packet_of_the_old_ssrc_is_placed_by_its_own_clock():
    rec = Recorder()
    before = talk(100)
    after = talk(100, seq=3, timestamp=77, ssrc=8, at=START + 2.0, mark=16000)
    before[97] = replace(before[97], at=START + 2.05)
    rec.run(before + after)
    assert placed_exactly(rec.audio(), before + after)
    assert total_lost(rec.legs, rec.streams, 0) == 0


def test_a_new_ssrc_after_a_pause_is_anchored_by_arrival():
    rec = Recorder()
    before = talk(100)
    after = talk(100, seq=3, timestamp=77, ssrc=8, at=START + 5.0, mark=40000)
    rec.run(before + after)
    assert placed_exactly(rec.audio(), before + after)


def test_a_jump_of_the_timestamp_does_not_create_hours_of_silence():
    for jump in (2**31 - 5, -(2**30), 10 * 3600 * RATE):
        rec = Recorder()
        before = talk(100)
        after = talk(100, seq=65630, timestamp=2**32 - 1000 + 16000 + jump, at=START + 2.0, mark=16000)
        rec.run(before + after)
        assert placed_exactly(rec.audio(), before + after), jump
        assert [e.type for e in rec.events] == ["anchored", "jump"]


def test_a_restart_of_the_same_ssrc_is_recorded_from_its_first_packet():
    rec = Recorder()
    before = talk(100)
    after = talk(100, seq=30000, timestamp=5, at=START + 2.0, mark=16000)
    rec.run(before + after)
    assert placed_exactly(rec.audio(), before + after)
    assert int(rec.legs["packets"][0]) == 200
    assert int(rec.legs["discarded"][0]) == total_lost(rec.legs, rec.streams, 0) == 0


def test_the_first_packet_of_a_restart_is_counted_lost_when_the_second_comes_a_batch_later():
    rec = Recorder()
    before = talk(100)
    after = talk(100, seq=30000, timestamp=5, at=START + 2.0, mark=16000)
    for batch in (before, after[:1], after[1:]):
        rec.take(batch)
    audio = rec.audio()
    assert (audio[:16000] == np.arange(16000)).all()
    assert (audio >= 0).sum() == 199 * FRAME
    assert int(rec.legs["discarded"][0]) == total_lost(rec.legs, rec.streams, 0) == 1


@pytest.mark.parametrize("seconds", [30, 59, 61, 100, 600])
def test_an_outage_of_minutes_is_loss_and_no_restart(seconds):
    rec = Recorder()
    rec.canvas = np.full((1, RATE * 720), -1, np.int64)
    missing = 50 * seconds
    packets = talk(100) + talk(
        100,
        seq=65630 + missing,
        timestamp=2**32 - 1000 + FRAME * (100 + missing),
        at=START + 2 + seconds,
        mark=FRAME * (100 + missing),
    )
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets)
    assert int(rec.legs["packets"][0]) == 200
    assert total_lost(rec.legs, rec.streams, 0) == missing
    base = int(START * RATE)
    assert [(g.start - base, g.end - base, g.packets) for g in rec.gaps] == [
        (16000, 16000 + FRAME * missing, missing)
    ]


def test_a_restart_after_a_pause_is_no_outage():
    """Its numbers and timestamps are new: nothing says that packets were sent meanwhile."""
    rec = Recorder()
    rec.canvas = np.full((1, RATE * 200), -1, np.int64)
    packets = talk(100) + talk(100, seq=10000, timestamp=5, at=START + 102.05, mark=RATE * 102 + 400)
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets)
    assert total_lost(rec.legs, rec.streams, 0) == 0
    assert rec.gaps == []


@pytest.mark.parametrize("ppm", [-1000, -400, 400, 1000])
def test_a_sender_whose_clock_runs_false_stays_at_its_time_and_is_not_late(ppm):
    """An hour at 200 ppm is 0.7 s: what runs away is taken back in small pieces before it is heard."""
    rec = Recorder()
    seconds = 300
    rec.canvas = np.full((1, RATE * (seconds + 60)), -1, np.int64)
    for first in range(0, 50 * seconds, 50):
        at = START + 0.02 * (1 - ppm * 1e-6) * np.arange(first, first + 50)
        rec.take([Sent(first + i, FRAME * (first + i), t, FRAME * (first + i)) for i, t in enumerate(at)])
        rec.legs["floor_p"] = max(int(START * RATE), int((at[-1] - HOLD) * RATE))
    audio = rec.audio()
    assert rec.legs["late"][0] == 0
    assert {e.type for e in rec.events} <= {"anchored", "drift"}
    assert sum(e.type == "anchored" for e in rec.events) == 1
    where = np.flatnonzero(audio >= 0)
    apart = where / RATE - audio[where] / RATE * (1 - ppm * 1e-6)
    assert np.abs(apart).max() < 0.1
    surplus = max(0, round(seconds * RATE * ppm * 1e-6))
    assert seconds * RATE - len(np.unique(audio[where])) <= surplus


@pytest.mark.parametrize("step", [-0.3, 0.15, 0.3])
def test_a_path_that_becomes_longer_or_shorter_does_not_move_a_true_clock(step):
    rec = Recorder()
    packets = talk(3_000)
    delayed = [
        replace(s, at=s.at + max(0.0, -step) + (step if i >= 1_500 else 0)) for i, s in enumerate(packets)
    ]
    rec.run(delayed)
    assert placed_exactly(rec.audio(), packets, first=round(max(0.0, -step) * RATE))


def test_a_sender_that_counts_too_few_samples_is_placed_by_arrival():
    """Half of what is sent is written over by its own timestamps; it is not taken for late for ever."""
    rec = Recorder()
    packets = [replace(s, timestamp=1000 + 80 * i) for i, s in enumerate(talk(500))]
    rec.run(packets)
    assert rec.legs["late"][0] < 25


def test_a_sender_that_changes_its_packet_length_stays_in_place():
    rec = Recorder()
    sizes = [80, 160, 240, 320, 480, 960, 161, 80] * 20
    packets, mark = [], 0
    for i, n in enumerate(sizes):
        packets.append(Sent(i, mark, START + (mark + n) / RATE, mark, samples=n))
        mark += n
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets, first=80)


def test_packets_later_than_the_hold_back_are_counted_and_left_out():
    rec = Recorder()
    packets = talk(200)
    packets[60] = replace(packets[60], at=packets[60].at + 1.5)
    rec.run(packets)
    assert placed_exactly(rec.audio(), [s for i, s in enumerate(packets) if i != 60])
    assert rec.legs["late"][0] == 1


def test_events_in_the_same_sequence_neither_move_audio_nor_count_as_loss():
    rec = Recorder()
    packets = talk(100)
    for i in range(40, 48):
        packets[i] = replace(packets[i], audio=False, timestamp=packets[40].timestamp)
    rec.run(packets)
    assert placed_exactly(rec.audio(), [s for s in packets if s.audio])
    assert total_lost(rec.legs, rec.streams, 0) == 0


def test_each_new_ssrc_is_taken_but_a_leg_that_changes_with_every_packet_is_cut_off():
    rec = Recorder()
    packets = [replace(s, ssrc=100 + i) for i, s in enumerate(talk(10))]
    rec.take(packets)
    assert int(rec.legs["packets"][0]) == 2
    assert int(rec.legs["discarded"][0]) == 8


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(0, 10**9)),
        min_size=1,
        max_size=80,
    )
)
def test_no_sequence_of_packets_raises_or_places_audio_out_of_reach(rows):
    rec = Recorder()
    at = START
    packets = []
    for seq, ts, ssrc, gap in rows:
        at += gap / 1e10
        packets.append(Sent(seq, ts, at, 0, ssrc=ssrc))
    batches = [packets[i : i + 7] for i in range(0, len(packets), 7)]
    for some in batches:
        rec.take(some)
        assert (rec.canvas[0, : int(START * RATE) + RATE - int(rec.legs["delta"][0])] == -1).all()
        reach = (some[-1].at + 2 * (HOLD + 0.1)) * RATE
        assert int(rec.legs["top_u"][0] + rec.legs["delta"][0]) <= reach + FRAME


@pytest.mark.parametrize("earlier", range(11))
@pytest.mark.parametrize("swapped", [False, True])
def test_a_new_ssrc_in_the_middle_of_a_batch_continues_behind_the_old_one(earlier, swapped):
    rec = Recorder()
    packets = talk(30 + earlier, ssrc=8 if swapped else 7)
    if swapped:  # the stream rows the other way round
        packets[:20] = [replace(s, ssrc=7) for s in packets[:20]]
    rec.take(packets[:30])
    at = START + 0.02 * (30 + earlier)
    after = talk(10, seq=9, timestamp=5, at=at + 0.004, ssrc=9, mark=FRAME * (30 + earlier))
    rec.take(packets[30:] + after)
    assert placed_exactly(rec.audio(), packets + after)
