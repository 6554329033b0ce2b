"""The blocks of a payload with redundancy (RFC 2198 3)."""

from __future__ import annotations

from typing import NamedTuple

MAX_BLOCKS = 16
"Of one packet; more is no audio that anybody sends."
_HEADER, _LAST_HEADER = 4, 1


class Block(NamedTuple):
    """One block: its payload type, how far its timestamp lies back, where it is in the payload."""

    payload_type: int
    offset: int
    "In timestamp units; 0 for the newest block."
    start: int
    length: int


def blocks_of(payload: bytes) -> list[Block] | None:
    """The blocks of a payload, the newest one last; None if it is malformed. Never raises."""
    heads: list[tuple[int, int, int]] = []
    at = 0
    while at < len(payload) and payload[at] & 0x80:
        if at + _HEADER > len(payload) or len(heads) == MAX_BLOCKS - 1:
            return None
        word = int.from_bytes(payload[at : at + _HEADER], "big")
        heads.append((word >> 24 & 0x7F, word >> 10 & 0x3FFF, word & 0x3FF))
        at += _HEADER
    if at >= len(payload):
        return None
    newest, start = payload[at] & 0x7F, at + _LAST_HEADER
    blocks = []
    for payload_type, offset, length in heads:
        blocks.append(Block(payload_type, offset, start, length))
        start += length
    if start > len(payload):
        return None
    return [*blocks, Block(newest, 0, start, len(payload) - start)]
