"""Packets with redundancy (RFC 2198) taken apart: each block becomes a row like any other.

What a block repeats was sent in an earlier packet. If that one came, the block is a silent duplicate; if not, it
takes its place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from siprec.codecs.frames import samples_in
from siprec.codecs.registry import AUDIO, CODECS
from siprec.rtp.packet import RTP, Bool, PacketColumns
from siprec.rtp.receiver import ReceivedRows
from siprec.rtp.redundancy import Block, blocks
from siprec.rtp.state import Rows

I64 = npt.NDArray[np.int64]


class Unpacked(NamedTuple):
    """The rows that stand for the blocks, in the order of their packets; the newest block of a packet last."""

    rows: ReceivedRows
    columns: PacketColumns
    arrival: I64
    repeated: Bool
    "bool[n]: rows that repeat an earlier packet."


class _Row(NamedTuple):
    packet: int
    "Row of the packet."
    block: Block
    back: int
    "Packets before this one in which it was sent first."


def unpack(
    rows: ReceivedRows,
    columns: PacketColumns,
    arrival: I64,
    which: I64,
    maps: npt.NDArray[np.uint8],
    streams: Rows,
) -> tuple[Unpacked, I64]:
    """The blocks of the packets `which` (row numbers), and those of `which` that cannot be read.

    maps: uint8[legs, 128], codec numbers. streams: blocks that repeat are taken only for an SSRC that is known.
    """
    found: list[_Row] = []
    broken: list[int] = []
    for row in which.tolist():
        start = int(columns.offset[row])
        payload = rows.data[row, start : start + int(columns.size[row])].tobytes()
        inside = blocks(payload)
        if inside is None:
            broken.append(row)
            continue
        leg = int(rows.leg[row])
        both = streams[2 * leg : 2 * leg + 2]
        known = bool(((both["live"] != 0) & (both["ssrc"] == columns.ssrc[row])).any())
        step = _step(inside[-1], payload, maps[leg])
        for nth, block in enumerate(inside[:-1]):
            back = max(1, round(block.offset / step)) if step else len(inside) - 1 - nth
            if known and block.offset and block.length:
                found.append(_Row(row, block, back))
        found.append(_Row(row, inside[-1], 0))
    return _rows(rows, columns, arrival, found), np.array(broken, np.int64)


def _step(primary: Block, payload: bytes, codecs: npt.NDArray[np.uint8]) -> int:
    """How much a packet adds to the timestamp, by its newest block; 0 if that does not say."""
    codec = CODECS[codecs[primary.payload_type]]
    if codec.kind != AUDIO:
        return 0
    count = samples_in(codec, payload[primary.start : primary.start + primary.length])
    return int(max(count, 0) * codec.clock // codec.rate)


def _rows(rows: ReceivedRows, columns: PacketColumns, arrival: I64, found: list[_Row]) -> Unpacked:
    packet = np.array([item.packet for item in found], np.int64)
    back = np.array([item.back for item in found], np.int32)
    offset = np.array([item.block.offset for item in found], np.uint32)
    start = np.array([item.block.start for item in found], np.int32)
    taken = ReceivedRows(
        leg=rows.leg[packet],
        data=rows.data[packet],
        length=rows.length[packet],
        cut=rows.cut[packet],
        stamp=rows.stamp[packet],
        source=rows.source[packet],
        drops=rows.drops[packet],
    )
    parsed = PacketColumns(
        kind=np.full(packet.shape, RTP, np.uint8),
        payload_type=np.array([item.block.payload_type for item in found], np.uint8),
        marker=columns.marker[packet],
        seq=(columns.seq[packet] - back) & 0xFFFF,
        timestamp=columns.timestamp[packet] - offset,
        ssrc=columns.ssrc[packet],
        offset=columns.offset[packet] + start,
        size=np.array([item.block.length for item in found], np.int32),
    )
    return Unpacked(taken, parsed, arrival[packet], back > 0)
