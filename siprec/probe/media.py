"""The sockets of a probe call and the player that sends its script at the right moments."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from siprec.probe.errors import ProbeError
from siprec.probe.plan import RATE
from siprec.probe.script import CallScript, Packet
from siprec.rtp.packet import FIXED_HEADER
from siprec.rtp.rtcp import sender_report
from siprec.rtp.srtp import LegSrtp
from siprec.sdp.stream import LocalPorts
from siprec.sip.flow import Address

_TRIES = 100
_FIRST_REPORT_S, _REPORT_S = 0.5, 5.0
_CNAME = b"siprec-probe"
_UDP_MAX = 65536


class MediaSockets:
    """RTP on an even port, RTCP on the next one (RFC 3550 11)."""

    def __init__(self, address: str) -> None:
        """Bind a free pair. Raises ProbeError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(_TRIES):
            self.rtp = _bound(family, address, 0)
            port = self.rtp.getsockname()[1]
            if port % 2 == 0:
                with contextlib.suppress(OSError):
                    self.rtcp = _bound(family, address, port + 1)
                    self.ports = LocalPorts(port, port + 1)
                    return
            self.rtp.close()
        raise ProbeError(f"no free pair of ports at {address}")

    def close(self) -> None:
        """Close both."""
        self.rtp.close()
        self.rtcp.close()

    def received(self) -> tuple[int, int]:
        """Take what has come: RTP and RTCP datagrams."""
        return _drained(self.rtp), _drained(self.rtcp)


def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _drained(sock: socket.socket) -> int:
    count = 0
    with contextlib.suppress(OSError):
        while True:
            sock.recv(_UDP_MAX)
            count += 1
    return count


@dataclass(slots=True, kw_only=True)
class Outlet:
    """Where a leg is sent from and to. rtcp: None when the recorder takes none."""

    sockets: MediaSockets
    rtp: Address
    rtcp: Address | None
    srtp: LegSrtp | None = None


@dataclass(slots=True)
class _Counted:
    """What a sender report says of the current SSRC."""

    ssrc: int = 0
    packets: int = 0
    octets: int = 0


class Player:
    """Sends the packets of a script; `sent` holds those that went out."""

    def __init__(self, script: CallScript, outlets: Sequence[Outlet], *, start: float) -> None:
        """start: monotonic second of the first slot."""
        self._script, self._outlets, self._start = script, outlets, start
        self._counted = [_Counted() for _ in outlets]
        self._next_report = start + _FIRST_REPORT_S
        self.sent: list[Packet] = []
        self.max_late_s = 0.0
        self.first_late_s: dict[int, float] = {}
        "By leg: how late its first packet left, which is how late the whole leg seems to a receiver."

    async def play(self, packets: Sequence[Packet]) -> None:
        """Send each packet at its time, and reports in between. Raises ProbeError."""
        for packet in packets:
            due = self._start + packet.at_s
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            self._send(packet)
            now = time.monotonic()
            self.max_late_s = max(self.max_late_s, now - due)
            if not packet.lost:
                self.first_late_s.setdefault(packet.leg, now - due)
            if now >= self._next_report:
                self.report()
                self._next_report = now + _REPORT_S

    def report(self) -> None:
        """Send a sender report for every leg."""
        elapsed = time.monotonic() - self._start
        for leg, outlet, counted in zip(self._script.legs, self._outlets, self._counted, strict=True):
            if outlet.rtcp is None or not counted.packets:
                continue
            segment = next(s for s in leg.segments if s.ssrc == counted.ssrc)
            data = sender_report(
                counted.ssrc,
                unix_time=time.time(),  # noqa: TID251 - an SR carries wall-clock time
                rtp_timestamp=segment.timestamp + round(elapsed * RATE),
                packets=counted.packets,
                octets=counted.octets,
                cname=_CNAME,
            )
            if outlet.srtp is not None:
                data = outlet.srtp.close_rtcp(data)
            with contextlib.suppress(OSError):
                outlet.sockets.rtcp.sendto(data, outlet.rtcp)

    def _send(self, packet: Packet) -> None:
        if not packet.repeated:
            self._count(packet)
        if packet.lost:
            return
        outlet = self._outlets[packet.leg]
        data = packet.data if outlet.srtp is None else outlet.srtp.close(packet.data)
        try:
            outlet.sockets.rtp.sendto(data, outlet.rtp)
        except BlockingIOError:
            return
        except OSError as error:
            raise ProbeError(
                f"cannot send RTP to {outlet.rtp[0]}:{outlet.rtp[1]}: {error.strerror}"
            ) from None
        self.sent.append(packet)

    def _count(self, packet: Packet) -> None:
        counted = self._counted[packet.leg]
        ssrc = self._script.legs[packet.leg].segment(packet.slot).ssrc
        if counted.ssrc != ssrc:
            counted.ssrc, counted.packets, counted.octets = ssrc, 0, 0
        counted.packets += 1
        counted.octets += len(packet.data) - FIXED_HEADER
