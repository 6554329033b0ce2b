"""Two stacks talk while the network loses, doubles and reorders their datagrams."""

from random import Random

import pytest

from siprec.sip.events import (
    AckReceived,
    DialogEnded,
    InviteReceived,
    RequestReceived,
    RequestTimeout,
    ResponseReceived,
)
from siprec.sip.flow import Flow
from siprec.sip.uac import Destination
from tests.sip.wire import PEER, US, Path, new_stack

OUT = Flow(transport="udp", local=PEER, remote=US)
TARGET = Destination(uri="sip:rec@192.0.2.1", flow=OUT, from_uri="sip:src@192.0.2.9")


class Call:
    """A caller that holds for a while and a recorder that answers everything."""

    def __init__(self, fate, *, hold=5.0):
        self.caller, self.recorder = new_stack(11), new_stack(12)
        self.hold = hold
        self.seen = []
        self.path = Path(self.caller, self.recorder, handlers=(self.on_caller, self.on_recorder), fate=fate)

    def on_recorder(self, event, now):
        self.seen.append(event)
        if isinstance(event, InviteReceived | RequestReceived):
            self.recorder.respond(event.transaction, 200, body=b"answer", now=now)

    def on_caller(self, event, now):
        self.seen.append(event)
        answered = isinstance(event, ResponseReceived) and event.response.status >= 200
        if answered and event.response.cseq.method == "INVITE":
            self.caller.acknowledge(event.transaction, event.dialog)

    def run(self):
        self.caller.request(TARGET, "INVITE", body=b"offer", now=0.0)
        self.path.run(until=self.hold)
        for dialog in self.caller.dialogs:
            self.caller.request(dialog, "BYE", now=self.path.now)
        self.path.run(until=400.0)

    def count(self, kind):
        return sum(isinstance(event, kind) for event in self.seen)


def test_a_call_over_a_good_network_is_six_messages():
    wires = []
    call = Call(lambda wire: wires.append(wire.split()[0]) or [0.01])
    call.run()
    assert wires == [b"INVITE", b"SIP/2.0", b"ACK", b"BYE", b"SIP/2.0"]
    assert (call.count(InviteReceived), call.count(AckReceived), call.count(DialogEnded)) == (1, 1, 2)


@pytest.mark.parametrize("seed", range(25))
def test_one_call_survives_loss_doubling_and_reordering_and_leaves_nothing(seed):
    rng = Random(seed)

    def fate(wire):
        copies = rng.choices([0, 1, 2], [25, 60, 15])[0]
        return [rng.uniform(0.001, 0.8) for _ in range(copies)]

    call = Call(fate, hold=60.0)
    call.run()
    assert call.count(InviteReceived) == 1
    assert call.count(AckReceived) == 1
    assert sum(isinstance(event, RequestReceived) for event in call.seen) == 1
    assert call.count(RequestTimeout) == 0
    assert call.count(DialogEnded) == 2
    for stack in (call.caller, call.recorder):
        assert (stack.dialogs, stack.transaction_count, stack.next_timer()) == ([], 0, None)


@pytest.mark.parametrize("first", [b"INVITE", b"SIP/2.0", b"ACK", b"BYE"])
def test_the_loss_of_the_first_copies_of_any_one_message_is_made_good(first):
    lost = []

    def fate(wire):
        if wire.startswith(first) and len(lost) < 3:
            lost.append(wire)
            return []
        return [0.02]

    call = Call(fate, hold=40.0)
    call.run()
    assert len(lost) == 3
    assert (call.count(InviteReceived), call.count(AckReceived), call.count(DialogEnded)) == (1, 1, 2)
    assert (call.recorder.transaction_count, call.caller.transaction_count) == (0, 0)


def test_a_dead_network_is_a_timeout_and_leaves_nothing():
    call = Call(lambda wire: [])
    call.run()
    assert call.count(RequestTimeout) == 1
    assert (call.caller.dialogs, call.caller.transaction_count, call.recorder.transaction_count) == ([], 0, 0)
