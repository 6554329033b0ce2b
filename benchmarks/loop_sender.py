"""Paced packets of any codec to many ports at once, worse for what a network does to them, and encrypted if asked for."""

from __future__ import annotations

import ctypes
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pylibsrtp import Policy, Session

from benchmarks.loops import SLOTS, Loop
from siprec.rtp.slab import MMSGHDR

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

STEP_MS = 5
"What packets are delayed by is a multiple of it."
_REORDERED_STEPS = 5
"25 ms: behind the next packet."
_CHUNK = 1024
_HEAD = 12
_TAG = 16
"Bytes that SRTP may add."

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What happens to packets on their way."""

    loss_pct: float = 0.0
    reorder_pct: float = 0.0
    jitter_ms: float = 0.0
    "Each packet is late by 0 to so much."

    @property
    def is_late(self) -> bool:
        """Whether any packet waits."""
        return self.reorder_pct > 0 or self.jitter_ms > 0


@dataclass(slots=True)
class _Waiting:
    """Packets that leave together: rows uint8[k, n], their lengths and legs, and sequence numbers from the leg's start."""

    rows: U8
    size: I64
    leg: I64
    number: I64

    def part(self, which: npt.NDArray[Any]) -> _Waiting:
        return _Waiting(self.rows[which], self.size[which], self.leg[which], self.number[which])


