import pytest

from siprec.probe.answer import answer_of, faults_of_answer, faults_of_headers
from siprec.probe.invite import build_call_offer
from siprec.probe.plan import CallPlan
from siprec.sdp.offer_answer import build_answer
from siprec.sdp.parser import parse_sdp
from siprec.sdp.stream import LocalPorts
from siprec.sip.headers import Headers
from siprec.sip.message import Response

OURS = [LocalPorts(40000, 40001), LocalPorts(40002, 40003)]
THEIRS = {0: LocalPorts(20000, 20001), 1: LocalPorts(20002, 20003)}


def offer(**more):
    return build_call_offer(CallPlan(), OURS, address="192.0.2.1", session_id=7, **more)


def answer(**more):
    built = build_answer(offer(**more), address="192.0.2.9", ports=THEIRS, session_id=1, version=1)
    return built.description.to_bytes()


def changed(old, new, count=-1, **more):
    text = answer(**more).decode()
    assert old in text
    return parse_sdp(text.replace(old, new, count).encode())


@pytest.mark.parametrize("held", [False, True])
def test_the_recorders_own_answer_has_no_fault(held):
    assert faults_of_answer(offer(held=held), parse_sdp(answer(held=held))) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a=recvonly", "a=sendrecv", "m-line 1: sendrecv answers sendonly"),
        ("a=recvonly", "a=inactive", "m-line 1: inactive answers sendonly"),
        ("a=label:1", "a=label:one", "m-line 1: label one answers 1"),
        ("a=label:2\r\n", "", "m-line 2: label None answers 2"),
        ("m=audio 20002", "m=audio 0", "m-line 2: refused"),
        ("RTP/AVP 0 101", "RTP/AVP 0", "m-line 1: payload types 101"),
        ("m=audio 20000 RTP/AVP", "m=audio 20000 RTP/SAVP", "m-line 1: audio RTP/SAVP"),
        ("c=IN IP4 192.0.2.9\r\n", "", "m-line 1: no c= line"),
    ],
)
def test_what_does_not_mirror_the_offer_is_named(old, new, said):
    assert any(fault.startswith(said) for fault in faults_of_answer(offer(), changed(old, new, 1)))


def test_a_hold_has_to_be_answered_inactive():
    held = changed("a=inactive", "a=recvonly", held=True)
    assert faults_of_answer(offer(held=True), held) == [
        "m-line 1: recvonly answers inactive, not inactive",
        "m-line 2: recvonly answers inactive, not inactive",
    ]


def test_a_missing_m_line_is_named():
    short = parse_sdp(answer()[: answer().rindex(b"m=audio")])
    assert faults_of_answer(offer(), short) == ["1 m-lines answer 2"]


def response(*headers, body=b""):
    return Response(status=200, reason="OK", headers=Headers(headers), body=body)


def test_a_recorder_says_that_it_is_one():
    good = response(("Contact", "<sip:192.0.2.9>;+sip.srs"), ("Supported", "timer, siprec"))
    assert faults_of_headers(good) == []
    assert faults_of_headers(response(("Contact", "<sip:192.0.2.9>"))) == [
        "no +sip.srs in the Contact of the 2xx",
        "no siprec in the Supported of the 2xx",
    ]
    assert "no Contact in the 2xx" in faults_of_headers(response())


def test_the_answer_is_found_in_plain_and_multipart_bodies():
    plain = answer()
    multi = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + plain + b"\r\n--b--\r\n"
    for content_type, body in (("application/sdp", plain), ("multipart/mixed;boundary=b", multi)):
        assert answer_of(response(("Content-Type", content_type), body=body)).media[0].port == 20000


@pytest.mark.parametrize("body", [b"", b"hello", b"v=0\r\nm=audio x y z\r\n"])
def test_an_answer_that_cannot_be_read_is_an_error(body):
    with pytest.raises(ValueError, match="answer"):
        answer_of(response(("Content-Type", "application/sdp"), body=body))
