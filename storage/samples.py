"""Reads a recording's audio in blocks, and says how loud its channels are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from siprec.storage.fileops import StrPath

FULL_SCALE = 32768
BLOCK_FRAMES = 1 << 16


class AudioError(Exception):
    """A file that cannot be read as audio; the text names it and says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file holds as it is now; it may still be growing."""

    channels: int
    rate: int
    frames: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How loud a channel is, in dB relative to full scale; -inf for silence."""

    peak_dbfs: float
    rms_dbfs: float


def audio_info(path: StrPath) -> AudioInfo:
    """Channels, rate and length of a sound file. Raises AudioError."""
    try:
        found = soundfile.info(os.fspath(path))
    except (soundfile.SoundFileError, OSError) as exc:
        raise AudioError(f"{os.fspath(path)}: {exc}") from exc
    return AudioInfo(channels=found.channels, rate=found.samplerate, frames=found.frames)


def read_blocks(path: StrPath, *, frames: int = BLOCK_FRAMES) -> Iterator[NDArray[np.int16]]:
    """The samples from the beginning, int16 (at most `frames`, channels) at a time. Raises AudioError."""
    try:
        with soundfile.SoundFile(os.fspath(path)) as sound:
            while len(block := sound.read(frames, dtype="int16", always_2d=True)):
                yield block
    except (soundfile.SoundFileError, OSError) as exc:
        raise AudioError(f"{os.fspath(path)}: {exc}") from exc


def channel_levels(path: StrPath) -> list[Level]:
    """The level of each channel over the whole file. Raises AudioError."""
    info = audio_info(path)
    peak, energy, frames = np.zeros(info.channels), np.zeros(info.channels), 0
    for block in read_blocks(path):
        wide = block.astype(np.float64)
        peak = np.maximum(peak, np.abs(wide).max(axis=0))
        energy += np.square(wide).sum(axis=0)
        frames += len(block)
    rms = np.sqrt(energy / max(frames, 1))
    return [Level(peak_dbfs=dbfs(float(p)), rms_dbfs=dbfs(float(r))) for p, r in zip(peak, rms, strict=True)]


def dbfs(amplitude: float) -> float:
    """An amplitude of 16-bit samples in dB relative to full scale; -inf for 0."""
    return 20 * math.log10(amplitude / FULL_SCALE) if amplitude > 0 else -math.inf
