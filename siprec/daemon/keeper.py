"""What must reach the disk beside the audio: `recording.json`, the journal, the metadata documents as received.

Everything runs in a few threads; of one recording, one write at a time, in order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from siprec.storage import model
from siprec.storage.document import write_plain
from siprec.storage.fileops import StorageError, failing_as
from siprec.storage.journal.record import Position
from siprec.storage.journal.writer import JournalWriter
from siprec.storage.layout import raw_metadata

T = TypeVar("T")

ADMISSION_THREADS, WRITING_THREADS = 2, 2
"Calls that wait for their answer do not wait behind documents of others."


Plain = dict[str, Any]
"A document as `Recording.to_document` gives it."


def journal_record(reason: str, document: Plain) -> dict[str, object]:
    """A recording's document as the journal holds it."""
    return {"v": 1, "type": "recording", "reason": reason, "document": document}


class Keeper:
    """Writes documents. on_error is told what could not be written."""

    def __init__(self, journal: JournalWriter, on_error: Callable[[str, StorageError], None]) -> None:
        """on_error: called in the event loop with the recording's id and the fault."""
        self.journal = journal
        self._on_error = on_error
        self._threads = ThreadPoolExecutor(ADMISSION_THREADS, thread_name_prefix="admission")
        self._writers = ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="documents")
        self._tails: dict[str, asyncio.Task[None]] = {}

    async def run(self, work: Callable[[], T]) -> T:
        """Do something with the disk in a thread, for somebody who waits."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def append(self, record: dict[str, object]) -> Future[Position]:
        """Journal a record; the future is done once it is on the medium."""
        return self.journal.append(record)

    def begin(self, folder: Path, plain: Plain, metadata: bytes | None) -> None:
        """Write the first document, which is in the journal already, and the metadata that came with the INVITE."""
        self._queue(plain["id"], lambda: _write_both(folder, plain, 1, metadata))

    def save(
        self, folder: Path, document: model.Recording, *, metadata: tuple[int, bytes] | None = None
    ) -> None:
        """Journal a document and write it into the recording's folder, after what was saved before it.

        The journal makes it durable; the copy beside the audio is made so too once the recording is over.
        metadata: number and bytes of a metadata document that came with the change.
        """
        plain = self._journal("changed", document)
        number, data = metadata or (0, None)
        self._queue(document.id, lambda: _write_both(folder, plain, number, data))

    def finish(self, folder: Path, document: model.Recording, audio_fd: int, audio: Path) -> None:
        """Make the audio file durable and close it, then write the last document."""
        plain = self._journal(document.state, document)
        self._queue(document.id, lambda: _finish(folder, plain, audio_fd, audio))

    def _journal(self, reason: str, document: model.Recording) -> Plain:
        plain = document.to_document()
        self.journal.append(journal_record(reason, plain)).add_done_callback(_forget)
        return plain

    async def settled(self, recording: str) -> None:
        """Wait until everything saved so far of a recording is written."""
        if (task := self._tails.get(recording)) is not None:
            await asyncio.shield(task)

    async def close(self) -> None:
        """Finish everything, and the threads."""
        while self._tails:
            await asyncio.gather(*self._tails.values())
        self._threads.shutdown()
        self._writers.shutdown()

    def _queue(self, recording: str, work: Callable[[], object]) -> None:
        task = asyncio.create_task(self._after(recording, self._tails.get(recording), work))
        self._tails[recording] = task
        task.add_done_callback(lambda done: self._done(recording, done))

    async def _after(
        self, recording: str, before: asyncio.Task[None] | None, work: Callable[[], object]
    ) -> None:
        if before is not None:
            await before
        try:
            await asyncio.get_running_loop().run_in_executor(self._writers, work)
        except StorageError as exc:
            self._on_error(recording, exc)

    def _done(self, recording: str, task: asyncio.Task[None]) -> None:
        if self._tails.get(recording) is task:
            del self._tails[recording]


def _forget(future: Future[Position]) -> None:
    """The document on disk has the same; the journal reports its own faults at the next admission."""
    future.exception()


def _write_both(folder: Path, plain: Plain, number: int, metadata: bytes | None) -> None:
    """A document of a running recording, and a metadata document as it was received."""
    if metadata is not None:
        _write_new(folder / raw_metadata(number), metadata)
    write_plain(folder, plain, sync=False)


def _finish(folder: Path, plain: Plain, audio_fd: int, audio: Path) -> None:
    try:
        _sync_and_close(audio_fd, audio)
    finally:
        write_plain(folder, plain)


def _write_new(path: Path, data: bytes) -> None:
    with failing_as("create", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(fd, "wb") as file:
            file.write(data)


def _sync_and_close(fd: int, path: Path) -> None:
    try:
        with failing_as("sync", path):
            os.fdatasync(fd)
    finally:
        os.close(fd)
