"""Paced G.711 to many ports at once: one `sendmmsg` for up to 1,024 packets, headers made in numpy.

Each leg plays its own stretch of one table of mu-law bytes, so that what was recorded can be checked
sample by sample: byte k of a leg is `table[(first + k) % table.size]`.
"""

from __future__ import annotations

import ctypes
import socket
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.codecs import g711
from siprec.rtp.slab import MMSGHDR

FRAME = 160
PTIME_S = 0.02
TABLE = 1 << 20
_CHUNK = 1024

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


def voice_table(seed: int = 1) -> npt.NDArray[np.uint8]:
    """Mu-law bytes in which no two frames are alike: uint8[TABLE + FRAME], the end repeats the start."""
    rng = np.random.default_rng(seed)
    samples = rng.integers(-8000, 8000, TABLE).astype(np.int16)
    table = g711.encode("ulaw", samples)
    return np.concatenate((table, table[:FRAME]))


class RtpSender:
    """Sends one packet to each leg at a time. Legs can join and leave between two rounds."""

    def __init__(self, table: npt.NDArray[np.uint8], legs: int, *, source: str = "127.0.0.1") -> None:
        """legs: the most there will be at a time."""
        self._table = table
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((source, 0))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self.address: tuple[str, int] = self._sock.getsockname()
        self._headers = np.zeros((legs, 12), np.uint8)
        self._names = np.zeros((legs, 16), np.uint8)
        self._iov = np.zeros((legs, 4), np.uint64)
        self._messages: npt.NDArray[Any] = np.zeros(legs, MMSGHDR)
        self.active = np.zeros(legs, np.bool_)
        self.first = np.zeros(legs, np.int64)
        self.sent = np.zeros(legs, np.int64)
        "Packets sent to each leg."
        self.errors = 0
        self._order = np.zeros(0, np.int64)

    def join(self, leg: int, host: str, port: int, *, ssrc: int, first: int) -> None:
        """Start a leg. first: where in the table its voice begins."""
        address = np.frombuffer(socket.inet_aton(host), np.uint8)
        self._names[leg, :2] = np.frombuffer(np.uint16(socket.AF_INET).tobytes(), np.uint8)
        self._names[leg, 2:4] = np.frombuffer(port.to_bytes(2, "big"), np.uint8)
        self._names[leg, 4:8] = address
        self._headers[leg, 0] = 0x80
        self._headers[leg].view(">u4")[2] = ssrc & 0xFFFFFFFF
        self.first[leg], self.sent[leg], self.active[leg] = first, 0, True
        self._rebuild()

    def leave(self, leg: int) -> None:
        """Stop a leg."""
        self.active[leg] = False
        self._rebuild()

    def _rebuild(self) -> None:
        self._order = np.flatnonzero(self.active)
        rows, order = self._messages[: self._order.size], self._order.astype(np.uint64)
        rows["name"] = self._names.ctypes.data + order * 16
        rows["namelen"] = 16
        rows["iov"] = self._iov.ctypes.data + order * 32
        rows["iovlen"] = 2

    def round(self) -> None:
        """Send the next 20 ms of every leg."""
        order = self._order
        if not order.size:
            return
        count = self.sent[order]
        self._headers.view(">u2")[order, 1] = count & 0xFFFF
        self._headers.view(">u4")[order, 1] = (count * FRAME) & 0xFFFFFFFF
        at = (self.first[order] + count * FRAME) % TABLE
        self._iov[order, 0] = self._headers.ctypes.data + order.astype(np.uint64) * 12
        self._iov[order, 1] = 12
        self._iov[order, 2] = self._table.ctypes.data + at.astype(np.uint64)
        self._iov[order, 3] = FRAME
        self.sent[order] += self._send(order.size)

    def _send(self, total: int) -> npt.NDArray[np.int64]:
        done = 0
        sent = np.zeros(total, np.int64)
        while done < total:
            address = self._messages.ctypes.data + done * MMSGHDR.itemsize
            got = _libc.sendmmsg(self._sock.fileno(), address, min(total - done, _CHUNK), 0)
            if got <= 0:
                self.errors += 1
                break
            sent[done : done + got] = 1
            done += got
        return sent

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
