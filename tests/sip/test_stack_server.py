import pytest

from siprec.sip.dialog import DialogState
from siprec.sip.errors import SipParseError
from siprec.sip.events import (
    AckReceived,
    AckTimeout,
    CancelReceived,
    DialogEnded,
    InviteReceived,
    InviteRefused,
    RequestReceived,
)
from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.parser import parse_datagram
from siprec.sip.transaction import TimerConfig
from tests.sip.wire import PEER, TCP, UDP, US, advance, new_stack, only, request, sent, statuses

OURS = "<sip:rec@192.0.2.1>;tag={}"


def established(flow=UDP, **config):
    """A stack with one confirmed dialog, and a function that makes requests in it."""
    stack = new_stack(**config)
    stack.receive(request("INVITE"), flow, now=0.0)
    event = only(stack)
    stack.respond(event.transaction, 200, now=0.0)
    tag = sent(stack)[0].to.tag

    def inside(method, number, *extra, **fields):
        fields = {
            "to": OURS.format(tag),
            "via": f"SIP/2.0/UDP h;branch=z9hG4bK{method}{number};rport",
            **fields,
        }
        fields.setdefault("cseq", f"{number} {method}")
        return request(method, *extra, **fields)

    return stack, inside, event


def acknowledged(**config):
    stack, inside, event = established(**config)
    stack.receive(inside("ACK", 1), UDP, now=0.1)
    assert isinstance(only(stack), AckReceived)
    return stack, inside, event


def refusal(message, flow=UDP, **config):
    """What a fresh stack answers by itself."""
    stack = new_stack(**config)
    stack.receive(message, flow, now=0.0)
    assert all(isinstance(event, InviteRefused) for event in stack.events())
    (response,) = sent(stack)
    assert isinstance(response, Response)
    return response


def test_an_invite_goes_up_and_its_200_has_what_the_rfcs_want():
    stack = new_stack()
    routes = ["Record-Route: <sip:a;lr;x=1>", "Record-Route: <sip:b;lr>, <sip:c;lr>"]
    stack.receive(request("INVITE", *routes, "Require: siprec"), UDP, now=0.0)
    event = only(stack)
    assert isinstance(event, InviteReceived)
    assert not event.reinvite
    assert stack.to_send() == []
    headers = [("Content-Type", "application/sdp")]
    assert stack.respond(event.transaction, 200, headers=headers, body=b"v=0\r\n", now=0.1)
    ((flow, wire),) = stack.to_send()
    response = parse_datagram(wire)
    assert flow == UDP
    assert wire.startswith(b"SIP/2.0 200 OK\r\n")
    assert response.headers.get("Contact") == "<sip:192.0.2.1:5060>;+sip.srs"
    assert response.headers.get_all("Record-Route") == ["<sip:a;lr;x=1>", "<sip:b;lr>", "<sip:c;lr>"]
    assert {"INVITE", "BYE", "UPDATE"} <= set(response.headers.get_all("Allow"))
    assert "siprec" in response.headers.get_all("Supported")
    assert "application/sdp" in response.headers.get_all("Accept")
    assert response.to.tag
    assert response.headers.get("From") == event.request.headers.get("From")
    assert response.via.params.get("rport") == "5062"
    assert response.via.params.get("received") == "192.0.2.9"
    assert response.body == b"v=0\r\n"
    assert event.dialog.state is DialogState.CONFIRMED


def test_headers_of_the_upper_layer_replace_the_stacks_own():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    stack.respond(only(stack).transaction, 200, headers=[("k", "siprec, timer")], now=0.0)
    assert sent(stack)[0].headers.get_all("Supported") == ["siprec", "timer"]


def test_contact_follows_the_flow_and_the_configuration():
    stack = new_stack(advertise="203.0.113.5", contact_user="srs")
    stack.receive(request("INVITE"), TCP, now=0.0)
    stack.respond(only(stack).transaction, 200, now=0.0)
    assert sent(stack)[0].headers.get("Contact") == "<sip:srs@203.0.113.5:5060;transport=tcp>;+sip.srs"


