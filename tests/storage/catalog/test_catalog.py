import datetime
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from siprec.storage.catalog import (
    Catalog,
    CatalogError,
    CatalogRefused,
    CatalogUnavailable,
    Cursor,
    Filter,
)
from siprec.storage.catalog.schema import metadata
from siprec.storage.journal import START, Position
from siprec.storage.layout import uuid7
from siprec.storage.model import (
    Channel,
    Dialog,
    Event,
    Leg,
    Participant,
    Recording,
    SearchKey,
    Verdict,
)
from siprec.storage.timestamps import parse_rfc3339, rfc3339

NOON = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


def at(minutes):
    return NOON + datetime.timedelta(minutes=minutes)


def recording(number, *, minutes=None, **fields):
    """Recording `number`, started that many minutes after noon."""
    started = at(number if minutes is None else minutes)
    return Recording(id=uuid7(number, bytes(10)), started_at=rfc3339(started), **fields)


def full(number):
    """A recording with something everywhere."""
    alice = Participant(aor="sip:alice@example.com", name="Alice Ångström")
    return recording(
        number,
        tenant="bank",
        state="ended",
        verdict=Verdict(result="incomplete", reasons=["gap"]),
        ended_at=rfc3339(at(number + 3)),
        duration_s=180.5,
        path="2026/01/31/x/audio.wav",
        format="wav",
        sample_rate=8000,
        channels=[Channel(index=0, role="caller", legs=[0])],
        legs=[
            Leg(
                id=0,
                channel=0,
                label="1",
                participants=[alice],
                codecs=["PCMU", "PCMA"],
                ssrcs=[1 << 31],
                packets=9000,
                first_packet_at=rfc3339(at(0)),
                verdict=Verdict(result="complete"),
            ),
            Leg(id=1, channel=1, label="2"),
        ],
        dialogs=[
            Dialog(
                call_id=f"call{number}",
                from_="sip:src@example.com",
                to="sip:SRS@example.com",
                src="192.0.2.1",
            )
        ],
        session_id="aabb",
        group_id="ccdd",
        participants=[alice, Participant(aor="tel:+4670")],
        events=[Event(at_s=1.5, type="hold", extra={"leg": 1})],
        search_keys=[SearchKey(name="ucid", value="0001")],
        extra={"evidence": {"of": "tomorrow"}},
    )


def journalled(*recordings, reason="changed"):
    return [
        {"v": 1, "type": "recording", "reason": reason, "document": one.to_document()} for one in recordings
    ]


def counts(url):
    """Rows of each table that has any."""
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = {
            name: connection.execute(
                sqlalchemy.select(sqlalchemy.func.count()).select_from(table)
            ).scalar_one()
            for name, table in metadata.tables.items()
        }
    engine.dispose()
    return {name: number for name, number in found.items() if number}


def test_what_is_applied_comes_back_as_the_same_model(catalog):
    one = full(1)
    assert catalog.apply(journalled(one)) == 1
    assert catalog.recording(one.id) == one
    assert catalog.recordings() == [one]
    assert catalog.recording(uuid7(2, bytes(10))) is None


def test_applying_again_changes_nothing_and_a_later_document_replaces_all(catalog, url):
    for _ in range(2):
        catalog.apply(journalled(full(1), full(2)), journal="j", position=Position(1, 2))
    assert counts(url) == {
        "tenants": 1,
        "recordings": 2,
        "dialogs": 2,
        "recording_dialogs": 2,
        "legs": 4,
        "participants": 6,
        "events": 2,
        "search_keys": 2,
        "journal_positions": 1,
    }
    changed = recording(1, tenant="bank", state="erased")
    catalog.apply(journalled(full(1), changed))
    assert catalog.recording(changed.id) == changed
    assert counts(url) == {
        "tenants": 1,
        "recordings": 2,
        "dialogs": 1,
        "recording_dialogs": 1,
        "legs": 2,
        "participants": 3,
        "events": 1,
        "search_keys": 1,
        "journal_positions": 1,
    }


def test_one_dialog_carries_several_recordings_and_one_recording_several_dialogs(catalog, url):
    shared = Dialog(call_id="a", from_tag="1", to_tag="2")
    other = Dialog(call_id="a", from_tag="1", to_tag="3")
    catalog.apply(journalled(recording(1, dialogs=[shared]), recording(2, dialogs=[shared, other, shared])))
    assert (counts(url)["dialogs"], counts(url)["recording_dialogs"]) == (2, 3)
    assert [one.id for one in catalog.recordings(Filter(call_id="a"))] == [recording(n).id for n in (2, 1)]
    catalog.apply(journalled(recording(2)))
    assert (counts(url)["dialogs"], counts(url)["recording_dialogs"]) == (1, 1)


def test_records_of_other_types_are_passed_over(catalog, url):
    records = [{"v": 1, "type": "ports"}, {}, *journalled(recording(1))]
    assert catalog.apply(records) == 1
    assert catalog.apply([{"type": "x"}], journal="j", position=Position(3, 4)) == 0
    assert catalog.position("j") == Position(3, 4)
    assert catalog.position("another") == START


