"""``connect_database``: read-only, and silent about passwords. Servers are tested elsewhere."""

import sqlite3
import traceback
from urllib.parse import quote

import duckdb
import pytest

from cataloger_sandbox.database import DatabaseURLError, connect_database

PASSWORD = "s3cret"


@pytest.fixture(params=["sqlite", "duckdb"])
def database(request, tmp_path):
    """The URL of a database file, and its path."""
    # DuckDB takes what comes after a question mark for something else.
    path = tmp_path / ("my data?.db" if request.param == "sqlite" else "my data.db")
    connection = {"sqlite": sqlite3, "duckdb": duckdb}[request.param].connect(str(path))
    connection.execute("CREATE TABLE things (id INTEGER, name TEXT)")
    connection.execute("INSERT INTO things VALUES (1, 'one'), (2, NULL)")
    connection.commit()
    connection.close()
    return f"{request.param}:///{quote(str(path))}", path


def test_reads(database):
    url, _ = database
    connection = connect_database(url)
    assert connection.list_tables() == ["things"]
    things = connection.table("things")
    assert things.count().execute() == 2
    assert connection.sql("SELECT name FROM things WHERE id = 1").execute().iloc[0, 0] == "one"


def test_opens_the_runs_database(database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database[0])
    assert connect_database().list_tables() == ["things"]


def test_relative_paths(database, monkeypatch):
    url, path = database
    monkeypatch.chdir(path.parent)
    kind = url.partition(":")[0]
    assert connect_database(f"{kind}:///{quote(path.name)}").list_tables() == ["things"]
    # One slash too few.
    assert connect_database(f"{kind}://{quote(str(path))}").list_tables() == ["things"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO things VALUES (3, 'three')",
        "UPDATE things SET id = 3",
        "DELETE FROM things",
        "DROP TABLE things",
        "CREATE TABLE others (id INTEGER)",
        "CREATE INDEX i ON things (id)",
        "ALTER TABLE things ADD COLUMN x INTEGER",
    ],
)
def test_writes_raise(database, statement):
    url, path = database
    connection = connect_database(url)
    with pytest.raises((duckdb.Error, sqlite3.Error), match=r"read-only|readonly"):
        connection.raw_sql(statement)
    assert connection.list_tables() == ["things"]
    assert connection.table("things").count().execute() == 2
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_ibis_can_not_write_either(database):
    import pandas

    connection = connect_database(database[0])
    with pytest.raises((duckdb.Error, sqlite3.Error)):
        connection.create_table("others", pandas.DataFrame({"a": [1]}))
    with pytest.raises((duckdb.Error, sqlite3.Error)):
        connection.insert("things", pandas.DataFrame({"id": [1], "name": ["x"]}))
    again = connect_database(database[0])
    assert again.list_tables() == ["things"]
    assert again.table("things").count().execute() == 2


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_file_that_is_not_there_is_not_made(kind, tmp_path):
    with pytest.raises((duckdb.Error, sqlite3.Error)):
        connect_database(f"{kind}:///{tmp_path}/nothing.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("database", ["duckdb"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "COPY things TO '{}/out.csv'",
        "COPY things TO '{}/out.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{}/out'",
        "ATTACH '{}/out.db'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
def test_duckdb_keeps_to_its_file(database, statement):
    url, path = database
    connection = connect_database(url)
    with pytest.raises(duckdb.Error):
        connection.raw_sql(statement.format(path.parent)).fetchall()
    assert [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement", ["PRAGMA query_only = 0", "PRAGMA journal_mode = WAL", "PRAGMA user_version = 7"]
)
def test_sqlite_stays_read_only_whatever_it_is_told(database, statement):
    url, path = database
    before = path.read_bytes()
    connection = connect_database(url)
    try:
        connection.raw_sql(statement)
    except sqlite3.Error:
        pass  # refused is fine too
    with pytest.raises(sqlite3.Error, match="readonly"):
        connection.raw_sql("DELETE FROM things")
    assert path.read_bytes() == before


def test_no_url(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for url in (None, ""):
        with pytest.raises(DatabaseURLError, match="DATABASE_URL is not set"):
            connect_database(url)


@pytest.mark.parametrize(
    "url", ["oracle://u:s3cret@host/db", "file.db", "/tmp/file.db", "http://x"]
)
def test_unknown_kinds(url):
    with pytest.raises(DatabaseURLError, match="can't be opened; there are duckdb") as error:
        connect_database(url)
    assert PASSWORD not in str(error.value)


def _everything_told(error: BaseException | None) -> str:
    """Its text and those of what is told with it. Source lines are the agent's own."""
    if error is None:
        return ""
    told = "".join(traceback.format_exception_only(error)) + _everything_told(error.__cause__)
    if error.__suppress_context__:
        return told
    return told + _everything_told(error.__context__)


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "mysql", "mariadb", "postgresql+psycopg"]
)
@pytest.mark.parametrize(
    "rest",
    [
        "://u:s3cret@127.0.0.1:1/db",
        "://u:s3cret@127.0.0.1:port/db",
        "://u:s3cret@127.0.0.1:99999/db",
        "://u:s3cret/x@127.0.0.1:1/db",
        "://u:s3cret#x@127.0.0.1:1/db",
        "://u:s3cret?x@127.0.0.1:1/db",
        "://u:12/s3cret@127.0.0.1:1/db",
        "://u:[s3cret@127.0.0.1:1/db",
        "://u:s3cret]@127.0.0.1:1/db",
        "://u:s3cret\u2100@127.0.0.1:1/db",
        "://u:s3cret@[::1:1/db",
        "://127.0.0.1:1/db?user=u&password=s3cret",
        "://u:s3cret@127.0.0.1:1/db?no_such_option=1",
        "://u:%00s3cret@127.0.0.1:1/db",
    ],
)
def test_errors_do_not_tell_the_password(scheme, rest):
    with pytest.raises(Exception) as error:  # noqa: PT011 - a driver's own, of many kinds
        connect_database(scheme + rest)
    assert PASSWORD not in _everything_told(error.value)