def test_trying_is_sent_after_200_ms_without_to_tag():
    stack = new_stack()
    stack.receive(request("INVITE", "Timestamp: 54"), UDP, now=0.0)
    ((at, wire),) = advance(stack, until=1.0)
    assert at == 0.2
    trying = parse_datagram(wire)
    assert trying.to.tag is None
    assert trying.headers.get("Timestamp") == "54"
    assert "Contact" not in trying.headers


def test_an_invite_retransmission_creates_nothing_and_re_gets_the_same_200():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    stack.respond(only(stack).transaction, 200, now=0.0)
    first = stack.to_send()
    stack.receive(request("INVITE"), UDP, now=0.1)
    assert stack.to_send() == first
    assert stack.events() == []
    assert len(stack.dialogs) == 1
    assert stack.counters["retransmissions_received", "INVITE"] == 1


def test_a_merged_invite_gets_482():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    assert isinstance(only(stack), InviteReceived)
    stack.receive(request("INVITE", via="SIP/2.0/UDP h;branch=z9hG4bKother;rport"), UDP, now=0.1)
    assert statuses(stack) == [482]
    assert only(stack).status == 482
    assert len(stack.dialogs) == 1


def test_the_2xx_is_repeated_until_an_ack_comes():
    stack, inside, _ = established()
    assert [at for at, _ in advance(stack, until=2.0)] == [0.5, 1.5]
    stack.receive(inside("ACK", 1, body=b"answer"), UDP, now=2.0)
    event = only(stack)
    assert isinstance(event, AckReceived)
    assert event.request.body == b"answer"
    assert advance(stack, until=31.0) == []
    stack.receive(inside("ACK", 1), UDP, now=31.0)
    assert stack.events() == []
    assert advance(stack, until=100.0) == []
    assert stack.transaction_count == 0


def test_without_ack_the_owner_is_told_after_32_s_and_the_dialog_stands():
    stack, _, invite = established()
    assert len(advance(stack, until=100.0)) == 10
    event = only(stack)
    assert isinstance(event, AckTimeout)
    assert event.dialog is invite.dialog
    assert event.dialog.state is DialogState.CONFIRMED
    assert len(stack.dialogs) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"cseq": "77 ACK"},
        {"cseq": "1 INVITE"},
        {"to": "<sip:rec@192.0.2.1>"},
        {"via": "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKfirst;rport"},
        {"from_": '"Changed" <sip:other@host>;tag=peer'},
        {"contact": "<<<"},
    ],
)
def test_an_ack_counts_with_another_number_method_branch_name_or_without_to_tag(fields):
    stack, inside, _ = established()
    stack.receive(inside("ACK", 1, **fields), UDP, now=0.1)
    assert isinstance(only(stack), AckReceived)
    assert advance(stack, until=31.0) == []


def test_an_ack_with_a_wrong_to_tag_is_dropped_without_an_answer():
    stack, inside, _ = established()
    stack.receive(inside("ACK", 1, to="<sip:rec@192.0.2.1>;tag=wrong"), UDP, now=0.1)
    assert stack.to_send() == []
    assert stack.events() == []
    assert stack.counters["dropped", "stray ack"] == 1


def test_any_request_in_the_dialog_ends_the_repetition_and_a_late_ack_still_arrives():
    stack, inside, _ = established()
    stack.receive(inside("INFO", 2), UDP, now=0.1)
    event = only(stack)
    stack.respond(event.transaction, 200, now=0.1)
    stack.to_send()
    assert advance(stack, until=30.0) == []
    stack.receive(inside("ACK", 1), UDP, now=30.0)
    assert isinstance(only(stack), AckReceived)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"to": "<sip:rec@192.0.2.1>"},
        {"cseq": "2 INVITE"},
        {"cseq": "0 BYE"},
        {"cseq": "1 BYE"},
        {"from_": "sip:else@where;tag=peer"},
    ],
)
def test_a_bye_is_answered_as_equipment_sends_it_and_its_cseq_echoed(fields):
    stack, inside, invite = acknowledged()
    bye = inside("BYE", 2, **fields)
    stack.receive(bye, UDP, now=5.0)
    event = only(stack)
    assert isinstance(event, RequestReceived)
    assert event.dialog is invite.dialog
    stack.respond(event.transaction, 200, now=5.0)
    (response,) = sent(stack)
    assert response.status == 200
    assert response.headers.get("CSeq") == bye.headers.get("CSeq")
    ended = only(stack)
    assert isinstance(ended, DialogEnded)
    assert ended.reason == "bye_received"
    assert stack.dialogs == []


