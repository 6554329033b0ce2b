"""The verdict on a recording, from what its legs' reports and the call's own history say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from siprec.daemon.live import IMPORTANT_EVENTS, MAX_EVENTS, LiveLeg, LiveRecording
from siprec.media.protocol import LegReport, LegSpec
from siprec.recording.verdict import Found

S = 1_000_000_000
ZERO_S, DURATION_S, NO_MEDIA_S = 1000.0, 60.0, 10.0
ENOUGH = {
    "packets": 500,
    "lost": 0,
    "late": 0,
    "dropped": 0,
    "undecodable": 0,
    "undecryptable": 0,
    "probable_srtp": 0,
    "second_sender": 0,
    "t38": 0,
    "dtls": 0,
    "stun": 0,
}


def live_leg(*, active_since: float | None = ZERO_S - 0.1, **more: Any) -> LiveLeg:
    spec = LegSpec(leg=0, channel=0, dump="leg0.rtpdump", remote=None, rtcp_remote=None, payloads={})
    known = {"id": 0, "index": 0, "call_id": "1", "pair": cast(Any, None), "label": "1", "was_active": True}
    return LiveLeg(spec=spec, active_since=active_since, joined=ZERO_S - 0.1, **known | more)


def report(**more: Any) -> LegReport:
    """A leg that was heard to the end. more: what is otherwise."""
    known: dict[str, Any] = {
        "leg": 0,
        "counts": ENOUGH,
        "ssrcs": [1],
        "codecs": ["PCMU"],
        "jitter_ms": 0.0,
        "first_at": 0.1,
        "last_at": DURATION_S - 0.02,
        "covered_until": DURATION_S,
        "gaps": [],
        "spans": {},
        "sender_packets": None,
    }
    return LegReport(**known | more)


def ended(*legs: LiveLeg, **more: Any) -> LiveRecording:
    """A recording of a minute that the peer has ended."""
    return LiveRecording(
        id="0192",
        folder=Path(),
        audio=Path(),
        format="wav",
        rate=8000,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        opened_ns=int((ZERO_S - 1) * S),
        opened_unix_ns=0,
        session=cast(Any, None),
        legs=list(legs),
        t0_ns=int(ZERO_S * S),
        end_ns=int((ZERO_S + DURATION_S) * S),
        ended_by_peer=True,
        **more,
    )


def found_in(live: LiveRecording) -> list[Found]:
    return live.judge(no_media_s=NO_MEDIA_S).found


def test_a_leg_that_was_heard_to_the_end_is_complete():
    live = ended(live_leg(report=report()))
    assert found_in(live) == []
    assert live.legs[0].judgement is not None
    assert live.legs[0].judgement.result == "complete"


@pytest.mark.parametrize(
    ("last_at", "covered_until", "place"),
    [
        (39.98, 40.0, 40.0),
        (44.0, 40.0, 44.0),  # comfort noise or a digit, later than all audio
        (44.0, None, 44.0),
    ],
)
def test_the_last_sign_of_life_is_sound_or_any_other_packet(last_at, covered_until, place):
    live = ended(live_leg(report=report(last_at=last_at, covered_until=covered_until)))
    assert found_in(live) == [Found(reason="no_media", leg=0, at_s=place, length_s=DURATION_S - place)]
    live = ended(live_leg(report=report(last_at=DURATION_S - 9, covered_until=covered_until)))
    assert found_in(live) == []


def test_silence_of_a_leg_on_hold_is_as_it_should_be():
    stopped = report(last_at=20.0, covered_until=20.0)
    assert found_in(ended(live_leg(report=stopped, active_since=None))) == []
    assert found_in(ended(live_leg(report=stopped, active_since=ZERO_S + 55))) == []
    (found,) = found_in(ended(live_leg(report=stopped, active_since=ZERO_S + 45)))
    assert (found.at_s, found.length_s) == (pytest.approx(45.0), pytest.approx(15.0))


def test_undecodable_packets_have_the_place_that_the_worker_tells():
    counts = ENOUGH | {"undecodable": 3, "not_kept": 3}
    (found,) = found_in(ended(live_leg(report=report(counts=counts, spans={"undecodable": [2.0, 2.5]}))))
    assert found == Found(reason="undecodable", leg=0, at_s=2.0, length_s=0.5)


def test_deaths_of_workers_stand_on_the_clock_of_the_recording_and_are_bounded():
    live = ended(live_leg(report=report()))
    for at_s in (-0.5, 30.0):
        live.interrupt(int((ZERO_S + at_s) * S))
    assert [found.at_s for found in found_in(live)] == pytest.approx([0.0, 30.0])
    for _ in range(MAX_EVENTS):
        live.interrupt(live.opened_ns)
    assert len(live.interrupted) == MAX_EVENTS


def test_the_end_and_alarms_have_room_among_the_events_whatever_came_before():
    live = ended(live_leg(report=report()))
    for number in range(MAX_EVENTS + 5):
        live.event(live.opened_ns, "participant_joined", number=number)
    live.event(live.opened_ns, "ended", important=True)
    assert (len(live.events), live.events[-1].type, live.events_left_out) == (MAX_EVENTS + 1, "ended", 5)
    for _ in range(2 * IMPORTANT_EVENTS):
        live.event(live.opened_ns, "no_media", important=True)
    assert len(live.events) == MAX_EVENTS + IMPORTANT_EVENTS


def test_what_the_disk_refused_is_behind_the_frames_of_the_file():
    live = ended(live_leg(report=report()), frames=8000 * 50, write_error="no space left on device")
    assert found_in(live) == [Found(reason="write_error", at_s=50.0, length_s=10.0)]


def test_a_leg_without_a_report_has_no_media():
    assert [found.reason for found in found_in(ended(live_leg()))] == ["no_media"]
