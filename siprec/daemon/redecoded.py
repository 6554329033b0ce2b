"""Takes over what `siprec redecode` has made: the document of the recording then says so, in every place."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from siprec.daemon.calls import Calls
from siprec.daemon.control import ControlError, ControlRequest
from siprec.daemon.keeper import Keeper
from siprec.daemon.logs import RecordingLog
from siprec.storage.document import read_document
from siprec.storage.layout import AUDIO, REDECODED, recording_dir
from siprec.storage.model import DocumentError, Recording
from siprec.storage.redecoded import LegRedecoded, take_over
from siprec.storage.timestamps import parse_rfc3339
from siprec.storage.wav import WavError, WavHeader, parse_header

log = logging.getLogger("siprec.daemon")


class TakeOver:
    """Handles the command `redecoded`."""

    def __init__(self, calls: Calls, keeper: Keeper, root: Path) -> None:
        """root: storage.path."""
        self._calls, self._keeper, self._root = calls, keeper, root
        self._lock = asyncio.Lock()

    async def handle(self, request: ControlRequest) -> object:
        """`id`, `started_at` and `legs` of a recording, whose new audio lies in its folder. Returns its document."""
        async with self._lock:  # a document is read and written by one at a time
            return await self._handle(request)

    async def _handle(self, request: ControlRequest) -> object:
        args = request.args
        if request.peer.uid not in (0, os.geteuid()):  # a verdict rests on what is said here
            raise ControlError("only the user that the daemon runs as may change recordings")
        identity, legs = str(args.get("id")), _legs(args.get("legs"))
        if identity in self._calls.live:
            raise ControlError(f"recording {identity} is still running; wait for its end")
        try:
            folder = recording_dir(self._root, identity, parse_rfc3339(str(args.get("started_at"))))
            document = await asyncio.to_thread(_read, folder, identity)
            take_over(document, legs, uid=request.peer.uid)
        except (ValueError, OSError) as exc:  # documents and headers that are none are ValueErrors
            raise ControlError(f"cannot take over the audio of {identity}: {exc}") from None
        self._keeper.finish(folder, document)
        await self._keeper.settled(identity)
        if not await asyncio.to_thread(_is_written, folder, document):
            raise ControlError(f"the document of {identity} could not be written; see the log of the daemon")
        packets = sum(leg.packets for leg in legs)
        RecordingLog(log, identity).info(
            "%d packets decoded afterwards, by user %d: %s",
            packets,
            request.peer.uid,
            document.verdict.result,
        )
        return document.to_dict()


def _legs(plain: Any) -> list[LegRedecoded]:
    if not isinstance(plain, list):
        raise ControlError("legs: a list is needed")
    try:
        return [LegRedecoded.from_dict(one) for one in plain]
    except ValueError as exc:
        raise ControlError(f"legs: {exc}") from None


def _read(folder: Path, identity: str) -> Recording:
    """The document, if the new audio fits the original. Raises ValueError, OSError."""
    document = read_document(folder)
    if document.id != identity or document.state == "recording":
        raise DocumentError(f"it is the document of {document.id}, {document.state}")
    old, new = _header(folder / AUDIO), _header(folder / REDECODED)
    if (new.channels, new.rate, new.format) != (
        old.channels,
        old.rate,
        old.format,
    ) or new.frames < old.frames:
        raise WavError(f"{REDECODED} is not the same sound as {AUDIO}")
    return document


def _header(path: Path) -> WavHeader:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return parse_header(os.pread(fd, 128, 0))
    finally:
        os.close(fd)


def _is_written(folder: Path, document: Recording) -> bool:
    try:
        return read_document(folder).to_dict() == document.to_dict()
    except (DocumentError, OSError):
        return False
