"""How many calls a core records: `make bench`.

Starts a recorder with one media worker, places two-leg G.711 calls at a rate, holds them, ends them, and checks every
recording sample by sample. Then places fewer calls at a higher rate, to see how long set-ups take. Prints a table and
writes benchmarks/results/calls.json.

With --codec, or with what a network does to packets, loops of speech are sent instead; then each recording's length, losses,
verdict and likeness to what was sent are checked, set-ups are not measured, and the result is calls-CODEC.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks import looped, machine
from benchmarks.load_generator import Options
from benchmarks.rtp_sender import FRAME, TABLE, voice_table
from siprec.codecs import g711
from siprec.daemon.control_client import ControlClient
from tests.helpers.encoders import CODECS

RESULTS = Path(__file__).parent / "results"
_READY_S = 2.0
"Time for the start to be over before memory and processor are read."
_SETUP_HOLD_S = 2.0


def main() -> int:
    """Run it once; 0 when every recording of an answered call is right and no packet was lost."""
    options = parser().parse_args()
    if way := way_of(options):
        return _looped(options, way)
    options.output = options.output or RESULTS / "calls.json"
    held = _measured(options.calls, options.rate, options.hold)
    setups = _measured(options.setups, options.setup_rate, _SETUP_HOLD_S)
    result = _report(options, held, setups)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    _print(result)
    return 0 if all(_is_whole(one) for one in (held, setups)) else 1


def parser() -> argparse.ArgumentParser:
    """The options of a run."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--calls", type=int, default=1000)
    made.add_argument("--rate", type=float, default=50.0, help="at which they are placed, a second")
    made.add_argument("--hold", type=float, default=30.0, help="seconds for which all calls are held")
    made.add_argument("--setups", type=int, default=400, help="calls by which set-ups are measured")
    made.add_argument("--setup-rate", type=float, default=200.0, help="at which those are placed, a second")
    made.add_argument(
        "--codec",
        type=_codec,
        help="as opus, speex/16000, AMR-WB; PCMU+opus: one for each leg",
    )
    made.add_argument("--loss", type=float, default=0.0, help="packets that are left out, in percent")
    made.add_argument("--reorder", type=float, default=0.0, help="packets that come 25 ms late, in percent")
    made.add_argument("--jitter", type=float, default=0.0, help="each packet is late by 0 to so many ms")
    made.add_argument("--dtx", action="store_true", help="pauses are not sent")
    made.add_argument("--srtp", action="store_true", help="AES_CM_128_HMAC_SHA1_80, keys in the SDP")
    made.add_argument("-o", "--output", type=Path)
    return made


def _codec(text: str) -> str:
    """A codec, or one for each leg, that a loop can be made of. Raises ArgumentTypeError."""
    for codec in text.split("+"):
        name, slash, rate = codec.partition("/")
        if name not in CODECS or (slash and not (name in ("L16", "speex") and rate.isdecimal())):
            raise argparse.ArgumentTypeError(f"{codec!r} is none of {', '.join(CODECS)}")
    if text.count("+") > 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a call has two legs")
    return text


