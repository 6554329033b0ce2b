"""`siprec redecode`: makes the packets that were kept raw into sound, now that a decoder, a meaning or a key is there."""

from __future__ import annotations

import errno
import json
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siprec.cli import catalog
from siprec.cli.errors import CommandError
from siprec.cli.options import AsJson, ConfigFile, RecordingId, configuration
from siprec.cli.text import verdict
from siprec.config import Config
from siprec.daemon.control_client import ControlClient
from siprec.storage.catalog import Catalog, CatalogError
from siprec.storage.document import read_document, write_document
from siprec.storage.fileops import StorageError
from siprec.storage.journal.writer import JournalLocked, JournalWriter
from siprec.storage.layout import AUDIO, JOURNAL, REDECODED, recording_dir
from siprec.storage.model import DocumentError, Leg, Recording
from siprec.storage.redecoded import EVENT, LegRedecoded, decoded_before, take_over
from siprec.storage.rtpdump import RtpdumpError
from siprec.storage.timestamps import parse_rfc3339
from siprec.storage.wav import WavError

if TYPE_CHECKING:  # FFmpeg's libraries take longer to load than most commands to run
    from siprec.media.kept import KeptLeg, Key
    from siprec.media.meaning import Meaning
    from siprec.media.redecode import Redecoded

MAX_KEYS = 5
"Tried for every packet."
_TIMEOUT_S = 60.0
"A daemon whose disk is slow takes its time to write a document."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What whoever runs the command knows."""

    meanings: dict[int, Meaning]
    leg: int | None
    keys: list[Key]

    def of(self, leg: Leg) -> dict[int, Meaning]:
        """Meanings for a leg, with those that were given before."""
        from siprec.media.meaning import read_meanings

        before = read_meanings(leg.extra.get("payloads_given"))
        return before | (self.meanings if self.leg in (None, leg.id) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A leg after its decoding."""

    leg: Leg
    kept: KeptLeg
    result: Redecoded
    told: LegRedecoded


