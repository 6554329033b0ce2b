"""The daemon: everything put together, started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Iterator

from siprec.config import Config, differences, taken_over
from siprec.daemon import logs
from siprec.daemon.admission import Admission
from siprec.daemon.alarm import Alarm, AlarmKind, Alarms
from siprec.daemon.calls import Calls, Means
from siprec.daemon.closing import Closing
from siprec.daemon.commands import Commands
from siprec.daemon.control import ControlError, ControlServer
from siprec.daemon.figures import Figures
from siprec.daemon.follow import CatalogProcess
from siprec.daemon.health import HealthServer
from siprec.daemon.keeper import Keeper
from siprec.daemon.limits import Capacity, capacity, connection_limit
from siprec.daemon.live import LiveRecording
from siprec.daemon.metrics import Metrics
from siprec.daemon.recorder import Recorder
from siprec.daemon.recovery import close_unfinished
from siprec.daemon.redecoded import TakeOver
from siprec.daemon.sdnotify import Notifier, watchdog_interval
from siprec.daemon.watch import PERIOD_S, Watch
from siprec.media import protocol
from siprec.media.rings import BLOCK
from siprec.media.supervisor import MediaRecording, MediaSupervisor
from siprec.media.worker import WorkerSettings
from siprec.net.allow import AllowList
from siprec.net.endpoint import SipEndpoint
from siprec.net.limits import NetLimits
from siprec.rtp.ports import PortAllocator
from siprec.sip.config import StackConfig
from siprec.sip.parser import SipLimits
from siprec.sip.stack import SipStack
from siprec.sip.transaction import TimerConfig
from siprec.storage.catalog import Catalog, CatalogError
from siprec.storage.fileops import StorageError
from siprec.storage.journal.writer import JournalLocked
from siprec.storage.layout import JOURNAL, create_root
from siprec.storage.space import SpaceAccount, free_bytes

log = logging.getLogger("siprec.daemon")

MB = 1_000_000
RELOADABLE = (
    "log.level",
    "dtmf.store",
    "recording.no_media_s",
    "recording.max_calls",
)
"Keys that SIGHUP changes in a running daemon; the others need a restart."
_CHECKPOINT_S = 60.0
_OTHER_STORAGE = "stop the other recorder, or choose a folder that can be written"


class StartError(Exception):
    """The daemon cannot start; the text names the key of the configuration and says what to do."""


@contextlib.contextmanager
def starting(key: str, advice: str) -> Iterator[None]:
    """Turn what can go wrong at the start into a StartError about a key of the configuration."""
    try:
        yield
    except ControlError as exc:
        raise StartError(str(exc)) from exc
    except CatalogError as exc:
        raise StartError(f"{exc}; {advice}") from exc
    except JournalLocked as exc:
        raise StartError(f"{key}: {exc}; {advice}") from exc
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise StartError(f"{key}: {where}{os.strerror(exc.errno or 0).lower()}; {advice}") from exc


class App:
    """One recorder."""

    def __init__(self, config: Config, *, notifier: Notifier, descriptors: int) -> None:
        """Binds nothing yet, but takes the storage. Raises StartError."""
        self.config = config
        self._notifier, self._descriptors = notifier, descriptors
        self._not_ready: str | None = "starting"
        with starting("storage.path", _OTHER_STORAGE):
            storage = create_root(config.storage.path)
        with starting("catalog.url", "see conf/siprec.yaml for what it may be"):
            self.catalog = Catalog(config.catalog_url)
        self.metrics = Metrics()
        self.alarms = Alarms(self.metrics.registry, listener=self._alarmed)
        self.keeper = Keeper(storage / JOURNAL, self._document_failed)
        self.follower = CatalogProcess(
            config.catalog_url,
            storage / JOURNAL,
            lambda: self.keeper.journal_id,
            lambda: self.keeper.durable,
            log_level=config.log.level,
        )
        self.calls = Calls(self._capacity(free_bytes(config.storage.path)))
        self.media = MediaSupervisor(
            config.rtp.workers or os.cpu_count() or 1,
            worker_settings(config),
            on_message=self._media_message,
            on_death=self._worker_died,
        )
        self._make_recorder()
        self._make_reports()
        self._watching: asyncio.Task[None] | None = None

    def _make_recorder(self) -> None:
        """Signalling, and what admits calls."""
        config, rng = self.config, random.SystemRandom()
        self.ports = port_allocator(config)
        self.space = SpaceAccount(
            self.keeper.free_bytes,
            reserve_per_call=config.storage.reserve_mb_per_call * MB,
            low_water=config.storage.low_water_mb * MB,
        )
        admission = Admission(config, self.ports, self.space, self.keeper, rng)
        self.closing = Closing(config, admission, self.keeper, self.alarms, self.calls.forget)
        stack = SipStack(stack_config(config), rng=rng)
        self.endpoint = SipEndpoint(
            [str(listener) for listener in config.sip.listen],
            stack,
            lambda event: self.recorder.handle(event),
            allow=AllowList([str(network) for network in config.sip.allow]),
            limits=net_limits(config, descriptors=self._descriptors),
        )
        means = Means(
            config=config,
            calls=self.calls,
            endpoint=self.endpoint,
            media=self.media,
            admission=admission,
            closing=self.closing,
            alarms=self.alarms,
            rng=rng,
            accept=", ".join(stack.config.accept),
        )
        self.recorder = Recorder(means)

    def _make_reports(self) -> None:
        """What tells people and machines how it is."""
        self.watch = Watch(
            self.config,
            self.calls,
            self.media,
            self.space,
            self.alarms,
            catalog_fault=lambda: self.follower.status().last_error,
            save=lambda live: self.keeper.save(live.folder, self.closing.document(live)),
        )
        self.health = HealthServer(self.metrics, self._why_not)
        take_over = TakeOver(self.calls, self.keeper, self.config.storage.path)
        self.control = ControlServer(Commands(self.calls, self._why_not, take_over).handlers())
        figures = Figures(
            calls=self.calls,
            media=self.media,
            endpoint=self.endpoint,
            ports=self.ports,
            space=self.space,
            follower=self.follower,
            keeper=self.keeper,
        )
        self.metrics.collect(figures.read)

    def _why_not(self) -> str | None:
        return self._not_ready or self.recorder.why_not()

    def _capacity(self, free: int) -> Capacity:
        config = self.config
        return capacity(
            descriptors=self._descriptors,
            connections=connection_limit(config.sip.max_connections, descriptors=self._descriptors),
            ports=config.rtp.ports,
            disk_free_mb=free // MB,
            reserve_mb_per_call=config.storage.reserve_mb_per_call,
            low_water_mb=config.storage.low_water_mb,
            max_calls=config.recording.max_calls,
        )

    # -- life --

    async def start(self) -> None:
        """Bind and start everything. Raises StartError; `stop` is to be called all the same."""
        with starting("storage.path", _OTHER_STORAGE):
            await self.keeper.start()
        await self.follower.start()
        with starting("control.socket", "choose another path"):
            await self.control.start(self.config.control.socket)
        if (listen := self.config.metrics.listen) is not None:
            with starting("metrics.listen", f"free {listen}, or choose another address"):
                await self.health.start(listen)
        with starting("rtp.address", "choose an address of this machine"):
            self.ports.check_address()
        await self.media.start()
        await close_unfinished(self.catalog, self.follower, self.keeper)
        with starting("sip.listen", "stop what listens there, or choose another address"):
            await self.keeper.looked()  # the first calls need to know what room there is
            await self.endpoint.start()
        self._not_ready = None
        self._watching = asyncio.create_task(self._watch())
        log.info("%s", self.calls.capacity)
        self._notifier.ready(self._status())

    async def stop(self) -> bool:
        """Finish every recording and close everything. False if a recording could not be finished."""
        self._not_ready = "stopping"
        self._notifier.stopping("finishing the recordings")
        finished = await self.recorder.stop()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self.endpoint.close()
        await self.media.stop()
        await self.keeper.close()
        await self.health.close()
        await self.control.close()
        await self.follower.close()
        self.catalog.close()
        return finished

    def reload(self, config: Config) -> None:
        """Take over what can change while running, and name what cannot, each time until a restart takes it."""
        if self._not_ready is None:
            self._notifier.reloading(monotonic_ns=time.monotonic_ns())
        changed = differences(self.config, config)
        logs.set_level(logs.lower(self.config.log.level, config.log.level))  # what is said of the change
        fixed = [key for key in changed if key not in RELOADABLE]
        if fixed:
            log.warning("needs a restart: %s", ", ".join(fixed))
        taken = [key for key in changed if key in RELOADABLE]
        log.info("reloaded: %s", ", ".join(taken) or "nothing changed")
        self.config = taken_over(self.config, config, RELOADABLE)
        self.closing.config = self.watch.config = self.config
        with contextlib.suppress(StorageError):  # a disk that does not answer: as many as before
            self.calls.capacity = self._capacity(self.keeper.free_bytes())
        logs.set_level(self.config.log.level)
        self.follower.set_level(self.config.log.level)
        if self._not_ready is None:
            self._notifier.ready(self._status())

    async def _watch(self) -> None:
        interval = watchdog_interval(os.environ, pid=os.getpid())
        next_checkpoint = time.monotonic() + _CHECKPOINT_S
        while True:
            self.keeper.look()
            await asyncio.sleep(min(PERIOD_S, interval or PERIOD_S))
            now = time.monotonic()
            try:
                self.watch.look(now)
            except Exception:
                log.exception("the watch failed")
                self.alarms(AlarmKind.INTERNAL, "the watch failed; see the log")
            if interval is not None and self.watch.alive(now):
                self._notifier.watchdog()
            if now >= next_checkpoint:
                next_checkpoint = now + _CHECKPOINT_S
                self.keeper.checkpoint(self.follower.status().position)
            self._notifier.status(self._status())

    def _status(self) -> str:
        calls = self.calls
        drain = ", draining" if calls.draining else ""
        return f"{len(calls.by_dialog)} calls, room for {calls.capacity.calls}{drain}"

    # -- what the parts say --

    def _alarmed(self, alarm: Alarm) -> None:
        """The first alarm of a kind about a recording or a leg of it is one of its events."""
        live = self.calls.live.get(alarm.recording or "")
        if live is None or any(
            event.type == alarm.kind and event.data.get("leg") == alarm.leg for event in live.events
        ):
            return
        leg = {} if alarm.leg is None else {"leg": alarm.leg}
        live.event(time.monotonic_ns(), alarm.kind.value, important=True, **leg, text=alarm.text)

    def _media_message(self, recording: MediaRecording, message: protocol.Message) -> None:
        live = self._live_of(recording)
        if live is not None:
            self.closing.message(live, message)

    def _live_of(self, recording: MediaRecording) -> LiveRecording | None:
        return self.calls.by_path.get(recording.opened.path)

    def _worker_died(self, number: int, status: int) -> None:
        at_ns = time.monotonic_ns()
        for recording in self.media.workers[number].recordings.values():
            if (live := self._live_of(recording)) is not None:
                self.closing.interrupted(recording, live, at_ns)
        self.alarms(
            AlarmKind.WORKER_DIED, f"media worker {number} ended with status {status}; another takes over"
        )

    def _document_failed(self, recording: str, error: StorageError) -> None:
        self.alarms(AlarmKind.DISK_ERROR, str(error), recording=recording or None)


def worker_settings(config: Config) -> WorkerSettings:
    """What the media workers are started with."""
    return WorkerSettings(
        legs=config.rtp.ports.pairs,
        pool_blocks=max(64, config.rtp.pool_mb * MB // (2 * BLOCK)),
        hold_back_s=config.rtp.hold_back_ms / 1000,
        rows_per_tick=config.rtp.rows_per_tick,
        tick_s=config.rtp.tick_ms / 1000,
        dump_max_bytes=config.storage.rtpdump_max_mb * MB,
        conceal=config.codecs.conceal == "short",
    )


def stack_config(config: Config) -> StackConfig:
    """What the SIP stack is made with."""
    return StackConfig(
        advertise=config.sip.advertise,
        timers=TimerConfig(t1=config.sip.t1_ms / 1000),
        max_transactions=config.sip.max_transactions,
        max_dialogs=config.sip.max_dialogs,
    )


def net_limits(config: Config, *, descriptors: int) -> NetLimits:
    """What may come in over SIP. descriptors: files that the process may have open."""
    sip = config.sip

    def longest(message: int) -> SipLimits:
        return SipLimits(header_count=sip.max_headers, header_section=sip.max_header_bytes, message=message)

    return NetLimits(
        connections=connection_limit(sip.max_connections, descriptors=descriptors),
        datagram=longest(sip.max_message_udp),
        stream=longest(sip.max_message_tcp),
    )


def port_allocator(config: Config) -> PortAllocator:
    """The RTP ports."""
    return PortAllocator(
        config.rtp.address,
        config.rtp.ports.first,
        config.rtp.ports.last,
        quarantine_s=config.rtp.quarantine_s,
        rcvbuf=config.rtp.rcvbuf,
    )
