"""What follows the media of a call: its events, its report, its verdict and its last document."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime

from siprec.config import Config
from siprec.daemon.admission import Admission
from siprec.daemon.alarm import AlarmKind, Alarms
from siprec.daemon.keeper import Keeper
from siprec.daemon.live import LiveRecording, document
from siprec.daemon.logs import RecordingLog
from siprec.daemon.roll_over import note_indices
from siprec.media import protocol
from siprec.media.reports import RAW_COUNTS
from siprec.media.supervisor import MediaRecording
from siprec.storage import model
from siprec.storage.timestamps import from_unix_ns

log = logging.getLogger("siprec.recorder")


_ENCRYPTED = {
    "probable_srtp": (
        AlarmKind.PROBABLE_SRTP,
        (
            "packets look encrypted though the SDP has no keys for them; they are kept as they came, see how the SBC forks "
            "encrypted calls"
        ),
    ),
    "undecryptable": (
        AlarmKind.UNDECRYPTABLE,
        (
            "the keys of the SDP do not open packets of this leg; they are kept as they came, see whether the SBC sends the "
            "keys that it uses"
        ),
    ),
}
"Events of a leg that are alarms."


class Closing:
    """Takes what the workers say about recordings."""

    def __init__(
        self,
        config: Config,
        admission: Admission,
        keeper: Keeper,
        alarms: Alarms,
        on_closed: Callable[[LiveRecording], None],
    ) -> None:
        """on_closed: told when a recording's last document is written."""
        self.config, self.keeper = config, keeper
        self._admission, self._alarms, self._on_closed = admission, alarms, on_closed
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def moment(unix_ns: int) -> datetime:
        """A time as documents have it."""
        return from_unix_ns(unix_ns)

    @staticmethod
    def document(live: LiveRecording) -> model.Recording:
        """The document of a recording as of now."""
        return document(live)

    def message(self, live: LiveRecording, message: protocol.Message) -> None:
        """Something a worker said about a recording."""
        if isinstance(message, protocol.LegEvent):
            self._leg_event(live, message)
        elif isinstance(message, protocol.RateFixed):
            live.rate = message.rate
        elif isinstance(message, protocol.Closed):
            task = asyncio.create_task(self._closed(live, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def interrupted(self, recording: MediaRecording, live: LiveRecording, at_ns: int) -> None:
        """The worker that had the recording died; the next one goes on."""
        live.interrupt(at_ns)
        live.event(at_ns, "worker_died", worker=recording.worker.number)

    def _leg_event(self, live: LiveRecording, message: protocol.LegEvent) -> None:
        leg = next((leg for leg in live.legs if leg.spec.leg == message.leg), None)
        data = dict(message.data)
        if message.type == "dtmf":
            store = self.config.dtmf.store
            if store == "none":
                return
            if store == "masked":
                data["digit"] = "x"
        if message.type in _ENCRYPTED:
            kind, text = _ENCRYPTED[message.type]
            self._alarms(kind, text, recording=live.id, leg=leg.id if leg is not None else None)
            return  # an alarm is an event of its recording
        live.event(message.at_ns, message.type, leg=leg.id if leg is not None else None, **data)

    async def _closed(self, live: LiveRecording, closed: protocol.Closed) -> None:
        by_leg = {report.leg: report for report in closed.legs}
        for leg in live.legs:
            leg.report = by_leg.get(leg.spec.leg)
        note_indices(live)
        live.t0_ns, live.end_ns = closed.t0_ns, closed.end_ns
        live.frames, live.write_error = closed.frames, closed.error
        judgement, live.state = live.judge(no_media_s=self.config.recording.no_media_s), "ended"
        self._complain(live)
        self.keeper.finish(live.folder, document(live))
        os.close(live.audio_fd)
        await self.keeper.settled(live.id)
        self._admission.space.release(live.id)
        self._admission.give_back_ports([leg.pair for leg in live.legs], time.monotonic())
        reasons = f" ({', '.join(judgement.reasons)})" if judgement.reasons else ""
        RecordingLog(log, live.id).info(
            "ended after %.1f s: %s%s", closed.frames / live.rate, judgement.result, reasons
        )
        self._on_closed(live)

    def _complain(self, live: LiveRecording) -> None:
        """Alarms for what the operator has to mend."""
        if live.write_error is not None:
            self._alarms(AlarmKind.DISK_ERROR, live.write_error, recording=live.id)
        one_way = live.judgement is not None and "one_way" in live.judgement.reasons
        for leg in live.legs:
            if leg.report is None:
                continue
            counts = leg.report.counts
            if one_way and leg.was_active and not counts["packets"]:
                self._alarms(
                    AlarmKind.ONE_WAY,
                    "no RTP on this leg while the other had some; see that the peer forks both directions",
                    recording=live.id,
                    leg=leg.id,
                )
            if counts["undecodable"] or counts["t38"]:
                raw = sum(counts[name] for name in RAW_COUNTS)
                kept = f"{raw - counts['not_kept']} of them kept" if counts["not_kept"] else "kept"
                self._alarms(
                    AlarmKind.UNDECODABLE,
                    f"{raw} packets that are not in the audio, {kept} in {leg.spec.dump}",
                    recording=live.id,
                    leg=leg.id,
                )
            if counts["dropped"]:
                self._alarms(
                    AlarmKind.PACKETS_DROPPED,
                    f"the kernel dropped {counts['dropped']} packets; raise rtp.rcvbuf",
                    recording=live.id,
                    leg=leg.id,
                )
            if counts["capped"]:
                self._alarms(
                    AlarmKind.FLOOD,
                    f"more than rtp.rows_per_tick packets in {counts['capped']} ticks",
                    recording=live.id,
                    leg=leg.id,
                )
