"""The outcome of a verification, and how it is written for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siprec.probe.result import ProbeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: whether it is right, and what was found."""

    name: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegReport:
    """How one leg was recorded."""

    label: str | None
    channel: int
    packets: int
    "Audio packets that were sent."
    right: int
    "Of these, recorded sample by sample at their place."
    stray: int
    "Samples that are not silent where nothing was sent."
    offset_ms: float | None
    "Where in the file the leg's first packet stands; None when its sound is not there."


@dataclass(slots=True, kw_only=True)
class VerifyReport:
    """All checks of one recording."""

    recording: str
    audio: Path
    verdict: str
    "The recorder's."
    legs: list[LegReport] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Everything is right."""
        return all(check.ok for check in self.checks)

    @property
    def problem(self) -> str | None:
        """The first thing that is wrong."""
        return next((f"{check.name}: {check.text}" for check in self.checks if not check.ok), None)


def call_lines(result: ProbeResult) -> Iterator[str]:
    """A call for people."""
    yield f"call       {result.call_id}"
    yield f"answered   after {result.setup_ms:.0f} ms, BYE after {result.bye_sent - result.answered:.2f} s"
    for leg in result.legs:
        counted = [f"{int(leg.sent.sum())} audio packets"]
        if leg.packets is not None and (others := leg.packets - int(leg.sent.sum())):
            counted.append(f"{others} of keys {leg.digits}")
        for count, name in ((leg.lost, "lost"), (leg.duplicates, "doubled")):
            if count:
                counted.append(f"{count} {name}")
        yield f"sent       leg {leg.label or '-'}: {', '.join(counted)}"
    if result.client == "siprec":
        yield f"pacing     at most {result.max_late_ms:.1f} ms late; {result.rtcp_received} RTCP packets came back"
    for fault in result.faults:
        yield f"fault      {fault}"


def report_lines(report: VerifyReport) -> Iterator[str]:
    """A verification for people: a line a leg, a line a check, the verdict."""
    yield f"recording  {report.recording}"
    yield f"file       {report.audio}"
    for leg in report.legs:
        where = "not found" if leg.offset_ms is None else f"at {leg.offset_ms:.3f} ms"
        yield (
            f"leg {leg.label or '-':<6} channel {leg.channel}, {where}: "
            f"{leg.right} of {leg.packets} packets sample by sample, {leg.stray} stray samples"
        )
    for check in report.checks:
        yield f"{'ok' if check.ok else 'WRONG':<10} {check.name}: {check.text}"
    yield f"verdict    {'everything that was sent is recorded, at its place' if report.ok else 'NOT AS SENT'}"


def as_json(result: ProbeResult, report: VerifyReport | None) -> dict[str, Any]:
    """Call and verification as one object."""
    return {
        "ok": not result.faults and (report is None or report.ok),
        "call_id": result.call_id,
        "client": result.client,
        "setup_ms": round(result.setup_ms, 1),
        "duration_s": round(result.bye_sent - result.answered, 3),
        "max_late_ms": round(result.max_late_ms, 1),
        "rtcp_received": result.rtcp_received,
        "faults": result.faults,
        "sent": [
            {
                "label": leg.label,
                "audio_packets": int(leg.sent.sum()),
                "packets": leg.packets,
                "lost": leg.lost,
                "duplicates": leg.duplicates,
                "digits": leg.digits,
            }
            for leg in result.legs
        ],
        "verify": None if report is None else _verification(report),
    }


def _verification(report: VerifyReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "problem": report.problem,
        "recording": report.recording,
        "path": str(report.audio),
        "verdict": report.verdict,
        "legs": [
            {
                "label": leg.label,
                "channel": leg.channel,
                "packets": leg.packets,
                "right": leg.right,
                "stray_samples": leg.stray,
                "offset_ms": leg.offset_ms,
            }
            for leg in report.legs
        ],
        "checks": [{"name": check.name, "ok": check.ok, "text": check.text} for check in report.checks],
    }
