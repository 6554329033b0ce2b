"""UTC times as documents carry them: RFC 3339 with microseconds and `Z`."""

from __future__ import annotations

import datetime

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def from_unix_ns(unix_ns: int) -> datetime.datetime:
    """Nanoseconds since 1970 as an aware UTC time, cut to microseconds."""
    return _EPOCH + datetime.timedelta(microseconds=unix_ns // 1000)


def rfc3339(moment: datetime.datetime) -> str:
    """An aware time as `2026-01-31T23:59:59.000000Z`; such texts sort as the times do. Raises ValueError if naive."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone means nothing")
    return f"{moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_rfc3339(text: str) -> datetime.datetime:
    """The time in UTC. Raises ValueError if `text` is no RFC 3339 time with a zone."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(datetime.UTC)
