"""Memory that outlives a process: found again through its descriptor, refused when it is of another kind."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from siprec.media.memory import MemoryVersionError, Region

FIELDS = [("a", np.dtype("i2"), (3, 5)), ("b", np.dtype([("x", "i8"), ("y", "u1")], align=True), (7,))]


@pytest.fixture
def region() -> Iterator[Region]:
    made = Region.create("test", FIELDS, version=3)
    yield made
    made.close()


def test_a_new_region_is_zero_and_has_its_arrays(region):
    assert {name: (a.dtype, a.shape) for name, a in region.arrays.items()} == {
        name: (dtype, shape) for name, dtype, shape in FIELDS
    }
    assert not region.arrays["a"].any()
    assert region.commit.tolist() == [0]


def test_what_one_writes_the_other_reads(region):
    other = Region.attach(region.fd, FIELDS, version=3)
    region.arrays["a"][2, 4] = -5
    region.arrays["b"]["x"][6] = 1 << 40
    region.commit[0] = 9
    assert other.arrays["a"][2, 4] == -5
    assert other.arrays["b"]["x"][6] == 1 << 40
    assert other.commit.tolist() == [9]


def test_arrays_do_not_overlap(region):
    for number, array in enumerate(region.arrays.values()):
        array.view(np.uint8)[:] = number + 1
    assert (region.arrays["a"].view(np.uint8) == 1).all()
    assert (region.arrays["b"].view(np.uint8) == 2).all()
    assert Region.attach(region.fd, FIELDS, version=3).commit.tolist() == [0]


def test_another_version_is_refused(region):
    with pytest.raises(MemoryVersionError, match="version 3, expected 4"):
        Region.attach(region.fd, FIELDS, version=4)


def test_another_size_is_refused(region):
    longer = [("a", np.dtype("i2"), (3, 5000)), *FIELDS[1:]]
    with pytest.raises(MemoryVersionError, match="bytes"):
        Region.attach(region.fd, longer, version=3)


def test_what_is_no_region_is_refused(region):
    os.pwrite(region.fd, b"\0" * 8, 0)
    with pytest.raises(MemoryVersionError):
        Region.attach(region.fd, FIELDS, version=3)
    empty = os.memfd_create("empty")
    with pytest.raises(MemoryVersionError):
        Region.attach(empty, FIELDS, version=3)
    os.close(empty)


def test_a_region_that_cannot_be_made_leaves_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"."):
        Region.create("huge", [("a", np.dtype("u1"), (1 << 62,))], version=1)
    assert len(os.listdir("/proc/self/fd")) == before
