"""`siprec export`."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from siprec.storage.model import Recording

Siprec = Any
FILES = ["audio.wav", "metadata-0001.xml", "recording.json"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_without_a_place_a_folder_named_by_the_id_appears_here(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    one = recordings[0]
    outcome = siprec("export", one.id)
    assert (outcome.status, outcome.out) == (0, f"{one.id}\n")
    assert names(Path(one.id)) == FILES
    assert (Path(one.id) / "audio.wav").read_bytes() == b"RIFF" + one.id.encode()


def test_an_existing_folder_gets_one_inside_and_a_new_name_is_taken(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    Path("out").mkdir()
    assert siprec("export", recordings[0].id, "-o", "out").out == f"out/{recordings[0].id}\n"
    assert siprec("export", recordings[0].id, "-o", "out/evidence").out == "out/evidence\n"
    assert names(Path("out/evidence")) == FILES


def test_a_zip_has_the_same_files_in_a_folder(siprec: Siprec, recordings: list[Recording]) -> None:
    assert siprec("export", recordings[0].id, "-o", "call.zip").status == 0
    with zipfile.ZipFile("call.zip") as archive:
        assert archive.namelist() == [f"{recordings[0].id}/{name}" for name in FILES]
        assert archive.testzip() is None
        assert archive.read(f"{recordings[0].id}/audio.wav") == b"RIFF" + recordings[0].id.encode()


@pytest.mark.parametrize("target", ["call.zip", "call"])
def test_as_json_it_says_what_was_copied_and_where_to(
    siprec: Siprec, recordings: list[Recording], target: str
) -> None:
    outcome = siprec("export", recordings[0].id, "-o", target, "--json")
    assert outcome.status == 0
    assert outcome.json == {"id": recordings[0].id, "path": f"{Path.cwd()}/{target}", "files": FILES}


@pytest.mark.parametrize("target", ["taken.zip", "taken"])
def test_nothing_is_overwritten(siprec: Siprec, recordings: list[Recording], target: str) -> None:
    Path(target).write_text("precious")
    outcome = siprec("export", recordings[0].id, "-o", target)
    assert outcome.status == 1
    assert "exists; choose another place" in outcome.err
    assert Path(target).read_text() == "precious"


def test_a_folder_that_is_missing_above_is_named(siprec: Siprec, recordings: list[Recording]) -> None:
    outcome = siprec("export", recordings[0].id, "-o", "none/call.zip")
    assert (outcome.status, outcome.err) == (1, "siprec: there is no folder none; create it first\n")


def test_a_recording_without_files_says_where_they_were_looked_for(
    siprec: Siprec, recordings: list[Recording]
) -> None:
    for folder in Path("calls").rglob(recordings[0].id):
        folder.rename("elsewhere")
    outcome = siprec("export", recordings[0].id)
    assert outcome.status == 1
    assert "has no files in" in outcome.err


def test_a_copy_that_fails_leaves_nothing_behind(
    siprec: Siprec, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "audio.wav")

    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("zipfile.ZipFile.write", full)
    before = names(Path())
    for place in ("call", "call.zip"):
        outcome = siprec("export", recordings[0].id, "-o", place)
        assert outcome.status == 1
        assert outcome.err == (
            f"siprec: cannot copy to {place}: no space left on device; "
            "choose another place with -o, or see who may read the recording\n"
        )
    assert names(Path()) == before
