"""The media worker: a tick that drains, places and decodes; the writer thread writes (DESIGN 4 and 5).

`MediaWorker` takes time as an argument and can be driven by a test; `siprec.media.worker_main` runs it.
"""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from siprec.codecs.registry import CODECS, STATIC, UNKNOWN
from siprec.media import protocol
from siprec.media.choice import RateChoice
from siprec.media.flush import Flusher
from siprec.media.pipeline import Pipeline
from siprec.media.recordings import MAX_EVENTS, MAX_GAPS, MAX_SSRCS, LegState, RecordingState
from siprec.media.reports import leg_report, shorten
from siprec.media.result import BatchResult
from siprec.media.rings import Rings
from siprec.media.roster import Roster
from siprec.media.rtcp_session import INTERVAL_NS, RtcpSession
from siprec.media.store import StateStore
from siprec.media.writer import Dump, DumpFile, GiveUp, WriterThread
from siprec.rtp.clock import ClockMapper
from siprec.rtp.loss import LossGap, find_gaps
from siprec.rtp.ports import kernel_drops
from siprec.rtp.receiver import ReceivedRows, UdpReceiver, receive_stamped
from siprec.rtp.sequence import StreamChange
from siprec.rtp.slab import Slab
from siprec.rtp.source import source_key, source_text
from siprec.storage.rtpdump import RtpdumpHeader

