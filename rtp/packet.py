"""RTP packets as columns: the headers of a whole batch parsed at once (RFC 3550 5.1, RFC 7983, RFC 5761).

What is no RTP is told apart by what it surely is, else it is foreign: see `classify` and `siprec.rtp.udptl`.

One row is one datagram. Nothing here looks at a packet by itself: every step is a numpy operation over all
rows, so that its cost per packet is a few nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.udptl import looks_like_udptl

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

RTP, RTCP, EMPTY, SHORT, STUN, DTLS, FOREIGN, BROKEN, T38 = range(9)
"""`kind` of a row: a good RTP packet, RTCP, no bytes, under 12 bytes, STUN, DTLS, nothing that is known, cut inside, or
what can be a fax (T.38)."""

FIXED_HEADER = 12
_STUN_HEADER, _DTLS_HEADER = 20, 13
_MAGIC_COOKIE = 0x2112A442
_DTLS_VERSIONS = (0xFEFF, 0xFEFD, 0xFEFC)
"1.0, 1.2 and 1.3."


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


def classify(rows: U8, length: I32) -> U8:
    """What each datagram is: uint8[n] of the kinds above. rows, length: as for `parse_columns`.

    The first byte decides (RFC 7983 section 7), RFC 5761 section 4 tells RTCP (packet types 192 to 223) from RTP. STUN has
    its magic cookie and says its own length (RFC 8489 section 5), DTLS its version and a record that fits (RFC 6347 4.1).
    """
    first, second = rows[:, 0], rows[:, 1]
    kind = np.full(first.shape, FOREIGN, np.uint8)
    media = (first & 0xC0) == 0x80
    rtcp = media & (second >= 192) & (second <= 223) & (length >= 8)
    kind[media] = RTP
    kind[media & (length < FIXED_HEADER)] = SHORT
    kind[rtcp] = RTCP
    kind[length == 0] = EMPTY
    other = np.flatnonzero(kind == FOREIGN)
    if other.size:
        kind[other] = _classify_other(rows[other], length[other])
    return kind


def _classify_other(rows: U8, length: I32) -> U8:
    """What the datagrams are that have no RTP version."""
    first = rows[:, 0]
    kind = np.full(first.shape, FOREIGN, np.uint8)
    kind[looks_like_udptl(rows, length)] = T38
    words: npt.NDArray[Any] = np.ascontiguousarray(rows[:, :8]).view(">u4")
    size = _u16(rows, 2)
    stun = (first <= 3) & (length >= _STUN_HEADER) & (words[:, 1] == _MAGIC_COOKIE)
    kind[stun & (size % 4 == 0) & (length == _STUN_HEADER + size)] = STUN
    dtls = (first >= 20) & (first <= 63) & (length >= _DTLS_HEADER) & np.isin(_u16(rows, 1), _DTLS_VERSIONS)
    kind[dtls & (length >= _DTLS_HEADER + _u16(rows, 11))] = DTLS
    return kind


def _u16(rows: U8, at: int) -> I32:
    """The 16 bits at a place of every row: int32[n]."""
    return (rows[:, at].astype(np.int32) << 8) | rows[:, at + 1]


def parse_columns(rows: U8, length: I32) -> PacketColumns:
    """Parse `n` datagrams.

    rows: uint8[n, stride], one datagram a row from its first byte (stride >= 20).
    length: int32[n], bytes received, at most the stride. Rows shorter than their own CSRC list or
    header extension are BROKEN. Padding that is longer than the payload is taken for payload: some senders
    set the bit without padding, and dropping their packets would cost the call.
    """
    head = np.ascontiguousarray(rows[:, :FIXED_HEADER])
    first, second = head[:, 0], head[:, 1]
    kind = classify(rows, length)
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
