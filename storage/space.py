"""Space by account: what running calls may still write is spoken for before the next one is answered."""

from __future__ import annotations

import os
from collections.abc import Callable

from siprec.storage.fileops import StrPath, failing_as


def free_bytes(path: StrPath) -> int:
    """Bytes that an unprivileged process can still write to the file system of `path`. Raises StorageError."""
    with failing_as("statvfs", path):
        found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


class OutOfSpace(Exception):
    """A reservation that would go below the low-water mark; the text says by how much."""

    def __init__(self, *, wanted: int, free: int, reserved: int, low_water: int) -> None:
        self.wanted, self.free, self.reserved, self.low_water = wanted, free, reserved, low_water
        super().__init__(
            f"no space: {free} bytes free, {reserved} of them reserved by running calls, "
            f"{wanted} more would go below the low-water mark of {low_water}"
        )


class SpaceAccount:
    """Bytes reserved by call. A reservation shrinks as its call writes, for what is written is no longer free.

    free_bytes: asked at each reservation.   reserve_per_call: bytes of one reservation.
    low_water: bytes that stay free whatever the calls in progress still write.
    """

    def __init__(self, free_bytes: Callable[[], int], *, reserve_per_call: int, low_water: int) -> None:
        self._free_bytes, self._step, self._low_water = free_bytes, reserve_per_call, low_water
        self._reserved: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """Bytes reserved and not yet written, over all calls."""
        return self._outstanding

    @property
    def needed(self) -> int:
        """Bytes that must be free for all reservations to be kept."""
        return self._outstanding + self._low_water

    @property
    def calls(self) -> int:
        """Calls that hold a reservation."""
        return len(self._reserved)

    def room_for(self) -> int:
        """How many more calls could be reserved now."""
        return max(0, (self._free_bytes() - self._low_water - self._outstanding) // max(self._step, 1))

    def reserve(self, call: str) -> None:
        """Reserve for a new call. Raises OutOfSpace, and nothing is reserved; KeyError if it holds a reservation."""
        if call in self._reserved:
            raise KeyError(f"{call} holds a reservation already")
        self._take(self._step)
        self._reserved[call], self._written[call] = self._step, 0

    def grow(self, call: str, written: int) -> None:
        """Note that `call` has written `written` bytes in all; reserves again when its reservation is used up.

        Raises OutOfSpace if that is refused: the call goes on without a reservation and the next `grow` tries again.
        Raises KeyError for a call without one.
        """
        reserved, before = self._reserved[call], self._written[call]
        self._written[call] = max(written, before)
        self._outstanding -= max(0, reserved - before) - max(0, reserved - self._written[call])
        if self._written[call] >= reserved:
            self._take(self._step)
            self._reserved[call] = self._written[call] + self._step

    def release(self, call: str) -> None:
        """Give back what `call` has not written; nothing happens for a call without a reservation."""
        reserved, written = self._reserved.pop(call, 0), self._written.pop(call, 0)
        self._outstanding -= max(0, reserved - written)

    def _take(self, wanted: int) -> None:
        free = self._free_bytes()
        if free - self._outstanding - wanted < self._low_water:
            raise OutOfSpace(wanted=wanted, free=free, reserved=self._outstanding, low_water=self._low_water)
        self._outstanding += wanted
