"""Alarms: one function for everything that somebody should look at."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from prometheus_client import CollectorRegistry, Counter

from siprec.daemon.logs import RecordingLog

LINES_PER_KIND = 10
WINDOW_S = 10.0

_log = logging.getLogger("siprec.alarm")


class AlarmKind(StrEnum):
    """What an alarm is about; also the label of its counter, so the set is closed."""

    NO_MEDIA = "no_media"
    ONE_WAY = "one_way"
    UNDECODABLE = "undecodable"
    UNDECRYPTABLE = "undecryptable"
    PROBABLE_SRTP = "probable_srtp"
    PACKETS_DROPPED = "packets_dropped"
    FLOOD = "flood"
    CALL_REFUSED = "call_refused"
    METADATA = "metadata"
    DISK_LOW = "disk_low"
    DISK_ERROR = "disk_error"
    DISK_STALLED = "disk_stalled"
    CATALOG_AWAY = "catalog_away"
    WORKER_DIED = "worker_died"
    CLOCK_STEP = "clock_step"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm as handed to the listener."""

    kind: AlarmKind
    text: str
    recording: str | None = None
    "Id of the recording it is about, if any."
    leg: int | None = None
    "Its leg, if it is about one."


class Alarms:
    """Raises alarms: a log line, a count by kind, and an event for the listener.

    Every alarm is counted and handed on; of one kind at most LINES_PER_KIND lines are logged in WINDOW_S seconds, and
    the first line after that says how many were left out.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        listener: Callable[[Alarm], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._count = Counter("siprec_alarms", "Alarms raised, by kind", ["kind"], registry=registry)
        self._listener, self._clock = listener, clock
        self._windows = {kind: _Window() for kind in AlarmKind}
        for kind in AlarmKind:
            self._count.labels(kind.value)

    def __call__(
        self, kind: AlarmKind, text: str, *, recording: str | None = None, leg: int | None = None
    ) -> None:
        """Raise an alarm. `text` says in one line what happened and what to do."""
        self._count.labels(kind.value).inc()
        left_out = self._windows[kind].admit(self._clock())
        if left_out is not None:
            more = f" ({left_out} more of this kind were not logged)" if left_out else ""
            log = _log if recording is None else RecordingLog(_log, recording)
            where = "" if leg is None else f"leg {leg}: "
            log.warning("%s: %s%s%s", kind.value, where, text, more)
        if self._listener is not None:
            self._listener(Alarm(kind=kind, text=text, recording=recording, leg=leg))


@dataclass(slots=True)
class _Window:
    """How many lines of a kind were logged in the current window, and how many were left out since the last one."""

    until: float = float("-inf")
    lines: int = 0
    left_out: int = 0

    def admit(self, now: float) -> int | None:
        """None when the line is left out, else how many were left out before it."""
        if now >= self.until:
            self.until, self.lines = now + WINDOW_S, 0
        if self.lines >= LINES_PER_KIND:
            self.left_out += 1
            return None
        self.lines += 1
        before, self.left_out = self.left_out, 0
        return before
