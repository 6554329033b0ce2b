import errno
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.fileops import StorageError
from siprec.storage.journal import (
    START,
    Damage,
    Entry,
    JournalClosed,
    JournalLocked,
    JournalWriter,
    Position,
    entries,
    journal_id,
    lag_bytes,
)


@pytest.fixture
def journal(tmp_path):
    """Opens writers on one directory and closes them at the end."""
    writers = []

    def opened(**options):
        writers.append(JournalWriter(tmp_path / "journal", **options))
        return writers[-1]

    yield opened
    for writer in writers:
        writer.close()


def read(directory, **bounds):
    return [found.record["n"] for found in entries(directory, **bounds) if isinstance(found, Entry)]


def damages(directory, **bounds):
    return [found for found in entries(directory, **bounds) if isinstance(found, Damage)]


def test_what_is_acknowledged_can_be_read_from_any_position(journal):
    writer = journal()
    places = [writer.append({"n": n}).result(9) for n in range(5)]
    assert writer.durable == places[-1]
    assert read(writer.directory) == [0, 1, 2, 3, 4]
    for n, place in enumerate(places):
        assert read(writer.directory, after=place) == list(range(n + 1, 5))
        assert read(writer.directory, until=place) == list(range(n + 1))
    assert lag_bytes(writer.directory, places[0], places[2]) == places[2].offset - places[0].offset
    assert lag_bytes(writer.directory, places[-1], writer.durable) == 0


def test_nothing_is_acknowledged_before_its_sync_and_one_sync_serves_many(journal, failing):
    ops, gate, syncing = failing(), threading.Event(), threading.Event()

    def stall(call):
        if call == "fdatasync":
            syncing.set()
            assert gate.wait(9)

    ops.before = stall
    writer = journal(ops=ops)
    first = writer.append({"n": 0})
    assert syncing.wait(9)
    others = [writer.append({"n": n}) for n in range(1, 100)]
    assert not any(future.done() for future in (first, *others))
    assert writer.durable == START
    gate.set()
    assert not wait([first, *others], 9).not_done
    assert ops.calls.count("fdatasync") == 2
    assert read(writer.directory) == list(range(100))


def test_many_threads_append_at_once_and_each_keeps_its_order(journal):
    writer = journal(segment_bytes=4000)
    done = []

    def work(thread):
        done.extend([writer.append({"n": (thread, n)}) for n in range(200)])

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    positions = [future.result(9) for future in done]
    found = read(writer.directory)
    assert len(set(positions)) == 800
    for thread in range(4):
        assert [n for t, n in found if t == thread] == list(range(200))


def test_files_are_private_whatever_the_umask(journal):
    umask = os.umask(0)
    try:
        writer = journal()
        writer.append({"n": 0}).result(9)
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in writer.directory.iterdir()}
    assert modes == {"lock": 0o600, "00000001.journal": 0o600}
    assert stat.S_IMODE(writer.directory.stat().st_mode) == 0o700


def test_segments_rotate_by_size_and_a_checkpoint_removes_what_is_consumed(journal):
    writer = journal(segment_bytes=200)
    places = [writer.append({"n": n, "pad": "x" * 60}).result(9) for n in range(9)]
    assert places[-1].segment > 3
    assert read(writer.directory) == list(range(9))
    middle = places[4]
    assert writer.checkpoint(middle) == middle.segment - 1
    assert read(writer.directory, after=middle) == [5, 6, 7, 8]
    assert read(writer.directory) == [n for n, place in enumerate(places) if place.segment >= middle.segment]
    assert writer.checkpoint(middle) == 0
    assert writer.checkpoint(Position(10**6, 0)) == writer.durable.segment - middle.segment
    assert len([path for path in writer.directory.iterdir() if path.suffix == ".journal"]) == 1
    assert writer.append({"n": 9}).result(9) > places[-1]


