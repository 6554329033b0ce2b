"""RTCP: sender reports read, receiver reports written (RFC 3550 6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SR, RR, SDES, BYE, APP = 200, 201, 202, 203, 204
_NTP_EPOCH = 2_208_988_800
_MAX_PACKETS = 32


class RtcpError(ValueError):
    """A datagram that is not RTCP; the text says why."""


@dataclass(slots=True)
class SenderReport:
    """An SR (RFC 3550 6.4.1), without its report blocks."""

    ssrc: int
    ntp: int
    "64-bit NTP time."
    rtp_timestamp: int
    packets: int
    octets: int


@dataclass(slots=True)
class Goodbye:
    """A BYE (RFC 3550 6.6): these sources end, the leg does not."""

    ssrcs: tuple[int, ...]


@dataclass(slots=True)
class ReportBlock:
    """What a receiver saw of one source (RFC 3550 6.4.1)."""

    ssrc: int
    fraction_lost: int
    "0 to 255, in 1/256."
    lost: int
    highest: int
    "Extended highest sequence number, 32 bits."
    jitter: int
    last_sr: int
    "Middle 32 bits of the last SR's NTP time, 0 if none."
    delay: int
    "Since that SR, in 1/65536 s."


def parse_compound(data: bytes) -> list[SenderReport | Goodbye]:
    """The parts of a compound packet that a recorder acts on. Raises RtcpError.

    A last packet that is cut off is left out; what stood before it counts (RFC 5506 allows any order).
    """
    if len(data) < 4 or data[0] >> 6 != 2:
        raise RtcpError("not RTCP: version is not 2")
    found: list[SenderReport | Goodbye] = []
    for kind, count, body in _packets(data):
        if kind == SR and len(body) >= 24:
            ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
            found.append(SenderReport(ssrc, ntp, timestamp, packets, octets))
        elif kind == BYE and len(body) >= 4 * count:
            found.append(Goodbye(struct.unpack_from(f"!{count}I", body)))
    return found


def _packets(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    for _ in range(_MAX_PACKETS):
        if at + 4 > len(data) or data[at] >> 6 != 2:
            return
        words = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 4 + 4 * words
        if end > len(data):
            return
        yield data[at + 1], data[at] & 0x1F, data[at + 4 : end]
        at = end


def receiver_report(ssrc: int, blocks: list[ReportBlock], cname: bytes) -> bytes:
    """A compound packet of RR and SDES CNAME (RFC 3550 6.1 demands both). At most 31 blocks, cname under 256 bytes."""
    body = b"".join(
        struct.pack(
            "!IIIIII",
            b.ssrc,
            (b.fraction_lost << 24) | (min(max(b.lost, -(1 << 23)), (1 << 23) - 1) & 0xFFFFFF),
            b.highest & 0xFFFFFFFF,
            b.jitter & 0xFFFFFFFF,
            b.last_sr,
            b.delay & 0xFFFFFFFF,
        )
        for b in blocks
    )
    report = struct.pack("!BBHI", 0x80 | len(blocks), RR, 1 + 6 * len(blocks), ssrc) + body
    item = struct.pack("!IBB", ssrc, 1, len(cname)) + cname + b"\0"
    item += b"\0" * (-len(item) % 4)
    return report + struct.pack("!BBH", 0x81, SDES, len(item) // 4) + item


def sender_report(
    ssrc: int, *, unix_time: float, rtp_timestamp: int, packets: int, octets: int, cname: bytes
) -> bytes:
    """A compound packet of SR and SDES CNAME, for the test client."""
    ntp = int((unix_time + _NTP_EPOCH) * 2**32) & (2**64 - 1)
    report = struct.pack("!BBHIQIII", 0x80, SR, 6, ssrc, ntp, rtp_timestamp & 0xFFFFFFFF, packets, octets)
    empty = receiver_report(ssrc, [], cname)
    return report + empty[8:]


def middle_of_ntp(ntp: int) -> int:
    """The 32 bits that an RR repeats as LSR."""
    return (ntp >> 16) & 0xFFFFFFFF
