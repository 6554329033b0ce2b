"""Which recordings: a filter and where to go on, as a SELECT."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, select

from siprec.storage.catalog.rows import clipped, folded
from siprec.storage.catalog.schema import (
    NAME_CHARS,
    dialogs,
    participants,
    recording_dialogs,
    recordings,
    search_keys,
)
from siprec.storage.model import Recording
from siprec.storage.timestamps import parse_rfc3339


class Cursor(NamedTuple):
    """The place of a recording in the list; what comes after it is older."""

    started_at: datetime.datetime
    id: str

    @classmethod
    def of(cls, recording: Recording) -> Cursor:
        """The place of this recording."""
        return cls(parse_rfc3339(recording.started_at), recording.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a recording must be; a value that is not given excludes nothing."""

    tenant: str | None = None
    states: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    "Results of the verdict."
    since: datetime.datetime | None = None
    "Started at or after this."
    until: datetime.datetime | None = None
    "Started before this."
    party: str | None = None
    "Part of an address or a name of a participant, or of From or To of a dialog, in any case."
    session_id: str | None = None
    call_id: str | None = None
    key: tuple[str, str] | None = None
    "Name and value of a search key."


def select_recordings(filter: Filter, *, limit: int, after: Cursor | None) -> Select[Any]:
    """The documents of at most `limit` recordings, newest first, beginning behind `after`."""
    c = recordings.c
    chosen = select(c.document).where(*_conditions(filter))
    if after is not None:
        older = (c.started_at < after.started_at) | (c.id < after.id)
        chosen = chosen.where(c.started_at <= after.started_at, older)
    return chosen.order_by(c.started_at.desc(), c.id.desc()).limit(limit)


def _conditions(filter: Filter) -> list[ColumnElement[bool]]:
    c = recordings.c
    wanted = {
        c.tenant: clipped(filter.tenant, NAME_CHARS),
        c.session_id: clipped(filter.session_id),
    }
    found: list[ColumnElement[bool]] = [
        column == value for column, value in wanted.items() if value is not None
    ]
    if filter.states:
        found.append(c.state.in_(filter.states))
    if filter.results:
        found.append(c.verdict.in_(filter.results))
    if filter.since is not None:
        found.append(c.started_at >= filter.since)
    if filter.until is not None:
        found.append(c.started_at < filter.until)
    if filter.party:
        found.append(_party(filter.party))
    if filter.call_id is not None:
        found.append(_in_dialog(dialogs.c.call_id == clipped(filter.call_id)))
    if filter.key is not None:
        name, value = filter.key
        key = search_keys.c
        found.append(_has(search_keys, key.name == clipped(name, NAME_CHARS), key.value == clipped(value)))
    return found


def _party(party: str) -> ColumnElement[bool]:
    part = folded(party)
    named = _has(participants, participants.c.search.contains(part, autoescape=True))
    return named | _in_dialog(dialogs.c.search.contains(part, autoescape=True))


def _in_dialog(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return _has(recording_dialogs, recording_dialogs.c.dialog_id == dialogs.c.id, condition)


def _has(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return select(1).where(table.c.recording_id == recordings.c.id, *conditions).exists()
