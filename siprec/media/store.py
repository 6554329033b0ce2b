"""The state rows of a worker's legs in shared memory: committed batch by batch, readable by others meanwhile.

Each row exists twice. A batch writes the rows it changed into the half that does not count, stamps them with its
number, and then one word, the number of the committed batch, makes all of them count at once. A worker that
dies in between leaves the rows of the batch before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.media.memory import Field, Region
from siprec.rtp.sequence import History
from siprec.rtp.state import HISTORY, LEG, STATE_VERSION, STREAM, STREAMS_PER_LEG

I64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

BLOCK_TABLE = 64
"Ring blocks a leg can have at once; a power of two."


def fields(legs: int) -> list[Field]:
    """Layout of the state of `legs` legs."""
    streams = legs * STREAMS_PER_LEG
    return [
        ("leg", LEG, (2, legs)),
        ("stream", STREAM, (2, streams)),
        ("stamp", np.dtype("u8"), (2, legs)),
        ("history_ext", np.dtype("u4"), (streams, HISTORY)),
        ("history_batch", np.dtype("u4"), (streams, HISTORY)),
        ("history_place", np.dtype("i8"), (streams, HISTORY)),
        ("blocks", np.dtype("i4"), (legs, BLOCK_TABLE)),
        ("t0", np.dtype("i8"), (legs,)),
        ("kept", np.dtype("i8"), (legs,)),
    ]


def _words(rows: Array) -> Array:
    """Rows of a record type as rows of 8-byte words: (..., n) in, int64 (..., n, words) out, the same memory."""
    return rows.view(np.int64).reshape(*rows.shape, rows.dtype.itemsize // 8)


class StateStore:
    """Shared state of the legs of one worker."""

    def __init__(self, region: Region) -> None:
        self.region = region
        arrays = region.arrays
        self._leg, self._stream, self._stamp = arrays["leg"], arrays["stream"], arrays["stamp"]
        count = self._leg.shape[1]
        self._leg_words = _words(self._leg)
        self._stream_words = _words(self._stream).reshape(2, count, -1)
        self.blocks: npt.NDArray[np.int32] = arrays["blocks"]
        "int32[legs, 64]: pool block + 1 of each ring position, 0 for none."
        self.t0: I64 = arrays["t0"]
        "int64[legs], by recording number: its zero [monotonic ns], 0 before it has one."
        self.kept: I64 = arrays["kept"]
        "int64[legs]: packets without a decoder that are in the leg's files; the writer thread counts."
        self.history = History(arrays["history_ext"], arrays["history_batch"], arrays["history_place"])

    @classmethod
    def create(cls, legs: int) -> StateStore:
        """Fresh state for `legs` legs."""
        return cls(Region.create("state", fields(legs), version=STATE_VERSION))

    @classmethod
    def attach(cls, fd: int, legs: int) -> StateStore:
        """The state behind a descriptor. Raises MemoryVersionError."""
        return cls(Region.attach(fd, fields(legs), version=STATE_VERSION))

    @property
    def committed(self) -> int:
        """Number of the last batch that counts."""
        return int(self.region.commit[0])

    def half(self, legs: I64) -> I64:
        """Which half counts for each leg: int64[k] of 0 and 1."""
        stamps = self._stamp[:, legs].astype(np.int64)
        stamps[stamps > self.committed] = -1
        half: I64 = (stamps[1] > stamps[0]).astype(np.int64)
        return half

    def load(self, legs: I64) -> tuple[Array, Array]:
        """Copies of the rows that count: LEG[k], STREAM[2k]. Another process may be publishing meanwhile."""
        streams = (legs[:, None] * STREAMS_PER_LEG + np.arange(STREAMS_PER_LEG)).reshape(-1)
        while True:
            half = self.half(legs)
            stamp = self._stamp[half, legs]
            rows = self._leg[half, legs], self._stream[np.repeat(half, STREAMS_PER_LEG), streams]
            # Else what was read may be half written anew. First whether the half still counts, then its stamp: the
            # writer touches a half only after the other one counts, and stamps it only after it is whole.
            if (self.half(legs) == half).all() and (self._stamp[half, legs] == stamp).all():
                return rows

    def discard_unfinished(self) -> None:
        """Forget what a worker that died had stamped but not committed: the next batch has the same number."""
        self._stamp[self._stamp > self.committed] = 0

    def publish(self, legs: I64, leg_rows: Array, stream_rows: Array, number: int) -> None:
        """Make new rows of `legs` count, as batch `number` (one more than `committed`).

        leg_rows: LEG[all], stream_rows: STREAM[2 * all]; the rows of `legs` are taken from them.
        """
        half = 1 - self.half(legs)
        self._leg_words[half, legs] = _words(leg_rows)[legs]
        # the two streams of a leg lie side by side: one row of words
        self._stream_words[half, legs] = _words(stream_rows).reshape(len(leg_rows), -1)[legs]
        self._stamp[half, legs] = number
        self.region.commit[0] = number
