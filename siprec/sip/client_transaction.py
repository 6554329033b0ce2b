"""Client transactions (RFC 3261 17.1, RFC 6026 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.transaction import Outcome, State, TimerConfig, Transaction, build_ack

if TYPE_CHECKING:
    from siprec.sip.dialog import Dialog


class ClientTransaction(Transaction):
    """A request of ours. It is sent at once, and over UDP again until a response comes."""

    first_state = State.TRYING
    retry, give_up = "E", "F"

    def __init__(self, request: Request, flow: Flow, *, timers: TimerConfig, now: float) -> None:
        super().__init__(request, flow, timers=timers)
        self.dialogs: list[Dialog] = []
        "Dialogs that responses to this INVITE began."
        self.acks: dict[str, tuple[Flow, bytes] | None] = {}
        "By the peer's tag: our ACK for its 2xx; None: the 2xx came, the ACK is still to be sent."
        self.cancel_wanted = False
        self._wire = request.encode()
        self._out.append(self._wire)
        self._gap = timers.t1
        self._enter(self.first_state, **{self.give_up: now + 64 * timers.t1})
        if not flow.reliable:
            self._alarms[self.retry] = now + self._gap

    @property
    def pending(self) -> bool:
        """No final response yet."""
        return self._state in (State.CALLING, State.TRYING, State.PROCEEDING)

    def receive(self, response: Response, *, now: float) -> bool:
        """A response with our branch. True if the upper layer is to see it."""
        raise NotImplementedError

    def _next_gap(self) -> float:
        raise NotImplementedError

    def _fire(self, name: str, now: float) -> None:
        if name == self.retry:
            self._resend(self._wire)
            self._gap = self._next_gap()
            self._alarms[name] = now + self._gap
            return
        if self.pending:
            self._outcomes.append(Outcome.TIMEOUT)
        self.terminate()


class NonInviteClientTransaction(ClientTransaction):
    """RFC 3261 17.1.2, figure 6: timers E, F, K."""

    def receive(self, response: Response, *, now: float) -> bool:
        if not self.pending:
            return False
        if response.status < 200:
            self._state = State.PROCEEDING
            return True
        self._linger(State.COMPLETED, "K", 0 if self.flow.reliable else self.timers.t4, now)
        return True

    def _next_gap(self) -> float:
        proceeding = self._state is State.PROCEEDING
        return self.timers.t2 if proceeding else min(2 * self._gap, self.timers.t2)


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 17.1.1 with RFC 6026: timers A, B, D, M. It acknowledges a refusal itself; a 2xx is the dialog's."""

    first_state = State.CALLING
    retry, give_up = "A", "B"

    def __init__(self, request: Request, flow: Flow, *, timers: TimerConfig, now: float) -> None:
        super().__init__(request, flow, timers=timers, now=now)
        self._ack: bytes | None = None

    def receive(self, response: Response, *, now: float) -> bool:
        if not self.pending:
            return self._receive_late(response)
        if response.status < 200:
            if self._state is State.CALLING:
                self._enter(State.PROCEEDING)
        elif response.status < 300:
            self._enter(State.ACCEPTED, M=now + 64 * self.timers.t1)
        else:
            self._ack = build_ack(self.request, response).encode()
            self._out.append(self._ack)
            self._linger(State.COMPLETED, "D", 0 if self.flow.reliable else 64 * self.timers.t1, now)
        return True

    def _receive_late(self, response: Response) -> bool:
        if self._state is State.COMPLETED and response.status >= 300:
            self._resend(self._ack)
        return self._state is State.ACCEPTED and 200 <= response.status < 300

    def cancelled(self, *, now: float) -> None:
        """A CANCEL was sent: without a final response in 64*T1 it is over (RFC 3261 9.1)."""
        if self.pending:
            self._alarms[self.give_up] = now + 64 * self.timers.t1

    def _next_gap(self) -> float:
        return 2 * self._gap
