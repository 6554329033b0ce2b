import pytest

from siprec.sip.dialog import DialogState
from siprec.sip.events import DialogEnded, InviteReceived, RequestTimeout, ResponseReceived, TransportFailed
from siprec.sip.flow import Flow
from siprec.sip.parser import parse_datagram
from siprec.sip.responses import build_response
from siprec.sip.uac import Destination
from tests.sip.wire import PEER, TCP, UDP, US, advance, new_stack, only, request, sent

TO_PEER = Destination(uri="sip:them@192.0.2.9:5062", flow=UDP, from_uri="sip:us@192.0.2.1")
ROUTE = ("Record-Route", "<sip:192.0.2.3;lr>")
CONTACT = ("Contact", "<sip:them@192.0.2.9:5070>")


def calling(flow=UDP, **config):
    stack = new_stack(**config)
    target = Destination(uri=TO_PEER.uri, flow=flow, from_uri=TO_PEER.from_uri)
    transaction = stack.request(target, "INVITE", body=b"v=0", now=0.0)
    (invite,) = sent(stack)
    return stack, transaction, invite


def reply(stack, sent_request, status, *headers, tag="theirs", flow=UDP, now=0.1):
    stack.receive(build_response(sent_request, status, to_tag=tag, headers=headers), flow, now=now)


def established(flow=UDP, *headers):
    stack, transaction, invite = calling(flow)
    reply(stack, invite, 200, *(headers or (CONTACT,)), flow=flow)
    event = only(stack)
    stack.acknowledge(transaction, event.dialog)
    stack.to_send()
    return stack, event.dialog


def test_an_invite_carries_what_makes_a_dialog():
    _, _, invite = calling()
    assert invite.uri == TO_PEER.uri
    assert invite.via.branch.startswith("z9hG4bK")
    assert invite.via.sent_by == "192.0.2.1:5060"
    assert "rport" in invite.via.params
    assert invite.from_.tag
    assert invite.to.tag is None
    assert str(invite.cseq) == "1 INVITE"
    assert invite.headers.get("Max-Forwards") == "70"
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5060>;+sip.srs"
    assert "siprec" in invite.headers.get_all("Supported")
    assert invite.body == b"v=0"


def test_headers_of_the_caller_replace_the_stacks_own():
    stack = new_stack(contact_features=("+sip.src",))
    headers = [("Require", "siprec"), ("User-Agent", "probe"), ("f", '"X" <sip:x@y>;tag=mine')]
    stack.request(TO_PEER, "INVITE", headers=headers, now=0.0)
    (invite,) = sent(stack)
    assert invite.headers.get("Contact") == "<sip:192.0.2.1:5060>;+sip.src"
    assert invite.headers.lines("User-Agent") == ["probe"]
    assert invite.headers.lines("From") == ['"X" <sip:x@y>;tag=mine']


def test_a_2xx_makes_a_dialog_and_its_ack_goes_along_the_route():
    stack, transaction, invite = calling()
    reply(stack, invite, 200, CONTACT, ("Record-Route", "<sip:192.0.2.4;lr>, <sip:192.0.2.3:5080;lr>"))
    event = only(stack)
    assert isinstance(event, ResponseReceived)
    assert event.transaction is transaction
    assert event.dialog.state is DialogState.CONFIRMED
    stack.acknowledge(transaction, event.dialog, body=b"answer")
    ((flow, wire),) = stack.to_send()
    assert flow.remote == ("192.0.2.3", 5080)
    assert wire.startswith(b"ACK sip:them@192.0.2.9:5070 SIP/2.0\r\n")
    ack = parse_datagram(wire)
    assert str(ack.cseq) == "1 ACK"
    assert ack.to.tag == "theirs"
    assert ack.via.branch != invite.via.branch
    assert ack.headers.get_all("Route") == ["<sip:192.0.2.3:5080;lr>", "<sip:192.0.2.4;lr>"]
    assert ack.body == b"answer"


