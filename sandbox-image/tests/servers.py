"""Real database servers for tests: each starts once, with a directory and a port of its own.

They are the machine's, unless others are named, as one names them in PATH:
``CATALOGER_TEST_POSTGRES_BIN`` has ``initdb`` and ``postgres``, ``CATALOGER_TEST_MYSQL_BIN`` either
``mysqld`` and ``mysql``, or ``mariadbd``, ``mariadb-install-db`` and ``mariadb``.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

# Odd on purpose: it must survive URLs.
PASSWORD = "s3cr%t/with@odd:parts"
START_SECONDS = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _as_user(user: str) -> list[str]:
    """Servers refuse to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]


class Server:
    """A server that ends with ``stop``."""

    user = scheme = ""
    port = 0
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="cataloger-server-"))
        if os.getuid() == 0:
            shutil.chown(self.directory, self.user)
        self.port = free_port()
        self._process = self._start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.admin("SELECT 1")
                return
            assert self._process.poll() is None, f"{self.scheme} has ended"
            assert time.monotonic() < deadline, f"{self.scheme} does not answer in time"

    def _start(self) -> subprocess.Popen:
        raise NotImplementedError

    def admin(self, sql: str, database: str = "") -> str:
        raise NotImplementedError

    def url(self, user: str, database: str, rest: str = "", password: str = PASSWORD) -> str:
        account = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"{self.scheme}://{account}@127.0.0.1:{self.port}/{quote(database, safe='')}{rest}"

    def stop(self) -> None:
        self._process.send_signal(self.stop_signal)
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _run(command: list[str], **options) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def _found(name: str, places: str, installed: str) -> str:
    """A program in one of the places, or else on this machine."""
    found = shutil.which(name, path=f"{places}:{installed}")
    assert found, f"{name} is installed (tests/prepare does that)"
    return found


class Postgres(Server):
    """PostgreSQL. Over TCP, only the owner needs no password."""

    user, scheme = "postgres", "postgresql"
    stop_signal = signal.SIGQUIT
    rules = (
        "local all all trust\nhost all postgres all trust\n"
        "host all outsider all reject\nhostssl all tls_only all scram-sha-256\n"
        "host all tls_only all reject\nhost all all all scram-sha-256\n"
    )

    def _program(self, name: str) -> str:
        installed = Path("/usr/lib/postgresql").glob("*/bin")
        newest = sorted(installed, key=lambda it: int(it.parts[-2]), reverse=True)
        machine = ":".join([*map(str, newest), os.environ["PATH"]])
        return _found(name, os.environ.get("CATALOGER_TEST_POSTGRES_BIN", ""), machine)

    def _start(self) -> subprocess.Popen:
        data = self.directory / "data"
        initdb = [self._program("initdb"), "--auth", "trust", "--no-sync", "-U", "postgres"]
        _run([*_as_user(self.user), *initdb, "--pgdata", str(data)])
        (data / "pg_hba.conf").write_text(self.rules)
        server = [self._program("postgres"), "-D", str(data), "-k", str(self.directory), "-F"]
        return subprocess.Popen(
            [*_as_user(self.user), *server, "-h", "127.0.0.1", "-p", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def admin(self, sql: str, database: str = "postgres") -> str:
        psql = [self._program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        return _run([*psql, *where], input=sql).strip()

    @property
    def major(self) -> int:
        """The version of the server."""
        return int(self.admin("SHOW server_version_num")) // 10_000


class MySQL(Server):
    """MariaDB, or MySQL where that is named."""

    user, scheme = "mysql", "mysql"

    def _program(self, name: str) -> str:
        machine = f"{os.environ['PATH']}:/usr/sbin"
        return _found(name, os.environ.get("CATALOGER_TEST_MYSQL_BIN", ""), machine)

    def _start(self) -> subprocess.Popen:
        named = os.environ.get("CATALOGER_TEST_MYSQL_BIN", "")
        # Debian's MariaDB has a mysqld too, which is a link.
        self.is_mysql = bool(named and not shutil.which("mariadbd", path=named))
        data, self._socket = self.directory / "data", self.directory / "socket"
        where = [f"--datadir={data}"]
        if self.is_mysql:
            program = self._program("mysqld")
            # Its files are where it is, not where it was built for.
            where += [f"--basedir={Path(program).parents[1]}", f"--tmpdir={self.directory}"]
            install = [program, "--no-defaults", "--initialize-insecure"]
            more = ["--mysqlx=OFF", "--secure-file-priv=NULL"]
            install = [*_as_user(self.user), *install]
        else:
            program, install = self._program("mariadbd"), [self._program("mariadb-install-db")]
            if named:
                where += [f"--basedir={Path(install[0]).parents[1]}"]
            install += [
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]
            install += ["--user=mysql"] if os.getuid() == 0 else []
            more = []
        _run([*install, *where])
        server = [program, "--no-defaults", *where, f"--socket={self._socket}", *more]
        server += [f"--port={self.port}", "--bind-address=127.0.0.1"]
        # Accounts are named by address only.
        server += ["--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]
        return subprocess.Popen(
            [*_as_user(self.user), *server],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def makes_certificates(self) -> bool:
        """Whether it offers TLS without being told to, as MySQL does, and MariaDB from 11.4 on."""
        return self.is_mysql or not self.admin("SELECT version()").startswith("10.")

    def admin(self, sql: str, database: str = "mysql") -> str:
        client = [self._program("mysql" if self.is_mysql else "mariadb"), "--no-defaults"]
        client += [f"--socket={self._socket}", "--user=root", "-N", "-B"]
        return _run([*client, database], input=sql).strip()
