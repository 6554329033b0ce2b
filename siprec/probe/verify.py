"""Compares a recording with what was sent: sample by sample, place, length, and what the recorder says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from siprec.probe.claims import check_claims, verdict_text
from siprec.probe.compare import I16, Comparison, compare
from siprec.probe.errors import ProbeError
from siprec.probe.plan import FRAME_S, RATE
from siprec.probe.report import Check, LegReport, VerifyReport
from siprec.probe.result import LegResult, ProbeResult
from siprec.storage.document import read_document
from siprec.storage.layout import AUDIO
from siprec.storage.model import DocumentError, Recording
from siprec.storage.samples import AudioError, audio_info, read_blocks

TOLERANCE_S = FRAME_S
"How far legs may stand apart, and a recording's length may be off: one packet."
PACING_MS = 300.0
"A packet that leaves later than this may be too late for any recorder."


def verify(result: ProbeResult, folder: Path, *, tolerance_s: float = TOLERANCE_S) -> VerifyReport:
    """Check the recording in `folder`. Raises ProbeError when it has no document or no audio that can be read."""
    try:
        recording = read_document(folder)
        samples = _read(folder / AUDIO)
    except (DocumentError, AudioError, OSError) as error:
        raise ProbeError(f"the recording in {folder} cannot be read: {error}") from None
    report = VerifyReport(
        recording=recording.id,
        audio=folder / AUDIO,
        verdict=verdict_text(recording),
    )
    report.checks += [*_pacing(result), *check_claims(result, recording)]
    channels = 1 if result.mixed and len(samples) == 1 else 2
    report.checks.append(
        Check(name="channels", ok=len(samples) == channels, text=f"{len(samples)} of {RATE} Hz")
    )
    if len(samples) == channels:
        _check_sound(result, samples, report, tolerance_s)
    report.checks.append(_length(result, recording, samples.shape[1], tolerance_s))
    return report


def _pacing(result: ProbeResult) -> Iterator[Check]:
    """Says first when the test was unfair."""
    if result.max_late_ms > PACING_MS:
        text = (
            f"packets left up to {result.max_late_ms:.0f} ms late; this machine is too busy for a fair test"
        )
        yield Check(name="pacing", ok=False, text=text)


def _read(path: Path) -> I16:
    """int16[channels, frames]. Raises AudioError."""
    info = audio_info(path)
    if info.rate != RATE:
        raise AudioError(f"{path}: {info.rate} Hz, and {RATE} Hz were sent")
    return np.concatenate([np.zeros((0, info.channels), np.int16), *read_blocks(path)]).T


def _check_sound(result: ProbeResult, samples: I16, report: VerifyReport, tolerance_s: float) -> None:
    compared = [compare(np.ascontiguousarray(samples[leg.channel]), leg) for leg in result.legs]
    for leg, comparison in zip(result.legs, compared, strict=True):
        report.legs.append(_leg_report(leg, comparison))
        report.checks += _leg_checks(leg, comparison, samples, tolerance_s)
    used = {leg.channel for leg in result.legs}
    for channel in set(range(len(samples))) - used:
        loud = int(np.count_nonzero(samples[channel]))
        report.checks.append(
            Check(name=f"channel {channel}", ok=not loud, text=f"{loud} samples on it that nobody sent")
        )
    if (apart := _apart(result.legs, compared)) is not None:
        text = f"the legs stand {apart * 1000:.2f} ms from where they belong towards each other"
        report.checks.append(Check(name="alignment", ok=apart <= tolerance_s, text=text))


def _apart(legs: list[LegResult], compared: list[Comparison]) -> float | None:
    """Seconds between the legs that were not between them when they were sent; None if there are not two."""
    starts = [
        comparison.offsets[0] / RATE - leg.first_late_s
        for leg, comparison in zip(legs, compared, strict=True)
        if comparison.offsets[0] is not None
    ]
    return max(starts) - min(starts) if len(starts) > 1 else None


def _leg_report(leg: LegResult, found: Comparison) -> LegReport:
    first = found.offsets[0]
    return LegReport(
        label=leg.label,
        channel=leg.channel,
        packets=int(leg.sent.sum()),
        right=found.right,
        stray=found.stray,
        offset_ms=None if first is None else first * 1000 / RATE,
    )


def _leg_checks(leg: LegResult, found: Comparison, samples: I16, tolerance_s: float) -> Iterator[Check]:
    name = f"sound of leg {leg.label or leg.channel + 1}"
    if not found.found:
        yield Check(name=name, ok=False, text=_whereabouts(leg, samples))
        return
    packets = int(leg.sent.sum())
    text = f"{found.right} of {packets} packets are there sample by sample"
    if found.wrong:
        text += f"; the first that is not was sent at {found.wrong[0] * FRAME_S:.2f} s"
    yield Check(name=name, ok=not found.wrong and packets > 0, text=text)
    text = f"{found.stray} samples that are no silence"
    if found.first_stray_s is not None:
        text += f", the first at {found.first_stray_s:.3f} s of the file"
    yield Check(name=f"silence of leg {leg.label or leg.channel + 1}", ok=not found.stray, text=text)
    if found.shifts:
        worst = max(found.shifts, key=abs) / RATE
        yield Check(
            name=f"SSRC change of leg {leg.label or leg.channel + 1}",
            ok=abs(worst) <= tolerance_s,
            text=f"goes on {worst * 1000:.2f} ms from where it should",
        )


def _whereabouts(leg: LegResult, samples: I16) -> str:
    for channel in range(len(samples)):
        if channel != leg.channel and compare(np.ascontiguousarray(samples[channel]), leg).found:
            return f"it is on channel {channel}, not on channel {leg.channel}"
    return f"not found on channel {leg.channel}"


def _length(result: ProbeResult, recording: Recording, frames: int, tolerance_s: float) -> Check:
    """A recording lasts from 200 OK to BYE. The probe saw both from outside, so it knows a shortest and a longest time.

    A leg that began late ends late: its last packets belong behind the BYE.
    """
    seconds = frames / RATE
    behind = max([0.0, *(leg.first_late_s for leg in result.legs)]) + tolerance_s
    shortest, longest = result.bye_sent - result.answered, result.bye_answered - result.invited
    told = recording.duration_s
    within = shortest - tolerance_s <= seconds <= longest + behind
    agrees = told is not None and -tolerance_s <= seconds - told <= behind
    text = f"{seconds:.3f} s, the call took {shortest:.3f} to {longest:.3f} s"
    if not agrees:
        text += f"; the document says {told} s"
    return Check(name="length", ok=within and agrees, text=text)
