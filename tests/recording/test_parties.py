import sys
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording.header_parties import SipFacts
from siprec.recording.metadata import (
    Extension,
    MetadataDocument,
    NameId,
    Participant,
    ParticipantStreams,
    Session,
    Stream,
)
from siprec.recording.metadata_state import RecordingMetadata
from siprec.recording.parties import ChannelPlan, MediaLine, plan_channels

NOBODY = SipFacts()


def lines(*labels: str | None) -> list[MediaLine]:
    return [MediaLine(index=i, label=label) for i, label in enumerate(labels)]


def state(
    *aors: str,
    streams: dict[str, str] | None = None,
    send: dict[str, list[str]] | None = None,
    extensions: list[Extension] | None = None,
    mode: str = "",
) -> RecordingMetadata:
    """Participants whose ids are their addresses; streams by id with their label; who sends which."""
    result = RecordingMetadata()
    document = MetadataDocument(
        sessions=[Session(id="s")],
        participants=[Participant(id=a, names=(NameId(aor=a),)) for a in aors],
        streams=[
            Stream(id=i, label=label, session_id="s", mode=mode) for i, label in (streams or {}).items()
        ],
        participant_streams=[
            ParticipantStreams(participant_id=p, send=tuple(s)) for p, s in (send or {}).items()
        ],
        extensions=extensions or [],
    )
    result.apply(document, at=0.0)
    return result


def told(plan: ChannelPlan) -> list[tuple[list[str], str, int]]:
    return [([p.aor for p in leg.participants], str(leg.role), leg.channel) for leg in plan.legs]


TWO = {"m1": "1", "m2": "2"}


def test_sender_to_stream_to_label_to_m_line():
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    plan = plan_channels(lines("1", "2"), metadata, NOBODY)
    assert told(plan) == [(["ann"], "caller", 0), (["ben"], "callee", 1)]
    assert plan.channels == 2
    assert [p.aor for p in plan.participants] == ["ann", "ben"]


def test_rtpengine_order_of_m_lines_does_not_matter():
    """Callee first or caller first: only the label tells."""
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    assert told(plan_channels(lines("2", "1"), metadata, NOBODY)) == [
        (["ben"], "callee", 1),
        (["ann"], "caller", 0),
    ]


def test_ribbon_send_points_at_the_other_label():
    """Label 1 is not the caller: the metadata says who sends what."""
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m2"], "ben": ["m1"]})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ben"], "callee", 1),
        (["ann"], "caller", 0),
    ]


def test_cube_empty_associations_fall_back_to_the_order():
    metadata = state("ann", "ben", streams=TWO, send={"ann": [], "ben": []})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ann"], "caller", 0),
        (["ben"], "callee", 1),
    ]


@pytest.mark.parametrize("labels", [("0", "1"), (None, None), ("x", "x")])
def test_opensips_without_streams_or_associations_falls_back_to_the_order(labels: tuple[str | None, ...]):
    plan = plan_channels(lines(*labels), state("ann", "ben"), NOBODY)
    assert told(plan) == [(["ann"], "caller", 0), (["ben"], "callee", 1)]


def test_what_one_association_leaves_over_is_matched_in_order():
    metadata = state("ann", "ben", streams=TWO, send={"ben": ["m1"]})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ben"], "callee", 1),
        (["ann"], "caller", 0),
    ]


def test_broadworks_sends_a_stream_that_is_not_described():
    metadata = state("ann", "ben", send={"ann": ["gone1"], "ben": ["gone2"]})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ann"], "caller", 0),
        (["ben"], "callee", 1),
    ]


def test_metaswitch_both_send_the_one_mixed_stream():
    metadata = state("ann", "ben", streams={"m": "1"}, send={"ann": ["m"], "ben": ["m"]})
    plan = plan_channels(lines("1"), metadata, NOBODY)
    assert told(plan) == [(["ann", "ben"], "mixed", 0)]
    assert plan.channels == 1


def test_freeswitch_one_m_line_without_label_is_mixed():
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    plan = plan_channels(lines(None), metadata, NOBODY)
    assert told(plan) == [(["ann", "ben"], "mixed", 0)]
    assert plan.channels == 1


def test_broadworks_mode_mixed():
    metadata = state("ann", "ben", streams={"m": "1"}, send={"ann": ["m"]}, mode="mixed")
    assert told(plan_channels(lines("1"), metadata, NOBODY)) == [(["ann", "ben"], "mixed", 0)]


def test_one_m_line_and_two_participants_without_anything_else_is_mixed():
    assert plan_channels(lines("1"), state("ann", "ben"), NOBODY).channels == 1


