"""A timeline with a canvas in the place of the rings, and senders for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siprec.rtp.loss import find_gaps
from siprec.rtp.sequence import History
from siprec.rtp.state import new_legs, new_streams
from siprec.rtp.timeline import Batch, Timeline

RATE = 8000
MS = RATE // 1000
FRAME = 160
HOLD = 0.5
EPOCH = 1_000_000_000_000
START = 10.0  # seconds from the epoch at which the tests' calls begin


@dataclass(frozen=True)
class Sent:
    """A packet; at: seconds from the epoch; mark: the first sample of its audio, the others count up."""

    seq: int
    timestamp: int
    at: float
    mark: int
    ssrc: int = 7
    samples: int = FRAME
    audio: bool = True
    clock: int = RATE


class Recorder:
    """A timeline of some legs with ticks of 200 ms and a canvas in the place of the rings."""

    def __init__(self, legs: int = 1) -> None:
        self.legs, self.streams = new_legs(legs), new_streams(legs)
        self.legs["floor_p"] = int(START * RATE)
        self.legs["active"], self.legs["rate"], self.legs["epoch_ns"] = 1, RATE, EPOCH
        self.history = History.private(2 * legs)
        self.timeline = Timeline(self.legs, self.streams, self.history, hold_back_s=HOLD)
        self.canvas = np.full((legs, RATE * 120), -1, np.int64)
        self.batch = 0
        self.events = []
        self.gaps = []

    def run(self, packets: list[Sent], leg: int = 0, *, until: float | None = None) -> None:
        waiting = sorted(packets, key=lambda s: s.at)
        tick = START
        end = until if until is not None else (max((s.at for s in packets), default=START) + 1.0)
        while tick < end:
            tick += 0.2
            self.take([s for s in waiting if s.at <= tick], leg)
            waiting = [s for s in waiting if s.at > tick]
            self.legs["floor_p"] = np.maximum(self.legs["floor_p"], int((tick - HOLD) * RATE))

    def take(self, packets: list[Sent], leg: int = 0) -> None:
        if not packets:
            return
        self.batch += 1
        batch = Batch(
            number=self.batch,
            leg=np.full(len(packets), leg, np.int64),
            seq=np.array([s.seq & 0xFFFF for s in packets], np.int32),
            timestamp=np.array([s.timestamp & 0xFFFFFFFF for s in packets], np.uint32),
            ssrc=np.array([s.ssrc for s in packets], np.uint32),
            arrival_ns=np.array([EPOCH + round(s.at * 1e9) for s in packets], np.int64),
            audio=np.array([s.audio for s in packets]),
            samples=np.array([s.samples for s in packets], np.int64),
            clock=np.array([s.clock for s in packets], np.int64),
        )
        placed = self.timeline.place(batch)
        self.events += placed.events
        self.gaps += placed.gaps
        for row, u in zip(placed.rows.tolist(), placed.u.tolist(), strict=True):
            n = packets[row].samples
            self.canvas[leg, u + RATE : u + RATE + n] = packets[row].mark + np.arange(n)
        self.gaps += find_gaps(self.legs, self.streams, self.history, np.array([2 * leg, 2 * leg + 1]))

    def audio(self, leg: int = 0) -> np.ndarray:
        """The leg on the call's clock, from START on; -1 where nothing was placed."""
        shift = int(self.legs["delta"][leg])
        return np.roll(self.canvas[leg], shift)[int(START * RATE) + RATE :]


def talk(
    count: int, *, seq: int = 65530, timestamp: int = 2**32 - 1000, at: float = START, mark: int = 0, **more
):
    """`count` packets of 20 ms, paced exactly; sequence and timestamp wrap early by default."""
    return [
        Sent(seq + i, timestamp + FRAME * i, at + 0.02 * i, mark + FRAME * i, **more) for i in range(count)
    ]


def placed_exactly(audio: np.ndarray, packets: list[Sent], first: int = 0) -> bool:
    expected = np.full(audio.shape, -1, np.int64)
    for s in packets:
        expected[first + s.mark : first + s.mark + s.samples] = s.mark + np.arange(s.samples)
    return bool((audio == expected).all())
