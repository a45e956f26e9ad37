"""``connect_database()``: opens the run's database through ibis, for reading only."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

STATEMENT_TIMEOUT_MS = 60_000


class DatabaseURLError(ValueError):
    """The URL can't be used. Its text never names the URL, which holds a password."""


def connect_database(url: str | None = None):
    """Open the database read-only and return an ibis connection.

    Without a URL, the run's database (``DATABASE_URL``) is opened.
    """
    url = url or os.environ.get("DATABASE_URL")
    if not url:
        raise DatabaseURLError("there is no database in this session: DATABASE_URL is not set")
    parts = urlsplit(url)
    open_ = _OPENERS.get(parts.scheme.partition("+")[0])
    if open_ is None:
        raise DatabaseURLError(
            f"databases of the kind {parts.scheme!r} can't be opened; "
            f"there are {', '.join(sorted(_OPENERS))}"
        )
    return open_(url, parts)


def _path(parts) -> str:
    """``sqlite:///relative.db``, ``sqlite:////absolute.db``; also without the doubled slash."""
    path = unquote(parts.netloc + parts.path)
    if path.startswith("//"):
        return path[1:]
    return path if os.path.exists(path) else path.removeprefix("/")


def _postgres(_url: str, parts):
    import ibis

    options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT_MS}"
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    schema = query.pop("schema", None)
    own = query.pop("options", None)
    return ibis.postgres.connect(
        host=parts.hostname,
        port=parts.port or 5432,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=unquote(parts.path.lstrip("/")) or None,
        schema=schema,
        # Ours come last: the last of two settings of one name counts.
        options=f"{own} {options}" if own else options,
        **query,
    )


def _mysql(_url: str, parts):
    import ibis

    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    connection = ibis.mysql.connect(
        host=parts.hostname or "localhost",
        port=parts.port or 3306,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else "",
        database=unquote(parts.path.lstrip("/")) or None,
        **query,
    )
    with connection.begin() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return connection


def _sqlite(_url: str, parts):
    import sqlite3
    from urllib.parse import quote

    import ibis

    path = os.path.abspath(_path(parts))
    raw = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
    raw.execute("PRAGMA query_only = 1")
    return ibis.sqlite.from_connection(raw)


def _duckdb(_url: str, parts):
    import ibis

    return ibis.duckdb.connect(
        os.path.abspath(_path(parts)),
        read_only=True,
        enable_external_access=False,
        autoinstall_known_extensions=False,
        lock_configuration=True,
    )


_OPENERS = {
    "postgres": _postgres,
    "postgresql": _postgres,
    "mysql": _mysql,
    "mariadb": _mysql,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
}