def test_a_second_bye_gets_200_from_its_transaction_and_481_after_it():
    stack, inside, _ = acknowledged()
    stack.receive(inside("BYE", 2), UDP, now=5.0)
    stack.respond(only(stack).transaction, 200, now=5.0)
    assert statuses(stack) == [200]
    stack.events()
    stack.receive(inside("BYE", 2), UDP, now=6.0)
    assert statuses(stack) == [200]
    advance(stack, until=60.0)
    stack.receive(inside("BYE", 2), UDP, now=60.0)
    assert statuses(stack) == [481]
    assert stack.events() == []


def test_a_bye_before_the_ack_ends_the_repetition_of_the_2xx():
    stack, inside, _ = established()
    stack.receive(inside("BYE", 2), UDP, now=0.1)
    stack.respond(only(stack).transaction, 200, now=0.1)
    assert statuses(stack) == [200]
    assert isinstance(only(stack), DialogEnded)
    assert advance(stack, until=100.0) == []
    assert stack.events() == []
    assert stack.transaction_count == 0


def test_a_bye_while_the_invite_waits_gets_it_487():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    invite = only(stack)
    stack.receive(request("BYE", cseq="2 BYE", via="SIP/2.0/UDP h;branch=z9hG4bKb;rport"), UDP, now=0.1)
    assert statuses(stack) == [487]
    given_up, bye = stack.events()
    assert isinstance(given_up, CancelReceived)
    assert (given_up.transaction, given_up.dialog) == (invite.transaction, invite.dialog)
    assert isinstance(bye, RequestReceived)
    assert stack.respond(bye.transaction, 200, now=0.1)
    assert not stack.respond(invite.transaction, 200, now=0.2)
    assert statuses(stack) == [200]
    assert stack.dialogs == []


def test_a_lower_sequence_number_gets_500_and_the_dialog_stands():
    stack, inside, _ = acknowledged()
    stack.receive(inside("OPTIONS", 0), UDP, now=1.0)
    assert statuses(stack) == [500]
    assert len(stack.dialogs) == 1


def test_cancel_gets_200_and_the_invite_487():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    invite = only(stack)
    stack.receive(request("CANCEL", "Require: unheard-of"), UDP, now=0.1)
    answers = sent(stack)
    assert [(m.status, m.cseq.method) for m in answers] == [(200, "CANCEL"), (487, "INVITE")]
    assert answers[0].to.tag == answers[1].to.tag
    event = only(stack)
    assert isinstance(event, CancelReceived)
    assert event.transaction is invite.transaction
    assert not stack.respond(invite.transaction, 200, now=0.2)
    stack.receive(request("ACK", to=OURS.format(answers[1].to.tag)), UDP, now=0.2)
    assert stack.events() == []
    assert stack.dialogs == []
    assert advance(stack, until=100.0) == []
    assert stack.transaction_count == 0


def test_cancel_after_the_final_response_has_no_effect():
    stack, _, invite = established()
    stack.receive(request("CANCEL"), UDP, now=0.1)
    assert statuses(stack) == [200]
    assert stack.events() == []
    assert invite.dialog.state is DialogState.CONFIRMED


def test_cancel_of_nothing_gets_481():
    assert refusal(request("CANCEL")).status == 481


def test_a_cancel_retransmission_gets_its_200_again():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    stack.receive(request("CANCEL"), UDP, now=0.1)
    stack.to_send()
    stack.receive(request("CANCEL"), UDP, now=0.2)
    assert statuses(stack) == [200]


