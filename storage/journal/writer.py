"""Appends to the journal from any thread; one thread writes, and one sync serves all that wait for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siprec.storage.fileops import REAL, FileOps, StorageError, StrPath, failing_as, sync_directory, write_all
from siprec.storage.journal.reader import journal_id, segment_numbers, segment_path, segment_size
from siprec.storage.journal.record import START, Position, encode_header, encode_record, frame_text

_LOCK = "lock"


class JournalLocked(Exception):
    """Another process writes this journal."""


class JournalClosed(RuntimeError):
    """An append after `close()`."""


@dataclass(slots=True)
class _Segment:
    """The segment being written; what lies behind `size` was never acknowledged."""

    number: int
    fd: int
    path: Path
    size: int
    empty: bool = True


class JournalWriter:
    """The one writer of a journal, locked against a second one.

    directory: created (0700) if missing; its files are 0600.   segment_bytes: a segment that has reached this is
    followed by a new one.   pending_bytes: what may wait for the disk; beyond it an append fails at once.
    Raises JournalLocked, or StorageError if the directory cannot be used. A restart begins a new segment.
    """

    def __init__(
        self,
        directory: StrPath,
        *,
        segment_bytes: int = 16 << 20,
        pending_bytes: int = 64 << 20,
        ops: FileOps = REAL,
    ) -> None:
        self.directory = Path(directory)
        self._ops, self._segment_bytes, self._pending_bytes = ops, segment_bytes, pending_bytes
        self._make_directory()
        self._lock_fd = self._lock()
        last = max(segment_numbers(self.directory), default=0)
        self.id = journal_id(self.directory) or secrets.token_hex(8)
        self._durable = Position(last, segment_size(self.directory, last)) if last else START
        self._segment: _Segment | None = None
        self._waiting: list[tuple[bytes, Future[Position]]] = []
        self._waiting_bytes, self._closing = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def durable(self) -> Position:
        """The place behind the last record that is on the medium: a reader may go this far."""
        return self._durable

    def append(self, record: Mapping[str, Any]) -> Future[Position]:
        """Add a record; the future gives its position once it is on the medium.

        The future fails with StorageError if it could not be written, or if too much waits already (ENOBUFS); the
        journal goes on, and a later append may succeed. Cancelled before its turn, a record is not written.
        Raises JournalClosed, and TypeError or ValueError for a record that JSON cannot hold.
        """
        return self._append(encode_record(record))

    def append_text(self, text: bytes) -> Future[Position]:
        """`append` of a record that is JSON already, in ASCII and without a line break."""
        return self._append(frame_text(text))

    def _append(self, data: bytes) -> Future[Position]:
        future = Future[Position]()
        with self._changed:
            if self._closing:
                raise JournalClosed(f"{self.directory} is closed")
            if self._waiting_bytes + len(data) <= self._pending_bytes:
                self._waiting.append((data, future))
                self._waiting_bytes += len(data)
                self._changed.notify()
                return future
        future.set_exception(StorageError(errno.ENOBUFS, "append", self.directory))
        return future

    def checkpoint(self, position: Position) -> int:
        """Remove the segments that lie wholly before `position`, never the newest; returns how many.

        Raises StorageError; what was removed until then stays so.
        """
        below, removed = min(position.segment, self._durable.segment), 0
        for number in segment_numbers(self.directory):
            if number < below:
                path = segment_path(self.directory, number)
                with failing_as("remove", path):
                    self._ops.unlink(path)
                removed += 1
        return removed

    def close(self) -> None:
        """Write what waits, then stop and unlock. A second call does nothing."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self._segment is not None:
            self._give_up(self._segment)
        lock, self._lock_fd = self._lock_fd, -1
        if lock >= 0:
            os.close(lock)

    def _make_directory(self) -> None:
        if self.directory.is_dir():
            return
        with failing_as("create directory", self.directory), contextlib.suppress(FileExistsError):
            self._ops.mkdir(self.directory, 0o700)
        sync_directory(self._ops, self.directory.parent)

    def _lock(self) -> int:
        path = self.directory / _LOCK
        with failing_as("open", path):
            fd = self._ops.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise JournalLocked(f"{self.directory} is in use by another recorder") from exc
        return fd

    def _run(self) -> None:
        while batch := self._next_batch():
            taken = [(data, future) for data, future in batch if future.set_running_or_notify_cancel()]
            if taken:
                self._commit(taken)

    def _next_batch(self) -> list[tuple[bytes, Future[Position]]]:
        """Everything that waits; empty when closing and nothing does."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            return batch

    def _commit(self, batch: list[tuple[bytes, Future[Position]]]) -> None:
        try:
            at = self._write(b"".join(data for data, _ in batch))
        except Exception as exc:  # noqa: BLE001 - whatever it is, those who wait must hear of it, and the thread goes on
            for _, future in batch:
                future.set_exception(exc)
            return
        for data, future in batch:
            at = Position(at.segment, at.offset + len(data))
            future.set_result(at)

    def _write(self, data: bytes) -> Position:
        """Append `data` durably; returns the place where it begins."""
        if self._segment is None:
            self._segment = self._new_segment()
        segment = self._segment
        try:
            write_all(self._ops, segment.fd, segment.size, data, segment.path)
            with failing_as("sync", segment.path):
                self._ops.fdatasync(segment.fd)
        except StorageError:
            self._abandon(segment)
            raise
        start = Position(segment.number, segment.size)
        segment.size, segment.empty = segment.size + len(data), False
        self._durable = Position(segment.number, segment.size)
        if segment.size >= self._segment_bytes:
            self._give_up(segment)
        return start

    def _new_segment(self) -> _Segment:
        with failing_as("list", self.directory):
            number = max(self._durable.segment, *segment_numbers(self.directory), 0) + 1
        path, header = segment_path(self.directory, number), encode_header(number, self.id)
        with failing_as("create", path):
            fd = self._ops.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        segment = _Segment(number, fd, path, len(header))
        try:
            write_all(self._ops, fd, 0, header, path)
            with failing_as("sync", path):
                self._ops.fsync(fd)
            sync_directory(self._ops, self.directory)
        except StorageError:
            self._abandon(segment)
            raise
        return segment

    def _abandon(self, segment: _Segment) -> None:
        """After a failed write or sync nobody knows what is on the medium, so nothing more is appended there.

        What was not acknowledged is cut off, as far as that still works.
        """
        with contextlib.suppress(OSError):
            if segment.empty:
                self._ops.unlink(segment.path)
            else:
                self._ops.ftruncate(segment.fd, segment.size)
        self._give_up(segment)

    def _give_up(self, segment: _Segment) -> None:
        self._segment = None
        with contextlib.suppress(OSError):
            self._ops.close(segment.fd)