def test_a_repeated_2xx_gets_the_same_ack_and_does_not_come_up_again():
    stack, transaction, invite = calling()
    reply(stack, invite, 200, CONTACT)
    dialog = only(stack).dialog
    reply(stack, invite, 200, CONTACT, now=0.2)
    assert (stack.events(), stack.to_send()) == ([], [])
    stack.acknowledge(transaction, dialog)
    first = stack.to_send()
    reply(stack, invite, 200, CONTACT, now=0.6)
    assert stack.to_send() == first
    assert stack.events() == []


def test_two_forks_that_answer_are_two_dialogs():
    stack, _, invite = calling()
    reply(stack, invite, 200, CONTACT, tag="one")
    reply(stack, invite, 200, CONTACT, tag="two")
    first, second = stack.events()
    assert first.dialog is not second.dialog
    assert len(stack.dialogs) == 2


def test_an_early_dialog_becomes_the_confirmed_one():
    stack, _, invite = calling()
    reply(stack, invite, 183, CONTACT)
    early = only(stack).dialog
    assert early.state is DialogState.EARLY
    reply(stack, invite, 200, CONTACT, now=1.0)
    assert only(stack).dialog is early
    assert early.state is DialogState.CONFIRMED


def test_a_refusal_is_acknowledged_and_early_dialogs_end():
    stack, _, invite = calling()
    reply(stack, invite, 183, CONTACT)
    only(stack)
    reply(stack, invite, 486, now=1.0)
    event = only(stack)
    assert event.response.status == 486
    assert [message.method for message in sent(stack)] == ["ACK"]
    assert stack.dialogs == []
    advance(stack, until=100.0)
    assert stack.transaction_count == 0


def test_no_answer_is_a_timeout():
    stack, transaction, _ = calling()
    assert len(advance(stack, until=100.0)) == 6
    event = only(stack)
    assert isinstance(event, RequestTimeout)
    assert event.transaction is transaction
    assert stack.transaction_count == 0


def test_cancel_waits_for_a_provisional_response_and_uses_the_invites_branch():
    stack, transaction, invite = calling()
    stack.cancel(transaction, now=0.05)
    assert stack.to_send() == []
    reply(stack, invite, 100, tag=None)
    only(stack)
    (cancel,) = sent(stack)
    assert (cancel.method, str(cancel.cseq)) == ("CANCEL", "1 CANCEL")
    assert cancel.via == invite.via
    assert cancel.to.tag is None
    reply(stack, cancel, 200, now=0.2)
    assert only(stack).response.cseq.method == "CANCEL"
    reply(stack, invite, 487, now=0.3)
    assert only(stack).response.status == 487
    stack.cancel(transaction, now=0.4)
    assert [message.method for message in sent(stack)] == ["ACK"]


def test_our_bye_ends_the_dialog_with_its_answer():
    stack, dialog = established()
    stack.request(dialog, "BYE", now=1.0)
    (bye,) = sent(stack)
    assert str(bye.cseq) == "2 BYE"
    assert "Contact" not in bye.headers
    assert stack.events() == []
    reply(stack, bye, 405, now=1.1)
    answer, ended = stack.events()
    assert answer.response.status == 405
    assert isinstance(ended, DialogEnded)
    assert ended.reason == "bye_sent"
    assert stack.dialogs == []


def test_our_bye_ends_the_dialog_without_an_answer_too():
    stack, dialog = established()
    stack.request(dialog, "BYE", now=1.0)
    advance(stack, until=50.0)
    assert [type(event) for event in stack.events()] == [RequestTimeout, DialogEnded]


