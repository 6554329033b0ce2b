"""A small HTTP listener for /metrics, /healthz and /readyz."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from siprec.config import HostPort
from siprec.daemon.connections import Connections
from siprec.daemon.metrics import CONTENT_TYPE, Metrics

MAX_HEAD_BYTES = 8_192
REQUEST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 64

_log = logging.getLogger("siprec.health")


class HealthServer:
    """Answers GET and HEAD, one request a connection, each bounded in size and time.

    ready: called for /readyz; None when the daemon takes calls, else why it does not (a drain, a full disk).
    """

    def __init__(self, metrics: Metrics, ready: Callable[[], str | None]) -> None:
        self._metrics, self._ready = metrics, ready
        self._server: asyncio.Server | None = None
        self._connections = Connections(self._serve, limit=MAX_CONNECTIONS)

    async def start(self, at: HostPort) -> HostPort:
        """Listen; returns the address in use, with the port that the kernel chose for 0. Raises OSError."""
        self._server = await asyncio.start_server(
            self._connections.accept, at.host, at.port, limit=MAX_HEAD_BYTES
        )
        return HostPort(at.host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop the open connections."""
        if self._server is not None:
            self._server.close()
        await self._connections.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            writer.write(await self._answer(reader))
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        words = head.partition(b"\r\n")[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(HTTPStatus.BAD_REQUEST)
        if words[0] not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, extra="Allow: GET, HEAD\r\n")
        return self._page(words[1].partition(b"?")[0], head_only=words[0] == b"HEAD")

    def _page(self, path: bytes, *, head_only: bool) -> bytes:
        match path:
            case b"/healthz":
                return _response(HTTPStatus.OK, b"ok\n", head_only=head_only)
            case b"/readyz":
                reason = self._ready()
                status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
                return _response(status, f"{reason or 'ready'}\n".encode(), head_only=head_only)
            case b"/metrics":
                try:
                    text = self._metrics.render()
                except Exception:  # noqa: BLE001 - a faulty reader of figures costs its scrape, not the listener
                    _log.exception("cannot collect the metrics")
                    return _response(HTTPStatus.INTERNAL_SERVER_ERROR, head_only=head_only)
                return _response(HTTPStatus.OK, text, content_type=CONTENT_TYPE, head_only=head_only)
            case _:
                return _response(HTTPStatus.NOT_FOUND, head_only=head_only)


def _response(
    status: HTTPStatus,
    body: bytes | None = None,
    *,
    content_type: str = "text/plain; charset=utf-8",
    extra: str = "",
    head_only: bool = False,
) -> bytes:
    body = f"{status.phrase}\n".encode() if body is None else body
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + (b"" if head_only else body)
