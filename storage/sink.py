"""Where a writer's bytes go.

A writer never touches a descriptor: it speaks to a sink. What a sink may rely on, so that one that seals its chunks
fits behind the same writers: the header is written whole, in one call, at offset 0, and may be written again; what lies
behind it grows without holes; a place that was already written is written again only with the same bytes (a repeated
tick) or after a failed write.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

from siprec.storage.fileops import REAL, FileOps, StorageError, StrPath, failing_as, write_all

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Sink(Protocol):
    """Takes bytes at offsets. Every method raises StorageError, with the path."""

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of `data` (C-contiguous) at `offset`, or raise; it may be repeated."""

    def sync(self) -> None:
        """Return when what was written is on the medium."""

    def close(self) -> None:
        """Give the file up; a second call does nothing."""


class PlainSink:
    """A sink on a descriptor: what is written is what is in the file.

    fd: open for writing, and ours from now on; it may have been opened by another process.
    path: names the file in errors and is never opened.
    """

    def __init__(self, fd: int, path: StrPath, *, ops: FileOps = REAL) -> None:
        self._fd, self.path, self._ops = fd, os.fspath(path), ops

    def fileno(self) -> int:
        """The descriptor, -1 after close()."""
        return self._fd

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of `data` at `offset`, whatever number of system calls it takes. Raises StorageError."""
        write_all(self._ops, self._open("write"), offset, data, self.path)

    def sync(self) -> None:
        """fdatasync. Raises StorageError; what was written since the last good sync is then in doubt."""
        fd = self._open("sync")
        with failing_as("sync", self.path):
            self._ops.fdatasync(fd)

    def close(self) -> None:
        """Close the descriptor once. Raises StorageError (a network file system reports its errors here)."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with failing_as("close", self.path):
                self._ops.close(fd)

    def _open(self, operation: str) -> int:
        if self._fd < 0:
            raise StorageError(errno.EBADF, operation, self.path)
        return self._fd