def test_an_answer_to_options_or_update_leaves_the_dialog_and_refreshes_the_target():
    stack, dialog = established()
    stack.request(dialog, "UPDATE", now=1.0)
    (update,) = sent(stack)
    assert update.headers.get("Contact") == "<sip:192.0.2.1:5060>;+sip.srs"
    reply(stack, update, 200, ("Contact", "<sip:moved@192.0.2.9>"), now=1.1)
    assert only(stack).dialog is dialog
    assert dialog.remote_target == "sip:moved@192.0.2.9"
    stack.request(dialog, "OPTIONS", now=2.0)
    reply(stack, sent(stack)[0], 481, now=2.1)
    assert only(stack).response.status == 481
    assert dialog.state is DialogState.CONFIRMED
    stack.forget(dialog)
    assert only(stack).reason == "forgotten"


def test_a_refused_reinvite_leaves_the_dialog():
    stack, dialog = established()
    stack.request(dialog, "INVITE", now=1.0)
    reinvite = next(message for message in sent(stack))
    assert reinvite.to.tag == "theirs"
    reply(stack, reinvite, 488, now=1.1)
    assert only(stack).dialog is dialog
    assert dialog.state is DialogState.CONFIRMED
    stack.request(dialog, "INVITE", now=2.0)
    reinvite = sent(stack)[-1]
    reply(stack, reinvite, 200, ("Contact", "<sip:moved@192.0.2.9>"), now=2.1)
    assert only(stack).dialog is dialog
    assert dialog.remote_target == "sip:moved@192.0.2.9"


@pytest.mark.parametrize(
    ("contact", "transport", "remote"),
    [
        ("<sip:x@192.0.2.77:5099>", "udp", ("192.0.2.77", 5099)),
        ("<sip:x@192.0.2.77>", "udp", ("192.0.2.77", 5060)),
        ("<sip:x@192.0.2.77;transport=TCP>", "tcp", ("192.0.2.77", 5060)),
        ("<sip:x@sbc.example.com>", "udp", PEER),
        ("<sip:x@sbc.example.com;transport=tcp>", "tcp", ("sbc.example.com", 5060)),
        ("<sip:x@192.0.2.77;transport=pigeon>", "udp", PEER),
        ("tel:+1555", "udp", PEER),
    ],
)
def test_requests_in_a_dialog_go_to_its_contact_and_names_are_not_resolved_here(contact, transport, remote):
    stack, dialog = established(UDP, ("Contact", contact))
    stack.request(dialog, "BYE", now=1.0)
    ((flow, _),) = stack.to_send()
    assert flow == Flow(transport=transport, local=US, remote=remote)


def test_a_dialog_on_a_stream_stays_on_it_until_it_closes():
    stack, dialog = established(TCP, ("Contact", "<sip:x@192.0.2.77>"))
    stack.request(dialog, "OPTIONS", now=1.0)
    assert stack.to_send()[0][0] == TCP
    stack.connection_closed(TCP, now=1.1)
    assert isinstance(only(stack), TransportFailed)
    stack.request(dialog, "BYE", now=1.2)
    assert stack.to_send()[0][0] == Flow(transport="tcp", local=US, remote=("192.0.2.77", 5060))
    assert len(stack.dialogs) == 1


def test_a_stream_that_cannot_be_opened_fails_the_requests_that_wait_for_it():
    flow = Flow(transport="tcp", local=US, remote=PEER)
    stack, transaction, _ = calling(flow)
    stack.connection_closed(flow, now=0.5)
    event = only(stack)
    assert isinstance(event, TransportFailed)
    assert event.transaction is transaction
    assert stack.transaction_count == 0
    assert advance(stack, until=100.0) == []


def test_a_response_to_nothing_is_dropped():
    stack = new_stack()
    reply(stack, request("OPTIONS"), 200)
    assert stack.events() == []
    assert stack.counters["dropped", "stray response"] == 1


def test_the_peer_may_speak_in_a_dialog_that_we_began():
    stack, dialog = established()
    us, them = str(dialog.local), str(dialog.remote)
    stack.receive(
        request("INVITE", from_=them, to=us, call_id=dialog.call_id, cseq="500 INVITE"), UDP, now=1.0
    )
    event = only(stack)
    assert isinstance(event, InviteReceived)
    assert event.dialog is dialog
