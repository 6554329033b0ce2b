"""What `siprec probe` does with its options: files, plan, call, outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from siprec.cli.errors import CommandError
from siprec.probe import (
    CallPlan,
    PjsuaCall,
    ProbeCall,
    ProbeError,
    ProbeResult,
    Target,
    VerifyReport,
    verify,
    wait_for_recording,
)
from siprec.probe.plan import MAX_DURATION_S, RATE
from siprec.probe.report import as_json as in_json
from siprec.probe.report import call_lines, report_lines
from siprec.probe.sound_file import load
from siprec.probe.voices import I16, tunes

Call = ProbeCall | PjsuaCall
Sound = tuple[I16, I16]

DEFAULT_S = 5.0


def sound_files(left: Path | None, right: Path | None, seconds: float | None) -> Sound | None:
    """What the two files hold; None for none. Raises BadParameter for one without the other, CommandError."""
    if left is None and right is None:
        return None
    if left is None or right is None:
        raise typer.BadParameter("--left and --right go together")
    most = MAX_DURATION_S if seconds is None else seconds
    try:
        return load(left, seconds=most), load(right, seconds=most)
    except ProbeError as error:
        raise CommandError(str(error)) from None


def planned(seconds: float | None, sound: Sound | None, values: Mapping[str, Any]) -> CallPlan:
    """The plan; without `seconds` it is as long as the longer file. Raises BadParameter."""
    if seconds is None:
        seconds = DEFAULT_S if sound is None else max(voice.size for voice in sound) / RATE
    try:
        return CallPlan(duration_s=seconds, **values)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def prepared(
    plan: CallPlan, target: str, transport: str | None, sound: Sound | None, *, tune: bool, pjsua2: bool
) -> Call:
    """The call, ready to be placed. Raises BadParameter."""
    if tune and sound is not None:
        raise typer.BadParameter("--tunes and sound files exclude each other")
    try:
        to = Target.parse(target, transport=transport)
        played = tunes(plan.duration_s, seed=plan.seed) if tune else sound
        return PjsuaCall(plan, to, played) if pjsua2 else ProbeCall(plan, to, played)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def place(call: Call, root: Path | None, *, as_json: bool) -> None:
    """Place the call, verify its recording under `root` unless that is None, and print what came of it.

    Raises CommandError when anything is not as it should be.
    """
    try:
        result, report = asyncio.run(_run(call, root))
    except ProbeError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print(json.dumps(in_json(result, report), indent=1))
    else:
        print(*call_lines(result), *(report_lines(report) if report is not None else ()), sep="\n")
    if result.faults:
        raise CommandError(f"the recorder's answer is wrong: {result.faults[0]}")
    if report is not None and report.problem is not None:
        raise CommandError(f"not recorded as sent: {report.problem}")


async def _run(call: Call, root: Path | None) -> tuple[ProbeResult, VerifyReport | None]:
    result = await call.run()
    if root is None:
        return result, None
    folder, _ = await wait_for_recording(root, result.call_id, since=result.started_at)
    return result, verify(result, folder)
