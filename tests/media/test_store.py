"""State of the legs: whole batches count or do not, whenever the writer dies and whenever somebody reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from siprec.media.memory import MemoryVersionError
from siprec.media.store import StateStore
from siprec.rtp.state import new_legs, new_streams

LEGS = 6


@pytest.fixture
def store() -> Iterator[StateStore]:
    made = StateStore.create(LEGS)
    yield made
    made.region.close()


class Writer:
    """Publishes batches; every field of a row says which batch wrote it."""

    def __init__(self, store: StateStore) -> None:
        self.store, self.legs, self.streams = store, new_legs(LEGS), new_streams(LEGS)

    def prepare(self, which: list[int], value: int) -> np.ndarray:
        legs = np.array(which, np.int64)
        self.legs["packets"][legs] = self.legs["octets"][legs] = self.legs["last_ns"][legs] = value
        for stream in (2 * legs, 2 * legs + 1):
            self.streams["highest"][stream] = self.streams["received"][stream] = value
        return legs

    def publish(self, which: list[int], value: int) -> None:
        legs = self.prepare(which, value)
        self.store.publish(legs, self.legs, self.streams, self.store.committed + 1)


class DiesBeforeTheWord(Exception):
    pass


class _Word:
    def __getitem__(self, index: int) -> np.uint64:
        return self.word[index]

    def __setitem__(self, index: int, value: int) -> None:
        raise DiesBeforeTheWord

    def __init__(self, word: np.ndarray) -> None:
        self.word = word


def values(store: StateStore, legs: list[int]) -> list[int]:
    rows, streams = store.load(np.array(legs, np.int64))
    assert (rows["packets"] == rows["octets"]).all()
    assert (streams["highest"].reshape(-1, 2) == rows["packets"][:, None]).all()
    found: list[int] = rows["packets"].tolist()
    return found


def test_what_was_published_is_read_by_whoever_attaches(store):
    writer = Writer(store)
    writer.publish([0, 2], 5)
    writer.publish([2, 5], 7)
    other = StateStore.attach(store.region.fd, LEGS)
    assert values(other, [0, 1, 2, 3, 4, 5]) == [5, 0, 7, 0, 0, 7]
    assert other.committed == 2
    writer.publish([0], 9)
    assert values(other, [5, 0]) == [7, 9]


def test_a_publish_that_died_before_the_commit_word_leaves_the_old_rows(store):
    writer = Writer(store)
    writer.publish([0, 1], 5)
    writer.publish([1], 6)
    word = store.region.commit
    store.region.commit = _Word(word)
    with pytest.raises(DiesBeforeTheWord):
        writer.publish([0, 1, 2], 99)
    store.region.commit = word
    heir = StateStore.attach(store.region.fd, LEGS)
    assert values(heir, [0, 1, 2]) == [5, 6, 0]
    heir.discard_unfinished()
    again = Writer(heir)
    again.legs[:], again.streams[:] = heir.load(np.arange(LEGS))
    again.publish([1], 7)
    assert values(heir, [0, 1, 2]) == [5, 7, 0]
    again.publish([0, 1, 2], 8)
    assert values(heir, [0, 1, 2]) == [8, 8, 8]


def test_a_publish_that_died_between_its_rows_leaves_the_old_rows(store):
    writer = Writer(store)
    for value in range(1, 4):
        writer.publish([0, 1], value)
    half = 1 - store.half(np.array([0, 1]))
    store._leg["packets"][half, [0, 1]] = 77  # rows written, stamp and word not
    assert values(StateStore.attach(store.region.fd, LEGS), [0, 1]) == [3, 3]


def test_a_reader_sees_whole_rows_however_often_the_writer_publishes(store):
    writer, stop = Writer(store), threading.Event()

    def write() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            writer.publish([0, 1, 2, 3], value)

    reader = StateStore.attach(store.region.fd, LEGS)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        newest = 0
        for _ in range(2000):
            seen = values(reader, [0, 1, 2, 3])  # whole rows, by the assertions in it
            assert seen[0] >= newest
            newest = seen[0]
    finally:
        stop.set()
        thread.join()
    assert newest > 0


def test_state_of_another_number_of_legs_is_refused(store):
    with pytest.raises(MemoryVersionError):
        StateStore.attach(store.region.fd, LEGS * 1000)
