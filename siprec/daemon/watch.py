"""Once a second: legs without media, space that calls use up, signs of life of the workers."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from siprec.config import Config
from siprec.daemon.alarm import AlarmKind, Alarms
from siprec.daemon.calls import Calls
from siprec.daemon.live import LiveLeg, LiveRecording
from siprec.media.supervisor import MediaProcess, MediaSupervisor
from siprec.storage.fileops import StorageError
from siprec.storage.space import OutOfSpace, SpaceAccount

PERIOD_S = 1.0
BEAT_LATE_S = 10.0
"A worker that has said nothing for this long does not live."


class Watch:
    """Looks at everything that runs, and raises alarms."""

    def __init__(
        self,
        config: Config,
        calls: Calls,
        media: MediaSupervisor,
        space: SpaceAccount,
        alarms: Alarms,
    ) -> None:
        self.config = config
        self._calls, self._media, self._space, self._alarms = calls, media, space, alarms

    def look(self, now: float) -> None:
        """now: monotonic seconds."""
        self._look_at_media(now)
        self._account(now)

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
        live.event(time.monotonic_ns(), "no_media", leg=leg.id)
        source = leg.spec.remote
        where = f"{source[0]}:{source[1]}" if source else "an address that the SDP does not name"
        since = "no RTP any more" if heard else "no RTP at all"
        self._alarms(
            AlarmKind.NO_MEDIA,
            f"leg {leg.id}: {since} for {self.config.recording.no_media_s} s on port {leg.pair.port}, expected from {where}; "
            "check the firewall and what the SBC forks",
            recording=live.id,
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
