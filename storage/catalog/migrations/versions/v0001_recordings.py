"""Recordings, their dialogs, legs, participants, events and search keys, and how far the journal was followed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Create everything; there is nothing before."""
    _create_shared()
    _create_legs()
    _create_numbered()


def _create_shared() -> None:
    op.create_table("tenants", _text("name", 128), _primary_key("tenants", "name"))
    op.create_table(
        "recordings",
        _text("id", 36),
        _text("tenant", 128),
        _text("state", 16),
        _text("verdict", 16, nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("duration_s", sa.Float()),
        _text("session_id", 512, nullable=True),
        _text("group_id", 512, nullable=True),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_recordings_tenant"),
        _primary_key("recordings", "id"),
    )
    for columns in (
        "started_at id",
        "tenant started_at",
        "state started_at",
        "verdict started_at",
        "session_id",
    ):
        _index("recordings", *columns.split())
    op.create_table(
        "dialogs",
        _text("id", 32),
        _text("call_id", 512),
        *(_text(name) for name in ("from_tag", "to_tag", "from_uri", "to_uri", "src", "search")),
        sa.Column("started_at", TIME),
        sa.Column("ended_at", TIME),
        _primary_key("dialogs", "id"),
    )
    _index("dialogs", "call_id")
    op.create_table(
        "recording_dialogs",
        *_of_recording("recording_dialogs"),
        _text("dialog_id", 32),
        sa.ForeignKeyConstraint(
            ["dialog_id"], ["dialogs.id"], name="fk_recording_dialogs_dialog_id", ondelete="CASCADE"
        ),
        _primary_key("recording_dialogs", "recording_id", "dialog_id"),
    )
    _index("recording_dialogs", "dialog_id")
    op.create_table(
        "journal_positions",
        _text("journal", 16),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        _primary_key("journal_positions", "journal"),
    )


def _create_legs() -> None:
    counters = ("packets", "lost", "late", "duplicates", "dropped")
    op.create_table(
        "legs",
        *_of_recording("legs"),
        sa.Column("leg", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("channel", sa.Integer()),
        _text("label", nullable=True),
        _text("verdict", 16, nullable=True),
        _text("codecs"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counters),
        *(sa.Column(name, sa.Float()) for name in ("jitter_ms", "skew_ppm", "mos")),
        sa.Column("first_packet_at", TIME),
        sa.Column("last_packet_at", TIME),
        _primary_key("legs", "recording_id", "leg"),
    )


def _create_numbered() -> None:
    _numbered(
        "participants",
        sa.Column("leg", sa.Integer()),
        _text("aor"),
        _text("name", nullable=True),
        _text("search"),
    )
    _numbered(
        "events",
        sa.Column("at_s", sa.Float(), nullable=False),
        _text("type"),
        sa.Column("detail", DOCUMENT, nullable=False),
    )
    _numbered("search_keys", _text("name", 128), _text("value", 512))
    _index("search_keys", "name", "value")


def _numbered(table: str, *columns: sa.Column[Any]) -> None:
    number = sa.Column("number", sa.Integer(), nullable=False, autoincrement=False)
    key = _primary_key(table, "recording_id", "number")
    op.create_table(table, *_of_recording(table), number, *columns, key)


def _text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=nullable)


def _of_recording(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    name = f"fk_{table}_recording_id"
    owner = sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name=name, ondelete="CASCADE")
    return _text("recording_id", 36), owner


def _primary_key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))
