"""A media worker driven by hand: real sockets, real files, real writer thread, and a clock that the test moves.

The sockets carry no kernel stamps, so a packet counts as arrived at the tick that takes it: every sample has one
place that can be told beforehand.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from siprec.codecs import g711
from siprec.media import protocol
from siprec.media.memory import Region
from siprec.media.rings import Rings, create_pool
from siprec.media.store import StateStore
from siprec.media.worker import MediaWorker, WorkerSettings
from siprec.media.writer import Dump
from siprec.rtp.slab import Slab
from siprec.storage.audio_file import open_recording_file
from siprec.storage.wav import SampleFormat, parse_header

RATE, FRAME = 8000, 160
TICK_S = 0.2
FRAMES_A_TICK = 10
S = 1_000_000_000
START = 1000 * S
REALTIME = 1_700_000_000 * S
EVENTS_PT, SECRET_PT = 101, 96

I16 = npt.NDArray[np.int16]


def rtp(seq: int, timestamp: int, payload: bytes, *, ssrc: int, pt: int = 0) -> bytes:
    """An RTP packet."""
    return struct.pack("!BBHII", 0x80, pt, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class Speaker:
    """Sends mu-law that never repeats to one leg, 20 ms a packet; `said` are its samples, sent or not."""

    def __init__(self, address: Any, *, ssrc: int, seq: int = 65_530, timestamp: int = 2**32 - 700) -> None:
        self.address, self.ssrc, self.sent = address, ssrc, 0
        self._seq, self._timestamp, self._frames = seq, timestamp, 0
        self._rng = np.random.default_rng(ssrc)
        self._said: list[I16] = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))

    @property
    def said(self) -> I16:
        """Everything since the first packet, silence where none was sent."""
        return np.concatenate(self._said)

    def say(self, packets: int = FRAMES_A_TICK, *, loud: int | None = None) -> None:
        """Send so many packets. loud: a mu-law byte to send instead of noise."""
        for _ in range(packets):
            codes = self._rng.integers(0, 256, FRAME, np.uint8)
            if loud is not None:
                codes[:] = loud
            self.send(codes.tobytes())
            self._said.append(g711.ULAW[codes])
            self._frames += 1

    def send(self, payload: bytes, *, pt: int = 0, seq: int | None = None) -> None:
        """Send one packet with the present timestamp."""
        number = self._seq if seq is None else seq
        if seq is None:
            self._seq += 1
        timestamp = self._timestamp + FRAME * self._frames
        self.sock.sendto(rtp(number, timestamp, payload, ssrc=self.ssrc, pt=pt), self.address)
        self.sent += 1

    def lose(self, packets: int) -> None:
        """Packets that the network loses."""
        self._seq += packets
        self.pause(packets)

    def pause(self, packets: int) -> None:
        """Say nothing for so many packets."""
        self._frames += packets
        self._said.append(np.zeros(packets * FRAME, np.int16))

    def leap(self, samples: int) -> None:
        """Move the timestamp, nothing else."""
        self._timestamp += samples


class Gate:
    """In the place of a file on a disk that stalls: a job that waits in a system call until `open`."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def append(self, packets: list[tuple[int, bytes]]) -> None:
        os.read(self._read, 1)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def open(self) -> None:
        os.write(self._write, b"x")


class _Mark:
    def __init__(self) -> None:
        self.reached = threading.Event()

    def append(self, packets: list[tuple[int, bytes]]) -> None:
        self.reached.set()


class Opened:
    """A recording that the rig opened."""

    def __init__(self, message: protocol.OpenRecording, fd: int, audio_fd: int) -> None:
        self.message, self.fd, self.audio_fd = message, fd, audio_fd
        self.path = Path(message.path)
        self.number = message.recording
        self.closed = False

    def header_frames(self) -> int:
        """Frames that the header counts now."""
        return parse_header(os.pread(self.fd, 128, 0)).frames

    def read(self, rate: int = RATE) -> I16:
        """The file as any player reads it: int16[frames, channels]."""
        audio, its_rate = soundfile.read(self.path, dtype="int16", always_2d=True)
        assert its_rate == rate
        samples: I16 = audio
        return samples


