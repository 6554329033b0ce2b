"""`make demo`: a recorder of its own records one test call of two tunes while its levels are shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from siprec.cli.top import level
from siprec.daemon.control_client import ControlClient, DaemonAwayError
from siprec.probe import CallPlan, ProbeCall, ProbeError, ProbeResult, Target, verify, wait_for_recording
from siprec.probe.report import VerifyReport
from siprec.probe.voices import tunes
from siprec.storage.waveform import draw_text, read_peaks

SECONDS = 6.0
PERIOD_S = 0.5
"Between two looks at the levels."
START_S, STOP_S = 30.0, 20.0
WIDTH, ROWS = 72, 3
"Of a waveform, in characters."
SIDES = ("left ", "right")

_SIPREC = Path(sys.executable).with_name("siprec")
_TARGET = re.compile(r"'(sip:[^']+)'")
_CONFIGURATION: dict[str, dict[str, Any]] = {
    "sip": {"listen": ["udp://127.0.0.1:0"]},
    "rtp": {"workers": 1},
    "storage": {"low_water_mb": 0},
    "metrics": {"listen": None},
    "log": {"level": "warning"},
}


def main(seconds: float = SECONDS) -> int:
    """Run the demonstration with a call of so many seconds; returns the exit status.

    The folder with the recording stays, for whoever wants to listen to it; without a recording it is removed.
    """
    folder, report = Path(tempfile.mkdtemp(prefix="siprec-demo-")), None
    try:
        with _recorder(folder) as target:
            print(f"a recorder listens at {target}; a test call plays two tunes to it for {seconds:.0f} s\n")
            report = asyncio.run(_record(folder, target, seconds))
    except (ProbeError, DaemonAwayError) as error:
        print(f"siprec: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if report is None:
            shutil.rmtree(folder, ignore_errors=True)
    _show(report)
    return 0 if report.ok else 1


@contextlib.contextmanager
def _recorder(folder: Path) -> Iterator[str]:
    """`siprec serve` with everything it has in `folder`; gives the SIP URI to call. Raises ProbeError."""
    file = folder / "siprec.yaml"
    file.write_text(json.dumps(_CONFIGURATION))  # JSON is YAML
    process = subprocess.Popen([_SIPREC, "serve", "-c", file], stdout=subprocess.PIPE, text=True)
    try:
        yield _greeting(process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _greeting(process: subprocess.Popen[str]) -> str:
    """The address that the recorder's third line names. It prints three and no more, or ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := _TARGET.search(line):
            return found[1]
    raise ProbeError(f"the recorder did not start (status {process.wait()}); what it said stands above")


async def _record(folder: Path, target: str, seconds: float) -> VerifyReport:
    plan = CallPlan(duration_s=seconds)
    call = ProbeCall(plan, Target.parse(target), tunes(seconds, seed=plan.seed))
    watching = asyncio.create_task(_watch(folder / "siprec.sock"))
    try:
        result: ProbeResult = await call.run()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    recording, _ = await wait_for_recording(folder / "recordings", result.call_id, since=result.started_at)
    return verify(result, recording)


async def _watch(socket: Path) -> None:
    """Print the levels of both channels, again and again."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(PERIOD_S)
        for call in await asyncio.to_thread(_calls, socket):
            levels = sorted((leg["channel"], level(leg)) for leg in call["legs"])
            line = "   ".join(f"{SIDES[channel]} {text}" for channel, text in levels)
            print(f"{time.monotonic() - began:4.1f} s   {line}", flush=True)


def _calls(socket: Path) -> list[dict[str, Any]]:
    with ControlClient(socket) as daemon:
        return cast(dict[str, Any], daemon.call("top"))["calls"]  # type: ignore[no-any-return]


def _show(report: VerifyReport) -> None:
    print(f"\nrecorded  {report.audio}")
    print(f"verdict   {report.verdict}, says the recorder", end="; ")
    packets = sum(leg.packets for leg in report.legs)
    right = sum(leg.right for leg in report.legs)
    print(f"{right} of {packets} packets are in the file sample by sample" if report.ok else report.problem)
    peaks = read_peaks(report.audio, 2 * WIDTH)
    for channel in range(peaks.channels):
        for row, line in enumerate(draw_text(peaks, channel, rows=ROWS)):
            print(f"{SIDES[channel] if row == ROWS // 2 else '     '}  {line}")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the recorder ends too
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
