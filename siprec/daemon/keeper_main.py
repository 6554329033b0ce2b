"""The keeper process: `python -m siprec.daemon.keeper_main ARGUMENTS`, started by `siprec.daemon.keeper`.

It does what waits for the disk and is not audio, so that neither signalling nor the media workers ever share an
interpreter with it: folders and files of new recordings, the journal, documents. Of one recording, one thing at a time
and in order. At the end of its orders it finishes what it has and ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from siprec.daemon.keeper_protocol import RESERVE, Order, OrderReader, Reply, send_reply
from siprec.storage.audio_file import open_recording_file
from siprec.storage.document import write_text
from siprec.storage.fileops import StorageError, failing_as
from siprec.storage.journal.record import START, Position
from siprec.storage.journal.writer import JournalLocked, JournalWriter
from siprec.storage.layout import AUDIO, create_folder, raw_metadata
from siprec.storage.space import free_bytes
from siprec.storage.wav import SampleFormat

ADMISSION_THREADS, DOCUMENT_THREADS = 2, 4
"Calls that wait for their answer do not wait behind documents of others."
_LOCK_S = 2.0
"How long the keeper of a recorder that was killed may take to let go of the journal."
_READ = 1 << 18


class KeeperProcess:
    """Carries out orders; replies go out as they are done."""

    def __init__(self, journal: JournalWriter, replies: socket.socket) -> None:
        self._journal, self._replies = journal, replies
        self._admissions = _Lanes(ADMISSION_THREADS, "admission")
        self._documents = _Lanes(DOCUMENT_THREADS, "documents")
        self._lock = threading.Lock()

    def carry_out(self, order: Order) -> None:
        """Begin what an order says."""
        journaled = self._append(order) if order.reason else None
        if order.what == "admit":
            self._admissions.put(order.recording, lambda: self._admit(order, journaled))
        elif order.what == "discard":
            # behind a creation that is still under way, and behind the documents that follow it
            self._admissions.put(
                order.recording, lambda: self._documents.put(order.recording, lambda: self._discard(order))
            )
        elif order.what == "look":
            self._admissions.put(order.recording, lambda: self._reply(order, None))
        else:
            work = {"save": self._save, "finish": self._finish, "checkpoint": self._checkpoint}.get(
                order.what
            )
            self._documents.put(order.recording, lambda: self._done(order, work, journaled))

    def close(self) -> None:
        """Finish everything."""
        self._admissions.close()
        self._documents.close()
        self._journal.close()

    def _append(self, order: Order) -> Future[Position]:
        head = json.dumps({"v": 1, "type": "recording", "reason": order.reason})[:-1].encode()
        return self._journal.append_text(head + b', "document": ' + order.document + b"}")

    def _admit(self, order: Order, journaled: Future[Position] | None) -> None:
        folder, args = Path(order.folder), order.args
        try:
            self._check_room(args["needed"])
            create_folder(folder, sync=False)
            fd = _new_file(folder, args)
        except StorageError as exc:
            self._reply(order, exc)
            return
        try:
            error = _outcome(journaled)
            self._reply(order, error, fd)
        finally:
            os.close(fd)
        if error is None:
            self._documents.put(order.recording, lambda: self._done(order, self._save, None, quiet=True))
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def _done(
        self,
        order: Order,
        work: Callable[[Order], None] | None,
        journaled: Future[Position] | None,
        *,
        quiet: bool = False,
    ) -> None:
        """Do the work and reply. quiet: the order was replied to already; only a fault is told."""
        error = None
        try:
            if work is not None:
                work(order)
        except OSError as exc:
            error = _as_storage_error(exc, order)
        error = error or _outcome(journaled)
        if not quiet or error is not None:
            self._reply(order, error)

    @staticmethod
    def _save(order: Order) -> None:
        """A document of a running recording, and a metadata document as it was received."""
        folder = Path(order.folder)
        if order.metadata:
            _write_raw(folder / raw_metadata(order.args["metadata"]), order.metadata)
        if order.document and order.folder:
            write_text(folder, order.document, sync=False)

    @staticmethod
    def _finish(order: Order) -> None:
        """The audio durable first, then the last document."""
        folder = Path(order.folder)
        try:
            _sync(folder / AUDIO)
        finally:
            write_text(folder, order.document)

    def _checkpoint(self, order: Order) -> None:
        self._journal.checkpoint(Position(*order.args["position"]))

    def _discard(self, order: Order) -> None:
        shutil.rmtree(order.folder, ignore_errors=True)
        self._reply(order, None)

    def _free(self) -> int:
        """Bytes left; none on a disk that cannot say, for whoever waits must be replied to all the same."""
        try:
            return free_bytes(self._journal.directory)
        except StorageError:
            return 0

    def _check_room(self, needed: int) -> None:
        if free_bytes(self._journal.directory) < needed:
            raise StorageError(errno.ENOSPC, RESERVE, self._journal.directory.parent)

    def _reply(self, order: Order, error: StorageError | None, fd: int | None = None) -> None:
        reply = Reply(
            number=order.number,
            durable=self._journal.durable,
            free=self._free(),
            error=error,
        )
        with self._lock, contextlib.suppress(OSError):  # nobody is left to tell
            send_reply(self._replies, reply, fd if error is None else None)


class _Lanes:
    """A few threads. What belongs to one recording is done by one of them, in order."""

    def __init__(self, count: int, name: str) -> None:
        self._lanes = [ThreadPoolExecutor(1, thread_name_prefix=f"{name}-{i}") for i in range(count)]

    def put(self, recording: str, work: Callable[[], None]) -> None:
        """Do something about a recording, after what was put before."""
        lane = zlib.crc32(recording.encode()) % len(self._lanes)
        self._lanes[lane].submit(work).add_done_callback(_complain)

    def close(self) -> None:
        """Finish what was put."""
        for lane in self._lanes:
            lane.shutdown()


def _complain(done: Future[None]) -> None:
    if (exc := done.exception()) is not None:
        print(f"keeper: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)


def _new_file(folder: Path, args: dict[str, int]) -> int:
    try:
        return open_recording_file(
            folder / AUDIO,
            channels=args["channels"],
            rate=args["rate"],
            format=SampleFormat(args["format"]),
        )
    except StorageError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _outcome(journaled: Future[Position] | None) -> StorageError | None:
    """Wait for the journal; None when the record is on the medium."""
    if journaled is None:
        return None
    try:
        journaled.result()
    except StorageError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
        return StorageError(errno.EIO, f"journal ({exc})", "journal")
    return None


def _as_storage_error(exc: OSError, order: Order) -> StorageError:
    if isinstance(exc, StorageError):
        return exc
    return StorageError(exc.errno or errno.EIO, order.what, exc.filename or order.folder)


def _write_raw(path: Path, data: bytes) -> None:
    """The name is ours and the folder too: whatever is there is an earlier attempt."""
    with failing_as("create", path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(fd, "wb") as file:
            file.write(data)


def _sync(path: Path) -> None:
    with failing_as("sync", path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)


def main(argv: list[str]) -> int:
    """Carry out orders until their end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the main process decides when to end
    with contextlib.suppress(OSError):  # work that it is given does not take the processor from who gave it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    arguments = json.loads(argv[1])
    orders = socket.socket(fileno=arguments["orders"])
    replies = socket.socket(fileno=arguments["replies"])
    try:
        journal = _open_journal(Path(arguments["journal"]))
    except (JournalLocked, StorageError) as exc:
        locked = isinstance(exc, JournalLocked)
        error = exc if isinstance(exc, StorageError) else None
        send_reply(replies, Reply(number=0, durable=START, free=0, error=error, locked=locked))
        return 1
    free = free_bytes(journal.directory)
    send_reply(replies, Reply(number=0, durable=journal.durable, free=free, journal=journal.id))
    keeper, reader = KeeperProcess(journal, replies), OrderReader()
    while data := orders.recv(_READ):
        for order in reader.feed(data):
            keeper.carry_out(order)
    keeper.close()
    return 0


def _open_journal(directory: Path) -> JournalWriter:
    give_up = time.monotonic() + _LOCK_S
    while True:
        try:
            return JournalWriter(directory)
        except JournalLocked:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