def way_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the generator is told of codecs and the network; empty for plain G.711."""
    way = {
        "loss_pct": options.loss,
        "reorder_pct": options.reorder,
        "jitter_ms": options.jitter,
        "dtx": options.dtx,
        "srtp": options.srtp,
    }
    if options.codec in (None, "PCMU") and not any(way.values()):
        return {}
    codecs = (options.codec or "PCMU").split("+")
    return {"codecs": codecs if len(codecs) == 2 else codecs * 2, **way}


def _looped(options: argparse.Namespace, way: dict[str, Any]) -> int:
    """A run with loops; 0 when every recording is as it should be."""
    run = _measured(options.calls, options.rate, options.hold, way)
    flags = [
        f"--{name} {value:g}" for name in ("loss", "reorder", "jitter") if (value := getattr(options, name))
    ]
    flags += [f"--{name}" for name in ("dtx", "srtp") if getattr(options, name)]
    codec = options.codec or "PCMU"
    command = (
        f"python -m benchmarks.calls --codec {codec} --calls {options.calls} --rate {options.rate:g} "
        f"--hold {options.hold:g}"
    )
    result = {
        "command": " ".join([command, *flags]),
        "machine": machine.description(),
        "receive": "udp",
        "codec": codec,
        **run,
    }
    name = "-".join(["calls", codec.replace("/", "-"), *(flag.strip("-").replace(" ", "") for flag in flags)])
    output = options.output or RESULTS / f"{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    _print(result)
    return 0 if run["recordings_verified"] == run["calls"] else 1


def _is_whole(run: dict[str, Any]) -> bool:
    answered = run["calls"] - run["setups_failed"]
    return run["recordings_verified"] == answered and run["packets_recorded"] == run["packets_sent"]


def _report(options: argparse.Namespace, held: dict[str, Any], setups: dict[str, Any]) -> dict[str, Any]:
    """Both runs as one result: what calls cost by the first one, set-ups by the second one."""
    command = (
        f"python -m benchmarks.calls --calls {options.calls} --rate {options.rate:g} --hold {options.hold:g} "
        f"--setups {options.setups} --setup-rate {options.setup_rate:g}"
    )
    figures = {name: value for name, value in held.items() if not name.startswith("setup")}
    return {
        "command": command,
        "machine": machine.description(),
        "receive": "udp",
        **figures,
        "placed_per_s": options.rate,
        "placed_p99_ms": held["setup_p99_ms"],
        "refused": held["setups_failed"],
        "setups": options.setups,
        "setups_verified": setups["recordings_verified"],
        **{name: value for name, value in setups.items() if name.startswith("setup")},
        "setups_per_s": options.setup_rate,
        "setups_generator_late_rounds": setups["generator_late_rounds"],
    }


def _measured(calls: int, rate: float, hold_s: float, way: dict[str, Any] | None = None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="siprec-bench-") as folder:
        return measure(Path(folder), calls, rate, hold_s, way or {})


def measure(folder: Path, calls: int, rate: float, hold_s: float, way: dict[str, Any]) -> dict[str, Any]:
    """One run in `folder`. way: what the generator is told of codecs and the network."""
    port, metrics = _free_port(), _free_port()
    config = folder / "siprec.yaml"
    config.write_text(
        f"sip: {{listen: ['udp://127.0.0.1:{port}']}}\n"
        f"rtp: {{workers: 1, ports: 10000-{9999 + max(400, 4 * calls + 400)}}}\n"
        "storage: {reserve_mb_per_call: 1, low_water_mb: 0}\n"
        f"metrics: {{listen: '127.0.0.1:{metrics}'}}\nlog: {{level: warning}}\n"
    )
    recorder = subprocess.Popen(
        [Path(sys.executable).parent / "siprec", "serve", "-c", config], stdout=subprocess.PIPE
    )
    try:
        assert recorder.stdout is not None
        for _ in range(3):
            recorder.stdout.readline()  # it is ready when it has said where to call
        time.sleep(_READY_S)
        return _run(folder, recorder.pid, port, calls, rate, hold_s, way)
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait(60)


def _run(
    folder: Path, pid: int, port: int, calls: int, rate: float, hold_s: float, way: dict[str, Any]
) -> dict[str, Any]:
    pids = machine.children(pid)
    base = machine.pss_bytes(pids)
    options = {"host": "127.0.0.1", "port": port, "calls": calls, "rate": rate, "hold_s": hold_s, **way}
    generator = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load_generator", json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert generator.stdout is not None
    up = json.loads(generator.stdout.readline())
    began, cpu, whole = time.monotonic(), machine.cpu_seconds(pids), machine.machine_cpu_seconds()
    held = json.loads(generator.stdout.readline())
    seconds = time.monotonic() - began
    cores = (machine.cpu_seconds(pids) - cpu) / seconds
    system = (machine.machine_cpu_seconds() - whole) / seconds
    used = machine.pss_bytes(pids)
    down = json.loads(generator.stdout.readline())
    generator.wait(30)
    _wait_until_written(folder)
    if way:
        checked = looped.verify(folder / "recordings", down["calls"], Options(**options).loops())
    else:
        checked = verify(folder / "recordings", down["calls"])
    answered = max(1, calls - up["failed"])
    return {
        "calls": calls,
        **checked,
        "cores_per_1000_calls": round(cores * 1000 / answered, 3),
        "system_cores": round(system, 3),
        "rss_per_call_bytes": (used - base) // answered,
        "rss_base_bytes": base,
        "setup_p50_ms": round(statistics.median(up["setup_s"]) * 1000, 2),
        "setup_p99_ms": round(float(np.percentile(up["setup_s"], 99)) * 1000, 2),
        "setups_failed": up["failed"],
        "generator_late_rounds": held["late"],
        "generator_send_errors": down["errors"],
    }


def _wait_until_written(folder: Path) -> None:
    give_up = time.monotonic() + 60
    with ControlClient(folder / "siprec.sock") as client:
        while client.call("status")["open"] and time.monotonic() < give_up:
            time.sleep(0.2)


def verify(recordings: Path, calls: list[dict[str, Any]]) -> dict[str, int]:
    """Compare every recording with what was sent, sample by sample, and its document with what was counted."""
    voice = g711.ULAW[voice_table()[:TABLE]]
    documents = [json.loads(path.read_text()) for path in recordings.rglob("recording.json")]
    by_call = {document["dialogs"][0]["call_id"]: document for document in documents}
    verified = recorded = 0
    for call in calls:
        document = by_call.get(call["call_id"])
        if document is None:
            continue
        recorded += sum(leg["packets"] for leg in document["legs"])
        verified += _is_right(document, call, voice)
    sent = sum(sum(call["sent"]) for call in calls)
    return {"packets_sent": sent, "packets_recorded": recorded, "recordings_verified": verified}


def _is_right(document: dict[str, Any], call: dict[str, Any], voice: np.ndarray) -> bool:
    audio, rate = soundfile.read(document["path"], dtype="int16", always_2d=True)
    if rate != 8000 or audio.shape[1] != 2 or document["verdict"]["result"] != "complete":
        return False
    for channel in (0, 1):
        length = call["sent"][channel] * FRAME
        wanted = voice[(call["first"][channel] + np.arange(length)) % TABLE]
        start = _find(audio[:, channel], wanted)
        if start < 0 or audio[:start, channel].any() or audio[start + length :, channel].any():
            return False
    return True


def _find(audio: np.ndarray, wanted: np.ndarray) -> int:
    """Where `wanted` stands in `audio`; -1 if it does not, sample by sample."""
    for start in np.flatnonzero(audio[: max(0, len(audio) - len(wanted) + 1)] == wanted[0]).tolist():
        if (audio[start : start + len(wanted)] == wanted).all():
            return int(start)
    return -1


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _print(result: dict[str, Any]) -> None:
    width = max(len(name) for name in result)
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    sys.exit(main())
