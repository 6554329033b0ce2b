"""The `udp` receiver: every socket drained by `recvmmsg` into one slab, a batch of rows at a time (DESIGN 4)."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siprec.rtp.packet import I32, U8, Bool
from siprec.rtp.slab import CONTROL, ROWS, SO_TIMESTAMPNS, SOL_SOCKET, STRIDE, Slab
from siprec.rtp.source import U64, keys_of

I64 = npt.NDArray[np.int64]

BURST = 64
"Rows asked for in one system call."
_TIMESPEC = struct.Struct("=qq")
_MSG_DONTWAIT, _MSG_TRUNC = 0x40, 0x20

# PyDLL keeps the interpreter lock: the calls do not block, and giving the lock away thousands of times a
# tick would hand the tick to the writer thread each time.
_libc = ctypes.PyDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_recvmmsg.restype = ctypes.c_int


@dataclass(slots=True)
class ReceivedRows:
    """One batch of datagrams, rows of one leg together and in order of arrival. Valid until the next batch."""

    leg: I64
    data: U8
    "uint8[n, stride]"
    length: I32
    cut: Bool
    "bool[n]: longer than a row; the rest is gone."
    stamp: I64
    "Arrival on CLOCK_REALTIME [ns], 0 if unknown."
    source: U64
    drops: I64
    "Drop counter of the row's socket, -1 where none came."


class UdpReceiver:
    """Drains sockets into a slab. Counts what went wrong in `errors`."""

    def __init__(self, slab: Slab, *, cap: int) -> None:
        """cap: rows taken from one socket in one tick; what is left waits in the socket."""
        self._slab, self._cap = slab, cap
        self._used = ROWS
        self.capped: list[int] = []
        "Legs whose cap was reached in the last tick."
        self.errors = 0

    def batches(
        self, sockets: Iterable[tuple[int, int]], *, cap: int | None = None
    ) -> Iterator[ReceivedRows]:
        """Drain every (leg, file descriptor) and yield the rows in batches of at most `ROWS`.

        cap: rows of one socket, where it is to be another than always.
        """
        most = cap or self._cap
        self.capped = []
        self._begin()
        for leg, fd in sockets:
            taken = 0
            while taken < most:
                want = min(most - taken, BURST)
                got = self._drain(leg, fd, want)
                taken += got
                if self._rows > ROWS - BURST:
                    yield self._batch()
                    self._begin()
                if got < want:
                    break
            else:
                self.capped.append(leg)
        if self._rows:
            yield self._batch()

    def _begin(self) -> None:
        self._slab.reset(self._used)
        self._slab.drain[:, 0] = -1
        self._rows = self._drains = self._used = 0
        self._legs: list[int] = []
        self._counts: list[int] = []

    def _drain(self, leg: int, fd: int, want: int) -> int:
        first = self._rows
        self._slab.drain[self._drains] = (leg, first)
        self._drains += 1
        got: int = _recvmmsg(fd, self._slab.address + first * 64, want, _MSG_DONTWAIT, None)
        if got <= 0:
            self._drains -= 1
            if got < 0 and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
                self.errors += 1
            return 0
        self._legs.append(leg)
        self._counts.append(got)
        self._rows = self._used = first + got
        return got

    def _batch(self) -> ReceivedRows:
        n, slab = self._rows, self._slab
        length = slab.header["msg_len"][:n].astype(np.int32)
        return ReceivedRows(
            leg=np.repeat(np.array(self._legs, np.int64), self._counts),
            data=slab.data[:n],
            length=np.minimum(length, STRIDE),
            cut=(slab.header["flags"][:n] & _MSG_TRUNC) != 0,
            stamp=slab.stamps(n),
            source=keys_of(slab.name[:n]),
            drops=slab.drops(n),
        )


def receive_stamped(sock: socket.socket, size: int) -> tuple[bytes, int, tuple[str, int]]:
    """One datagram of a socket that is not drained in batches: up to `size` bytes, arrival, source.

    The arrival is on CLOCK_REALTIME [ns], 0 if the kernel gave none. Raises OSError.
    """
    data, ancillary, _, source = sock.recvmsg(size, CONTROL)
    return data, _stamp_in(ancillary), (source[0], source[1])


def peek_stamped(sock: socket.socket, size: int) -> tuple[bytes, int]:
    """The beginning of the first datagram in a socket, and its arrival as above; it stays there. Raises OSError."""
    data, ancillary, _, _ = sock.recvmsg(size, CONTROL, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return data, _stamp_in(ancillary)


def _stamp_in(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, content in ancillary:
        if (level, kind) == (SOL_SOCKET, SO_TIMESTAMPNS) and len(content) >= _TIMESPEC.size:
            seconds, nanoseconds = map(int, _TIMESPEC.unpack_from(content))
            return seconds * 1_000_000_000 + nanoseconds
    return 0