@pytest.mark.parametrize("uri", ["sip:x@y", "sips:x@y", "tel:+15550100", "sip:x]@y", "SIP:y"])
def test_known_uri_schemes_pass(uri):
    stack = new_stack()
    stack.receive(request("INVITE", uri=uri), UDP, now=0.0)
    assert isinstance(only(stack), InviteReceived)


@pytest.mark.parametrize(
    ("uri", "status"), [("nobody:x@y", 416), ("http://x", 416), ("<sip:x@y>", 400), ("x", 400)]
)
def test_other_uris_are_refused(uri, status):
    assert refusal(request("INVITE", uri=uri)).status == status


def test_an_unsupported_method_gets_405_with_allow():
    response = refusal(request("REGISTER"))
    assert response.status == 405
    assert "INVITE" in response.headers.get_all("Allow")
    assert response.to.tag


def test_exactly_the_unknown_required_tags_are_named_in_420():
    response = refusal(request("INVITE", "Require: siprec, foo", "Require: 100rel,BAR"))
    assert response.status == 420
    assert response.headers.get_all("Unsupported") == ["foo", "BAR"]


PACKED = ("Content-Encoding: gzip", "Content-Type: application/sdp")


@pytest.mark.parametrize(
    ("invite", "status", "reason"),
    [
        (request("INVITE", "Require: siprec, foo, bar"), 420, "Bad Extension, Unsupported: foo, bar"),
        (request("INVITE", uri="http://x"), 416, "Unsupported URI Scheme"),
        (request("INVITE", uri="x"), 400, "Bad Request-URI"),
        (request("INVITE", *PACKED, body=b"x"), 415, "Unsupported Media Type, Accept-Encoding: identity"),
    ],
)
def test_an_invite_that_the_stack_refuses_is_told_once_with_its_reason(invite, status, reason):
    """However often it is repeated before the ACK."""
    stack = new_stack()
    stack.receive(invite, UDP, now=0.0)
    event = only(stack)
    assert isinstance(event, InviteRefused)
    assert (event.request, event.flow, event.status, event.reason) == (invite, UDP, status, reason)
    stack.receive(invite, UDP, now=0.1)
    assert stack.events() == []
    assert statuses(stack) == [status, status]


def test_what_a_refusal_tells_of_the_peers_words_is_bounded():
    stack = new_stack()
    stack.receive(request("INVITE", "Require: " + "x" * 5_000), UDP, now=0.0)
    assert len(only(stack).reason) == 200


def test_a_malformed_invite_is_told_once_with_what_is_wrong_in_it():
    stack = new_stack()
    wire = request("INVITE").encode().replace(b"Content-Length: 0", b"Content-Length: 9")
    for now in (0.0, 0.5, 1.5):
        with pytest.raises(SipParseError) as caught:
            parse_datagram(wire)
        stack.receive_error(caught.value, UDP, now=now)
    event = only(stack)
    assert isinstance(event, InviteRefused)
    assert event.status == 400
    assert event.reason.endswith(": 9 bytes announced, 0 received: fragment suspected")
    assert statuses(stack) == [400] * 3


def test_each_invite_above_the_limit_of_transactions_is_told_once():
    stack = new_stack(max_transactions=1)
    stack.receive(request("INVITE"), UDP, now=0.0)
    assert isinstance(only(stack), InviteReceived)
    for number in (2, 3, 3, 2):
        via = f"SIP/2.0/UDP h;branch=z9hG4bK{number};rport"
        stack.receive(request("INVITE", via=via, call_id=str(number)), UDP, now=0.1)
    refused = stack.events()
    assert [(event.request.call_id, event.status) for event in refused] == [("2", 503), ("3", 503)]
    assert statuses(stack) == [503] * 4


@pytest.mark.parametrize(
    "other", [request("OPTIONS", "Require: foo"), request("INVITE", to=OURS.format("gone")), request("BYE")]
)
def test_a_refused_request_that_would_begin_no_call_is_not_told(other):
    stack = new_stack()
    stack.receive(other, UDP, now=0.0)
    assert stack.events() == []
    assert len(statuses(stack)) == 1


