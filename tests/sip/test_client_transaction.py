import pytest

from siprec.sip.client_transaction import InviteClientTransaction, NonInviteClientTransaction
from siprec.sip.parser import parse_datagram
from siprec.sip.responses import build_response
from siprec.sip.transaction import Outcome, State, TimerConfig
from tests.sip.wire import TCP, UDP, request

TIMERS = TimerConfig()


def make(kind, method, flow=UDP):
    transaction = kind(request(method, "Route: <sip:p;lr>"), flow, timers=TIMERS, now=0.0)
    assert len(transaction.to_send()) == 1
    return transaction


def invite(flow=UDP):
    return make(InviteClientTransaction, "INVITE", flow)


def other(flow=UDP):
    return make(NonInviteClientTransaction, "OPTIONS", flow)


def response(transaction, status):
    return build_response(transaction.request, status, to_tag="theirs")


def run(transaction, until):
    fired = []
    while (due := transaction.next_timer()) is not None and due <= until:
        transaction.handle_timer(now=due)
        fired += [due] * len(transaction.to_send())
    return fired


def test_timer_a_doubles_without_bound_and_timer_b_gives_up():
    transaction = invite()
    assert run(transaction, 100.0) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert transaction.outcomes() == [Outcome.TIMEOUT]
    assert transaction.terminated


def test_over_a_stream_an_invite_is_sent_once():
    transaction = invite(TCP)
    assert run(transaction, 100.0) == []
    assert transaction.outcomes() == [Outcome.TIMEOUT]


def test_a_provisional_response_ends_retransmission_and_timeout_of_an_invite():
    transaction = invite()
    assert transaction.receive(response(transaction, 100), now=0.4)
    assert transaction.state is State.PROCEEDING
    assert transaction.next_timer() is None
    assert transaction.receive(response(transaction, 180), now=0.5)


def test_a_refusal_is_acknowledged_with_the_same_branch_and_route_and_its_repetitions_too():
    transaction = invite()
    assert transaction.receive(response(transaction, 486), now=1.0)
    (wire,) = transaction.to_send()
    ack = parse_datagram(wire)
    assert wire.startswith(b"ACK sip:rec@192.0.2.1 SIP/2.0\r\n")
    assert ack.via == transaction.request.via
    assert (str(ack.cseq), ack.to.tag, ack.from_.tag) == ("1 ACK", "theirs", "peer")
    assert ack.headers.get_all("Route") == ["<sip:p;lr>"]
    assert not transaction.receive(response(transaction, 486), now=2.0)
    assert transaction.to_send() == [wire]
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.terminated
    assert transaction.outcomes() == []


def test_over_a_stream_a_refused_invite_is_over_at_once():
    transaction = invite(TCP)
    assert transaction.receive(response(transaction, 486), now=1.0)
    assert len(transaction.to_send()) == 1
    assert transaction.terminated


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_timer_m_passes_every_2xx_up_and_absorbs_the_rest(flow):
    transaction = invite(flow)
    assert transaction.receive(response(transaction, 200), now=1.0)
    assert transaction.receive(response(transaction, 200), now=2.0)
    assert not transaction.receive(response(transaction, 180), now=2.0)
    assert not transaction.receive(response(transaction, 486), now=2.0)
    assert transaction.to_send() == []
    assert run(transaction, 100.0) == []
    assert transaction.terminated
    assert transaction.outcomes() == []


def test_a_cancelled_invite_is_given_up_after_64_t1():
    transaction = invite()
    transaction.receive(response(transaction, 180), now=0.5)
    transaction.cancelled(now=1.0)
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.outcomes() == [Outcome.TIMEOUT]


def test_timer_e_doubles_up_to_t2_and_timer_f_gives_up():
    transaction = other()
    assert run(transaction, 100.0) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert transaction.outcomes() == [Outcome.TIMEOUT]


def test_after_a_provisional_response_timer_e_is_t2():
    transaction = other()
    assert transaction.receive(response(transaction, 100), now=0.1)
    assert run(transaction, 10.0) == [0.5, 4.5, 8.5]


def test_timer_k_absorbs_late_responses_over_udp():
    transaction = other()
    assert transaction.receive(response(transaction, 200), now=1.0)
    assert not transaction.receive(response(transaction, 200), now=1.1)
    assert transaction.next_timer() == 6.0
    transaction.handle_timer(now=6.0)
    assert transaction.terminated


def test_over_a_stream_the_response_ends_the_transaction():
    transaction = other(TCP)
    assert transaction.receive(response(transaction, 404), now=1.0)
    assert transaction.terminated
