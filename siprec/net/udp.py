"""SIP over UDP: one non-blocking socket, drained in bounded batches."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from dataclasses import replace

from siprec.net.allow import AllowList
from siprec.net.limits import Counters, NetLimits
from siprec.net.listen import ListenUrl
from siprec.sip.flow import Address, Flow

_IP_PKTINFO: int = getattr(socket, "IP_PKTINFO", 8)  # the name is in Python's socket from 3.12 on
_MAX_DATAGRAM = 65536
_ANCILLARY = socket.CMSG_SPACE(64)
_PKTINFO = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")


class UdpListener:
    """A bound socket. On a wildcard bind every datagram tells which address it reached, and answers leave from it.

    receive: called with each allowed datagram and its flow.   batch_done: called after each wake-up.
    """

    def __init__(
        self,
        url: ListenUrl,
        *,
        allow: AllowList,
        limits: NetLimits,
        counters: Counters,
        receive: Callable[[bytes, Flow], None],
        batch_done: Callable[[], None],
    ) -> None:
        self.url = url
        self._allow = allow
        self._limits = limits
        self._counters = counters
        self._receive = receive
        self._batch_done = batch_done
        self._buffer = bytearray(_MAX_DATAGRAM)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Bind and listen in the running loop; from then on `url` has the real port. Raises OSError."""
        family = socket.AF_INET if self.url.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._limits.receive_buffer)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self.url.wildcard:
                self._ask_for_destination(sock)
            sock.bind(self.url.address)
        except OSError:
            sock.close()
            raise
        self.url = replace(self.url, port=sock.getsockname()[1])
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._drain)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def send(self, flow: Flow, wire: bytes) -> bool:
        """Send from the flow's local address to its remote one; False if that cannot work.

        A full send buffer is a lost datagram, as anywhere on the way: SIP repeats what matters.
        """
        if self._socket is None:
            return False
        ancillary = [self._source(flow.local[0])] if self.url.wildcard else []
        try:
            self._socket.sendmsg([wire], ancillary, 0, flow.remote)
        except BlockingIOError:
            self._counters["send_dropped", "udp"] += 1
        except OSError:
            self._counters["send_failed", "udp"] += 1
            return False
        return True

    def _drain(self) -> None:
        for _ in range(self._limits.udp_batch):
            if self._socket is None:
                return
            try:
                size, ancillary, _, source = self._socket.recvmsg_into([self._buffer], _ANCILLARY)
            except BlockingIOError:
                break
            except OSError:
                self._counters["receive_failed", "udp"] += 1
                break
            self._take(size, ancillary, source)
        self._batch_done()

    def _take(self, size: int, ancillary: list[tuple[int, int, bytes]], source: Address) -> None:
        host, port = source[0], source[1]
        if not self._allow.allows(host):
            self._counters["source_refused", "udp"] += 1
            return
        local = (self._destination(ancillary), self.url.port)
        flow = Flow(transport="udp", local=local, remote=(host, port))
        self._receive(bytes(memoryview(self._buffer)[:size]), flow)

    def _ask_for_destination(self, sock: socket.socket) -> None:
        if self.url.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def _destination(self, ancillary: list[tuple[int, int, bytes]]) -> str:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return str(ipaddress.IPv4Address(_PKTINFO.unpack(data)[1]))
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                return str(ipaddress.IPv6Address(_PKTINFO6.unpack(data)[0]))
        return self.url.host

    def _source(self, host: str) -> tuple[int, int, bytes]:
        address = ipaddress.ip_address(host).packed
        if self.url.version == 4:
            return (socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, address, bytes(4)))
        return (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(address, 0))
