"""`siprec check-config`."""

from pathlib import Path
from typing import Any

Siprec = Any


def test_a_good_configuration_is_ok_and_named(siprec: Siprec) -> None:
    outcome = siprec("check-config")
    assert (outcome.status, outcome.out) == (0, f"ok: {Path.cwd()}/siprec.yaml\n")


def test_without_a_file_the_defaults_are_checked(siprec: Siprec, monkeypatch: Any) -> None:
    monkeypatch.setattr("siprec.config.reading.SYSTEM_FILE", Path("absent"))
    Path("siprec.yaml").unlink()
    outcome = siprec("check-config")
    assert (outcome.status, outcome.out) == (0, "ok: no file, the defaults are in force\n")


def test_every_fault_is_a_line_and_the_status_is_1(siprec: Siprec) -> None:
    Path("other.yaml").write_text("sip: {lisen: 1}\nspi: {}\n")
    outcome = siprec("check-config", "-c", "other.yaml")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        f"{Path.cwd()}/other.yaml: unknown key sip.lisen, the nearest known one is sip.listen",
        f"{Path.cwd()}/other.yaml: unknown key spi, the nearest known one is sip",
    ]


def test_json_has_the_file_and_the_faults(siprec: Siprec) -> None:
    assert siprec("check-config", "--json").json == {
        "file": f"{Path.cwd()}/siprec.yaml",
        "ok": True,
        "problems": [],
    }
    outcome = siprec("check-config", "-c", "absent.yaml", "--json")
    assert outcome.status == 1
    assert outcome.json == {
        "file": f"{Path.cwd()}/absent.yaml",
        "ok": False,
        "problems": [
            f"{Path.cwd()}/absent.yaml: no such file or directory; name another file with -c or $SIPREC_CONFIG"
        ],
    }