def test_oracle_first_m_line_of_two_is_not_mixed_and_the_second_joins_it():
    metadata = state(
        "ann", "ben", streams={"m1": "16777227", "m2": "771757897"}, send={"ann": ["m1"], "ben": ["m2"]}
    )
    first = plan_channels(lines("16777227"), metadata, NOBODY)
    assert (told(first), first.channels) == ([(["ann"], "caller", 0)], 2)
    both = plan_channels(lines("16777227", "771757897"), metadata, NOBODY, first)
    assert told(both) == [(["ann"], "caller", 0), (["ben"], "callee", 1)]


def test_avaya_label_of_one_of_two_streams_without_senders_is_not_mixed():
    metadata = state("ann", "sip:ASBCE@asbce.com", streams={"m1": "10", "m2": "20"})
    plan = plan_channels(lines("10"), metadata, NOBODY)
    assert (told(plan), plan.channels) == ([(["ann"], "caller", 0)], 2)


def test_one_m_line_with_the_callee_alone_leaves_the_left_side_free():
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    first = plan_channels(lines("2"), metadata, NOBODY)
    assert (told(first), first.channels) == ([(["ben"], "callee", 1)], 2)
    both = plan_channels(lines("2", "1"), metadata, NOBODY, first)
    assert told(both) == [(["ben"], "callee", 1), (["ann"], "caller", 0)]


def test_sole_participant_that_was_called_is_the_callee():
    facts = SipFacts(from_="<sip:ann@x>", to="<sip:ben@x>")
    assert told(plan_channels(lines("1"), state("sip:ben@y"), facts)) == [(["sip:ben@y"], "callee", 1)]
    assert told(plan_channels(lines("1"), state("sip:ann@y"), facts)) == [(["sip:ann@y"], "caller", 0)]


def test_four_streams_two_of_each_participant():
    """RFC 7865 8.1: the streams of a participant share a side."""
    metadata = state(
        "ann",
        "ben",
        streams={"a": "96", "b": "97", "c": "98", "d": "99"},
        send={"ann": ["b", "a"], "ben": ["c", "d"]},
    )
    plan = plan_channels(lines("96", "97", "98", "99"), metadata, NOBODY)
    assert [leg.channel for leg in plan.legs] == [0, 0, 1, 1]


def test_more_than_two_participants_first_left_others_right():
    metadata = state(
        "ann",
        "ben",
        "cy",
        streams={"a": "1", "b": "2", "c": "3"},
        send={"ann": ["a"], "ben": ["b"], "cy": ["c"]},
    )
    plan = plan_channels(lines("3", "2", "1"), metadata, NOBODY)
    assert told(plan) == [(["cy"], "callee", 1), (["ben"], "callee", 1), (["ann"], "caller", 0)]


def test_both_sides_are_used_when_the_caller_has_no_leg():
    metadata = state("ann", "ben", "cy", streams=TWO, send={"ann": ["gone"], "ben": ["m1"], "cy": ["m2"]})
    assert [leg.channel for leg in plan_channels(lines("1", "2"), metadata, NOBODY).legs] == [0, 1]


def test_webex_several_participants_share_a_stream():
    metadata = state("ann", "ben", "cy", streams=TWO, send={"ann": ["m1"], "ben": ["m2"], "cy": ["m2"]})
    plan = plan_channels(lines("1", "2"), metadata, NOBODY)
    assert told(plan) == [(["ann"], "caller", 0), (["ben", "cy"], "callee", 1)]


def test_everybody_sends_everything_says_nothing():
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1", "m2"], "ben": ["m1", "m2"]})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ann"], "caller", 0),
        (["ben"], "callee", 1),
    ]


def test_duplicate_labels_never_merge_two_legs():
    metadata = state("ann", "ben", streams={"m1": "1", "m2": "1"}, send={"ann": ["m1"], "ben": ["m2"]})
    assert told(plan_channels(lines("1", "1"), metadata, NOBODY)) == [
        (["ann"], "caller", 0),
        (["ben"], "callee", 1),
    ]


def test_legs_without_people_still_take_both_sides():
    assert told(plan_channels(lines("1", "2", "3"), None, NOBODY)) == [
        ([], "unknown", 0),
        ([], "unknown", 1),
        ([], "unknown", 1),
    ]
    assert told(plan_channels(lines("1", "2"), state(), NOBODY)) == [([], "unknown", 0), ([], "unknown", 1)]


def test_oracle_flag_names_the_calling_party():
    flag = Extension("participant/extensiondata/callingParty", "true", "ben")
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]}, extensions=[flag])
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY)) == [
        (["ann"], "callee", 1),
        (["ben"], "caller", 0),
    ]


