"""Telephone events (RFC 4733): one digit per event, whatever is repeated, lost or overlapping."""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = "0123456789*#ABCD"
_FLASH = 16


@dataclass(slots=True)
class Digit:
    """A key that was pressed. at_ns: arrival of its first packet (monotonic); duration in timestamp units."""

    leg: int
    digit: str
    at_ns: int
    duration: int


class DigitCollector:
    """Collects the events of all legs. An event is its (leg, SSRC, timestamp), RFC 4733 2.5.1.1."""

    def __init__(self, *, remembered: int = 32) -> None:
        """remembered: finished events kept per leg, to know their repetitions."""
        self._open: dict[int, tuple[tuple[int, int], Digit]] = {}
        self._done: dict[int, list[tuple[int, int]]] = {}
        self._remembered = remembered
        self.malformed = 0

    def packet(self, leg: int, ssrc: int, timestamp: int, payload: bytes, at_ns: int) -> Digit | None:
        """Take one telephone-event payload. Returns a digit when an event is over.

        That is at its end bit, or when the next event begins although the end was lost.
        """
        if len(payload) < 4:
            self.malformed += 1
            return None
        code, flags = payload[0], payload[1]
        duration = int.from_bytes(payload[2:4], "big")
        key = (ssrc, timestamp)
        if code >= _FLASH or key in self._done.get(leg, ()):
            return None
        finished = None
        running = self._open.get(leg)
        if running is None or running[0] != key:
            finished = self._finish(leg)
            running = (key, Digit(leg=leg, digit=DIGITS[code], at_ns=at_ns, duration=duration))
            self._open[leg] = running
        digit = running[1]
        digit.duration = max(digit.duration, duration)
        if flags & 0x80:
            return finished or self._finish(leg)
        return finished

    def close(self, leg: int) -> Digit | None:
        """End of a leg: its running event, if any, and nothing is remembered."""
        digit = self._finish(leg)
        self._done.pop(leg, None)
        return digit

    def _finish(self, leg: int) -> Digit | None:
        running = self._open.pop(leg, None)
        if running is None:
            return None
        done = self._done.setdefault(leg, [])
        done.append(running[0])
        del done[: -self._remembered]
        return running[1]
