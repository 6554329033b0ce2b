"""Times in rs-metadata (RFC 7865 6.9, RFC 3339), with the liberties senders take."""

import re
from datetime import UTC, datetime, timedelta, timezone

from siprec.recording.metadata import Timestamp

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]\s*([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,12}))?)?"
    r"\s*(?:[Zz]|UTC|GMT|([+-])([0-9]{2}):?([0-9]{2})?)?"
)


def read_time(text: str) -> Timestamp | None:
    """A timestamp, None for an empty one. Without a zone it is taken as UTC; `utc` is None if it makes no sense."""
    raw = text.strip()
    return Timestamp(raw, _utc(raw)) if raw else None


def write_time(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(raw: str) -> datetime | None:
    match = _TIME.fullmatch(raw)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(g or 0) for g in match.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    micros = int((fraction or "0").ljust(6, "0")[:6])
    try:
        zone = timezone(-offset if sign == "-" else offset)
        # A leap second is the last second of its minute for us.
        return datetime(year, month, day, hour, minute, min(second, 59), micros, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
