"""What a call sent, worked out from its script and the packets that really went out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from siprec.probe.invite import CALLEE, CALLER, LABELS
from siprec.probe.plan import CallPlan
from siprec.probe.result import LegResult
from siprec.probe.script import CallScript, LegScript, Packet


def leg_results(plan: CallPlan, script: CallScript, sent: Sequence[Packet]) -> list[LegResult]:
    """One result a leg. sent: in any order."""
    return [
        _leg(plan, script, leg, number, [packet for packet in sent if packet.leg == number])
        for number, leg in enumerate(script.legs)
    ]


def _leg(
    plan: CallPlan, script: CallScript, leg: LegScript, number: int, sent: Sequence[Packet]
) -> LegResult:
    arrived = np.zeros(script.slots, np.bool_)
    arrived[[packet.slot for packet in sent if packet.audio]] = True
    once = [packet for packet in sent if not packet.repeated]
    planned = [packet for packet in script.packets if packet.leg == number and not packet.repeated]
    return LegResult(
        label=LABELS[number],
        channel=number,
        aor=None if plan.mixed else (CALLER.aor, CALLEE.aor)[number],
        samples=leg.samples,
        sent=arrived,
        starts=tuple(segment.slot for segment in leg.segments),
        packets=len(once),
        lost=_missing_between(leg, planned, {packet.data for packet in once}),
        missing=len({packet.data for packet in once}) < len(planned),
        duplicates=len(sent) - len(once),
        digits=plan.digits if number == 0 else "",
    )


def _missing_between(leg: LegScript, planned: Sequence[Packet], sent: set[bytes]) -> int:
    """Packets that a receiver misses by sequence numbers: what lies before the first or behind the last it cannot know."""
    missing = 0
    for segment in leg.segments:
        there = [
            packet.data in sent
            for packet in sorted(planned, key=lambda packet: packet.slot)
            if leg.segment(packet.slot) is segment
        ]
        if any(there):
            inside = there[there.index(True) : len(there) - there[::-1].index(True)]
            missing += inside.count(False)
    return missing
