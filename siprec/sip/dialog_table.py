"""The dialogs that are alive, and which of them a request belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from siprec.sip.dialog import Dialog, DialogState
from siprec.sip.message import Request

_IN_DIALOG = ("BYE", "ACK", "UPDATE", "INFO")
"Without To-tag these can only be for a dialog; OPTIONS and INVITE may stand alone."


class DialogTable:
    """Dialogs by Call-ID, the peer's tag and ours. URIs and display names play no part: they change mid-dialog."""

    def __init__(self) -> None:
        self._by_peer: dict[tuple[str, str], dict[str, Dialog]] = {}
        self._count = 0

    def add(self, dialog: Dialog) -> None:
        same_peer = self._by_peer.setdefault((dialog.call_id, dialog.remote_tag), {})
        self._count += dialog.local_tag not in same_peer
        same_peer[dialog.local_tag] = dialog

    def remove(self, dialog: Dialog) -> None:
        """Forget a dialog; nothing happens if it is not there."""
        key = (dialog.call_id, dialog.remote_tag)
        same_peer = self._by_peer.get(key, {})
        if same_peer.get(dialog.local_tag) is dialog:
            del same_peer[dialog.local_tag]
            self._count -= 1
            if not same_peer:
                del self._by_peer[key]

    def get(self, call_id: str, remote_tag: str, local_tag: str) -> Dialog | None:
        return self._by_peer.get((call_id, remote_tag), {}).get(local_tag)

    def with_peer(self, call_id: str, remote_tag: str) -> list[Dialog]:
        """All dialogs of that Call-ID and tag of the peer."""
        return list(self._by_peer.get((call_id, remote_tag), {}).values())

    def find(self, request: Request) -> Dialog | None:
        """The dialog of an incoming request (RFC 3261 12.2.2).

        A To-tag must be ours. Requests without To-tag (CUBE, BroadWorks) that are for a dialog belong to the only one
        of that Call-ID and From-tag; with two there is no telling which. So does an INVITE that goes on counting in
        a confirmed dialog; with the number of the one that began it, it is that one come another way.
        """
        same_peer = self._by_peer.get((request.call_id, request.from_.tag or ""), {})
        to_tag = request.to.tag
        if to_tag is not None:
            return same_peer.get(to_tag)
        if len(same_peer) != 1:
            return None
        (dialog,) = same_peer.values()
        if request.method in _IN_DIALOG or (request.method == "INVITE" and _goes_on(dialog, request)):
            return dialog
        return None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Dialog]:
        return (dialog for same_peer in self._by_peer.values() for dialog in same_peer.values())


def _goes_on(dialog: Dialog, request: Request) -> bool:
    return dialog.state is DialogState.CONFIRMED and request.cseq.number > (dialog.remote_cseq or 0)
