"""How recordings are written for people."""

import datetime

from siprec.storage.model import Participant, Recording
from siprec.storage.timestamps import parse_rfc3339


def printable(text: str) -> str:
    """`text` with every control character escaped: what the network says does not reach the terminal as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def local(at: str | None) -> str:
    """An RFC 3339 time in the local zone, to the second."""
    if at is None:
        return "-"
    return parse_rfc3339(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """`1:02:03` or `2:03`."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def name(participant: Participant) -> str:
    """Name and address of a participant, whichever is known."""
    return printable(" ".join(part for part in (participant.name, participant.aor) if part)) or "unknown"


def verdict(recording: Recording) -> str:
    """The verdict with its reasons; the state while there is none."""
    found = recording.verdict
    if found.result is None:
        return "-"
    return f"{found.result} ({', '.join(found.reasons)})" if found.reasons else found.result


def elapsed(recording: Recording, *, now: datetime.datetime) -> float | None:
    """Length in seconds: as recorded, or so far."""
    if recording.duration_s is not None or recording.state != "recording":
        return recording.duration_s
    return (now - parse_rfc3339(recording.t0 or recording.started_at)).total_seconds()
