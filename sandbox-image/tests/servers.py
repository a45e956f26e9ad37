"""Real database servers for tests: each starts once, with a directory and a port of its own."""

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


class Postgres(Server):
    user, scheme = "postgres", "postgresql"
    stop_signal = signal.SIGQUIT

    def _start(self) -> subprocess.Popen:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda it: int(it.parts[-2]))
        assert found, "PostgreSQL is installed (tests/prepare does that)"
        self._programs = found[-1]
        data = self.directory / "data"
        initdb = [f"{self._programs}/initdb", "--auth", "trust", "--no-sync", "-U", "postgres"]
        _run([*_as_user(self.user), *initdb, "--pgdata", str(data)])
        # Over TCP, only the owner needs no password.
        hosts = (
            "local all all trust\nhost all postgres all trust\n"
            "host all outsider all reject\nhostssl all tls_only all scram-sha-256\n"
            "host all tls_only all reject\nhost all all all scram-sha-256\n"
        )
        (data / "pg_hba.conf").write_text(hosts)
        server = [f"{self._programs}/postgres", "-D", str(data), "-k", str(self.directory), "-F"]
        return subprocess.Popen(
            [*_as_user(self.user), *server, "-h", "127.0.0.1", "-p", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def admin(self, sql: str, database: str = "postgres") -> str:
        psql = [f"{self._programs}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]
        return _run([*psql, *where], input=sql).strip()

    @property
    def major(self) -> int:
        return int(self._programs.parts[-2])


class MariaDB(Server):
    user, scheme = "mysql", "mysql"

    def _start(self) -> subprocess.Popen:
        data, self._socket = self.directory / "data", self.directory / "socket"
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        install += ["--auth-root-authentication-method=normal"]
        _run([*install, *(["--user=mysql"] if os.getuid() == 0 else [])])
        server = [shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults"]
        server += [f"--datadir={data}", f"--socket={self._socket}", f"--port={self.port}"]
        server += ["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0"]
        # Accounts are named by address only.
        server += ["--skip-name-resolve"]
        return subprocess.Popen(
            [*_as_user(self.user), *server],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def admin(self, sql: str, database: str = "mysql") -> str:
        client = ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "-N", "-B"]
        return _run([*client, database], input=sql).strip()
