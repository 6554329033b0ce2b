"""Follows the journal into the catalogue, however long the catalogue is away; whoever appends never waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from siprec.storage.catalog.catalog import Catalog
from siprec.storage.catalog.engine import CatalogRefused, CatalogUnavailable
from siprec.storage.fileops import StrPath
from siprec.storage.journal.reader import entries, lag_bytes
from siprec.storage.journal.record import START, Damage, Entry, Position

log = logging.getLogger("siprec.storage.catalog")


class Stop(Protocol):
    """What a thread waits on; a `threading.Event` is one."""

    def set(self) -> None:
        """Ask to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait `timeout` seconds, or until asked to stop: then True."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerStatus:
    """How far the catalogue is behind, and why."""

    position: Position
    "Up to here it is in the catalogue; segments before may be removed."
    lag_bytes: int
    last_error: str | None
    "Why the last attempt failed; None when it succeeded."
    refused: int
    "Records that can never be taken over, passed over and logged."
    damaged: int
    "Places in the journal that hold no record."


class Follower:
    """A thread that takes the journal's durable records over in batches.

    directory, journal: the journal's folder and id.   durable: how far it may be read (`JournalWriter.durable`).
    interval_s: how often it looks.   backoff_s: shortest and longest wait after a failure, doubling between.
    """

    def __init__(
        self,
        catalog: Catalog,
        directory: StrPath,
        journal: str,
        durable: Callable[[], Position],
        *,
        stop: Stop | None = None,
        batch: int = 200,
        interval_s: float = 0.25,
        backoff_s: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        self._catalog, self._directory, self._journal, self._durable = catalog, directory, journal, durable
        self._stop: Stop = stop or threading.Event()
        self._batch, self._interval, self._backoff = batch, interval_s, backoff_s
        self._position, self._connected = START, False
        self._last_error: str | None = None
        self._refused = self._damaged = 0
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Take over what is there, in one last attempt, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def status(self) -> FollowerStatus:
        """How far it is behind; may be called from any thread."""
        position = self._position
        return FollowerStatus(
            position=position,
            lag_bytes=lag_bytes(self._directory, position, self._durable()),
            last_error=self._last_error,
            refused=self._refused,
            damaged=self._damaged,
        )

    def _run(self) -> None:
        delay = self._interval
        while not self._stop.wait(delay):
            shortest, longest = self._backoff
            failing = self._last_error is not None
            delay = self._interval if self._attempt() else min(longest, 2 * delay if failing else shortest)
        self._attempt()

    def _attempt(self) -> bool:
        """Catch up; False if that failed, with the reason in `last_error`."""
        try:
            self._catch_up()
        except (CatalogUnavailable, OSError) as exc:
            self._failed(str(exc))
            return False
        except Exception as exc:
            log.exception("the catalogue could not follow the journal")
            self._failed(repr(exc))
            return False
        if self._last_error is not None:
            log.info("the catalogue is back and has caught up")
        self._last_error = None
        return True

    def _failed(self, reason: str) -> None:
        if self._last_error is None:
            log.warning("the catalogue is away, recording goes on: %s", reason)
        self._last_error, self._connected = reason, False

    def _catch_up(self) -> None:
        until = self._durable()
        if not self._connected:
            self._catalog.upgrade()
            self._position, self._connected = self._catalog.position(self._journal), True
        if self._position >= until:
            return
        found = entries(self._directory, after=self._position, until=until)
        while batch := list(islice(found, self._batch)):
            self._take_over(batch)

    def _take_over(self, batch: Sequence[Entry | Damage]) -> None:
        for damage in (one for one in batch if isinstance(one, Damage)):
            self._damaged += 1
            log.warning("journal segment %d, byte %d: %s", *damage.start, damage.reason)
        records = [one for one in batch if isinstance(one, Entry)]
        try:
            self._apply(records, batch[-1].position)
        except CatalogRefused:
            self._take_over_singly(records, batch[-1].position)
        self._position = batch[-1].position

    def _take_over_singly(self, records: Sequence[Entry], end: Position) -> None:
        for one in records:
            try:
                self._apply([one], one.position)
            except CatalogRefused as exc:
                self._refused += 1
                log.error("journal segment %d, before byte %d: not taken over: %s", *one.position, exc)
        self._apply([], end)

    def _apply(self, records: Sequence[Entry], position: Position) -> None:
        self._catalog.apply([one.record for one in records], journal=self._journal, position=position)
