"""Exit status and messages that all commands share."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Siprec = Any


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_help_names_the_commands(siprec: Siprec, args: tuple[str, ...]) -> None:
    outcome = siprec(*args)
    assert outcome.status == 0
    for command in ("ls", "show", "export", "check-config"):
        assert command in outcome.out


def test_the_version_is_printed(siprec: Siprec) -> None:
    outcome = siprec("--version")
    assert outcome.status == 0
    assert outcome.out.startswith("siprec 0.")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("frobnicate",), "frobnicate"),
        (("ls", "--limt", "3"), "--limt"),
        (("ls", "--limit", "0"), "--limit"),
        (("ls", "--state", "lost"), "'lost' is none of recording, ended"),
        (("ls", "--verdict", "fine"), "'fine' is none of complete, incomplete, unverifiable"),
        (("ls", "--since", "noon"), "'noon' is not an RFC 3339 time"),
        (("show",), "ID"),
    ],
)
def test_wrong_use_is_status_2_and_one_line(siprec: Siprec, args: tuple[str, ...], says: str) -> None:
    outcome = siprec(*args)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("siprec: ")
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


@pytest.mark.parametrize(
    ("args", "command"),
    [
        (("frobnicate",), "siprec"),
        (("ls", "--limt", "3"), "siprec ls"),
        (("show",), "siprec show"),
        (("probe", "nowhere"), "siprec probe"),
    ],
)
def test_wrong_use_points_to_the_help_of_the_command(
    siprec: Siprec, args: tuple[str, ...], command: str
) -> None:
    assert siprec(*args).err.endswith(f" (see {command} --help)\n")


def test_a_configuration_that_others_may_read_says_how_to_become_one_of_them(
    siprec: Siprec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(file: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", forbidden)
    outcome = siprec("top")
    assert outcome.status == 2
    assert outcome.err == (
        f"siprec: {Path.cwd()}/siprec.yaml: permission denied; join the group of that file, "
        "or name another file with -c or $SIPREC_CONFIG\n"
    )


def test_a_wrong_configuration_is_status_2_and_a_line_for_each_fault(siprec: Siprec) -> None:
    Path("siprec.yaml").write_text("sip: {lisen: 1}\nrtp: {tick_ms: 0}\n")
    outcome = siprec("ls")
    assert outcome.status == 2
    assert [line.split(": ", 2)[2] for line in outcome.err.splitlines()] == [
        "unknown key sip.lisen, the nearest known one is sip.listen",
        "rtp.tick_ms: 0 was given, allowed is a whole number from 20 to 1000",
    ]


def test_a_missing_catalogue_is_status_1_and_says_what_to_do(siprec: Siprec) -> None:
    outcome = siprec("ls")
    assert outcome.status == 1
    assert outcome.err == (
        f"siprec: no catalogue at {Path.cwd()}/calls/catalog.db; check storage.path, or start the recorder once\n"
    )


def test_a_catalogue_that_cannot_be_read_is_status_1_without_a_traceback(siprec: Siprec) -> None:
    Path("calls").mkdir()
    Path("calls/catalog.db").write_text("this is no database " * 100)
    outcome = siprec("ls")
    assert outcome.status == 1
    assert outcome.err.startswith("siprec: cannot read the catalogue: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.usefixtures("recordings")
def test_a_reader_that_goes_away_is_no_fault_worth_a_word(siprec: Siprec) -> None:
    assert siprec("ls").status == 0
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from siprec.cli.main import main; main()", "ls", "--json"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1
