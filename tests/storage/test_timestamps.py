import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.storage.timestamps import from_unix_ns, parse_rfc3339, rfc3339

moments = st.datetimes(
    datetime.datetime(1971, 1, 1), datetime.datetime(9000, 1, 1), timezones=st.just(datetime.UTC)
)


@given(moments, moments)
def test_texts_read_back_and_sort_as_times_do(one, two):
    assert parse_rfc3339(rfc3339(one)) == one
    assert (rfc3339(one) < rfc3339(two)) == (one < two)


def test_nanoseconds_are_cut_to_microseconds():
    assert rfc3339(from_unix_ns(1_700_000_000_123_456_789)) == "2023-11-14T22:13:20.123456Z"


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "yesterday", ""])
def test_a_time_without_zone_or_sense_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_rfc3339(text)
    with pytest.raises(ValueError, match="zone"):
        rfc3339(datetime.datetime(2026, 1, 1))


def test_another_zone_becomes_utc():
    assert rfc3339(parse_rfc3339("2026-01-01T01:00:00+01:00")) == "2026-01-01T00:00:00.000000Z"
