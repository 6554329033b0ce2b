"""What the probe sends, read by the recorder's own parsers."""

from random import Random

import pytest

from siprec.probe.invite import CALLEE, CALLER, build_body, build_call_offer, build_metadata
from siprec.probe.plan import CallPlan
from siprec.recording.header_parties import SipFacts
from siprec.recording.metadata_reader import read_metadata
from siprec.recording.metadata_state import RecordingMetadata
from siprec.recording.multipart import find_metadata, find_sdp, parse_body
from siprec.recording.parties import MediaLine, plan_channels
from siprec.sdp.media import Direction
from siprec.sdp.parser import parse_sdp
from siprec.sdp.stream import LocalPorts

PORTS = [LocalPorts(40000, 40001), LocalPorts(40002, 40003)]


def offer(plan, **more):
    return build_call_offer(plan, PORTS[: plan.legs], address="192.0.2.1", session_id=7, **more)


def planned(plan):
    body = build_body(offer(plan), build_metadata(plan, Random(1)))
    parts = parse_body(body.content_type, body.data)
    sdp, metadata = find_sdp(parts), find_metadata(parts)
    state = RecordingMetadata()
    state.apply(read_metadata(metadata.body), at=0.0)
    lines = [MediaLine(index=m.index, label=m.label) for m in parse_sdp(sdp.body).media]
    return plan_channels(lines, state, SipFacts())


def test_the_recorder_finds_the_caller_left_and_the_callee_right():
    plan = planned(CallPlan())
    assert [(leg.channel, leg.participants[0].aor, leg.role) for leg in plan.legs] == [
        (0, CALLER.aor, "caller"),
        (1, CALLEE.aor, "callee"),
    ]
    assert plan.channels == 2


def test_the_recorder_sees_that_one_leg_carries_both():
    plan = planned(CallPlan(mixed=True))
    assert plan.channels == 1
    assert [p.aor for p in plan.legs[0].participants] == [CALLER.aor, CALLEE.aor]


@pytest.mark.parametrize(("codec", "formats"), [("pcmu", ["0", "101"]), ("pcma", ["8", "101"])])
def test_each_leg_offers_its_codec_and_key_presses(codec, formats):
    parsed = parse_sdp(offer(CallPlan(codec=codec)).to_bytes())
    assert parsed.problems == []
    assert [m.formats for m in parsed.media] == [formats, formats]
    assert [(m.port, m.label, m.direction) for m in parsed.media] == [
        (40000, "1", Direction.SENDONLY),
        (40002, "2", Direction.SENDONLY),
    ]


def test_a_hold_makes_every_leg_inactive_under_a_new_version():
    parsed = parse_sdp(offer(CallPlan(), version=2, held=True).to_bytes())
    assert [m.direction for m in parsed.media] == [Direction.INACTIVE] * 2
    assert (parsed.origin.session_id, parsed.origin.version) == ("7", "2")


def test_without_metadata_the_body_is_the_offer_alone():
    body = build_body(offer(CallPlan()))
    assert body.headers == (("Content-Type", "application/sdp"),)
    assert parse_sdp(body.data).media[1].label == "2"


def test_a_multipart_body_says_that_it_is_mime():
    body = build_body(offer(CallPlan()), build_metadata(CallPlan(), Random(1)))
    assert ("MIME-Version", "1.0") in body.headers
