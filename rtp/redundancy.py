"""Redundant audio (RFC 2198): one packet that carries its own block and repeats blocks of packets before it."""

from __future__ import annotations

from typing import NamedTuple

MAX_BLOCKS = 9
"Of one packet: the primary and eight that are repeated. More of them is no payload of anybody."
_MORE = 0x80
_HEADER, _LAST_HEADER = 4, 1


class Block(NamedTuple):
    """One block of a payload. The primary one, which is the packet's own, has offset 0."""

    payload_type: int
    offset: int
    "Timestamp units before the packet's timestamp, 0 to 16,383."
    start: int
    "First byte in the payload."
    length: int
    "Bytes; a block may be empty."


def blocks(payload: bytes) -> list[Block] | None:
    """The blocks of a payload in the order of the packet, the primary last; None for one that is malformed (section 3).

    Malformed is: headers or blocks that end behind the payload, more than MAX_BLOCKS, or none.
    """
    told: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & _MORE:
        if at + _HEADER > len(payload) or len(told) == MAX_BLOCKS - 1:
            return None
        rest = int.from_bytes(payload[at + 1 : at + _HEADER], "big")
        told.append((payload[at] & ~_MORE, rest >> 10, rest & 0x3FF))
        at += _HEADER
    if at >= len(payload):
        return None
    primary, start = payload[at], at + _LAST_HEADER
    found: list[Block] = []
    for payload_type, offset, length in told:
        found.append(Block(payload_type, offset, start, length))
        start += length
    if start > len(payload):
        return None
    return [*found, Block(primary, 0, start, len(payload) - start)]
