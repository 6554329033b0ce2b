"""The writer thread of a worker: takes samples out of the rings and puts them into files.

The tick hands it jobs and looks at what is done; neither waits for the other. A disk that stalls makes the
rings grow, nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from siprec.codecs import g711
from siprec.media.rings import RingReader
from siprec.storage.fileops import StorageError
from siprec.storage.layout import MAX_DUMPS
from siprec.storage.rtpdump import RtpdumpHeader, RtpdumpWriter
from siprec.storage.sink import PlainSink
from siprec.storage.stereo import WavWriter

I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]

_DUMP_QUEUE = 16 << 20
"Bytes of packets without a decoder that may wait for the disk."


@dataclass(slots=True)
class Part:
    """A leg's share of a job: from ring position `u` into a channel."""

    leg: int
    channel: int
    u: int


@dataclass(slots=True)
class Flush:
    """Write `frames` frames from frame `start` of a recording's file."""

    recording: int
    writer: WavWriter
    channels: int
    g711: bool
    start: int
    frames: int
    parts: list[Part]
    last: bool = False
    written: bool = False
    "The frames are in the file, even if closing it failed."
    error: str | None = None


class DumpFile:
    """A leg's rtpdump, created by the writer thread at its first packet.

    A worker that takes over from one that died leaves the file of that one alone and begins another beside it.
    """

    def __init__(self, path: str, header: RtpdumpHeader, *, max_bytes: int, kept: I64) -> None:
        """kept: int64[1], counts the packets of the leg that are in this file and those before it."""
        self._path, self._header, self._max_bytes = path, header, max_bytes
        self._kept = kept
        self._writer: RtpdumpWriter | None = None

    def append(self, packets: list[tuple[int, bytes]]) -> None:
        """Write packets: (ms since the header's start, packet). Raises StorageError."""
        if self._writer is None:
            sink = self._create()
            self._writer = RtpdumpWriter(sink, self._header, max_bytes=self._max_bytes)
        before = self._writer.packets
        self._writer.append(packets)
        self._kept += self._writer.packets - before

    def _create(self) -> PlainSink:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        stem, extension = os.path.splitext(self._path)
        for path in (self._path, *(f"{stem}-{n}{extension}" for n in range(2, MAX_DUMPS))):
            with contextlib.suppress(FileExistsError):
                return PlainSink(os.open(path, flags, 0o640), path)
        raise StorageError(errno.EEXIST, "create", self._path)

    def close(self) -> None:
        """Close the file, if there is one. Raises StorageError."""
        if self._writer is not None:
            self._writer.close()


@dataclass(slots=True)
class Dump:
    """Append packets without a decoder to a leg's rtpdump; `last` closes it."""

    file: DumpFile
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    last: bool = False


@dataclass(slots=True)
class GiveUp:
    """Close the file of a recording that the disk has refused for too long."""

    writer: WavWriter


def mix(rings: RingReader, job: Flush) -> I16:
    """The frames of a job: int16[frames, channels]. Legs that share a channel are added and clipped."""
    out = np.zeros((job.frames, job.channels), np.int16)
    for channel in range(job.channels):
        legs = [part for part in job.parts if part.channel == channel]
        if len(legs) == 1:
            rings.read(legs[0].leg, legs[0].u, out[:, channel])
        elif legs:
            total = np.zeros(job.frames, np.int32)
            one = np.empty(job.frames, np.int32)
            for part in legs:
                rings.read(part.leg, part.u, one)
                total += one
            out[:, channel] = np.clip(total, -32768, 32767)
    return out


class WriterThread(threading.Thread):
    """Runs jobs in order. Finished flushes are in `done`, with `error` set when the disk refused."""

    def __init__(self, rings: RingReader) -> None:
        super().__init__(name="writer", daemon=True)
        self._rings = rings
        self._jobs: queue.SimpleQueue[Flush | Dump | GiveUp | None] = queue.SimpleQueue()
        self._dump_queued = self._dump_taken = 0
        self.done: deque[Flush] = deque()
        self.dump_errors = 0
        "Packets without a decoder that could not be kept."

    def put(self, job: Flush | Dump | GiveUp) -> None:
        """Queue a job. While the disk stalls, packets to dump wait up to a bound; those beyond are left out."""
        if isinstance(job, Dump):
            size = _size(job)
            if self._dump_queued - self._dump_taken + size > _DUMP_QUEUE:
                self.dump_errors += len(job.packets)
                job.packets, size = [], 0
            self._dump_queued += size
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what is queued and end the thread."""
        self._jobs.put(None)
        self.join()

    def run(self) -> None:
        """Until `stop`."""
        while (job := self._jobs.get()) is not None:
            if isinstance(job, Flush):
                self._flush(job)
            elif isinstance(job, Dump):
                self._dump(job)
            else:
                with contextlib.suppress(StorageError):
                    job.writer.close()

    def _flush(self, job: Flush) -> None:
        try:
            if job.frames:
                block = mix(self._rings, job)
                job.writer.write(job.start, g711.encode("ulaw", block) if job.g711 else block)
            job.written = True
            if job.last:
                job.writer.close()
        except Exception as exc:  # noqa: BLE001 - whatever it is, it costs this recording and no other
            job.error = str(exc) or type(exc).__name__
        self.done.append(job)

    def _dump(self, job: Dump) -> None:
        self._dump_taken += _size(job)
        try:
            if job.packets:
                job.file.append(job.packets)
        except (OSError, ValueError):
            self.dump_errors += len(job.packets)
        if job.last:
            with contextlib.suppress(StorageError):
                job.file.close()


def _size(job: Dump) -> int:
    return sum(len(data) for _, data in job.packets)
