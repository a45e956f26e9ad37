"""Databases of every kind, made for the tests."""

import sqlite3
import time

import duckdb
import pytest
from cataloger_sandbox.database import connect_database
from servers import MySQL, Postgres

from profiler.session import Session


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mysql():
    """A server of MariaDB, or of MySQL, with a user ``r``."""
    server = MySQL()
    server.admin("CREATE USER r IDENTIFIED BY 'r'; GRANT ALL ON *.* TO r")
    yield server
    server.stop()


class Kind:
    """A kind of database: makes one of this SQL, and opens it."""

    def __init__(self, name, request, directory) -> None:
        self.name = name
        self._request = request
        self._directory = directory
        self._made = 0

    def make(self, *statements: str) -> str:
        """The URL of a new database in which these were run."""
        self._made += 1
        if self.name in ("sqlite", "duckdb"):
            file = self._directory / f"db{self._made}"
            opened = {"sqlite": sqlite3, "duckdb": duckdb}[self.name].connect(str(file))
            for statement in statements:
                opened.execute(statement)
            opened.commit()
            opened.close()
            return f"{self.name}:///{file}"
        name = f"db{time.monotonic_ns()}"
        script = ";\n".join([*statements, ""])
        server = self._request.getfixturevalue(self.name)
        server.admin(f"CREATE DATABASE {name}")
        if self.name == "postgres":
            server.admin(script, name)
            return f"postgresql://postgres@127.0.0.1:{server.port}/{name}"
        server.admin("SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n" + script, name)
        return server.url("r", name, password="r")

    def quote(self, name: str) -> str:
        """A name in quotes."""
        sign = "`" if self.name == "mysql" else '"'
        return sign + name.replace(sign, sign * 2) + sign

    def look(self, url: str, *tables: str, large: int = 1_000_000) -> Session:
        """A session that has measured these tables, or all."""
        session = Session(connect_database(url), 60.0, large)
        session.survey(list(tables) or ["*"])
        session.profile(*range(len(session.tables)))
        return session


@pytest.fixture(params=["sqlite", "duckdb", "postgres", "mysql"])
def kind(request, tmp_path):
    """Each kind of database."""
    return Kind(request.param, request, tmp_path)


@pytest.fixture
def sqlite(request, tmp_path):
    """SQLite."""
    return Kind("sqlite", request, tmp_path)
