"""`recording.json`: the whole recording as one document, replaced atomically and durably."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siprec.storage.fileops import REAL, FileOps, StorageError, StrPath, failing_as, sync_directory, write_all
from siprec.storage.layout import DOCUMENT
from siprec.storage.model import DocumentError, Recording


def write_document(folder: StrPath, recording: Recording, *, sync: bool = True, ops: FileOps = REAL) -> Path:
    """Write `recording.json` into the recording's folder: temporary file, fsync, rename, fsync of the folder.

    When it returns the document survives a power cut; without `sync` only a crash of this process. When it raises
    StorageError, the one there was before is whole.
    One thread at a time for one recording. Raises ValueError if the document holds NaN or an infinity.
    """
    return write_text(folder, encode_document(recording.to_document()), sync=sync, ops=ops)


def encode_document(document: Mapping[str, Any]) -> bytes:
    """What `Recording.to_document` gave, as it is written. Raises ValueError for NaN and infinities."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def write_text(folder: StrPath, text: bytes, *, sync: bool = True, ops: FileOps = REAL) -> Path:
    """`write_document` of what `encode_document` gave."""
    path, fresh = Path(folder, DOCUMENT), Path(folder, f".{DOCUMENT}.new")
    try:
        _write(fresh, text + b"\n", ops, sync=sync)
        with failing_as("rename", path):
            ops.replace(fresh, path)
    except StorageError:
        with contextlib.suppress(OSError):
            ops.unlink(fresh)
        raise
    if sync:
        sync_directory(ops, folder)
    return path


def _write(path: Path, data: bytes, ops: FileOps, *, sync: bool) -> None:
    with failing_as("create", path):
        fd = ops.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640)
    try:
        write_all(ops, fd, 0, data, path)
        if sync:
            with failing_as("sync", path):
                ops.fsync(fd)
    finally:
        with failing_as("close", path):
            ops.close(fd)


def read_document(folder: StrPath) -> Recording:
    """The recording of a folder.

    Raises UnknownVersion for a document of another version, DocumentError for one that is none, and OSError.
    """
    path = Path(folder, DOCUMENT)
    try:
        return Recording.from_document(json.loads(path.read_bytes()))
    except DocumentError:
        raise
    except (ValueError, RecursionError) as exc:
        raise DocumentError(f"{path}: {exc}") from exc
