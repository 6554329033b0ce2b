"""A catalogue on each database: SQLite always, PostgreSQL where its server is installed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count

import pytest
import sqlalchemy

from siprec.storage.catalog import Catalog


def _binaries() -> str | None:
    """The folder of PostgreSQL's programs, the newest version first."""
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]), reverse=True
    )
    on_path = shutil.which("initdb")
    return next(iter(found), os.path.dirname(on_path) if on_path else None)


class PostgresServer:
    """A server of our own on a UNIX socket in a folder of its own; as root it runs as user postgres."""

    def __init__(self, binaries: str, folder: str) -> None:
        self._binaries, self.folder, self._data = binaries, folder, os.path.join(folder, "data")
        self._numbers = count()
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb", "-D", self._data, "-U", "siprec", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )

    def _run(self, program: str, *arguments: str) -> None:
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        command = [os.path.join(self._binaries, program), *arguments]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=self.folder, **as_user)

    def start(self) -> None:
        options = f"-c listen_addresses='' -k {self.folder} -c fsync=off -c max_connections=30 -c shared_buffers=16MB"
        self._run(
            "pg_ctl",
            "-D",
            self._data,
            "-w",
            "-l",
            os.path.join(self.folder, "server.log"),
            "-o",
            options,
            "start",
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://siprec@/{database}?host={self.folder}"

    def new_database(self) -> str:
        name = f"catalog{next(self._numbers)}"
        engine = sqlalchemy.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self.url(name)


@pytest.fixture(scope="session")
def postgres():
    """A running server, or a skip that names what is missing; a failure where nothing may be missing."""
    binaries = _binaries()
    if binaries is None:
        missing = "PostgreSQL is missing: apt-get install postgresql"
        (pytest.fail if os.environ.get("SIPREC_REQUIRE_TOOLS") else pytest.skip)(missing)
    pytest.importorskip("psycopg", reason="psycopg is missing: pip install 'siprec[postgres]'")
    folder = tempfile.mkdtemp(prefix="siprec-pg-")
    try:
        server = PostgresServer(binaries, folder)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database; its tables are not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def catalog(url):
    """A catalogue with its tables."""
    opened = Catalog(url)
    opened.upgrade()
    yield opened
    opened.close()
