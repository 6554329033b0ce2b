"""Rings of samples, one a leg, made of blocks from a bounded shared pool.

A leg at rest holds a handful of blocks; while the disk stalls its ring grows, up to what the pool has.
Positions are the ring positions `u` of `siprec.rtp.state`, in samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from siprec.media.memory import Field, Region
from siprec.media.store import BLOCK_TABLE

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

BLOCK = 4096
"Samples a block: 8 kB, half a second at 8 kHz."
_SHIFT = 12
REACH = (BLOCK_TABLE - 2) * BLOCK
"Samples from the first one not yet given back up to which a ring may be written: less than a lap."
POOL_VERSION = 1


def pool_fields(blocks: int) -> list[Field]:
    """Layout of a pool of `blocks` blocks."""
    return [("samples", np.dtype("i2"), (blocks, BLOCK))]


def create_pool(blocks: int) -> Region:
    """A new pool; its pages take memory only once they are used."""
    return Region.create("rings", pool_fields(blocks), version=POOL_VERSION)


def attach_pool(fd: int, blocks: int) -> Region:
    """The pool behind a descriptor. Raises MemoryVersionError."""
    return Region.attach(fd, pool_fields(blocks), version=POOL_VERSION)


class RingReader:
    """Reads the rings of a pool; any process that maps it can."""

    def __init__(self, pool: I16, blocks: I32) -> None:
        """pool: int16[blocks, 4096]. blocks: int32[legs, 64], pool block + 1 by ring position, 0 for none."""
        self._pool, self._blocks = pool, blocks

    def read(self, leg: int, start: int, out: npt.NDArray[Any]) -> None:
        """Copy samples from ring position `start` on into `out` (any integer type, any stride).

        Where no block is, or nothing was written, it is 0.
        """
        done, count = 0, out.shape[0]
        while done < count:
            u = start + done
            offset = u & (BLOCK - 1)
            take = min(BLOCK - offset, count - done)
            block = int(self._blocks[leg, (u >> _SHIFT) & (BLOCK_TABLE - 1)])
            if block:
                out[done : done + take] = self._pool[block - 1, offset : offset + take]
            else:
                out[done : done + take] = 0
            done += take


class Rings(RingReader):
    """Writes the rings; only the tick thread of one worker does."""

    def __init__(self, pool: I16, blocks: I32) -> None:
        super().__init__(pool, blocks)
        self._flat = pool.reshape(-1)
        taken = blocks[blocks > 0] - 1
        free = np.setdiff1d(np.arange(pool.shape[0], dtype=np.int32), taken)
        self._top = int(free.size)
        self._free = np.zeros(pool.shape[0], np.int32)
        self._free[: self._top] = free[::-1]
        self.blocks = int(pool.shape[0])
        "Blocks of the pool."
        self.refused = 0
        "Rows for which the pool had no block, over all time."

    @property
    def free_blocks(self) -> int:
        """Blocks left in the pool."""
        return self._top

    def write(self, leg: I64, u: I64, samples: I16) -> Bool:
        """Write k rows of n samples at their places. leg, u: int64[k]; samples: int16[k, n], n <= 4096.

        Returns bool[k], False for rows that found the pool empty; those are counted.
        """
        n = samples.shape[1]
        first = self._block_of(leg, u)
        last = self._block_of(leg, u + n - 1)
        good = (first > 0) & (last > 0)
        if not good.all():
            self.refused += int((~good).sum())
            leg, u, samples = leg[good], u[good], samples[good]
            first, last = first[good], last[good]
        if leg.size:
            self._scatter(u, samples, first.astype(np.int64), last.astype(np.int64))
        return good

    def _scatter(self, u: I64, samples: I16, first: I64, last: I64) -> None:
        n = samples.shape[1]
        offset = u & (BLOCK - 1)
        inside = offset <= BLOCK - n
        at = (first - 1) * BLOCK + offset
        windows = as_strided(self._flat, (self._flat.size - n + 1, n), (2, 2))
        if inside.all():
            windows[at] = samples
            return
        windows[at[inside]] = samples[inside]
        across = ~inside
        column = np.arange(n)
        spot = offset[across, None] + column
        flat = at[across, None] + column
        beyond = spot >= BLOCK
        jump = (last[across] - first[across] - 1) * BLOCK
        self._flat[flat + beyond * jump[:, None]] = samples[across]

    def _block_of(self, leg: I64, u: I64) -> I32:
        """Pool block + 1 of each position, taking blocks from the pool where there is none yet."""
        column = (u >> _SHIFT) & (BLOCK_TABLE - 1)
        block: I32 = self._blocks[leg, column]
        missing = np.flatnonzero(block == 0)
        if missing.size:
            wanted = np.unique(leg[missing] * BLOCK_TABLE + column[missing])
            self._take(wanted[: self._top])
            block = self._blocks[leg, column]
        return block

    def _take(self, wanted: I64) -> None:
        ids = self._free[self._top - wanted.size : self._top]
        self._flat.reshape(-1, BLOCK)[ids] = 0  # before the table points there
        self._blocks[wanted // BLOCK_TABLE, wanted % BLOCK_TABLE] = ids + 1
        self._top -= int(wanted.size)

    def release(self, leg: I64, start: I64, end: I64) -> None:
        """Give back the blocks that lie wholly in start..end (ring positions) of each leg: int64[k] each.

        A leg never has blocks of both a place and the same place a lap later: the span of a ring is 64 blocks.
        """
        first = -(-start >> _SHIFT)
        count = np.clip((end >> _SHIFT) - first, 0, BLOCK_TABLE)
        if not count.any():
            return
        which = np.repeat(np.arange(leg.size), count)
        step = np.arange(which.size) - np.repeat(np.cumsum(count) - count, count)
        self._give_back(leg[which], (first[which] + step) & (BLOCK_TABLE - 1))

    def clear(self, leg: int) -> None:
        """Give back all blocks of a leg."""
        column = np.arange(BLOCK_TABLE, dtype=np.int64)
        self._give_back(np.full(BLOCK_TABLE, leg, np.int64), column)

    def _give_back(self, leg: I64, column: I64) -> None:
        block = self._blocks[leg, column]
        held = block > 0
        ids = block[held] - 1
        self._blocks[leg[held], column[held]] = 0
        self._free[self._top : self._top + ids.size] = ids
        self._top += int(ids.size)
