"""What an INVITE brings, from its bytes to the answer: read, or refused with a status that fits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.recording.intake import Intake, Refused, read_intake
from siprec.recording.session import RecordingSession
from siprec.sdp.stream import LocalPorts
from siprec.sip.errors import SipParseError
from siprec.sip.message import Request
from siprec.sip.parser import TCP_LIMITS, parse_datagram
from tests.helpers.offers import MULTIPART, Line, metadata, multipart, sdp

ACCEPT = "application/sdp"
BODY = multipart(sdp([Line(40_000, "1"), Line(40_002, "2", extra=("rtcp-mux",))]), metadata()).encode()


def invite(body: bytes = BODY, content_type: bytes = MULTIPART.encode()) -> bytes:
    lines = [
        b"INVITE sip:rec@192.0.2.1 SIP/2.0",
        b"Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1",
        b'From: "Alice" <sip:alice@a.example.com>;tag=1',
        b"To: <sip:bob@b.example.com>",
        b"Call-ID: 1",
        b"CSeq: 1 INVITE",
        b"Contact: <sip:src@192.0.2.9>;+sip.src",
        b"Require: siprec",
        b'P-Asserted-Identity: "Al" <sip:+1@x>, <tel:+2>',
        b'X-Cisco-Recording-Participant: sip:a@h;media-index="0 2"',
        b"Content-Type: " + content_type,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def read(wire: bytes) -> Intake:
    request = parse_datagram(wire, TCP_LIMITS)
    assert isinstance(request, Request)
    return read_intake(request, accept=ACCEPT)


def test_an_invite_as_it_should_be():
    intake = read(invite())
    assert intake.siprec
    assert intake.problems == []
    assert intake.offer is not None
    assert [media.label for media in intake.offer.media] == ["1", "2"]
    assert intake.metadata is not None
    assert [person.name for person in intake.metadata.participants] == ["Alice", "Bob"]


def test_a_boundary_that_is_no_utf8_is_found_and_costs_nothing():
    intake = read(
        invite(BODY.replace(b"unique", b"\xf6nique"), b"multipart/mixed;boundary=\xf6nique-boundary-1")
    )
    assert intake.offer is not None
    assert intake.metadata is not None
    assert intake.problems == []


def test_what_is_wrong_with_the_body_is_said_once_and_not_for_each_part():
    intake = read(invite(BODY[: BODY.rindex(b"--unique")]))
    assert intake.problems == ["final delimiter missing"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_invite_is_answered_or_refused_and_names_are_text(data: st.DataObject):
    wire = bytearray(invite())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(wire)))
        fresh = data.draw(
            st.sampled_from([b"\r\n", b"\xff", b"\0", b"<", b"&", b'"', b";", b"--", b"=", b"v=0\r\n"])
        )
        wire[at : at + data.draw(st.integers(0, 20))] = fresh
    session = RecordingSession.begin(1, "192.0.2.1", bytes)
    try:
        intake = read(bytes(wire))
        if intake.offer is None:
            return
        ports = {index: LocalPorts(6000 + 2 * index) for index in session.needs_ports(intake.offer)}
        changes = session.prepare(intake.offer, ports)
    except (SipParseError, Refused):
        return
    answer = changes.answer.description
    assert answer.to_bytes()
    assert len(answer.media) == len(intake.offer.media)
    session.take_metadata(intake, 0.0)
    session.commit(changes)
    for person in session.replan().participants:
        assert (person.aor + person.name).encode("utf-8", "replace").decode() == person.aor + person.name
