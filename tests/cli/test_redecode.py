"""`siprec redecode` without a recorder that runs: what it refuses, what it makes, what it says."""

from __future__ import annotations

import base64
import io
import json
import os
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from siprec.storage.catalog import Catalog
from siprec.storage.document import read_document, write_document
from siprec.storage.fileops import StorageError
from siprec.storage.journal.writer import JournalWriter
from siprec.storage.layout import AUDIO, create_recording_dir
from siprec.storage.model import Recording
from tests.helpers.kept import (
    I16,
    RATE,
    T0,
    UNKNOWN,
    as_type,
    dumped,
    kept_document,
    locked,
    write_recording,
)
from tests.helpers.player import Packet, assert_heard, heard, talk
from tests.helpers.voices import voice

Siprec = Any
SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", bytes(range(30))
SPOKEN = as_type(talk(voice(1, 1.0, "PCMA"), "PCMA", ssrc=1), UNKNOWN)
OTHER = talk(voice(2, 1.0), ssrc=2)


def make(
    folder: Path,
    dumps: dict[int, list[Packet]],
    document: Recording | None = None,
    *,
    catalogued: bool = True,
) -> tuple[Recording, Path]:
    """A recording under `calls`, whose right side is there already."""
    root = folder / "calls"
    root.mkdir()
    one = kept_document(50, first=T0) if document is None else document
    where = create_recording_dir(root, one.id, datetime.fromisoformat(one.started_at))
    one.path = str(where / AUDIO)
    audio = np.stack([np.zeros(RATE + 80, np.int16), heard(OTHER, RATE + 80, 40)], axis=1)
    write_recording(where, audio, {leg: dumped(packets) for leg, packets in dumps.items()})
    write_document(where, one)
    if catalogued:
        with closing(Catalog(f"sqlite:///{root}/catalog.db")) as catalog:
            catalog.upgrade()
            catalog.apply([{"type": "recording", "document": one.to_document()}])
    return one, where


def read(path: Path) -> I16:
    samples: I16 = soundfile.read(path, dtype="int16", always_2d=True)[0]
    return samples


def shown(siprec: Siprec, one: Recording) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(siprec("show", one.id, "--json").out)
    return found


def test_it_makes_a_complete_file_beside_the_original_and_says_so_everywhere(
    siprec: Siprec, tmp_path: Path
) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    original = (folder / AUDIO).read_bytes()
    outcome = siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (f"leg 0: 50 packets decoded (PCMA)\n{folder}/audio-redecoded.wav  complete\n")
    made = read(folder / "audio-redecoded.wav")
    assert assert_heard(made[:, 0], SPOKEN) == 0
    assert assert_heard(made[:, 1], OTHER) == 40
    assert (folder / AUDIO).read_bytes() == original
    document = read_document(folder)
    assert document.verdict.result == "complete"
    assert shown(siprec, one) == document.to_dict()
    assert "audio-redecoded.wav" in siprec("show", one.id).out
    assert f"original     {folder}/audio.wav" in siprec("show", one.id).out
    assert list(folder.glob(".*")) == []


def test_running_it_again_finds_nothing_to_do_and_knows_what_was_said(siprec: Siprec, tmp_path: Path) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    outcome = siprec("redecode", one.id)
    assert (outcome.status, outcome.out.splitlines()[0]) == (0, "nothing left to do")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    plain = siprec("redecode", one.id, "--json").json
    assert (plain["legs"], plain["verdict"]["result"]) == ([], "complete")


def test_a_meaning_is_for_the_leg_that_was_named(siprec: Siprec, tmp_path: Path) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    outcome = siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000", "--leg", 1)
    assert outcome.status == 1
    assert "nothing can be decoded: leg 0 has payload type 96 without a decoder" in outcome.err
    assert siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000", "--leg", 0).status == 0
    assert "no leg 2; see `siprec show" in siprec("redecode", one.id, "--leg", 2).err
    assert read_document(folder).legs[0].extra["payloads_given"] == {"96": "PCMA/8000"}


def test_what_helps_is_said_and_nothing_is_left_behind(siprec: Siprec, tmp_path: Path) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    before = sorted(os.listdir(folder))
    outcome = siprec("redecode", one.id)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        "siprec: nothing can be decoded: leg 0 has payload type 96 without a decoder, say what it is with "
        "--payload 96=NAME/CLOCK\n"
    )
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("document", "dumps", "said"),
    [
        (None, {}, "has no packets kept raw; there is nothing to decode"),
        ({"state": "recording"}, {0: SPOKEN}, "is still running; wait for its end"),
        ({"t0": None}, {0: SPOKEN}, "cannot be completed: it is not known when its audio begins"),
    ],
)
def test_a_recording_that_cannot_be_completed_says_why(
    siprec: Siprec, tmp_path: Path, document: dict[str, Any] | None, dumps: dict[int, list[Packet]], said: str
) -> None:
    made = kept_document(50)
    for name, value in (document or {}).items():
        setattr(made, name, value)
    one, _ = make(tmp_path, dumps, made)
    outcome = siprec("redecode", one.id)
    assert outcome.status == 1
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("PCMA/8000", "is not PT=NAME/CLOCK"),
        ("128=PCMA/8000", "is not PT=NAME/CLOCK"),
        ("96=PCMA", "is not NAME/CLOCK"),
        ("96=G728/8000", "there is no decoder for 'G728/8000'"),
        ("96=PCMA/16000", "there is no decoder for 'PCMA/16000'"),
        ("96=AMR/8000;crc=1", "there is no decoder"),
    ],
)
def test_a_meaning_that_says_nothing_is_wrong_use(
    siprec: Siprec, tmp_path: Path, written: str, said: str
) -> None:
    one, _ = make(tmp_path, {0: SPOKEN})
    outcome = siprec("redecode", one.id, "--payload", written)
    assert outcome.status == 2
    assert said in outcome.err


