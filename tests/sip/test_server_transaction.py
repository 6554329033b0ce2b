import pytest

from siprec.sip.responses import build_response
from siprec.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction
from siprec.sip.transaction import Outcome, State, TimerConfig, server_key
from tests.sip.wire import TCP, UDP, request

TIMERS = TimerConfig()
RETRIES = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def invite(flow=UDP):
    received = request("INVITE")
    trying = build_response(received, 100)
    return InviteServerTransaction(received, flow, timers=TIMERS, now=0.0, trying=trying)


def other(flow=UDP):
    return NonInviteServerTransaction(request("BYE"), flow, timers=TIMERS, now=0.0)


def answer(transaction, status, now=0.0):
    assert transaction.respond(build_response(transaction.request, status), now=now)
    assert len(transaction.to_send()) == 1


def run(transaction, until):
    """(time, number of messages sent) of every timer up to `until`."""
    fired = []
    while (due := transaction.next_timer()) is not None and due <= until:
        transaction.handle_timer(now=due)
        fired += [due] * len(transaction.to_send())
    return fired


def test_nothing_is_sent_at_once_and_trying_after_200_ms():
    transaction = invite()
    assert transaction.to_send() == []
    transaction.handle_timer(now=0.199)
    assert transaction.to_send() == []
    transaction.handle_timer(now=0.2)
    assert transaction.to_send()[0].startswith(b"SIP/2.0 100 Trying\r\n")
    assert run(transaction, 31.9) == []


def test_a_quick_answer_needs_no_trying():
    transaction = invite()
    answer(transaction, 180, now=0.1)
    assert run(transaction, 31.0) == []


def test_a_retransmitted_invite_gets_the_last_response_again():
    transaction = invite()
    transaction.receive_retransmission()
    assert transaction.to_send() == []
    answer(transaction, 180)
    transaction.receive_retransmission()
    assert transaction.to_send()[0].startswith(b"SIP/2.0 180")
    answer(transaction, 200)
    transaction.receive_retransmission()
    assert transaction.to_send()[0].startswith(b"SIP/2.0 200")
    assert transaction.take_retransmissions() == 2


@pytest.mark.parametrize("flow", [UDP, TCP])
def test_a_2xx_is_repeated_on_every_transport_and_given_up_after_64_t1(flow):
    transaction = invite(flow)
    answer(transaction, 200)
    assert run(transaction, 100.0) == RETRIES
    assert transaction.outcomes() == [Outcome.ACK_TIMEOUT]
    assert transaction.terminated


def test_the_ack_ends_the_repetition_and_the_accepted_state_absorbs_late_invites_until_timer_l():
    transaction = invite()
    answer(transaction, 200)
    assert run(transaction, 1.6) == [0.5, 1.5]
    assert transaction.receive_ack(now=2.0)
    assert not transaction.receive_ack(now=2.1)
    transaction.receive_retransmission()
    assert transaction.to_send() == []
    assert transaction.state is State.ACCEPTED
    assert transaction.next_timer() == 32.0
    assert run(transaction, 100.0) == []
    assert transaction.terminated
    assert transaction.outcomes() == []


def test_another_sign_of_life_ends_the_repetition_and_the_ack_still_counts_as_the_first():
    transaction = invite()
    answer(transaction, 200)
    transaction.settle()
    assert run(transaction, 31.0) == []
    assert transaction.receive_ack(now=31.0)


def test_a_refusal_is_retransmitted_until_timer_h_then_given_up():
    transaction = invite()
    answer(transaction, 486)
    assert run(transaction, 100.0) == RETRIES
    assert transaction.terminated
    assert transaction.outcomes() == []


def test_a_refusal_over_a_stream_is_sent_once_and_ends_with_its_ack():
    transaction = invite(TCP)
    answer(transaction, 486)
    assert run(transaction, 31.0) == []
    assert transaction.receive_ack(now=31.0)
    assert transaction.terminated


def test_after_the_ack_of_a_refusal_timer_i_absorbs_more_acks_over_udp():
    transaction = invite()
    answer(transaction, 486)
    assert transaction.receive_ack(now=1.0)
    assert transaction.state is State.CONFIRMED
    assert not transaction.receive_ack(now=1.1)
    transaction.receive_retransmission()
    assert transaction.to_send() == []
    assert transaction.next_timer() == 6.0
    transaction.handle_timer(now=6.0)
    assert transaction.terminated


def test_only_the_first_final_response_counts():
    transaction = invite()
    answer(transaction, 487)
    assert not transaction.respond(build_response(transaction.request, 200), now=1.0)
    assert transaction.to_send() == []
    assert transaction.status == 487


@pytest.mark.parametrize("make", [invite, other])
def test_a_request_that_nobody_answers_is_reported(make):
    transaction = make()
    run(transaction, 31.9)
    assert transaction.outcomes() == []
    run(transaction, 32.0)
    assert transaction.outcomes() == [Outcome.UNANSWERED]


def test_timer_j_absorbs_retransmissions_of_other_requests_over_udp():
    transaction = other()
    transaction.receive_retransmission()
    assert transaction.to_send() == []
    answer(transaction, 200, now=1.0)
    transaction.receive_retransmission()
    assert transaction.to_send()[0].startswith(b"SIP/2.0 200")
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(now=33.0)
    assert transaction.terminated


def test_over_a_stream_another_request_is_over_with_its_answer():
    transaction = other(TCP)
    answer(transaction, 200)
    assert transaction.terminated
    assert transaction.next_timer() is None


def test_timers_follow_their_configuration():
    received = request("INVITE")
    timers = TimerConfig(t1=0.1, t2=0.4)
    transaction = InviteServerTransaction(
        received, UDP, timers=timers, now=0.0, trying=build_response(received, 100)
    )
    answer(transaction, 486)
    assert run(transaction, 1.2) == pytest.approx([0.1, 0.3, 0.7, 1.1])
    assert run(transaction, 100.0)[-1] == pytest.approx(6.3)


def test_keys_tell_transactions_apart_by_branch_sent_by_and_method():
    assert server_key(request("ACK")) == server_key(request("INVITE"))
    assert server_key(request("CANCEL")) != server_key(request("INVITE"))
    other_host = request("INVITE", via="SIP/2.0/UDP 192.0.2.8:5062;branch=z9hG4bKfirst")
    assert server_key(other_host) != server_key(request("INVITE"))


def test_without_the_magic_cookie_keys_use_the_fields_of_rfc_2543():
    old = "SIP/2.0/UDP 192.0.2.9;branch=1"
    first = server_key(request("INVITE", via=old))
    assert server_key(request("ACK", via=old, to="<sip:rec@192.0.2.1>;tag=ours")) == first
    assert server_key(request("INVITE", via=old, cseq="2 INVITE")) != first
    assert server_key(request("INVITE", via=old, call_id="other")) != first
