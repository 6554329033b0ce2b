"""Recordings that a daemon before this one left unfinished: their files are made whole and closed as `recovered`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from siprec.daemon.follow import CatalogProcess
from siprec.daemon.keeper import Keeper
from siprec.daemon.logs import RecordingLog
from siprec.storage import model
from siprec.storage.catalog import Catalog, CatalogError, Filter
from siprec.storage.fileops import StorageError
from siprec.storage.stereo import repair
from siprec.storage.wav import WavError, parse_header

log = logging.getLogger("siprec.recovery")

_CATCH_UP_S = 5.0
_STEP_S = 0.05
_BATCH = 500


async def close_unfinished(catalog: Catalog, follower: CatalogProcess, keeper: Keeper) -> int:
    """Close every recording that the catalogue holds as running; returns how many.

    Called before the first call is taken. While the catalogue is away nothing is known of them; the next start
    with a catalogue closes them.
    """
    closed = 0
    try:
        await asyncio.to_thread(catalog.upgrade)
        await _caught_up(follower)
        while found := await asyncio.to_thread(
            catalog.recordings, Filter(states=("recording",)), limit=_BATCH
        ):
            for recording in found:
                await _close(recording, keeper)
            closed += len(found)
            await _caught_up(follower)
            if len(found) < _BATCH:
                break
    except CatalogError as exc:
        log.warning("unfinished recordings stay open: %s", exc)
    return closed


async def _caught_up(follower: CatalogProcess) -> None:
    """Wait until the catalogue has the whole journal, for a bounded time."""
    for _ in range(round(_CATCH_UP_S / _STEP_S)):
        if follower.caught_up():
            return
        await asyncio.sleep(_STEP_S)


def _made_whole(path: Path) -> tuple[int, int]:
    """Repair an audio file; returns its frames and its rate [Hz]. Raises StorageError, WavError, OSError."""
    frames = repair(path)
    with path.open("rb") as file:
        return frames, parse_header(file.read(128)).rate


async def _close(recording: model.Recording, keeper: Keeper) -> None:
    said = RecordingLog(log, recording.id)
    recording.state = "recovered"
    recording.verdict = model.Verdict(result="incomplete", reasons=["interrupted"])
    path = Path(recording.path or "")
    try:
        frames, rate = await asyncio.to_thread(_made_whole, path)
    except (StorageError, WavError, OSError) as exc:
        said.warning("recovered without its audio: %s", exc)
    else:
        # the rate may have been fixed after the last document was written
        recording.sample_rate = rate
        recording.duration_s = round(frames / rate, 3)
        recording.verdict.findings = [model.Finding(reason="interrupted", at_s=recording.duration_s)]
        said.info("recovered %.1f s", recording.duration_s)
    if path.parent.is_dir():
        keeper.save(path.parent, recording)
        await keeper.settled(recording.id)
    else:
        keeper.append(recording)
