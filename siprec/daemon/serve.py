"""Running the daemon in the foreground: signals, the greeting, the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable

import uvloop

from siprec.config import Config, ConfigError
from siprec.daemon import logs
from siprec.daemon.app import App, StartError
from siprec.daemon.limits import raise_descriptor_limit
from siprec.daemon.sdnotify import Notifier

__all__ = ["StartError", "serve"]

log = logging.getLogger("siprec.daemon")

_COLLECT_AT = (50_000, 20, 100)
"A call leaves few cycles, and looking at all objects of thousands of calls takes longer than answering one."


def serve(config: Config, reload: Callable[[], Config]) -> int:
    """Run until SIGINT or SIGTERM; open recordings are finished first. Returns the exit status.

    reload: reads the configuration again, for SIGHUP. Raises StartError.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AT)
    thread = logs.start(config.log.level, environ=os.environ)
    try:
        return uvloop.run(_serve(config, reload, raise_descriptor_limit()))
    finally:
        logs.stop(thread)


async def _serve(config: Config, reload: Callable[[], Config], descriptors: int) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)  # a second one changes nothing
    app = App(config, notifier=Notifier.from_environ(os.environ), descriptors=descriptors)
    loop.add_signal_handler(signal.SIGHUP, _reload, app, reload)
    try:
        await app.start()
        _greet(app)
        await stop.wait()
    finally:
        finished = await app.stop()
    return 0 if finished else 1


def _reload(app: App, reload: Callable[[], Config]) -> None:
    try:
        app.reload(reload())
    except ConfigError as error:
        log.error("not reloaded: %s", "; ".join(error.problems))


def _greet(app: App) -> None:
    """Three lines: where to point an SBC, where files go, how to place a test call."""
    addresses = [str(url) for url in app.endpoint.addresses]
    first = app.endpoint.addresses[0]
    host = f"[{first.host}]" if ":" in first.host else first.host
    tcp = ";transport=tcp" if first.transport == "tcp" else ""
    print(f"recording: point the SBC's SIPREC server at {', '.join(addresses)}")
    print(f"files:     {app.config.storage.path}")
    print(f"test call: siprec probe --verify 'sip:{host}:{first.port}{tcp}'", flush=True)
