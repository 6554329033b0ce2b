"""One TCP connection: bytes to messages, and the bounds that keep a bad peer cheap."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from siprec.net.limits import Counters, NetLimits
from siprec.sip.errors import SipParseError
from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.stream import PONG, KeepAlive, StreamFault, StreamFramer


class StreamUser(Protocol):
    """Who gets what streams bring."""

    def message_received(self, message: Request | Response, flow: Flow) -> None: ...

    def fault_received(self, error: SipParseError, flow: Flow) -> None: ...

    def connection_closed(self, flow: Flow) -> None:
        """Also for one that could not be opened: then the flow has no connection."""

    def batch_done(self) -> None:
        """Everything that had come was handed over."""


class StreamOwner(StreamUser, Protocol):
    """The transport that a connection belongs to."""

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Flow | None:
        """Take a new connection in and give it its flow; None refuses it."""


class Connection(asyncio.Protocol):
    """A message must become whole in `limits.message` seconds from its first byte.

    wanted: for a connection that we open, the flow for which we do.
    """

    flow: Flow

    def __init__(
        self, owner: StreamOwner, *, limits: NetLimits, counters: Counters, wanted: Flow | None = None
    ) -> None:
        self.wanted = wanted
        self.closed = asyncio.Event()
        self._owner = owner
        self._limits = limits
        self._counters = counters
        self._framer = StreamFramer(limits.stream)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._half: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._last_heard = self._loop.time()
        self._lingering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)
        flow = self._owner.admit(self, stream)
        if flow is None:
            stream.abort()
            return
        self.flow = flow
        self._transport = stream
        self._idle = self._loop.call_later(self._limits.idle, self._check_idle)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._lingering:
            return
        self._last_heard = self._loop.time()
        items = self._framer.feed(data)
        fatal = False
        for item in items:
            fatal = self._handle(item) or fatal
        self._owner.batch_done()
        if fatal:
            self._counters["closed_by_fault", self.flow.transport] += 1
            self._linger()
        else:
            self._watch_half_message(progress=bool(items))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        for timer in (self._half, self._idle):
            if timer is not None:
                timer.cancel()
        self.closed.set()
        self._owner.connection_closed(self.flow)
        self._owner.batch_done()

    def send(self, wire: bytes) -> None:
        """Write; a peer that does not read is cut off when too much waits for it."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._lingering:
            self._counters["send_dropped", self.flow.transport] += 1
            return
        if self._transport.get_write_buffer_size() + len(wire) > self._limits.write_buffer:
            self._counters["write_overflow", self.flow.transport] += 1
            self.abort()
            return
        self._transport.write(wire)

    def close(self) -> None:
        """Close after what waits is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _handle(self, item: Request | Response | KeepAlive | StreamFault) -> bool:
        """True if the connection is to be closed."""
        match item:
            case KeepAlive():
                self._counters["keep_alives", self.flow.transport] += 1
                self.send(PONG)
            case StreamFault():
                self._owner.fault_received(item.error, self.flow)
                return item.fatal
            case _:
                self._owner.message_received(item, self.flow)
        return False

    def _linger(self) -> None:
        """Nothing more is said or understood here; the peer has a moment to read what was said."""
        if self._transport is None or self._transport.is_closing():
            return
        self._lingering = True
        if self._half is not None:
            self._half.cancel()
        self._half = self._loop.call_later(self._limits.linger, self.abort)
        self._transport.write_eof()

    def _watch_half_message(self, *, progress: bool) -> None:
        if self._half is not None and (progress or not self._framer.pending):
            self._half.cancel()
            self._half = None
        if self._half is None and self._framer.pending:
            self._half = self._loop.call_later(self._limits.message, self._give_up_half_message)

    def _give_up_half_message(self) -> None:
        self._counters["half_messages", self.flow.transport] += 1
        self.abort()

    def _check_idle(self) -> None:
        left = self._last_heard + self._limits.idle - self._loop.time()
        if left > 0:
            self._idle = self._loop.call_later(left, self._check_idle)
            return
        self._counters["idle_closed", self.flow.transport] += 1
        self.close()
