"""The catalogue follows the journal in a process of its own, so that a busy database costs signalling nothing.

`CatalogProcess` is the main process's side; `python -m siprec.daemon.follow ARGUMENTS` is the other. They talk in lines:
`segment offset` (the journal is durable up to here) and `level NAME` (log from here up) one way, a status as JSON the other. At the end of its input
the process takes over what is left and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from siprec.daemon import logs
from siprec.storage.catalog import Catalog
from siprec.storage.catalog.follower import Follower, FollowerStatus
from siprec.storage.journal.record import START, Position

PERIOD_S = 0.25
_RESTART_S = 1.0
_NICE = 10
_CLOSE_S = 10.0
_LEVEL = "level"


class CatalogProcess:
    """Keeps a process that follows the journal."""

    def __init__(
        self,
        url: str,
        directory: Path,
        journal: Callable[[], str],
        durable: Callable[[], Position],
        *,
        log_level: str,
    ) -> None:
        """url: of the catalogue. directory, journal: folder and id of the journal. durable: how far it may be read."""
        self._arguments = {"url": url, "directory": str(directory), "log_level": log_level}
        self._journal = journal
        self._durable = durable
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False
        self._status = FollowerStatus(
            position=START, lag_bytes=0, last_error="not yet started", refused=0, damaged=0
        )

    def status(self) -> FollowerStatus:
        """What the process last said."""
        return self._status

    def set_level(self, level: str) -> None:
        """Change the least important level that the process logs."""
        self._arguments["log_level"] = level
        self._say(f"{_LEVEL} {level}")

    def caught_up(self) -> bool:
        """Whether the catalogue has everything that is durable now."""
        return self._status.last_error is None and self._status.position >= self._durable()

    async def start(self) -> None:
        """Start the process and watch over it."""
        await self._spawn()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tell())]

    async def close(self) -> None:
        """Let it take over what is there, and end it."""
        self._closing = True
        for task in self._tasks[1:]:
            task.cancel()
        process = self._process
        if process is None or process.stdin is None:
            return
        self._say_durable()
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._tasks, return_exceptions=True), _CLOSE_S)
        if process.returncode is None:
            process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "siprec.daemon.follow",
            json.dumps(self._arguments | {"journal": self._journal()}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the main process alone
        )

    async def _listen(self) -> None:
        while True:
            assert self._process is not None
            assert self._process.stdout is not None
            while line := await self._process.stdout.readline():
                fields = json.loads(line)
                fields["position"] = Position(*fields["position"])
                self._status = FollowerStatus(**fields)
            await self._process.wait()
            if self._closing:
                return
            await asyncio.sleep(_RESTART_S)
            await self._spawn()

    async def _tell(self) -> None:
        while True:
            self._say_durable()
            await asyncio.sleep(PERIOD_S)

    def _say_durable(self) -> None:
        segment, offset = self._durable()
        self._say(f"{segment} {offset}")

    def _say(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):  # it died: `_listen` sees to that
            self._process.stdin.write(f"{line}\n".encode())


def main(argv: list[str]) -> int:
    """Follow until the end of the input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the main process decides when to end
    with contextlib.suppress(OSError):  # nobody waits for the catalogue
        os.nice(_NICE)
    arguments = json.loads(argv[1])
    log = logs.start(arguments["log_level"], environ=os.environ)
    durable = START
    follower = Follower(
        Catalog(arguments["url"]),
        arguments["directory"],
        arguments["journal"],
        lambda: durable,
        interval_s=PERIOD_S,
    )
    follower.start()
    reporter = _Reporter(follower)
    reporter.start()
    for line in sys.stdin:
        segment, offset = line.split()
        if segment == _LEVEL:
            logs.set_level(offset)
            continue
        durable = Position(int(segment), int(offset))
    follower.close()
    reporter.stop()
    logs.stop(log)
    return 0


class _Reporter(threading.Thread):
    """Prints the follower's status whenever it has changed."""

    def __init__(self, follower: Follower) -> None:
        super().__init__(name="status", daemon=True)
        self._follower = follower
        self._stop_it = threading.Event()
        self._last = ""

    def run(self) -> None:
        while not self._stop_it.wait(PERIOD_S):
            self._report()

    def stop(self) -> None:
        """Say the last word and end."""
        self._stop_it.set()
        self.join()
        self._report()

    def _report(self) -> None:
        text = json.dumps(asdict(self._follower.status()))
        if text != self._last:
            self._last = text
            with contextlib.suppress(BrokenPipeError):
                print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
