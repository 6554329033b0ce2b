"""Real files beneath system calls that fail on demand."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from siprec.storage.fileops import FileOps


@dataclass
class Fault:
    """Fail the calls number `first` to `last` (from 1) of `call`; a failing pwrite first writes `partial` bytes."""

    call: str
    number: int
    first: int = 1
    last: int = 1
    partial: int = 0
    seen: int = field(default=0, init=False)

    def hits(self) -> bool:
        self.seen += 1
        return self.first <= self.seen <= self.last


class FailingOps(FileOps):
    """The real system calls, but for what `faults` says; `short` bounds what one pwrite takes."""

    def __init__(self, *faults: Fault, short: int | None = None) -> None:
        self.faults, self.short = list(faults), short
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda call: None

    def _check(self, call: str) -> Fault | None:
        self.calls.append(call)
        self.before(call)
        return next((fault for fault in self.faults if fault.call == call and fault.hits()), None)

    def _raise(self, call: str) -> None:
        if fault := self._check(call):
            raise OSError(fault.number, os.strerror(fault.number))

    def open(self, path, flags, mode):
        self._raise("open")
        return super().open(path, flags, mode)

    def pwrite(self, fd, data, offset):
        if fault := self._check("pwrite"):
            if fault.partial:
                os.pwrite(fd, memoryview(data)[: fault.partial], offset)
            raise OSError(fault.number, os.strerror(fault.number))
        return super().pwrite(fd, data if self.short is None else memoryview(data)[: self.short], offset)

    def ftruncate(self, fd, length):
        self._raise("ftruncate")
        super().ftruncate(fd, length)

    def fsync(self, fd):
        self._raise("fsync")
        super().fsync(fd)

    def fdatasync(self, fd):
        self._raise("fdatasync")
        super().fdatasync(fd)

    def close(self, fd):
        super().close(fd)
        self._raise("close")

    def replace(self, source, target):
        self._raise("replace")
        super().replace(source, target)

    def unlink(self, path):
        self._raise("unlink")
        super().unlink(path)

    def mkdir(self, path, mode):
        self._raise("mkdir")
        super().mkdir(path, mode)


@pytest.fixture(scope="session")
def failing() -> Callable[..., FailingOps]:
    """`failing(("pwrite", ENOSPC, first, last, partial), ..., short=n)` makes system calls that fail."""
    return lambda *faults, short=None: FailingOps(*(Fault(*fault) for fault in faults), short=short)


@pytest.fixture(autouse=True)
def _no_descriptor_left():
    """Nothing that a test opened stays open."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    left = [fd for fd in set(os.listdir("/proc/self/fd")) - before if _target(fd).startswith("/")]
    assert not [_target(fd) for fd in left if "/.hypothesis/" not in _target(fd)]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
