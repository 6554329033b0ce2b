"""The main process's side of the media workers: starts them, gives them recordings, replaces one that died.

Sockets, files and memory belong to the main process. A worker gets copies; when it dies the next one gets them
again and goes on (DESIGN 5).
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from siprec.media import protocol
from siprec.media.levels import level_db
from siprec.media.memory import Region
from siprec.media.rings import RingReader, create_pool
from siprec.media.store import StateStore
from siprec.media.worker import WorkerSettings
from siprec.media.worker_main import SLAB_VERSION
from siprec.rtp import slab as slab_layout
from siprec.rtp.ports import PortPair

Handler = Callable[["MediaRecording", protocol.Message], None]
DeathHandler = Callable[[int, int], None]

_RESTART_S = 1.0
_AGAIN_S = 0.05
LEGS_AT_ONCE = 6
"In one message: with as many payload types and keys as an offer may name, they fit."
_STOP_S = 20.0
"Time for a worker to finish its files when it is told to stop."
_YOUNG_S = 0.5
"A process that lived no longer than this is not replaced at once."


class WorkerBusy(Exception):
    """No worker can take another recording: no free leg rows, or no worker runs."""


@dataclass(slots=True)
class MediaRecording:
    """A recording that a worker has: what must be said again to the next one if it dies."""

    worker: MediaProcess
    opened: protocol.OpenRecording
    audio_fd: int
    pairs: dict[int, PortPair]
    "By leg."
    answered: protocol.Answered | None = None
    closing: protocol.CloseRecording | None = None
    ended: dict[int, protocol.EndLeg] = field(default_factory=dict)

    def descriptors(self, leg: int) -> list[int]:
        """RTP and, unless multiplexed, RTCP of a leg."""
        pair = self.pairs[leg]
        return [pair.rtp.fileno()] + ([pair.rtcp.fileno()] if pair.rtcp is not None else [])


class MediaProcess:
    """One worker process with its shared memory."""

    def __init__(
        self, number: int, settings: WorkerSettings, on_message: Handler, on_death: DeathHandler
    ) -> None:
        self.number, self.settings = number, settings
        self._on_message, self._on_death = on_message, on_death
        self.state = StateStore.create(settings.legs)
        self._pool = create_pool(settings.pool_blocks)
        self._slab = Region.create("slab", slab_layout.LAYOUT, version=SLAB_VERSION)
        self.rings = RingReader(self._pool.arrays["samples"], self.state.blocks)
        self._free_legs = deque(range(settings.legs))
        self._free_numbers = deque(range(settings.legs))
        self.recordings: dict[int, MediaRecording] = {}
        self.counters: dict[str, float] = {}
        self.deaths = 0
        self.last_beat = time.monotonic()
        "When the worker last gave a sign of life [monotonic seconds]."
        self._control: socket.socket | None = None
        self._queue: deque[tuple[protocol.Message, list[int]]] = deque()
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False
        self._spawned = 0.0

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether a process has the sockets now."""
        return self._control is not None

    async def start(self) -> None:
        """Start the process and watch over it."""
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Say stop, wait until everything is written, and free the memory."""
        self._stopping = True
        self.send(protocol.Stop())
        if self._watcher is not None:
            await self._end_of(self._watcher)
        for region in (self.state.region, self._pool, self._slab):
            region.close()

    async def _end_of(self, watcher: asyncio.Task[None]) -> None:
        """Wait for the process; one that does not end by itself is killed."""
        try:
            await asyncio.wait_for(asyncio.shield(watcher), _STOP_S)
        except TimeoutError:
            watcher.cancel()
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        memory = [self.state.region.fd, self._pool.fd, self._slab.fd]
        arguments = {
            "settings": asdict(self.settings),
            "control": theirs.fileno(),
            "state": memory[0],
            "pool": memory[1],
            "slab": memory[2],
        }
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "siprec.media.worker_main",
                json.dumps(arguments),
                pass_fds=[theirs.fileno(), *memory],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for the main process alone
            )
        finally:
            theirs.close()
        self._control, self._spawned = ours, time.monotonic()
        asyncio.get_running_loop().add_reader(ours, self._readable)

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            status = await self._process.wait()
            self._hang_up()
            if self._stopping:
                return
            self.deaths += 1
            self._tell(self._on_death, self.number, status)
            self._queue.clear()
            await self._respawn()
            self._hand_over()

    async def _respawn(self) -> None:
        """Start the next process: at once, but one that dies young waits for a while."""
        if time.monotonic() - self._spawned < _YOUNG_S:
            await asyncio.sleep(_RESTART_S)
        while not self.running:
            try:
                await self._spawn()
            except OSError:
                await asyncio.sleep(_RESTART_S)

    def _hang_up(self) -> None:
        if self._control is None:
            return
        self._readable()  # what it said last still counts
        if self._control is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._control)
            loop.remove_writer(self._control)
            self._control.close()
            self._control = None

    def _hand_over(self) -> None:
        """Tell a new worker everything that the dead one knew."""
        for recording in self.recordings.values():
            self._send_open(recording, resume=True)
            for later in (recording.answered, *recording.ended.values(), recording.closing):
                if later is not None:
                    self.send(later)
        if self._stopping:
            self.send(protocol.Stop())

    # -- recordings --

    def free_legs(self) -> int:
        """Rows for further legs."""
        return len(self._free_legs)

    def take_leg(self) -> int:
        """A row for a leg. Raises WorkerBusy."""
        if not self._free_legs:
            raise WorkerBusy(f"media worker {self.number} has no row for another leg")
        return self._free_legs.popleft()

    def give_back_leg(self, leg: int) -> None:
        """A row that is used no longer."""
        self._free_legs.append(leg)

    def take_number(self) -> int:
        """A number for a recording. Raises WorkerBusy."""
        if not self.running or not self._free_numbers:
            raise WorkerBusy(f"media worker {self.number} takes no recording now")
        return self._free_numbers.popleft()

    def free_numbers(self) -> int:
        """How many further recordings it has numbers for."""
        return len(self._free_numbers)

    def give_back_number(self, number: int) -> None:
        """A number that is used no longer."""
        self._free_numbers.append(number)

    def open(
        self, opened: protocol.OpenRecording, audio_fd: int, pairs: dict[int, PortPair]
    ) -> MediaRecording:
        """Begin to record. The descriptors stay the caller's, open until the recording is closed."""
        recording = MediaRecording(self, opened, audio_fd, pairs)
        self.recordings[opened.recording] = recording
        self._send_open(recording, resume=False)
        return recording

    def _send_open(self, recording: MediaRecording, *, resume: bool) -> None:
        """Say it in messages that are never too long: the recording with its first legs, then the others."""
        opened = recording.opened
        first, others = opened.legs[:LEGS_AT_ONCE], opened.legs[LEGS_AT_ONCE:]
        fds = [recording.audio_fd]
        for spec in first:
            fds += recording.descriptors(spec.leg)
        self.send(replace(opened, legs=first, resume=resume), fds)
        for spec in others:
            added = protocol.AddLeg(recording=opened.recording, spec=spec, resume=resume)
            self.send(added, recording.descriptors(spec.leg))

    def answered(self, recording: MediaRecording, at_ns: int) -> None:
        """The 200 OK leaves now."""
        recording.answered = protocol.Answered(recording=recording.opened.recording, at_ns=at_ns)
        self.send(recording.answered)

    def add_leg(self, recording: MediaRecording, spec: protocol.LegSpec, pair: PortPair) -> None:
        """A further leg of a running recording."""
        recording.pairs[spec.leg] = pair
        recording.opened.legs.append(spec)
        self.send(
            protocol.AddLeg(recording=recording.opened.recording, spec=spec), recording.descriptors(spec.leg)
        )

    def update_leg(self, recording: MediaRecording, spec: protocol.LegSpec, at_ns: int) -> None:
        """Offer and answer changed a leg."""
        legs = recording.opened.legs
        legs[[known.leg for known in legs].index(spec.leg)] = spec
        self.send(protocol.UpdateLeg(spec=spec, at_ns=at_ns))

    def end_leg(self, recording: MediaRecording, leg: int, at_ns: int) -> None:
        """A leg takes no more packets; its report comes with the recording's."""
        recording.ended[leg] = protocol.EndLeg(leg=leg, at_ns=at_ns)
        self.send(recording.ended[leg])

    def close(self, recording: MediaRecording, at_ns: int) -> None:
        """The recording ends at `at_ns`; `Closed` follows."""
        recording.closing = protocol.CloseRecording(recording=recording.opened.recording, at_ns=at_ns)
        self.send(recording.closing)

    def _closed(self, recording: MediaRecording) -> None:
        number = recording.opened.recording
        del self.recordings[number]
        self._free_numbers.append(number)
        self._free_legs.extend(recording.pairs)

    # -- talk --

    def send(self, message: protocol.Message, fds: list[int] | None = None) -> None:
        """Send in order; what the worker cannot take yet waits here."""
        if self._control is None:
            return  # the next worker is told everything when it starts
        self._queue.append((message, fds or []))
        if len(self._queue) == 1:
            self._flush()

    def _flush(self) -> None:
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        while self._queue:
            try:
                protocol.send(self._control, *self._queue[0])
            except BlockingIOError:
                loop.add_writer(self._control, self._flush)
                return
            except ConnectionError:
                break  # it died; `_watch` sees to that
            except OSError as exc:
                if exc.errno != errno.EBADF:  # too many descriptors on their way, no memory
                    loop.remove_writer(self._control)
                    loop.call_later(_AGAIN_S, self._flush)
                    return
            self._queue.popleft()
        loop.remove_writer(self._control)

    def _readable(self) -> None:
        while self._control is not None:
            try:
                received = protocol.receive(self._control)
            except (BlockingIOError, ConnectionError):
                return
            if received is None:
                asyncio.get_running_loop().remove_reader(self._control)
                return
            self._take(received[0])

    def _take(self, message: protocol.Message) -> None:
        if isinstance(message, protocol.Beat):
            self.counters, self.last_beat = message.counters, time.monotonic()
        elif isinstance(message, protocol.LegEvent | protocol.RateFixed | protocol.Closed):
            recording = self.recordings.get(message.recording)
            if recording is None:
                return
            if isinstance(message, protocol.RateFixed):
                recording.opened.rate = message.rate  # for a worker that takes it over
            if isinstance(message, protocol.Closed):
                self._closed(recording)
            self._tell(self._on_message, recording, message)

    @staticmethod
    def _tell(callback: Callable[..., None], *arguments: object) -> None:
        """Whatever a listener does wrong, the worker is watched over all the same."""
        try:
            callback(*arguments)
        except Exception as exc:  # noqa: BLE001 - reported, and nothing here depends on it
            report = {"message": "a listener of the media workers failed", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(report)

    def level(self, leg: int) -> float | None:
        """How loud a leg is now [dB below full scale]."""
        return level_db(self.state, self.rings, leg, now_ns=time.monotonic_ns())


class MediaSupervisor:
    """All media workers."""

    def __init__(
        self, workers: int, settings: WorkerSettings, *, on_message: Handler, on_death: DeathHandler
    ) -> None:
        self.workers = [MediaProcess(i, settings, on_message, on_death) for i in range(workers)]

    async def start(self) -> None:
        """Start every worker."""
        await asyncio.gather(*(worker.start() for worker in self.workers))

    async def stop(self) -> None:
        """Stop every worker once its recordings are written."""
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    def choose(self) -> MediaProcess:
        """The running worker with the fewest recordings, those being admitted included. Raises WorkerBusy."""
        running = [worker for worker in self.workers if worker.running]
        if not running:
            raise WorkerBusy("no media worker is running")
        return max(running, key=lambda worker: worker.free_numbers())

    def why_not(self) -> str | None:
        """Why no recording can be taken; None if it can."""
        return None if any(worker.running for worker in self.workers) else "no media worker is running"

    def silent_since(self, recording: MediaRecording) -> float | None:
        """Monotonic seconds of the newest packet of any leg, None if there was none."""
        legs = np.array([spec.leg for spec in recording.opened.legs], np.int64)
        rows, _ = recording.worker.state.load(legs)
        newest = int(rows["last_ns"].max()) if legs.size else 0
        return newest / 1e9 if newest else None
