"""Points in time as people write them."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.cli.moments import moment

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("today", "2026-03-14T00:00:00+02:00"),
        ("yesterday", "2026-03-13T00:00:00+02:00"),
        ("90s", "2026-03-14T15:07:56+02:00"),
        ("30m", "2026-03-14T14:39:26+02:00"),
        ("2h", "2026-03-14T13:09:26+02:00"),
        ("7d", "2026-03-07T15:09:26+02:00"),
        ("1w", "2026-03-07T15:09:26+02:00"),
        ("2026-01-31", "2026-01-31T00:00:00+02:00"),
        ("2026-01-31T10:00", "2026-01-31T10:00:00+02:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
        (" 2026-01-31T10:00:00.5+01:00 ", "2026-01-31T10:00:00.5+01:00"),
    ],
)
def test_a_written_time_is_understood(written: str, meant: str) -> None:
    assert moment(written, now=NOW) == datetime.fromisoformat(meant)


@pytest.mark.parametrize(
    "written", ["", "2", "h", "-2h", "2 fortnights", "tomorrow", "2026-02-30", "999999w"]
)
def test_anything_else_is_refused_with_what_is_allowed(written: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time, a date, today"):
        moment(written, now=NOW)


@given(st.text(max_size=20))
def test_any_text_is_an_aware_time_or_refused(written: str) -> None:
    try:
        found = moment(written, now=NOW)
    except ValueError:
        return
    assert found.tzinfo is not None
