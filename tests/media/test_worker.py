"""A real worker process with real sockets: what is sent to a leg's port stands in the file, sample by sample."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from siprec.codecs import g711
from siprec.media import protocol
from siprec.media.supervisor import MediaRecording, MediaSupervisor
from siprec.media.worker import WorkerSettings
from siprec.rtp.ports import PortAllocator, PortPair
from siprec.storage.audio_file import open_recording_file
from siprec.storage.wav import SampleFormat

SETTINGS = WorkerSettings(
    legs=8,
    pool_blocks=512,
    hold_back_s=0.5,
    rows_per_tick=256,
    tick_s=0.05,
    dump_max_bytes=1 << 20,
    conceal=False,
)
FRAME = 160


def voice(seed: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, int(seconds * 8000), np.uint8)


def rtp(seq: int, timestamp: int, payload: bytes, *, ssrc: int = 5, pt: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, pt, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class Rig:
    """One worker and a recording of two legs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[protocol.Message] = []
        self.closed = asyncio.Event()
        self.supervisor = MediaSupervisor(
            1, SETTINGS, on_message=self._message, on_death=lambda number, status: None
        )
        self.ports = PortAllocator("127.0.0.1", 0, 0, quarantine_s=0)
        self.pairs: list[PortPair] = []

    def _message(self, recording: MediaRecording, message: protocol.Message) -> None:
        self.messages.append(message)
        if isinstance(message, protocol.Closed):
            self.closed.set()

    def bind(self) -> PortPair:
        """A pair on any free ports: the numbers do not matter to a worker."""
        pair = PortPair(port=0, rtp=self.ports._socket(0), rtcp=self.ports._socket(0))
        self.pairs.append(pair)
        return pair

    async def open(self, **more: object) -> MediaRecording:
        await self.supervisor.start()
        worker = self.supervisor.choose()
        path = self.folder / "audio.wav"
        self.fd = open_recording_file(path, channels=2, rate=8000, format=SampleFormat.PCM16)
        specs = []
        pairs = {}
        for channel in (0, 1):
            leg = worker.take_leg()
            pairs[leg] = self.bind()
            specs.append(
                protocol.LegSpec(
                    leg=leg,
                    channel=channel,
                    dump=f"leg{channel}.rtpdump",
                    remote=None,
                    rtcp_remote=None,
                    payloads={101: ("telephone-event", 8000, 1, ""), 96: ("secret", 8000, 1, "")},
                )
            )
        opened = protocol.OpenRecording(
            recording=worker.take_number(),
            path=str(path),
            rate=8000,
            max_rate=16_000,
            channels=2,
            format="wav",
            epoch_ns=time.monotonic_ns() - 10**10,
            epoch_unix_us=0,
            legs=specs,
        )
        recording = worker.open(opened, self.fd, pairs)
        worker.answered(recording, time.monotonic_ns())
        return recording

    async def close(self, recording: MediaRecording) -> protocol.Closed:
        recording.worker.close(recording, time.monotonic_ns())
        await asyncio.wait_for(self.closed.wait(), 20)
        await self.supervisor.stop()
        for pair in self.pairs:
            pair.close()
        os.close(self.fd)
        (closed,) = (m for m in self.messages if isinstance(m, protocol.Closed))
        return closed


