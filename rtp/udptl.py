"""Fax (T.38) in UDPTL datagrams: told by their form, and for certain by their sequence numbers.

A datagram is a 16-bit sequence number, the primary IFP packet behind its length, then error recovery: either earlier IFP
packets, or parity (ITU-T T.38, the UDPTL packet of annex A). It has no mark of its own, but every byte is accounted for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from siprec.rtp.groups import Groups
from siprec.rtp.state import Rows

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MIN_SIZE = 6
"An indicator without error recovery."
MAX_RECOVERY = 16
"Packets of error recovery in one datagram; senders repeat three or four."
MAX_SKIPPED = 8
"Sequence numbers between two datagrams of one fax."
_PARITY = 0x80


def looks_like_udptl(rows: U8, length: I32) -> Bool:
    """Whether each datagram has the form of UDPTL up to its last byte: bool[n].

    rows: uint8[n, stride], length: int32[n], bytes received. Random bytes pass about once in 10,000.
    """
    fits: Bool = length >= MIN_SIZE
    out = np.zeros(length.shape, np.bool_)
    which = np.flatnonzero(fits)
    if not which.size:
        return out
    walk = _Walk(rows[which], length[which])
    walk.ifp_packet()
    recovery = walk.byte()
    walk.fits &= (recovery == 0) | (recovery == _PARITY)
    parity = recovery == _PARITY
    spans = walk.byte(parity)  # how many bytes tell over how many packets the parity goes
    walk.fits &= ~parity | (spans == 1)
    walk.byte(parity)
    count = walk.byte()
    walk.fits &= count <= MAX_RECOVERY
    for i in range(int(count[walk.fits].max(initial=0))):
        walk.open_type(walk.fits & (count > i))
    out[which] = walk.fits & (walk.at == walk.length)
    return out


class _Walk:
    """A place in each row, moved through it. `fits`: bool[n], rows that still have the form."""

    def __init__(self, rows: U8, length: I32) -> None:
        self._rows, self.length = rows, length
        self._row = np.arange(length.size)
        self.at = np.full(length.shape, 2, np.int32)  # behind the sequence number
        self.fits = np.ones(length.shape, np.bool_)

    def byte(self, where: Bool | None = None) -> I32:
        """The next byte of the rows `where`, or of all; 0 elsewhere and behind the end, where a row fits no more."""
        taken = self.fits if where is None else self.fits & where
        inside = taken & (self.at < self.length)
        self.fits &= inside | ~taken
        value = self._rows[self._row, np.where(inside, self.at, 0)].astype(np.int32)
        self.at += inside
        return np.where(inside, value, 0)

    def open_type(self, where: Bool) -> I32:
        """Skip what stands behind its length (X.691 11.9) in the rows `where`; returns the length."""
        size = self.byte(where)
        long = where & (size >= 0x80)
        self.fits &= ~long | (size < 0xC0)  # no fragments
        size = np.where(long, ((size & 0x3F) << 8) | self.byte(long), size)
        self.at += np.where(where, size, 0)
        self.fits &= self.at <= self.length
        return size

    def ifp_packet(self) -> None:
        """Skip the primary IFP packet: an indicator of one or two bytes without data, or data."""
        everywhere = np.ones(self.fits.shape, np.bool_)
        size = self.open_type(everywhere)
        start = np.where(self.fits, self.at - size, 0)
        kind = self._rows[self._row, start] & 0xC0
        self.fits &= (size > 0) & (((kind == 0) & (size <= 2)) | (kind == 0x40) | (kind == 0xC0))


def sequence_numbers(rows: U8) -> I32:
    """The sequence number of each datagram: int32[n]."""
    return (rows[:, 0].astype(np.int32) << 8) | rows[:, 1]


def confirm(legs: Rows, leg: I64, seq: I32) -> Bool:
    """Which datagrams of UDPTL's form are surely a fax, because another goes on where they ended: bool[n].

    leg: int64[n > 0], rows of a leg together and in order of arrival. The leg remembers the last one (`t38_next`), so only a first
    one that is alone in its batch is left out.
    """
    groups = Groups.of(leg)
    before = groups.previous(seq, legs["t38_next"][groups.key] - 1)
    follows = (before >= 0) & (((seq - before) & 0xFFFF) <= MAX_SKIPPED)
    legs["t38_next"][groups.key] = seq[groups.last] + 1
    followed = np.zeros(follows.shape, np.bool_)
    followed[:-1] = follows[1:] & (leg[1:] == leg[:-1])
    out: Bool = follows | followed
    return out
