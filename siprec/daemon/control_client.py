"""The commands' end of the control socket: synchronous, one request after the other."""

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_REPLY_BYTES = 16_777_216


class DaemonAwayError(Exception):
    """No daemon answers at the control socket; the text says what to do."""


class CommandRefusedError(Exception):
    """The daemon refused a command; the text is the daemon's."""


class ControlClient:
    """A connection to a running daemon, used as a context manager."""

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        """Connect. Raises DaemonAwayError."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise _away(path, error) from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def call(self, command: str, **args: object) -> object:
        """Give a command; returns its result. Raises CommandRefusedError, DaemonAwayError."""
        request = json.dumps({"command": command, "args": args}).encode() + b"\n"
        try:
            self._socket.sendall(request)
            line = self._lines.readline(MAX_REPLY_BYTES)
        except OSError as error:
            raise _away(self._path, error) from None
        if not line.endswith(b"\n"):
            raise _away(self._path, ConnectionResetError())
        reply = json.loads(line)
        if not reply["ok"]:
            raise CommandRefusedError(reply["error"])
        result: object = reply["result"]
        return result


def _away(path: Path, error: OSError) -> DaemonAwayError:
    if isinstance(error, PermissionError):
        return DaemonAwayError(f"not allowed to use {path}; join the group of that socket, or use sudo")
    if isinstance(error, TimeoutError):
        return DaemonAwayError(f"the daemon at {path} does not answer; see its log")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return DaemonAwayError(f"the daemon at {path} closed the connection; see its log")
    return DaemonAwayError(f"no daemon is running at {path}; start it with `siprec serve`")
