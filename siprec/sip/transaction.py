"""What the four transaction machines share (RFC 3261 17, RFC 6026): states, timers, outputs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from siprec.sip.flow import Flow
from siprec.sip.header_values import MAGIC_COOKIE
from siprec.sip.message import Request, Response

if TYPE_CHECKING:
    from siprec.sip.dialog import Dialog


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerConfig:
    """Timer values in seconds (RFC 3261 17.1.1.1)."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    trying: float = 0.2
    "Without an answer by then an INVITE gets 100 (RFC 3261 17.2.1)."
    answer: float = 32.0
    "A request that the upper layer has not answered finally by then gets 500."


class State(StrEnum):
    """States of RFC 3261 figures 5 to 8, and RFC 6026's accepted."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


class Outcome(Enum):
    """What a transaction tells its owner."""

    TIMEOUT = "no final response in 64*T1 (timers B, F)"
    ACK_TIMEOUT = "no ACK for our 2xx in 64*T1 (RFC 3261 13.3.1.4)"
    UNANSWERED = "the upper layer gave no final response in time"


TransactionKey = tuple[str, ...]


def server_key(request: Request) -> TransactionKey:
    """What a retransmission has in common with its first copy (RFC 3261 17.2.3).

    With the magic cookie: branch, sent-by, method (ACK counts as INVITE). Without: the fields of RFC 2543.
    """
    via, method = request.via, "INVITE" if request.method == "ACK" else request.method
    if via.branch.lower().startswith(MAGIC_COOKIE.lower()):
        return (via.branch, via.sent_by, method)
    return (
        via.branch,
        via.sent_by,
        method,
        request.call_id,
        request.from_.tag or "",
        str(request.cseq.number),
        request.uri,
    )


class Transaction:
    """Base of the machines. Outputs are collected: `to_send()`, `outcomes()`; time comes in as `now`."""

    def __init__(self, request: Request, flow: Flow, *, timers: TimerConfig) -> None:
        self.request = request
        self.flow = flow
        self.timers = timers
        self.dialog: Dialog | None = None
        "Set by the stack; None for a request that belongs to none."
        self._resent = 0
        self._alarms: dict[str, float] = {}
        self._out: list[bytes] = []
        self._outcomes: list[Outcome] = []
        self._state = State.TRYING

    @property
    def state(self) -> State:
        return self._state

    @property
    def terminated(self) -> bool:
        return self._state is State.TERMINATED

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do; None if never."""
        return min(self._alarms.values(), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Fire every timer that is due, the earliest first."""
        while self._alarms:
            name = min(self._alarms, key=self._alarms.__getitem__)
            if self._alarms[name] > now:
                return
            del self._alarms[name]
            self._fire(name, now)

    def to_send(self) -> list[bytes]:
        """Messages to put on the wire, in order; each is given once."""
        out, self._out = self._out, []
        return out

    def outcomes(self) -> list[Outcome]:
        """What happened, in order; each is given once."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def take_retransmissions(self) -> int:
        """How often something was sent again since the last call."""
        resent, self._resent = self._resent, 0
        return resent

    def terminate(self) -> None:
        """End at once, without a word."""
        self._enter(State.TERMINATED)

    def _fire(self, name: str, now: float) -> None:
        raise NotImplementedError

    def _enter(self, state: State, **alarms: float) -> None:
        """Change the state; the timers of the old state are forgotten."""
        self._state = state
        self._alarms = alarms

    def _linger(self, state: State, name: str, seconds: float, now: float) -> None:
        """Enter a state that only absorbs what is late; over a reliable transport (0 seconds) skip it."""
        if seconds > 0:
            self._enter(state, **{name: now + seconds})
        else:
            self.terminate()

    def _resend(self, wire: bytes | None) -> None:
        if wire is not None:
            self._resent += 1
            self._out.append(wire)


def build_ack(request: Request, response: Response) -> Request:
    """The ACK for a final response other than 2xx: same branch, Request-URI and Route (RFC 3261 17.1.1.3)."""
    ack = Request(method="ACK", uri=request.uri)
    ack.headers.add("Via", request.headers.get_all("Via")[0])
    for name in ("Max-Forwards", "Route", "From"):
        for value in request.headers.lines(name):
            ack.headers.add(name, value)
    ack.headers.add("To", response.headers.get("To") or "")
    ack.headers.add("Call-ID", request.call_id)
    ack.headers.add("CSeq", f"{request.cseq.number} ACK")
    return ack
