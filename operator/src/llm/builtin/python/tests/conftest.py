"""Databases of every kind, made for the tests."""

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import duckdb
import pytest
from cataloger_sandbox.database import connect_database

from profiler.session import Session


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _as(user: str) -> list[str]:
    return (
        ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if os.getuid() == 0 else []
    )


def _answers(command: list[str]) -> None:
    until = time.monotonic() + 60
    while subprocess.run(command, capture_output=True, check=False).returncode:
        assert time.monotonic() < until, command


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server; the address of its socket and its port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("there is no PostgreSQL")
    place, port = _place(tmp_path_factory, "postgres"), _free_port()
    run = [*_as("postgres")]
    subprocess.run(
        [
            *run,
            programs[-1] / "initdb",
            "-A",
            "trust",
            "-N",
            "-U",
            "postgres",
            "-D",
            place / "data",
        ],
        check=True,
        capture_output=True,
    )
    server = subprocess.Popen(
        [*run, programs[-1] / "postgres", "-D", place / "data", "-k", place, "-p", str(port), "-F"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _answers(["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-c", "SELECT 1"])
    yield port
    server.kill()
    server.wait(30)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """A MariaDB server; its socket and its port."""
    if not shutil.which("mariadb-install-db"):
        pytest.skip("there is no MariaDB")
    place, port = _place(tmp_path_factory, "mysql"), _free_port()
    user = ["--user=mysql"] if os.getuid() == 0 else []
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={place}/data", "--skip-test-db",
         "--auth-root-authentication-method=normal", *user],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = subprocess.Popen(
        [*_as("mysql"), "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={place}/data",
         f"--socket={place}/socket", f"--port={port}", "--bind-address=127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = ["mariadb", "--no-defaults", f"--socket={place}/socket", "--user=root"]
    _answers([*client, "--execute", "SELECT 1"])
    user = "CREATE USER r@'127.0.0.1' IDENTIFIED BY 'r'; GRANT ALL ON *.* TO r@'127.0.0.1'"
    subprocess.run([*client, "--execute", user], check=True)
    yield client, port
    server.kill()
    server.wait(30)
    shutil.rmtree(place, ignore_errors=True)


def _place(factory, user: str) -> Path:
    place = factory.mktemp(user)
    if os.getuid() == 0:
        for above in [place, *list(place.parents)[:2]]:
            above.chmod(0o755)
        shutil.chown(place, user)
    return place


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
        if self.name == "postgres":
            port = self._request.getfixturevalue("postgres")
            psql = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-q"]
            subprocess.run([*psql, "-c", f"CREATE DATABASE {name}"], check=True)
            psql += ["-d", name, "-v", "ON_ERROR_STOP=1"]
            subprocess.run(psql, input=script.encode(), check=True)
            return f"postgresql://postgres@127.0.0.1:{port}/{name}"
        client, port = self._request.getfixturevalue("mariadb")
        subprocess.run([*client, "--execute", f"CREATE DATABASE {name}"], check=True)
        relaxed = "SET sql_mode = 'NO_BACKSLASH_ESCAPES';\n" + script
        subprocess.run([*client, name], input=relaxed.encode(), check=True)
        return f"mysql://r:r@127.0.0.1:{port}/{name}"

    def quote(self, name: str) -> str:
        """A name in quotes."""
        sign = "`" if self.name == "mariadb" else '"'
        return sign + name.replace(sign, sign * 2) + sign

    def look(self, url: str, *tables: str, large: int = 1_000_000) -> Session:
        """A session that has measured these tables, or all."""
        session = Session(connect_database(url), 60.0, large)
        session.survey(list(tables) or ["*"])
        session.profile(*range(len(session.tables)))
        return session


@pytest.fixture(params=["sqlite", "duckdb", "postgres", "mariadb"])
def kind(request, tmp_path):
    """Each kind of database."""
    return Kind(request.param, request, tmp_path)


@pytest.fixture
def sqlite(request, tmp_path):
    """SQLite."""
    return Kind("sqlite", request, tmp_path)
