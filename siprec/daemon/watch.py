"""Once a second: legs without media, space that calls use up, the workers, the catalogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from siprec.config import Config
from siprec.daemon.alarm import AlarmKind, Alarms
from siprec.daemon.calls import Calls
from siprec.daemon.live import LiveLeg, LiveRecording
from siprec.daemon.roll_over import note_indices
from siprec.media.supervisor import MediaProcess, MediaSupervisor
from siprec.storage.fileops import StorageError
from siprec.storage.space import OutOfSpace, SpaceAccount

PERIOD_S = 1.0
BEAT_LATE_S = 10.0
"A worker that has said nothing for this long does not live."
CATALOG_AWAY_S = 5.0
"How long the catalogue may not answer before somebody should look."
ROLL_OVER_S = 10.0
"Between two looks at the roll-over counters of encrypted calls; they rise every 22 minutes at most."
_COUNTERS = {
    "stalled_ticks": (
        AlarmKind.DISK_STALLED,
        "the disk of storage.path is too slow, packets wait in their sockets; look at the disk, or raise rtp.pool_mb",
    ),
    "clock_steps": (
        AlarmKind.CLOCK_STEP,
        "the wall clock was set; audio keeps its place, check the time service of this machine",
    ),
}
"Counters of a worker that somebody should know of when they begin to grow."


class Watch:
    """Looks at everything that runs, and raises alarms."""

    def __init__(
        self,
        config: Config,
        calls: Calls,
        media: MediaSupervisor,
        space: SpaceAccount,
        alarms: Alarms,
        catalog_fault: Callable[[], str | None],
        save: Callable[[LiveRecording], None],
    ) -> None:
        """catalog_fault: why the catalogue does not answer; None if it does. save: journals a recording as it is now."""
        self.config = config
        self._calls, self._media, self._space, self._alarms = calls, media, space, alarms
        self._catalog_fault, self._save = catalog_fault, save
        self._away_since: float | None = None
        self._away_said = False
        self._roll_over_due = 0.0
        self._counts: dict[tuple[int, str], float] = {}
        self._growing: set[tuple[int, str]] = set()

    def look(self, now: float) -> None:
        """now: monotonic seconds."""
        self._look_at_media(now)
        self._account(now)
        self._look_at_workers()
        self._look_at_catalog(now)
        self._look_at_roll_overs(now)

    def alive(self, now: float) -> bool:
        """Every worker runs and has spoken lately: what the service manager's watchdog is fed with."""
        return all(worker.running and now - worker.last_beat < BEAT_LATE_S for worker in self._media.workers)

    def _look_at_media(self, now: float) -> None:
        patience = self.config.recording.no_media_s
        waiting: dict[MediaProcess, list[tuple[LiveRecording, LiveLeg]]] = defaultdict(list)
        for live in self._calls.live.values():
            if live.media is None or live.end_ns is not None:
                continue
            for leg in live.legs:
                due = leg.active_since is not None and now - leg.active_since > patience
                if due and not leg.alarmed:
                    waiting[live.media.worker].append((live, leg))
        for worker, legs in waiting.items():
            rows, _ = worker.state.load(np.array([leg.spec.leg for _, leg in legs], np.int64))
            for (live, leg), last_ns in zip(legs, rows["last_ns"].tolist(), strict=True):
                if now - max(last_ns / 1e9, leg.active_since or 0) > patience:
                    self._no_media(live, leg, heard=bool(last_ns))

    def _no_media(self, live: LiveRecording, leg: LiveLeg, *, heard: bool) -> None:
        leg.alarmed = True
        source = leg.spec.remote
        where = f"{source[0]}:{source[1]}" if source else "an address that the SDP does not name"
        since = "no RTP any more" if heard else "no RTP at all"
        self._alarms(
            AlarmKind.NO_MEDIA,
            f"{since} for {self.config.recording.no_media_s} s on port {leg.pair.port}, expected from {where}; "
            "check the firewall and what the SBC forks",
            recording=live.id,
            leg=leg.id,
        )

    def _account(self, now: float) -> None:
        """Tell the account what running calls have written by now."""
        for live in self._calls.live.values():
            if live.answered_ns is None or live.end_ns is not None:
                continue
            channels = live.session.plan.channels if live.session.plan is not None else 2
            width = 1 if live.format == "wav-g711" else 2
            written = int((now - live.answered_ns / 1e9) * live.rate * channels * width)
            try:
                self._space.grow(live.id, written)
            except (OutOfSpace, StorageError) as exc:
                self._alarms(AlarmKind.DISK_LOW, str(exc), recording=live.id)

    def _look_at_roll_overs(self, now: float) -> None:
        """Journal the roll-over counters of encrypted calls that have risen."""
        if now < self._roll_over_due:
            return
        self._roll_over_due = now + ROLL_OVER_S
        for live in self._calls.live.values():
            if live.end_ns is None and note_indices(live):
                self._save(live)

    def _look_at_workers(self) -> None:
        """An alarm when a counter begins to grow; the count of a new worker begins at 0."""
        for worker in self._media.workers:
            for counter, (kind, text) in _COUNTERS.items():
                key, count = (worker.number, counter), worker.counters.get(counter, 0)
                grows = count > self._counts.get(key, 0)
                if grows and key not in self._growing:
                    self._alarms(kind, f"media worker {worker.number}: {text}")
                (self._growing.add if grows else self._growing.discard)(key)
                self._counts[key] = count

    def _look_at_catalog(self, now: float) -> None:
        """One alarm each time that the catalogue stays away."""
        fault = self._catalog_fault()
        if fault is None:
            self._away_since, self._away_said = None, False
            return
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since >= CATALOG_AWAY_S and not self._away_said:
            self._away_said = True
            self._alarms(
                AlarmKind.CATALOG_AWAY, f"{fault}; recording goes on, check catalog.url and the database"
            )
