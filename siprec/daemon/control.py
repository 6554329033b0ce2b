"""The control socket: how commands reach a running daemon.

A connection carries lines of JSON, in turn a request `{"command": NAME, "args": {…}}` and its reply
`{"ok": true, "result": …}` or `{"ok": false, "error": TEXT}`. Who may connect is decided by the mode of the socket
(0660); who did is known from the kernel and handed to the command.
"""

import asyncio
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siprec.daemon.connections import Connections

MAX_REQUEST_BYTES = 65_536
MAX_CONNECTIONS = 32
IDLE_S = 60.0
PATH_BYTES = 107
"The longest path of a Unix socket, unix(7)."

_log = logging.getLogger("siprec.control")
_PEER = struct.Struct("3i")


class ControlError(Exception):
    """A command that cannot be carried out; the text is shown to whoever gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The process at the other end, as the kernel knows it (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """One command with its arguments and who gave it."""

    command: str
    args: dict[str, Any] = field(default_factory=dict)
    peer: Peer


Handler = Callable[[ControlRequest], Awaitable[object]]


class ControlServer:
    """Serves commands on a Unix socket. A handler returns what JSON can hold, or raises ControlError."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._converse, limit=MAX_CONNECTIONS)
        self._path: Path | None = None
        self._inode = 0

    async def start(self, path: Path) -> None:
        """Listen at `path`. Raises ControlError when another daemon does, or the path cannot be used."""
        listener = bind(path)
        self._path, self._inode = path, path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._connections.accept, sock=listener, limit=MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Stop listening, drop the open connections, remove the socket if it is still ours."""
        if self._server is None or self._path is None:
            return
        self._server.close()
        await self._connections.close()
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:  # longer than the limit: where the next request starts is unknown
                writer.write(_refusal(f"a request has at most {MAX_REQUEST_BYTES} bytes"))
                await writer.drain()
                return
            if not line.endswith(b"\n"):
                return
            writer.write(await self._reply(line, peer))
            await writer.drain()

    async def _reply(self, line: bytes, peer: Peer) -> bytes:
        try:
            request = _request(line, peer)
            handler = self._handlers.get(request.command)
            if handler is None:
                raise ControlError(f"unknown command; known are {', '.join(sorted(self._handlers))}")
            return _encoded({"ok": True, "result": await handler(request)})
        except ControlError as error:
            return _refusal(str(error))
        except Exception:  # noqa: BLE001 - a fault in one command does not cost the daemon
            _log.exception("a command from uid %d failed", peer.uid)
            return _refusal("internal error; see the log of the daemon")


def bind(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, mode 0660. What a dead daemon left is replaced. Raises ControlError."""
    if len(os.fsencode(path)) > PATH_BYTES:
        raise ControlError(f"control.socket: {path} is longer than {PATH_BYTES} bytes; choose a shorter path")
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o660)  # before bind: the file is never more open than this
        listener.bind(os.fspath(path))
        path.chmod(0o660)
    except OSError as error:
        listener.close()
        raise ControlError(f"control.socket: cannot listen at {path}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _clear(path: Path) -> None:
    """Remove the socket of a dead daemon; refuse that of a live one, and anything that is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ControlError(f"control.socket: cannot use {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ControlError(
            f"control.socket: {path} exists and is no socket; move it away or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise ControlError(f"control.socket: cannot use {path}: {error.strerror}") from None
        else:
            raise ControlError(f"control.socket: another daemon is running at {path}; stop it first")


def _peer(writer: asyncio.StreamWriter) -> Peer:
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, uid, gid = _PEER.unpack(raw)
    return Peer(pid=pid, uid=uid, gid=gid)


def _request(line: bytes, peer: Peer) -> ControlRequest:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError("a request is one line of JSON") from None
    command = message.get("command") if isinstance(message, dict) else None
    args = message.get("args", {}) if isinstance(message, dict) else None
    if not isinstance(command, str) or not isinstance(args, dict):
        raise ControlError('a request is {"command": NAME, "args": {…}}')
    return ControlRequest(command=command, args=args, peer=peer)


def _encoded(reply: dict[str, object]) -> bytes:
    return json.dumps(reply, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _refusal(text: str) -> bytes:
    return _encoded({"ok": False, "error": text})
