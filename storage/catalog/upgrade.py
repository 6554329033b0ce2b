"""Brings a database to this program's schema, by the migrations in this package (Alembic)."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from siprec.storage.catalog.engine import writing
from siprec.storage.fileops import REAL

_POSTGRES_LOCK = 0x53495052  # any number that every recorder uses
_ONE_THREAD = threading.Lock()  # Alembic keeps its context in a module


def configuration() -> Config:
    """Alembic's configuration with the migrations of this package."""
    config = Config()
    config.set_main_option("script_location", "siprec.storage.catalog:migrations")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine, file: Path | None) -> None:
    """Create what is missing and run the migrations that have not run, all of them or none.

    file: the database file if there is one; created (0640) if missing. Several processes may do this at once.
    """
    if file is not None:
        os.close(REAL.open(file, os.O_RDWR | os.O_CREAT, 0o640))
        with closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode = WAL").close()
    with _ONE_THREAD, writing(engine).begin() as connection:
        _run(connection)


def _run(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
