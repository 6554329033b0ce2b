"""A copy of a recording's audio that sound is added to. The original is only read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from siprec.codecs import g711
from siprec.storage.fileops import REAL, StorageError, failing_as, sync_directory, write_all
from siprec.storage.sink import PlainSink
from siprec.storage.stereo import WavWriter
from siprec.storage.wav import SampleFormat, WavHeader, parse_header

I16 = npt.NDArray[np.int16]
Words = npt.NDArray[Any]
"Samples as a file holds them: int16, or uint8 of G.711."

_PIECE = 1 << 20
_FRAMES = 1 << 16
_LAWS = {SampleFormat.MULAW: ("ulaw", g711.ULAW), SampleFormat.ALAW: ("alaw", g711.ALAW)}


class AudioCopy:
    """The copy under a temporary name beside its place; `finish` gives it its name, `discard` removes it."""

    def __init__(self, original: Path, target: Path) -> None:
        """Copy. Raises StorageError (EBUSY while another process makes the same copy), WavError."""
        self._target, self._fresh = target, target.with_name(f".{target.name}.new")
        with failing_as("open", original):
            source = REAL.open(original, os.O_RDONLY | os.O_NOFOLLOW, 0)
        try:
            self.header: WavHeader = parse_header(os.pread(source, 128, 0))
            self._fd = _locked(self._fresh)
            try:
                _copy(source, self._fd, self._fresh)
            except StorageError:
                self.discard()
                raise
        finally:
            REAL.close(source)
        header = self.header
        self._frames = header.frames
        self._writer = WavWriter(
            PlainSink(self._fd, self._fresh),
            channels=header.channels,
            rate=header.rate,
            format=header.format,
            frames=header.frames,
        )

    def add(self, channel: int, frame: int, samples: I16) -> None:
        """Add sound to a channel, clipped; every other sample stays as it is. frame: not negative. Raises StorageError."""
        for at in range(0, samples.size, _FRAMES):
            part = samples[at : at + _FRAMES]
            block = self._read(frame + at, part.size)
            block[:, channel] = _mixed(block[:, channel], part, self.header.format)
            self._writer.write_data(frame + at, block)
            self._frames = max(self._frames, frame + at + part.size)

    def _read(self, frame: int, count: int) -> Words:
        """Frames as they are in the file now, silence behind its end."""
        header = self.header
        size = header.channels * header.format.sample_bytes
        missing = max(0, frame + count - self._frames)
        with failing_as("read", self._fresh):
            there = max(0, count - missing) * size
            data = os.pread(self._fd, there, header.format.header_size + frame * size)
        data += header.format.silence * ((count * size - len(data)) // header.format.sample_bytes)
        dtype = np.dtype("<i2") if header.format is SampleFormat.PCM16 else np.dtype(np.uint8)
        return np.frombuffer(data, dtype).reshape(count, header.channels).copy()

    def finish(self) -> None:
        """Make it durable, then give it its name. Raises StorageError; `discard` is to be called then."""
        self._writer.write_header()
        with failing_as("sync", self._fresh):
            REAL.fsync(self._fd)
        with failing_as("rename", self._target):
            REAL.replace(self._fresh, self._target)
        sync_directory(REAL, self._target.parent)
        self._close()

    def discard(self) -> None:
        """Nothing is left of it."""
        with contextlib.suppress(OSError):
            REAL.unlink(self._fresh)
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                REAL.close(fd)


def _locked(path: Path) -> int:
    """The temporary file, open and locked: ours alone. Raises StorageError."""
    with failing_as("create", path):
        fd = REAL.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except OSError:  # locked, or renamed meanwhile
        pass
    REAL.close(fd)
    raise StorageError(errno.EBUSY, "create", path)


def _copy(source: int, target: int, path: Path) -> None:
    with failing_as("copy", path):
        REAL.ftruncate(target, 0)
        at = 0
        while data := os.pread(source, _PIECE, at):
            write_all(REAL, target, at, data, path)
            at += len(data)


def _mixed(there: Words, added: I16, form: SampleFormat) -> Words:
    if form is SampleFormat.PCM16:
        return _sum(there.astype(np.int16), added)
    name, table = _LAWS[form]
    # what nothing is added to keeps its code word, also where two of them sound the same
    words: Words = np.where(added == 0, there, g711.encode(name, _sum(table[there], added)))
    return words


def _sum(one: I16, other: I16) -> I16:
    total: I16 = np.clip(one.astype(np.int32) + other, -32768, 32767).astype(np.int16)
    return total
