"""Why a database can't be opened, as its drivers and servers say it, and what to do about it.

Must open nothing itself.
"""

import difflib
import os
import re
import stat
from typing import Protocol

from cataloger_sandbox.preflight.quoting import back, double
from cataloger_sandbox.preflight.report import Failure


class Place(Protocol):
    """What is told of where a database is."""

    host: str
    port: int
    user: str
    database: str
    shown: str
    # The URL forbids TLS.
    plain: bool


def unresolved(at: Place) -> Failure:
    return Failure(
        "unresolved",
        f"the name of the database's host can't be resolved: {at.host}",
        "Is it spelled right, and known where the run is made? Inside of a cluster a service is "
        "NAME.NAMESPACE.svc.",
    )


def refused(at: Place) -> Failure:
    return Failure(
        "refused",
        f"nothing takes connections at {at.shown}",
        "Is the server running, is that its port, and does it listen on that address and not on "
        "its own loopback only?",
    )


def timeout(at: Place) -> Failure:
    return Failure(
        "timeout",
        f"{at.shown} does not answer",
        "Something on the way drops the packets: a firewall, a security group or a network "
        "policy. Let this address in, or correct the host.",
    )


def unreachable(at: Place, reason: str) -> Failure:
    return Failure(
        "unreachable",
        f"there is no way to {at.shown}: {reason}",
        "Is the address right, and is there a route to it from here?",
    )


def silent(at: Place) -> Failure:
    return Failure(
        "silent",
        f"{at.shown} takes the connection, but does not answer as the database that the URL names",
        "Is that the database's port, and is it of that kind? A proxy, or a server that hangs, "
        "does the same.",
    )


def other(at: Place, told: str) -> Failure:
    return Failure(
        "server",
        f"the server at {at.shown} refuses the session: {told}",
        "The server's log may say more.",
    )


def _password(at: Place) -> Failure:
    return Failure(
        "password",
        f"the server refuses the password of {at.user or 'this role'}",
        "Correct user and password in the URL; characters such as @ / : # ? % in them are "
        "encoded, as %40. On MySQL the account also belongs to the host that one comes from, and "
        "may demand TLS (?ssl_mode=REQUIRED).",
    )


def _tls(problem: str, advice: str) -> Failure:
    return Failure("tls", problem, advice)


def _no_database(at: Place) -> Failure:
    return Failure(
        "no_database",
        f"there is no database {at.database!r} on the server at {at.shown}",
        "Correct the end of the URL: postgresql://…@HOST/DATABASE. Names are taken as they are "
        "spelled.",
    )


def _no_connect(at: Place, grant: str) -> Failure:
    return Failure(
        "no_right",
        f"{at.user or 'the role'} has no right to use the database {at.database!r}",
        "Grant it, as who owns the database:",
        statements=[grant],
    )


def _busy(at: Place) -> Failure:
    return Failure(
        "busy",
        f"the server at {at.shown} has no connection left",
        "Try again later, or give the role connections of its own.",
    )


def no_tls(at: Place) -> Failure:
    return _tls(
        f"the URL demands TLS, and the server at {at.shown} does not offer it",
        "Turn TLS on at the server, or take the demand (sslmode, ssl_mode) out of the URL if the "
        "network is trusted.",
    )


def postgres(at: Place, _error: Exception, told: str) -> Failure | None:
    """By the words of libpq and the server, which have no codes this early."""

    def says(*words: str) -> bool:
        return any(re.search(word, told) for word in words)

    if says("failed to resolve host", "could not translate host name"):
        return unresolved(at)
    if says("server does not support SSL"):
        return no_tls(at)
    if says("certificate verify failed", "root certificate file", "does not match host name"):
        return _tls(
            f"the certificate of the server at {at.shown} is not trusted",
            "Name its authority with sslrootcert in the URL, where the sandbox can read it, or "
            "demand less than sslmode=verify-ca. Is the host the one that it was made for?",
        )
    if says("invalid response to SSL negotiation"):
        return silent(at)
    if says("pg_hba.conf"):
        if at.plain and says("no encryption", "SSL off"):
            return _tls(
                f"the server at {at.shown} takes this role only with TLS",
                "Add ?sslmode=require to the URL.",
            )
        return Failure(
            "not_admitted",
            f"the server at {at.shown} admits no such session: {_after(told, 'FATAL:')}",
            "Let this address, role and database in by a line in the server's pg_hba.conf.",
        )
    if says("password authentication failed", "no password supplied"):
        return _password(at)
    if says(r'role ".*" does not exist', "is not permitted to log in"):
        return Failure(
            "no_role",
            f"the server has no role {at.user!r} that may log in",
            "Correct the user in the URL, or make the role: CREATE ROLE … LOGIN PASSWORD …",
        )
    if says(r'database ".*" does not exist'):
        return _no_database(at)
    if says("permission denied for database"):
        return _no_connect(
            at, f"GRANT CONNECT ON DATABASE {double(at.database)} TO {double(at.user)};"
        )
    if says("too many (connections|clients)", "remaining connection slots", "no more connections"):
        return _busy(at)
    if says("starting up", "shutting down", "not currently accepting", "not yet accepting"):
        return Failure(
            "starting",
            f"the server at {at.shown} is not ready: {_after(told, 'FATAL:')}",
            "Try again in a minute.",
        )
    if says("unsupported startup parameter"):
        return Failure(
            "pooler",
            f"a connection pooler at {at.shown} refuses settings of the session",
            "Name the server itself in the URL, or let the pooler pass them: in PgBouncer, "
            "ignore_startup_parameters = options.",
        )
    if says("FATAL:", "SSL error", "SASL", "authentication"):
        return other(at, _after(told, "FATAL:"))
    return None