I64 = npt.NDArray[np.int64]
_GAP_TICKS = 5
_STRAYS = 64
"Datagrams taken from one socket in one tick while the rate of its recording is open."
_RTP_VERSION = 2
_TURNS = 5
"A part of the legs reports at a time."


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker is started with; the sizes of its shared memory among it."""

    legs: int
    pool_blocks: int
    hold_back_s: float
    rows_per_tick: int
    tick_s: float
    dump_max_bytes: int
    conceal: bool
    "Fill short losses."


class MediaWorker:
    """The recordings of one worker process."""

    def __init__(
        self,
        settings: WorkerSettings,
        store: StateStore,
        rings: Rings,
        slab: Slab,
        *,
        rng: random.Random,
        monotonic: int,
        realtime: int,
    ) -> None:
        self._settings = settings
        self.pipeline = Pipeline(store, rings, legs=settings.legs, hold_back_s=settings.hold_back_s)
        self._receiver = UdpReceiver(slab, cap=settings.rows_per_tick)
        self._clock = ClockMapper(monotonic=monotonic, realtime=realtime)
        self.writer = WriterThread(rings)
        self._roster = Roster(self.pipeline, rng)
        self._choice = RateChoice(self._roster, self.pipeline, self._clock)
        self._flusher = Flusher(self.pipeline, self.writer, hold_back_s=settings.hold_back_s)
        self._rtcp = RtcpSession(self.pipeline.legs, self.pipeline.streams, self.pipeline.secure)
        self._reached = np.zeros(settings.legs, np.int64)
        "Arrival of the newest row taken from each leg's socket [monotonic ns]."
        self._tick = 0
        self._now = monotonic
        self._next_report = monotonic
        self.outbox: deque[protocol.Message] = deque()
        "Messages for the main process."
        self.stalled = 0
        "Ticks in which nothing was drained because the rings had no room."
        self.packets = 0

    def command(self, message: protocol.Message, fds: list[int]) -> None:
        """Carry out one message of the main process; takes the descriptors over."""
        self.outbox += self._roster.command(message, fds, self._now)

    # -- tick --

    def tick(self, *, monotonic: int, realtime: int) -> None:
        """Drain every socket once, place what came, hand full seconds to the writer. Times in ns."""
        self._tick += 1
        self._now = monotonic
        self._clock.observe(monotonic=monotonic, realtime=realtime)
        self._flusher.collect(self._roster.recordings, monotonic)
        if self._flusher.has_room(len(self._roster.legs)):
            self._drain()
        else:
            self.stalled += 1
        self._read_rtcp(monotonic)
        if self._settings.conceal or self._tick % _GAP_TICKS == 0:
            self._note_gaps()
        self._next_report = max(self._next_report, monotonic - INTERVAL_NS)  # after a sleep of the machine
        while monotonic >= self._next_report:
            self._send_reports(monotonic)
            self._next_report += INTERVAL_NS // _TURNS
        self._flusher.schedule(self._roster.recordings, self._roster.legs, monotonic)
        for recording in self._flusher.finished(self._roster.recordings, monotonic):
            self._finish(recording)

    def _drain(self) -> None:
        self._choose_rates()
        waiting = self._flusher.full_legs.union(*(open_.legs for open_ in self._roster.undecided()))
        sockets = self._roster.sockets()
        if waiting:
            sockets = [entry for entry in sockets if entry[0] not in waiting]
        for rows in self._receiver.batches(sockets):
            self._take(rows)
        self.pipeline.sounds.settle(self._now)
        self._note_drained(self._receiver.capped, waiting)

    def _choose_rates(self) -> None:
        """Fix what can be fixed; what is no sound and stands in front of it (STUN, digits) is taken one by one."""
        for _ in range(_STRAYS):
            self.outbox += self._choice.decide(self._now)
            if not self._choice.strays:
                return
            for rows in self._receiver.batches(self._choice.strays, cap=1):
                self._take(rows)

    def _take(self, rows: ReceivedRows) -> None:
        self.packets += rows.leg.size
        arrival = self._clock.to_monotonic(rows.stamp)
        self._reached[rows.leg] = arrival
        self._act(self.pipeline.process(rows, arrival))

    def _note_drained(self, capped: list[int], waiting: set[int]) -> None:
        """What has arrived up to now is in the rings, but where a cap left packets in a socket, or all of them wait."""
        behind: dict[int, int] = {}
        for leg in capped:
            self.pipeline.legs["capped"][leg] += 1
            number = self._roster.legs[leg].recording
            behind[number] = min(behind.get(number, self._now), int(self._reached[leg]))
        for number, recording in self._roster.recordings.items():
            if not waiting or waiting.isdisjoint(recording.legs):
                recording.drained_ns = max(recording.drained_ns, behind.get(number, self._now))

    def _act(self, result: BatchResult) -> None:
        for leg, at_ns, source, data in result.rtcp:
            row = self.pipeline.legs[leg]
            if source in (row["source"], row["sdp_source"]):
                self._rtcp.received(self._roster.legs[leg], data, at_ns)
        for gap in result.gaps:
            self._note_gap(gap)
        for change in result.changes:
            self._note_change(change)
        for event in result.events:
            if event.type == "drift":
                self._note_drift(event.leg)
            elif event.type == "late":
                self._note_gap(LossGap(event.leg, event.p, event.p + event.moved, 0))
            elif event.type == "pace":
                recording = self._roster.recordings[self._roster.legs[event.leg].recording]
                self._event(
                    event.leg, "odd_timestamps", recording.time_of(event.p), clock=event.moved or None
                )
            elif event.type == "jump":
                moved = event.moved / int(self.pipeline.legs["rate"][event.leg])
                recording = self._roster.recordings[self._roster.legs[event.leg].recording]
                self._event(event.leg, "timestamp_jump", recording.time_of(event.p), moved_s=round(moved, 3))
        for leg, codec in result.resampled:
            rate = int(self.pipeline.legs["rate"][leg])
            self._event(leg, "resampled", None, codec=codec.name, rate=codec.rate, file_rate=rate)
        for leg, key in result.sources:
            self._event(leg, "source", None, address=source_text(key))
        for leg, ssrc, at_ns in result.second:
            self._note_second(leg, ssrc, at_ns)
        for leg, at_ns in result.undecryptable:
            if not self._roster.legs[leg].events["undecryptable"]:
                self._event(leg, "undecryptable", at_ns)
        for leg, at_ns in result.secret:
            if not self._roster.legs[leg].events["probable_srtp"]:
                self._event(leg, "probable_srtp", at_ns)
        for digit in result.digits:
            self._event(digit.leg, "dtmf", digit.at_ns, digit=digit.digit)
        if result.raw:
            self._keep_raw(result.raw)

    def _note_drift(self, leg: int) -> None:
        """Tell once a leg that its sender's clock is false and followed."""
        if not self._roster.legs[leg].events["clock_drift"]:
            self._event(leg, "clock_drift", None)

    def _note_change(self, change: StreamChange) -> None:
        ssrcs = self._roster.legs[change.leg].ssrcs
        if ssrcs:
            self._event(change.leg, "ssrc_changed", None, ssrc=change.ssrc, restart=change.restart)
        if len(ssrcs) < MAX_SSRCS:
            ssrcs.append(change.ssrc)

    def _note_second(self, leg: int, ssrc: int, at_ns: int) -> None:
        """Tell once an SSRC that it is not recorded beside the one that was there first."""
        known = self._roster.legs[leg].second
        if ssrc not in known and len(known) < MAX_SSRCS:
            known.add(ssrc)
            self._event(leg, "second_sender", at_ns, ssrc=ssrc)

    def _event(self, leg: int, type_: str, at_ns: int | None, **data: object) -> None:
        """Tell the main process, so many times a leg and type; the counts of the leg go on."""
        told = self._roster.legs[leg].events
        if told[type_] >= MAX_EVENTS:
            return
        told[type_] += 1
        self.outbox.append(
            protocol.LegEvent(
                recording=self._roster.legs[leg].recording,
                leg=leg,
                type=type_,
                at_ns=self._now if at_ns is None else at_ns,
                data=dict(data),
            )
        )

    def _keep_raw(self, raw: list[tuple[int, int, bytes]]) -> None:
        by_leg: dict[int, list[tuple[int, bytes]]] = {}
        for number, at_ns, data in raw:
            epoch = self._roster.recordings[self._roster.legs[number].recording].epoch_ns
            by_leg.setdefault(number, []).append(((at_ns - epoch) // 1_000_000, data))
        for number, packets in by_leg.items():
            leg = self._roster.legs[number]
            if leg.dump is None:
                leg.dump = self._open_dump(leg)
            for _, data in packets:
                known = leg.spec.payloads.get(data[1] & 0x7F)
                name = known[0] if known else STATIC.get(data[1] & 0x7F, UNKNOWN).name
                leg.dumped[name if data[0] >> 6 == _RTP_VERSION else "t38"] = None
            self.writer.put(Dump(file=leg.dump, packets=packets))

    def _open_dump(self, leg: LegState) -> DumpFile:
        recording = self._roster.recordings[leg.recording]
        host, port = leg.spec.remote or ("", 0)
        if not source_key(host, port):
            host, port = "0.0.0.0", 0
        return DumpFile(
            os.path.join(os.path.dirname(recording.path), leg.spec.dump),
            RtpdumpHeader(start_us=recording.epoch_unix_us, address=host, port=port),
            max_bytes=self._settings.dump_max_bytes,
            kept=self.pipeline.store.kept[leg.spec.leg : leg.spec.leg + 1],
        )

    def _note_gaps(self, which: I64 | None = None, *, final: bool = False) -> None:
        if which is None:
            legs = np.array([number for number, _ in self._roster.sockets()], np.int64)
            which = (legs[:, None] * 2 + np.arange(2)).reshape(-1)
        pipeline = self.pipeline
        for gap in find_gaps(pipeline.legs, pipeline.streams, pipeline.store.history, which, final=final):
            self._note_gap(gap)

    def _note_gap(self, gap: LossGap) -> None:
        gaps = self._roster.legs[gap.leg].gaps
        if gaps and not gap.packets and gaps[-1][1:] == (gap.start, 0):
            gaps[-1] = (gaps[-1][0], gap.end, 0)
        elif len(gaps) < MAX_GAPS:
            gaps.append((gap.start, gap.end, gap.packets))
        if self._settings.conceal and gap.packets and self.pipeline.sounds.conceal(gap):
            recording = self._roster.recordings[self._roster.legs[gap.leg].recording]
            length_s = round((gap.end - gap.start) / recording.rate, 4)
            self._event(gap.leg, "concealed", recording.time_of(gap.start), length_s=length_s)

    # -- RTCP --

    def _read_rtcp(self, monotonic: int) -> None:
        for key, _ in self._roster.rtcp.select(0):
            leg, sock = self._roster.legs[key.data], key.fileobj
            assert isinstance(sock, socket.socket)
            for _ in range(16):
                try:
                    data, stamp, source = receive_stamped(sock, 2048)
                except OSError:
                    break
                self.pipeline.legs["rtcp"][leg.spec.leg] += 1
                at_ns = min(monotonic, self._clock.monotonic_of(stamp))
                self._rtcp.received(leg, data, at_ns, source)

    def _send_reports(self, monotonic: int) -> None:
        """A fifth of the legs each second, so that every leg reports every five."""
        turn = self._next_report // (INTERVAL_NS // _TURNS) % _TURNS
        legs = [leg for number, leg in self._roster.legs.items() if number % _TURNS == turn]
        if legs:
            self._rtcp.report(legs, monotonic)

    # -- end --

    def _finish(self, recording: RecordingState) -> None:
        reports = []
        for number in recording.legs:
            self._note_gaps(np.arange(2 * number, 2 * number + 2), final=True)
            for digit in self.pipeline.digits.close(number):
                self._event(number, "dtmf", digit.at_ns, digit=digit.digit)
            leg = self._roster.legs.pop(number)
            row = self.pipeline.legs[number]
            row["dropped"] = max(int(row["dropped"]), kernel_drops(leg.rtp.fileno()))
            reports.append(leg_report(self.pipeline, recording, leg, CODECS))
            if leg.dump is not None:
                self.writer.put(Dump(file=leg.dump, last=True))
            self._roster.close_leg(leg)
        if recording.error is not None:
            self.writer.put(GiveUp(recording.writer))
        self.pipeline.store.t0[recording.number] = 0
        del self._roster.recordings[recording.number]
        assert recording.t0_ns is not None
        assert recording.end_ns is not None
        closed = protocol.Closed(
            recording=recording.number,
            t0_ns=recording.t0_ns,
            end_ns=recording.end_ns,
            frames=recording.writer.frames,
            legs=reports,
            error=recording.error,
        )
        shorten(closed)
        self.outbox.append(closed)

    def end_all(self, now_ns: int) -> None:
        """End every recording now: nobody is left who would say so."""
        for number, recording in self._roster.recordings.items():
            if recording.end_ns is None:
                self.command(protocol.CloseRecording(recording=number, at_ns=now_ns), [])

    def idle(self) -> bool:
        """Whether no recording is left."""
        return not self._roster.recordings

    def beat(self, **more: float) -> protocol.Beat:
        """The counters of this worker."""
        return protocol.Beat(
            counters={
                "recordings": len(self._roster.recordings),
                "legs": len(self._roster.legs),
                "packets": self.packets,
                "batches": self.pipeline.store.committed,
                "pool_free_blocks": self.pipeline.rings.free_blocks,
                "pool_refused_rows": self.pipeline.rings.refused,
                "stalled_ticks": self.stalled,
                "receive_errors": self._receiver.errors,
                "clock_steps": self._clock.steps,
                "rtcp_malformed": self._rtcp.malformed,
                "srtp_searches": self.pipeline.secure.searches,
                "dtmf_malformed": self.pipeline.digits.malformed,
                "commands_refused": self._roster.refused,
                "dump_errors": self.writer.dump_errors,
                **more,
            }
        )
