import errno
import json
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.storage.document import read_document, write_document
from siprec.storage.fileops import StorageError
from siprec.storage.model import (
    STATES,
    Channel,
    Dialog,
    DocumentError,
    Event,
    Finding,
    Leg,
    Participant,
    Recording,
    SearchKey,
    UnknownVersion,
    Verdict,
)

ALICE = Participant(aor="sip:alice@example.com", name="Alice \udcff\x00 Ä")
RECORDING = Recording(
    id="0190-1",
    started_at="2026-01-31T10:00:00.000000Z",
    verdict=Verdict(
        result="incomplete",
        reasons=["gap"],
        findings=[Finding(reason="gap", leg=0, at_s=1.5, length_s=0.02)],
    ),
    channels=[Channel(index=0, role="caller", legs=[0])],
    legs=[
        Leg(id=0, channel=0, label="1", participants=[ALICE], codecs=["PCMU"], ssrcs=[0xFFFFFFFF], packets=50)
    ],
    dialogs=[
        Dialog(call_id="a@b", from_="sip:alice@example.com", to="sip:bob@example.com", src="192.0.2.1:5060")
    ],
    participants=[ALICE],
    events=[Event(at_s=2.0, type="hold", extra={"leg": 0, "by": {"who": "alice"}})],
    search_keys=[SearchKey(name="ucid", value="00FA")],
)

CONTRACT = [
    "id",
    "tenant",
    "state",
    "verdict",
    "t0",
    "t_end",
    "started_at",
    "ended_at",
    "duration_s",
    "path",
    "format",
    "sample_rate",
    "channels",
    "legs",
    "dialogs",
    "session_id",
    "group_id",
    "participants",
    "events",
]
LEG_CONTRACT = [
    "channel",
    "label",
    "participants",
    "codecs",
    "ssrcs",
    "packets",
    "lost",
    "late",
    "duplicates",
    "dropped",
    "jitter_ms",
    "first_packet_at",
    "last_packet_at",
    "skew_ppm",
    "mos",
]

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_document_has_at_least_what_operators_rely_on():
    document = RECORDING.to_document()
    assert set(CONTRACT) <= document.keys()
    assert set(LEG_CONTRACT) <= document["legs"][0].keys()
    assert {"result", "reasons"} <= document["verdict"].keys()
    assert {"index", "role", "legs"} <= document["channels"][0].keys()
    assert {"call_id", "from", "to", "src"} <= document["dialogs"][0].keys()
    assert document["events"][0] == {"at_s": 2.0, "type": "hold", "leg": 0, "by": {"who": "alice"}}
    assert document["version"] == 1


def test_what_is_written_reads_back(tmp_path):
    path = write_document(tmp_path, RECORDING)
    assert path == tmp_path / "recording.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert read_document(tmp_path) == RECORDING
    assert [p.name for p in tmp_path.iterdir()] == ["recording.json"]


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1), plain, max_size=3),
    st.lists(st.builds(Participant, aor=st.text(), name=st.none() | st.text()), max_size=3),
    st.sampled_from(STATES),
)
def test_any_document_survives_the_way_to_plain_data_and_back(extra, participants, state):
    extra = {key: value for key, value in extra.items() if key not in {*RECORDING.to_document(), "extra"}}
    leg = Leg(id=1, participants=participants, extra=extra)
    recording = Recording(id="x", started_at="t", state=state, legs=[leg], extra=extra)
    assert Recording.from_document(json.loads(json.dumps(recording.to_document()))) == recording


def test_keys_of_a_newer_program_are_kept_at_their_place():
    document = RECORDING.to_document()
    document["legs"][0]["loudness"] = -23
    document["evidence"] = {"sealed": True}
    assert Recording.from_document(document).to_document() == document


def test_an_unknown_version_is_its_own_error(tmp_path):
    for version in (2, None, "1"):
        (tmp_path / "recording.json").write_text(json.dumps({**RECORDING.to_document(), "version": version}))
        with pytest.raises(UnknownVersion) as caught:
            read_document(tmp_path)
        assert caught.value.version == version


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"id": ...}, "document.id is missing"),
        ({"legs": [{"label": "1"}]}, "document.legs[0].id is missing"),
        ({"legs": {}}, "document.legs: a list is needed, not dict"),
        ({"legs": [7]}, "document.legs[0]: an object is needed, not int"),
        ({"verdict": None}, "document.verdict: an object is needed, not NoneType"),
        ({"legs": [{"id": 0, "codecs": "PCMU"}]}, "document.legs[0].codecs: a list is needed, not str"),
        ({"state": "lost"}, "document.state: 'lost' is none of recording, ended"),
    ],
)
def test_a_document_that_is_none_says_where(damage, says):
    document = {k: v for k, v in {**RECORDING.to_document(), **damage}.items() if v is not ...}
    with pytest.raises(DocumentError) as caught:
        Recording.from_document(document)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\xff", "[" * 100_000])
def test_text_that_is_no_document_is_refused(tmp_path, text):
    (tmp_path / "recording.json").write_text(text, "latin-1")
    with pytest.raises(DocumentError):
        read_document(tmp_path)


def test_a_missing_document_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path)


STEPS = ["open", "pwrite", "fsync", "close", "replace"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", STEPS)
def test_whatever_fails_the_document_before_is_whole_and_nothing_else_is_left(
    tmp_path, failing, call, number
):
    write_document(tmp_path, RECORDING)
    changed = Recording(id=RECORDING.id, started_at=RECORDING.started_at, state="ended")
    with pytest.raises(StorageError) as caught:
        write_document(tmp_path, changed, ops=failing((call, number, 1, 1, 20)))
    assert caught.value.errno == number
    assert caught.value.filename.startswith(str(tmp_path))
    assert read_document(tmp_path) == RECORDING
    assert [p.name for p in tmp_path.iterdir()] == ["recording.json"]
    write_document(tmp_path, changed)
    assert read_document(tmp_path) == changed


def test_the_name_is_made_durable_last(tmp_path, failing):
    ops = failing()
    write_document(tmp_path, RECORDING, ops=ops)
    assert [call for call in ops.calls if call in {"fsync", "replace"}] == ["fsync", "replace", "fsync"]
    with pytest.raises(StorageError) as caught:
        write_document(tmp_path, RECORDING, ops=failing(("fsync", errno.EIO, 2, 2)))
    assert caught.value.operation == "sync directory"


def test_what_a_crash_left_half_written_is_overwritten(tmp_path):
    (tmp_path / ".recording.json.new").write_text("x" * 100_000)
    write_document(tmp_path, RECORDING)
    assert read_document(tmp_path) == RECORDING


def test_a_number_that_json_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_document(tmp_path, Recording(id="x", started_at="t", duration_s=float("nan")))
