"""Worker processes under their supervisor: several recordings, many legs, and a main process that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from siprec.codecs import g711
from siprec.media import protocol
from siprec.media.supervisor import MediaProcess, MediaRecording
from siprec.media.worker import WorkerSettings
from siprec.rtp.ports import PortAllocator, PortPair
from siprec.storage.audio_file import open_recording_file
from siprec.storage.wav import SampleFormat
from tests.helpers.media_rig import FRAME, RATE, S, rtp

SETTINGS = WorkerSettings(
    legs=64,
    pool_blocks=1024,
    hold_back_s=0.5,
    rows_per_tick=256,
    tick_s=0.05,
    dump_max_bytes=1 << 20,
    conceal=False,
)


class Rig:
    """One worker process; everything that it says."""

    def __init__(self, folder: Path, listener: Callable[..., None] | None = None) -> None:
        self.folder = folder
        self.said: list[tuple[int, protocol.Message]] = []
        self._news = asyncio.Event()
        self._listener = listener
        self.process = MediaProcess(0, SETTINGS, self._message, self._died)
        self.deaths: list[int] = []
        self.pairs: list[PortPair] = []
        self.fds: list[int] = []

    def _message(self, recording: MediaRecording, message: protocol.Message) -> None:
        self.said.append((recording.opened.recording, message))
        self._news.set()
        if self._listener is not None:
            self._listener(message)

    def _died(self, number: int, status: int) -> None:
        self.deaths.append(status)
        self._news.set()
        if self._listener is not None:
            self._listener(status)

    async def until(self, done: Callable[[], Any]) -> Any:
        """Wait for something that the worker's words bring about."""
        async with asyncio.timeout(30):
            while not (found := done()):
                self._news.clear()
                await self._news.wait()
        return found

    async def closed(self, number: int) -> protocol.Closed:
        return await self.until(
            lambda: next((m for n, m in self.said if n == number and isinstance(m, protocol.Closed)), None)
        )

    def open(self, channels: list[int], **more: Any) -> MediaRecording:
        """A recording with a leg for each of `channels`, by number in `pairs`."""
        number = self.process.take_number()
        path = self.folder / f"{number}.wav"
        self.fds.append(open_recording_file(path, channels=2, rate=RATE, format=SampleFormat.PCM16))
        pairs: dict[int, PortPair] = {}
        specs = []
        for channel in channels:
            leg = self.process.take_leg()
            ports = PortAllocator("127.0.0.1", 0, 1, quarantine_s=0)
            pairs[leg] = PortPair(port=0, rtp=ports._socket(0), rtcp=ports._socket(0))
            self.pairs.append(pairs[leg])
            specs.append(
                protocol.LegSpec(
                    leg=leg,
                    channel=channel,
                    dump=f"{number}-{leg}.rtpdump",
                    remote=None,
                    rtcp_remote=None,
                    payloads={},
                )
            )
        opened = protocol.OpenRecording(
            recording=number,
            path=str(path),
            rate=RATE,
            max_rate=16_000,
            channels=2,
            format="wav",
            epoch_ns=time.monotonic_ns() - 10 * S,
            epoch_unix_us=0,
            legs=specs,
            **more,
        )
        recording = self.process.open(opened, self.fds[-1], pairs)
        self.process.answered(recording, time.monotonic_ns())
        return recording

    async def stop(self) -> None:
        await self.process.stop()
        for pair in self.pairs:
            pair.close()
        for fd in self.fds:
            os.close(fd)


