"""`siprec export`: a recording with its documents, as a folder or a .zip."""

import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from siprec.cli import catalog
from siprec.cli.errors import CommandError
from siprec.cli.options import AsJson, ConfigFile, RecordingId, configuration
from siprec.storage.layout import recording_dir
from siprec.storage.model import Recording
from siprec.storage.timestamps import parse_rfc3339


def export(
    recording: RecordingId,
    config: ConfigFile = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="DIR|FILE.zip", help="Where to; a folder named by the id if left out."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the audio, recording.json and the metadata documents of a recording."""
    settings = configuration(config)
    with catalog.reading(settings) as found:
        one = catalog.find(found, recording)
    files = _files(settings.storage.path, one)
    target = _target(out or Path(), one)
    if target.exists():
        raise CommandError(f"{target} exists; choose another place with -o")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"there is no folder {target.parent}; create it first")
    _copy(files, target, one.id)
    if as_json:
        names = [file.name for file in files]
        print(json.dumps({"id": one.id, "path": str(target.absolute()), "files": names}, indent=1))
    else:
        print(target)


def _files(root: Path, one: Recording) -> list[Path]:
    """What there is of a recording on disk. Raises CommandError when there is nothing."""
    folder = recording_dir(root, one.id, parse_rfc3339(one.started_at))
    try:
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.is_symlink())
    except FileNotFoundError:
        files = []
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise CommandError(f"recording {one.id} ({one.state}) has no files in {folder}; check storage.path")
    return files


def _target(out: Path, one: Recording) -> Path:
    return out / one.id if out.is_dir() else out


def _copy(files: list[Path], target: Path, folder: str) -> None:
    """Copy into a folder, or pack into an archive. Raises CommandError."""
    try:
        if target.suffix == ".zip":
            _write_zip(files, target, folder)
        else:
            _write_folder(files, target)
    except OSError as error:
        raise CommandError(
            f"cannot copy to {target}: {(error.strerror or str(error)).lower()}; "
            "choose another place with -o, or see who may read the recording"
        ) from None


def _write_folder(files: list[Path], target: Path) -> None:
    """Copy into a folder that appears when it is whole."""
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        for file in files:
            shutil.copy2(file, partial / file.name)
        partial.chmod(0o750)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_zip(files: list[Path], target: Path, folder: str) -> None:
    """Pack into an archive that appears when it is whole."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    try:
        with (
            os.fdopen(descriptor, "wb") as stream,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for file in files:
                archive.write(file, f"{folder}/{file.name}")
        os.chmod(name, 0o640)
        os.rename(name, target)
    except BaseException:
        os.unlink(name)
        raise
