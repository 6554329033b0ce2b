"""Where things are: the folder of a recording, the names in it, and how an id is made.

`<storage.path>/YYYY/MM/DD/<id>/`, by the UTC date of the start. No name comes from the network.
"""

from __future__ import annotations

import datetime
import os
import uuid
from pathlib import Path

from siprec.storage.fileops import REAL, FileOps, StrPath, failing_as, sync_directory

AUDIO = "audio.wav"
REDECODED = "audio-redecoded.wav"
"The audio with what could be decoded only later; AUDIO stays as it was recorded."
DOCUMENT = "recording.json"
JOURNAL = "journal"
"Folder of the journal, under storage.path."
MAX_DUMPS = 10
"Files of one leg, one for each worker that had it, are fewer."
CATALOG = "catalog.db"
"The embedded catalogue, under storage.path."


def uuid7(unix_ms: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562 5.7) as text: ids sort by the millisecond they were made in.

    unix_ms: milliseconds since 1970.   random: 10 bytes, of which 74 bits are used.
    """
    if not 0 <= unix_ms < 1 << 48 or len(random) != 10:
        raise ValueError(f"{unix_ms} ms and {len(random)} random bytes: need 48 bits and 10 bytes")
    bits = int.from_bytes(random, "big")
    value = unix_ms << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def recording_dir(root: StrPath, recording_id: str, started: datetime.datetime) -> Path:
    """The folder of a recording; it need not exist.

    started: aware.   Raises ValueError if the id is not a UUID as `uuid7` writes it, or `started` is naive.
    """
    if str(uuid.UUID(recording_id)) != recording_id:
        raise ValueError(f"{recording_id!r} is not an id of a recording")
    if started.tzinfo is None:
        raise ValueError("the start of a recording needs a time zone")
    day = started.astimezone(datetime.UTC)
    return Path(root, f"{day:%Y}", f"{day:%m}", f"{day:%d}", recording_id)


def create_recording_dir(
    root: StrPath, recording_id: str, started: datetime.datetime, *, sync: bool = True, ops: FileOps = REAL
) -> Path:
    """Create the folder of a new recording (0750) and what is missing above it.

    sync: make each new name durable before returning (one fsync for each new level, so mostly one).
    Raises StorageError, with EEXIST if this recording has a folder.
    """
    path = recording_dir(root, recording_id, started)
    create_folder(path, sync=sync, ops=ops)
    return path


def create_folder(path: Path, *, sync: bool = True, ops: FileOps = REAL) -> None:
    """`create_recording_dir` of the folder that `recording_dir` gave."""
    levels = (*reversed(path.parents[:3]), path)
    for level in levels if not path.parent.is_dir() else (path,):
        _create(level, new=level == path, sync=sync, ops=ops)


def _create(path: Path, *, new: bool, sync: bool, ops: FileOps) -> None:
    if not new and path.is_dir():
        return
    with failing_as("create directory", path):
        try:
            ops.mkdir(path, 0o750)
        except FileExistsError:
            if new:
                raise
            return
    if sync:
        sync_directory(ops, path.parent)


def create_root(root: StrPath, *, ops: FileOps = REAL) -> Path:
    """Create `storage.path` (0750) and what is missing above it; returns it absolute. Raises StorageError."""
    path = Path(os.path.abspath(root))
    for level in (*reversed(path.parents), path):
        _create(level, new=False, sync=True, ops=ops)
    return path


def leg_dump(leg: int) -> str:
    """Name of the rtpdump file of leg number `leg` (its place in the recording's legs, from 0)."""
    return f"leg{_counted(leg)}.rtpdump"


def leg_dumps(leg: int) -> list[str]:
    """Names of all rtpdump files that leg number `leg` can have, oldest first: each worker that had it begins its own."""
    stem, extension = os.path.splitext(leg_dump(leg))
    return [f"{stem}{extension}", *(f"{stem}-{n}{extension}" for n in range(2, MAX_DUMPS))]


def raw_metadata(number: int) -> str:
    """Name of the `number`-th metadata document as received (from 1)."""
    return f"metadata-{_counted(number):04d}.xml"


def _counted(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} counts nothing")
    return number
