"""The user agent core without IO: messages and time in; messages, timers and events out (RFC 3261)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from siprec.sip.client_transaction import ClientTransaction
from siprec.sip.config import StackConfig
from siprec.sip.core import StackCore
from siprec.sip.dialog import Dialog
from siprec.sip.errors import SipParseError
from siprec.sip.events import Event
from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.server_transaction import ServerTransaction
from siprec.sip.uac import Destination, UserAgentClient
from siprec.sip.uas import UserAgentServer


class SipStack:
    """One user agent, server and client.

    Feed it with `receive`, `receive_error`, `connection_closed` and, when `next_timer` says so, `handle_timer`;
    after each of these and each call of `respond`, `request`, `acknowledge`, `cancel` take `events` and `to_send`.
    Times are seconds of any one monotonic clock. `rng` makes tags, branches and Call-IDs: a SystemRandom in earnest.
    """

    def __init__(self, config: StackConfig, *, rng: Random) -> None:
        self.config = config
        self._core = StackCore(config, rng)
        self._server = UserAgentServer(self._core)
        self._client = UserAgentClient(self._core)

    def receive(self, message: Request | Response, flow: Flow, *, now: float) -> None:
        """A message came on this flow."""
        if flow.connection is not None:
            self._core.connections.add(flow.connection)
        if isinstance(message, Request):
            self._server.receive(message, flow, now=now)
        else:
            self._client.receive(message, flow, now=now)

    def receive_error(self, error: SipParseError, flow: Flow, *, now: float) -> None:
        """Something that the parser refused came on this flow: answer it if it can be answered."""
        if flow.connection is not None:
            self._core.connections.add(flow.connection)
        self._core.count("parse_errors", error.where)
        if error.status is None or error.partial is None:
            self._core.count("dropped", "unparsable")
            return
        note = ("Warning", f'399 siprec "{_printable(error.reason)}"')
        self._server.refuse_statelessly(error.partial, error.status, flow, headers=(note,), why=str(error))

    def connection_closed(self, flow: Flow, *, now: float) -> None:
        """A stream closed or could not be opened (then `flow.connection` is None).

        Requests of ours that wait on it have failed. Dialogs go on: the peer may come back on another stream.
        """
        if flow.connection is not None:
            self._core.connections.discard(flow.connection)
        self._client.transport_failed(flow)

    def next_timer(self) -> float | None:
        """When `handle_timer` is to be called; None if nothing waits."""
        return self._core.timers.next_timer()

    def handle_timer(self, *, now: float) -> None:
        """Let all timers fire that are due."""
        for transaction in self._core.timers.pop_due(now):
            if isinstance(transaction, ServerTransaction):
                self._server.handle_timer(transaction, now=now)
            elif isinstance(transaction, ClientTransaction):
                self._client.handle_timer(transaction, now=now)

    def to_send(self) -> list[tuple[Flow, bytes]]:
        """Messages to send, in order; each is given once."""
        out, self._core.outbox = self._core.outbox, []
        return out

    def events(self) -> list[Event]:
        """What happened, in order; each is given once."""
        events, self._core.events = self._core.events, []
        return events

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        *,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        now: float,
    ) -> bool:
        """Answer a request. False, and nothing happens, if it already has its final response (CANCEL, BYE).

        Via, From, To with tag, Call-ID, CSeq and Record-Route are copied; Contact, Allow, Supported, Accept and
        Server are added where RFC 3261 and 7866 want them unless `headers` has them. A header value with a line
        break raises ValueError.
        """
        return self._server.respond(transaction, status, reason=reason, headers=headers, body=body, now=now)

    def request(
        self,
        target: Dialog | Destination,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        now: float,
    ) -> ClientTransaction:
        """Send a request in a dialog or to a destination. Not for ACK and CANCEL.

        `headers` replace the stack's own of the same name. The transaction comes back in the events about it.
        """
        return self._client.request(target, method, headers=headers, body=body, now=now)

    def acknowledge(
        self,
        transaction: ClientTransaction,
        dialog: Dialog,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """ACK the 2xx that `ResponseReceived` brought for our INVITE; it is sent again whenever the 2xx is."""
        self._client.acknowledge(transaction, dialog, headers=headers, body=body)

    def cancel(self, transaction: ClientTransaction, *, now: float) -> None:
        """CANCEL our INVITE, as soon as a provisional response allows it; without effect on an answered one."""
        self._client.cancel(transaction, now=now)

    def forget(self, dialog: Dialog) -> None:
        """End a dialog without a message, because the peer is gone."""
        self._core.end_dialog(dialog, "forgotten")

    @property
    def dialogs(self) -> list[Dialog]:
        """All dialogs, early ones too."""
        return list(self._core.dialogs)

    @property
    def transaction_count(self) -> int:
        return self._core.transaction_count()

    @property
    def counters(self) -> Counter[tuple[str, str]]:
        """(name, label) to count: requests_received, responses_sent, parse_errors, dropped, ..."""
        return self._core.counters


def _printable(text: str) -> str:
    """Fit for a quoted string: what a peer wrote must not shape our header."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "." for char in text[:80])