def test_a_refused_offer_in_a_dialog_is_not_told_as_a_refused_call():
    stack, inside, _ = acknowledged()
    stack.receive(inside("INVITE", 2, "Require: foo"), UDP, now=1.0)
    assert statuses(stack)[-1] == 420
    assert stack.events() == []


def test_require_is_ignored_in_cancel_and_ack():
    """RFC 3261 8.2.2.3."""
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    stack.receive(request("CANCEL", "Require: teleport"), UDP, now=0.1)
    assert statuses(stack) == [200, 487]
    stack.receive(request("ACK", "Require: teleport"), UDP, now=0.2)
    assert advance(stack, until=100.0) == []
    assert stack.counters["dropped", "stray ack"] == 0


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_packed_body_that_has_to_be_read_gets_415_with_what_is_understood(method):
    """RFC 3261 8.2.3; the dialog stands."""
    stack, inside, _ = acknowledged()
    stack.receive(inside(method, 2, "Content-Encoding: gzip", body=b"\x1f\x8b"), UDP, now=1.0)
    (response,) = sent(stack)
    assert response.status == 415
    assert response.headers.get("Accept-Encoding") == "identity"
    assert stack.events() == []
    assert len(stack.dialogs) == 1


@pytest.mark.parametrize(
    ("method", "fields", "body"),
    [
        ("INVITE", ["e: Identity"], b"v=0"),
        ("INVITE", ["e: gzip"], b""),
        ("INVITE", ["e: gzip", "Content-Disposition: icon;handling=Optional"], b"\x1f\x8b"),
        ("BYE", ["e: gzip"], b"\x1f\x8b"),
    ],
)
def test_a_body_that_need_not_be_unpacked_costs_nothing(method, fields, body):
    stack, inside, _ = acknowledged()
    stack.receive(inside(method, 2, *fields, body=body), UDP, now=1.0)
    assert only(stack).request.method == method


def test_proxy_require_and_known_tags_in_require_are_no_obstacle():
    stack = new_stack()
    tags = "siprec,timer, 100rel,replaces,resource-priority,sdp-anat"
    stack.receive(request("INVITE", f"Require: {tags}", "Proxy-Require: privacy"), UDP, now=0.0)
    assert isinstance(only(stack), InviteReceived)


def test_another_version_gets_505():
    assert refusal(Request(**{**_fields(request("OPTIONS")), "version": "7.0"})).status == 505


def _fields(message):
    return {name: getattr(message, name) for name in ("method", "uri", "headers", "body")}


@pytest.mark.parametrize("method", ["BYE", "UPDATE", "INFO"])
def test_requests_that_need_a_dialog_get_481_without_one(method):
    assert refusal(request(method)).status == 481


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE"])
def test_a_to_tag_of_an_unknown_dialog_gets_481(method):
    assert refusal(request(method, to=OURS.format("gone"))).status == 481


def test_an_unknown_ack_is_dropped():
    stack = new_stack()
    stack.receive(request("ACK", to=OURS.format("gone")), UDP, now=0.0)
    assert stack.to_send() == []


def test_options_goes_up_and_its_200_tells_what_we_can():
    stack = new_stack()
    stack.receive(request("OPTIONS"), UDP, now=0.0)
    event = only(stack)
    assert isinstance(event, RequestReceived)
    assert event.dialog is None
    stack.respond(event.transaction, 200, now=0.0)
    (response,) = sent(stack)
    for name in ("Allow", "Accept", "Accept-Encoding", "Accept-Language", "Supported", "Contact"):
        assert name in response.headers
    assert response.to.tag


def test_a_reinvite_comes_with_its_dialog_and_refreshes_the_target():
    stack, inside, invite = acknowledged()
    stack.receive(inside("INVITE", 2, contact="<sip:new@192.0.2.9>"), UDP, now=1.0)
    event = only(stack)
    assert event.reinvite
    assert event.dialog is invite.dialog
    assert event.dialog.remote_target == "sip:new@192.0.2.9"
    stack.respond(event.transaction, 488, now=1.0)
    assert statuses(stack) == [488]
    assert event.dialog.state is DialogState.CONFIRMED
    assert len(stack.dialogs) == 1


