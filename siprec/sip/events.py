"""What the stack tells the layer above it."""

from __future__ import annotations

from dataclasses import dataclass

from siprec.sip.client_transaction import ClientTransaction
from siprec.sip.dialog import Dialog
from siprec.sip.flow import Flow
from siprec.sip.message import Request, Response
from siprec.sip.server_transaction import InviteServerTransaction, ServerTransaction


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteReceived:
    """An INVITE, to be answered by `respond`. It has passed the checks of RFC 3261 8.2 and 14.2."""

    request: Request
    flow: Flow
    transaction: InviteServerTransaction
    dialog: Dialog
    reinvite: bool
    "It is in a dialog that stands already."


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteRefused:
    """An INVITE for a new dialog that was not handed up, because it was refused with `status`; told once for each.

    A malformed one has only the headers that could be read.
    """

    request: Request
    flow: Flow
    status: int
    reason: str
    "What was wrong; parts of it may be the peer's words."


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived:
    """Any other request (BYE, OPTIONS, UPDATE, INFO, ...), to be answered by `respond`.

    A BYE always has its dialog, which ends when the BYE is answered.
    """

    request: Request
    flow: Flow
    transaction: ServerTransaction
    dialog: Dialog | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReceived:
    """The caller gave up an INVITE before its final response, by CANCEL or by BYE; it has its 487.

    A CANCEL has its 200; a BYE follows as `RequestReceived`.
    """

    request: Request
    flow: Flow
    transaction: InviteServerTransaction
    "The INVITE's."
    dialog: Dialog


@dataclass(frozen=True, slots=True, kw_only=True)
class AckReceived:
    """The first ACK for our 2xx; its body is the answer if the 2xx carried an offer."""

    request: Request
    flow: Flow
    transaction: InviteServerTransaction
    dialog: Dialog


@dataclass(frozen=True, slots=True, kw_only=True)
class AckTimeout:
    """No ACK, nor any request in the dialog, for our 2xx in 64*T1. The dialog stands; BYE is up to the owner."""

    transaction: InviteServerTransaction
    dialog: Dialog


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived:
    """A response to a request of ours. A 2xx to INVITE is to be acknowledged by `acknowledge`."""

    response: Response
    flow: Flow
    transaction: ClientTransaction
    dialog: Dialog | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimeout:
    """No final response to a request of ours in time (as good as 408)."""

    transaction: ClientTransaction
    dialog: Dialog | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFailed:
    """A request of ours could not be sent, or its connection broke before the answer (as good as 503)."""

    transaction: ClientTransaction
    dialog: Dialog | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogEnded:
    """A confirmed dialog is over."""

    dialog: Dialog
    reason: str
    "bye_received, bye_sent or forgotten."


Event = (
    InviteReceived
    | InviteRefused
    | RequestReceived
    | CancelReceived
    | AckReceived
    | AckTimeout
    | ResponseReceived
    | RequestTimeout
    | TransportFailed
    | DialogEnded
)