async def play(pair: PortPair, codes: np.ndarray, *, start: float, ssrc: int) -> None:
    """Real time: 20 ms a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for i in range(len(codes) // FRAME):
            await asyncio.sleep(max(0.0, start + i * 0.02 - time.monotonic()))
            payload = codes[i * FRAME : (i + 1) * FRAME].tobytes()
            sock.sendto(rtp(i, i * FRAME, payload, ssrc=ssrc), pair.rtp.getsockname())


def voice(seed: int, seconds: float) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, round(seconds * RATE), np.uint8)


def channel_of(path: Path, channel: int) -> np.ndarray:
    audio, _ = soundfile.read(path, dtype="int16", always_2d=True)
    samples: np.ndarray = audio[:, channel]
    return samples


def stands_in(audio: np.ndarray, codes: np.ndarray) -> bool:
    """Whether the channel holds the voice in one piece, and nothing else."""
    wanted = g711.ULAW[codes]
    heads = np.flatnonzero(audio[: len(audio) - len(wanted) + 1] == wanted[0])
    at = next((i for i in heads if (audio[i : i + len(wanted)] == wanted).all()), None)
    return at is not None and not audio[:at].any() and not audio[at + len(wanted) :].any()


def test_recordings_at_the_same_time_do_not_mix(tmp_path):
    voices = [voice(seed, 1.5) for seed in range(4)]

    async def run() -> list[protocol.Closed]:
        rig = Rig(tmp_path)
        await rig.process.start()
        recordings = [rig.open([0, 1]), rig.open([0, 1])]
        start = time.monotonic() + 0.1
        await asyncio.gather(
            *(play(rig.pairs[i], voices[i], start=start + 0.3 * (i // 2), ssrc=5) for i in range(4))
        )
        closed = []
        for recording in recordings:
            rig.process.close(recording, time.monotonic_ns())
            closed.append(await rig.closed(recording.opened.recording))
        await rig.stop()
        return closed

    closed = asyncio.run(run())
    for recording in (0, 1):
        for channel in (0, 1):
            assert stands_in(
                channel_of(tmp_path / f"{recording}.wav", channel), voices[2 * recording + channel]
            )
        assert [leg.counts["packets"] for leg in closed[recording].legs] == [75, 75]
        assert max(leg.jitter_ms for leg in closed[recording].legs) < 100


def test_when_the_main_process_is_gone_the_worker_finishes_its_files_and_ends(tmp_path):
    said = voice(9, 1.0)

    async def run() -> int:
        rig = Rig(tmp_path)
        await rig.process.start()
        rig.open([0])
        rig.open([0, 1])
        await play(rig.pairs[0], said, start=time.monotonic() + 0.1, ssrc=5)
        process, control = rig.process._process, rig.process._control
        assert process is not None
        assert control is not None
        rig.process._stopping = True  # nobody is there to start another one
        asyncio.get_running_loop().remove_reader(control)
        control.close()
        rig.process._control = None
        async with asyncio.timeout(20):
            status = await process.wait()
        await rig.stop()
        return status

    assert asyncio.run(run()) == 0
    assert stands_in(channel_of(tmp_path / "0.wav", 0), said)
    assert len(channel_of(tmp_path / "1.wav", 0)) >= RATE


def test_a_recording_of_many_legs_is_opened_and_handed_over_in_messages_that_fit(tmp_path):
    async def run() -> tuple[protocol.Closed, int]:
        rig = Rig(tmp_path)
        await rig.process.start()
        recording = rig.open([0, 1] * 20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for second in (0, 1):
                for pair in rig.pairs:
                    sock.sendto(rtp(second, second * FRAME, b"\x80" * FRAME, ssrc=5), pair.rtp.getsockname())
                await rig.until(
                    lambda second=second: (
                        sum(m.type == "source" for _, m in rig.said if hasattr(m, "type")) >= 40
                    )
                )
                pid = rig.process.pid
                assert pid is not None
                if second == 0:
                    os.kill(pid, signal.SIGKILL)
                    await rig.until(lambda: rig.deaths)
                    async with asyncio.timeout(20):
                        while rig.process.pid == pid or not rig.process.running:
                            await asyncio.sleep(0.01)
        rig.process.close(recording, time.monotonic_ns())
        closed = await rig.closed(0)
        await rig.stop()
        return closed, len(rig.deaths)

    closed, deaths = asyncio.run(run())
    assert deaths == 1
    assert len(closed.legs) == 40
    assert closed.error is None
    assert all(1 <= leg.counts["packets"] <= 2 for leg in closed.legs)
    assert sum(leg.counts["packets"] for leg in closed.legs) >= 40


def test_a_listener_that_fails_does_not_leave_the_worker_alone(tmp_path):
    told: list[dict[str, Any]] = []

    def fail(_: object) -> None:
        raise RuntimeError("a listener's own fault")

    async def run() -> protocol.Closed:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        rig = Rig(tmp_path, fail)
        await rig.process.start()
        recording = rig.open([0])
        pid = rig.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await rig.until(lambda: rig.deaths)
        rig.process.close(recording, time.monotonic_ns())
        closed = await rig.closed(0)
        await rig.stop()
        return closed

    assert asyncio.run(run()).error is None
    assert {str(context["exception"]) for context in told} == {"a listener's own fault"}
    assert len(told) >= 2
