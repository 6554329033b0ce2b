"""The system calls that change files, in one place, and the one error they end in.

Everything in storage that must not lose data takes a `FileOps`, so that a test can fail the n-th write or sync
of a real file with ENOSPC or EIO.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

StrPath = str | os.PathLike[str]


class StorageError(OSError):
    """A file could not be created, written, synced or renamed.

    `errno`, `strerror` and `filename` are OSError's; `operation` names the system call that failed.
    """

    def __init__(self, number: int, operation: str, path: StrPath) -> None:
        super().__init__(number, os.strerror(number), os.fspath(path))
        self.operation = operation

    def __str__(self) -> str:
        return f"{self.filename}: {self.operation}: {self.strerror}"


class FileOps:
    """The real system calls. All raise OSError."""

    def open(self, path: StrPath, flags: int, mode: int) -> int:
        """A descriptor, closed on exec; a file that may be created has exactly `mode`, whatever the umask."""
        fd = os.open(path, flags | os.O_CLOEXEC, mode)
        if flags & os.O_CREAT:
            os.fchmod(fd, mode)
        return fd

    def pwrite(self, fd: int, data: Buffer, offset: int) -> int:
        """Bytes written at `offset`; may be fewer than asked for."""
        return os.pwrite(fd, data, offset)

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut the file to `length` bytes."""
        os.ftruncate(fd, length)

    def fsync(self, fd: int) -> None:
        """Data and metadata on the medium."""
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        """Data, and the length that reading it back needs, on the medium."""
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def replace(self, source: StrPath, target: StrPath) -> None:
        """Rename over whatever is there, atomically."""
        os.replace(source, target)

    def unlink(self, path: StrPath) -> None:
        """Remove a file."""
        os.unlink(path)

    def mkdir(self, path: StrPath, mode: int) -> None:
        """Create one directory."""
        os.mkdir(path, mode)


REAL = FileOps()
"The system calls themselves; stateless, so one is enough."


@contextmanager
def failing_as(operation: str, path: StrPath) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names the call and the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as exc:
        raise StorageError(exc.errno or errno.EIO, operation, path) from exc


def write_all(ops: FileOps, fd: int, offset: int, data: Buffer, path: StrPath) -> None:
    """Write every byte of `data` at `offset`, going on after short writes.

    data: any C-contiguous buffer. Raises StorageError; what was written until then stays.
    """
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    while len(view):
        try:
            done = ops.pwrite(fd, view, offset)
        except OSError as exc:
            raise StorageError(exc.errno or errno.EIO, "write", path) from exc
        if done <= 0:
            raise StorageError(errno.EIO, "write", path)
        view, offset = view[done:], offset + done


def sync_directory(ops: FileOps, path: StrPath) -> None:
    """Make the names created, renamed or removed in a directory durable. Raises StorageError."""
    with failing_as("sync directory", path):
        fd = ops.open(path, os.O_RDONLY | os.O_DIRECTORY, 0)
        try:
            ops.fsync(fd)
        finally:
            ops.close(fd)
