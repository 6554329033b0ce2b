"""The listener for /metrics, /healthz and /readyz, spoken to over real sockets."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import pytest
import uvloop
from prometheus_client.core import GaugeMetricFamily, Metric

from siprec.config import HostPort
from siprec.daemon import health
from siprec.daemon.health import HealthServer
from siprec.daemon.metrics import Metrics

Session = Callable[[HostPort], Awaitable[None]]


def served(session: Session, *, metrics: Metrics | None = None, ready: str | None = None) -> None:
    """Run `session` against a listener on a free port, on the loop that the daemon uses."""

    async def run() -> None:
        server = HealthServer(metrics or Metrics(), lambda: ready)
        at = await server.start(HostPort("127.0.0.1", 0))
        try:
            await session(at)
        finally:
            await server.close()

    uvloop.run(run())


async def asked(at: HostPort, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, headers and body of the reply to `request`."""
    reader, writer = await asyncio.open_connection(at.host, at.port)
    writer.write(request)
    reply = await reader.read()
    writer.close()
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_health_readiness_and_metrics_are_served() -> None:
    def read() -> Iterable[Metric]:
        yield GaugeMetricFamily("siprec_calls", "Calls now", value=3)

    metrics = Metrics()
    metrics.collect(read)

    async def session(at: HostPort) -> None:
        assert (await asked(at, get("/healthz")))[::2] == (200, b"ok\n")
        assert (await asked(at, get("/readyz?verbose")))[::2] == (200, b"ready\n")
        status, head, body = await asked(at, get("/metrics"))
        assert status == 200
        assert b"Content-Type: text/plain; version=" in head
        assert b"\nsiprec_calls 3.0\n" in body
        assert b"process_open_fds" in body

    served(session, metrics=metrics)


def test_a_daemon_that_takes_no_calls_is_alive_but_not_ready() -> None:
    async def session(at: HostPort) -> None:
        assert (await asked(at, get("/healthz")))[0] == 200
        assert (await asked(at, get("/readyz")))[::2] == (503, b"draining\n")

    served(session, ready="draining")


def test_head_has_the_length_and_no_body() -> None:
    async def session(at: HostPort) -> None:
        status, head, body = await asked(at, get("/healthz", "HEAD"))
        assert (status, body) == (200, b"")
        assert b"Content-Length: 3" in head

    served(session)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/"), 404),
        (get("/metrics/../etc"), 404),
        (get("/healthz", "POST"), 405),
        (b"GET /healthz\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /healthz SIP/2.0\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
def test_anything_else_is_refused(request_bytes: bytes, status: int) -> None:
    async def session(at: HostPort) -> None:
        assert (await asked(at, request_bytes))[0] == status

    served(session)


def test_a_request_that_never_ends_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_S", 0.05)

    async def session(at: HostPort) -> None:
        reader, writer = await asyncio.open_connection(at.host, at.port)
        writer.write(b"GET /healthz HT")
        assert await reader.read() == b""
        writer.close()

    served(session)


def test_connections_above_the_bound_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_CONNECTIONS", 1)

    async def session(at: HostPort) -> None:
        reader, writer = await asyncio.open_connection(at.host, at.port)
        beyond, beyond_writer = await asyncio.open_connection(at.host, at.port)
        with contextlib.suppress(ConnectionError):
            assert await beyond.read() == b""
        beyond_writer.close()
        writer.write(get("/healthz"))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()

    served(session)


def test_a_reader_of_figures_that_fails_costs_only_the_scrape(caplog: pytest.LogCaptureFixture) -> None:
    metrics, failing = Metrics(), list[bool]()

    def read() -> Iterable[Metric]:
        if failing:
            raise RuntimeError("no figures")
        return []

    metrics.collect(read)
    failing.append(True)

    async def session(at: HostPort) -> None:
        assert (await asked(at, get("/metrics")))[0] == 500
        assert (await asked(at, get("/healthz")))[0] == 200

    served(session, metrics=metrics)
    assert "cannot collect the metrics" in caplog.text


def test_closing_drops_an_idle_connection() -> None:
    async def run() -> None:
        server = HealthServer(Metrics(), lambda: None)
        at = await server.start(HostPort("127.0.0.1", 0))
        reader, writer = await asyncio.open_connection(at.host, at.port)
        writer.write(b"GET")
        assert (await asked(at, get("/healthz")))[0] == 200
        await server.close()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    uvloop.run(run())
