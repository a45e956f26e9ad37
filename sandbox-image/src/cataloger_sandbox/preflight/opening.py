"""Opens the database as the agent's code will, and tells apart why it can't be opened.

What a driver says is quoted only where it can't hold a secret, and never the URL.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from cataloger_sandbox.database import CONNECT_TIMEOUT_SECONDS, NoTLSError, _path, connect_database
from cataloger_sandbox.preflight import refusals
from cataloger_sandbox.preflight.report import Failure

_PORTS = {"postgres": 5432, "postgresql": 5432, "mysql": 3306, "mariadb": 3306}
_FILES = ("sqlite", "duckdb")
_SECRET = ("password", "passwd", "sslpassword", "passphrase", "key")
_KINDS = "postgresql, mysql, mariadb, sqlite and duckdb"
_TOLD = 300


@dataclass(frozen=True)
class Address:
    """Where the database is, in parts."""

    url: str = field(repr=False)
    scheme: str
    host: str
    port: int
    user: str
    database: str
    # Of a database that is a file.
    path: str
    # Whether the URL forbids TLS.
    plain: bool = False
    # What must not be told.
    secrets: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def read(cls, url: str) -> "Address":
        """The parts of a URL."""
        if not url:
            raise Failure(
                "url",
                "there is no database's URL",
                "Give one: postgresql://USER:PASSWORD@HOST/DATABASE, or of another kind.",
            )
        scheme = url.partition("://")[0].partition("+")[0]
        if scheme not in (*_PORTS, *_FILES):
            # What stands there may be anything, also a secret.
            raise Failure(
                "url",
                "the database's URL is of a kind that can't be opened",
                f"There are {_KINDS}. Others can be loaded into one of them.",
            )
        encode = Failure(
            "url",
            "the database's URL can't be read",
            "Is its password encoded? In it, write @ as %40, / as %2F, : as %3A, # as %23, ? as "
            "%3F and % as %25.",
        )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise encode from None
        if scheme in _FILES:
            return cls(url, scheme, "", 0, "", "", _path(parts))
        # Whoever forgets to encode a password has its rest taken for a host or a database.
        if url.rfind("@") > url.find("://") + 3 + len(parts.netloc) or parts.fragment:
            raise encode
        query = dict(parse_qsl(parts.query))
        return cls(
            url,
            scheme,
            parts.hostname or query.get("host", "") or "127.0.0.1",
            port or _PORTS[scheme],
            unquote(parts.username or "") or query.get("user", ""),
            unquote(parts.path.lstrip("/")) or query.get("dbname", ""),
            "",
            query.get("sslmode") == "disable",
            _secrets(url, parts, query),
        )

    @property
    def shown(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def tell(self, error: BaseException | str) -> str:
        """What an error says, in one line without secrets."""
        said = str(error)
        match getattr(error, "args", ()):
            case (int(code), str(reason)):  # MySQL's
                said = f"{reason} ({code})"
        text = " ".join(said.split()) or type(error).__name__
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text if len(text) <= _TOLD else f"{text[: _TOLD - 1]}…"


def _secrets(url: str, parts: SplitResult, query: dict[str, str]) -> tuple[str, ...]:
    raw = [parts.password or "", *(query.get(name, "") for name in _SECRET)]
    known = {url, *raw, *(unquote(it) for it in raw)} - {""}
    return tuple(sorted(known, key=len, reverse=True))


@contextlib.contextmanager
def open_database(address: Address) -> Iterator:
    """An ibis connection that is closed in the end."""
    try:
        connection = connect_database(address.url)
    except Exception as error:  # noqa: BLE001 - drivers' own, of many kinds, told apart below
        raise _why(address, error) from None
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.disconnect()


def _why(address: Address, error: Exception) -> Failure:
    told = address.tell(error)
    if isinstance(error, ImportError):
        return Failure(
            "driver",
            f"the driver for {address.scheme} is not installed where the database is opened from",
            "In the sandbox's image it is there. On this machine install a C compiler, pkg-config, "
            "Python's headers and libmariadb-dev, remove the environment in the cache directory, "
            "and run again.",
        )
    if address.scheme in _FILES:
        return refusals.file(address.scheme, address.path, told)
    if isinstance(error, NoTLSError):
        return refusals.no_tls(address)
    if isinstance(error, TypeError) or "invalid connection option" in told:
        return Failure(
            "url",
            f"the database's URL has a parameter that the driver does not know: {told}",
            "Remove it, or spell it as the driver's manual does.",
        )
    rule = refusals.postgres if address.scheme.startswith("postgres") else refusals.mysql
    return rule(address, error, told) or _reach(address) or refusals.other(address, told)


def broken_off(address: Address, error: Exception) -> Failure:
    """Why it did not go on after it was opened."""
    told = address.tell(error)
    if address.scheme in ("mysql", "mariadb") and (why := refusals.mysql(address, error, told)):
        return why
    return Failure(
        "unexpected",
        f"the survey of the database failed: {told}",
        "Try again; if it stays, report it with this message.",
    )


def _reach(address: Address) -> Failure | None:
    """Why its host does not answer, if it does not."""
    if address.host.startswith("/"):
        return None
    try:
        with socket.create_connection(
            (address.host, address.port), timeout=CONNECT_TIMEOUT_SECONDS
        ):
            return refusals.silent(address)
    except socket.gaierror:
        return refusals.unresolved(address)
    except TimeoutError:
        return refusals.timeout(address)
    except ConnectionRefusedError:
        return refusals.refused(address)
    except OSError as error:
        return refusals.unreachable(address, error.strerror or type(error).__name__)
