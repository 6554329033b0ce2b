"""The memory that `recvmmsg` fills: one row a datagram, with its header, source and control data beside it.

The arrays are plain buffers, so that they can lie in memory shared with another process. Pointers in the
headers are written anew by each process that attaches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.rtp.packet import U8

Array = npt.NDArray[Any]

ROWS = 4096
STRIDE = 2112
"Bytes a row. An odd number of cache lines, so that the headers of a batch do not share a few cache sets."
NAME = 32
CONTROL = 64
UNTOUCHED = 0xFFFFFFFF
"`msg_len` before a drain: rows that the kernel filled have another value, whoever is alive to see it."

MMSGHDR: np.dtype[Any] = np.dtype(
    [
        ("name", "u8"),
        ("namelen", "u4"),
        ("_a", "u4"),
        ("iov", "u8"),
        ("iovlen", "u8"),
        ("control", "u8"),
        ("controllen", "u8"),
        ("flags", "i4"),
        ("_b", "u4"),
        ("msg_len", "u4"),
        ("_c", "u4"),
    ]
)
"struct mmsghdr of 64-bit Linux, 64 bytes."

CONTROL_ROW: np.dtype[Any] = np.dtype(
    [
        ("len", "u8"),
        ("level", "i4"),
        ("type", "i4"),
        ("seconds", "i8"),
        ("nanoseconds", "i8"),
        ("drops_len", "u8"),
        ("drops_level", "i4"),
        ("drops_type", "i4"),
        ("drops", "u4"),
        ("_pad", "u4"),
        ("_rest", "u8"),
    ]
)
"What the kernel puts into the control data: SCM_TIMESTAMPNS, then SO_RXQ_OVFL once something was dropped."

SOL_SOCKET = 1
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
_STAMP_BYTES, _DROPS_BYTES = 32, 52

LAYOUT: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...] = (
    ("header", MMSGHDR, (ROWS,)),
    ("iovec", np.dtype("u8"), (ROWS, 2)),
    ("name", np.dtype("u1"), (ROWS, NAME)),
    ("control", CONTROL_ROW, (ROWS,)),
    ("drain", np.dtype("i8"), (ROWS, 2)),
    ("data", np.dtype("u1"), (ROWS, STRIDE)),
)
"Arrays of a slab: name, dtype, shape. `drain` holds (leg, first row) of each drain of the batch."


class Slab:
    """Rows for one batch. `arrays` holds the arrays of LAYOUT by name."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.header, self.control, self.drain = arrays["header"], arrays["control"], arrays["drain"]
        self.data: U8 = arrays["data"]
        self.name: U8 = arrays["name"]
        self._iovec = iovec = arrays["iovec"]  # the headers point there: it must live as long as they
        rows = np.arange(ROWS, dtype=np.uint64)
        iovec[:, 0] = self.data.ctypes.data + rows * STRIDE
        iovec[:, 1] = STRIDE
        self.header["name"] = self.name.ctypes.data + rows * NAME
        self.header["iov"] = iovec.ctypes.data + rows * 16
        self.header["iovlen"] = 1
        self.header["control"] = self.control.ctypes.data + rows * CONTROL
        self.address = int(self.header.ctypes.data)

    @classmethod
    def private(cls) -> Slab:
        """A slab that no other process sees."""
        return cls({name: np.zeros(shape, dtype) for name, dtype, shape in LAYOUT})

    def reset(self, used: int) -> None:
        """Make the first `used` rows ready for the kernel again."""
        self.header["namelen"][:used] = NAME
        self.header["controllen"][:used] = CONTROL
        self.header["msg_len"][:used] = UNTOUCHED

    def stamps(self, count: int) -> npt.NDArray[np.int64]:
        """Arrival of the first `count` rows on CLOCK_REALTIME [ns], 0 where the kernel gave none."""
        control = self.control[:count]
        there = (self.header["controllen"][:count] >= _STAMP_BYTES) & (control["type"] == SO_TIMESTAMPNS)
        there &= control["level"] == SOL_SOCKET
        stamps: npt.NDArray[np.int64] = control["seconds"] * 1_000_000_000 + control["nanoseconds"]
        return np.where(there, stamps, 0)

    def drops(self, count: int) -> npt.NDArray[np.int64]:
        """The socket's drop counter that came with each of the first `count` rows, -1 where none came."""
        control = self.control[:count]
        there = (self.header["controllen"][:count] >= _DROPS_BYTES) & (control["drops_type"] == SO_RXQ_OVFL)
        return np.where(there, control["drops"].astype(np.int64), -1)
