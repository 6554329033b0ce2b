"""State that the server and the client side of a stack share: tables, timers, outputs, counters."""

from __future__ import annotations

from collections import Counter
from random import Random

from siprec.sip.client_transaction import ClientTransaction
from siprec.sip.config import StackConfig
from siprec.sip.dialog import Dialog, DialogState
from siprec.sip.dialog_table import DialogTable
from siprec.sip.events import DialogEnded, Event
from siprec.sip.flow import Flow
from siprec.sip.header_values import MAGIC_COOKIE
from siprec.sip.message import Response
from siprec.sip.server_transaction import ServerTransaction
from siprec.sip.timer_heap import TimerHeap
from siprec.sip.transaction import Transaction, TransactionKey

_METHODS = frozenset(
    [
        "INVITE",
        "ACK",
        "CANCEL",
        "BYE",
        "OPTIONS",
        "UPDATE",
        "INFO",
        "PRACK",
        "REGISTER",
        "SUBSCRIBE",
        "NOTIFY",
        "REFER",
        "MESSAGE",
        "PUBLISH",
    ]
)


class StackCore:
    """Owned by one SipStack; its two sides work on it."""

    def __init__(self, config: StackConfig, rng: Random) -> None:
        self.config = config
        self.rng = rng
        self.server: dict[TransactionKey, ServerTransaction] = {}
        self.client: dict[tuple[str, str], ClientTransaction] = {}
        "By branch and method (RFC 3261 17.1.3)."
        self.dialogs = DialogTable()
        self.timers: TimerHeap[Transaction] = TimerHeap()
        self.connections: set[int] = set()
        "Ids of the open streams."
        self.outbox: list[tuple[Flow, bytes]] = []
        self.events: list[Event] = []
        self.counters: Counter[tuple[str, str]] = Counter()

    def count(self, name: str, label: str) -> None:
        """Count one of `name`; labels come from sets of bounded size."""
        self.counters[name, label] += 1

    def count_method(self, name: str, method: str) -> None:
        self.count(name, method if method in _METHODS else "other")

    def count_response(self, name: str, response: Response) -> None:
        self.count(name, str(response.status))

    def token(self) -> str:
        """A tag, or the unique part of a branch or Call-ID (RFC 3261 19.3: at least 32 random bits)."""
        return f"{self.rng.getrandbits(72):018x}"

    def branch(self) -> str:
        return MAGIC_COOKIE + self.token()

    def is_connected(self, flow: Flow) -> bool:
        """The flow's own stream is open; UDP always is."""
        return not flow.reliable or flow.connection in self.connections

    def transaction_count(self) -> int:
        return len(self.server) + len(self.client)

    def flush(self, transaction: Transaction, to: Flow) -> None:
        """Carry out what a transaction collected, and put its next timer in place."""
        self.outbox += [(to, wire) for wire in transaction.to_send()]
        self.timers.schedule(transaction, transaction.next_timer())
        if resent := transaction.take_retransmissions():
            kind = "request" if isinstance(transaction, ClientTransaction) else "response"
            self.counters["retransmissions_sent", kind] += resent

    def end_dialog(self, dialog: Dialog, reason: str) -> None:
        """Forget a dialog; the event is for confirmed ones only."""
        confirmed = dialog.state is DialogState.CONFIRMED
        dialog.state = DialogState.TERMINATED
        self.dialogs.remove(dialog)
        if confirmed:
            self.events.append(DialogEnded(dialog=dialog, reason=reason))
