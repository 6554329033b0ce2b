"""Encoded streams as packets for a player, and as lines of an offer."""

from __future__ import annotations

from tests.helpers.encoders import Encoded
from tests.helpers.offers import Line
from tests.helpers.player import Packet, rtp


def packets(
    stream: Encoded, *, pt: int, ssrc: int, seq: int = 0, timestamp: int = 0, start_s: float = 0.0
) -> list[Packet]:
    """Each payload in a packet, sent at its time from `start_s` on. seq, timestamp: of the first one."""
    made = []
    for number, (payload, at) in enumerate(zip(stream.payloads, stream.timestamps, strict=True)):
        wire = rtp(payload, pt=pt, seq=seq + number, timestamp=timestamp + at, ssrc=ssrc, marker=number == 0)
        made.append(Packet(start_s + at / stream.clock, wire))
    return made


def line(port: int, label: str, formats: dict[int, Encoded]) -> Line:
    """An m-line with payload types and what they mean."""
    extra = []
    for pt, stream in formats.items():
        extra.append(f"rtpmap:{pt} {stream.encoding}")
        extra += [f"fmtp:{pt} {stream.fmtp}"] * bool(stream.fmtp)
    return Line(port, label, tuple(formats), extra=tuple(extra))
