"""The audio file that grows while the call goes on: blocks of samples at absolute frames, a header that is always true."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siprec.storage.fileops import REAL, FileOps, StrPath, failing_as
from siprec.storage.sink import PlainSink, Sink
from siprec.storage.wav import SampleFormat, WavHeader, header, parse_header

_SILENCE_PIECE = 1 << 16


class WavWriter:
    """Writes blocks of frames into a WAV file behind a sink. Data first, then the header that counts it.

    sink: where to; its header is written at the first `write`.   frames: what is already in the file, when a writer
    takes over from another one.   Not for two threads at a time.
    """

    def __init__(
        self, sink: Sink, *, channels: int, rate: int, format: SampleFormat, frames: int = 0
    ) -> None:
        self._sink, self._format, self._channels, self._rate = sink, format, channels, rate
        self._frame_bytes = channels * format.sample_bytes
        self._dtype = np.dtype("<i2") if format is SampleFormat.PCM16 else np.dtype(np.uint8)
        self._frames = frames
        self._data_frames = frames

    @property
    def frames(self) -> int:
        """Frames that the header counts: a player that opens the file now sees exactly these."""
        return self._frames

    def write(self, at: int, block: NDArray[Any]) -> None:
        """Write `block` at frame `at` and make the header true: two writes.

        block: (frames, channels), C-contiguous; int16 for PCM16, uint8 (G.711 bytes) otherwise. It may lie on frames
        written before; what a gap leaves open in front of it becomes silence.
        Raises StorageError, and then `frames` is unchanged and the same call may be repeated; ValueError for a block
        of another shape, order or type.
        """
        self.write_data(at, block)
        self.write_header()

    def write_data(self, at: int, block: NDArray[Any]) -> None:
        """The first half of `write`, for a block that comes in pieces: one `write_header` must follow."""
        if block.ndim != 2 or block.shape[1] != self._channels or block.dtype != self._dtype:
            raise ValueError(
                f"block {block.dtype}{block.shape}: need {self._dtype}(frames, {self._channels})"
            )
        if not block.flags.c_contiguous or at < 0:
            raise ValueError(f"block at frame {at}: need C order and a frame that is not negative")
        if at > self._data_frames:
            self._write_silence(self._data_frames, at)
        if len(block):
            self._sink.write(self._offset(at), block.data)
            self._data_frames = max(self._data_frames, at + len(block))

    def write_header(self) -> None:
        """Make the header count all data written so far. Raises StorageError."""
        data_bytes = self._data_frames * self._frame_bytes
        if data_bytes & 1:
            self._sink.write(self._format.header_size + data_bytes, self._format.silence)
        self._sink.write(0, header(self._channels, self._rate, self._format, data_bytes))
        self._frames = self._data_frames

    def sync(self) -> None:
        """Return when what was written is on the medium. Raises StorageError."""
        self._sink.sync()

    def close(self) -> None:
        """Close the sink; the header is true already. Raises StorageError."""
        self._sink.close()

    def _offset(self, frame: int) -> int:
        return self._format.header_size + frame * self._frame_bytes

    def _write_silence(self, start: int, end: int) -> None:
        piece = self._format.silence * (self._channels * min(end - start, _SILENCE_PIECE))
        for at in range(start, end, _SILENCE_PIECE):
            count = min(end - at, _SILENCE_PIECE)
            self._sink.write(self._offset(at), memoryview(piece)[: count * self._frame_bytes])
            self._data_frames = at + count


def repair(path: StrPath, *, ops: FileOps = REAL) -> int:
    """Make the header of a file that its writer left behind count every whole frame in it; returns the frames.

    Raises WavError if the file does not start with a header of ours, StorageError if it cannot be written.
    """
    with failing_as("open", path):
        fd = ops.open(path, os.O_RDWR | os.O_NOFOLLOW, 0)
    sink = PlainSink(fd, path, ops=ops)
    try:
        was, size = parse_header(os.pread(fd, 128, 0)), os.fstat(fd).st_size
        writer = WavWriter(
            sink, channels=was.channels, rate=was.rate, format=was.format, frames=_whole_frames(size, was)
        )
        writer.write_header()
        writer.sync()
        return writer.frames
    finally:
        sink.close()


def _whole_frames(file_size: int, was: WavHeader) -> int:
    data = file_size - was.format.header_size
    if was.data_bytes & 1 and data == was.data_bytes + 1:
        return was.frames
    return max(data, 0) // (was.channels * was.format.sample_bytes)
