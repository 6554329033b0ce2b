"""Whatever the parser lets through, the stack must survive; what RFC 4475 tries, it must answer."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.sip.errors import SipParseError
from siprec.sip.events import InviteReceived, RequestReceived
from siprec.sip.parser import parse_datagram
from tests.sip.wire import TCP, UDP, new_stack, request

STRAY_200 = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"
    b"Call-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\n\r\n"
)
SEEDS = [
    request("INVITE", "Record-Route: <sip:a;lr>, <sip:b>", "Require: siprec", body=b"v=0\r\n").encode(),
    request("ACK", to="<sip:x@y>;tag=t").encode(),
    request("CANCEL").encode(),
    request("BYE", cseq="2 BYE").encode(),
    request("UPDATE", "Content-Type: multipart/mixed;boundary=x", cseq="3 UPDATE").encode(),
    STRAY_200,
]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_messages_never_break_the_stack_nor_what_it_sends(data):
    stack = new_stack()
    for step in range(data.draw(st.integers(1, 6))):
        wire = bytearray(data.draw(st.sampled_from(SEEDS)))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(wire) - 1))
            wire[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        flow = data.draw(st.sampled_from([UDP, TCP]))
        try:
            stack.receive(parse_datagram(bytes(wire)), flow, now=float(step))
        except SipParseError as error:
            stack.receive_error(error, flow, now=float(step))
        for event in stack.events():
            if isinstance(event, InviteReceived | RequestReceived):
                stack.respond(event.transaction, data.draw(st.sampled_from([180, 200, 486])), now=float(step))
        assert all(wire.endswith(b"\r\n\r\n") for _, wire in stack.to_send())
    while (due := stack.next_timer()) is not None:
        stack.handle_timer(now=due)
    assert stack.transaction_count == 0


def torture(*lines, body=b""):
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


WSINV = torture(
    "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0",
    "TO :",
    " sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n",
    'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>',
    "  ;",
    "  tag = 98asjd8",
    "MaX-fOrWaRdS: 0068",
    "Call-ID: wsinv.ndaksdj@192.0.2.1",
    "Content-Length   : 3",
    "cseq: 0009",
    "  INVITE",
    "Via  : SIP  /   2.0",
    " /UDP",
    "    192.0.2.2;branch=390skdjuw",
    "s :",
    "NewFangledHeader:   newfangled value",
    " continued newfangled value",
    "UnknownHeaderWithUnusualValue: ;;,,;;,;",
    "Route:",
    " <sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
    "v:  SIP  / 2.0  / TCP     spindle.example.com   ;",
    "  branch  =   z9hG4bK9ikj8  ,",
    " SIP  /    2.0   / UDP  192.168.255.111   ; branch=",
    " z9hG4bK30239",
    'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =',
    "      newvalue ;",
    "  secondparam ; q = 0.33",
    body=b"v=0",
)


def test_the_tortuous_invite_of_rfc_4475_3_1_1_1_is_understood():
    message = parse_datagram(WSINV)
    assert message.to.tag == "1918181833n"
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert message.cseq.number == 9
    assert [value.split()[0] for value in message.headers.get_all("Via")] == ["SIP", "SIP", "SIP"]
    assert message.via.branch == "390skdjuw"
    assert message.body == b"v=0"


BASE = (
    "Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw",
    "From: <sip:user@example.com>;tag=3",
    "To: <sip:user@example.com>",
    "Call-ID: torture",
    "CSeq: 1 {}",
)


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        ("OPTIONS sip:user@example.com SIP/7.0", (), 505),
        ("NEWMETHOD sip:user@example.com SIP/2.0", (), 405),
        ("OPTIONS nobodyKnowsThisScheme:totallyopaque SIP/2.0", (), 416),
        ("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", (), 416),
        ("OPTIONS <sip:user@example.com> SIP/2.0", (), 400),
        ("OPTIONS sip:user@example.com; lr SIP/2.0", (), 400),
        (
            "OPTIONS sip:user@example.com SIP/2.0",
            ("Require: nothingSupportsThis, nothingSupportsThisEither",),
            420,
        ),
        ("INVITE sip:user@example.com SIP/2.0", ("Content-Length: 9999",), 400),
        ("INVITE sip:user@example.com SIP/2.0", ("Content-Length: -999",), 400),
        ("INVITE sip:user@example.com SIP/2.0", ("From: <sip:other@x>;tag=4",), 400),
    ],
)
def test_the_invalid_requests_of_rfc_4475_get_their_status(start, more, status):
    method = start.split()[0]
    wire = torture(start, *(line.format(method) for line in BASE), *more)
    stack = new_stack()
    try:
        stack.receive(parse_datagram(wire), UDP, now=0.0)
    except SipParseError as error:
        stack.receive_error(error, UDP, now=0.0)
    ((_, answer),) = stack.to_send()
    assert answer.startswith(b"SIP/2.0 %d " % status)


@pytest.mark.parametrize(
    "more",
    [
        ("Proxy-Require: nothingSupportsThis",),
        ("Date: Fri, 01 Jan 2010 16:00:00 EST", "Expires: 0 0l@company.com", "Contact: <<>>"),
        ("Max-Forwards: 0",),
        ("Max-Forwards: 255", 'Warning: 1812 overture "In Progress"'),
        ("Accept: text/nobodyKnowsThis", "Content-Type: invalid/sdp"),
        ('Contact: "unterminated <sip:a@b>',),
        ("Subject: \udcff\udcfe\x00",),
        ("X" * 100 + ": " + "y" * 5000,),
        tuple(f"Via: SIP/2.0/TCP relay{n}.example.com;branch=z9hG4bK{n}" for n in range(60)),
    ],
)
def test_bad_optional_headers_do_not_fail_a_request(more):
    wire = torture("OPTIONS sip:user@example.com SIP/2.0", *(line.format("OPTIONS") for line in BASE), *more)
    stack = new_stack()
    stack.receive(parse_datagram(wire), UDP, now=0.0)
    assert [type(event) for event in stack.events()] == [RequestReceived]


def test_a_flood_of_invites_costs_no_more_than_the_caps_allow():
    stack, rng = new_stack(max_transactions=50, max_dialogs=20), Random(3)
    for number in range(500):
        via = f"SIP/2.0/UDP h;branch=z9hG4bK{number};rport"
        stack.receive(request("INVITE", via=via, call_id=f"{rng.random()}"), UDP, now=number / 1000)
    assert len(stack.dialogs) == 20
    assert stack.transaction_count == 20
    assert stack.counters["refused", "overload"] == 480
