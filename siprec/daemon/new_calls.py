"""New calls: from the INVITE to the 200 OK, or to a final refusal with nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from siprec.daemon.admission import NotAdmitted
from siprec.daemon.calls import SDP_HEADER, Means, local_ports, unavailable, wanted_ports, warning
from siprec.daemon.legs import new_leg, take_plan
from siprec.daemon.live import LiveDialog, LiveRecording
from siprec.daemon.logs import RecordingLog
from siprec.media.protocol import OpenRecording
from siprec.media.rate import only_rate
from siprec.media.supervisor import MediaProcess, WorkerBusy
from siprec.recording.intake import Intake, Refused, read_intake
from siprec.recording.parties import PlannedLeg
from siprec.recording.session import Changes, RecordingSession
from siprec.rtp.ports import PortPair
from siprec.sdp.stream import AcceptedStream
from siprec.sip.dialog import Dialog
from siprec.sip.events import InviteReceived
from siprec.sip.flow import Flow
from siprec.sip.message import Request
from siprec.storage.document import encode_document
from siprec.storage.layout import AUDIO

log = logging.getLogger("siprec.recorder")

BOTH_VERSIONS = "::"
"RTP sockets on it take IPv4 as well."
WILDCARDS = ("0.0.0.0", BOTH_VERSIONS)
_EPOCH_BEFORE_NS = 10_000_000_000
"Positions count from this long before admission, so that none is negative."


class NewCalls:
    """Admits calls. Everything that can fail is done before the answer (DESIGN rule 2)."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._tasks: dict[Dialog, asyncio.Task[None]] = {}

    def take(self, event: InviteReceived) -> None:
        """Begin to admit a call; it is answered when everything is there.

        More calls than can be answered in time are refused before anything is done for them: else none would be.
        """
        if len(self._tasks) >= self._means.config.recording.max_admitting:
            self._refuse(event, 503, "too many new calls at once; see recording.max_admitting")
            return
        task = asyncio.create_task(self._admit(event))
        self._tasks[event.dialog] = task
        task.add_done_callback(lambda _: self._done(event.dialog))

    def cancel(self, dialog: Dialog) -> None:
        """The caller has given up."""
        self._means.calls.refused["487"] += 1
        if (task := self._tasks.get(dialog)) is not None:
            task.cancel()

    async def settled(self) -> None:
        """Wait until every call that is being admitted has its answer; that takes under a second."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _done(self, dialog: Dialog) -> None:
        self._tasks.pop(dialog, None)
        self._means.calls.admitting.discard(dialog)

    def _why_not(self) -> str | None:
        return self._means.calls.why_full() or self._means.media.why_not()

    async def _admit(self, event: InviteReceived) -> None:
        try:
            await self._record(event)
        except Refused as exc:
            self._refuse(event, exc.status, exc.reason, exc.headers)
        except NotAdmitted as exc:
            self._refuse(event, 503, str(exc), told=exc.told)
        except WorkerBusy as exc:
            self._refuse(event, 503, str(exc))
        except asyncio.CancelledError:
            log.info("call %s was cancelled by its caller", event.request.call_id)
        except Exception:
            log.exception("admission failed")
            self._refuse(event, 500, "internal error")

    def _refuse(
        self,
        event: InviteReceived,
        status: int,
        why: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        told: str | None = None,
    ) -> None:
        self._means.refused(event.flow, status, why)
        told = why if told is None else told
        more = unavailable(told) if status == 503 else [warning(told)]
        self._means.endpoint.respond(event.transaction, status, headers=[*headers, *more])

    async def _record(self, event: InviteReceived) -> None:
        if (why := self._why_not()) is not None:
            raise NotAdmitted(why)
        self._means.calls.admitting.add(event.dialog)
        intake = read_intake(event.request, accept=self._means.accept)
        if intake.offer is None:
            raise Refused(488, "an INVITE without an offer cannot be recorded")
        rng = self._means.rng
        session = RecordingSession.begin(rng.getrandbits(62), self._sdp_address(event.flow), rng.randbytes)
        pairs = self._means.admission.take_ports(wanted_ports(session, intake), time.monotonic())
        try:
            await self._record_on(event, intake, session, pairs)
        except BaseException:
            self._means.admission.give_back_ports(pairs.values(), time.monotonic())
            raise

    async def _record_on(
        self,
        event: InviteReceived,
        intake: Intake,
        session: RecordingSession,
        pairs: dict[int, PortPair],
    ) -> None:
        """The rest of an admission, with ports taken: everything before the 200 can still fail."""
        assert intake.offer is not None
        opened_ns, unix_ns = time.monotonic_ns(), time.time_ns()
        changes = session.prepare(intake.offer, local_ports(pairs))
        session.take_metadata(intake, opened_ns / 1e9)
        agreed = {stream.index: stream for stream in changes.answer.streams}
        plan = session.replan(agreed)
        live = self._new_live(event, intake, session, opened_ns, unix_ns)
        self._means.admission.take_space(live.id)
        try:
            worker = self._means.media.choose()
            opened = self._opened(live, worker, pairs, agreed, plan.legs)
            take_plan(live, plan)
            try:
                text = encode_document(self._means.closing.document(live).to_document())
                await self._means.admission.take_disk(live, text, intake.metadata_raw, channels=plan.channels)
            except BaseException:
                self._give_back(worker, live, opened.recording)
                raise
        except BaseException:
            self._means.admission.space.release(live.id)
            raise
        if self._answer(event, live, worker, opened, pairs, changes):
            self._means.odd(live, intake)

    def _new_live(
        self,
        event: InviteReceived,
        intake: Intake,
        session: RecordingSession,
        opened_ns: int,
        unix_ns: int,
    ) -> LiveRecording:
        identity = self._means.admission.new_id(unix_ns)
        folder = self._means.admission.folder_of(identity, unix_ns)
        live = LiveRecording(
            id=identity,
            folder=folder,
            audio=folder / AUDIO,
            format=self._means.config.storage.format,
            rate=self._means.config.storage.max_rate,
            started=self._means.closing.moment(unix_ns),
            opened_ns=opened_ns,
            opened_unix_ns=unix_ns,
            session=session,
            dialog=event.dialog,
            search_keys=list(intake.search_keys),
        )
        live.dialogs.append(_live_dialog(event, unix_ns))
        for problem in intake.problems:
            live.event(opened_ns, "odd_request", text=problem)
        if not intake.siprec:
            live.event(opened_ns, "not_siprec")
        return live

    def _opened(
        self,
        live: LiveRecording,
        worker: MediaProcess,
        pairs: Mapping[int, PortPair],
        agreed: Mapping[int, AcceptedStream],
        planned: Iterable[PlannedLeg],
    ) -> OpenRecording:
        """The order to a worker. Takes rows of the worker; gives them back when it raises WorkerBusy."""
        channels = {leg.index: leg.channel for leg in planned}
        number = worker.take_number()
        try:
            for index, pair in pairs.items():
                new_leg(live, worker, agreed[index], pair, channels[index])
        except WorkerBusy:
            self._give_back(worker, live, number)
            raise
        assert live.session.plan is not None
        max_rate = self._means.config.storage.max_rate
        rate = only_rate((leg.spec.payloads for leg in live.legs), max_rate)
        live.rate = rate or max_rate
        return OpenRecording(
            recording=number,
            path=str(live.audio),
            rate=rate or 0,
            max_rate=max_rate,
            channels=live.session.plan.channels,
            format=live.format,
            epoch_ns=live.opened_ns - _EPOCH_BEFORE_NS,
            epoch_unix_us=(live.opened_unix_ns - _EPOCH_BEFORE_NS) // 1000,
            legs=[leg.spec for leg in live.legs],
        )

    @staticmethod
    def _give_back(worker: MediaProcess, live: LiveRecording, number: int) -> None:
        worker.give_back_number(number)
        for leg in live.legs:
            worker.give_back_leg(leg.spec.leg)

    def _answer(
        self,
        event: InviteReceived,
        live: LiveRecording,
        worker: MediaProcess,
        opened: OpenRecording,
        pairs: Mapping[int, PortPair],
        changes: Changes,
    ) -> bool:
        """Everything is there: media first, then the 200. Nothing is awaited from here on.

        False if the caller had given up meanwhile.
        """
        body = changes.answer.description.to_bytes()
        by_leg = {leg.spec.leg: pairs[leg.index] for leg in live.legs}
        live.media = worker.open(opened, live.audio_fd, by_leg)
        live.answered_ns = time.monotonic_ns()
        worker.answered(live.media, live.answered_ns)
        live.session.commit(changes)
        self._means.calls.add(live, event.dialog)
        if not self._means.endpoint.respond(event.transaction, 200, headers=[SDP_HEADER], body=body):
            self._means.calls.end(
                live, by_peer=True, why="CANCEL"
            )  # it came while the journal was being written
            return False
        RecordingLog(log, live.id).info(
            "recording %d legs of call %s from %s",
            len(live.legs),
            event.request.call_id,
            event.flow.remote[0],
        )
        return True

    def _sdp_address(self, flow: Flow) -> str:
        """Our address in c=: as advertised, else where RTP is bound, else what this peer reached.

        Raises Refused when that is of another IP version than the sockets: nothing would ever arrive on them.
        """
        rtp = self._means.config.rtp.address
        address = self._means.config.sip.advertise or (flow.local[0] if rtp in WILDCARDS else rtp)
        if rtp != BOTH_VERSIONS and (":" in address) != (":" in rtp):
            raise Refused(488, f"no RTP at {address}: rtp.address {rtp} is of the other IP version")
        return address


def _live_dialog(event: InviteReceived, unix_ns: int) -> LiveDialog:
    request: Request = event.request
    host, port = event.flow.remote
    return LiveDialog(
        call_id=request.call_id,
        from_=request.headers.get("From") or "",
        to=request.headers.get("To") or "",
        src=f"{host}:{port}",
        from_tag=event.dialog.remote_tag,
        to_tag=event.dialog.local_tag,
        started_unix_ns=unix_ns,
    )