async def play(pair: PortPair, payload: np.ndarray, *, start: float, ssrc: int = 5) -> None:
    target = pair.rtp.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for i in range(len(payload) // FRAME):
            await asyncio.sleep(max(0.0, start + i * 0.02 - time.monotonic()))
            sock.sendto(rtp(i, i * FRAME, payload[i * FRAME : (i + 1) * FRAME].tobytes(), ssrc=ssrc), target)


def find(audio: np.ndarray, wanted: np.ndarray) -> int:
    """Where `wanted` stands in `audio`, sample by sample; -1 if it does not."""
    head = np.flatnonzero(audio[: len(audio) - len(wanted) + 1] == wanted[0])
    return next((int(i) for i in head if (audio[i : i + len(wanted)] == wanted).all()), -1)


def test_both_legs_stand_in_their_channel_sample_by_sample(tmp_path):
    left, right = voice(1, 2.0), voice(2, 2.0)

    async def run() -> protocol.Closed:
        rig = Rig(tmp_path)
        recording = await rig.open()
        start = time.monotonic() + 0.1
        await asyncio.gather(
            play(rig.pairs[0], left, start=start), play(rig.pairs[1], right, start=start, ssrc=6)
        )
        return await rig.close(recording)

    closed = asyncio.run(run())
    audio, rate = soundfile.read(tmp_path / "audio.wav", dtype="int16")
    assert rate == 8000
    assert len(audio) == closed.frames
    assert find(audio[:, 0], g711.ULAW[left]) >= 0
    assert find(audio[:, 1], g711.ULAW[right]) >= 0
    assert [leg.counts["packets"] for leg in closed.legs] == [100, 100]
    assert [leg.counts["lost"] for leg in closed.legs] == [0, 0]
    assert [leg.ssrcs for leg in closed.legs] == [[5], [6]]


@pytest.mark.parametrize("kills", [3])
def test_a_killed_worker_is_replaced_and_the_file_goes_on(tmp_path, kills):
    left = voice(3, 4.0)

    async def kill(recording: MediaRecording) -> None:
        for _ in range(kills):
            await asyncio.sleep(1.0)
            pid = recording.worker.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

    async def run() -> tuple[protocol.Closed, int]:
        rig = Rig(tmp_path)
        recording = await rig.open()
        start = time.monotonic() + 0.1
        await asyncio.gather(play(rig.pairs[0], left, start=start), kill(recording))
        closed = await rig.close(recording)
        return closed, recording.worker.deaths

    closed, deaths = asyncio.run(run())
    audio, _ = soundfile.read(tmp_path / "audio.wav", dtype="int16")
    assert deaths == kills
    first = find(audio[:, 0], g711.ULAW[left[:FRAME]])
    assert first >= 0
    same = audio[first : first + len(left), 0] == g711.ULAW[left]
    assert same.mean() > 0.9  # what was in an unfinished tick is not repeated yet
    assert closed.legs[0].counts["packets"] + closed.legs[0].counts["lost"] == 200


def test_events_become_digits_and_unknown_payloads_are_kept_as_they_came(tmp_path):
    async def run() -> tuple[protocol.Closed, list[protocol.Message]]:
        rig = Rig(tmp_path)
        recording = await rig.open()
        target = rig.pairs[0].rtp.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for i in range(10):
                sock.sendto(rtp(i, i * FRAME, b"\xd5" * FRAME, pt=8), target)
            for i, end in enumerate((0, 0, 0x80, 0x80, 0x80)):
                sock.sendto(rtp(10 + i, 1600, bytes([5, end | 10, 0, 160 * (i + 1) % 256]), pt=101), target)
            for i in range(5):
                sock.sendto(rtp(15 + i, 2400 + i * FRAME, bytes([i]) * 33, pt=96), target)
            for junk in (b"", b"\x80", b"\0" * 20, b"\x16" * 40, b"\xff" * 60):
                sock.sendto(junk, target)
        await asyncio.sleep(0.5)
        return await rig.close(recording), rig.messages

    closed, messages = asyncio.run(run())
    counts = closed.legs[0].counts
    assert (counts["packets"], counts["events"], counts["undecodable"]) == (20, 5, 5)
    assert (counts["broken"], counts["foreign"]) == (1, 4)
    assert closed.legs[0].codecs == ["PCMA", "telephone-event", "secret"]
    digits = [m.data["digit"] for m in messages if isinstance(m, protocol.LegEvent) and m.type == "dtmf"]
    assert digits == ["5"]
    assert (tmp_path / "leg0.rtpdump").stat().st_size > 5 * 45
    assert not (tmp_path / "leg1.rtpdump").exists()
