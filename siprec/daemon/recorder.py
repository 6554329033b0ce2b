"""Calls: the events of the SIP stack in; admissions, changes and ends out."""

from __future__ import annotations

import asyncio
import time

from siprec.daemon.calls import Means, unavailable
from siprec.daemon.live import LiveRecording
from siprec.daemon.new_calls import NewCalls
from siprec.daemon.running_calls import RunningCalls
from siprec.sip.dialog import Dialog
from siprec.sip.events import (
    AckReceived,
    AckTimeout,
    CancelReceived,
    DialogEnded,
    Event,
    InviteReceived,
    InviteRefused,
    RequestReceived,
)

NO_ACK_SILENCE_S = 32.0
"A call without ACK is kept as long as its last packet is no older than 64 * T1 (INTEROP 3.6)."


class Recorder:
    """Hands each event to where it belongs, and ends calls."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._new, self._running = NewCalls(means), RunningCalls(means)

    def handle(self, event: Event) -> None:
        """One event of the SIP stack."""
        calls = self._means.calls
        if isinstance(event, InviteReceived):
            if event.reinvite:
                self._running.change(event)
            else:
                self._new.take(event)
        elif isinstance(event, InviteRefused):
            self._means.refused(event.flow, event.status, event.reason)
        elif isinstance(event, RequestReceived):
            self._request(event)
        elif isinstance(event, CancelReceived):
            self._new.cancel(event.dialog)
        elif isinstance(event, AckReceived):
            self._running.acknowledged(event)
        elif isinstance(event, AckTimeout):
            self._no_ack(event.dialog)
        elif isinstance(event, DialogEnded) and (live := calls.by_dialog.get(event.dialog)) is not None:
            calls.end(live, by_peer=False, why=event.reason)

    def why_not(self) -> str | None:
        """Why a call could not be recorded now; None if it could."""
        means = self._means
        return means.calls.why_full() or means.media.why_not() or means.admission.why_not(time.monotonic())

    def _request(self, event: RequestReceived) -> None:
        method, endpoint = event.request.method, self._means.endpoint
        if method == "BYE":
            endpoint.respond(event.transaction, 200)
            live = self._means.calls.by_dialog.get(event.dialog) if event.dialog is not None else None
            if live is not None:
                reason = event.request.headers.get("Reason") or "BYE"
                self._means.calls.end(live, by_peer=True, why=reason)
        elif method == "UPDATE":
            self._running.change(event)
        elif method == "OPTIONS" and event.dialog is None and (why := self.why_not()) is not None:
            endpoint.respond(event.transaction, 503, headers=unavailable(why))
        else:
            endpoint.respond(event.transaction, 200)

    def _no_ack(self, dialog: Dialog) -> None:
        """No ACK in 64 * T1: the call is kept while it carries RTP."""
        live = self._means.calls.by_dialog.get(dialog)
        if live is None or live.media is None:
            return
        heard = self._means.media.silent_since(live.media)
        if heard is not None and time.monotonic() - heard < NO_ACK_SILENCE_S:
            live.event(time.monotonic_ns(), "no_ack")
            return
        self.hang_up(live, why="no ACK and no RTP")

    def hang_up(self, live: LiveRecording, *, why: str) -> None:
        """End a call ourselves: BYE to the peer."""
        dialog = live.dialog
        self._means.calls.end(live, by_peer=False, why=why)
        if dialog is not None:
            self._means.endpoint.request(dialog, "BYE")

    async def stop(self, *, timeout_s: float = 15.0) -> bool:
        """Take no new calls, end all, and wait until they are written. False if some were not in time."""
        calls = self._means.calls
        calls.draining = True
        await self._new.settled()
        for live in list(calls.live.values()):
            if live.end_ns is None:
                self.hang_up(live, why="the recorder stops")
        give_up = time.monotonic() + timeout_s
        while calls.live and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
        return not calls.live
