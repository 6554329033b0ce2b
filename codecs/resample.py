"""Resampling of one stream to the rate of its file, by libswresample, with its state kept from call to call.

The resampler is fed one endless signal: the sound of a stream with what is between its runs left out. A run is brought to
its end with a few samples of silence, which push its last samples out and leave the filter at rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

I16 = npt.NDArray[np.int16]
Placed = tuple[int, I16]
"A position and the samples from there on, int16[n], both of the file's rate."

_REST_S = 0.004
"Silence behind a run: longer than the filter reaches."


class Resampler:
    """From `rate` to `file_rate` [Hz]. The sound is aligned: what is at a time in comes out at the same time."""

    def __init__(self, rate: int, file_rate: int) -> None:
        self._rate, self._file_rate = rate, file_rate
        common = gcd(rate, file_rate)
        self._in_step, self._out_step = rate // common, file_rate // common
        self._swr = AudioResampler("s16", "mono", file_rate)
        self._fed = self._made = 0
        "Samples in and out so far, of the endless signal."
        self._first = self._end = 0
        "Where in it, in samples of the file's rate, the present run begins; where the last one ended."
        self._place: int | None = None
        "Position of the present run, None while there is none."

    @property
    def next_place(self) -> int | None:
        """Position behind the present run's last sample, as far as it was fed; None while there is no run."""
        if self._place is None:
            return None
        return self._place - self._first + self._fed * self._out_step // self._in_step

    def begin(self, place: int) -> Iterator[Placed]:
        """A run begins at `place`; gives the last samples of the one before."""
        yield from self.settle()
        # both counts whole: the run's first sample in is exactly its first one out
        self._silence(-self._fed % self._in_step)
        self._first, self._place = self._fed // self._in_step * self._out_step, place

    def feed(self, samples: I16) -> Iterator[Placed]:
        """What comes next in the run: int16[n]. Gives what is ready; the filter keeps the last samples for now."""
        yield from self._out(self._run(samples))

    def settle(self) -> Iterator[Placed]:
        """End the present run; gives its last samples."""
        if self._place is None:
            return
        self._end = -(-self._fed * self._out_step // self._in_step)
        rest = int(self._rate * _REST_S)
        yield from self._out(self._run(np.zeros(rest, np.int16)))
        self._place = None

    def _out(self, made: I16) -> Iterator[Placed]:
        """Place what came out; what lies before the run or behind its end is silence that was put in."""
        assert self._place is not None
        start = self._made - made.size
        end = self._end if self._end > self._first else self._made
        lo, hi = max(start, self._first), min(self._made, end)
        if lo < hi:
            yield self._place + lo - self._first, made[lo - start : hi - start]

    def _silence(self, count: int) -> None:
        if count:
            self._run(np.zeros(count, np.int16))

    def _run(self, samples: I16) -> I16:
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        made = [
            np.frombuffer(memoryview(out.planes[0]), np.int16)[: out.samples]
            for out in self._swr.resample(frame)
        ]
        self._fed += samples.size
        out: I16 = np.concatenate(made) if made else np.zeros(0, np.int16)
        self._made += out.size
        return out