def test_metaswitch_calling_number_names_the_caller():
    number = Extension("extensiondata/metaswitchRecordingMetadata/callingPartyNumber", "+1 555-0199")
    metadata = state(
        "15550100",
        "15550199",
        streams=TWO,
        send={"15550100": ["m1"], "15550199": ["m2"]},
        extensions=[number],
    )
    assert [str(leg.role) for leg in plan_channels(lines("1", "2"), metadata, NOBODY).legs] == [
        "callee",
        "caller",
    ]


def test_from_and_to_decide_only_when_both_are_participants():
    metadata = state("sip:ben@x", "sip:ann@x", streams=TWO, send={"sip:ben@x": ["m1"], "sip:ann@x": ["m2"]})
    both = SipFacts(from_="<sip:ann@pbx>", to="<sip:ben@pbx>")
    assert [str(leg.role) for leg in plan_channels(lines("1", "2"), metadata, both).legs] == [
        "callee",
        "caller",
    ]
    only_from = SipFacts(from_="<sip:ann@pbx>", to="<sip:rec@srs>")
    assert [str(leg.role) for leg in plan_channels(lines("1", "2"), metadata, only_from).legs] == [
        "caller",
        "callee",
    ]


def test_display_name_missing_in_the_metadata_comes_from_the_header_with_the_same_user():
    facts = SipFacts(from_='"Ann" <sip:+15550100@x;user=phone>', to="<sip:rec@srs>")
    plan = plan_channels(lines("1", "2"), state("tel:+1-555-0100", "ben"), facts)
    assert [p.name for p in plan.participants] == ["Ann", ""]


def test_no_metadata_caller_on_the_first_m_line_and_callee_on_the_second():
    facts = SipFacts(from_='"Ann" <sip:ann@x>', to="<sip:ben@x>", request_uri="sip:rec@srs")
    assert told(plan_channels(lines(None, None), None, facts)) == [
        (["sip:ann@x"], "caller", 0),
        (["sip:ben@x"], "callee", 1),
    ]


def test_no_metadata_and_one_m_line_is_the_callers_and_stays_stereo():
    facts = SipFacts(from_="<sip:ann@x>", to="<sip:ben@x>")
    plan = plan_channels(lines(None), None, facts)
    assert (told(plan), plan.channels) == ([(["sip:ann@x"], "caller", 0)], 2)
    assert [p.aor for p in plan.participants] == ["sip:ann@x", "sip:ben@x"]


def test_opensips_own_address_in_all_headers_names_nobody():
    own = "<sip:rec@10.0.0.1>"
    plan = plan_channels(lines("0", "1"), None, SipFacts(request_uri="sip:rec@10.0.0.1", from_=own, to=own))
    assert (plan.participants, [str(leg.role) for leg in plan.legs]) == ((), ["unknown", "unknown"])


def test_cisco_media_index_names_m_lines_with_video_between_them():
    facts = SipFacts(cisco_participant=['sip:ben@x;media-index="2 3"', 'sip:ann@x;media-index="0 1"'])
    audio = [MediaLine(index=0), MediaLine(index=2)]
    assert told(plan_channels(audio, None, facts)) == [
        (["sip:ann@x"], "caller", 0),
        (["sip:ben@x"], "callee", 1),
    ]


@pytest.mark.parametrize(("end", "aor", "channel"), [("near", "1001", 0), ("far", "2002", 1)])
def test_forking_phone_has_its_near_end_left_and_its_far_end_right(end: str, aor: str, channel: int):
    facts = SipFacts(from_=f"<sip:1001@cucm;x-{end}end;x-nearendaddr=1001;x-farendaddr=2002>;tag=1")
    assert told(plan_channels(lines(None), None, facts)) == [([aor], "unknown", channel)]


def test_legs_in_the_file_keep_their_channel_when_better_metadata_comes():
    guessed = plan_channels(lines("1", "2"), None, NOBODY)
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m2"], "ben": ["m1"]})
    assert told(plan_channels(lines("1", "2"), metadata, NOBODY, guessed)) == [
        (["ben"], "callee", 0),
        (["ann"], "caller", 1),
    ]


def test_new_leg_takes_the_free_side_whoever_it_is():
    guessed = plan_channels(lines("2"), None, NOBODY)
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    plan = plan_channels(lines("2", "1"), metadata, NOBODY, guessed)
    assert [leg.channel for leg in plan.legs] == [0, 1]


def test_file_with_one_channel_stays_one():
    mixed = plan_channels(lines("1"), state("ann", "ben"), NOBODY)
    metadata = state("ann", "ben", streams=TWO, send={"ann": ["m1"], "ben": ["m2"]})
    plan = plan_channels(lines("1", "2"), metadata, NOBODY, mixed)
    assert (plan.channels, [leg.channel for leg in plan.legs]) == (1, [0, 0])


