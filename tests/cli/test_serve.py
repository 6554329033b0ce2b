"""What `siprec serve` tells a person to type."""

from pathlib import Path

import pytest

from siprec.cli.serve import program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in a folder below the current one, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    file = tmp_path / ".venv/bin/siprec"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o755)
    return file


def test_a_program_below_the_current_folder_is_named_from_here(installed: Path) -> None:
    assert program(str(installed)) == ".venv/bin/siprec"
    assert program(".venv/bin/siprec") == ".venv/bin/siprec"


def test_a_program_elsewhere_is_named_in_full(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a folder").mkdir()
    monkeypatch.chdir(tmp_path / "a folder")
    assert program(str(installed)) == str(installed)
    spaced = tmp_path / "a folder/siprec"
    assert program(str(spaced)) == f"'{spaced}'"
    monkeypatch.chdir("/")
    assert program(str(installed)) == str(installed)


def test_a_program_that_the_shell_finds_needs_no_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/siprec").symlink_to(installed)
    assert program(str(tmp_path / "bin/siprec")) == "siprec"


def test_another_one_that_the_shell_finds_does_not_count(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/siprec").touch(mode=0o755)
    assert program(str(installed)) == ".venv/bin/siprec"
