"""Telephone events (RFC 4733): one digit per key that was pressed, whatever is repeated, lost, late or overlapping.

Only DTMF events, codes 0 to 15 (3.2), are digits. The others are left out: 16 (flash) is reserved, and the tones of RFC 4734
and 5244 (fax, modem, trunks) are signals of machines that nobody pressed; their packets count among the leg's events.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DIGITS = "0123456789*#ABCD"
_FLASH = 16
_END = 0x80
_SEGMENT = 0xFFFF
"Longest duration of a report; what goes on is told in further segments (2.5.1.3)."
_BLOCK = 4
MAX_BLOCKS = 8
"Events taken from one packet (2.5.1.5)."
MAX_SENDERS = 4
"SSRCs of a leg that may have a key down at a time."


@dataclass(slots=True)
class Digit:
    """A key that was pressed.

    at_ns: arrival of the first packet heard of it (monotonic); duration in timestamp units, over all segments.
    """

    leg: int
    digit: str
    at_ns: int
    duration: int


@dataclass(slots=True)
class _Event:
    """An event that was heard of. start: timestamp of its first segment heard; last: offset of its newest segment."""

    ssrc: int
    start: int
    digit: Digit
    last: int = 0
    ended: bool = False

    def offset(self, timestamp: int) -> int:
        """How far a timestamp lies behind the start: -2**31 to 2**31-1."""
        return ((timestamp - self.start + 2**31) & 0xFFFFFFFF) - 2**31

    def has(self, ssrc: int, code: str, timestamp: int) -> bool:
        """Whether a report is about this event.

        A report of the same key that begins inside it, or where it would go on: no key can be pressed again before it
        was let go. This also knows a sender that moves the timestamp with every report.
        """
        if ssrc != self.ssrc or code != self.digit.digit:
            return False
        offset = self.offset(timestamp)
        if self.ended:
            return offset == 0 or 0 < offset < self.digit.duration
        behind = offset - self.last
        goes_on = behind > 0 and behind % _SEGMENT == 0  # its last reports may be lost
        return 0 <= offset <= self.digit.duration or goes_on

    def take(self, timestamp: int, duration: int) -> None:
        """Take a report that `has` has found to be of this event."""
        offset = self.offset(timestamp)
        self.last = max(self.last, offset)
        self.digit.duration = max(self.digit.duration, offset + duration)


@dataclass(slots=True)
class _Leg:
    running: dict[int, _Event] = field(default_factory=dict)
    "By SSRC: the key that is down."
    done: list[_Event] = field(default_factory=list)
    "The newest last."


class DigitCollector:
    """Collects the events of all legs. A key is told once: at its end, or when something shows that it is over."""

    def __init__(self, *, remembered: int = 32) -> None:
        """remembered: finished events kept per leg, to know their repetitions."""
        self._legs: dict[int, _Leg] = {}
        self._remembered = remembered
        self.malformed = 0
        "Payloads that are no whole number of events, or too many of them; what is whole counts."

    def packet(self, leg: int, ssrc: int, timestamp: int, payload: bytes, at_ns: int) -> list[Digit]:
        """Take one telephone-event payload; returns the digits that are over by it, in order.

        Several events in one payload follow each other without a pause (2.5.2.4).
        """
        whole = min(len(payload) // _BLOCK, MAX_BLOCKS)
        if not whole or len(payload) != whole * _BLOCK:
            self.malformed += 1
        over: list[Digit] = []
        for i in range(whole):
            code, flags = payload[_BLOCK * i], payload[_BLOCK * i + 1]
            duration = int.from_bytes(payload[_BLOCK * i + 2 : _BLOCK * i + 4], "big")
            empty = not duration and not flags & _END
            if code < _FLASH and not (i and empty):  # bytes of zero behind an event are no key
                over += self._report(leg, ssrc, timestamp, code, flags, duration, at_ns)
            timestamp = (timestamp + duration) & 0xFFFFFFFF
        return over

    def _report(
        self, leg: int, ssrc: int, timestamp: int, code: int, flags: int, duration: int, at_ns: int
    ) -> list[Digit]:
        """Take the report of one event."""
        state = self._legs.setdefault(leg, _Leg())
        key = DIGITS[code]
        running = state.running.get(ssrc)
        if running is not None and running.has(ssrc, key, timestamp):
            running.take(timestamp, duration)
            if not flags & _END:
                return []
            running.ended = True
            return self._finish(state, ssrc)
        if any(event.has(ssrc, key, timestamp) for event in state.done):
            return []
        event = _Event(ssrc, timestamp, Digit(leg, key, at_ns, duration), ended=bool(flags & _END))
        over = []
        if running is not None and running.offset(timestamp) < 0:
            # it was over when the running one began: its packets come late
            state.running[ssrc] = event
            over = self._finish(state, ssrc)
            state.running[ssrc] = running
            return over
        if running is not None:
            over = self._finish(state, ssrc)
        elif len(state.running) >= MAX_SENDERS:
            over = self._finish(state, next(iter(state.running)))
        state.running[ssrc] = event
        return over + self._finish(state, ssrc) if event.ended else over

    def close(self, leg: int) -> list[Digit]:
        """End of a leg: its running events, and nothing is remembered."""
        state = self._legs.pop(leg, _Leg())
        return [digit for ssrc in list(state.running) for digit in self._finish(state, ssrc)]

    def _finish(self, state: _Leg, ssrc: int) -> list[Digit]:
        """End the running event of an SSRC; one that was never more than a report of no length is not told (2.3.5)."""
        event = state.running.pop(ssrc)
        if not (event.digit.duration or event.ended):
            return []
        state.done.append(event)
        del state.done[: -self._remembered]
        return [event.digit]
