"""Dialogs (RFC 3261 12): identity, route set, remote target, sequence numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from siprec.sip.errors import SipParseError
from siprec.sip.flow import Flow
from siprec.sip.header_values import NameAddr, contacts, parse_name_addr
from siprec.sip.message import Message, Request, Response
from siprec.sip.uri import parse_uri

if TYPE_CHECKING:
    from siprec.sip.client_transaction import ClientTransaction
    from siprec.sip.server_transaction import InviteServerTransaction, ServerTransaction

_MAX_CSEQ = 2**31 - 1


class DialogState(StrEnum):
    """RFC 3261 12. An incoming INVITE has an early dialog from the start."""

    EARLY = "early"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


@dataclass(slots=True, kw_only=True, eq=False)
class Dialog:
    """One dialog, seen from our side. Plain data but for the transactions under way."""

    call_id: str
    local: NameAddr
    "We, with our tag: From of our requests."
    remote: NameAddr
    "The peer, with its tag (a peer of RFC 2543 has none)."
    remote_target: str
    "URI of the peer's Contact, as written."
    route_set: tuple[str, ...] = ()
    "Route values in the order of our requests."
    local_cseq: int = 0
    remote_cseq: int | None = None
    initiator: bool = False
    "We sent the INVITE."
    flow: Flow
    "Where the peer was last heard."
    state: DialogState = DialogState.EARLY
    invites_in: list[InviteServerTransaction] = field(default_factory=list, repr=False)
    "INVITEs of the peer that are not yet over, the oldest first."
    invite_out: ClientTransaction | None = field(default=None, repr=False)
    update_in: ServerTransaction | None = field(default=None, repr=False)

    @property
    def local_tag(self) -> str:
        return self.local.tag or ""

    @property
    def remote_tag(self) -> str:
        return self.remote.tag or ""

    def accept_cseq(self, request: Request) -> bool:
        """Judge the sequence number of a request (RFC 3261 12.2.2). False: lower than the last one, answer 500.

        Equal is not lower. BYE and ACK are taken with any number: Webex and Metaswitch count backwards there.
        """
        number = request.cseq.number
        if self.remote_cseq is None or number >= self.remote_cseq:
            self.remote_cseq = number
            return True
        return request.method in ("BYE", "ACK")

    def refresh_target(self, message: Message) -> None:
        """Take the peer's new Contact from a target refresh (RFC 3261 12.2.2, 12.2.1.2); a bad one changes nothing."""
        if found := contacts(message.headers):
            self.remote_target = found[0].address.uri

    def next_request(self, method: str) -> Request:
        """A request in this dialog without Via (RFC 3261 12.2.1.1). Uses up one sequence number."""
        self.local_cseq = min(self.local_cseq + 1, _MAX_CSEQ)
        return self.request(method, self.local_cseq)

    def request(self, method: str, cseq: int) -> Request:
        """The same with a given number: ACK carries the one of its INVITE."""
        uri, routes = self._route()
        request = Request(method=method, uri=uri)
        request.headers.add("Max-Forwards", "70")
        request.headers.add("From", str(self.local))
        request.headers.add("To", str(self.remote))
        request.headers.add("Call-ID", self.call_id)
        request.headers.add("CSeq", f"{cseq} {method}")
        for route in routes:
            request.headers.add("Route", route)
        return request

    def next_hop(self) -> str:
        """URI that decides where our request goes: the first route, else the remote target."""
        return parse_name_addr(self.route_set[0]).uri if self.route_set else self.remote_target

    def _route(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values; a first route without `lr` is a strict router (RFC 3261 12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, ()
        first = parse_name_addr(self.route_set[0]).uri
        try:
            loose = "lr" in parse_uri(first).params
        except SipParseError:
            loose = True
        if loose:
            return self.remote_target, self.route_set
        return first, (*self.route_set[1:], f"<{self.remote_target}>")


def _with_tag(party: NameAddr, tag: str) -> NameAddr:
    return replace(party, params=party.params.replace("tag", tag))


def _routes(message: Message) -> tuple[str, ...]:
    """Record-Route values that can be read, in order."""
    routes = []
    for value in message.headers.get_all("Record-Route"):
        try:
            routes.append(str(parse_name_addr(value)))
        except SipParseError:
            continue
    return tuple(routes)


def _target(message: Message, fallback: str) -> str:
    found = contacts(message.headers)
    return found[0].address.uri if found else fallback


def dialog_from_invite(request: Request, *, local_tag: str, flow: Flow) -> Dialog:
    """The dialog that an incoming INVITE begins (RFC 3261 12.1.1). Without a usable Contact, From is the target."""
    return Dialog(
        call_id=request.call_id,
        local=_with_tag(request.to, local_tag),
        remote=request.from_,
        remote_target=_target(request, request.from_.uri),
        route_set=_routes(request),
        remote_cseq=request.cseq.number,
        flow=flow,
    )


def dialog_from_response(request: Request, response: Response, *, flow: Flow) -> Dialog:
    """The dialog that a response to our INVITE begins (RFC 3261 12.1.2)."""
    return Dialog(
        call_id=request.call_id,
        local=request.from_,
        remote=response.to,
        remote_target=_target(response, request.uri),
        route_set=tuple(reversed(_routes(response))),
        local_cseq=request.cseq.number,
        initiator=True,
        flow=flow,
    )


def confirm(dialog: Dialog, response: Response) -> None:
    """A 2xx to our INVITE: target and, the first time, route set come from it (RFC 3261 13.2.2.4)."""
    if dialog.state is DialogState.EARLY:
        dialog.route_set = tuple(reversed(_routes(response)))
        dialog.state = DialogState.CONFIRMED
    dialog.refresh_target(response)