def test_a_reinvite_without_to_tag_makes_no_second_dialog_and_is_answered_with_our_tag():
    stack, inside, first = acknowledged()
    stack.receive(inside("INVITE", 2, to="<sip:rec@192.0.2.1>"), UDP, now=1.0)
    event = only(stack)
    assert isinstance(event, InviteReceived)
    assert event.reinvite
    assert event.dialog is first.dialog
    stack.respond(event.transaction, 200, now=1.0)
    assert sent(stack)[0].to.tag == first.dialog.local_tag
    assert stack.dialogs == [first.dialog]


def test_a_second_invite_while_the_first_waits_gets_500_with_retry_after():
    stack, inside, _ = acknowledged()
    stack.receive(inside("INVITE", 2), UDP, now=1.0)
    first = only(stack)
    stack.receive(inside("INVITE", 3), UDP, now=1.1)
    (response,) = sent(stack)
    assert response.status == 500
    assert 0 <= int(response.headers.get("Retry-After")) <= 10
    assert stack.respond(first.transaction, 200, now=1.2)
    assert stack.events() == []


def test_an_invite_while_ours_waits_gets_491():
    stack, inside, invite = acknowledged()
    stack.request(invite.dialog, "INVITE", now=1.0)
    stack.to_send()
    stack.receive(inside("INVITE", 2), UDP, now=1.0)
    assert statuses(stack) == [491]


def test_an_update_with_sdp_must_not_cross_an_invite_but_one_with_metadata_may():
    stack, inside, _ = acknowledged()
    stack.receive(inside("INVITE", 2), UDP, now=1.0)
    only(stack)
    sdp = "Content-Type: application/sdp"
    stack.receive(inside("UPDATE", 3, sdp, body=b"v=0"), UDP, now=1.1)
    assert statuses(stack) == [500]
    metadata = "Content-Type: application/rs-metadata+xml"
    stack.receive(inside("UPDATE", 4, metadata, body=b"<recording/>"), UDP, now=1.2)
    event = only(stack)
    assert isinstance(event, RequestReceived)
    stack.receive(inside("UPDATE", 5, metadata), UDP, now=1.3)
    assert statuses(stack) == [500]
    stack.respond(event.transaction, 200, now=1.4)
    (response,) = sent(stack)
    assert response.headers.get("Contact") == "<sip:192.0.2.1:5060>;+sip.srs"


def test_a_request_that_the_upper_layer_forgets_gets_500():
    stack = new_stack(timers=TimerConfig(answer=2.0))
    stack.receive(request("OPTIONS"), UDP, now=0.0)
    assert [parse_datagram(wire).status for _, wire in advance(stack, until=2.0)] == [500]


def test_a_refused_invite_leaves_no_dialog_and_no_transaction():
    stack = new_stack()
    stack.receive(request("INVITE"), UDP, now=0.0)
    event = only(stack)
    stack.respond(event.transaction, 503, headers=[("Retry-After", "5")], now=0.0)
    (response,) = sent(stack)
    assert (response.status, response.reason) == (503, "Service Unavailable")
    stack.receive(request("ACK", to=OURS.format(response.to.tag)), UDP, now=0.1)
    advance(stack, until=10.0)
    assert (stack.dialogs, stack.transaction_count, stack.events()) == ([], 0, [])


def test_beyond_the_caps_new_requests_get_503_and_dialogs_can_still_end():
    stack, inside, _ = acknowledged(max_dialogs=1, max_transactions=4)
    stack.receive(request("INVITE", call_id="c2", via="SIP/2.0/UDP h;branch=z9hG4bK2;rport"), UDP, now=1.0)
    (response,) = sent(stack)
    assert response.status == 503
    assert response.headers.get("Retry-After") == "5"
    for n in range(5):
        stack.receive(request("OPTIONS", via=f"SIP/2.0/UDP h;branch=z9hG4bKo{n};rport"), UDP, now=1.0)
    assert statuses(stack) == [503, 503]
    stack.events()
    stack.receive(inside("BYE", 2), UDP, now=1.1)
    assert isinstance(only(stack), RequestReceived)
    assert stack.counters["refused", "overload"] == 3