def test_stereo_file_stays_stereo_when_its_only_leg_turns_out_to_be_mixed():
    first = plan_channels(lines("1"), state("ann"), NOBODY)
    plan = plan_channels(lines("1"), state("ann", "ben"), NOBODY, first)
    assert (plan.channels, told(plan)) == (2, [(["ann", "ben"], "mixed", 0)])


def test_legs_are_found_by_index():
    plan = plan_channels(lines("1", "2"), None, NOBODY)
    assert plan.leg(1) is plan.legs[1]
    assert plan.leg(7) is None


NAMES = st.lists(st.sampled_from(["ann", "ben", "cy", "di"]), unique=True, max_size=4)
LABELS = st.lists(st.one_of(st.none(), st.sampled_from("1234")), max_size=5)
STREAMS = st.dictionaries(st.sampled_from(["m1", "m2", "m3", "m4"]), st.sampled_from("1234"))
SENDS = st.dictionaries(
    st.sampled_from(["ann", "ben", "cy", "ghost"]), st.lists(st.sampled_from(["m1", "m2", "m3", "x"]))
)


@settings(max_examples=200, deadline=None)
@given(NAMES, LABELS, STREAMS, SENDS, LABELS, st.booleans())
def test_every_m_line_gets_one_channel_of_the_file_and_keeps_it(names, labels, streams, send, more, known):
    facts = SipFacts(from_="<sip:ann@x>", to="<sip:ben@x>") if known else NOBODY
    metadata = state(*names, streams=streams, send=send)
    plan = plan_channels(lines(*labels), metadata, facts)
    assert plan == plan_channels(lines(*labels), metadata, facts)
    assert [leg.index for leg in plan.legs] == list(range(len(labels)))
    assert all(0 <= leg.channel < plan.channels for leg in plan.legs)
    if len(labels) > 1:
        assert plan.channels == 2
        owners = {leg.participants for leg in plan.legs}
        assert len(owners) == 1 or {leg.channel for leg in plan.legs} == {0, 1} or _share_a_person(plan)
    later = plan_channels(lines(*labels, *more), metadata, facts, plan)
    assert later.channels == plan.channels
    assert [leg.channel for leg in later.legs[: len(labels)]] == [leg.channel for leg in plan.legs]


def _share_a_person(plan: ChannelPlan) -> bool:
    groups = [set(leg.participants) for leg in plan.legs]
    return bool(set.intersection(*groups))


def crowd(count: int) -> list[str]:
    return [f"person{i}" for i in range(count)]


def test_of_very_many_people_those_who_send_a_stream_are_kept():
    metadata = state(*crowd(900), streams=TWO, send={"person700": ["m1"], "person800": ["m2"]})
    plan = plan_channels(lines("1", "2"), metadata, NOBODY)
    assert [leg[0] for leg in told(plan)] == [["person700"], ["person800"]]
    assert [p.aor for p in plan.participants] == ["person700", "person800", *crowd(498)]


def test_very_many_people_on_one_leg_are_named_up_to_a_bound():
    plan = plan_channels(lines("1"), state(*crowd(400)), NOBODY)
    assert plan.channels == 1
    assert [p.aor for p in plan.legs[0].participants] == crowd(100)
    assert [p.aor for p in plan.participants] == crowd(400)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions a piece of work calls: its cost, the same on every machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def cost_of_a_plan(metadata: RecordingMetadata) -> int:
    return calls_of(lambda: plan_channels(lines("1", "2"), metadata, NOBODY))


def flagged(count: int) -> RecordingMetadata:
    """None of the flags decides: every number that is flagged is nobody's."""
    flags = [Extension("participant/callingPartyNumber", f"+{i}", f"owner{i}") for i in range(count)]
    return state(*crowd(count), extensions=flags)


def test_as_many_flags_as_people_cost_no_more_than_looking_at_each_once():
    assert len(flagged(1000).extensions) == 1000
    assert cost_of_a_plan(flagged(1000)) < 3 * cost_of_a_plan(flagged(500))


def alike(count: int) -> RecordingMetadata:
    streams = {f"m{i}": "1" for i in range(count)}
    return state(*crowd(count), streams=streams, send={f"person{i}": [f"m{i}"] for i in range(count)})


def test_as_many_streams_of_one_label_as_people_cost_no_more_than_looking_at_each_once():
    assert cost_of_a_plan(alike(1000)) < 3 * cost_of_a_plan(alike(500))
