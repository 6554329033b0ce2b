"""A SIP endpoint: listeners, one stack, one timer. It moves bytes and events and decides nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from siprec.net.allow import AllowList
from siprec.net.limits import Counters, NetLimits
from siprec.net.listen import ListenUrl, parse_listen_url
from siprec.net.tcp import TcpTransport
from siprec.net.udp import UdpListener
from siprec.sip.client_transaction import ClientTransaction
from siprec.sip.dialog import Dialog
from siprec.sip.errors import SipParseError
from siprec.sip.events import Event, InviteReceived, RequestReceived
from siprec.sip.flow import Address, Flow, is_ip_address
from siprec.sip.message import Request, Response
from siprec.sip.parser import is_keep_alive, parse_datagram
from siprec.sip.server_transaction import ServerTransaction
from siprec.sip.stack import SipStack
from siprec.sip.uac import Destination

log = logging.getLogger("siprec.net")

_DEFAULT_LIMITS = NetLimits()
_FAULT_LINES = 20
"""Log lines about malformed messages a minute; the rest is only counted."""


class SipEndpoint:
    """Runs a SipStack on sockets.

    handler: called with each event, in the loop's thread; it answers through `respond` and the other methods here, at
    once or later. If it raises, the request gets 500.   clock: monotonic seconds, the stack's time.
    """

    def __init__(
        self,
        listen: Sequence[ListenUrl | str],
        stack: SipStack,
        handler: Callable[[Event], None],
        *,
        allow: AllowList,
        limits: NetLimits = _DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stack = stack
        self.counters: Counters = Counter()
        self._urls = [parse_listen_url(url) if isinstance(url, str) else url for url in listen]
        self._handler = handler
        self._allow = allow
        self._limits = limits
        self._clock = clock
        self._udp: list[UdpListener] = []
        self._tcp = TcpTransport(self, allow=allow, limits=limits, counters=self.counters)
        self._tcp_urls: list[ListenUrl] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._pumping = False
        self._closed = False
        self._fault_lines: tuple[float, int] = (0.0, 0)

    async def start(self) -> None:
        """Bind everything. Raises OSError, whose `filename` is the listener's URL, with nothing left open."""
        for url in self._urls:
            try:
                if url.transport == "udp":
                    self._open_udp(url)
                else:
                    self._tcp_urls.append(await self._tcp.listen(url))
            except OSError as exc:
                await self.close()
                raise OSError(exc.errno, os.strerror(exc.errno or 0), str(url)) from exc

    async def close(self) -> None:
        """Close all listeners and connections and stop the timer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for listener in self._udp:
            listener.close()
        await self._tcp.close()

    @property
    def addresses(self) -> list[ListenUrl]:
        """The listeners with their real ports."""
        return [*(listener.url for listener in self._udp), *self._tcp_urls]

    @property
    def connections(self) -> int:
        """Open streams."""
        return len(self._tcp)

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> bool:
        """SipStack.respond, now."""
        answered = self.stack.respond(
            transaction, status, reason=reason, headers=headers, body=body, now=self._clock()
        )
        self.batch_done()
        return answered

    def request(
        self,
        target: Dialog | Destination,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> ClientTransaction:
        """SipStack.request, now."""
        transaction = self.stack.request(target, method, headers=headers, body=body, now=self._clock())
        self.batch_done()
        return transaction

    def acknowledge(
        self,
        transaction: ClientTransaction,
        dialog: Dialog,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """SipStack.acknowledge, now."""
        self.stack.acknowledge(transaction, dialog, headers=headers, body=body)
        self.batch_done()

    def cancel(self, transaction: ClientTransaction) -> None:
        """SipStack.cancel, now."""
        self.stack.cancel(transaction, now=self._clock())
        self.batch_done()

    def forget(self, dialog: Dialog) -> None:
        """SipStack.forget, now."""
        self.stack.forget(dialog)
        self.batch_done()

    def flow_to(self, transport: str, remote: Address) -> Flow:
        """A flow to a peer that we call, from the listener that suits. `remote` is an address, not a name.

        Raises ValueError for a name, OSError without a route to it.
        """
        if not is_ip_address(remote[0]):
            raise ValueError(f"{remote[0]} is no IP address")
        version = 6 if ":" in remote[0] else 4
        suitable = [url for url in self.addresses if url.transport == transport and url.version == version]
        bound = next((url for url in suitable if not url.wildcard), None)
        host = bound.host if bound is not None else _address_towards(remote)
        port = (bound or suitable[0]).port if suitable else 0
        return Flow(transport=transport, local=(host, port), remote=remote)

    def message_received(self, message: Request | Response, flow: Flow) -> None:
        """A stream brought a message (StreamUser)."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug("< %s %s", flow.remote, _summary(message))
        self.stack.receive(message, flow, now=self._clock())

    def fault_received(self, error: SipParseError, flow: Flow) -> None:
        """A stream brought something malformed (StreamUser)."""
        self._log_fault(error, flow)
        self.stack.receive_error(error, flow, now=self._clock())

    def connection_closed(self, flow: Flow) -> None:
        """A stream closed or did not open (StreamUser)."""
        self.stack.connection_closed(flow, now=self._clock())

    def batch_done(self) -> None:
        """Run events, send, arm the timer. Within a handler it does nothing: the running round sees to it."""
        if self._pumping or self._closed:
            return
        self._pumping = True
        try:
            while self._run_events() or self._send_all():
                pass
        finally:
            self._pumping = False
        self._arm_timer()

    def _open_udp(self, url: ListenUrl) -> None:
        listener = UdpListener(
            url,
            allow=self._allow,
            limits=self._limits,
            counters=self.counters,
            receive=self._datagram_received,
            batch_done=self.batch_done,
        )
        listener.open()
        self._udp.append(listener)

    def _datagram_received(self, data: bytes, flow: Flow) -> None:
        if is_keep_alive(data):
            self.counters["keep_alives", "udp"] += 1
            return
        try:
            message = parse_datagram(data, self._limits.datagram)
        except SipParseError as error:
            self.fault_received(error, flow)
        else:
            self.message_received(message, flow)

    def _run_events(self) -> bool:
        events = self.stack.events()
        for event in events:
            try:
                self._handler(event)
            except Exception:
                log.exception("handling %s failed", type(event).__name__)
                if isinstance(event, InviteReceived | RequestReceived):
                    self.stack.respond(event.transaction, 500, now=self._clock())
        return bool(events)

    def _send_all(self) -> bool:
        """Send what waits; True if something may have come of it."""
        messages = self.stack.to_send()
        for flow, wire in messages:
            if not self._send(flow, wire):
                self.stack.connection_closed(flow, now=self._clock())
        return bool(messages)

    def _send(self, flow: Flow, wire: bytes) -> bool:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("> %s %s", flow.remote, wire[: wire.find(b"\r\n")])
        if flow.transport == "tcp":
            return self._tcp.send(flow, wire)
        listener = self._listener_for(flow)
        return listener is not None and listener.send(flow, wire)

    def _listener_for(self, flow: Flow) -> UdpListener | None:
        if flow.transport != "udp" or not is_ip_address(flow.remote[0]):
            return None
        host, port = flow.local
        version = 6 if ":" in host else 4
        same_port = [
            listener for listener in self._udp if (listener.url.port, listener.url.version) == (port, version)
        ]
        exact = (listener for listener in same_port if listener.url.host == host)
        return next(exact, None) or next((one for one in same_port if one.url.wildcard), None)

    def _arm_timer(self) -> None:
        due = self.stack.next_timer()
        if due == self._due and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = due
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.stack.handle_timer(now=self._clock())
        self.batch_done()

    def _log_fault(self, error: SipParseError, flow: Flow) -> None:
        now = self._clock()
        began, lines = self._fault_lines
        if now - began > 60:
            began, lines = now, 0
        self._fault_lines = (began, lines + 1)
        if lines < _FAULT_LINES:
            log.warning("malformed message over %s from %s: %s", flow.transport, flow.remote[0], error)


def _summary(message: Request | Response) -> str:
    if isinstance(message, Request):
        return f"{message.method} {message.call_id}"
    return f"{message.status} to {message.cseq.method} {message.call_id}"


def _address_towards(remote: Address) -> str:
    """The local address from which the kernel would send to `remote`; nothing is sent."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((remote[0], remote[1] or 9))
        return str(probe.getsockname()[0])
