"""The catalogue on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, make_url, select
from sqlalchemy.dialects import postgresql, sqlite

from siprec.storage.catalog import rows, schema
from siprec.storage.catalog.engine import database_file, open_engine, refusing_misfits, translated, writing
from siprec.storage.catalog.query import Cursor, Filter, select_recordings
from siprec.storage.catalog.rows import Row
from siprec.storage.catalog.upgrade import upgrade
from siprec.storage.journal.record import START, Position
from siprec.storage.model import Recording

_SHARED = (schema.tenants, schema.recordings, schema.dialogs)
_OF_RECORDING = (
    schema.recording_dialogs,
    schema.legs,
    schema.participants,
    schema.events,
    schema.search_keys,
)


class Catalog:
    """What was recorded. Every method raises CatalogUnavailable or CatalogRefused; safe to use from several threads.

    url: `sqlite:///file` or `postgresql+psycopg://…`; nothing is connected before it is needed.
    busy_timeout_s: how long to wait for another process's SQLite transaction.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        self._engine = open_engine(url, busy_timeout_s=busy_timeout_s)
        self._writing = writing(self._engine)
        self._file = database_file(make_url(url))

    def upgrade(self) -> None:
        """Create the database file and the tables, or bring them to this program's schema."""
        with translated():
            upgrade(self._engine, self._file)

    def close(self) -> None:
        """Give the connections up."""
        self._engine.dispose()

    def apply(
        self, records: Iterable[Mapping[str, Any]], *, journal: str | None = None, position: Position = START
    ) -> int:
        """Take over journal records and how far this journal has been followed, in one transaction.

        Each `recording` record replaces what is known of that recording, so a repetition changes nothing; records of
        other types are passed over. Returns the recordings written. Raises CatalogRefused if a record is one that can
        never be taken over; then none is.
        """
        with refusing_misfits():
            latest = _latest(records)
            found = rows.rows_of(latest)
        with translated(), self._writing.begin() as connection:
            if latest:
                _write(connection, [recording.id for recording in latest], found)
            if journal is not None:
                place = {"journal": journal, "segment": position.segment, "offset": position.offset}
                _upsert(connection, schema.journal_positions, [place])
        return len(latest)

    def position(self, journal: str) -> Position:
        """How far the journal with this id has been followed."""
        c = schema.journal_positions.c
        with translated(), self._engine.begin() as connection:
            found = connection.execute(select(c.segment, c.offset).where(c.journal == journal)).first()
        return START if found is None else Position(found.segment, found.offset)

    def recordings(
        self, filter: Filter | None = None, *, limit: int = 100, after: Cursor | None = None
    ) -> list[Recording]:
        """At most `limit` recordings, newest first; `after` goes on behind the last one of the list before."""
        chosen = select_recordings(filter or Filter(), limit=limit, after=after)
        with translated(), self._engine.begin() as connection:
            documents = list(connection.execute(chosen).scalars())
        with refusing_misfits():
            return [Recording.from_document(document) for document in documents]

    def recording(self, recording_id: str) -> Recording | None:
        """One recording, None if there is none with this id."""
        chosen = select(schema.recordings.c.document).where(schema.recordings.c.id == recording_id)
        with translated(), self._engine.begin() as connection:
            document = connection.execute(chosen).scalar_one_or_none()
        with refusing_misfits():
            return None if document is None else Recording.from_document(document)


def _latest(records: Iterable[Mapping[str, Any]]) -> list[Recording]:
    """The last document of each recording. Raises DocumentError."""
    documents = [record.get("document") for record in records if record.get("type") == "recording"]
    return list(
        {one.id: one for one in (Recording.from_document(rows.storable(one)) for one in documents)}.values()
    )


def _write(connection: Connection, ids: list[str], found: dict[Table, list[Row]]) -> None:
    linked_before = _linked(connection, ids)
    for table in _SHARED:
        _upsert(connection, table, found[table])
    for table in _OF_RECORDING:
        connection.execute(delete(table).where(table.c.recording_id.in_(ids)))
        if found[table]:
            connection.execute(insert(table), found[table])
    _remove_unlinked(connection, linked_before)


def _upsert(connection: Connection, table: Table, new: list[Row]) -> None:
    """Insert rows, or make the rows with the same primary key like them."""
    if not new:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in new[0] if name not in keys}
    if rest:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=rest)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    connection.execute(statement, _by_key(new, keys))


def _by_key(new: list[Row], keys: list[str]) -> list[Row]:
    """One row for each key, the last one, in an order that is the same for all writers (no deadlock)."""
    unique = {tuple(row[key] for key in keys): row for row in new}
    return [unique[key] for key in sorted(unique)]


def _linked(connection: Connection, ids: list[str]) -> set[str]:
    link = schema.recording_dialogs.c
    return set(connection.execute(select(link.dialog_id).where(link.recording_id.in_(ids))).scalars())


def _remove_unlinked(connection: Connection, dialog_ids: set[str]) -> None:
    """Forget dialogs that no recording has any more: they hold addresses, and an erasure must reach them."""
    link, dialog = schema.recording_dialogs.c, schema.dialogs.c
    linked = select(1).where(link.dialog_id == dialog.id).exists()
    if dialog_ids:
        connection.execute(delete(schema.dialogs).where(dialog.id.in_(dialog_ids), ~linked))