def test_a_checkpoint_that_cannot_remove_says_which_segment(journal, failing):
    writer = journal(segment_bytes=1, ops=failing(("unlink", errno.EIO)))
    for n in range(3):
        writer.append({"n": n}).result(9)
    with pytest.raises(StorageError) as caught:
        writer.checkpoint(writer.durable)
    assert caught.value.filename.endswith("00000001.journal")
    assert writer.checkpoint(writer.durable) == 2


def test_a_restart_begins_a_new_segment_of_the_same_journal(journal):
    first = journal()
    first.append({"n": 0}).result(9)
    first.close()
    second = journal()
    assert second.id == first.id == journal_id(first.directory)
    assert second.durable == first.durable
    assert second.append({"n": 1}).result(9).segment == 2
    assert read(first.directory, until=second.durable) == [0, 1]


def test_another_journal_has_another_id(tmp_path):
    ids = set()
    for name in "ab":
        writer = JournalWriter(tmp_path / name)
        ids.add(writer.id)
        writer.close()
    assert len(ids) == 2
    assert journal_id(tmp_path / "a") is None
    assert journal_id(tmp_path / "missing") is None


def test_a_journal_has_one_writer(journal, tmp_path):
    writer = journal()
    with pytest.raises(JournalLocked, match="in use"):
        JournalWriter(writer.directory)
    code = "import sys; from siprec.storage.journal import JournalWriter; JournalWriter(sys.argv[1])"
    command = [sys.executable, "-c", code, writer.directory]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "JournalLocked" in other.stderr
    writer.close()
    subprocess.run(command, check=True)


def test_close_writes_what_waits_and_then_refuses(journal):
    writer = journal()
    futures = [writer.append({"n": n}) for n in range(50)]
    writer.close()
    writer.close()
    assert all(future.done() for future in futures)
    assert read(writer.directory) == list(range(50))
    with pytest.raises(JournalClosed):
        writer.append({"n": 51})


def test_a_record_cancelled_before_its_turn_is_not_written(journal, failing):
    ops, gate, syncing = failing(), threading.Event(), threading.Event()
    ops.before = lambda call: call == "fdatasync" and (syncing.set(), gate.wait(9))
    writer = journal(ops=ops)
    first = writer.append({"n": 0})
    assert syncing.wait(9)
    cancelled, last = writer.append({"n": 1}), writer.append({"n": 2})
    assert cancelled.cancel()
    gate.set()
    assert last.result(9) > first.result(9)
    with pytest.raises(CancelledError):
        cancelled.result(9)
    assert read(writer.directory) == [0, 2]


def test_what_waits_is_bounded(journal, failing):
    ops, gate, syncing = failing(), threading.Event(), threading.Event()
    ops.before = lambda call: call == "fdatasync" and (syncing.set(), gate.wait(9))
    writer = journal(ops=ops, pending_bytes=100)
    writer.append({"n": 0})
    assert syncing.wait(9)
    waiting = [writer.append({"n": n}) for n in range(1, 10)]
    refused = [future for future in waiting if future.done()]
    assert 0 < len(refused) < 9
    assert all(future.exception().errno == errno.ENOBUFS for future in refused)
    gate.set()
    kept = [future for future in waiting if future not in refused]
    assert not wait(kept, 9).not_done
    assert read(writer.directory) == list(range(len(kept) + 1))


CALLS = [
    ("open", 3),
    ("open", 4),
    ("fsync", 2),
    ("pwrite", 1),
    ("pwrite", 2),
    ("pwrite", 4),
    ("fsync", 3),
    ("fdatasync", 1),
    ("fdatasync", 3),
]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("partial", [0, 7, 10**6])
@pytest.mark.parametrize(("call", "nth"), CALLS)
def test_whatever_fails_is_told_and_nothing_acknowledged_is_lost(
    journal, failing, call, nth, partial, number
):
    writer = journal(ops=failing((call, number, nth, nth, partial)))
    acknowledged, failed = [], []
    for n in range(6):
        error = writer.append({"n": n}).exception(9)
        (acknowledged if error is None else failed).append(n)
        if error is not None:
            assert error.errno == number
            assert error.filename.startswith(str(writer.directory))
    assert len(failed) == 1
    assert read(writer.directory, until=writer.durable) == acknowledged
    assert read(writer.directory) == acknowledged
    assert damages(writer.directory) == []


