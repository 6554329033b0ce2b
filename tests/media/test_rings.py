"""Rings of samples: what is written is read, until it is given back, and the pool is bounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.media.rings import BLOCK, REACH, RingReader, Rings
from siprec.media.store import BLOCK_TABLE

LAP = BLOCK * BLOCK_TABLE


class Pool:
    def __init__(self, blocks: int, legs: int = 2) -> None:
        self.samples = np.full((blocks, BLOCK), 77, np.int16)  # what other calls left there
        self.table = np.zeros((legs, BLOCK_TABLE), np.int32)
        self.rings = Rings(self.samples, self.table)

    def write(self, leg: int, u: int, samples) -> bool:
        data = np.asarray(samples, np.int16)[None, :]
        return bool(self.rings.write(np.array([leg]), np.array([u]), data)[0])

    def read(self, leg: int, start: int, count: int) -> np.ndarray:
        out = np.empty(count, np.int64)
        RingReader(self.samples, self.table).read(leg, start, out)
        return out

    def release(self, leg: int, start: int, end: int) -> None:
        self.rings.release(np.array([leg]), np.array([start]), np.array([end]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_writes_within_the_reach_are_read_back_exactly(data):
    """Across block borders, below zero, over laps, in any order, the later over the earlier."""
    pool = Pool(2 * BLOCK_TABLE)
    base = data.draw(st.integers(-3 * LAP, 3 * LAP))
    length = data.draw(st.integers(1, 2100))
    canvas = np.zeros((2, REACH), np.int64)
    mark = 0
    for _ in range(data.draw(st.integers(1, 8))):
        rows = data.draw(
            st.lists(
                st.tuples(st.integers(0, 1), st.integers(0, REACH - length)),
                min_size=1,
                max_size=6,
                unique_by=lambda row: (row[0], row[1] // 2200),
            )
        )
        rows = [row for i, row in enumerate(rows) if all(abs(row[1] - r[1]) >= length for r in rows[:i])]
        legs, places = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        samples = (np.arange(len(rows) * length) + mark).reshape(-1, length) % 30000 + 1
        mark += 7
        assert pool.rings.write(legs, places + base, samples.astype(np.int16)).all()
        for leg, place, row in zip(legs, places, samples, strict=True):
            canvas[leg, place : place + length] = row
    for leg in (0, 1):
        assert (pool.read(leg, base, REACH) == canvas[leg]).all()
    start = data.draw(st.integers(0, REACH - 1))
    assert (pool.read(1, base + start, REACH - start) == canvas[1, start:]).all()


def test_a_packet_across_a_border_lies_in_both_blocks():
    pool = Pool(4)
    assert pool.write(0, BLOCK - 3, [1, 2, 3, 4, 5])
    assert pool.rings.free_blocks == 2
    assert pool.read(0, BLOCK - 4, 7).tolist() == [0, 1, 2, 3, 4, 5, 0]


def test_where_nothing_was_written_is_silence_whatever_the_block_held_before():
    pool = Pool(2)
    pool.write(0, 100, [5])
    assert pool.read(0, 0, BLOCK).sum() == 5
    pool.rings.clear(0)
    pool.write(1, 7, [9])
    assert pool.read(1, 0, BLOCK).sum() == 9


def test_a_row_as_long_as_a_block_fits():
    pool = Pool(2)
    row = np.arange(BLOCK) % 30000
    assert pool.write(0, 1, row)
    assert (pool.read(0, 1, BLOCK) == row).all()


def test_a_ring_runs_on_over_many_laps_with_few_blocks():
    pool = Pool(4, legs=1)
    step = 1000
    for u in range(-2 * LAP, 2 * LAP, step):
        row = np.arange(u, u + step) % 30000
        assert pool.write(0, u, row)
        assert (pool.read(0, u, step) == row).all()
        pool.release(0, u - step - BLOCK, u)
    assert pool.rings.refused == 0


@pytest.mark.parametrize("start", [-LAP - 5, -BLOCK, -1, 0, 1, BLOCK, LAP - 1])
def test_only_blocks_that_lie_wholly_in_the_span_are_given_back(start):
    pool = Pool(16, legs=1)
    first = start // BLOCK * BLOCK
    for k in range(6):
        pool.write(0, first + k * BLOCK, [k + 1])
    pool.release(0, start, first + 4 * BLOCK + 5)
    gone = range(0 if start == first else 1, 4)
    left = [int(pool.read(0, first + k * BLOCK, 1)[0]) for k in range(6)]
    assert left == [0 if k in gone else k + 1 for k in range(6)]
    assert pool.rings.free_blocks == 16 - 6 + len(gone)


def test_giving_back_a_span_that_holds_nothing_does_nothing():
    pool = Pool(4)
    pool.write(0, 0, [1])
    pool.release(0, BLOCK, BLOCK)
    pool.release(0, 5 * BLOCK, 2 * BLOCK)
    pool.release(1, 0, LAP)
    assert pool.rings.free_blocks == 3
    pool.rings.release(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert pool.read(0, 0, 1).tolist() == [1]


@pytest.mark.parametrize("border", [0, 1, 17, BLOCK - 1])
def test_what_lies_within_reach_survives_the_release_of_everything_before_it(border):
    """As a flush does it: written up to `before`, then up to `end`, and the ring is full up to its reach."""
    pool = Pool(BLOCK_TABLE, legs=1)
    before = 10 * BLOCK + border
    end, top = before + 30 * BLOCK, before + REACH - 160
    pool.write(0, before, np.full(160, 2))
    pool.write(0, end, np.full(160, 3))
    pool.write(0, top, np.full(160, 4))
    pool.release(0, before - BLOCK, end)
    assert (pool.read(0, end, 160) == 3).all()
    assert (pool.read(0, top, 160) == 4).all()
    assert pool.rings.free_blocks >= BLOCK_TABLE - 4


def test_an_empty_pool_refuses_and_counts_and_damages_nothing():
    pool = Pool(3)
    assert pool.write(0, 0, np.full(100, 1))
    assert pool.write(1, BLOCK - 50, np.full(100, 2))
    rows = np.full((3, 100), 9, np.int16)
    good = pool.rings.write(np.array([0, 0, 1]), np.array([50, BLOCK, 3 * BLOCK]), rows)
    assert good.tolist() == [True, False, False]
    assert pool.rings.refused == 2
    assert pool.read(0, 0, 200).tolist() == [1] * 50 + [9] * 100 + [0] * 50
    assert pool.read(1, BLOCK - 50, 100).tolist() == [2] * 100
    assert pool.read(0, BLOCK, 100).tolist() == [0] * 100
    pool.rings.clear(1)
    assert pool.write(0, BLOCK, np.full(100, 5))
    assert pool.read(0, BLOCK, 100).tolist() == [5] * 100


@pytest.mark.parametrize("left", [0, 1])
def test_a_packet_that_finds_one_of_its_two_blocks_only_is_refused_whole(left):
    pool = Pool(1 + left)
    pool.write(1, 0, [1])
    assert not pool.write(0, BLOCK - 50, np.full(100, 9))
    assert pool.rings.refused == 1
    assert not pool.read(0, BLOCK - 50, 100).any()


def test_whoever_attaches_later_knows_which_blocks_are_taken():
    pool = Pool(5)
    pool.write(0, 0, [1])
    pool.write(1, BLOCK * 9, [2])
    heir = Rings(pool.samples, pool.table)
    assert heir.free_blocks == 3
    rows = np.full((3, 1), 9, np.int16)
    assert heir.write(np.zeros(3, np.int64), np.array([1, 2, 3]) * BLOCK, rows).all()
    assert heir.free_blocks == 0
    assert pool.read(0, 0, 1).tolist() == [1]
    assert pool.read(1, BLOCK * 9, 1).tolist() == [2]


def test_every_block_comes_back_once():
    rng = np.random.default_rng(5)
    pool = Pool(40, legs=4)
    for _ in range(300):
        leg = int(rng.integers(0, 4))
        u = int(rng.integers(0, REACH))
        pool.write(leg, u, np.full(160, leg + 1))
        if rng.random() < 0.3:
            pool.release(leg, 0, int(rng.integers(0, REACH)))
        if rng.random() < 0.05:
            pool.rings.clear(leg)
        taken = pool.table[pool.table > 0].tolist()
        assert len(taken) == len(set(taken)) == 40 - pool.rings.free_blocks
    for leg in range(4):
        pool.rings.clear(leg)
    assert pool.rings.free_blocks == 40
