"""A recording as rows of the catalogue. No database is touched here."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Table

from siprec.storage.catalog import schema
from siprec.storage.model import Dialog, Leg, Participant, Recording
from siprec.storage.timestamps import parse_rfc3339

Row = dict[str, Any]
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_BE_UNSTORABLE = re.compile(r"\\u(0000|d[89a-f])")


def storable(value: Any) -> Any:
    """Plain data without what databases refuse in text: NUL and lone surrogates become U+FFFD.

    Raises ValueError or TypeError for what is no plain data.
    """
    return _replaced(value) if _MAY_BE_UNSTORABLE.search(json.dumps(value, allow_nan=False)) else value


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_replaced(key): _replaced(item) for key, item in value.items()}
    return [_replaced(item) for item in value] if isinstance(value, list) else value


def folded(*texts: str | None) -> str:
    """Text to search in, or for: without case."""
    return "\n".join(text.casefold() for text in texts if text)


def clipped(text: str | None, characters: int = schema.VALUE_CHARS) -> str | None:
    """Text as an indexed column holds it."""
    return None if text is None else text[:characters]


def dialog_id(dialog: Dialog) -> str:
    """The key of a dialog: its Call-ID and tags (RFC 3261 12), hashed to one length."""
    named = json.dumps([dialog.call_id, dialog.from_tag, dialog.to_tag])
    return hashlib.sha256(named.encode("ascii")).hexdigest()[:32]


def rows_of(recordings: Sequence[Recording]) -> dict[Table, list[Row]]:
    """The rows of recordings by table, tables in the order in which they refer to each other.

    Raises ValueError, TypeError or AttributeError for values that are of another type than the model says.
    """
    found: dict[Table, list[Row]] = {}
    for table, made in (
        (schema.tenants, _tenant_rows),
        (schema.recordings, _recording_rows),
        (schema.dialogs, _dialog_rows),
        (schema.recording_dialogs, _link_rows),
        (schema.legs, _leg_rows),
        (schema.participants, _participant_rows),
        (schema.events, _event_rows),
        (schema.search_keys, _search_key_rows),
    ):
        found[table] = [row for recording in recordings for row in made(recording)]
    return found


def _tenant_rows(recording: Recording) -> Iterator[Row]:
    yield {"name": recording.tenant[: schema.NAME_CHARS]}


def _recording_rows(recording: Recording) -> Iterator[Row]:
    yield {
        "id": recording.id,
        "tenant": recording.tenant[: schema.NAME_CHARS],
        "state": recording.state,
        "verdict": recording.verdict.result,
        "started_at": parse_rfc3339(recording.started_at),
        "ended_at": _time(recording.ended_at),
        "duration_s": recording.duration_s,
        "session_id": clipped(recording.session_id),
        "group_id": clipped(recording.group_id),
        "document": recording.to_document(),
    }


def _dialog_rows(recording: Recording) -> Iterator[Row]:
    return map(_dialog_row, recording.dialogs)


def _link_rows(recording: Recording) -> Iterator[Row]:
    for key in {dialog_id(dialog): None for dialog in recording.dialogs}:
        yield {"recording_id": recording.id, "dialog_id": key}


def _dialog_row(dialog: Dialog) -> Row:
    return {
        "id": dialog_id(dialog),
        "call_id": clipped(dialog.call_id),
        "from_tag": dialog.from_tag,
        "to_tag": dialog.to_tag,
        "from_uri": dialog.from_,
        "to_uri": dialog.to,
        "src": dialog.src,
        "search": folded(dialog.from_, dialog.to),
        "started_at": _time(dialog.started_at),
        "ended_at": _time(dialog.ended_at),
    }


def _leg_rows(recording: Recording) -> Iterator[Row]:
    return (_leg_row(recording.id, leg) for leg in recording.legs)


def _leg_row(recording_id: str, leg: Leg) -> Row:
    same = (
        "channel",
        "label",
        "packets",
        "lost",
        "late",
        "duplicates",
        "dropped",
        "jitter_ms",
        "skew_ppm",
        "mos",
    )
    return {
        "recording_id": recording_id,
        "leg": leg.id,
        **{name: getattr(leg, name) for name in same},
        "verdict": leg.verdict.result,
        "codecs": ",".join(leg.codecs),
        "first_packet_at": _time(leg.first_packet_at),
        "last_packet_at": _time(leg.last_packet_at),
    }


def _participant_rows(recording: Recording) -> Iterator[Row]:
    """Those of the recording, then those of each leg."""
    everyone: list[tuple[int | None, Participant]] = [
        (None, participant) for participant in recording.participants
    ]
    everyone += [(leg.id, participant) for leg in recording.legs for participant in leg.participants]
    for number, (leg, participant) in enumerate(everyone):
        yield {
            "recording_id": recording.id,
            "number": number,
            "leg": leg,
            "aor": participant.aor,
            "name": participant.name,
            "search": folded(participant.aor, participant.name),
        }


def _event_rows(recording: Recording) -> Iterator[Row]:
    for number, one in enumerate(recording.events):
        row = {"number": number, "at_s": one.at_s, "type": one.type, "detail": one.extra}
        yield {"recording_id": recording.id, **row}


def _search_key_rows(recording: Recording) -> Iterator[Row]:
    for number, key in enumerate(recording.search_keys):
        row = {"number": number, "name": clipped(key.name, schema.NAME_CHARS), "value": clipped(key.value)}
        yield {"recording_id": recording.id, **row}


def _time(text: str | None) -> datetime.datetime | None:
    return None if text is None else parse_rfc3339(text)
