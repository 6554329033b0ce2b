"""A probe call placed by pjsua2, a SIP stack written by others, in a process of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from siprec.probe.address import address_towards, resolve
from siprec.probe.answer import answer_of, faults_of_answer, faults_of_headers
from siprec.probe.errors import CallFailed, ProbeError
from siprec.probe.invite import CALLEE, CALLER, LABELS, REQUIRED, build_metadata
from siprec.probe.plan import CODECS, RATE, CallPlan
from siprec.probe.result import LegResult, ProbeResult
from siprec.probe.script import build_script
from siprec.probe.target import Target
from siprec.probe.voices import I16, sound_of_legs
from siprec.sdp.error import SdpError
from siprec.sdp.parser import parse_sdp
from siprec.sip.errors import SipParseError
from siprec.sip.message import Response
from siprec.sip.parser import parse_datagram
from siprec.sip.uri import format_host

REASON = "pjsua2 is not installed; its wheel exists for CPython 3.11 and 3.12 on x86-64: pip install 'siprec[pjsua2]'"
AFTER_S = 0.5
"From the end of the sound to BYE; pjsua2 starts its players some time after the answer."
_GRACE_S = 30.0
_HANG_UP_S = 3.0
_SILENCE = {"pcmu": 0, "pcma": 8}
"What digital silence becomes in G.711: pjsua2 sends it before and after the sound."
_OWN_ONLY = {
    "loss_pct": "loss",
    "reorder": "reordering",
    "duplicate_pct": "duplicates",
    "hold_s": "a hold",
    "digits": "digits",
    "ssrc_change": "a change of SSRC",
    "srtp": "SRTP",
}
"Parts of a plan that only our own client can carry out."


class PjsuaCall:
    """One call; the same interface as ProbeCall. Raises ValueError for a plan that pjsua2 cannot carry out."""

    def __init__(self, plan: CallPlan, target: Target, sound: Sequence[I16] | None = None) -> None:
        if asked := [name for field, name in _OWN_ONLY.items() if getattr(plan, field)]:
            raise ValueError(f"the client pjsua2 cannot do {', '.join(asked)}; the client siprec can")
        self.plan, self.target = plan, target
        self.script = build_script(plan, sound_of_legs(plan, sound))

    async def run(self) -> ProbeResult:
        """Place the call, play, end it. Raises ProbeError."""
        if importlib.util.find_spec("pjsua2") is None:
            raise ProbeError(REASON)
        remote = await resolve(self.target)
        with tempfile.TemporaryDirectory(prefix="siprec-probe-") as folder:
            files = [self._write(Path(folder, f"{number}.wav"), number) for number in range(self.plan.legs)]
            started_at = datetime.now(UTC)
            outcome = await _run_child(
                self._job(address_towards(remote), files), self.script.length_s + _GRACE_S
            )
        if "error" in outcome:
            raise CallFailed(str(outcome["error"]))
        return self._result(outcome, started_at)

    def _write(self, file: Path, leg: int) -> str:
        """The samples as G.711 makes them, which it makes of them again."""
        soundfile.write(str(file), self.script.legs[leg].samples.reshape(-1), RATE, subtype="PCM_16")
        return str(file)

    def _job(self, local: str, files: list[str]) -> dict[str, Any]:
        plan = self.plan
        return {
            "uri": self.target.uri,
            "transport": self.target.transport,
            "local": local,
            "from_uri": f"sip:siprec-probe@{format_host(local)}" if plan.metadata else CALLER.aor,
            "headers": REQUIRED,
            "metadata": build_metadata(plan, random.SystemRandom()).decode() if plan.metadata else None,
            "codec": CODECS[plan.codec][2],
            "labels": LABELS[: plan.legs],
            "files": files,
            "seconds": self.script.length_s + AFTER_S,
        }

    def _result(self, outcome: dict[str, Any], started_at: datetime) -> ProbeResult:
        return ProbeResult(
            call_id=outcome["call_id"],
            client="pjsua2",
            started_at=started_at,
            invited=outcome["invited"],
            answered=outcome["answered"],
            bye_sent=outcome["bye_sent"],
            bye_answered=outcome["bye_answered"],
            legs=[self._leg(number) for number in range(self.plan.legs)],
            mixed=self.plan.mixed,
            faults=_faults(outcome),
        )

    def _leg(self, number: int) -> LegResult:
        samples = self.script.legs[number].samples
        told = self.plan.metadata and not self.plan.mixed
        return LegResult(
            label=LABELS[number],
            channel=number,
            aor=(CALLER.aor, CALLEE.aor)[number] if told else None,
            samples=samples,
            sent=np.ones(len(samples), np.bool_),
            filled=_SILENCE[self.plan.codec],
        )


def _faults(outcome: dict[str, Any]) -> list[str]:
    """What is wrong with the answer that pjsua2 had."""
    try:
        response = parse_datagram(outcome["response"].encode())
        assert isinstance(response, Response)
        offer, answer = parse_sdp(outcome["offer"].encode()), answer_of(response)
    except (SipParseError, SdpError, ValueError) as error:
        return [str(error)]
    return faults_of_headers(response) + faults_of_answer(offer, answer)


async def _run_child(job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run pjsua2 in a process of its own. Raises ProbeError when it dies or does not end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "siprec.probe.pjsua_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, complaint = await child.communicate(json.dumps(job).encode())
    except TimeoutError:
        raise ProbeError(f"pjsua2 did not end within {timeout_s:.0f} s") from None
    finally:
        await _end(child)
    try:
        outcome: dict[str, Any] = json.loads(out)
    except ValueError:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise ProbeError(f"pjsua2 died with status {child.returncode}: {''.join(last)}") from None
    return outcome


async def _end(child: asyncio.subprocess.Process) -> None:
    """If it still runs, let it hang up, and do not wait for long."""
    if child.returncode is None:
        child.terminate()
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
