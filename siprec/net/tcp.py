"""SIP over TCP: listeners, and connections that we open."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
from dataclasses import replace

from siprec.net.allow import AllowList
from siprec.net.connection import Connection, StreamUser
from siprec.net.limits import Counters, NetLimits
from siprec.net.listen import ListenUrl
from siprec.sip.flow import Address, Flow, is_ip_address

_CLOSING_TIME = 1.0
"""Seconds for a last message to get out when the transport closes."""


class TcpTransport:
    """All streams of one kind. A message for a flow without connection goes over one that we open to its remote."""

    def __init__(
        self, user: StreamUser, *, allow: AllowList, limits: NetLimits, counters: Counters, name: str = "tcp"
    ) -> None:
        self.message_received = user.message_received
        self.fault_received = user.fault_received
        self.batch_done = user.batch_done
        self._user = user
        self._allow = allow
        self._limits = limits
        self._counters = counters
        self._name = name
        self._ids = itertools.count(1)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[int, Connection] = {}
        self._outgoing: dict[Address, int] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._connections)

    async def listen(self, url: ListenUrl) -> ListenUrl:
        """Listen; returns the URL with the real port. Raises OSError."""
        family = socket.AF_INET if url.version == 4 else socket.AF_INET6
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connection, url.host, url.port, family=family, backlog=512)
        self._servers.append(server)
        return replace(url, port=server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and close every connection; what still waits to be written has a second."""
        for server in self._servers:
            server.close()
        for task in list(self._connecting):
            task.cancel()
        connections = list(self._connections.values())
        for connection in connections:
            connection.close()
        waits = [asyncio.ensure_future(connection.closed.wait()) for connection in connections]
        if waits:
            await asyncio.wait(waits, timeout=_CLOSING_TIME)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*waits, *self._connecting, return_exceptions=True)

    def send(self, flow: Flow, wire: bytes) -> bool:
        """Send over the flow's connection; False if that is gone or too much waits for it to open."""
        connection_id = flow.connection
        if connection_id is None:
            connection_id = self._outgoing.get(flow.remote)
        if connection_id is not None:
            connection = self._connections.get(connection_id)
            if connection is not None:
                connection.send(wire)
            return connection is not None
        return self._send_when_open(flow, wire)

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Flow | None:
        """Judge a new connection (StreamOwner). A refused one is counted."""
        remote, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        wanted = connection.wanted
        if wanted is None and (refusal := self._refusal(remote)):
            self._counters[refusal, self._name] += 1
            return None
        number = next(self._ids)
        flow = Flow(transport=self._name, local=local[:2], remote=remote[:2], connection=number)
        if wanted is not None:
            # The peer reaches us at the listener's port, not at the one that this connection happens to have.
            flow = replace(flow, local=(local[0], wanted.local[1]))
            self._outgoing[wanted.remote] = number
        self._connections[number] = connection
        self._counters["connections", self._name] += 1
        return flow

    def connection_closed(self, flow: Flow) -> None:
        """Forget a connection (StreamOwner). For one that we opened, requests may wait on the flow we opened it for."""
        connection = self._connections.pop(flow.connection or 0)
        self._user.connection_closed(flow)
        if connection.wanted is not None:
            self._outgoing.pop(connection.wanted.remote, None)
            self._user.connection_closed(connection.wanted)

    def _refusal(self, remote: Address | None) -> str | None:
        if remote is None or not self._allow.allows(remote[0]):
            return "source_refused"
        return "connections_refused" if len(self._connections) >= self._limits.connections else None

    def _connection(self, wanted: Flow | None = None) -> Connection:
        return Connection(self, limits=self._limits, counters=self._counters, wanted=wanted)

    def _send_when_open(self, flow: Flow, wire: bytes) -> bool:
        waiting = self._waiting.get(flow.remote)
        if waiting is None:
            if len(self._connections) + len(self._waiting) >= self._limits.connections:
                self._counters["connections_refused", self._name] += 1
                return False
            waiting = self._waiting[flow.remote] = []
            task = asyncio.get_running_loop().create_task(self._connect(flow))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        if len(waiting) >= self._limits.waiting_messages:
            self._counters["send_dropped", self._name] += 1
            return False
        waiting.append(wire)
        return True

    async def _connect(self, flow: Flow) -> None:
        host, port = flow.remote
        wanted = replace(flow, connection=None)
        try:
            async with asyncio.timeout(self._limits.connect):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: self._connection(wanted), host, port, local_addr=_source(flow)
                )
        except (OSError, ValueError, OverflowError):  # ValueError: a name or port that cannot be
            self._counters["connect_failed", self._name] += 1
            self._waiting.pop(flow.remote, None)
            self._user.connection_closed(wanted)
            self._user.batch_done()
            return
        for wire in self._waiting.pop(flow.remote, []):
            connection.send(wire)


def _source(flow: Flow) -> Address | None:
    """Our address to connect from: peers may judge us by it."""
    local, remote = flow.local[0], flow.remote[0]
    if not is_ip_address(local) or not is_ip_address(remote):
        return None
    same_family = ipaddress.ip_address(local).version == ipaddress.ip_address(remote).version
    return (local, 0) if same_family else None
