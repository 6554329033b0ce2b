"""What must reach the disk beside the audio: folders and files of new recordings, `recording.json`, the journal, the
metadata documents as received. Orders to the keeper process (`siprec.daemon.keeper_main`), and what became of them.

Of one recording, one thing is done at a time and in order. If the process dies, another one is given what was not yet
done; only admissions fail, because somebody waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siprec.daemon.keeper_protocol import Order, Reply, receive_reply
from siprec.storage import model
from siprec.storage.document import encode_document
from siprec.storage.fileops import StorageError
from siprec.storage.journal.record import START, Position
from siprec.storage.journal.writer import JournalLocked
from siprec.storage.wav import SampleFormat

_PENDING_BYTES = 64 << 20
"Orders that the process has not taken yet; beyond them no call is admitted."
_START_S = 15.0
_LOOK = "look"
"In the place of a recording's id."
_SILENT_S = 3.0
"It is asked every second; a disk that has not answered for so long takes no call."
_RESTART_S = 0.5
_CLOSE_S = 15.0


@dataclass(slots=True, kw_only=True)
class _Pending:
    """An order that has not been replied to."""

    order: Order
    admission: asyncio.Future[int] | None = None
    "Somebody waits for the audio file."


class Keeper:
    """The main process's side. on_error is told what could not be written, with the recording's id."""

    def __init__(self, journal: Path, on_error: Callable[[str, StorageError], None]) -> None:
        """journal: its folder."""
        self._directory, self._on_error = journal, on_error
        self.journal_id = ""
        self.durable = START
        "How far the journal may be read."
        self.deaths = 0
        self._free, self._seen = 0, 0.0
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._unsettled: Counter[str] = Counter()
        "Orders under way, by recording."
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        "Who waits until a recording is settled."
        self._process: asyncio.subprocess.Process | None = None
        self._orders: asyncio.WriteTransport | None = None
        self._replies: socket.socket | None = None
        self._hello: asyncio.Future[Reply] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def running(self) -> bool:
        """Whether there is a process that takes orders."""
        return self._orders is not None and not self._orders.is_closing()

    def free_bytes(self) -> int:
        """Bytes left on the disk of the recordings, as of the last reply. Raises StorageError if that is too old."""
        if time.monotonic() - self._seen > _SILENT_S:
            raise StorageError(errno.ETIMEDOUT, "ask for free space", self._directory.parent)
        return self._free

    # -- life --

    async def start(self) -> None:
        """Start the process. Raises StorageError, JournalLocked."""
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Finish everything, and end the process."""
        self._closing = True
        if self._orders is not None:
            self._orders.close()
        if self._watcher is not None:
            try:
                await asyncio.wait_for(asyncio.shield(self._watcher), _CLOSE_S)
            except TimeoutError:
                self._watcher.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._hang_up()

    async def _spawn(self) -> None:
        loop = asyncio.get_running_loop()
        orders, their_orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        replies, their_replies = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [their_orders.fileno(), their_replies.fileno()]
        arguments = {"journal": str(self._directory), "orders": passed[0], "replies": passed[1]}
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "siprec.daemon.keeper_main",
                json.dumps(arguments),
                pass_fds=passed,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the main process alone
            )
        finally:
            their_orders.close()
            their_replies.close()
        replies.setblocking(False)
        self._replies, self._hello = replies, loop.create_future()
        loop.add_reader(replies, self._readable)
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=orders)
        try:
            self._welcome(await asyncio.wait_for(self._hello, _START_S))
        except BaseException:
            transport.abort()
            raise
        self._orders = transport  # from here on orders go to this process

    def _welcome(self, hello: Reply) -> None:
        if hello.locked:
            raise JournalLocked(f"{self._directory} is in use by another recorder")
        if hello.error is not None:
            raise hello.error
        self.journal_id, self.durable = hello.journal, hello.durable
        self._free, self._seen = hello.free, time.monotonic()

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            self._hang_up()
            if self._closing:
                return
            self.deaths += 1
            self._on_error("", StorageError(errno.EIO, "keep (its process ended, another takes over)", ""))
            self._fail_admissions()
            await self._respawn()
            for pending in list(self._pending.values()):
                self._write(pending.order)

    async def _respawn(self) -> None:
        while not self._closing:
            try:
                await self._spawn()
                return
            except (OSError, JournalLocked, TimeoutError) as exc:
                self._on_error("", StorageError(errno.EIO, f"start the keeper ({exc})", self._directory))
                self._hang_up()
                await asyncio.sleep(_RESTART_S)

    def _hang_up(self) -> None:
        if self._orders is not None:
            self._orders.abort()
            self._orders = None
        if self._replies is not None:
            self._readable()  # what it said last still counts
            asyncio.get_running_loop().remove_reader(self._replies)
            self._replies.close()
            self._replies = None
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(StorageError(errno.EIO, "start the keeper", self._directory))

    def _fail_admissions(self) -> None:
        for number, pending in list(self._pending.items()):
            if pending.admission is not None:
                error = StorageError(errno.EIO, "create (the keeper process ended)", pending.order.folder)
                self._resolve(number, error, None)

    # -- orders --

    async def admit(
        self,
        recording: str,
        folder: Path,
        document: bytes,
        metadata: bytes | None,
        *,
        channels: int,
        rate: int,
        format: SampleFormat,
        needed: int,
    ) -> int:
        """Create folder and audio file and journal the document; returns the open file once all is on the medium.

        needed: bytes that must be free. The document and the metadata that came with the INVITE follow into the folder. Raises StorageError. Whoever
        gives up waiting (cancellation) finds the file closed and the folder to be discarded.
        """
        if self._orders is None or self._orders.get_write_buffer_size() > _PENDING_BYTES:
            raise StorageError(errno.EAGAIN, "create", folder)
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        order = Order(
            number=next(self._numbers),
            what="admit",
            recording=recording,
            folder=str(folder),
            reason="admitted",
            args={
                "channels": channels,
                "rate": rate,
                "format": format.value,
                "metadata": 1,
                "needed": needed,
            },
            document=document,
            metadata=metadata or b"",
        )
        self._send(_Pending(order=order, admission=waiting))
        return await waiting

    def discard(self, recording: str, folder: Path, document: bytes) -> None:
        """An admitted recording never began: say so in the journal and remove its folder."""
        self._order("discard", recording, folder, reason="failed", document=document)

    def save(
        self, folder: Path, document: model.Recording, *, metadata: tuple[int, bytes] | None = None
    ) -> None:
        """Journal a document and write it into the recording's folder, after what was saved before it.

        The journal makes it durable; the copy beside the audio is made so too once the recording is over.
        metadata: number and bytes of a metadata document that came with the change.
        """
        number, data = metadata or (0, b"")
        self._order(
            "save",
            document.id,
            folder,
            reason="changed",
            document=encode_document(document.to_document()),
            metadata=data,
            args={"metadata": number},
        )

    def finish(self, folder: Path, document: model.Recording) -> None:
        """Make the audio file durable, then write the last document."""
        plain = encode_document(document.to_document())
        self._order("finish", document.id, folder, reason=document.state, document=plain)

    def append(self, document: model.Recording) -> None:
        """Journal the document of a recording that has no folder."""
        plain = encode_document(document.to_document())
        self._order("append", document.id, Path(), reason=document.state, document=plain)

    def look(self) -> None:
        """Have `free_bytes` brought up to date."""
        if _LOOK not in self._unsettled:  # the last one has been answered
            self._order("look", _LOOK, Path())

    async def looked(self) -> None:
        """Have `free_bytes` brought up to date, and wait for it a while: a disk that hangs is told by the watch."""
        self.look()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled(_LOOK), _SILENT_S)

    def checkpoint(self, position: Position) -> None:
        """Remove the journal's segments that lie wholly before `position`."""
        self._order("checkpoint", "", Path(), args={"position": list(position)})

    async def settled(self, recording: str) -> None:
        """Wait until everything ordered so far for a recording is done."""
        if recording in self._unsettled:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(recording, []).append(waiter)
            await waiter

    def _order(
        self,
        what: str,
        recording: str,
        folder: Path,
        *,
        reason: str = "",
        document: bytes = b"",
        metadata: bytes = b"",
        args: dict[str, Any] | None = None,
    ) -> None:
        order = Order(
            number=next(self._numbers),
            what=what,
            recording=recording,
            folder=str(folder),
            reason=reason,
            args=args or {},
            document=document,
            metadata=metadata,
        )
        self._send(_Pending(order=order))

    def _send(self, pending: _Pending) -> None:
        self._pending[pending.order.number] = pending
        self._unsettled[pending.order.recording] += 1
        self._write(pending.order)

    def _write(self, order: Order) -> None:
        if self._orders is not None and self.running:
            self._orders.write(order.encode())

    # -- replies --

    def _readable(self) -> None:
        while self._replies is not None:
            try:
                received = receive_reply(self._replies)
            except (BlockingIOError, ConnectionError):
                return
            if received is None:
                asyncio.get_running_loop().remove_reader(self._replies)
                return
            self._take(*received)

    def _take(self, reply: Reply, fd: int | None) -> None:
        if reply.number == 0:
            if self._hello is not None and not self._hello.done():
                self._hello.set_result(reply)
            return
        self.durable = max(self.durable, reply.durable)
        self._free, self._seen = reply.free, time.monotonic()
        self._resolve(reply.number, reply.error, fd)

    def _resolve(self, number: int, error: StorageError | None, fd: int | None) -> None:
        pending = self._pending.pop(number, None)
        waiting = pending.admission if pending is not None else None
        if waiting is not None and not waiting.done():
            if error is not None:
                waiting.set_exception(error)
            elif fd is not None:
                waiting.set_result(fd)
                fd = None
        elif error is not None:
            self._on_error(pending.order.recording if pending is not None else "", error)
        if fd is not None:  # nobody waits for it any more
            with contextlib.suppress(OSError):
                os.close(fd)
        if pending is not None:
            self._settle(pending.order.recording)

    def _settle(self, recording: str) -> None:
        self._unsettled[recording] -= 1
        if not self._unsettled[recording]:
            del self._unsettled[recording]
            for waiter in self._waiters.pop(recording, ()):
                if not waiter.done():
                    waiter.set_result(None)
