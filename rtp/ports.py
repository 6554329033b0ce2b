"""RTP ports: pairs bound from a range, kept out of use for a while after a call (INTEROP 2.2: RTP after BYE)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import deque
from dataclasses import dataclass

from siprec.rtp.slab import SO_RXQ_OVFL, SO_TIMESTAMPNS

_SO_MEMINFO = 55
_MEMINFO_DROPS = 8


class PortsExhausted(Exception):
    """No port pair of the range could be bound."""


@dataclass(slots=True)
class PortPair:
    """The sockets of one leg: RTP on an even port, RTCP on the next one, or `rtcp` None when multiplexed."""

    port: int
    rtp: socket.socket
    rtcp: socket.socket | None

    @property
    def rtcp_port(self) -> int:
        """Where the peer sends RTCP: the RTP port when multiplexed (RFC 5761)."""
        return self.port if self.rtcp is None else self.port + 1

    def close(self) -> None:
        """Close both sockets."""
        self.rtp.close()
        if self.rtcp is not None:
            self.rtcp.close()


class PortAllocator:
    """Hands out port pairs in rotation, so that a port rests as long as possible before it serves again."""

    def __init__(
        self, address: str, first: int, last: int, *, quarantine_s: float, rcvbuf: int | None = None
    ) -> None:
        """address: local address to bind. first..last: the range, both included; pairs start on even ports."""
        self._address, self._rcvbuf, self._quarantine_s = address, rcvbuf, quarantine_s
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        even = first + first % 2
        self._free: deque[int] = deque(range(even, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self.total = len(self._free)
        self.in_use = 0
        self.skipped = 0
        "Ports of the range found bound by somebody else, over all time."

    def check_address(self) -> None:
        """Raises OSError when nothing can be bound to the address. `filename` is the address."""
        try:
            self._socket(0).close()
        except OSError as exc:
            raise OSError(exc.errno, os.strerror(exc.errno or 0), self._address) from exc

    def available(self, now: float) -> int:
        """Pairs that could be handed out now (a port bound by others is found out only when tried)."""
        self._wake(now)
        return len(self._free)

    def allocate(self, now: float, *, mux: bool = False) -> PortPair:
        """Bind the next pair. now: monotonic seconds. Raises PortsExhausted."""
        self._wake(now)
        for _ in range(len(self._free)):
            port = self._free.popleft()
            try:
                pair = self._bind(port, mux)
            except OSError as exc:
                self._free.append(port)
                if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise PortsExhausted(f"cannot open a socket on {self._address}: {exc.strerror}") from exc
                self.skipped += 1
                continue
            self.in_use += 1
            return pair
        raise PortsExhausted(
            f"no free port pair: {self.in_use} in use, {len(self._resting)} resting, of {self.total}"
        )

    def release(self, pair: PortPair, now: float) -> None:
        """Close a pair and let its ports rest."""
        pair.close()
        self.in_use -= 1
        self._resting.append((now + self._quarantine_s, pair.port))

    def _wake(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])

    def _bind(self, port: int, mux: bool) -> PortPair:
        rtp = self._socket(port)
        try:
            rtcp = None if mux else self._socket(port + 1)
        except OSError:
            rtp.close()
            raise
        return PortPair(port=port, rtp=rtp, rtcp=rtcp)

    def _socket(self, port: int) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            if self._rcvbuf is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._rcvbuf)
            sock.bind((self._address, port))
        except OSError:
            sock.close()
            raise
        return sock


def kernel_drops(fd: int) -> int:
    """Datagrams that the kernel dropped at a socket so far, by SO_MEMINFO; 0 where it does not say."""
    with socket.socket(fileno=fd) as sock:
        try:
            with contextlib.suppress(OSError):
                memory = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
                if len(memory) >= 4 * (_MEMINFO_DROPS + 1):
                    return int(struct.unpack_from("=I", memory, 4 * _MEMINFO_DROPS)[0])
            return 0
        finally:
            sock.detach()
