"""What commands can ask of a running daemon over the control socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from siprec.daemon.calls import Calls
from siprec.daemon.control import ControlRequest, Handler
from siprec.daemon.live import LiveLeg, LiveRecording
from siprec.daemon.redecoded import TakeOver

log = logging.getLogger("siprec.daemon")


class Commands:
    """Handlers for the control socket."""

    def __init__(self, calls: Calls, why_not: Callable[[], str | None], take_over: TakeOver) -> None:
        """why_not: why a call could not be recorded now; None if it could."""
        self._calls, self._why_not, self._take_over = calls, why_not, take_over

    def handlers(self) -> dict[str, Handler]:
        """By the name of the command."""
        return {
            "status": self._status,
            "top": self._top,
            "drain": self._drain,
            "redecoded": self._take_over.handle,
        }

    async def _status(self, _: ControlRequest) -> object:
        calls = self._calls
        return {
            "calls": len(calls.by_dialog),
            "open": len(calls.live) + len(calls.admitting),
            "admitted": calls.admitted,
            "refused": dict(calls.refused),
            "draining": calls.draining,
            "capacity": calls.capacity.calls,
            "not_ready": self._why_not(),
        }

    async def _top(self, _: ControlRequest) -> object:
        calls, now = self._calls, time.monotonic_ns()
        found = []
        for live in list(calls.live.values()):
            if live.end_ns is None:
                found.append(_call(live, now))
                await asyncio.sleep(0)  # thousands of calls: signalling has its turn
        return {"calls": found, "capacity": calls.capacity.calls, "draining": calls.draining}

    async def _drain(self, request: ControlRequest) -> object:
        undo = bool(request.args.get("undo", False))
        if self._calls.draining == undo:
            log.info("%s, by user %d", "taking calls again" if undo else "draining", request.peer.uid)
        self._calls.draining = not undo
        return await self._status(request)


def _call(live: LiveRecording, now_ns: int) -> dict[str, Any]:
    since = live.answered_ns or live.opened_ns
    return {
        "id": live.id,
        "started_at": live.started.isoformat(),
        "duration_s": round(((live.end_ns or now_ns) - since) / 1e9, 1),
        "participants": [{"aor": aor, "name": name} for aor, name in live.participants],
        "path": str(live.audio),
        "legs": [_leg(live, leg) for leg in live.legs],
    }


def _leg(live: LiveRecording, leg: LiveLeg) -> dict[str, Any]:
    people = leg.planned.participants if leg.planned is not None else ()
    level = live.media.worker.level(leg.spec.leg) if live.media is not None else None
    return {
        "leg": leg.id,
        "channel": leg.spec.channel,
        "label": leg.label,
        "role": leg.planned.role.value if leg.planned is not None else "unknown",
        "participants": [{"aor": party.aor, "name": party.name or None} for party in people],
        "port": leg.pair.port,
        "active": leg.spec.active,
        "level_db": round(level, 1) if level is not None else None,
    }
