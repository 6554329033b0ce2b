"""RTP packets as columns: the headers of a whole batch parsed at once (RFC 3550 5.1, RFC 7983, RFC 5761).

One row is one datagram. Nothing here looks at a packet by itself: every step is a numpy operation over all
rows, so that its cost per packet is a few nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

RTP, RTCP, EMPTY, SHORT, STUN, DTLS, FOREIGN, BROKEN = range(8)
KIND_NAMES = ("rtp", "rtcp", "empty", "short", "stun", "dtls", "foreign", "broken")
"`kind` of a row: a good RTP packet, RTCP, no bytes, under 12 bytes, STUN, DTLS, no RTP version, or cut inside."

FIXED_HEADER = 12


@dataclass(slots=True)
class PacketColumns:
    """The headers of `n` datagrams, one row each; only rows whose `kind` is RTP have meaningful fields."""

    kind: U8
    payload_type: U8
    marker: Bool
    seq: I32
    "16-bit sequence number."
    timestamp: npt.NDArray[np.uint32]
    ssrc: npt.NDArray[np.uint32]
    offset: I32
    "First byte of the payload in the row."
    size: I32
    "Bytes of payload, without padding."


def classify(first: U8, second: U8, length: I32) -> U8:
    """What each datagram is by its first two bytes and its length: uint8[n] of the kinds above.

    RFC 7983 section 7 for the first byte; RFC 5761 section 4 tells RTCP (packet types 192 to 223) from RTP.
    """
    kind = np.full(first.shape, FOREIGN, np.uint8)
    kind[(first >= 20) & (first <= 63)] = DTLS
    kind[first <= 3] = STUN
    media = (first & 0xC0) == 0x80
    rtcp = media & (second >= 192) & (second <= 223) & (length >= 8)
    kind[media] = RTP
    kind[media & (length < FIXED_HEADER)] = SHORT
    kind[rtcp] = RTCP
    kind[length == 0] = EMPTY
    return kind


def parse_columns(rows: U8, length: I32) -> PacketColumns:
    """Parse `n` datagrams.

    rows: uint8[n, stride], one datagram a row from its first byte (stride >= 12).
    length: int32[n], bytes received, at most the stride. Rows shorter than their own CSRC list or
    header extension are BROKEN. Padding that is longer than the payload is taken for payload: some senders
    set the bit without padding, and dropping their packets would cost the call.
    """
    head = np.ascontiguousarray(rows[:, :FIXED_HEADER])
    first, second = head[:, 0], head[:, 1]
    kind = classify(first, second, length)
    words: npt.NDArray[Any] = head.view(">u4")
    offset = FIXED_HEADER + 4 * (first & 0x0F).astype(np.int32)
    _skip_extension(rows, length, first, kind, offset)
    size = length - offset
    kind[(kind == RTP) & (size < 0)] = BROKEN
    _strip_padding(rows, length, first, kind, size)
    return PacketColumns(
        kind=kind,
        payload_type=second & np.uint8(0x7F),
        marker=second >= 0x80,
        seq=head.view(">u2")[:, 1].astype(np.int32),
        timestamp=words[:, 1].astype(np.uint32),
        ssrc=words[:, 2].astype(np.uint32),
        offset=offset,
        size=size,
    )


def _skip_extension(rows: U8, length: I32, first: U8, kind: U8, offset: I32) -> None:
    """Move `offset` behind the header extension (RFC 3550 5.3.1) of the rows that have one."""
    which = np.flatnonzero((kind == RTP) & ((first & 0x10) != 0))
    if not which.size:
        return
    at = offset[which]
    inside = at + 4 <= length[which]
    kind[which[~inside]] = BROKEN
    which, at = which[inside], at[inside]
    words = (rows[which, at + 2].astype(np.int32) << 8) | rows[which, at + 3]
    offset[which] = at + 4 + 4 * words


def _strip_padding(rows: U8, length: I32, first: U8, kind: U8, size: I32) -> None:
    """Take the padding (RFC 3550 5.1, P) off `size` where it fits inside the payload."""
    which = np.flatnonzero((kind == RTP) & ((first & 0x20) != 0) & (size > 0))
    if not which.size:
        return
    padding = rows[which, length[which] - 1].astype(np.int32)
    fits = padding <= size[which]
    size[which[fits]] -= padding[fits]
