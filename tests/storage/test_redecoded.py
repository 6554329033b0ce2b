"""What a document says once packets that were kept raw have been decoded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from siprec.storage.model import Event, Finding, Recording
from siprec.storage.redecoded import LegRedecoded, take_over
from tests.helpers.kept import T0, kept_document


def told(leg: int = 0, **more: Any) -> LegRedecoded:
    known: dict[str, Any] = {
        "leg": leg,
        "packets": 50,
        "left": 0,
        "late": 0,
        "first_s": 1.25,
        "codecs": ["PCMA"],
        "payloads": {"96": "PCMA/8000"},
    }
    return LegRedecoded(**(known | more))


def document(**extra: object) -> Recording:
    made = kept_document(50, **extra)
    made.path = "/calls/2026/03/14/one/audio.wav"
    return made


def add(made: Recording, reason: str, *, leg: int | None) -> None:
    """One more reason, on a leg and on the whole, or on the whole alone."""
    verdicts = [made.verdict] + ([made.legs[leg].verdict] if leg is not None else [])
    for verdict in verdicts:
        verdict.result = "incomplete"
        verdict.reasons.append(reason)
        verdict.findings.append(Finding(reason=reason, leg=leg))


def test_a_leg_that_is_whole_now_is_complete_and_so_is_the_recording() -> None:
    made = document()
    made.events = [Event(at_s=1.0, type="source"), Event(at_s=2.0, type="ended")]
    take_over(made, [told()], uid=1000)
    assert made.verdict.to_dict() == {"result": "complete", "reasons": [], "findings": []}
    assert made.legs[0].verdict == made.verdict
    assert made.legs[0].codecs == ["PCMA"]
    assert (made.legs[0].extra["redecoded"], made.legs[0].extra["payloads_given"]) == (
        50,
        {"96": "PCMA/8000"},
    )
    assert (made.path, made.extra["original"]) == ("/calls/2026/03/14/one/audio-redecoded.wav", "audio.wav")
    assert [event.type for event in made.events] == ["source", "redecoded", "ended"]
    assert made.events[1].extra == {"legs": [0], "codecs": ["PCMA"], "packets": 50, "uid": 1000}


@pytest.mark.parametrize(
    "more", [{"left": 1, "packets": 49}, {"packets": 49}], ids=["one is left", "one is not in the dump"]
)
def test_a_leg_of_which_something_is_left_stays_incomplete(more: dict[str, int]) -> None:
    made = document()
    take_over(made, [told(**more)], uid=0)
    assert (made.verdict.result, made.verdict.reasons) == ("incomplete", ["undecodable"])
    assert made.extra["original"] == "audio.wav"


def test_packets_that_are_in_no_dump_are_missing_for_good() -> None:
    made = document(not_kept=3)
    take_over(made, [told()], uid=0)
    assert made.verdict.reasons == ["undecodable"]


def test_other_reasons_stay_and_what_only_explained_goes() -> None:
    made = document()
    add(made, "loss", leg=0)
    add(made, "dtls", leg=0)
    add(made, "ended_without_bye", leg=None)
    take_over(made, [told()], uid=0)
    assert made.verdict.reasons == ["loss", "ended_without_bye"]
    assert [finding.reason for finding in made.verdict.findings] == ["loss", "ended_without_bye"]
    assert (made.verdict.result, made.legs[0].verdict.reasons) == ("incomplete", ["loss"])


def test_a_reason_that_another_leg_has_too_stays() -> None:
    made = document()
    add(made, "undecodable", leg=1)
    made.verdict.reasons = ["undecodable"]
    take_over(made, [told()], uid=0)
    assert (made.verdict.result, made.verdict.reasons) == ("incomplete", ["undecodable"])
    assert [finding.leg for finding in made.verdict.findings] == [1]
    assert made.legs[0].verdict.result == "complete"


def test_what_came_too_late_for_its_place_is_said() -> None:
    made = document()
    take_over(made, [told(late=2)], uid=0)
    assert made.verdict.reasons == made.legs[0].verdict.reasons == ["late"]
    assert (made.verdict.result, made.legs[0].late) == ("incomplete", 2)


def test_the_noise_by_which_an_encrypted_stream_was_recognised_is_still_in_the_audio() -> None:
    made = document(probable_srtp=50)
    add(made, "probable_srtp", leg=0)
    made.legs[0].packets, made.legs[0].first_packet_at = 62, (T0 + timedelta(seconds=1)).isoformat()
    take_over(made, [told(payloads={})], uid=0)
    assert (made.verdict.result, made.verdict.reasons) == ("incomplete", ["probable_srtp"])
    (found,) = made.verdict.findings
    assert (found.reason, found.leg, found.at_s, found.length_s) == ("probable_srtp", 0, 1.0, 0.25)
    assert "payloads_given" not in made.legs[0].extra


def test_a_leg_that_is_not_there_is_refused_and_nothing_has_changed() -> None:
    made = document()
    with pytest.raises(ValueError, match="no such leg"):
        take_over(made, [told(), told(7)], uid=0)
    assert made == document()


@pytest.mark.parametrize(
    "wrong",
    [
        {"leg": -1},
        {"packets": True},
        {"left": 1.5},
        {"late": "0"},
        {"first_s": -1},
        {"first_s": float("nan")},
        {"first_s": "x"},
        {"codecs": "PCMA"},
        {"codecs": [1]},
        {"codecs": ["x" * 301]},
        {"codecs": ["x"] * 301},
        {"payloads": []},
        {"payloads": {"96": None}},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_leg_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a leg"):
        LegRedecoded.from_dict(told().to_dict() | wrong)


def test_plain_data_goes_there_and_back() -> None:
    assert LegRedecoded.from_dict(told().to_dict()) == told()
    with pytest.raises(ValueError, match="not a leg"):
        LegRedecoded.from_dict(None)
