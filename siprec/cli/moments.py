"""Points in time as people write them."""

import datetime
import re

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
ALLOWED = "an RFC 3339 time, a date, today, yesterday, or how long ago such as 30m, 2h, 7d"


def moment(text: str, *, now: datetime.datetime) -> datetime.datetime:
    """A time before `now` (aware, whose zone is that of dates): `2h`, `today`, `2026-01-31`, or RFC 3339.

    Raises ValueError, saying what is allowed.
    """
    word = text.strip()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "today":
        return midnight
    if word == "yesterday":
        return midnight - datetime.timedelta(days=1)
    try:
        if ago := _AGO.fullmatch(word):
            return now - datetime.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.datetime.fromisoformat(word)
        return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not {ALLOWED}") from None
