"""The audio file of a recording at its beginning."""

from __future__ import annotations

import contextlib
import os

from siprec.storage.fileops import REAL, FileOps, StorageError, StrPath, failing_as
from siprec.storage.sink import PlainSink
from siprec.storage.wav import SampleFormat, header


def open_recording_file(
    path: StrPath, *, channels: int, rate: int, format: SampleFormat, ops: FileOps = REAL
) -> int:
    """Create an audio file (0640) that a player opens as 0 frames; returns its descriptor, read and write.

    The rate may still change until the first block is written. Raises StorageError, with EEXIST if there is a file;
    nothing is left behind then.
    """
    with failing_as("create", path):
        fd = ops.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    try:
        PlainSink(fd, path, ops=ops).write(0, header(channels, rate, format, 0))
    except StorageError:
        with contextlib.suppress(OSError):
            ops.close(fd)
            ops.unlink(path)
        raise
    return fd
