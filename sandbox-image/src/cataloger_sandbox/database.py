"""``connect_database()``: opens the run's database through ibis, for reading only.

This keeps a well-meant mistake from writing. It is no boundary: code may undo what a session
has set. The boundary is the role that the URL names.
"""

import os
import types
import warnings
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

STATEMENT_TIMEOUT_MS = 60_000
CONNECT_TIMEOUT_SECONDS = 10
_TLS = ("REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


class DatabaseURLError(ValueError):
    """The URL can't be used. Its text never names the URL, which holds a password."""


class NoTLSError(DatabaseURLError):
    """The URL demands TLS, and the session has none."""


def connect_database(url: str | None = None):
    """Open the database read-only and return an ibis connection.

    Without a URL, the run's database (``DATABASE_URL``) is opened. Files are named as
    ``sqlite:////absolute/path`` or ``duckdb:///relative/path``.
    """
    url = url or os.environ.get("DATABASE_URL")
    if not url:
        raise DatabaseURLError("there is no database in this session: DATABASE_URL is not set")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The reason would quote the URL.
        raise DatabaseURLError(
            "the database's URL can't be read: is its password encoded?"
        ) from None
    open_ = _OPENERS.get(parts.scheme.partition("+")[0])
    if open_ is None:
        known = ", ".join(sorted(_OPENERS))
        raise DatabaseURLError(
            f"databases of the kind {parts.scheme!r} can't be opened; there are {known}"
        )
    return open_(parts, port)


def _account(parts: SplitResult, port: int | None) -> dict:
    """What the URL says, in ibis's words. ibis's own reading decodes it differently."""
    account = {
        "host": parts.hostname,
        "port": port,
        "user": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "database": unquote(parts.path.lstrip("/")),
    }
    return {name: value for name, value in account.items() if value}


def _path(parts: SplitResult) -> str:
    """Three slashes before a relative path, four before an absolute one.

    Many write three before an absolute one: it is found too, if no relative one is there.
    """
    path = unquote(parts.netloc + parts.path)
    relative = path.removeprefix("/")
    return os.path.abspath(
        path if os.path.exists(path) and not os.path.exists(relative) else relative
    )


def _postgres(parts: SplitResult, port: int | None):
    import ibis

    query = dict(parse_qsl(parts.query))
    ours = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT_MS}"
    # Of two settings of one name the last counts.
    query["options"] = f"{query['options']} {ours}" if "options" in query else ours
    query.setdefault("connect_timeout", str(CONNECT_TIMEOUT_SECONDS))
    query.setdefault("application_name", "cataloger")
    connection = ibis.postgres.connect(**_account(parts, port), **query)
    connection._get_schema_using_query = types.MethodType(_postgres_schema, connection)
    return connection


def _postgres_schema(connection, query: str):
    """Learn the columns of a query without the temporary view that ibis makes: that is a write."""
    import ibis.expr.schema as schemas
    import sqlglot

    inner = sqlglot.parse_one(query, read=connection.dialect).subquery("q")
    none = sqlglot.select("*").from_(inner).limit(0).sql(connection.dialect)
    with connection.con.cursor() as cursor, connection.con.transaction():
        cursor.execute(none)
        columns = [
            (column.name, cursor.pgresult.ftype(index), cursor.pgresult.fmod(index))
            for index, column in enumerate(cursor.description)
        ]
        if not columns:
            return schemas.Schema({})
        names = ", ".join(["pg_catalog.format_type(%s::oid, %s)"] * len(columns))
        cursor.execute(f"SELECT {names}", [n for _, oid, mod in columns for n in (oid, mod)])
        kinds = cursor.fetchone()
    from_string = connection.compiler.type_mapper.from_string
    return schemas.Schema(
        {
            name: from_string(kind, nullable=True)
            for (name, _, _), kind in zip(columns, kinds, strict=True)
        }
    )


def _mysql(parts: SplitResult, port: int | None):
    import ibis

    query = dict(parse_qsl(parts.query))
    with warnings.catch_warnings():
        # Servers without time zone tables don't know "UTC"; the offset is set below.
        warnings.filterwarnings("ignore", "Unable to set session timezone")
        connection = ibis.mysql.connect(
            **_account(parts, port),
            **query,
            charset="utf8mb4",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            init_command="SET SESSION TRANSACTION READ ONLY",
        )
    with connection.con.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        _, cipher = cursor.fetchone() or ("", "")
        cursor.execute("SET SESSION time_zone = '+00:00'")
        if "MariaDB" in connection.con.get_server_info():
            cursor.execute(f"SET SESSION max_statement_time = {STATEMENT_TIMEOUT_MS / 1000}")
        else:
            cursor.execute(f"SET SESSION max_execution_time = {STATEMENT_TIMEOUT_MS}")
            # Else estimates of rows are up to a day old.
            cursor.execute("SET SESSION information_schema_stats_expiry = 0")
    # MariaDB's client library goes on without it.
    if query.get("ssl_mode", "").upper() in _TLS and not cipher:
        connection.disconnect()
        raise NoTLSError("the URL demands TLS (ssl_mode), and the server has none")
    return connection


def _sqlite(parts: SplitResult, _port: int | None):
    import sqlite3

    import ibis

    # Not query_only: ibis needs temporary views, and "ro" keeps the file from every write.
    raw = sqlite3.connect(f"file:{quote(_path(parts))}?mode=ro", uri=True)
    # Nor is any other file opened, or made.
    raw.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # Else an interrupt would wait for the end of the query: SQLite asks Python for nothing.
    raw.set_progress_handler(lambda: 0, 100_000)
    return ibis.sqlite.from_connection(raw)


def _duckdb(parts: SplitResult, _port: int | None):
    import ibis

    # Not lock_configuration: ibis sets the time zone after it has connected. External access
    # can't be turned on again while a database is open.
    return ibis.duckdb.connect(_path(parts), read_only=True, enable_external_access=False)


_OPENERS = {
    "postgres": _postgres,
    "postgresql": _postgres,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
}
