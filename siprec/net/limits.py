"""Bounds of the transports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from siprec.sip.parser import TCP_LIMITS, UDP_LIMITS, SipLimits

Counters = Counter[tuple[str, str]]
"""(name, transport) to count, beside the stack's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetLimits:
    """Sizes in bytes, times in seconds."""

    udp_batch: int = 64
    "Datagrams a wake-up; then other work has its turn."
    receive_buffer: int = 4 * 1024 * 1024
    "Asked for with SO_RCVBUF; the kernel caps it at rmem_max."
    connections: int = 2000
    idle: float = 3600.0
    "A connection on which nothing came for so long is closed."
    message: float = 10.0
    "A message that has begun must be whole by then."
    linger: float = 1.0
    "After a fault what still comes is thrown away for so long: bytes that meet a closed socket would cost the answer."
    connect: float = 5.0
    write_buffer: int = 4 * 1024 * 1024
    "A peer that reads so slowly that more than this waits is cut off."
    waiting_messages: int = 64
    "Messages that may wait for one connection to open."
    datagram: SipLimits = UDP_LIMITS
    stream: SipLimits = TCP_LIMITS
    "A message on a connection."
