"""Calls that go on: new offers, new metadata, both, or neither (re-INVITE, UPDATE, ACK with an answer)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from siprec.daemon.admission import NotAdmitted
from siprec.daemon.calls import SDP_HEADER, Means, local_ports, unavailable, wanted_ports, warning
from siprec.daemon.legs import MAX_LEGS, leg_spec, new_leg, take_plan
from siprec.daemon.live import LiveRecording, payloads_of
from siprec.media.supervisor import MediaRecording, WorkerBusy
from siprec.recording.intake import Intake, Refused, read_intake
from siprec.recording.session import Changes, payload_names
from siprec.rtp.ports import PortPair
from siprec.sdp.stream import AcceptedStream
from siprec.sip.events import AckReceived, InviteReceived, RequestReceived

MAX_SEARCH_KEYS = 256
"""Headers and extensions to find one recording by, over all its time."""


class RunningCalls:
    """Carries out what requests in a dialog change. A request that is refused leaves its call as it was."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def change(self, event: InviteReceived | RequestReceived) -> None:
        """re-INVITE or UPDATE: a new offer, new metadata, both, or neither."""
        live = self._means.calls.by_dialog.get(event.dialog) if event.dialog is not None else None
        if live is None:
            self._means.endpoint.respond(event.transaction, 481)
            return
        try:
            intake = read_intake(event.request, accept=self._means.accept)
            if intake.offer is not None:
                body = self._take_offer(live, intake)
            else:
                self._take_metadata(live, intake)
                is_invite = event.request.method == "INVITE"
                body = live.session.negotiation.offer().to_bytes() if is_invite else b""
        except Refused as exc:
            self._refuse(live, event, exc.status, str(exc), [*exc.headers, warning(str(exc))])
            return
        except (NotAdmitted, WorkerBusy) as exc:
            self._refuse(live, event, 503, str(exc), unavailable(str(exc)))
            return
        self._means.endpoint.respond(event.transaction, 200, headers=[SDP_HEADER] if body else [], body=body)
        raw = intake.metadata_raw
        if raw is not None and not live.session.keeps_last_document():
            live.event(time.monotonic_ns(), "metadata_not_kept", size=len(raw))
            raw = None
        self._means.closing.keeper.save(
            live.folder,
            self._means.closing.document(live),
            metadata=(live.session.documents, raw) if raw is not None else None,
        )

    def _refuse(
        self,
        live: LiveRecording,
        event: InviteReceived | RequestReceived,
        status: int,
        why: str,
        headers: list[tuple[str, str]],
    ) -> None:
        live.event(time.monotonic_ns(), "request_refused", status=status, text=why)
        self._means.endpoint.respond(event.transaction, status, headers=headers)

    def _take_offer(self, live: LiveRecording, intake: Intake) -> bytes:
        """Carry out a new offer; returns the answer. Raises Refused, NotAdmitted, WorkerBusy with nothing changed."""
        assert intake.offer is not None
        wanted = wanted_ports(live.session, intake)
        if len(live.legs) + len(wanted) > MAX_LEGS:
            raise NotAdmitted(f"a recording has at most {MAX_LEGS} legs over its time")
        taken = self._means.admission.take_ports(wanted, time.monotonic())
        try:
            changes = live.session.prepare(intake.offer, local_ports(taken))
            self._expect_rows(live, len(changes.added))
        except BaseException:
            self._means.admission.give_back_ports(taken.values(), time.monotonic())
            raise
        self._take_changes(live, changes, intake, taken)
        return changes.answer.description.to_bytes()

    @staticmethod
    def _expect_rows(live: LiveRecording, legs: int) -> None:
        """Raises WorkerBusy when the recording's worker cannot take so many legs more."""
        assert live.media is not None
        worker = live.media.worker
        if worker.free_legs() < legs:
            raise WorkerBusy(f"media worker {worker.number} has no row for another leg")

    def _take_metadata(self, live: LiveRecording, intake: Intake) -> None:
        now_ns = time.monotonic_ns()
        changes = live.session.take_metadata(intake, now_ns / 1e9)
        take_plan(live, live.session.replan())
        for change in changes:
            live.event(now_ns, change.type.value, id=change.id, aor=change.aor, name=change.name)
        for problem in intake.problems:
            live.event(now_ns, "odd_request", text=problem)
        self._means.odd(live, intake)
        known = set(live.search_keys)
        fresh = [key for key in intake.search_keys if key not in known]
        live.search_keys += fresh[: max(0, MAX_SEARCH_KEYS - len(known))]

    def _take_changes(
        self, live: LiveRecording, changes: Changes, intake: Intake, taken: Mapping[int, PortPair]
    ) -> None:
        """Carry out what a new offer changed; there are rows for it."""
        assert live.media is not None
        worker, now_ns = live.media.worker, time.monotonic_ns()
        live.session.commit(changes)
        self._take_metadata(live, intake)
        plan = live.session.plan
        assert plan is not None
        for stream in changes.added:
            planned = plan.leg(stream.index)
            leg = new_leg(
                live, worker, stream, taken[stream.index], planned.channel if planned is not None else 0
            )
            leg.planned = planned
            worker.add_leg(live.media, leg.spec, leg.pair)
            live.event(now_ns, "leg_added", leg=leg.id, label=stream.label)
        for stream in changes.changed:
            self._change_leg(live, live.media, stream, now_ns)
        for index in changes.removed:
            self._end_leg(live, live.media, index, now_ns)

    def _change_leg(
        self, live: LiveRecording, media: MediaRecording, stream: AcceptedStream, now_ns: int
    ) -> None:
        leg = live.leg_of(stream.index)
        assert leg is not None
        before = leg.spec
        leg.spec = replace(
            leg_spec(stream, leg=before.leg, channel=before.channel, dump=before.dump),
            payloads=payload_names(stream, before.payloads),
            mux=before.mux,
        )
        media.worker.update_leg(media, leg.spec, now_ns)
        if any(leg.spec.payloads[number] != meaning for number, meaning in before.payloads.items()):
            live.event(now_ns, "payloads_changed", leg=leg.id, before=payloads_of(before))
        if leg.spec.active != before.active:
            live.event(now_ns, "resumed" if leg.spec.active else "held", leg=leg.id)
        leg.was_active |= leg.spec.active
        leg.active_since = (leg.active_since or time.monotonic()) if leg.spec.active else None
        leg.label = stream.label

    @staticmethod
    def _end_leg(live: LiveRecording, media: MediaRecording, index: int, now_ns: int) -> None:
        leg = live.leg_of(index)
        assert leg is not None
        leg.active_since = None
        media.worker.end_leg(media, leg.spec.leg, now_ns)
        live.event(now_ns, "leg_removed", leg=leg.id)

    def acknowledged(self, event: AckReceived) -> None:
        """The ACK may carry the answer to our offer in the 200 of a re-INVITE without one."""
        live = self._means.calls.by_dialog.get(event.dialog)
        if live is None or live.media is None or not event.request.body.strip():
            return
        try:
            intake = read_intake(event.request, accept=self._means.accept)
            local = live.session.negotiation.local
            if intake.offer is None or local is None:
                return
            answered = live.session.negotiation.read_answer(live.session.negotiation.offer(), intake.offer)
        except (Refused, ValueError) as exc:
            live.event(time.monotonic_ns(), "odd_request", text=f"answer in ACK: {exc}")
            return
        now_ns = time.monotonic_ns()
        for stream in answered:
            if stream != live.session.streams.get(stream.index) and live.leg_of(stream.index) is not None:
                self._change_leg(live, live.media, stream, now_ns)
                live.session.streams[stream.index] = stream
        for index in live.session.streams.keys() - {stream.index for stream in answered}:
            self._end_leg(live, live.media, index, now_ns)
            del live.session.streams[index]
