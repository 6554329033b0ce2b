"""A catalogue with a few recordings, and a way to run commands against it."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from siprec.cli.main import run
from siprec.storage.catalog import Catalog
from siprec.storage.document import write_document
from siprec.storage.layout import AUDIO, create_recording_dir, raw_metadata, uuid7
from siprec.storage.model import Channel, Dialog, Event, Finding, Leg, Participant, Recording, Verdict
from siprec.storage.timestamps import rfc3339

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


@pytest.fixture
def siprec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`siprec("ls", "--json")`: run a command in an empty folder with a configuration of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIPREC_CONFIG", raising=False)
    (tmp_path / "siprec.yaml").write_text("storage: {path: calls}\n")

    def call(*args: object) -> Outcome:
        status = run([str(arg) for arg in args])
        wrote = capsys.readouterr()
        return Outcome(status, wrote.out, wrote.err)

    return call


def recording(number: int, **values: object) -> Recording:
    """The `number`-th recording: each starts a minute after the one before."""
    started = NOON + timedelta(minutes=number)
    made: dict[str, object] = {
        "id": uuid7(int(started.timestamp() * 1000), bytes([number] * 10)),
        "started_at": rfc3339(started),
        "state": "ended",
        "verdict": Verdict(result="complete"),
        "duration_s": 61.0,
        "participants": [Participant(aor=f"sip:{100 + number}@example.net", name=f"Caller {number}")],
        "format": "wav",
        "sample_rate": 8000,
    }
    return Recording(**made | values)  # type: ignore[arg-type]


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Three recordings in the catalogue and on disk, the oldest first; the last one is still running."""
    root = tmp_path / "calls"
    root.mkdir()
    made = [
        recording(0),
        recording(
            1,
            verdict=Verdict(
                result="incomplete",
                reasons=["gap"],
                findings=[Finding(reason="gap", leg=0, at_s=3.5, length_s=0.25)],
            ),
            participants=[Participant(aor="sip:eve@example.net", name="Eve\x1b[31m[red]")],
            channels=[Channel(index=0, role="caller", legs=[0])],
            legs=[
                Leg(
                    id=0,
                    channel=0,
                    codecs=["PCMA"],
                    packets=3000,
                    lost=12,
                    jitter_ms=1.25,
                    participants=[Participant(aor="sip:eve@example.net")],
                )
            ],
            dialogs=[Dialog(call_id="abc@192.0.2.1", src="192.0.2.1:5060")],
            events=[Event(at_s=3.5, type="hold", extra={"leg": 0})],
        ),
        recording(2, state="recording", verdict=Verdict(), duration_s=None),
    ]
    for one in made:
        folder = create_recording_dir(root, one.id, datetime.fromisoformat(one.started_at))
        one.path = str((folder / AUDIO).relative_to(root))
        (folder / AUDIO).write_bytes(b"RIFF" + one.id.encode())
        (folder / raw_metadata(1)).write_text("<recording/>")
        (folder / ".recording.json.new").write_text("unfinished")
        write_document(folder, one)
    with closing(Catalog(f"sqlite:///{root}/catalog.db")) as catalog:
        catalog.upgrade()
        catalog.apply([{"type": "recording", "document": one.to_document()} for one in made])
    return made
