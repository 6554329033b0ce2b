"""Messages and a loss-free or lossy path between two stacks, for the SIP tests."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from siprec.sip.config import StackConfig
from siprec.sip.events import Event
from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.parser import parse_datagram
from siprec.sip.stack import SipStack

US = ("192.0.2.1", 5060)
PEER = ("192.0.2.9", 5062)
UDP = Flow(transport="udp", local=US, remote=PEER)
TCP = Flow(transport="tcp", local=US, remote=(PEER[0], 40001), connection=7)


def request(method: str = "INVITE", *extra: str, body: bytes = b"", **fields: str) -> Request:
    """A parsed request; keyword arguments replace single values, `extra` are more header lines."""
    f = {
        "uri": "sip:rec@192.0.2.1",
        "via": "SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKfirst;rport",
        "from_": "<sip:src@192.0.2.9>;tag=peer",
        "to": "<sip:rec@192.0.2.1>",
        "call_id": "call-1",
        "cseq": f"1 {method}",
        "contact": "<sip:src@192.0.2.9:5062>;+sip.src",
        **fields,
    }
    lines = [
        f"{method} {f['uri']} SIP/2.0",
        f"Via: {f['via']}",
        f"From: {f['from_']}",
        f"To: {f['to']}",
        f"Call-ID: {f['call_id']}",
        f"CSeq: {f['cseq']}",
        f"Contact: {f['contact']}",
        *extra,
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    parsed = parse_datagram("\r\n".join(lines).encode("utf-8", "surrogateescape") + body)
    assert isinstance(parsed, Request)
    return parsed


def new_stack(seed: int = 1, **config: Any) -> SipStack:
    return SipStack(StackConfig(**config), rng=Random(seed))


def sent(stack: SipStack) -> list[Response | Request]:
    """What the stack sends now, parsed."""
    return [parse_datagram(wire) for _, wire in stack.to_send()]


def statuses(stack: SipStack) -> list[int]:
    return [message.status for message in sent(stack) if isinstance(message, Response)]


def only(stack: SipStack) -> Any:
    """The one event that has happened."""
    events = stack.events()
    assert len(events) == 1, events
    return events[0]


def advance(stack: SipStack, *, until: float) -> list[tuple[float, bytes]]:
    """Let every timer up to `until` fire at its time; (time, message) of what was sent."""
    out: list[tuple[float, bytes]] = []
    while (due := stack.next_timer()) is not None and due <= until:
        stack.handle_timer(now=due)
        out += [(due, wire) for _, wire in stack.to_send()]
    return out


class Path:
    """Two stacks and the datagrams between them; `fate(wire)` says at which delays a datagram arrives."""

    def __init__(
        self,
        client: SipStack,
        server: SipStack,
        *,
        handlers: tuple[Callable[[Event, float], None], Callable[[Event, float], None]],
        fate: Callable[[bytes], list[float]] = lambda wire: [0.01],
    ) -> None:
        self.ends = {PEER: (client, handlers[0]), US: (server, handlers[1])}
        self.fate = fate
        self.now = 0.0
        self._flying: list[tuple[float, int, tuple[str, int], tuple[str, int], bytes]] = []
        self._order = 0

    def pump(self) -> None:
        """Run events and put what the stacks send on the way."""
        for address, (stack, handler) in self.ends.items():
            while events := stack.events():
                for event in events:
                    handler(event, self.now)
            for flow, wire in stack.to_send():
                for delay in self.fate(wire):
                    self._order += 1
                    self._flying.append((self.now + delay, self._order, address, flow.remote, wire))

    def run(self, *, until: float) -> None:
        """Deliver and fire timers in the order of time."""
        self.pump()
        while (due := self._next()) <= until:
            self.now = due
            arrived = sorted(item for item in self._flying if item[0] <= due)
            self._flying = [item for item in self._flying if item[0] > due]
            for _, _, source, target, wire in arrived:
                flow = Flow(transport="udp", local=target, remote=source)
                self.ends[target][0].receive(parse_datagram(wire), flow, now=due)
            for stack, _ in self.ends.values():
                stack.handle_timer(now=due)
            self.pump()

    def _next(self) -> float:
        timers = [due for stack, _ in self.ends.values() if (due := stack.next_timer()) is not None]
        return min([*timers, *(item[0] for item in self._flying)], default=float("inf"))
