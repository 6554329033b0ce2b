"""Connections to SQLite and PostgreSQL, and the two errors that using them can end in."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    SQLAlchemyError,
)

_WRITING = "siprec_writing"
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "siprec",
}


class CatalogError(Exception):
    """The catalogue did not do what was asked; the text says why and holds no data of a recording."""


class CatalogUnavailable(CatalogError):
    """Not now: away, locked, full, or of another version. Trying again later may help."""


class CatalogRefused(CatalogError):
    """Never: the database cannot hold these values."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn what SQLAlchemy, Alembic and the drivers raise into CatalogUnavailable and CatalogRefused."""
    try:
        yield
    except (DataError, IntegrityError) as exc:
        raise CatalogRefused(_first_line(exc)) from exc
    except (DBAPIError, sqlite3.Error) as exc:
        raise CatalogUnavailable(_first_line(exc)) from exc
    except sqlalchemy.exc.StatementError as exc:
        raise CatalogRefused(_first_line(exc)) from exc
    except (SQLAlchemyError, CommandError, OSError) as exc:
        raise CatalogUnavailable(_first_line(exc)) from exc
    except (ValueError, OverflowError) as exc:
        raise CatalogRefused(_first_line(exc)) from exc


@contextmanager
def refusing_misfits() -> Iterator[None]:
    """Turn the errors of data that is not what the model says into CatalogRefused."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as exc:
        raise CatalogRefused(_first_line(exc)) from exc


def _first_line(exc: BaseException) -> str:
    cause = getattr(exc, "orig", None) or exc
    return (
        f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else ''}".rstrip(
            ": "
        )
    )


def database_file(url: URL) -> Path | None:
    """The file of a SQLite URL, None for another database."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def open_engine(url: str, *, busy_timeout_s: float) -> Engine:
    """An engine for `sqlite:///file` or `postgresql+psycopg://…`; connects to nothing yet.

    busy_timeout_s: how long to wait for SQLite's lock. Raises CatalogError for a URL that cannot be one.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed, busy_timeout_s)
        if parsed.get_backend_name() == "postgresql":
            options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 2, "connect_args": _POSTGRES}
            return sqlalchemy.create_engine(parsed, hide_parameters=True, **options)
    except ImportError as exc:
        raise CatalogError(f"{exc.name} is missing: pip install 'siprec[postgres]'") from exc
    except ArgumentError as exc:
        raise CatalogError(f"catalog url: {exc}") from exc
    raise CatalogError(f"catalog url: {parsed.get_backend_name()} is neither sqlite nor postgresql")


def writing(engine: Engine) -> Engine:
    """The same engine for transactions that write: SQLite's lock is taken when they begin, not half way."""
    return engine.execution_options(**{_WRITING: True})


def _open_sqlite(url: URL, busy_timeout_s: float) -> Engine:
    path = database_file(url)
    if path is None or url.database == ":memory:":
        raise CatalogError("catalog url: SQLite needs a file")
    file = f"file:{quote(os.path.abspath(path))}"
    engine = sqlalchemy.create_engine(
        URL.create("sqlite", database=file, query={"uri": "true"}),
        hide_parameters=True,
        connect_args={"timeout": busy_timeout_s},
    )

    def choose_mode(dialect: Any, record: Any, arguments: list[Any], options: Any) -> None:
        arguments[0] = f"{file}?{'immutable=1' if _is_still(path) else 'mode=rw'}"

    def connect(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        record.info["inode"] = _inode(path)

    def checkout(connection: sqlite3.Connection, record: Any, proxy: Any) -> None:
        if record.info.get("inode") != _inode(path):
            raise DisconnectionError("the file was removed or replaced")

    def begin(connection: Connection) -> None:
        now = connection.get_execution_options().get(_WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if now else "BEGIN")

    event.listen(engine, "do_connect", choose_mode)
    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)
    event.listen(engine, "begin", begin)
    return engine


def _is_still(path: Path) -> bool:
    """Whether nobody has the file open for writing and this process may not write it either.

    Without a -wal file it is whole as it is; to read it as usual SQLite would have to create files beside it.
    """
    return path.exists() and not os.access(path, os.W_OK) and not Path(f"{path}-wal").exists()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
