import sqlite3
import threading

import pytest
from sqlalchemy import Engine, event

from siprec.storage.catalog import Catalog, Follower
from siprec.storage.journal import START, JournalWriter
from siprec.storage.layout import uuid7
from siprec.storage.model import Recording


class Steps:
    """What the follower waits on, let go one wait at a time; it keeps how long each wait was meant to be."""

    def __init__(self):
        self.delays, self.stopped = [], False
        self.go, self.arrived = threading.Semaphore(0), threading.Semaphore(0)

    def wait(self, timeout):
        self.delays.append(timeout)
        self.arrived.release()
        assert self.go.acquire(timeout=30)
        return self.stopped

    def set(self):
        self.stopped = True
        self.go.release()

    def step(self):
        """Return when one more attempt is over."""
        self.go.release()
        assert self.arrived.acquire(timeout=30)


def document(number, state="recording"):
    return Recording(
        id=uuid7(number, bytes(10)), started_at=f"2026-01-31T12:{number:02}:00Z", state=state
    ).to_document()


def admitted(number, **fields):
    return {"v": 1, "type": "recording", "reason": "admitted", "document": {**document(number), **fields}}


@pytest.fixture
def journal(tmp_path):
    opened = JournalWriter(tmp_path / "journal", segment_bytes=2000)
    yield opened
    opened.close()


@pytest.fixture
def follow(journal):
    """`follow(url)` gives a running follower, its steps and a catalogue to look with."""
    running, catalogs = [], []

    def started(url, **options):
        ours, theirs, steps = Catalog(url, busy_timeout_s=0.05), Catalog(url, busy_timeout_s=0.05), Steps()
        follower = Follower(
            theirs, journal.directory, journal.id, lambda: journal.durable, stop=steps, **options
        )
        follower.start()
        assert steps.arrived.acquire(timeout=30)
        running.append(follower)
        catalogs.extend([ours, theirs])
        return follower, steps, ours

    yield started
    for follower in running:
        follower.close()
    for catalog in catalogs:
        catalog.close()


def ids(catalog):
    return [one.id for one in reversed(catalog.recordings(limit=1000))]


def expected(*numbers):
    return [uuid7(number, bytes(10)) for number in numbers]


def append(journal, *records):
    for future in [journal.append(record) for record in records]:
        future.result(30)


def test_the_catalogue_follows_what_the_journal_acknowledged(journal, follow, url):
    follower, steps, catalog = follow(url, batch=7, interval_s=0.25)
    append(journal, admitted(1), {"v": 1, "type": "ports"}, admitted(2))
    assert follower.status().lag_bytes > 0
    steps.step()
    assert ids(catalog) == expected(1, 2)
    append(journal, admitted(1, state="ended"), *(admitted(n) for n in range(3, 40)))
    steps.step()
    assert ids(catalog) == expected(*range(1, 40))
    assert catalog.recording(expected(1)[0]).state == "ended"
    status = follower.status()
    assert (status.position, status.lag_bytes, status.last_error) == (journal.durable, 0, None)
    assert catalog.position(journal.id) == journal.durable
    assert steps.delays == [0.25, 0.25, 0.25]


def test_a_restart_goes_on_where_it_was_and_consumed_segments_may_be_gone(journal, follow, url):
    follower, steps, catalog = follow(url)
    for number in range(20):
        append(journal, admitted(number))
    steps.step()
    follower.close()
    assert journal.checkpoint(follower.status().position) > 1
    append(journal, admitted(20))
    again, steps, catalog = follow(url)
    steps.step()
    assert ids(catalog) == expected(*range(21))
    assert again.status().lag_bytes == 0


def test_close_takes_over_what_is_there(journal, follow, url):
    follower, _, catalog = follow(url)
    append(journal, admitted(1))
    follower.close()
    follower.close()
    assert ids(catalog) == expected(1)