def redecode(
    recording: RecordingId,
    config: ConfigFile = None,
    *,
    payload: Annotated[
        list[str] | None,
        typer.Option(
            "--payload",
            metavar="PT=NAME/CLOCK",
            help="What a payload type means, as in a=rtpmap: '96=PCMA/8000', '97=AMR/8000;octet-align=1'. May be repeated.",
        ),
    ] = None,
    leg: Annotated[
        int | None,
        typer.Option("--leg", metavar="N", help="The leg that --payload is about; else every leg."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="Lines a=crypto of the SDP, with the sender's keys; - is stdin.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decode what was kept raw of a recording into audio-redecoded.wav; audio.wav stays as it is."""
    settings = configuration(config)
    given = _Given(meanings=_meanings(payload or []), leg=leg, keys=_keys(key_file) if key_file else [])
    with catalog.reading(settings) as found:
        one = catalog.find(found, recording)
    folder = recording_dir(settings.storage.path, one.id, parse_rfc3339(one.started_at))
    document = _document(folder, one)
    legs = _legs_with_dumps(folder, document, given)
    _require_owner(folder, one.id)
    done = _decode(folder, document, legs, given, hold_back_s=settings.rtp.hold_back_ms / 1000)
    if done:
        document = _record(settings, folder, document, [leg.told for leg in done])
    _tell(document, done, as_json=as_json)


# -- what is given --


def _meanings(texts: Sequence[str]) -> dict[int, Meaning]:
    from siprec.codecs.registry import UNKNOWN, find
    from siprec.media.meaning import PAYLOAD_TYPES, read_meaning

    found: dict[int, Meaning] = {}
    for text in texts:
        number, _, written = text.partition("=")
        try:
            if not (number.isascii() and number.isdigit() and int(number) < PAYLOAD_TYPES):
                raise ValueError(f"{text!r} is not PT=NAME/CLOCK with a payload type from 0 to 127")
            meaning = read_meaning(written)
        except ValueError as exc:
            raise typer.BadParameter(f"--payload: {exc}") from None
        name, clock, channels, fmtp = meaning
        if find(name, clock=clock, channels=channels, fmtp=fmtp) is UNKNOWN:
            raise typer.BadParameter(f"--payload: there is no decoder for {written!r}")
        found[int(number)] = meaning
    return found


def _keys(file: Path) -> list[Key]:
    """Keys come from a file: an argument can be read by everybody on the machine. Raises CommandError, without a key in it."""
    from siprec.media.kept import Key
    from siprec.sdp.crypto import read_crypto

    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text("ascii")).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise CommandError(f"cannot read {file}: {why}") from None
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("a=crypto:")
        if not text or text.startswith("#"):
            continue
        crypto = read_crypto(text)
        if crypto is None:
            raise CommandError(
                f"line {number} of {file} is no usable a=crypto line; write it as in the SDP: "
                "1 AES_CM_128_HMAC_SHA1_80 inline:…"
            )
        keys += [Key(suite=crypto.suite, secret=key.secret, mki=key.mki) for key in crypto.keys]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise CommandError(f"{file} has {len(keys)} keys; give 1 to {MAX_KEYS}")
    return keys


# -- what there is --


def _document(folder: Path, one: Recording) -> Recording:
    """The document beside the audio: it is never behind. Raises CommandError."""
    try:
        document = read_document(folder)
    except FileNotFoundError:
        raise CommandError(
            f"recording {one.id} ({one.state}) has no files in {folder}; check storage.path"
        ) from None
    except PermissionError:
        _require_owner(folder, one.id)
        raise
    except DocumentError as exc:
        raise CommandError(f"cannot read the document of {one.id}: {exc}") from None
    if document.state == "recording":
        raise CommandError(
            f"recording {one.id} is still running; wait for its end (after a crash, start the recorder once)"
        )
    return document


def _require_owner(folder: Path, identity: str) -> None:
    """What is written must belong to the recorder. Raises CommandError."""
    owner = folder.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise CommandError(
        f"{folder} belongs to another user; run `sudo -u {name} siprec redecode {identity}` with the same options"
    )


def _legs_with_dumps(folder: Path, document: Recording, given: _Given) -> list[Leg]:
    from siprec.media.kept import dumps_of, zero_us

    if given.leg is not None and all(leg.id != given.leg for leg in document.legs):
        raise CommandError(f"recording {document.id} has no leg {given.leg}; see `siprec show {document.id}`")
    legs = [leg for leg in document.legs if dumps_of(folder, leg)]
    if not legs:
        raise CommandError(f"recording {document.id} has no packets kept raw; there is nothing to decode")
    try:
        zero_us(document)
    except ValueError as exc:
        raise CommandError(f"recording {document.id} cannot be completed: {exc}") from None
    return legs


# -- the work --


def _decode(
    folder: Path, document: Recording, legs: Sequence[Leg], given: _Given, *, hold_back_s: float
) -> list[_Done]:
    """Decode into a copy of the audio; empty, and no copy, when nothing is left to do. Raises CommandError."""
    from siprec.media.audio_copy import AudioCopy

    try:
        copy = AudioCopy(folder / AUDIO, folder / REDECODED)
    except StorageError as exc:
        if exc.errno == errno.EBUSY:
            raise CommandError(f"recording {document.id} is being decoded by another process") from None
        raise
    except WavError as exc:
        raise CommandError(f"cannot read {folder / AUDIO}: {exc}") from None
    try:
        done = [
            _decode_leg(folder, document, leg, given, copy.header.rate, hold_back_s, _adder(copy, leg))
            for leg in legs
        ]
        if _something_new(document, done):
            copy.finish()
            return done
        copy.discard()
    except BaseException:
        copy.discard()
        raise
    return []


def _adder(copy: Any, leg: Leg) -> Callable[[int, Any], None]:
    channel = leg.channel
    if channel is None or channel >= copy.header.channels:
        raise CommandError(f"leg {leg.id} has no channel in the audio")
    return lambda frame, samples: copy.add(channel, frame, samples)


def _decode_leg(
    folder: Path,
    document: Recording,
    leg: Leg,
    given: _Given,
    rate: int,
    hold_back_s: float,
    add: Callable[[int, Any], None],
) -> _Done:
    from siprec.media.kept import dumps_of, kept_leg
    from siprec.media.meaning import meaning_texts
    from siprec.media.redecode import decode_leg

    meanings = given.of(leg)
    try:
        dumps = (path.read_bytes() for path in dumps_of(folder, leg))
        kept = kept_leg(document, leg, dumps, meanings, given.keys)
    except (RtpdumpError, ValueError) as exc:
        raise CommandError(f"cannot read what was kept of leg {leg.id}: {exc}") from None
    result = decode_leg(kept, rate, add, hold_back_s=hold_back_s)
    told = LegRedecoded(
        leg=leg.id,
        packets=result.decoded,
        left=kept.total - result.decoded,
        late=result.late,
        first_s=None if result.first_frame is None else result.first_frame / rate,
        codecs=result.codecs,
        payloads=meaning_texts(meanings),
    )
    return _Done(leg=leg, kept=kept, result=result, told=told)


def _something_new(document: Recording, done: Sequence[_Done]) -> bool:
    """Whether more is decoded than before; False if all is as it was. Raises CommandError if it is less, or nothing at all."""
    for one in done:
        if one.told.packets < decoded_before(one.leg):
            raise CommandError(
                f"leg {one.leg.id}: {decoded_before(one.leg)} packets were decoded before, {one.told.packets} now; "
                "give the keys of that time again with --key-file"
            )
    if any(one.told.packets > decoded_before(one.leg) for one in done):
        return True
    if any(decoded_before(leg) for leg in document.legs):
        return False
    raise CommandError(f"nothing can be decoded: {'; '.join(map(_obstacle, done))}")


def _obstacle(done: _Done) -> str:
    """Why nothing of a leg became sound, and what would help."""
    name, kept = f"leg {done.leg.id}", done.kept
    if not kept.total:
        return f"{name} has only what is no audio of it (a fax, another sender)"
    unknown = sorted(
        {p.payload_type for p in kept.packets if not kept.period(p.at_ns).codecs[p.payload_type]}
    )
    if unknown:
        types = ", ".join(map(str, unknown))
        return f"{name} has payload type {types} without a decoder, say what it is with --payload {unknown[0]}=NAME/CLOCK"
    if done.result.encrypted or len(kept.packets) < kept.total:
        return f"{name} is encrypted, give its key with --key-file"
    return f"no decoder can read the packets of {name}"


# -- the document --


def _record(settings: Config, folder: Path, document: Recording, legs: list[LegRedecoded]) -> Recording:
    """Change the document: by the recorder if it runs, else here, in the journal, beside the audio and in the catalogue."""
    try:
        journal = JournalWriter(settings.storage.path / JOURNAL)
    except JournalLocked:
        with ControlClient(settings.control.socket, timeout_s=_TIMEOUT_S) as daemon:
            plain = daemon.call(
                "redecoded",
                id=document.id,
                started_at=document.started_at,
                legs=[leg.to_dict() for leg in legs],
            )
        return Recording.from_dict(plain)
    with closing(journal):
        take_over(document, legs, uid=os.getuid())
        record = {"v": 1, "type": "recording", "reason": EVENT, "document": document.to_document()}
        journal.append(record).result()
        write_document(folder, document)
    try:
        with closing(Catalog(settings.catalog_url)) as there:
            there.apply([record])
    except CatalogError as exc:  # it follows the journal at the next start
        print(f"siprec: the catalogue is away and follows when the recorder starts: {exc}", file=sys.stderr)
    return document


def _tell(document: Recording, done: Sequence[_Done], *, as_json: bool) -> None:
    if as_json:
        shown = {
            "id": document.id,
            "path": document.path,
            "verdict": document.verdict.to_dict(),
            "legs": [one.told.to_dict() for one in done],
        }
        print(json.dumps(shown, indent=1))
        return
    if not done:
        print("nothing left to do")
    for one in done:
        names = "/".join(one.told.codecs) or "no sound"
        left = f", {one.told.left} left" if one.told.left else ""
        print(f"leg {one.leg.id}: {one.told.packets} packets decoded ({names}){left}")
    print(f"{document.path}  {verdict(document)}")
