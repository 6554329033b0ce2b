"""The picture of `siprec top`, without a daemon."""

import io
from typing import Any

import pytest
from rich.console import Console

from siprec.cli.top import bar, level, screen


def leg(**values: object) -> dict[str, Any]:
    return {
        "leg": 0,
        "channel": 0,
        "label": "1",
        "role": "caller",
        "participants": [{"aor": "sip:alice@a.example", "name": "Alice"}],
        "port": 10_000,
        "active": True,
        "level_db": -20.0,
    } | values


def call(number: int, *legs: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"call-{number}", "duration_s": 61.4 + number, "legs": legs or (leg(),)}


def drawn(
    *calls: dict[str, Any], lines: int | None = None, draining: bool = False, width: int = 200
) -> list[str]:
    out = io.StringIO()
    snapshot = {"calls": list(calls), "capacity": 2_500, "draining": draining}
    Console(file=out, width=width).print(screen(snapshot, lines=lines))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("db", "cells"),
    [(0, "█" * 8), (6, "█" * 8), (-30, "████    "), (-60, " " * 8), (-96, " " * 8), (-56.25, "▌       ")],
)
def test_the_bar_goes_from_minus_60_db_to_full_scale(db: float, cells: str) -> None:
    assert bar(db, 8) == cells


def test_a_leg_without_a_level_says_why() -> None:
    assert level(leg(level_db=None)) == "nothing received"
    assert level(leg(active=False)) == "on hold"
    assert level(leg()).endswith("  -20.0 dB")


def test_the_newest_call_is_first_and_each_leg_has_its_line() -> None:
    lines = drawn(call(1), call(2, leg(), leg(role="callee", participants=[])))
    assert lines[0] == "2 calls, room for 2,500"
    assert [line.split()[:2] for line in lines[2:]] == [
        ["1:03", "caller"],
        ["callee", "unknown"],
        ["1:02", "caller"],
    ]
    assert lines[2].endswith("call-2")


def test_what_does_not_fit_is_counted() -> None:
    lines = drawn(call(1), call(2), call(3, leg(), leg()), lines=3)
    assert [line.split()[-1] for line in lines[2:]] == ["call-3", "dB", "call-2", "more"]
    assert lines[-1] == "and 1 more"


def test_80_columns_have_room_for_the_levels() -> None:
    identity = "01a20b4e-b84a-70cc-b79c-1b4c9eeecec9"
    name = {"aor": "sip:alice@very.long.name.example.com", "name": "Alice Liddell"}
    one = call(1, leg(participants=[name], level_db=-6.0), leg(role="callee")) | {"id": identity}
    lines = drawn(one, width=80)
    assert len(lines) == 4
    assert len(lines[2]) <= 80
    for part in ("1:02  caller  Alice", "…", "█" * 18, "-6.0 dB", "01a20b4e-b84a"):
        assert part in lines[2]


def test_a_drain_is_shown() -> None:
    assert drawn(call(1), draining=True)[0] == "1 call, room for 2,500; draining, new calls are refused"


def test_names_from_the_network_do_not_reach_the_terminal_as_they_are() -> None:
    hostile = leg(participants=[{"aor": "sip:eve@a.example", "name": "Eve\x1b[2J[red]"}])
    text = "\n".join(drawn(call(1, hostile)))
    assert "\x1b" not in text
    assert "[red]" in text


def test_without_a_daemon_it_says_what_to_do(siprec: Any) -> None:
    for args in (("top",), ("top", "--json"), ("drain",)):
        outcome = siprec(*args)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.endswith("start it with `siprec serve`\n")
        assert outcome.err.count("\n") == 1
