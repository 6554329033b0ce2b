"""Senders whose timestamps count with another clock than their codec's, or not at all (INTEROP 3.12, 3.14)."""

from __future__ import annotations

import numpy as np
import pytest

from siprec.rtp.pace import Pace, shown_pace
from tests.helpers.timeline import FRAME, RATE, START, Recorder, Sent, placed_exactly

CLOCKS = [8000, 11025, 16000, 44100, 48000, 90000]


def spoken(
    count: int, *, clock: int, step: float, ptime: float = 0.02, first: int = 0, at: float = START, **more
):
    """`count` packets of `ptime` seconds, whose timestamps go on by `step`."""
    samples = round(ptime * RATE)
    return [
        Sent(
            seq=first + i,
            timestamp=2**32 - 1000 + round(step * (first + i)),
            at=at + ptime * i,
            mark=round((at - START) * RATE) + samples * i,
            samples=samples,
            clock=clock,
            **more,
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("ptime", [0.01, 0.02, 0.03, 0.06, 0.12])
def test_a_clock_that_is_not_the_file_s_rate_gives_the_same_places(clock, ptime):
    rec = Recorder()
    packets = spoken(300, clock=clock, step=clock * ptime, ptime=ptime)
    rec.run(packets)
    audio = rec.audio()[: len(packets) * packets[0].samples]
    # timestamps of a clock that does not divide are rounded by their sender
    expected = np.arange(audio.size)
    assert np.abs(audio - expected)[audio >= 0].max() <= 1
    assert (audio >= 0).mean() > 0.99
    assert [e.type for e in rec.events] == ["anchored"]


@pytest.mark.parametrize("clock", [16000, 48000])
def test_lost_packets_and_pauses_have_their_length_whatever_the_clock(clock):
    rec = Recorder()
    step = clock // 50
    packets = [s for i, s in enumerate(spoken(300, clock=clock, step=step)) if i not in {50, 51, 52, 120}]
    pause = [
        Sent(
            seq=300 + i,
            timestamp=2**32 - 1000 + step * (400 + i),
            at=START + 8 + 0.02 * i,
            mark=64000 + FRAME * i,
            clock=clock,
        )
        for i in range(50)
    ]
    rec.run(packets + pause)
    assert placed_exactly(rec.audio(), packets + pause)
    assert [g.packets for g in rec.gaps] == [3, 1]


@pytest.mark.parametrize(
    ("nominal", "real"), [(8000, 16000), (16000, 8000), (48000, 8000), (48000, 16000), (8000, 48000)]
)
@pytest.mark.parametrize("phase", [0.0, 0.15, 0.19])
def test_a_sender_that_counts_with_another_clock_is_followed(nominal, real, phase):
    rec = Recorder()
    packets = spoken(500, clock=nominal, step=real // 50, at=START + phase)
    rec.run(packets)
    audio = rec.audio()
    settled = packets[50:]
    heard = audio[settled[0].mark : settled[-1].mark]
    assert (heard >= 0).all()
    assert np.ptp(heard - np.arange(heard.size)) == 0
    assert abs(int(heard[0]) - settled[0].mark) <= 0.1 * RATE
    assert [e.moved for e in rec.events if e.type == "pace"] == [real]
    assert rec.legs["late"][0] == 0


@pytest.mark.parametrize("phase", [0.0, 0.15, 0.19])
def test_a_sender_whose_timestamps_stand_still_is_placed_by_its_sequence_numbers(phase):
    rec = Recorder()
    packets = spoken(500, clock=8000, step=0, at=START + phase)
    lost = {200, 201, 300}
    rec.run([s for i, s in enumerate(packets) if i not in lost])
    audio = rec.audio()
    settled = audio[packets[50].mark : packets[-1].mark]
    placed = settled >= 0
    assert (~placed).sum() == len(lost) * FRAME
    shift = settled[placed] - np.flatnonzero(placed)
    assert np.ptp(shift) == 0
    assert [e.moved for e in rec.events if e.type == "pace"] == [0]


def test_a_sender_that_pauses_between_packets_is_not_taken_for_a_fast_clock():
    """Discontinuous transmission: every other packet is not sent, and the numbers do not say so."""
    rec = Recorder()
    packets = [
        Sent(seq=i, timestamp=2 * FRAME * i, at=START + 0.04 * i, mark=2 * FRAME * i) for i in range(200)
    ]
    rec.run(packets)
    assert placed_exactly(rec.audio(), packets)
    assert [e.type for e in rec.events] == ["anchored"]


def test_another_codec_with_another_clock_goes_on_where_the_one_before_ended():
    rec = Recorder()
    first = spoken(100, clock=8000, step=160)
    second = spoken(100, clock=48000, step=960, first=100, at=START + 2.0)
    rec.run(first + second)
    assert placed_exactly(rec.audio(), first + second)


def ten(step: int, **more):
    n = np.arange(10)
    return shown_pace(8000, n, n * step, n * 0.02, np.full(10, 0.02), **more)


def test_what_a_run_of_packets_shows():
    assert ten(160) == Pace(8000)
    assert ten(320) == Pace(16000)
    assert ten(0) == Pace(8000, numbered=True)
    assert ten(170) is None
    assert ten(1800) == Pace(90000)


def test_a_run_with_a_hole_or_of_uneven_packets_shows_nothing():
    n = np.array([0, 1, 2, 4, 5])
    assert shown_pace(8000, n, n * 320, n * 0.02, np.full(5, 0.02)) is None
    n = np.arange(5)
    assert shown_pace(8000, n, n * 320, n * 0.02, np.array([0.02, 0.02, 0.03, 0.02, 0.02])) is None
    assert shown_pace(8000, n[:2], n[:2] * 320, n[:2] * 0.02, np.full(2, 0.02)) is None


def test_packets_that_came_in_a_burst_show_nothing():
    n = np.arange(10)
    assert shown_pace(8000, n, n * 320, n * 0.0001, np.full(10, 0.02)) is None
