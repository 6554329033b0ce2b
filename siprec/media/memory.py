"""Memory that outlives a worker: arrays in a memfd, with a version in front (DESIGN 5)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Field = tuple[str, "np.dtype[Any]", tuple[int, ...]]

_MAGIC = 0x53525301
_HEADER = 4096
_ALIGN = 4096


class MemoryVersionError(Exception):
    """A memfd was written by another version or with another layout; its recordings end as `recovered`."""


class Region:
    """Named arrays in one memfd. The descriptor can be passed to another process and attached there."""

    def __init__(self, fd: int, fields: Sequence[Field], *, version: int, fresh: bool) -> None:
        self.fd = fd
        offsets, size = _offsets(fields)
        if fresh:
            os.ftruncate(fd, size)
        elif os.fstat(fd).st_size != size:
            raise MemoryVersionError(f"shared memory has {os.fstat(fd).st_size} bytes, expected {size}")
        self._map = mmap.mmap(fd, size)
        header = np.frombuffer(self._map, np.uint64, 4)
        if fresh:
            header[:] = (_MAGIC, version, size, 0)
        elif tuple(header[:3].tolist()) != (_MAGIC, version, size):
            raise MemoryVersionError(f"shared memory has version {int(header[1])}, expected {version}")
        self.commit = header[3:4]
        "uint64[1]: the one word that makes a batch count."
        self.arrays: dict[str, Array] = {
            name: np.frombuffer(self._map, dtype, int(np.prod(shape)), offset).reshape(shape)
            for (name, dtype, shape), offset in zip(fields, offsets, strict=True)
        }

    @classmethod
    def create(cls, name: str, fields: Sequence[Field], *, version: int) -> Region:
        """A new region of zeros. name: for people, in /proc."""
        fd = os.memfd_create(f"siprec-{name}", os.MFD_CLOEXEC)
        try:
            return cls(fd, fields, version=version, fresh=True)
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int, fields: Sequence[Field], *, version: int) -> Region:
        """A region that exists. Raises MemoryVersionError when it is not of this version and layout."""
        return cls(fd, fields, version=version, fresh=False)

    def close(self) -> None:
        """Close the descriptor; the mapping goes when the last array that looks into it is gone."""
        os.close(self.fd)


def _offsets(fields: Sequence[Field]) -> tuple[list[int], int]:
    offsets, at = [], _HEADER
    for _, dtype, shape in fields:
        offsets.append(at)
        at += int(np.prod(shape)) * dtype.itemsize
        at += -at % _ALIGN
    return offsets, at
