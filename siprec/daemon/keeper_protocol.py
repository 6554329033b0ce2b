"""What the main process and the keeper process say to each other.

Orders go over a stream: a frame is a prefix with three lengths, the head as JSON, the recording's document and a metadata
document as bytes. Replies come back over a SOCK_SEQPACKET pair, one JSON object a packet, a descriptor beside it where a
file was created.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from siprec.storage.fileops import StorageError
from siprec.storage.journal.record import Position

RESERVE = "reserve space"
"The operation that failed when there is too little room for an admission."
_PREFIX = struct.Struct("!III")
_REPLY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something to do with the disk.

    what: `admit` (folder, audio file, journal, then document and metadata), `save` (journal, document, metadata), `finish`
    (audio made durable, journal, document), `append` (journal only), `discard` (remove the folder), `checkpoint` (remove
    journal segments), `look` (nothing but the reply).
    """

    number: int
    what: str
    recording: str = ""
    folder: str = ""
    reason: str = ""
    "Of the journal record; empty: the document is not journaled."
    args: dict[str, Any]
    document: bytes = b""
    metadata: bytes = b""

    def encode(self) -> bytes:
        """The order as a frame."""
        head = json.dumps(
            [self.number, self.what, self.recording, self.folder, self.reason, self.args],
            separators=(",", ":"),
        ).encode()
        prefix = _PREFIX.pack(len(head), len(self.document), len(self.metadata))
        return b"".join((prefix, head, self.document, self.metadata))


class OrderReader:
    """Cuts a stream into orders."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Order]:
        """The orders that are whole now."""
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _PREFIX.size:
            sizes = _PREFIX.unpack_from(self._buffer, at)
            if len(self._buffer) - at < _PREFIX.size + sum(sizes):
                break
            at += _PREFIX.size
            parts = []
            for size in sizes:
                parts.append(bytes(self._buffer[at : at + size]))
                at += size
            number, what, recording, folder, reason, args = json.loads(parts[0])
            yield Order(
                number=number,
                what=what,
                recording=recording,
                folder=folder,
                reason=reason,
                args=args,
                document=parts[1],
                metadata=parts[2],
            )
        del self._buffer[:at]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of an order. durable: how far the journal may be read now; free: bytes left on the disk."""

    number: int
    durable: Position
    free: int
    error: StorageError | None = None
    journal: str = ""
    "The journal's id, in the first reply."
    locked: bool = False
    "The journal belongs to another recorder."


def send_reply(sock: socket.socket, reply: Reply, fd: int | None = None) -> None:
    """Send a reply, with the descriptor of a new file if there is one. Raises OSError when nobody listens."""
    error = reply.error
    plain = [
        reply.number,
        reply.durable,
        reply.free,
        [error.errno, error.operation, error.filename] if error is not None else None,
        reply.journal,
        reply.locked,
    ]
    socket.send_fds(sock, [json.dumps(plain).encode()], [fd] if fd is not None else [])


def receive_reply(sock: socket.socket) -> tuple[Reply, int | None] | None:
    """One reply and the descriptor that came with it; None at the end. Raises BlockingIOError when there is none."""
    room = socket.CMSG_SPACE(4)
    # not recv_fds: it leaves the flags out, and the descriptor would be inherited
    data, ancillary, _, _ = sock.recvmsg(_REPLY_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    fd = next(
        (
            int.from_bytes(content[:4], "little")
            for level, kind, content in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        ),
        None,
    )
    number, durable, free, error, journal, locked = json.loads(data)
    reply = Reply(
        number=number,
        durable=Position(*durable),
        free=free,
        error=StorageError(*error) if error is not None else None,
        journal=journal,
        locked=locked,
    )
    return reply, fd