def test_a_locked_database_is_waited_for_with_backoff_and_nobody_else_waits(journal, follow, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    follower, steps, catalog = follow(url, interval_s=0.25, backoff_s=(0.5, 3.0))
    steps.step()
    blocker = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    for number in range(5):
        append(journal, admitted(number))
        steps.step()
    assert steps.delays[2:] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert "locked" in follower.status().last_error
    assert follower.status().lag_bytes > 0
    blocker.execute("ROLLBACK")
    blocker.close()
    steps.step()
    assert ids(catalog) == expected(*range(5))
    assert (follower.status().last_error, steps.delays[-1]) == (None, 0.25)


def test_a_full_disk_loses_nothing(journal, follow, tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    fresh = Catalog(url)
    fresh.upgrade()
    fresh.close()
    connections = []

    def bounded(connection, record):
        connections.append(connection)
        connection.execute("PRAGMA max_page_count = 1")  # SQLite raises this to what the file has already

    event.listen(Engine, "connect", bounded)
    try:
        follower, steps, catalog = follow(url)
        for number in range(5):
            append(journal, *(admitted(20 * number % 60 + n, note="x" * 5000) for n in range(20)))
            steps.step()
            assert "full" in follower.status().last_error
        assert ids(catalog) == []
    finally:
        event.remove(Engine, "connect", bounded)
    for connection in connections:
        connection.execute("PRAGMA max_page_count = 1000000")
    steps.step()
    assert follower.status().last_error is None
    assert ids(catalog) == expected(*range(60))


def test_a_server_that_is_stopped_is_caught_up_when_it_is_back(journal, follow, postgres):
    follower, steps, catalog = follow(postgres.new_database())
    append(journal, admitted(1))
    steps.step()
    postgres.stop()
    try:
        for number in (2, 3):
            append(journal, admitted(number))
            steps.step()
            assert follower.status().last_error is not None
    finally:
        postgres.start()
    steps.step()
    assert ids(catalog) == expected(1, 2, 3)


def test_a_database_that_was_removed_is_built_again_from_the_journal(journal, follow, tmp_path):
    follower, steps, catalog = follow(f"sqlite:///{tmp_path}/catalog.db")
    append(journal, admitted(1))
    steps.step()
    for file in tmp_path.glob("catalog.db*"):
        file.unlink()
    append(journal, admitted(2))
    steps.step()
    assert "unable to open" in follower.status().last_error
    steps.step()
    assert ids(catalog) == expected(1, 2)


def test_a_record_that_never_fits_is_passed_over_and_counted(journal, follow, url, caplog):
    follower, steps, catalog = follow(url)
    append(journal, admitted(1), admitted(2, started_at="noon"), admitted(3, version=9), admitted(4))
    steps.step()
    assert ids(catalog) == expected(1, 4)
    status = follower.status()
    assert (status.refused, status.last_error, status.lag_bytes) == (2, None, 0)
    assert [record.levelname for record in caplog.records if "not taken over" in record.message] == [
        "ERROR"
    ] * 2


def test_damage_in_the_journal_is_counted_and_read_past(journal, follow, url):
    append(journal, *(admitted(n) for n in range(12)))
    first = journal.directory / "00000001.journal"
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    follower, steps, catalog = follow(url)
    steps.step()
    assert follower.status().damaged == 1
    assert len(ids(catalog)) == 11
    assert catalog.position(journal.id) == journal.durable


def test_a_fault_of_our_own_is_shown_and_tried_again(journal, follow, url, monkeypatch):
    follower, steps, catalog = follow(url)
    append(journal, admitted(1))
    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "apply", lambda *arguments, **options: 1 // 0)
        steps.step()
    assert "ZeroDivisionError" in follower.status().last_error
    steps.step()
    assert ids(catalog) == expected(1)


def test_before_it_runs_nothing_is_taken_over(journal, url):
    catalog = Catalog(url)
    follower = Follower(catalog, journal.directory, journal.id, lambda: journal.durable)
    assert follower.status().position == START
    follower.close()
    catalog.close()
