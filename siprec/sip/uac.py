"""The client side of a stack: our requests and the responses to them (RFC 3261 8.1, 9.1, 12.2.1, 13.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from siprec.sip.client_transaction import (
    ClientTransaction,
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from siprec.sip.core import StackCore
from siprec.sip.dialog import Dialog, DialogState, confirm, dialog_from_response
from siprec.sip.errors import SipParseError
from siprec.sip.events import RequestTimeout, ResponseReceived, TransportFailed
from siprec.sip.flow import Flow, default_port, is_ip_address
from siprec.sip.grammar import Params
from siprec.sip.header_values import NameAddr
from siprec.sip.headers import Headers
from siprec.sip.message import Request, Response
from siprec.sip.responses import add_capabilities
from siprec.sip.transaction import State
from siprec.sip.uri import parse_uri

_WITH_CONTACT = ("INVITE", "UPDATE", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a request outside any dialog goes."""

    uri: str
    "Request-URI."
    flow: Flow
    from_uri: str
    to_uri: str | None = None
    "None: the same as `uri`."


class UserAgentClient:
    """Works on the core of its stack."""

    def __init__(self, core: StackCore) -> None:
        self._core = core

    def request(
        self,
        target: Dialog | Destination,
        method: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        now: float,
    ) -> ClientTransaction:
        """Send a request; see SipStack.request."""
        core = self._core
        flow = self._flow_of(target) if isinstance(target, Dialog) else target.flow
        request = (
            target.next_request(method) if isinstance(target, Dialog) else self._new_request(target, method)
        )
        branch = core.branch()
        self._complete(request, flow, branch, headers, body)
        kind = InviteClientTransaction if method == "INVITE" else NonInviteClientTransaction
        transaction: ClientTransaction = kind(request, flow, timers=core.config.timers, now=now)
        core.client[branch, method] = transaction
        if isinstance(target, Dialog):
            transaction.dialog = target
            if method == "INVITE":
                target.invite_out = transaction
        core.count_method("requests_sent", method)
        self.flush(transaction)
        return transaction

    def acknowledge(
        self,
        transaction: ClientTransaction,
        dialog: Dialog,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        """Send the ACK for a 2xx to our INVITE; see SipStack.acknowledge."""
        flow = self._flow_of(dialog)
        ack = dialog.request("ACK", transaction.request.cseq.number)
        self._complete(ack, flow, self._core.branch(), headers, body)
        wire = ack.encode()
        transaction.acks[dialog.remote_tag] = (flow, wire)
        self._core.count_method("requests_sent", "ACK")
        self._core.outbox.append((flow, wire))

    def cancel(self, transaction: ClientTransaction, *, now: float) -> None:
        """Cancel an INVITE of ours; see SipStack.cancel."""
        if not isinstance(transaction, InviteClientTransaction) or not transaction.pending:
            return
        transaction.cancel_wanted = True
        if transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now)

    def receive(self, response: Response, flow: Flow, *, now: float) -> None:
        """Handle one response."""
        core = self._core
        core.count_response("responses_received", response)
        transaction = core.client.get((response.via.branch, response.cseq.method))
        if transaction is None:
            core.count("dropped", "stray response")
            return
        up = transaction.receive(response, now=now)
        self.flush(transaction)
        if not up:
            return
        if isinstance(transaction, InviteClientTransaction):
            self._receive_for_invite(transaction, response, flow, now)
        else:
            self._receive_for_other(transaction, response, flow)

    def flush(self, transaction: ClientTransaction) -> None:
        """Carry out what the transaction collected; drop it if it is over."""
        self._core.flush(transaction, transaction.flow)
        if transaction.terminated:
            self._core.client.pop((transaction.request.via.branch, transaction.request.method), None)

    def handle_timer(self, transaction: ClientTransaction, *, now: float) -> None:
        """A timer of this transaction is due."""
        transaction.handle_timer(now=now)
        self.flush(transaction)
        if transaction.outcomes():
            self._core.count_method("request_timeouts", transaction.request.method)
            self._fail(transaction, RequestTimeout(transaction=transaction, dialog=transaction.dialog))

    def transport_failed(self, flow: Flow) -> None:
        """Nothing more goes or comes on that flow: requests on it that wait for an answer have failed."""
        for transaction in list(self._core.client.values()):
            if transaction.pending and _same_path(transaction.flow, flow):
                transaction.terminate()
                self.flush(transaction)
                self._core.count_method("transport_failures", transaction.request.method)
                self._fail(transaction, TransportFailed(transaction=transaction, dialog=transaction.dialog))

    def _fail(self, transaction: ClientTransaction, event: RequestTimeout | TransportFailed) -> None:
        self._core.events.append(event)
        self._drop_early_dialogs(transaction)
        self._end_after_bye(transaction)

    def _new_request(self, target: Destination, method: str) -> Request:
        from_ = NameAddr(uri=target.from_uri, params=Params((("tag", self._core.token()),)))
        request = Request(method=method, uri=target.uri)
        request.headers.add("Max-Forwards", "70")
        request.headers.add("From", str(from_))
        request.headers.add("To", f"<{target.to_uri or target.uri}>")
        request.headers.add("Call-ID", self._core.token())
        request.headers.add("CSeq", f"1 {method}")
        return request

    def _complete(
        self,
        request: Request,
        flow: Flow,
        branch: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
    ) -> None:
        """Via in front; the caller's headers, which replace ours of the same name; then what is still missing."""
        config = self._core.config
        via = f"SIP/2.0/{flow.transport.upper()} {config.host_of(flow)};branch={branch};rport"
        request.headers = Headers([("Via", via), *request.headers.items()])
        extra = list(headers)
        for name in {name for name, _ in extra}:
            request.headers.remove(name)
        for name, value in extra:
            request.headers.add(name, value)
        if request.method in _WITH_CONTACT:
            if "Contact" not in request.headers:
                request.headers.add("Contact", config.contact(flow))
            add_capabilities(request.headers, config)
        if "User-Agent" not in request.headers:
            request.headers.add("User-Agent", config.user_agent)
        request.body = body

    def _flow_of(self, dialog: Dialog) -> Flow:
        """Where a request in a dialog goes: its open stream, else the next hop's address (RFC 3261 12.2.1.1, 8.1.2).

        A host name is resolved only for a stream (the shell does it); over UDP the place where the peer was last
        heard stands for it.
        """
        flow = dialog.flow
        if flow.connection is not None and self._core.is_connected(flow):
            return flow
        try:
            hop = parse_uri(dialog.next_hop())
        except SipParseError:
            return flow
        transport = (hop.params.get("transport") or flow.transport).lower()
        if transport not in ("udp", "tcp", "tls") or not hop.host:
            return flow
        if transport == "udp" and not is_ip_address(hop.host):
            return flow
        remote = (hop.host, hop.port or default_port(transport))
        return replace(flow, transport=transport, remote=remote, connection=None)

    def _send_cancel(self, invite: InviteClientTransaction, now: float) -> None:
        """CANCEL copies its INVITE's identity and top Via (RFC 3261 9.1)."""
        invite.cancel_wanted = False
        request = Request(method="CANCEL", uri=invite.request.uri)
        request.headers.add("Via", invite.request.headers.get_all("Via")[0])
        for name in ("Route", "Max-Forwards", "From", "To", "Call-ID"):
            for value in invite.request.headers.lines(name):
                request.headers.add(name, value)
        request.headers.add("CSeq", f"{invite.request.cseq.number} CANCEL")
        timers = self._core.config.timers
        transaction = NonInviteClientTransaction(request, invite.flow, timers=timers, now=now)
        transaction.dialog = invite.dialog
        self._core.client[request.via.branch, "CANCEL"] = transaction
        self._core.count_method("requests_sent", "CANCEL")
        self.flush(transaction)
        invite.cancelled(now=now)
        self.flush(invite)

    def _receive_for_invite(
        self, transaction: InviteClientTransaction, response: Response, flow: Flow, now: float
    ) -> None:
        success = 200 <= response.status < 300
        if success and (response.to.tag or "") in transaction.acks:
            self._acknowledge_again(transaction, response.to.tag or "")
            return
        if transaction.cancel_wanted and response.status < 200:
            self._send_cancel(transaction, now)
        dialog = self._dialog_of_response(transaction, response, flow)
        if success and dialog is not None:
            transaction.acks[dialog.remote_tag] = None
            confirm(dialog, response)
        elif response.status >= 300:
            self._drop_early_dialogs(transaction)
        self._report(transaction, response, flow, dialog)

    def _acknowledge_again(self, transaction: InviteClientTransaction, tag: str) -> None:
        """The 2xx came again, so the ACK was lost (RFC 3261 13.2.2.4)."""
        self._core.count_method("retransmissions_received", "2xx")
        if (sent := transaction.acks[tag]) is not None:
            self._core.outbox.append(sent)

    def _dialog_of_response(
        self, transaction: InviteClientTransaction, response: Response, flow: Flow
    ) -> Dialog | None:
        """The dialog of the re-INVITE, or the one that this response begins or goes on with."""
        if transaction.dialog is not None:
            return transaction.dialog
        tag = response.to.tag or ""
        if not 100 < response.status < 300 or (not tag and response.status < 200):
            return None
        request = transaction.request
        known = self._core.dialogs.get(request.call_id, tag, request.from_.tag or "")
        if known is not None:
            return known
        dialog = dialog_from_response(request, response, flow=flow)
        self._core.dialogs.add(dialog)
        transaction.dialogs.append(dialog)
        return dialog

    def _drop_early_dialogs(self, transaction: ClientTransaction) -> None:
        for dialog in transaction.dialogs:
            if dialog.state is DialogState.EARLY:
                self._core.end_dialog(dialog, "refused")

    def _receive_for_other(self, transaction: ClientTransaction, response: Response, flow: Flow) -> None:
        dialog = transaction.dialog
        if dialog is not None and transaction.request.method == "UPDATE" and 200 <= response.status < 300:
            dialog.refresh_target(response)
        self._report(transaction, response, flow, dialog)
        if response.status >= 200:
            self._end_after_bye(transaction)

    def _report(
        self, transaction: ClientTransaction, response: Response, flow: Flow, dialog: Dialog | None
    ) -> None:
        if dialog is not None:
            dialog.flow = flow
        event = ResponseReceived(response=response, flow=flow, transaction=transaction, dialog=dialog)
        self._core.events.append(event)

    def _end_after_bye(self, transaction: ClientTransaction) -> None:
        """Our BYE is over, whatever became of it (RFC 3261 15.1.1)."""
        if transaction.request.method == "BYE" and transaction.dialog is not None:
            self._core.end_dialog(transaction.dialog, "bye_sent")


def _same_path(ours: Flow, broken: Flow) -> bool:
    """`ours` runs over the stream that broke, or was waiting for it to open."""
    if ours.transport != broken.transport:
        return False
    if ours.connection is not None or not ours.reliable:
        return ours.connection == broken.connection and ours.remote == broken.remote
    return ours.remote == broken.remote