@pytest.mark.parametrize(
    ("via", "remote"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bK1", ("192.0.2.9", 5099)),
        ("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", ("192.0.2.9", 5060)),
        ("SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bK1;rport", ("192.0.2.9", 5062)),
        ("SIP/2.0/UDP 10.0.0.1;maddr=10.9.9.9;branch=z9hG4bK1;received=10.8.8.8", ("192.0.2.9", 5060)),
    ],
)
def test_udp_responses_go_to_the_source_address_and_the_port_of_rport_or_via(via, remote):
    stack = new_stack()
    stack.receive(request("REGISTER", via=via), UDP, now=0.0)
    ((flow, _),) = stack.to_send()
    assert flow == Flow(transport="udp", local=US, remote=remote)


def test_stream_responses_use_the_connection_and_a_new_one_if_it_is_gone():
    stack = new_stack()
    stack.receive(request("INVITE", via="SIP/2.0/TCP h:5099;branch=z9hG4bK1"), TCP, now=0.0)
    event = only(stack)
    stack.respond(event.transaction, 180, now=0.0)
    assert stack.to_send()[0][0] == TCP
    stack.connection_closed(TCP, now=0.1)
    stack.respond(event.transaction, 200, now=0.2)
    assert stack.to_send()[0][0] == Flow(transport="tcp", local=US, remote=("192.0.2.9", 5099))
    assert len(stack.dialogs) == 1


def test_a_bye_may_come_on_another_connection():
    stack, inside, invite = established(TCP)
    stack.connection_closed(TCP, now=1.0)
    other = Flow(transport="tcp", local=US, remote=("192.0.2.9", 40002), connection=8)
    stack.receive(inside("BYE", 2), other, now=2.0)
    event = only(stack)
    assert event.dialog is invite.dialog
    stack.respond(event.transaction, 200, now=2.0)
    assert [flow for flow, _ in stack.to_send()] == [other]


def parse_error(data):
    with pytest.raises(SipParseError) as caught:
        parse_datagram(data)
    return caught.value


def test_a_malformed_request_gets_400_with_what_could_be_read():
    wire = request("INVITE").encode().replace(b"CSeq: 1", b"CSeq: one")
    stack = new_stack()
    stack.receive_error(parse_error(wire), UDP, now=0.0)
    ((flow, answer),) = stack.to_send()
    assert flow.remote == PEER
    assert answer.startswith(
        b"SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKfirst"
    )
    assert b"\r\nCall-ID: call-1\r\nCSeq: one INVITE\r\n" in answer
    assert b"CSeq at" not in answer
    assert stack.counters["parse_errors", "CSeq"] == 1


@pytest.mark.parametrize(
    "wire", [b"garbage", b"SIP/2.0 200 OK\r\n\r\n", b"ACK sip:a SIP/2.0\r\nVia: x\r\n\r\n"]
)
def test_what_cannot_be_answered_is_dropped_and_counted(wire):
    stack = new_stack()
    stack.receive_error(parse_error(wire), UDP, now=0.0)
    assert stack.to_send() == []
    assert stack.counters["dropped", "unparsable"] == 1


def test_a_broken_to_is_copied_and_gets_a_tag_that_can_be_read():
    stack = new_stack()
    stack.receive(request("OPTIONS", to="<sip:a@b"), UDP, now=0.0)
    stack.respond(only(stack).transaction, 200, now=0.0)
    (response,) = sent(stack)
    assert response.headers.get("To").startswith("<sip:a@b>;tag=")


def test_labels_of_counters_are_bounded():
    stack = new_stack()
    for n in range(50):
        stack.receive(request(f"M{n}", via=f"SIP/2.0/UDP h;branch=z9hG4bK{n};rport"), UDP, now=0.0)
    assert stack.counters["requests_received", "other"] == 50
    assert stack.counters["responses_sent", "405"] == 50