def test_somebody_elses_recording_is_named_with_who_may(
    siprec: Siprec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    outcome = siprec("redecode", one.id)
    assert outcome.status == 1
    assert "belongs to another user; run `sudo -u " in outcome.err


# -- keys --


def crypto_line(key: bytes) -> str:
    return f"1 {SUITE} inline:{base64.b64encode(key).decode()}"


def encrypted(folder: Path) -> tuple[Recording, Path]:
    spoken = locked(talk(voice(3, 1.0), ssrc=3), SUITE, KEY)
    return make(folder, {0: spoken}, kept_document(50, first=T0, undecryptable=50))


@pytest.mark.parametrize("form", ["file", "stdin"])
def test_a_key_of_a_file_opens_a_leg_and_is_written_nowhere(
    siprec: Siprec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    one, folder = encrypted(tmp_path)
    text = f"# from the SBC's log\n\na=crypto:{crypto_line(bytes(30))}\n{crypto_line(KEY)}|2^20\n"
    file = tmp_path / "keys"
    file.write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    outcome = siprec("redecode", one.id, "--key-file", file if form == "file" else "-")
    assert (outcome.status, outcome.out.splitlines()[0]) == (0, "leg 0: 50 packets decoded (PCMU)")
    file.unlink()
    secrets = [base64.b64encode(KEY), KEY.hex().encode(), KEY]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(secret in data for secret in secrets for data in written)
    assert read_document(folder).verdict.result == "complete"


def test_without_the_key_of_last_time_what_is_there_is_kept(siprec: Siprec, tmp_path: Path) -> None:
    one, folder = encrypted(tmp_path)
    (tmp_path / "keys").write_text(crypto_line(KEY))
    assert siprec("redecode", one.id, "--key-file", "keys").status == 0
    made = (folder / "audio-redecoded.wav").read_bytes()
    outcome = siprec("redecode", one.id)
    assert outcome.status == 1
    assert "50 packets were decoded before, 0 now; give the keys of that time again" in outcome.err
    assert (folder / "audio-redecoded.wav").read_bytes() == made


def test_an_encrypted_leg_asks_for_its_key(siprec: Siprec, tmp_path: Path) -> None:
    one, _ = encrypted(tmp_path)
    (tmp_path / "keys").write_text(crypto_line(bytes(30)))
    for options in ([], ["--key-file", "keys"]):
        outcome = siprec("redecode", one.id, *options)
        assert outcome.status == 1
        assert "leg 0 is encrypted, give its key with --key-file" in outcome.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 keys; give 1 to 5"),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=", "line 1 of keys is no usable a=crypto line"),
        ("# first\n2 F8_128_HMAC_SHA1_80 inline:xyz", "line 2 of keys is no usable a=crypto line"),
        ("\n".join(crypto_line(bytes([n] * 30)) for n in range(6)), "has 6 keys; give 1 to 5"),
        ("é", "not a text file"),
        (None, "cannot read keys: No such file"),
    ],
)
def test_keys_that_are_none_are_refused_without_showing_them(
    siprec: Siprec, tmp_path: Path, text: str | None, said: str
) -> None:
    one, _ = encrypted(tmp_path)
    if text is not None:
        (tmp_path / "keys").write_text(text)
    outcome = siprec("redecode", one.id, "--key-file", "keys")
    assert (outcome.status, said in outcome.err) == (1, True)
    assert "c2hvcnQ" not in outcome.err


# -- trouble --


def test_a_disk_that_is_full_leaves_everything_as_it_was(
    siprec: Siprec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(*_: object) -> None:
        raise StorageError(28, "write", "audio")

    monkeypatch.setattr("siprec.media.audio_copy.write_all", full)
    outcome = siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000")
    assert (outcome.status, outcome.err) == (1, "siprec: audio: No space left on device\n")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_recorder_that_has_the_journal_but_does_not_answer_is_named(siprec: Siprec, tmp_path: Path) -> None:
    one, folder = make(tmp_path, {0: SPOKEN})
    (tmp_path / "siprec.yaml").write_text("storage: {path: calls}\ncontrol: {socket: nobody.sock}\n")
    with closing(JournalWriter(tmp_path / "calls" / "journal")):
        outcome = siprec("redecode", one.id, "--payload", f"{UNKNOWN}=PCMA/8000")
    assert outcome.status == 1
    assert "no daemon is running at" in outcome.err
    assert read_document(folder).verdict.reasons == ["undecodable"]
