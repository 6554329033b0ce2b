"""`siprec ls`."""

from typing import Any

import pytest

from siprec.storage.model import Recording

Siprec = Any


def ids(siprec: Siprec, *args: str) -> list[str]:
    outcome = siprec("ls", "--json", *args)
    assert outcome.status == 0
    return [one["id"] for one in outcome.json]


def test_json_is_one_array_newest_first(siprec: Siprec, recordings: list[Recording]) -> None:
    assert siprec("ls", "--json").json == [one.to_dict() for one in reversed(recordings)]


@pytest.mark.parametrize(
    ("args", "numbers"),
    [
        (("--limit", "2"), [2, 1]),
        (("--state", "ended"), [1, 0]),
        (("--state", "recording", "--state", "recovered"), [2]),
        (("--verdict", "incomplete"), [1]),
        (("--party", "CALLER 2"), [2]),
        (("--party", "eve@"), [1]),
        (("--since", "2026-03-14T12:01:00Z"), [2, 1]),
        (("--since", "2026-03-14T13:01:00+01:00", "--until", "2026-03-14T12:02:00Z"), [1]),
        (("--until", "2026-03-13"), []),
        (("--since", "2h", "--until", "1s"), []),
    ],
)
def test_filters_choose_by_time_party_state_and_verdict(
    siprec: Siprec, recordings: list[Recording], args: tuple[str, ...], numbers: list[int]
) -> None:
    assert ids(siprec, *args) == [recordings[number].id for number in numbers]


def test_the_table_has_a_line_for_each_and_nothing_that_steers_a_terminal(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    heading, *lines = siprec("ls").out.splitlines()
    assert heading.split() == ["started", "length", "state", "verdict", "participants", "id"]
    assert [line.split()[-1] for line in lines] == [one.id for one in reversed(recordings)]
    assert r"incomplete (gap)  Eve\x1b[31m[red] sip:eve@example.net" in lines[1]
    assert "1:01" in lines[2]


def test_an_empty_choice_is_an_empty_array(siprec: Siprec, recordings: list[Recording]) -> None:
    assert recordings
    assert siprec("ls", "--json", "--party", "nobody").json == []
