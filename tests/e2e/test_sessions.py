"""What a call may bring or leave out, and how it changes while it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.calls import Start, offered, recorded, simple_call
from tests.helpers.daemon import Daemon
from tests.helpers.offers import (
    ALICE,
    BOB,
    CAROL,
    METADATA,
    MULTIPART,
    SDP,
    Person,
    metadata,
    multipart,
    sdp,
)
from tests.helpers.player import Player, assert_aligned, assert_heard, play, talk
from tests.helpers.voices import voice

NewPlayer = Callable[..., Player]

ALICE_IN_FROM = '"Alice" <sip:alice@a.example.com>'
BOB_IN_TO = '"Bob" <sip:bob@b.example.com>'
NO_SRC = "<sip:src@[local_ip]:[local_port];transport=[transport]>"


@pytest.fixture
def pair(player: NewPlayer) -> list[Player]:
    """A caller and a callee who talk for 0.6 s."""
    return [player(talk(voice(number, 0.6), ssrc=number)) for number in (1, 2)]


def people(shown: dict[str, object]) -> list[tuple[str, str]]:
    """(address, name) of each participant."""
    assert isinstance(shown["participants"], list)
    return [(p["aor"], p["name"]) for p in shown["participants"]]


def documents(shown: dict[str, object]) -> list[bytes]:
    """The metadata documents that are kept beside the audio, in order."""
    folder = Path(str(shown["path"])).parent
    return [file.read_bytes() for file in sorted(folder.glob("*.xml"))]


BOTH = [(ALICE.aor, "Alice"), (BOB.aor, "Bob")]


@pytest.mark.parametrize(
    ("with_metadata", "require", "contact"),
    [(False, True, True), (True, False, True), (True, True, False), (False, False, False)],
    ids=["no metadata", "no Require", "no +sip.src", "nothing of SIPREC"],
)
def test_a_call_that_leaves_out_parts_of_siprec_is_recorded(
    daemon: Daemon, sipp: Start, pair: list[Player], with_metadata: bool, require: bool, contact: bool
) -> None:
    """Without metadata, From and To say who is on the first and the second m-line."""
    offer = sdp(offered(*pair))
    caller: dict[str, Any] = {"caller": ALICE_IN_FROM, "callee": BOB_IN_TO}
    caller |= {} if require else {"require": ""}
    caller |= {} if contact else {"contact": NO_SRC}
    body, content_type = (multipart(offer, metadata()), MULTIPART) if with_metadata else (offer, SDP)
    with sipp(daemon, simple_call(body, content_type, **caller)) as call:
        play(pair, call.answer().ports())
        for one in pair:
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    for i, one in enumerate(pair):
        assert_heard(got.audio[:, i], one.packets)
    assert people(got.shown) == BOTH
    assert [c["role"] for c in got.shown["channels"]] == ["caller", "callee"]
    assert [leg["participants"][0]["aor"] for leg in got.shown["legs"]] == [ALICE.aor, BOB.aor]
    assert got.shown["verdict"]["result"] == "complete"
    marked = "not_siprec" in [e["type"] for e in got.shown["events"]]
    assert marked == (not (require and contact))
    assert len(documents(got.shown)) == with_metadata
    assert "+sip.srs" in (got.answer.header("Contact") or "")
    assert "siprec" in (got.answer.header("Supported") or "")


def test_malformed_metadata_costs_neither_the_call_nor_the_document(
    daemon: Daemon, sipp: Start, pair: list[Player]
) -> None:
    """Names as some SBCs write them, without escaping; the document is kept as it came."""
    document = metadata([Person(ALICE.id, ALICE.aor, "R&D <lab>", ("1",)), BOB])
    with sipp(daemon, simple_call(multipart(sdp(offered(*pair)), document))) as call:
        play(pair, call.answer().ports())
        for one in pair:
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    for i, one in enumerate(pair):
        assert_heard(got.audio[:, i], one.packets)
    assert [kept.strip() for kept in documents(got.shown)] == [document.strip().encode()]
    assert "odd_request" in [e["type"] for e in got.shown["events"]]
    assert got.shown["verdict"]["result"] == "complete"


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
def test_metadata_alone_changes_who_is_in_the_call_and_not_its_media(
    daemon: Daemon, sipp: Start, player: NewPlayer, method: str
) -> None:
    """An UPDATE without an offer is answered without SDP; a re-INVITE without one with our offer (RFC 3261 14.2)."""
    pair = [player(talk(voice(number, 1.5), ssrc=number)) for number in (3, 4)]
    offer = sdp(offered(*pair))
    later = metadata([ALICE, Person(CAROL.id, CAROL.aor, CAROL.name, ("2",))])
    scenario = simple_call(multipart(offer, metadata()), hang_up=False)
    scenario.request(method, later, METADATA, headers=("Content-Disposition: recording-session",))
    if method == "INVITE":
        scenario.answered(body=sdp(offered(*pair), version=2), content_type=SDP)
    else:
        scenario.receive(200)
    scenario.wait().bye()
    with sipp(daemon, scenario) as call:
        play(pair, call.answer().ports())
        pair[0].wait_for(30)
        call.go_on()
        answer = call.answer(1) if method == "INVITE" else call.answer(method="UPDATE")
        assert answer.start == "SIP/2.0 200 OK"
        if method == "INVITE":
            assert answer.ports() == call.answer().ports()
            assert answer.body.count("a=recvonly") == 2
        else:
            assert answer.body.strip() == ""
        for one in pair:
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    for i, one in enumerate(pair):
        assert_heard(got.audio[:, i], one.packets)
    assert people(got.shown) == [*BOTH, (CAROL.aor, "Carol")]
    assert [leg["participants"][0]["name"] for leg in got.shown["legs"]] == ["Alice", "Carol"]
    assert [kept.strip() for kept in documents(got.shown)] == [
        metadata().strip().encode(),
        later.strip().encode(),
    ]
    assert got.shown["verdict"]["result"] == "complete"


def test_an_offer_alone_keeps_what_the_metadata_said(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """And a new address in it is one to receive from at once."""
    pair = [player(talk(voice(number, 0.6), ssrc=number)) for number in (5, 6)]
    moved = [player(talk(voice(number, 0.6), ssrc=number)) for number in (7, 8)]
    scenario = simple_call(multipart(sdp(offered(*pair)), metadata()), hang_up=False)
    scenario.invite(sdp(offered(*moved), version=2), SDP).answered().wait().bye()
    with sipp(daemon, scenario) as call:
        play(pair, call.answer().ports())
        for one in pair:
            one.finish()
        call.go_on()
        assert call.answer(1).ports() == call.answer().ports()
        play(moved, call.answer(1).ports())
        for one in moved:
            one.finish()
        call.go_on()
    got = recorded(daemon, call)
    assert people(got.shown) == BOTH
    assert got.shown["session_id"] == "c2Vzc2lvbjE="
    for i, (before, after) in enumerate(zip(pair, moved, strict=True)):
        channel = got.audio[:, i]
        words = np.flatnonzero(channel)
        second = words[before.audible]
        assert_heard(channel[:second], before.packets)
        assert_heard(channel[second:], after.packets)
        assert got.shown["legs"][i]["packets"] == 60
        assert got.shown["legs"][i]["foreign"] == 0


def test_a_second_m_line_may_come_later(daemon: Daemon, sipp: Start, player: NewPlayer) -> None:
    """As SBCs offer it that open the second stream when the callee answers."""
    left, right = player(talk(voice(9, 2.0), ssrc=9)), player(talk(voice(10, 0.8), ssrc=10))
    one, two = offered(left, right)
    scenario = simple_call(multipart(sdp([one]), metadata()), hang_up=False)
    scenario.invite(multipart(sdp([one, two], version=2), metadata()), MULTIPART).answered().wait().bye()
    with sipp(daemon, scenario) as call:
        play([left], call.answer().ports())
        left.wait_for(40)
        call.go_on()
        answer = call.answer(1)
        assert answer.ports()[0] == call.answer().ports()[0]
        assert answer.ports()[1] not in call.answer().ports()
        play([right], answer.ports()[1:])
        left.finish()
        right.finish()
        call.go_on()
    got = recorded(daemon, call)
    assert got.audio.shape[1] == 2
    left_at = assert_heard(got.audio[:, 0], left.packets)
    right_at = assert_heard(got.audio[:, 1], right.packets)
    assert_aligned((left, right), (left_at, right_at))
    assert [(leg["label"], leg["channel"]) for leg in got.shown["legs"]] == [("1", 0), ("2", 1)]
    assert people(got.shown) == BOTH
    assert "leg_added" in [e["type"] for e in got.shown["events"]]
    assert got.shown["verdict"]["result"] == "complete"