class MediaRig:
    """One worker in this process."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        known: dict[str, Any] = {
            "legs": 8,
            "pool_blocks": 1024,
            "hold_back_s": 0.5,
            "rows_per_tick": 256,
            "tick_s": TICK_S,
            "dump_max_bytes": 1 << 20,
            "conceal": False,
        }
        self.folder, self.now = folder, START
        self.settings = WorkerSettings(**(known | settings))
        self.store = StateStore.create(self.settings.legs)
        self.pool: Region = create_pool(self.settings.pool_blocks)
        self.sockets: list[socket.socket] = []
        self.speakers: list[Speaker] = []
        self.recordings: list[Opened] = []
        self.messages: list[protocol.Message] = []
        self.stalled: Gate | None = None
        self.worker = self._new_worker()

    def _new_worker(self) -> MediaWorker:
        worker = MediaWorker(
            self.settings,
            self.store,
            Rings(self.pool.arrays["samples"], self.store.blocks),
            Slab.private(),
            rng=random.Random(1),
            monotonic=self.now,
            realtime=self.now + REALTIME,
        )
        worker.writer.start()
        return worker

    def replace_worker(self, *, resume: bool = True) -> None:
        """What happens when the worker's process dies: another one on the same memory, told everything again."""
        self.worker.writer.stop()
        for leg in self.worker._roster.legs.values():  # its descriptors are copies; they go with it
            leg.rtp.close()
            if leg.rtcp is not None:
                leg.rtcp.close()
            if leg.dump is not None:
                leg.dump.close()
        for number in self.worker._roster.recordings:
            os.close(self._running(number).audio_fd)
        self.worker = self._new_worker()
        for opened in self.recordings:
            if opened.closed:
                continue
            opened.audio_fd = os.dup(opened.fd)
            message = protocol.decode(protocol.encode(opened.message))
            assert isinstance(message, protocol.OpenRecording)
            message.resume = resume
            fds = [opened.audio_fd]
            for spec in message.legs:
                fds += self._descriptors(spec.leg)
            self.worker.command(message, fds)

    # -- recordings --

    def rate_fixed(self) -> list[int]:
        """The rates that the worker has fixed so far."""
        self.take_messages()
        return [m.rate for m in self.messages if isinstance(m, protocol.RateFixed)]

    def _running(self, number: int) -> Opened:
        return next(opened for opened in self.recordings if opened.number == number and not opened.closed)

    def socket(self) -> socket.socket:
        """A bound socket as a leg has it, but without stamps."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(("127.0.0.1", 0))
        self.sockets.append(sock)
        return sock

    def spec(self, leg: int, channel: int, **more: Any) -> protocol.LegSpec:
        """A leg's order; its sockets are numbered 2 * leg and 2 * leg + 1."""
        while len(self.sockets) <= 2 * leg + 1:
            self.socket()
        known: dict[str, Any] = {
            "leg": leg,
            "channel": channel,
            "dump": f"leg{leg}.rtpdump",
            "remote": None,
            "rtcp_remote": None,
            "payloads": {EVENTS_PT: ("telephone-event", 8000, 1, ""), SECRET_PT: ("secret", 8000, 1, "")},
        }
        return protocol.LegSpec(**(known | more))

    def _descriptors(self, leg: int) -> list[int]:
        return [os.dup(self.sockets[2 * leg + i].fileno()) for i in (0, 1)]

    def open(
        self,
        specs: list[protocol.LegSpec],
        *,
        number: int = 0,
        channels: int = 2,
        format: str = "wav",
        rate: int = RATE,
        answered: bool = True,
        delivered: bool = True,
    ) -> Opened:
        """Begin to record now; the 200 OK leaves at the same moment.

        rate: of the file, 0: what arrives decides. delivered: the order reaches the worker.
        """
        path = self.folder / f"{number}-{len(self.recordings)}.wav"
        sample = SampleFormat.MULAW if format == "wav-g711" else SampleFormat.PCM16
        fd = open_recording_file(path, channels=channels, rate=RATE, format=sample)
        message = protocol.OpenRecording(
            recording=number,
            path=str(path),
            rate=rate,
            max_rate=16_000,
            channels=channels,
            format=format,
            epoch_ns=self.now - 10 * S,
            epoch_unix_us=0,
            legs=specs,
        )
        opened = Opened(message, fd, os.dup(fd) if delivered else -1)
        self.recordings.append(opened)
        if not delivered:
            return opened
        fds = [opened.audio_fd]
        for spec in specs:
            fds += self._descriptors(spec.leg)
        self.worker.command(protocol.decode(protocol.encode(message)), fds)
        if answered:
            self.worker.command(protocol.Answered(recording=number, at_ns=self.now), [])
        return opened

    def add_leg(self, recording: int, spec: protocol.LegSpec) -> None:
        """A further leg joins."""
        self.worker.command(protocol.AddLeg(recording=recording, spec=spec), self._descriptors(spec.leg))

    def speaker(self, leg: int, **more: Any) -> Speaker:
        """Somebody who sends to a leg."""
        ssrc = more.pop("ssrc", 100 + len(self.speakers))
        self.speakers.append(Speaker(self.sockets[2 * leg].getsockname(), ssrc=ssrc, **more))
        return self.speakers[-1]

    # -- time --

    def tick(self, ticks: int = 1) -> None:
        """Let 200 ms pass and do what is due then, so many times; the disk keeps up unless it is stalled."""
        for _ in range(ticks):
            self.now += round(TICK_S * S)
            self.worker.tick(monotonic=self.now, realtime=self.now + REALTIME)
            if self.stalled is None:
                self.settle()

    def settle(self) -> None:
        """Wait until the writer thread has done everything that it was given."""
        mark = _Mark()
        self.worker.writer.put(Dump(file=mark, packets=[(0, b"")]))  # type: ignore[arg-type]
        assert mark.reached.wait(20)

    def stall_disk(self) -> None:
        """The writer thread does not come back from its next call."""
        self.stalled = Gate()
        self.worker.writer.put(Dump(file=self.stalled, packets=[(0, b"")]))  # type: ignore[arg-type]

    def free_disk(self) -> None:
        """It comes back."""
        assert self.stalled is not None
        self.stalled.open()
        self.settle()
        self.stalled.close()
        self.stalled = None

    def hang_up(self, number: int = 0, *, ticks: int = 100) -> protocol.Closed:
        """The BYE, now; returns what the worker says of the whole."""
        self.worker.command(protocol.CloseRecording(recording=number, at_ns=self.now), [])
        return self.closed(number, ticks=ticks)

    def closed(self, number: int = 0, *, ticks: int = 100) -> protocol.Closed:
        """Let time pass until the recording is closed."""
        for _ in range(ticks):
            self.tick()
            for message in self.take_messages():
                if isinstance(message, protocol.Closed) and message.recording == number:
                    self._running(number).closed = True
                    return message
        raise AssertionError("the recording was not closed")

    def take_messages(self) -> list[protocol.Message]:
        """What the worker said since the last call."""
        said = list(self.worker.outbox)
        self.worker.outbox.clear()
        self.messages += said
        for message in said:
            if isinstance(message, protocol.RateFixed):  # as the main process does
                self._running(message.recording).message.rate = message.rate
        return said

    def events(self, type_: str) -> list[protocol.LegEvent]:
        """Events of one type so far."""
        self.take_messages()
        return [m for m in self.messages if isinstance(m, protocol.LegEvent) and m.type == type_]

    def stop(self) -> None:
        """Leave nothing behind, whatever state the test is in."""
        if self.stalled is not None:
            self.free_disk()
        self.worker.end_all(self.now)
        for _ in range(60):
            if self.worker.idle():
                break
            self.tick()
        self.worker.writer.stop()
        for opened in self.recordings:
            os.close(opened.fd)
        for sock in self.sockets:
            sock.close()
        for speaker in self.speakers:
            speaker.sock.close()
        for region in (self.store.region, self.pool):
            region.close()