# By the servers' and the client library's codes.
_MYSQL_PASSWORD = (1045, 1698)
_MYSQL_BUSY = (1040, 1041, 1203, 1226)
_MYSQL_TLS = (2026, 3159)


def mysql(at: Place, error: Exception, told: str) -> Failure | None:
    """By the code that MySQL's errors begin with."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if code == 2005:
        return unresolved(at)
    if code in _MYSQL_PASSWORD:
        return _password(at)
    if code == 1049:
        return _no_database(at)
    if code == 1044:
        return _no_connect(at, f"GRANT SELECT ON {back(at.database)}.* TO …;")
    if code in _MYSQL_BUSY:
        return _busy(at)
    if code in _MYSQL_TLS or "SSL" in told or "TLS" in told:
        if code == 3159:
            problem = f"the server at {at.shown} takes sessions only with TLS"
            return _tls(problem, "Add ?ssl_mode=REQUIRED to the URL.")
        if "support" in told or "required" in told:
            return no_tls(at)
        return _tls(
            f"TLS with the server at {at.shown} fails: {told}",
            "Is its certificate made for this host, and is its authority trusted?",
        )
    if code in (1129, 1130):
        return Failure(
            "not_admitted",
            f"the server at {at.shown} takes no session from this host",
            "Make the account for the host that the sandbox comes from: CREATE USER …@'%'. If it "
            "was blocked for errors: FLUSH HOSTS.",
        )
    if code in (1820, 1862, 3118, 4151):
        return Failure(
            "locked",
            f"the account {at.user!r} is locked, or its password has expired",
            "ALTER USER … ACCOUNT UNLOCK, or give it a password that does not expire.",
        )
    return None


_ADVICE_FILE = {
    "sqlite": "Write sqlite:////srv/shop.db, with four slashes before an absolute path.",
    "duckdb": "Write duckdb:////srv/shop.db, with four slashes before an absolute path.",
}


def file(scheme: str, path: str, told: str) -> Failure:
    """Why a file can't be opened as a database."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        return _unreadable(path)
    except OSError:
        near = _beside(path)
        return Failure(
            "no_database",
            f"there is no file {path}",
            f"{_ADVICE_FILE[scheme]} The file must be where the sandbox sees it.",
            nearest=near,
        )
    if not stat.S_ISREG(mode):
        return Failure("no_database", f"{path} is no file", _ADVICE_FILE[scheme])
    if not os.access(path, os.R_OK):
        return _unreadable(path)
    if re.search(r"\block(ed)?\b", told, re.IGNORECASE):
        return Failure(
            "busy",
            f"{path} is held by another process that writes it",
            "End that process, or catalog a copy of the file.",
        )
    if re.search("WAL|disk I/O|unable to open|readonly", told):
        return Failure(
            "server",
            f"{path} can't be opened for reading only: {told}",
            "It may have changes that are not merged yet (a -wal file beside it): open it once for "
            "writing and close it, or catalog a copy.",
        )
    if re.search("version", told):
        return Failure(
            "server",
            f"{path} was written by another version of DuckDB, which this one can't read",
            "Export it there and import it with the version of the sandbox.",
        )
    return _other_kind(scheme, path)


def _unreadable(path: str) -> Failure:
    return Failure(
        "no_right",
        f"{path} can't be read by the sandbox's user",
        f"Let it read the file and enter its directories: chmod o+r FILE, chmod o+x DIRECTORY "
        f"(it runs as uid {os.getuid()}).",
    )


def _other_kind(scheme: str, path: str) -> Failure:
    with open(path, "rb") as file:
        begin = file.read(16)
    other = (
        "sqlite"
        if begin.startswith(b"SQLite format 3")
        else "duckdb"
        if begin[8:12] == b"DUCK"
        else ""
    )
    if other and other != scheme:
        return Failure(
            "no_database",
            f"{path} is a database of {_NAMES[other]}, not of {_NAMES[scheme]}",
            f"Write {other}:// instead of {scheme}:// in the URL.",
        )
    return Failure(
        "no_database",
        f"{path} is no database of {_NAMES[scheme]}, or is damaged",
        "Is it the right file?",
    )


_NAMES = {"sqlite": "SQLite", "duckdb": "DuckDB"}


def _beside(path: str) -> list[str]:
    directory, name = os.path.split(path)
    try:
        names = [it.name for it in os.scandir(directory) if it.is_file()]
    except OSError:
        return []
    return difflib.get_close_matches(name, names, 5, 0.6)


def _after(told: str, mark: str) -> str:
    return told.rpartition(mark)[2].strip()