def test_newest_come_first_page_by_page_without_holes_or_repeats(catalog):
    made = [recording(n, minutes=n // 3) for n in range(20)]
    catalog.apply(journalled(*reversed(made)))
    expected = sorted(made, key=lambda one: (one.started_at, one.id), reverse=True)
    pages, after = [], None
    while page := catalog.recordings(limit=7, after=after):
        pages.append(page)
        after = Cursor.of(page[-1])
    assert [len(page) for page in pages] == [7, 7, 6]
    assert [one for page in pages for one in page] == expected


FILTERS = [
    (Filter(), [1, 2, 3, 4]),
    (Filter(tenant="bank"), [1]),
    (Filter(states=("ended", "recording")), [1, 2, 4]),
    (Filter(states=("discarded",)), [3]),
    (Filter(results=("incomplete",)), [1]),
    (Filter(since=at(2)), [2, 3, 4]),
    (Filter(until=at(2)), [1]),
    (Filter(since=at(2), until=at(4)), [2, 3]),
    (Filter(since=at(2).astimezone(datetime.timezone(datetime.timedelta(hours=5)))), [2, 3, 4]),
    (Filter(party="ALICE@"), [1]),
    (Filter(party="ÅNGSTRÖM"), [1]),
    (Filter(party="srs@EXAMPLE"), [1]),
    (Filter(party="BOB"), [2]),
    (Filter(party="100%"), [3]),
    (Filter(party="_"), [4]),
    (Filter(party="nobody"), []),
    (Filter(session_id="aabb"), [1]),
    (Filter(call_id="call1"), [1]),
    (Filter(key=("ucid", "0001")), [1]),
    (Filter(key=("ucid", "0002")), []),
    (Filter(party="alice", states=("ended",), tenant="bank", results=("incomplete",)), [1]),
    (Filter(party="alice", states=("recording",)), []),
]


def test_filters_choose_by_tenant_state_verdict_time_party_and_keys(catalog):
    bob = Participant(aor="sip:bob@example.org")
    catalog.apply(
        journalled(
            full(1),
            recording(2, legs=[Leg(id=0, participants=[bob])]),
            recording(3, state="discarded", participants=[Participant(aor="sip:x", name="100% sure")]),
            recording(4, participants=[Participant(aor="sip:under_score")]),
        )
    )
    for filter, expected in FILTERS:
        found = [one.id for one in catalog.recordings(filter)]
        assert found == [recording(n).id for n in reversed(expected)], filter


def test_text_that_databases_refuse_is_stored_with_replacements(catalog):
    odd = recording(
        1, participants=[Participant(aor="sip:\x00a\udcff", name="\ud800")], extra={"a\x00": ["\x00"]}
    )
    catalog.apply(journalled(odd))
    found = catalog.recording(odd.id)
    assert found.participants[0] == Participant(aor="sip:\ufffda\ufffd", name="\ufffd")
    assert found.extra == {"a\ufffd": ["\ufffd"]}


def test_text_longer_than_an_index_takes_is_clipped_there_and_whole_in_the_document(catalog):
    long = "𝄞" * 5000
    one = recording(
        1,
        tenant=long,
        session_id=long,
        group_id=long,
        participants=[Participant(aor=long, name=long)],
        dialogs=[Dialog(call_id=long, from_=long, to=long, src=long, from_tag=long)],
        search_keys=[SearchKey(name=long, value=long)],
        legs=[Leg(id=0, label=long, codecs=[long])],
    )
    catalog.apply(journalled(one))
    assert catalog.recording(one.id) == one
    for filter in (
        Filter(tenant=long),
        Filter(session_id=long),
        Filter(call_id=long),
        Filter(key=(long, long)),
    ):
        assert catalog.recordings(filter) == [one]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=30),
    st.none() | st.text(max_size=30),
    st.text(max_size=30),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_number_is_taken_over(catalog, aor, name, key, number, seconds):
    one = recording(
        1,
        participants=[Participant(aor=aor, name=name)],
        search_keys=[SearchKey(name=key, value=aor)],
        events=[Event(at_s=seconds, type=key)],
        legs=[Leg(id=number, label=name, jitter_ms=seconds, packets=2**53)],
    )
    assert catalog.apply(journalled(one)) == 1
    assert catalog.recording(one.id).legs[0].jitter_ms == seconds


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 9},
        {"id": ...},
        {"started_at": "noon"},
        {"started_at": 5},
        {"tenant": None},
        {"legs": [{"id": 1 << 70}]},
        {"id": "x" * 999 + "\x00", "state": "lost"},
        {"legs": [{"id": 0}, {"id": 0}]},
        {"participants": [{"aor": 7}]},
    ],
)
def test_a_batch_with_a_record_that_never_fits_is_refused_whole(catalog, damage):
    bad = journalled(recording(1))
    document = {**bad[0]["document"], **damage}
    bad[0]["document"] = {key: value for key, value in document.items() if value is not ...}
    with pytest.raises(CatalogRefused):
        catalog.apply([*journalled(recording(2)), *bad], journal="j", position=Position(1, 1))
    assert catalog.recordings() == []
    assert catalog.position("j") == START
    catalog.apply(journalled(recording(2)))


