"""Running a test on either event loop, and an endpoint that answers, for the network tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import uvloop

from siprec.net.allow import AllowList
from siprec.net.endpoint import SipEndpoint
from siprec.sip.config import StackConfig
from siprec.sip.events import Event, InviteReceived, RequestReceived
from siprec.sip.stack import SipStack

both_loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(main: Coroutine[Any, Any, None], loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(bounded())


class Answering:
    """A handler that answers every request with 200, or as told, and keeps the events for whoever waits."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.status: int | None = 200
        self.endpoint: SipEndpoint

    def __call__(self, event: Event) -> None:
        self.events.put_nowait(event)
        if isinstance(event, InviteReceived | RequestReceived) and self.status is not None:
            self.endpoint.respond(event.transaction, self.status, body=b"answer")

    async def next(self, kind: type) -> Any:
        """The next event of that kind; others before it are let go."""
        while not isinstance(event := await self.events.get(), kind):
            pass
        return event


@asynccontextmanager
async def endpoint(*listen: str, allow=("127.0.0.0/8", "::1"), handler=None, config=None, **options: Any):
    """A started endpoint whose handler is `endpoint.handler`."""
    handler = handler or Answering()
    stack = SipStack(config or StackConfig(), rng=Random())
    made = SipEndpoint(listen, stack, handler, allow=AllowList(allow), **options)
    handler.endpoint = made
    await made.start()
    made.handler = handler
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def udp_peer(address, *, family=socket.AF_INET):
    """A connected UDP socket: `await send(wire)`, `await receive()`."""
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(address)

        class Peer:
            local = sock.getsockname()[:2]

            async def send(self, wire: bytes) -> None:
                await loop.sock_sendall(sock, wire)

            async def receive(self) -> bytes:
                return await loop.sock_recv(sock, 65536)

        yield Peer()