def test_a_tail_that_cannot_be_cut_off_hides_nothing(journal, failing):
    ops = failing(("pwrite", errno.ENOSPC, 3, 3, 9), ("ftruncate", errno.EIO))
    writer = journal(ops=ops)
    outcomes = [writer.append({"n": n}).exception(9) for n in range(3)]
    assert [outcome is None for outcome in outcomes] == [True, False, True]
    assert read(writer.directory, until=writer.durable) == [0, 2]
    assert [damage.start.segment for damage in damages(writer.directory)] == [1]


def test_a_full_disk_leaves_no_trail_of_empty_segments_and_the_journal_recovers(journal, failing):
    ops = failing(("pwrite", errno.ENOSPC, 3, 50, 5))
    writer = journal(ops=ops)
    outcomes = [writer.append({"n": n}).exception(9) for n in range(60)]
    assert next(n for n, outcome in enumerate(outcomes) if outcome is None) == 0
    assert outcomes[-1] is None
    assert read(writer.directory) == [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert len(list(writer.directory.glob("*.journal"))) == 2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["append", "restart", "fail"]), max_size=12),
    st.sampled_from(["pwrite", "fdatasync", "fsync", "open"]),
    st.integers(1, 400),
)
def test_any_mix_of_appends_restarts_and_faults_keeps_what_was_acknowledged(
    tmp_path_factory, failing, steps, call, segment_bytes
):
    directory, acknowledged = tmp_path_factory.mktemp("any") / "journal", []
    ops = failing()
    writer = JournalWriter(directory, segment_bytes=segment_bytes, ops=ops)
    for n, step in enumerate(steps):
        if step == "restart":
            writer.close()
            ops.faults.clear()
            writer = JournalWriter(directory, segment_bytes=segment_bytes, ops=ops)
        if step == "fail":
            ops.faults[:] = failing((call, errno.EIO)).faults
        if writer.append({"n": n}).exception(9) is None:
            acknowledged.append(n)
    writer.close()
    assert read(directory) == acknowledged


def test_a_tail_torn_by_a_crash_is_reported_and_the_next_start_reads_on(journal):
    writer = journal()
    places = [writer.append({"n": n}).result(9) for n in range(3)]
    writer.close()
    path = writer.directory / "00000001.journal"
    whole = path.read_bytes()
    for cut in range(places[1].offset, places[2].offset):
        path.write_bytes(whole[:cut])
        again = JournalWriter(writer.directory)
        again.append({"n": 9}).result(9)
        again.close()
        assert read(writer.directory) == [0, 1, 9]
        expected = [] if cut == places[1].offset else [(places[1], Position(1, cut))]
        assert [(damage.start, damage.position) for damage in damages(writer.directory)] == expected
        (writer.directory / "00000002.journal").unlink()


def test_a_segment_of_another_version_is_reported_and_passed_over(journal):
    writer = journal(segment_bytes=1)
    for n in range(3):
        writer.append({"n": n}).result(9)
    path = writer.directory / "00000002.journal"
    path.write_bytes(path.read_bytes().replace(b"siprec-journal 1", b"siprec-journal 2"))
    assert read(writer.directory) == [0, 2]
    assert [damage.reason for damage in damages(writer.directory)] == ["version 2, number 2"]
    path.write_bytes(b"siprec-jour")
    assert [damage.reason for damage in damages(writer.directory)] == ["no header"]
    path.write_bytes(b"")
    assert damages(writer.directory) == []


def test_a_directory_that_cannot_be_made_or_opened_is_named(tmp_path, failing):
    with pytest.raises(StorageError) as caught:
        JournalWriter(tmp_path / "a", ops=failing(("mkdir", errno.ENOSPC)))
    assert caught.value.filename == str(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError) as caught:
        JournalWriter(tmp_path / "b", ops=failing(("open", errno.EACCES)))
    assert caught.value.filename == str(tmp_path / "b" / "lock")
