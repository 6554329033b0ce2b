"""The verdict says complete only when everything that was counted says so, and else why and where."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.recording import verdict as verdicts
from siprec.recording.verdict import (
    COMPLETE,
    INCOMPLETE,
    MAX_FINDINGS,
    UNVERIFIABLE,
    Found,
    LegEvidence,
)

DURATION_S, NO_MEDIA_S = 60.0, 10.0
judge = partial(verdicts.judge, duration_s=DURATION_S, no_media_s=NO_MEDIA_S)
judge_leg = partial(verdicts.judge_leg, duration_s=DURATION_S, no_media_s=NO_MEDIA_S)

GOOD = LegEvidence(leg=0, was_active=True, packets=500)
OTHER = replace(GOOD, leg=1)
SILENT = LegEvidence(leg=1, was_active=True, packets=0)
HELD = LegEvidence(leg=1, was_active=False, packets=0)
STOPPED = replace(GOOD, heard_until=45.5, to_send_from=0.0)


def test_a_call_of_which_nothing_is_missing_is_complete():
    verdict = judge([GOOD, OTHER], ended_by_peer=True)
    assert (verdict.result, verdict.reasons, verdict.found) == (COMPLETE, [], [])


def test_a_sender_that_counts_what_came_and_what_is_known_to_be_lost_adds_nothing():
    assert judge_leg(replace(GOOD, sender_packets=500)).result == COMPLETE
    assert judge_leg(replace(GOOD, sender_packets=20)).result == COMPLETE
    lossy = replace(GOOD, lost=3, gaps=((1.0, 1.06, 3),))
    assert judge_leg(lossy) == judge_leg(replace(lossy, sender_packets=503))


def test_what_is_missing_for_a_second_is_a_gap_and_less_is_loss_each_with_place_and_length():
    verdict = judge_leg(replace(GOOD, lost=51, gaps=((2.0, 2.02, 1), (7.5, 8.5, 50))))
    assert verdict.result == INCOMPLETE
    assert verdict.reasons == ["loss", "gap"]
    assert [(f.reason, f.leg, f.at_s, f.length_s) for f in verdict.found] == [
        ("loss", 0, 2.0, pytest.approx(0.02)),
        ("gap", 0, 7.5, 1.0),
    ]


@pytest.mark.parametrize(
    "leg",
    [
        replace(GOOD, lost=2, gaps=((2.0, 2.02, 1),)),
        replace(GOOD, sender_packets=501),
    ],
)
def test_loss_without_a_place_is_loss_all_the_same(leg):
    verdict = judge_leg(leg)
    assert verdict.reasons == ["loss"]
    assert verdict.found[-1] == Found(reason="loss", leg=0)


def test_what_came_too_late_is_named_with_its_place():
    verdict = judge_leg(replace(GOOD, late=3, gaps=((4.0, 4.06, 0),)))
    assert verdict.reasons == ["late"]
    (found,) = verdict.found
    assert (found.at_s, found.length_s) == (4.0, pytest.approx(0.06))
    assert judge_leg(replace(GOOD, late=3)).found == [Found(reason="late", leg=0)]


@pytest.mark.parametrize("reason", ["late", "dropped", "undecodable"])
def test_one_packet_is_enough(reason):
    assert judge_leg(replace(GOOD, **{reason: 1})).reasons == [reason]
    assert judge([replace(GOOD, **{reason: 1}), OTHER], ended_by_peer=True).reasons == [reason]


def test_one_silent_leg_of_two_is_one_way_and_two_are_not():
    assert judge([GOOD, SILENT], ended_by_peer=True).reasons == ["no_media", "one_way"]
    assert [f.leg for f in judge([GOOD, SILENT], ended_by_peer=True).found] == [1, 1]
    assert judge([replace(SILENT, leg=0), SILENT], ended_by_peer=True).reasons == ["no_media"]


def test_silence_of_a_whole_leg_is_as_long_as_the_recording_or_as_the_leg_was_part_of_it():
    assert judge([GOOD, SILENT], ended_by_peer=True).found == [
        Found(reason=reason, leg=1, at_s=0.0, length_s=DURATION_S) for reason in ("no_media", "one_way")
    ]
    joined = replace(SILENT, joined=20.0)
    assert judge_leg(joined).found == [Found(reason="no_media", leg=1, at_s=20.0, length_s=40.0)]
    assert judge_leg(SILENT, duration_s=None).found == [Found(reason="no_media", leg=1, at_s=0.0)]


def test_a_leg_that_stops_sending_before_the_end_has_no_media_from_its_last_packet_on():
    missing = Found(reason="no_media", leg=0, at_s=45.5, length_s=14.5)
    assert judge_leg(STOPPED).found == [missing]
    verdict = judge([STOPPED, OTHER], ended_by_peer=True)
    assert (verdict.result, verdict.reasons, verdict.found) == (INCOMPLETE, ["no_media"], [missing])


@pytest.mark.parametrize(("silent_s", "result"), [(9.9, COMPLETE), (10.0, INCOMPLETE)])
def test_a_pause_before_the_end_that_is_shorter_than_the_bound_is_none(silent_s, result):
    assert judge_leg(replace(STOPPED, heard_until=DURATION_S - silent_s)).result == result


def test_a_leg_that_was_on_hold_at_the_end_has_not_stopped_sending():
    assert judge_leg(replace(STOPPED, to_send_from=None)).result == COMPLETE


def test_after_a_hold_silence_counts_from_its_end_on():
    assert judge_leg(replace(STOPPED, to_send_from=50.5)).result == COMPLETE
    (found,) = judge_leg(replace(STOPPED, heard_until=5.0, to_send_from=48.0)).found
    assert (found.at_s, found.length_s) == (48.0, 12.0)


def test_undecodable_packets_stand_from_the_first_to_the_last():
    (found,) = judge_leg(replace(GOOD, undecodable=7, spans={"undecodable": (3.0, 5.5)})).found
    assert found == Found(reason="undecodable", leg=0, at_s=3.0, length_s=2.5)


def test_a_fax_is_named_with_its_place_beside_whatever_else_the_leg_has():
    fax = replace(GOOD, t38=50, spans={"t38": (3.0, 5.5)})
    found = Found(reason="t38", leg=0, at_s=3.0, length_s=2.5)
    assert judge_leg(fax).found == [found]
    nothing_else = replace(fax, packets=0, was_active=False)
    assert (judge_leg(nothing_else).result, judge_leg(nothing_else).found) == (INCOMPLETE, [found])
    assert judge_leg(replace(fax, packets=0)).reasons == ["no_media", "t38"]


@pytest.mark.parametrize("reason", ["dtls", "stun"])
def test_what_came_instead_of_media_is_named_only_where_nothing_could_be_recorded(reason):
    came = {reason: 4}
    assert judge_leg(replace(GOOD, **came)).result == COMPLETE
    assert judge_leg(replace(GOOD, packets=0, **came)).reasons == ["no_media", reason]
    assert judge_leg(replace(GOOD, undecodable=GOOD.packets, **came)).reasons == ["undecodable", reason]
    assert judge_leg(replace(GOOD, undecodable=GOOD.packets - 1, **came)).reasons == ["undecodable"]
    assert judge_leg(replace(GOOD, packets=0, was_active=False, **came)).reasons == ["inactive"]


def test_every_death_of_a_worker_is_found_at_its_moment():
    verdict = judge([GOOD, OTHER], ended_by_peer=True, interrupted=[4.0, 9.0])
    assert verdict.reasons == ["interrupted"]
    assert verdict.found == [Found(reason="interrupted", at_s=4.0), Found(reason="interrupted", at_s=9.0)]


def test_what_the_disk_refused_is_behind_the_end_of_the_file():
    refused = partial(judge, [GOOD, OTHER], ended_by_peer=True, write_error=True)
    assert refused(written_s=58.0).found == [Found(reason="write_error", at_s=58.0, length_s=2.0)]
    for written_s in (None, DURATION_S, DURATION_S + 0.1):
        assert refused(written_s=written_s).found == [Found(reason="write_error")]


def test_a_call_without_a_bye_ends_at_its_end():
    assert judge([GOOD], ended_by_peer=False).found == [Found(reason="ended_without_bye", at_s=DURATION_S)]


def test_a_leg_that_was_never_to_send_does_not_make_the_other_incomplete():
    assert judge_leg(HELD).result == UNVERIFIABLE
    assert judge([GOOD, HELD], ended_by_peer=True).result == COMPLETE


def test_a_call_in_which_nothing_was_ever_to_be_sent_is_unverifiable():
    for legs in ([], [HELD], [replace(HELD, leg=0), HELD]):
        verdict = judge(legs, ended_by_peer=True)
        assert (verdict.result, verdict.reasons) == (UNVERIFIABLE, ["inactive"])


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"ended_by_peer": False}, "ended_without_bye"),
        ({"ended_by_peer": True, "write_error": True}, "write_error"),
        ({"ended_by_peer": True, "interrupted": [1.0]}, "interrupted"),
    ],
)
@pytest.mark.parametrize("legs", [[GOOD, OTHER], [HELD]])
def test_what_happened_to_the_call_as_a_whole_is_a_reason(what, reason, legs):
    verdict = judge(legs, **what)
    assert (verdict.result, verdict.reasons) == (INCOMPLETE, [reason])


def test_findings_are_bounded_and_reasons_are_complete_all_the_same():
    gaps = tuple((float(i), i + 0.02, 1) for i in range(5 * MAX_FINDINGS))
    verdict = judge([replace(GOOD, lost=len(gaps), gaps=gaps), replace(OTHER, late=1)], ended_by_peer=False)
    assert len(verdict.found) == MAX_FINDINGS
    assert verdict.reasons == ["loss", "late", "ended_without_bye"]


counts = st.integers(0, 3)
evidence = st.builds(
    LegEvidence,
    leg=st.integers(0, 3),
    was_active=st.booleans(),
    packets=counts,
    lost=counts,
    late=counts,
    dropped=counts,
    undecodable=counts,
    heard_until=st.none() | st.floats(0, 60),
    to_send_from=st.none() | st.floats(0, 60),
    sender_packets=st.none() | st.integers(0, 9),
    gaps=st.lists(
        st.tuples(st.floats(0, 9), st.floats(0, 9), counts).map(lambda g: (g[0], g[0] + g[1], g[2])),
        max_size=4,
    ).map(tuple),
)


@given(st.lists(evidence, max_size=4), st.booleans(), st.booleans(), st.lists(st.floats(0, 60), max_size=2))
def test_a_verdict_is_complete_exactly_when_no_reason_is_found(legs, by_peer, error, interrupted):
    verdict = judge(legs, ended_by_peer=by_peer, write_error=error, interrupted=interrupted)
    assert verdict.result in (COMPLETE, INCOMPLETE, UNVERIFIABLE)
    assert (verdict.result == COMPLETE) == (not verdict.reasons) == (not verdict.found)
    assert len(set(verdict.reasons)) == len(verdict.reasons)
    assert {f.reason for f in verdict.found} == set(verdict.reasons)
    if verdict.result == COMPLETE:
        assert any(leg.packets for leg in legs)
        assert not any(
            leg.packets and (leg.lost or leg.late or leg.dropped or leg.undecodable) for leg in legs
        )
