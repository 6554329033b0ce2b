"""Many timers, the earliest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class TimerHeap(Generic[Owner]):
    """One time per owner. Moving a timer leaves its old entry in the heap, to be skipped when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Owner]] = []
        self._due: dict[Owner, float] = {}
        self._order = 0

    def schedule(self, owner: Owner, due: float | None) -> None:
        """Set, move or (None) remove the owner's timer."""
        if due is None:
            self._due.pop(owner, None)
        elif self._due.get(owner) != due:
            self._due[owner] = due
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, owner))

    def next_timer(self) -> float | None:
        """The earliest time, or None."""
        while self._heap:
            due, _, owner = self._heap[0]
            if self._due.get(owner) == due:
                return due
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> Iterator[Owner]:
        """Owners whose time has come, the earliest first; their timers are removed."""
        while (due := self.next_timer()) is not None and due <= now:
            _, _, owner = heapq.heappop(self._heap)
            del self._due[owner]
            yield owner

    def __len__(self) -> int:
        return len(self._due)
