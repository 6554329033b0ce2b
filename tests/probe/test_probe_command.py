"""`siprec probe` against a running recorder."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from siprec.cli import demo
from siprec.cli.main import run
from siprec.probe.pjsua_call import PjsuaCall
from siprec.probe.plan import CallPlan
from siprec.probe.target import Target
from siprec.sdp.crypto import SUITES
from tests.helpers.daemon import Daemon

REQUIRE_TOOLS = "SIPREC_REQUIRE_TOOLS"
"As in tests/conftest.py: what is missing fails the test instead of skipping it."

IMPAIRED = ("--loss", "5", "--reorder", "8", "--duplicate", "3")


def uri(daemon, transport="udp"):
    return f"sip:127.0.0.1:{daemon.ports[transport]}" + (";transport=tcp" if transport == "tcp" else "")


@pytest.mark.parametrize(
    "options",
    [
        ["--duration", "1"],
        ["--duration", "1", "--codec", "pcma", "--tunes", "--seed", "7"],
        ["--duration", "1", "--one-leg"],
        ["--duration", "1", "--one-leg", "--no-metadata"],
        ["--duration", "1", "--no-metadata"],
        ["--duration", "2", "--ssrc-change", "--dtmf", "4#"],
        ["--duration", "2", "--hold", "1"],
        ["--duration", "3", *IMPAIRED, "--hold", "1", "--ssrc-change", "--dtmf", "5"],
        *(["--duration", "1", "--srtp", suite] for suite in SUITES),
        [
            "--duration",
            "3",
            *IMPAIRED,
            "--hold",
            "1",
            "--ssrc-change",
            "--dtmf",
            "5",
            "--srtp",
            "AEAD_AES_256_GCM",
        ],
    ],
    ids=lambda options: " ".join(options),
)
def test_a_call_is_recorded_as_it_was_sent(daemon: Daemon, options: list[str]) -> None:
    outcome = daemon.command("probe", "--verify", uri(daemon), *options)
    assert (outcome.status, outcome.err) == (0, ""), outcome.out
    assert "everything that was sent is recorded" in outcome.out
    assert "WRONG" not in outcome.out


def test_over_tcp_and_for_programs(daemon: Daemon) -> None:
    outcome = daemon.command("probe", "--verify", "--json", "--duration", "1", uri(daemon, "tcp"))
    told = json.loads(outcome.out)
    assert (outcome.status, told["ok"], told["faults"]) == (0, True, [])
    assert [leg["right"] for leg in told["verify"]["legs"]] == [50, 50]
    shown = daemon.show(told["verify"]["recording"])
    assert shown["path"] == told["verify"]["path"]
    assert shown["dialogs"][0]["call_id"] == told["call_id"]


def test_without_verify_nothing_is_looked_for(daemon: Daemon) -> None:
    outcome = daemon.command("probe", "--json", "--duration", "0.2", uri(daemon))
    assert (outcome.status, json.loads(outcome.out)["verify"]) == (0, None)


def test_two_files_are_played_to_the_end_of_the_longer_one(daemon: Daemon, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    soundfile.write(str(tmp_path / "left.wav"), rng.normal(0, 0.1, (16000, 2)), 16000)
    soundfile.write(str(tmp_path / "right.flac"), rng.normal(0, 0.1, 4000), 8000)
    outcome = daemon.command(
        *("probe", "--verify", "--json", uri(daemon)),
        *("--left", str(tmp_path / "left.wav"), "--right", str(tmp_path / "right.flac")),
    )
    told = json.loads(outcome.out)
    assert (outcome.status, told["ok"]) == (0, True)
    assert [leg["audio_packets"] for leg in told["sent"]] == [50, 50]


def test_a_recording_that_cannot_be_found_is_a_failure(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("siprec.probe.search.FIND_S", 0.0)
    (tmp_path / "other.yaml").write_text("storage: {path: elsewhere}\n")
    status = run(["probe", "--verify", uri(daemon), "--duration", "0.1", "-c", str(tmp_path / "other.yaml")])
    assert status == 1
    assert "is that storage.path of the recorder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["http://127.0.0.1"], "is not sip:HOST:PORT"),
        (["sip:127.0.0.1;transport=tcp", "--transport", "udp"], "says transport tcp"),
        (["sip:127.0.0.1", "--codec", "opus"], "opus"),
        (["sip:127.0.0.1", "--loss", "200"], "loss of 200"),
        (["sip:127.0.0.1", "--srtp", "ROT13"], "ROT13"),
        (["sip:127.0.0.1", "--left", "a.wav"], "go together"),
        (["sip:127.0.0.1", "--client", "pjsua2", "--hold", "2"], "pjsua2 cannot do a hold"),
        ([], "Missing argument"),
    ],
)
def test_wrong_use_is_said_in_one_line(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["probe", *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_failed_call_is_said_in_one_line(free_port, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", f"sip:127.0.0.1:{free_port()}", "--transport", "tcp", "--duration", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot be reached" in err
    assert err.count("\n") == 1


def test_a_missing_file_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["probe", "sip:127.0.0.1", "--left", "none.wav", "--right", "none.wav"]) == 1
    assert "there is no file none.wav" in capsys.readouterr().err


def require_pjsua2() -> None:
    if importlib.util.find_spec("pjsua2") is None:
        reason = "pjsua2 is missing: pip install 'siprec[pjsua2]' (CPython 3.11 and 3.12 on x86-64 only)"
        if os.environ.get(REQUIRE_TOOLS):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("transport", "options"),
    [("udp", []), ("tcp", ["--codec", "pcma"]), ("udp", ["--one-leg"]), ("udp", ["--no-metadata"])],
    ids=["plain", "a-law over tcp", "one leg", "no metadata"],
)
def test_a_call_by_pjsua2_is_recorded_as_it_was_sent(
    daemon: Daemon, transport: str, options: list[str]
) -> None:
    require_pjsua2()
    outcome = daemon.command(
        *("probe", "--verify", "--client", "pjsua2", "--duration", "1", uri(daemon, transport), *options)
    )
    assert (outcome.status, outcome.err) == (0, ""), outcome.out


def test_a_call_by_pjsua2_that_is_refused_says_why(daemon: Daemon) -> None:
    require_pjsua2()
    daemon.control("drain")
    try:
        outcome = daemon.command("probe", "--client", "pjsua2", "--duration", "1", uri(daemon))
    finally:
        daemon.control("drain", undo=True)
    assert outcome.status == 1
    assert "INVITE was answered 503" in outcome.err


def test_without_its_wheel_pjsua2_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["probe", "sip:127.0.0.1", "--client", "pjsua2"]) == 1
    assert "pjsua2 is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "plan",
    [{"loss_pct": 1.0}, {"reorder": 1}, {"digits": "1"}, {"ssrc_change": True}, {"srtp": "AEAD_AES_128_GCM"}],
)
def test_what_pjsua2_cannot_do_is_refused_before_the_call(plan: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the client siprec can"):
        PjsuaCall(CallPlan(**plan), Target.parse("sip:127.0.0.1"))  # type: ignore[arg-type]


def test_the_demonstration_shows_levels_path_verdict_and_waveforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status = demo.main(1.6)
    out, _ = capsys.readouterr()
    assert status == 0, out
    levels = [line for line in out.splitlines() if "dB" in line]
    assert levels
    assert all("left" in line and "right" in line for line in levels)
    (path,) = [Path(line.split()[1]) for line in out.splitlines() if line.startswith("recorded")]
    assert path.is_relative_to(tmp_path)
    assert soundfile.info(str(path)).channels == 2
    assert "verdict   complete" in out
    assert "160 of 160 packets" in out
    picture = [line for line in out.splitlines() if any("⠁" <= char <= "⣿" for char in line)]
    assert len(picture) == 2 * demo.ROWS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demonstration_that_is_broken_off_leaves_neither_recorder_nor_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "siprec.cli.demo"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert "a recorder listens at" in process.stdout.readline()
        process.send_signal(number)
        process.stdout.read()  # to the end: nobody is left who could write
        assert process.wait(30) == 130
    assert list(tmp_path.iterdir()) == []
