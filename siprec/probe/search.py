"""Finding the recording of a call under `storage.path`, by its Call-ID."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from siprec.probe.errors import ProbeError
from siprec.storage.document import read_document
from siprec.storage.layout import DOCUMENT
from siprec.storage.model import DocumentError, Recording

WAIT_S = 20.0
"How long a recording may take to end."
FIND_S = 3.0
"How long a call's recording is looked for: its document is there before the call is answered."
_POLL_S = 0.1
_SLACK = timedelta(minutes=1)
"How far the clocks of probe and recorder may be apart."
_UNFINISHED = "recording"


async def wait_for_recording(
    root: Path, call_id: str, *, since: datetime, timeout_s: float = WAIT_S
) -> tuple[Path, Recording]:
    """The folder and document of a call's recording, once it has ended.

    since: when the call was placed, aware. Raises ProbeError when there is none in time, or it does not end.
    """
    began = time.monotonic()
    folder: Path | None = None
    while True:
        folder = folder or find_recording(root, call_id, since=since)
        if folder is not None and (document := _read(folder)) and document.state != _UNFINISHED:
            return folder, document
        if time.monotonic() > began + (timeout_s if folder is not None else min(timeout_s, FIND_S)):
            break
        await asyncio.sleep(_POLL_S)
    if folder is None:
        raise ProbeError(
            f"no recording of the call under {root}; is that storage.path of the recorder that was called?"
        )
    raise ProbeError(f"the recording in {folder} did not end within {timeout_s:.0f} s of the call")


def find_recording(root: Path, call_id: str, *, since: datetime) -> Path | None:
    """The folder of the recording with a dialog of this Call-ID that was begun at `since` or later."""
    for folder in _folders(root, since - _SLACK):
        document = _read(folder)
        if document is not None and any(dialog.call_id == call_id for dialog in document.dialogs):
            return folder
    return None


def _folders(root: Path, since: datetime) -> Iterator[Path]:
    """Folders of recordings begun since then, by the time in their ids."""
    day = since.astimezone(UTC).date()
    last = (datetime.now(UTC) + _SLACK).date()
    earliest = int(since.timestamp() * 1000)
    while day <= last:
        for folder in (root / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}").glob("*"):
            if _milliseconds(folder.name) >= earliest:
                yield folder
        day += timedelta(days=1)


def _milliseconds(recording_id: str) -> int:
    """The time in a UUIDv7 (RFC 9562 5.7); -1 for any other name."""
    try:
        return uuid.UUID(recording_id).int >> 80
    except ValueError:
        return -1


def _read(folder: Path) -> Recording | None:
    if not (folder / DOCUMENT).exists():
        return None
    try:
        return read_document(folder)
    except (DocumentError, OSError):
        return None
