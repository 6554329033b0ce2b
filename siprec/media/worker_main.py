"""The worker process: `python -m siprec.media.worker_main SETTINGS`, started by `siprec.media.supervisor`.

Inherited descriptors: the control socket, then the memfds of state, rings and slab, as SETTINGS (JSON) says.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import resource
import signal
import socket
import sys
import time

from siprec.media import protocol
from siprec.media.memory import Region
from siprec.media.rings import Rings, attach_pool
from siprec.media.store import StateStore
from siprec.media.worker import MediaWorker, WorkerSettings
from siprec.rtp import slab as slab_layout
from siprec.rtp.slab import Slab

SLAB_VERSION = 1
_BEAT_S = 1.0
_BACKLOG = 100
"Messages that the main process has not taken yet, above which no sign of life is added."


def main(argv: list[str]) -> int:
    """Run one worker until the main process says stop or goes away."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the main process decides when a worker ends
    with contextlib.suppress(OSError):  # a tick may begin a little later, but not in the middle of an answer
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    arguments = json.loads(argv[1])
    settings = WorkerSettings(**arguments["settings"])
    control = socket.socket(fileno=arguments["control"])
    control.setblocking(False)
    store = StateStore.attach(arguments["state"], settings.legs)
    pool = attach_pool(arguments["pool"], settings.pool_blocks)
    slab_region = Region.attach(arguments["slab"], slab_layout.LAYOUT, version=SLAB_VERSION)
    worker = MediaWorker(
        settings,
        store,
        Rings(pool.arrays["samples"], store.blocks),
        Slab(slab_region.arrays),
        rng=random.Random(os.urandom(16)),
        monotonic=time.monotonic_ns(),
        realtime=time.time_ns(),
    )
    worker.writer.start()
    gc.freeze()  # what is alive now stays; the collector looks at the rest only
    _run(worker, control, settings.tick_s)
    worker.writer.stop()
    return 0


def _run(worker: MediaWorker, control: socket.socket, tick_s: float) -> None:
    stopping = False
    next_tick = next_beat = time.monotonic()
    slowest = 0.0
    while not (stopping and worker.idle() and not worker.outbox):
        next_tick = max(next_tick + tick_s, time.monotonic())
        _wait(next_tick)
        begun = time.monotonic()
        if _commands(worker, control) and not stopping:
            stopping = True
            worker.end_all(time.monotonic_ns())
        worker.tick(monotonic=time.monotonic_ns(), realtime=time.time_ns())
        slowest = max(slowest, time.monotonic() - begun)
        if begun >= next_beat and len(worker.outbox) < _BACKLOG:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            cpu = usage.ru_utime + usage.ru_stime
            worker.outbox.append(worker.beat(tick_s_max=slowest, cpu_s=cpu))
            next_beat, slowest = begun + _BEAT_S, 0.0
        _deliver(worker, control)


def _wait(until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        time.sleep(left)


def _commands(worker: MediaWorker, control: socket.socket) -> bool:
    """Carry out what the main process sent. True when it said stop, or is gone."""
    while True:
        try:
            received = protocol.receive(control)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        if received is None or isinstance(received[0], protocol.Stop):
            return True
        worker.command(*received)


def _deliver(worker: MediaWorker, control: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while worker.outbox:
            with contextlib.suppress(ConnectionError):  # nobody is left to tell
                protocol.send(control, worker.outbox[0])
            worker.outbox.popleft()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
