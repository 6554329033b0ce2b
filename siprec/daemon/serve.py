"""Running the daemon in the foreground: signals, the greeting, the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable

import uvloop

from siprec.config import Config, ConfigError
from siprec.daemon import logs
from siprec.daemon.app import App, StartError
from siprec.daemon.limits import raise_descriptor_limit
from siprec.daemon.sdnotify import Notifier

__all__ = ["StartError", "serve"]

log = logging.getLogger("siprec.daemon")

HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"Where a listener on a wildcard address is reached from the same machine."
_COLLECT_AT = (50_000, 20, 100)
"A call leaves few cycles, and looking at all objects of thousands of calls takes longer than answering one."


def serve(config: Config, reload: Callable[[], Config], *, probe: str = "siprec probe") -> int:
    """Run until SIGINT or SIGTERM; open recordings are finished first. Returns the exit status.

    reload: reads the configuration again, for SIGHUP; started from a terminal, SIGHUP says that this was closed, and is an
    end too. probe: the command that places a test call. Raises StartError.
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_AT)
    thread = logs.start(config.log.level, environ=os.environ)
    try:
        return uvloop.run(_serve(config, reload, probe, raise_descriptor_limit()))
    finally:
        logs.stop(thread)


async def _serve(config: Config, reload: Callable[[], Config], probe: str, descriptors: int) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    ends = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if _has_terminal() else [])]
    for number in ends:
        loop.add_signal_handler(number, stop.set)  # a second one changes nothing
    app = App(config, notifier=Notifier.from_environ(os.environ), descriptors=descriptors)
    if signal.SIGHUP not in ends:
        loop.add_signal_handler(signal.SIGHUP, _reload, app, reload)
    try:
        await app.start()
        _say(_greeting(app, probe))
        await stop.wait()
    finally:
        finished = await app.stop()
    return 0 if finished else 1


def _has_terminal() -> bool:
    """Whether somebody types at our input."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _reload(app: App, reload: Callable[[], Config]) -> None:
    try:
        app.reload(reload())
    except ConfigError as error:
        log.error("not reloaded: %s", "; ".join(error.problems))


def _say(lines: tuple[str, ...]) -> None:
    """Print lines in one piece: the log writes to the same terminal."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _greeting(app: App, probe: str) -> tuple[str, str, str]:
    """Three lines: where to point an SBC, where files go, how to place a test call."""
    addresses = app.endpoint.addresses
    host, port = HERE.get(addresses[0].host, addresses[0].host), addresses[0].port
    tcp = ";transport=tcp" if addresses[0].transport == "tcp" else ""
    return (
        f"recording: point the SBC's SIPREC server at {', '.join(str(url) for url in addresses)}",
        f"files:     {app.config.storage.path}",
        f"test call: {probe} --verify 'sip:{f'[{host}]' if ':' in host else host}:{port}{tcp}'",
    )
