import datetime
import errno
import stat
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.storage.fileops import StorageError
from siprec.storage.layout import (
    create_recording_dir,
    create_root,
    leg_dump,
    raw_metadata,
    recording_dir,
    uuid7,
)

ID = uuid7(1_700_000_000_000, bytes(range(10)))
NIGHT = datetime.datetime(2026, 1, 1, 0, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_a_version_7_uuid_with_its_milliseconds(unix_ms, random):
    made = uuid.UUID(uuid7(unix_ms, random))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, unix_ms)


@given(
    st.lists(
        st.tuples(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10)), min_size=2, max_size=9
    )
)
def test_ids_sort_by_their_time_and_differ_by_their_random_bits(made):
    assert sorted(uuid7(*one) for one in made) == [
        uuid7(*one) for one in sorted(made, key=lambda m: uuid7(*m))
    ]
    assert uuid7(made[0][0], b"\0" * 10) != uuid7(made[0][0], b"\0" * 9 + b"\1")
    assert uuid7(5, b"\xff" * 10) < uuid7(6, b"\0" * 10)


@pytest.mark.parametrize(("unix_ms", "random"), [(-1, bytes(10)), (1 << 48, bytes(10)), (0, bytes(9))])
def test_an_id_needs_48_bits_of_time_and_10_random_bytes(unix_ms, random):
    with pytest.raises(ValueError, match="need"):
        uuid7(unix_ms, random)


def test_the_folder_is_by_the_date_in_utc(tmp_path):
    assert recording_dir(tmp_path, ID, NIGHT) == tmp_path / "2025" / "12" / "31" / ID


@pytest.mark.parametrize(
    "bad", ["..", "", "../" + ID, ID.upper(), "{" + ID + "}", ID.replace("-", ""), "a/b"]
)
def test_nothing_but_an_id_of_ours_becomes_a_folder(tmp_path, bad):
    with pytest.raises(ValueError):  # noqa: PT011
        recording_dir(tmp_path, bad, NIGHT)


def test_a_start_without_a_zone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="time zone"):
        recording_dir(tmp_path, ID, NIGHT.replace(tzinfo=None))


def test_every_new_level_is_made_durable(tmp_path, failing):
    ops = failing()
    path = create_recording_dir(tmp_path, ID, NIGHT, ops=ops)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert (ops.calls.count("mkdir"), ops.calls.count("fsync")) == (4, 4)
    other = failing()
    create_recording_dir(tmp_path, uuid7(1, bytes(10)), NIGHT, ops=other)
    assert (other.calls.count("mkdir"), other.calls.count("fsync")) == (1, 1)
    third = failing()
    create_recording_dir(tmp_path, uuid7(2, bytes(10)), NIGHT, sync=False, ops=third)
    assert (third.calls.count("mkdir"), third.calls.count("fsync")) == (1, 0)


def test_a_recording_never_gets_the_folder_of_another(tmp_path):
    create_recording_dir(tmp_path, ID, NIGHT)
    with pytest.raises(StorageError) as caught:
        create_recording_dir(tmp_path, ID, NIGHT)
    assert caught.value.errno == errno.EEXIST


def test_another_process_may_create_the_date_at_the_same_time(tmp_path, failing):
    ops = failing()
    ops.before = lambda call: call == "mkdir" and (tmp_path / "2025").mkdir(exist_ok=True)
    assert create_recording_dir(tmp_path, ID, NIGHT, ops=ops).is_dir()


@pytest.mark.parametrize("call", ["mkdir", "fsync"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_whatever_fails_is_named_and_can_be_tried_again(tmp_path, failing, call, nth):
    with pytest.raises(StorageError) as caught:
        create_recording_dir(tmp_path, ID, NIGHT, ops=failing((call, errno.EIO, nth, nth)))
    assert caught.value.filename.startswith(str(tmp_path))
    assert create_recording_dir(tmp_path, uuid7(1, bytes(10)), NIGHT).is_dir()


def test_the_root_is_created_with_what_is_above_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = create_root("a/b")
    assert root == tmp_path / "a" / "b"
    assert root.is_dir()
    assert create_root(root) == root
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        create_recording_dir(tmp_path / "file", ID, NIGHT)


def test_names_count_and_never_quote():
    assert [leg_dump(0), leg_dump(12), raw_metadata(1)] == [
        "leg0.rtpdump",
        "leg12.rtpdump",
        "metadata-0001.xml",
    ]
    with pytest.raises(ValueError, match="counts"):
        leg_dump(-1)
