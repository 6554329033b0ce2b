"""The tables. The whole document of a recording is in `recordings.document`; the rest is there to search by.

What the network says is clipped where it is indexed (PostgreSQL refuses index rows over 2,704 bytes); the document has
it whole. A change here needs a migration beside it: a test compares both.
"""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

NAME_CHARS, VALUE_CHARS = 128, 512
"Characters kept of indexed text; 4 bytes each at most."

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcTime(TypeDecorator[datetime.datetime]):
    """An aware time; SQLite keeps it as UTC text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Aware in; UTC out, naive for SQLite."""
        if value is None:
            return None
        utc = value.astimezone(datetime.UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Aware UTC out."""
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


Document = JSON(none_as_null=True)
"Kept as text on PostgreSQL too: JSONB writes numbers anew, and a document must come back as it was."


def _of_recording(**options: Any) -> Column[str]:
    return Column("recording_id", String(36), ForeignKey("recordings.id", ondelete="CASCADE"), **options)


tenants = Table("tenants", metadata, Column("name", String(NAME_CHARS), primary_key=True))

recordings = Table(
    "recordings",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", ForeignKey("tenants.name"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(16)),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("duration_s", Float),
    Column("session_id", String(VALUE_CHARS)),
    Column("group_id", String(VALUE_CHARS)),
    Column("document", Document, nullable=False),
)
Index(None, recordings.c.started_at, recordings.c.id)
Index(None, recordings.c.tenant, recordings.c.started_at)
Index(None, recordings.c.state, recordings.c.started_at)
Index(None, recordings.c.verdict, recordings.c.started_at)
Index(None, recordings.c.session_id)

dialogs = Table(
    "dialogs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("call_id", String(VALUE_CHARS), nullable=False, index=True),
    Column("from_tag", Text, nullable=False),
    Column("to_tag", Text, nullable=False),
    Column("from_uri", Text, nullable=False),
    Column("to_uri", Text, nullable=False),
    Column("src", Text, nullable=False),
    Column("search", Text, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
)

recording_dialogs = Table(
    "recording_dialogs",
    metadata,
    _of_recording(primary_key=True),
    Column("dialog_id", ForeignKey("dialogs.id", ondelete="CASCADE"), primary_key=True, index=True),
)

legs = Table(
    "legs",
    metadata,
    _of_recording(primary_key=True),
    Column("leg", Integer, primary_key=True, autoincrement=False),
    Column("channel", Integer),
    Column("label", Text),
    Column("verdict", String(16)),
    Column("codecs", Text, nullable=False),
    Column("packets", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("late", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("jitter_ms", Float),
    Column("skew_ppm", Float),
    Column("mos", Float),
    Column("first_packet_at", UtcTime),
    Column("last_packet_at", UtcTime),
)

participants = Table(
    "participants",
    metadata,
    _of_recording(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("leg", Integer),
    Column("aor", Text, nullable=False),
    Column("name", Text),
    Column("search", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    _of_recording(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_s", Float, nullable=False),
    Column("type", Text, nullable=False),
    Column("detail", Document, nullable=False),
)

search_keys = Table(
    "search_keys",
    metadata,
    _of_recording(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(NAME_CHARS), nullable=False),
    Column("value", String(VALUE_CHARS), nullable=False),
)
Index(None, search_keys.c.name, search_keys.c.value)

journal_positions = Table(
    "journal_positions",
    metadata,
    Column("journal", String(16), primary_key=True),
    Column("segment", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
)