class LoopSender:
    """One packet time of each leg at a time. Legs can join and leave between two rounds."""

    def __init__(self, loops: Sequence[Loop], legs: int, network: Network, *, seed: int = 1) -> None:
        """legs: the most there will be at a time."""
        self._network, self._rng = network, np.random.default_rng(seed)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        width = max(len(payload) for loop in loops for payload in loop.payloads)
        self._payloads = np.zeros((len(loops) * SLOTS, width), np.uint8)
        self._sizes = np.zeros(len(loops) * SLOTS, np.int64)
        for row, payload in enumerate(payload for loop in loops for payload in loop.payloads):
            self._payloads[row, : len(payload)] = np.frombuffer(payload, np.uint8)
            self._sizes[row] = len(payload)
        self._stamps = np.stack([loop.stamps for loop in loops])
        self._periods = np.array([loop.period for loop in loops])
        self._types = np.array([loop.payload_type for loop in loops])
        self._names = np.zeros((legs, 16), np.uint8)
        self._loop = np.zeros(legs, np.int64)
        self._ssrc = np.zeros(legs, np.uint32)
        self.active = np.zeros(legs, np.bool_)
        self.first = np.zeros(legs, np.int64)
        "The slot with which a leg begins."
        self.slots = np.zeros(legs, np.int64)
        "Packet times since each leg began."
        self._next = np.zeros(legs, np.int64)
        self._newest = np.zeros(legs, np.int64)
        self.sent = np.zeros(legs, np.int64)
        "Packets sent to each leg."
        self.errors = 0
        self._srtp: dict[int, Session] = {}
        self._wheel: deque[list[_Waiting]] = deque([[]])

    def join(
        self, leg: int, host: str, port: int, *, ssrc: int, first: int, loop: int, key: bytes = b""
    ) -> None:
        """Start a leg. first: the slot of the loop it begins with; key: of SRTP, AES_CM_128_HMAC_SHA1_80."""
        name = self._names[leg]
        name[:2] = np.frombuffer(np.uint16(socket.AF_INET).tobytes(), np.uint8)
        name[2:4] = np.frombuffer(port.to_bytes(2, "big"), np.uint8)
        name[4:8] = np.frombuffer(socket.inet_aton(host), np.uint8)
        self._ssrc[leg], self._loop[leg], self.first[leg] = ssrc, loop, first
        self.slots[leg] = self._next[leg] = self.sent[leg] = 0
        self._newest[leg] = -1
        if key:
            self._srtp[leg] = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        self.active[leg] = True

    def leave(self, leg: int) -> None:
        """Stop a leg; what still is on its way arrives now."""
        self.active[leg] = False
        for bursts in self._wheel:
            for number, burst in enumerate(bursts):
                mine = burst.leg == leg
                if mine.any():
                    self._send(burst.part(mine))
                    bursts[number] = burst.part(~mine)
        self._srtp.pop(leg, None)

    def lost(self, leg: int) -> int:
        """Packets of a leg that a receiver must miss: not sent, and a later one was."""
        return int(self._newest[leg] + 1 - self.sent[leg])

    def round(self) -> None:
        """The next packet time of every leg."""
        legs = np.flatnonzero(self.active)
        if not legs.size:
            return
        position = self.first[legs] + self.slots[legs]
        self.slots[legs] += 1
        row = self._loop[legs] * SLOTS + position % SLOTS
        talking = self._sizes[row] > 0
        legs, position, row = legs[talking], position[talking], row[talking]
        number = self._next[legs]
        self._next[legs] += 1
        packets = _Waiting(self._rows(legs, position, row, number), self._sizes[row] + _HEAD, legs, number)
        if self._srtp:
            self._protect(packets)
        if self._network.loss_pct:
            lucky = self._rng.random(legs.size) * 100 >= self._network.loss_pct
            packets = packets.part(lucky | (number == 0))
        if self._network.is_late:
            self._delay(packets)
        else:
            self._send(packets)

    def step(self) -> None:
        """STEP_MS later: what was on its way so long arrives."""
        for packets in self._wheel.popleft():
            self._send(packets)
        if not self._wheel:
            self._wheel.append([])

    def _rows(self, legs: I64, position: I64, row: I64, number: I64) -> U8:
        loop = self._loop[legs]
        rows = np.zeros((legs.size, _HEAD + self._payloads.shape[1] + _TAG), np.uint8)
        rows[:, 0] = 0x80
        rows[:, 1] = self._types[loop]
        stamp = position // SLOTS * self._periods[loop] + self._stamps[loop, position % SLOTS]
        rows[:, 2:4] = (number & 0xFFFF).astype(">u2").view(np.uint8).reshape(-1, 2)
        rows[:, 4:8] = (stamp & 0xFFFFFFFF).astype(">u4").view(np.uint8).reshape(-1, 4)
        rows[:, 8:12] = self._ssrc[legs].astype(">u4").view(np.uint8).reshape(-1, 4)
        rows[:, _HEAD:-_TAG] = self._payloads[row]
        return rows

    def _protect(self, packets: _Waiting) -> None:
        for i, leg in enumerate(packets.leg.tolist()):
            if leg in self._srtp:
                wire = self._srtp[leg].protect(packets.rows[i, : packets.size[i]].tobytes())
                packets.rows[i, : len(wire)] = np.frombuffer(wire, np.uint8)
                packets.size[i] = len(wire)

    def _delay(self, packets: _Waiting) -> None:
        count = packets.leg.size
        steps = self._rng.integers(0, int(self._network.jitter_ms / STEP_MS) + 1, count)
        steps[self._rng.random(count) * 100 < self._network.reorder_pct] += _REORDERED_STEPS
        for late in np.unique(steps).tolist():
            while len(self._wheel) <= late:
                self._wheel.append([])
            self._wheel[late].append(packets.part(steps == late))

    def _send(self, packets: _Waiting) -> None:
        total = packets.leg.size
        rows = np.ascontiguousarray(packets.rows)
        messages: npt.NDArray[Any] = np.zeros(total, MMSGHDR)
        iov = np.zeros((total, 2), np.uint64)
        iov[:, 0] = rows.ctypes.data + np.arange(total) * rows.shape[1]
        iov[:, 1] = packets.size
        messages["name"] = self._names.ctypes.data + packets.leg * 16
        messages["namelen"], messages["iovlen"] = 16, 1
        messages["iov"] = iov.ctypes.data + np.arange(total) * 16
        done = 0
        while done < total:
            address = messages.ctypes.data + done * MMSGHDR.itemsize
            got = _libc.sendmmsg(self._sock.fileno(), address, min(total - done, _CHUNK), 0)
            if got <= 0:
                self.errors += 1
                break
            done += got
        np.add.at(self.sent, packets.leg[:done], 1)
        np.maximum.at(self._newest, packets.leg[:done], packets.number[:done])

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
