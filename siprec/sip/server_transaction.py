"""Server transactions (RFC 3261 17.2, RFC 6026 7.1)."""

from __future__ import annotations

from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.transaction import Outcome, State, TimerConfig, Transaction, TransactionKey


class ServerTransaction(Transaction):
    """A request of the peer and our answer to it."""

    def __init__(self, request: Request, flow: Flow, *, timers: TimerConfig, now: float) -> None:
        super().__init__(request, flow, timers=timers)
        self.status: int | None = None
        "Status of the last response."
        self.key: TransactionKey = ()
        self.local_tag = ""
        "To-tag of our responses, set by the stack."
        self._last: bytes | None = None
        self._alarms["answer"] = now + timers.answer

    @property
    def answered(self) -> bool:
        """A final response was given."""
        return self.status is not None and self.status >= 200

    def respond(self, response: Response, *, now: float) -> bool:
        """Send a response. False, and nothing happens, if a final one was already given."""
        if self.answered or self.terminated:
            return False
        self.status = response.status
        self._last = response.encode()
        self._out.append(self._last)
        if self.answered:
            self._complete(now)
        else:
            self._alarms.pop("100", None)
            self._state = State.PROCEEDING
        return True

    def receive_retransmission(self) -> None:
        """The same request again: the last response again, if there is one."""
        self._resend(self._last)

    def _complete(self, now: float) -> None:
        raise NotImplementedError

    def _fire(self, name: str, now: float) -> None:
        if name == "answer":
            self._outcomes.append(Outcome.UNANSWERED)


class NonInviteServerTransaction(ServerTransaction):
    """RFC 3261 17.2.2, figure 8: timer J."""

    def _complete(self, now: float) -> None:
        self._linger(State.COMPLETED, "J", 0 if self.flow.reliable else 64 * self.timers.t1, now)

    def _fire(self, name: str, now: float) -> None:
        if name == "J":
            self.terminate()
        else:
            super()._fire(name, now)


class InviteServerTransaction(ServerTransaction):
    """RFC 3261 17.2.1 with RFC 6026: timers G, H, I for a refusal, L for a 2xx.

    The 2xx is repeated here, at T1, 2*T1 ... T2 on every transport until its ACK (RFC 3261 13.3.1.4).
    """

    def __init__(
        self, request: Request, flow: Flow, *, timers: TimerConfig, now: float, trying: Response
    ) -> None:
        super().__init__(request, flow, timers=timers, now=now)
        self._state = State.PROCEEDING
        self._trying = trying
        self._alarms["100"] = now + timers.trying
        self._gap = timers.t1
        self.acknowledged = False
        "An ACK came."
        self.settled = False
        "The 2xx need not be repeated: an ACK, or another request in the dialog, shows that it arrived."

    def receive_ack(self, *, now: float) -> bool:
        """An ACK for the final response. True the first time."""
        if not self.answered or self.acknowledged:
            return False
        self.acknowledged = True
        self.settle()
        if self._state is State.COMPLETED:
            self._linger(State.CONFIRMED, "I", 0 if self.flow.reliable else self.timers.t4, now)
        return True

    def settle(self) -> None:
        """Stop repeating the 2xx."""
        self.settled = self.settled or self._state is State.ACCEPTED
        if self._state is State.ACCEPTED:
            self._alarms.pop("2xx", None)

    def receive_retransmission(self) -> None:
        """The INVITE again: the last response again, until the ACK has come."""
        if not self.settled and self._state is not State.CONFIRMED:
            self._resend(self._last)

    def _complete(self, now: float) -> None:
        give_up = now + 64 * self.timers.t1
        if self.status is not None and self.status < 300:
            self._enter(State.ACCEPTED, **{"2xx": now + self._gap, "L": give_up})
        else:
            self._enter(State.COMPLETED, H=give_up)
            if not self.flow.reliable:
                self._alarms["G"] = now + self._gap

    def _fire(self, name: str, now: float) -> None:
        match name:
            case "100":
                self.respond(self._trying, now=now)
            case "2xx" | "G":
                self._resend(self._last)
                self._gap = min(2 * self._gap, self.timers.t2)
                self._alarms[name] = now + self._gap
            case "L" | "H" | "I":
                if name == "L" and not self.settled:
                    self._outcomes.append(Outcome.ACK_TIMEOUT)
                self.terminate()
            case _:
                super()._fire(name, now)