def test_an_upgrade_can_be_repeated_and_leaves_exactly_the_schema(catalog, url):
    catalog.apply(journalled(full(1)))
    catalog.upgrade()
    other = Catalog(url)
    other.upgrade()
    other.close()
    assert catalog.recordings() == [full(1)]
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def upgraded(url):
    """0 when an upgrade went well, for a process of its own."""
    catalog = Catalog(url)
    try:
        catalog.upgrade()
    except CatalogError:
        return 1
    finally:
        catalog.close()
    return 0


def test_several_processes_may_upgrade_at_once(url):
    code = "import sys; from siprec.storage.catalog import Catalog; Catalog(sys.argv[1]).upgrade()"
    running = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    catalog = Catalog(url)
    assert catalog.recordings() == []
    catalog.close()


def test_several_threads_may_upgrade_at_once(url):
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(upgraded(url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [0, 0, 0]


def test_a_schema_of_a_newer_program_is_left_alone(catalog, url):
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(CatalogUnavailable, match="9999"):
        catalog.upgrade()


def test_reading_does_not_wait_for_a_writer(catalog, url):
    catalog.apply(journalled(recording(1)))
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM recordings")
        assert len(catalog.recordings()) == 1
        connection.rollback()
    engine.dispose()


def test_several_threads_write_and_read_at_once(catalog):
    failed = []

    def work(first):
        try:
            for n in range(first, first + 20):
                catalog.apply(journalled(recording(n, dialogs=[Dialog(call_id="shared")])))
                catalog.recordings(limit=5)
        except CatalogError as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(catalog.recordings()) == 60


def test_the_lists_that_people_ask_for_use_an_index(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.upgrade()
    catalog.close()
    database = sqlite3.connect(tmp_path / "catalog.db")
    for where in ("1", "started_at > 'x'", "state = 'x'", "verdict = 'x'", "tenant = 'x'"):
        rows = database.execute(
            f"EXPLAIN QUERY PLAN SELECT document FROM recordings WHERE {where} ORDER BY started_at DESC LIMIT 9"
        )
        plan = " ".join(row[3] for row in rows)
        assert "USING INDEX" in plan
        assert "TEMP B-TREE" not in plan
    database.close()


def test_a_sqlite_file_is_not_for_everyone_and_is_not_made_by_reading(tmp_path):
    path = tmp_path / "odd name#%.db"
    catalog = Catalog(f"sqlite:///{path}")
    with pytest.raises(CatalogUnavailable, match="unable to open"):
        catalog.recordings()
    assert not path.exists()
    catalog.upgrade()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    catalog.apply(journalled(recording(1)))
    assert len(catalog.recordings()) == 1
    catalog.close()


READING = """
import os, sys
from siprec.storage.catalog import Catalog
os.setgroups([])
os.setgid(1)
os.setuid(65534)
try:
    catalog = Catalog(sys.argv[1])
    print(len(catalog.recordings()))
    catalog.close()
except Exception as exc:
    print(exc)
"""
"Run as root: becomes somebody of group 1 who may only read."


def read_by_a_group_member(path):
    """What somebody sees who may read the file because of its group, and write neither it nor beside it."""
    done = subprocess.run(
        [sys.executable, "-c", READING, f"sqlite:///{path}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try as another user")
def test_a_member_of_the_group_reads_a_catalogue_that_nobody_has_open(group_folder):
    path = group_folder / "catalog.db"
    catalog = Catalog(f"sqlite:///{path}")
    catalog.upgrade()
    catalog.apply(journalled(recording(1)))
    os.chown(path, 0, 1)
    catalog.close()
    assert not list(group_folder.glob("catalog.db-*"))
    assert read_by_a_group_member(path) == "1"
    assert not list(group_folder.glob("catalog.db-*"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try as another user")
def test_a_member_of_the_group_sees_what_is_being_written(group_folder):
    path = group_folder / "catalog.db"
    catalog = Catalog(f"sqlite:///{path}")
    catalog.upgrade()
    os.chown(path, 0, 1)
    catalog.close()
    catalog.apply(journalled(recording(1)))
    catalog.apply(journalled(recording(2)))
    assert read_by_a_group_member(path) == "2"
    catalog.close()


@pytest.fixture
def group_folder():
    """A folder that group 1 may enter and read, on a path that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="siprec-group-"))
    os.chown(folder, 0, 1)
    folder.chmod(0o750)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_one_is_refused(url):
    with pytest.raises(CatalogError, match="catalog url"):
        Catalog(url)


def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is missing: pip install 'siprec[postgres]'")
    catalog = Catalog(f"postgresql+psycopg://x@/x?host={tmp_path}")
    with pytest.raises(CatalogUnavailable):
        catalog.upgrade()
    catalog.close()


def test_times_are_aware_and_in_utc(catalog, url):
    catalog.apply(journalled(full(1)))
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(metadata.tables["recordings"].c.ended_at)).scalar_one()
    engine.dispose()
    assert found == at(4) == parse_rfc3339(full(1).ended_at)
    assert found.tzinfo is datetime.UTC
