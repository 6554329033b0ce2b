"""The server side of a stack: requests in, responses out (RFC 3261 8.2, 9.2, 12, 13.3, 15.1.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from siprec.sip.core import StackCore
from siprec.sip.dialog import Dialog, DialogState, dialog_from_invite
from siprec.sip.errors import SipParseError
from siprec.sip.events import (
    AckReceived,
    AckTimeout,
    CancelReceived,
    InviteReceived,
    InviteRefused,
    RequestReceived,
)
from siprec.sip.flow import Flow
from siprec.sip.inspection import Refusal, inspect, inspect_in_dialog
from siprec.sip.message import Request
from siprec.sip.responses import add_abilities, build_response, reason_phrase, response_flow
from siprec.sip.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from siprec.sip.transaction import Outcome, State, TransactionKey, server_key

_REFUSED_LATELY = 1000
"INVITEs refused without state of which a retransmission is known for one."
_TOLD_CHARS = 200


class UserAgentServer:
    """Works on the core of its stack."""

    def __init__(self, core: StackCore) -> None:
        self._core = core
        self._refused_lately: deque[int] = deque(maxlen=_REFUSED_LATELY)

    def receive(self, request: Request, flow: Flow, *, now: float) -> None:
        """Handle one request."""
        _note_source(request, flow)
        key = server_key(request)
        known = self._core.server.get(key)
        if request.method == "ACK":
            self._receive_ack(request, flow, known, now)
        elif known is not None:
            self._core.count_method("retransmissions_received", request.method)
            known.flow = flow
            known.receive_retransmission()
            self.flush(known)
        elif request.method == "CANCEL":
            self._receive_cancel(request, flow, key, now)
        else:
            self._receive_new(request, flow, key, now)

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
        """Answer a request; see SipStack.respond."""
        request, core = transaction.request, self._core
        to_tag = None if status == 100 else transaction.local_tag
        response = build_response(request, status, to_tag=to_tag, reason=reason, headers=headers, body=body)
        add_abilities(response, request, transaction.flow, core.config)
        if not transaction.respond(response, now=now):
            return False
        core.count_response("responses_sent", response)
        self._apply_answer(transaction, status)
        self.flush(transaction)
        return True

    def refuse_statelessly(
        self,
        request: Request,
        status: int,
        flow: Flow,
        *,
        headers: Iterable[tuple[str, str]] = (),
        why: str,
    ) -> None:
        """A response without a transaction: to what is malformed, or more than we can carry."""
        if request.method == "INVITE" and not self._was_refused(request, flow):
            self._tell_refusal(request, flow, status, why)
        response = build_response(request, status, to_tag=self._core.token(), headers=headers)
        response.headers.add("Server", self._core.config.user_agent)
        self._core.count_response("responses_sent", response)
        to = response_flow(request, flow, connected=self._core.is_connected(flow))
        self._core.outbox.append((to, response.encode()))

    def flush(self, transaction: ServerTransaction) -> None:
        """Carry out what the transaction collected; drop it if it is over."""
        core, flow = self._core, transaction.flow
        to = response_flow(transaction.request, flow, connected=core.is_connected(flow))
        core.flush(transaction, to)
        if transaction.terminated:
            core.server.pop(transaction.key, None)
            if isinstance(transaction, InviteServerTransaction) and transaction.dialog is not None:
                transaction.dialog.invites_in = [
                    invite for invite in transaction.dialog.invites_in if invite is not transaction
                ]

    def handle_timer(self, transaction: ServerTransaction, *, now: float) -> None:
        """A timer of this transaction is due."""
        transaction.handle_timer(now=now)
        for outcome in transaction.outcomes():
            if outcome is Outcome.UNANSWERED:
                self._core.count("unanswered", transaction.request.method)
                self.respond(transaction, 500, now=now)
            elif isinstance(transaction, InviteServerTransaction):
                self._report_missing_ack(transaction)
        self.flush(transaction)

    def _report_missing_ack(self, transaction: InviteServerTransaction) -> None:
        self._core.count("ack_timeouts", "INVITE")
        dialog = transaction.dialog
        if dialog is not None and dialog.state is DialogState.CONFIRMED:
            self._core.events.append(AckTimeout(transaction=transaction, dialog=dialog))

    def _receive_new(self, request: Request, flow: Flow, key: TransactionKey, now: float) -> None:
        core = self._core
        core.count_method("requests_received", request.method)
        dialog = core.dialogs.find(request)
        if self._overloaded(request, dialog):
            core.count("refused", "overload")
            retry = ("Retry-After", str(core.config.retry_after))
            self.refuse_statelessly(
                request, 503, flow, headers=(retry,), why="too many transactions or dialogs"
            )
            return
        merged = request.method == "INVITE" and dialog is None and self._is_merged(request)
        transaction = self._open(request, flow, key, now)
        transaction.dialog = dialog
        if dialog is not None:
            transaction.local_tag = dialog.local_tag
        refusal = inspect(request, dialog, core.config)
        if refusal is None and merged:
            refusal = Refusal(482)
        if refusal is None and dialog is not None:
            self._heard(dialog, flow)
            refusal = inspect_in_dialog(request, dialog, core.rng)
        if refusal is not None:
            self._refuse(transaction, refusal, now)
        elif isinstance(transaction, InviteServerTransaction):
            self._receive_invite(transaction)
        else:
            self._receive_other(transaction, now)

    def _overloaded(self, request: Request, dialog: Dialog | None) -> bool:
        config, core = self._core.config, self._core
        if dialog is not None:
            return core.transaction_count() >= config.max_transactions * 5 // 4
        if request.method == "INVITE" and request.to.tag is None and len(core.dialogs) >= config.max_dialogs:
            return True
        return core.transaction_count() >= config.max_transactions

    def _is_merged(self, request: Request) -> bool:
        """The same INVITE came on another way before (RFC 3261 8.2.2.2)."""
        if request.to.tag is not None:
            return False
        number = request.cseq.number
        return any(
            invite.request.cseq.number == number
            for dialog in self._core.dialogs.with_peer(request.call_id, request.from_.tag or "")
            for invite in dialog.invites_in
        )

    def _open(self, request: Request, flow: Flow, key: TransactionKey, now: float) -> ServerTransaction:
        timers = self._core.config.timers
        transaction: ServerTransaction
        if request.method == "INVITE":
            trying = build_response(request, 100)
            transaction = InviteServerTransaction(request, flow, timers=timers, now=now, trying=trying)
        else:
            transaction = NonInviteServerTransaction(request, flow, timers=timers, now=now)
        transaction.key, transaction.local_tag = key, self._core.token()
        self._core.server[key] = transaction
        self._core.timers.schedule(transaction, transaction.next_timer())
        return transaction

    def _refuse(self, transaction: ServerTransaction, refusal: Refusal, now: float) -> None:
        """Refuse without touching the dialog: a refused request leaves its session as it was."""
        self._core.count("refused", str(refusal.status))
        transaction.dialog = None
        told = refusal.reason or reason_phrase(refusal.status)
        details = "".join(f", {name}: {value}" for name, value in refusal.headers)
        self._tell_refusal(transaction.request, transaction.flow, refusal.status, told + details)
        self.respond(transaction, refusal.status, reason=refusal.reason, headers=refusal.headers, now=now)

    def _was_refused(self, request: Request, flow: Flow) -> bool:
        """It is a retransmission of what was refused without state."""
        same = hash((flow.remote, *request.headers.lines("Via"), *request.headers.lines("CSeq")))
        if same in self._refused_lately:
            return True
        self._refused_lately.append(same)
        return False

    def _tell_refusal(self, request: Request, flow: Flow, status: int, why: str) -> None:
        """An INVITE that would have begun a dialog is over."""
        if request.method == "INVITE" and not _is_in_dialog(request):
            event = InviteRefused(request=request, flow=flow, status=status, reason=why[:_TOLD_CHARS])
            self._core.events.append(event)

    def _heard(self, dialog: Dialog, flow: Flow) -> None:
        """The peer speaks in the dialog: it got our 2xx, and it is reached here."""
        dialog.flow = flow
        for invite in dialog.invites_in:
            invite.settle()
            self.flush(invite)

    def _receive_invite(self, transaction: InviteServerTransaction) -> None:
        request, flow, dialog = transaction.request, transaction.flow, transaction.dialog
        reinvite = dialog is not None
        if dialog is None:
            dialog = dialog_from_invite(request, local_tag=transaction.local_tag, flow=flow)
            self._core.dialogs.add(dialog)
            transaction.dialog = dialog
        else:
            dialog.refresh_target(request)
        dialog.invites_in.append(transaction)
        event = InviteReceived(
            request=request, flow=flow, transaction=transaction, dialog=dialog, reinvite=reinvite
        )
        self._core.events.append(event)

    def _receive_other(self, transaction: ServerTransaction, now: float) -> None:
        request, dialog = transaction.request, transaction.dialog
        if dialog is not None and request.method == "UPDATE":
            dialog.refresh_target(request)
            dialog.update_in = transaction
        if dialog is not None and request.method == "BYE":
            for invite in [invite for invite in dialog.invites_in if not invite.answered]:
                self._terminate(invite, request, transaction.flow, now)
        event = RequestReceived(
            request=request, flow=transaction.flow, transaction=transaction, dialog=dialog
        )
        self._core.events.append(event)

    def _receive_cancel(self, request: Request, flow: Flow, key: TransactionKey, now: float) -> None:
        core = self._core
        core.count_method("requests_received", "CANCEL")
        invite = core.server.get((*key[:2], "INVITE", *key[3:]))
        if invite is None and core.transaction_count() >= core.config.max_transactions:
            self.refuse_statelessly(request, 481, flow, why="no such INVITE")
            return
        cancel = self._open(request, flow, key, now)
        if not isinstance(invite, InviteServerTransaction):
            self.respond(cancel, 481, now=now)
            return
        cancel.local_tag = invite.local_tag
        self.respond(cancel, 200, now=now)
        self._terminate(invite, request, flow, now)

    def _terminate(self, invite: InviteServerTransaction, request: Request, flow: Flow, now: float) -> None:
        """487 to an INVITE whose caller has given up, by CANCEL (RFC 3261 9.2) or BYE (15.1.2)."""
        if self.respond(invite, 487, now=now) and invite.dialog is not None:
            event = CancelReceived(request=request, flow=flow, transaction=invite, dialog=invite.dialog)
            self._core.events.append(event)

    def _receive_ack(self, request: Request, flow: Flow, known: ServerTransaction | None, now: float) -> None:
        core = self._core
        core.count_method("requests_received", "ACK")
        invite = known if isinstance(known, InviteServerTransaction) else self._invite_of_ack(request)
        if invite is None or not invite.receive_ack(now=now):
            core.count("dropped", "stray ack")
            return
        if invite.state is State.ACCEPTED and invite.dialog is not None:
            self._heard(invite.dialog, flow)
            event = AckReceived(request=request, flow=flow, transaction=invite, dialog=invite.dialog)
            core.events.append(event)
        self.flush(invite)

    def _invite_of_ack(self, request: Request) -> InviteServerTransaction | None:
        """The INVITE whose 2xx an ACK is for: by number, else (BroadWorks sends another) the oldest that waits."""
        dialog = self._core.dialogs.find(request)
        waiting = [
            invite
            for invite in (dialog.invites_in if dialog else [])
            if invite.state is State.ACCEPTED and not invite.acknowledged
        ]
        number = request.cseq.number
        same = [invite for invite in waiting if invite.request.cseq.number == number]
        return next(iter(same or waiting), None)

    def _apply_answer(self, transaction: ServerTransaction, status: int) -> None:
        """What a response does to the dialog."""
        dialog = transaction.dialog
        if dialog is None or status < 200:
            return
        if transaction.request.method == "BYE":
            self._core.end_dialog(dialog, "bye_received")
        elif transaction.request.method == "INVITE" and dialog.state is DialogState.EARLY:
            if status < 300:
                dialog.state = DialogState.CONFIRMED
            else:
                self._core.end_dialog(dialog, "refused")


def _is_in_dialog(request: Request) -> bool:
    """It says that it is; a malformed one may not be able to."""
    try:
        return request.to.tag is not None
    except SipParseError:
        return False


def _note_source(request: Request, flow: Flow) -> None:
    """Put `received` and `rport` into the top Via (RFC 3261 18.2.1, RFC 3581 4)."""
    via = request.via
    noted = via.with_source(*flow.remote)
    if noted is not via and noted != via:
        request.headers.set("Via", str(noted), *request.headers.get_all("Via")[1:])
