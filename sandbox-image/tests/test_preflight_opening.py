"""Every way in which a database can't be opened, provoked for real: what it is called, and told."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading

import duckdb
import pytest

from cataloger_sandbox import database
from cataloger_sandbox.preflight import opening, survey
from servers import PASSWORD, free_port


def _failure(url: str, tables=("orders",)) -> dict:
    found = survey(list(tables), url=url)
    (failure,) = found["failures"]
    text = str(found)
    assert "s3cr" not in text, text
    assert url not in text
    assert failure["problem"]
    assert failure["advice"]
    return failure


@pytest.fixture(params=["postgres", "mysql"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def accounts(postgres, mysql):
    """Who may not come in, and why."""
    for role in ("opener", "outsider", "tls_only", "no_entry"):
        postgres.admin(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    postgres.admin("ALTER ROLE no_entry CONNECTION LIMIT 0")
    postgres.admin("CREATE DATABASE closed")
    postgres.admin("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    for account in ("opener", "locked", "elsewhere", "expired"):
        host = "192.0.2.1" if account == "elsewhere" else "%"
        mysql.admin(f"CREATE USER {account}@'{host}' IDENTIFIED BY '{PASSWORD}'")
    mysql.admin("ALTER USER locked ACCOUNT LOCK; ALTER USER expired PASSWORD EXPIRE")
    mysql.admin("CREATE DATABASE closed; CREATE DATABASE open; GRANT SELECT ON open.* TO expired")
    mysql.admin("GRANT SELECT ON open.* TO opener")


def test_a_name_that_is_unknown(server):
    url = server.url("opener", "shop").replace("127.0.0.1", "nosuchhost.invalid")
    failure = _failure(url)
    assert failure["kind"] == "unresolved"
    assert "nosuchhost.invalid" in failure["problem"]


def test_a_port_where_nothing_listens(server):
    port = free_port()
    failure = _failure(server.url("opener", "shop").replace(f":{server.port}/", f":{port}/"))
    assert failure["kind"] == "refused"
    assert f"127.0.0.1:{port}" in failure["problem"]


@pytest.fixture
def impatient(monkeypatch):
    """Nobody waits for ten seconds here."""
    for module in (database, opening):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT_SECONDS", 2)


@pytest.mark.usefixtures("impatient")
def test_packets_that_are_dropped(server):
    # A queue that is full: the kernel answers no more, as a firewall that drops.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        failure = _failure(server.url("opener", "shop").replace(f":{server.port}/", f":{port}/"))
    assert failure["kind"] == "timeout"
    assert "firewall" in failure["advice"]


@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing(server):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        failure = _failure(server.url("opener", "shop").replace(f":{server.port}/", f":{port}/"))
    assert failure["kind"] == "silent"


def test_a_server_of_another_kind(server):
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer():
            while True:
                try:
                    connection, _ = web.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = web.getsockname()[1]
        failure = _failure(server.url("opener", "shop").replace(f":{server.port}/", f":{port}/"))
    assert failure["kind"] == "silent"


@pytest.mark.usefixtures("accounts")
def test_a_wrong_password(server):
    url = server.url("opener", "closed", password="s3cr3t-and-wrong")
    failure = _failure(url)
    assert failure["kind"] == "password"
    assert "opener" in failure["problem"]


@pytest.mark.usefixtures("accounts")
def test_no_such_role(server):
    failure = _failure(server.url("nobody", "closed"))
    # Neither server tells whether there is such an account.
    assert failure["kind"] == "password"


@pytest.mark.usefixtures("accounts")
def test_no_such_role_where_that_is_told(postgres):
    # The pg_hba.conf of these servers trusts only the owner; a role that can't log in is told.
    postgres.admin(f"CREATE ROLE sleeper NOLOGIN PASSWORD '{PASSWORD}'")
    assert _failure(postgres.url("sleeper", "postgres"))["kind"] == "no_role"


@pytest.mark.usefixtures("accounts")
def test_no_such_database(server):
    if server.scheme == "mysql":
        server.admin("GRANT SELECT ON `nosuch%`.* TO opener")
    failure = _failure(server.url("opener", "nosuchdb"))
    assert failure["kind"] == "no_database"
    assert "nosuchdb" in failure["problem"]


@pytest.mark.usefixtures("accounts")
def test_a_database_that_is_closed(server):
    failure = _failure(server.url("opener", "closed"))
    assert failure["kind"] == "no_right"
    assert failure["statements"][0].startswith("GRANT ")


@pytest.mark.usefixtures("accounts")
def test_tls_where_there_is_none(server):
    if server.scheme == "mysql" and server.makes_certificates:
        pytest.skip("this server makes certificates for itself")
    demand = "?sslmode=require" if server.scheme == "postgresql" else "?ssl_mode=REQUIRED"
    name = "postgres" if server.scheme == "postgresql" else "open"
    failure = _failure(server.url("opener", name, demand))
    assert failure["kind"] == "tls"
    assert "does not offer it" in failure["problem"]


@pytest.fixture
def with_tls(postgres):
    """PostgreSQL, which meanwhile offers TLS with a certificate that nobody trusts."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate")
    data = postgres.directory / "data"
    certificate, key = data / "server.crt", data / "server.key"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes"]
    made = ["-newkey", "rsa:2048", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *subject, *made], check=True, capture_output=True)
    for file in (certificate, key):
        file.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(file, postgres.user)

    def turn(state: str) -> None:
        postgres.admin(f"ALTER SYSTEM SET ssl = {state}")
        postgres.admin("SELECT pg_reload_conf()")
        while postgres.admin("SHOW ssl") != state:
            pass

    turn("on")
    yield postgres
    turn("off")


@pytest.mark.usefixtures("accounts")
def test_tls_where_it_is_demanded(with_tls):
    failure = _failure(with_tls.url("tls_only", "postgres", "?sslmode=disable"))
    assert failure["kind"] == "tls"
    assert "sslmode=require" in failure["advice"]
    found = survey(["orders"], url=with_tls.url("tls_only", "postgres"))
    assert [it["kind"] for it in found["failures"]] == ["no_such_table"]


@pytest.mark.usefixtures("accounts")
def test_a_certificate_that_is_not_trusted(with_tls):
    certificate = with_tls.directory / "data" / "server.crt"
    for rest in ("?sslmode=verify-full", "?sslmode=verify-full&sslrootcert=system"):
        assert _failure(with_tls.url("opener", "postgres", rest))["kind"] == "tls"
    # The right authority, the wrong name.
    failure = _failure(
        with_tls.url("opener", "postgres", f"?sslmode=verify-full&sslrootcert={certificate}")
    )
    assert failure["kind"] == "tls"
    assert "is not trusted" in failure["problem"]


@pytest.mark.usefixtures("accounts")
def test_a_certificate_that_mysql_made_for_itself(mysql):
    if not mysql.is_mysql:
        pytest.skip("MariaDB 10 makes none")
    failure = _failure(mysql.url("opener", "open", "?ssl_mode=VERIFY_CA"))
    assert failure["kind"] == "tls"
    assert "self-signed certificate in certificate chain (2026)" in failure["problem"]


@pytest.mark.usefixtures("accounts")
def test_tls_that_mysql_demands(mysql):
    mysql.admin("SET GLOBAL require_secure_transport = ON")
    try:
        failure = _failure(mysql.url("opener", "open"))
    finally:
        mysql.admin("SET GLOBAL require_secure_transport = OFF")
    # Older MariaDBs do not tell that from a wrong password.
    assert failure["kind"] == ("tls" if mysql.makes_certificates else "password")
    assert "ssl_mode=REQUIRED" in failure["advice"]


@pytest.mark.usefixtures("accounts")
def test_who_is_not_admitted(postgres, mysql):
    failure = _failure(postgres.url("outsider", "postgres"))
    assert failure["kind"] == "not_admitted"
    assert "pg_hba.conf" in failure["advice"]
    assert _failure(mysql.url("elsewhere", "closed"))["kind"] in ("password", "not_admitted")


@pytest.mark.usefixtures("accounts")
def test_who_may_not_come_any_more(mysql):
    assert _failure(mysql.url("locked", "closed"))["kind"] == "locked"
    assert _failure(mysql.url("expired", "open"))["kind"] == "locked"


@pytest.mark.usefixtures("accounts")
def test_no_connection_is_left(postgres):
    failure = _failure(postgres.url("no_entry", "postgres"))
    assert failure["kind"] == "busy"


@pytest.mark.usefixtures("accounts")
def test_parameters_that_are_unknown(server):
    failure = _failure(server.url("opener", "closed", "?no_such_option=1"))
    assert failure["kind"] == "url"
    assert "no_such_option" in failure["problem"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3cret",
        "oracle://u:s3cret@host/db",
        "s3cret://u@host/db",
        "postgresql://u:s3cret/x@127.0.0.1:1/db",
        "postgresql://u:s3cret#x@127.0.0.1:1/db",
        "postgresql://u:s3cret?x@127.0.0.1:1/db",
        "postgresql://u:12/s3cret@127.0.0.1:1/db",
        "postgresql://u:[s3cret@127.0.0.1:1/db",
        "mysql://u:s3cret@127.0.0.1:port/db",
        "mysql://u:s3cret@[::1:1/db",
    ],
)
def test_urls_that_can_not_be_read(url, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    found = survey(["orders"], url=url)
    (failure,) = found["failures"]
    assert failure["kind"] == "url"
    assert "s3cret" not in str(found)


def test_a_password_in_a_parameter_is_not_told(postgres):
    url = f"postgresql://127.0.0.1:{postgres.port}/postgres?user=opener&password=s3cret&gssencmode=s3cret"
    failure = _failure(url)
    assert "s3cret" not in str(failure)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
class TestFiles:
    @pytest.fixture
    def file(self, kind, tmp_path):
        path = tmp_path / "shop.db"
        con = {"sqlite": sqlite3, "duckdb": duckdb}[kind].connect(str(path))
        con.execute("CREATE TABLE orders (id integer)")
        con.commit()
        con.close()
        return path

    def test_no_such_file(self, kind, file):
        failure = _failure(f"{kind}:///{file.parent}/shpo.db")
        assert failure["kind"] == "no_database"
        assert failure["nearest"] == ["shop.db"]
        assert [it.name for it in file.parent.iterdir()] == ["shop.db"]

    def test_a_directory(self, kind, file):
        assert "is no file" in _failure(f"{kind}:///{file.parent}")["problem"]

    def test_another_kind_of_file(self, kind, file):
        other = {"sqlite": "duckdb", "duckdb": "sqlite"}[kind]
        failure = _failure(f"{other}:///{file}")
        assert f"Write {kind}:// instead" in failure["advice"]

    def test_no_database(self, kind, file):
        file.write_text("id,total\n" * 1000)
        assert _failure(f"{kind}:///{file}")["kind"] == "no_database"

    @pytest.mark.usefixtures("as_root")
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_a_file_that_may_not_be_read(self, kind, place, what):
        """By another user, as the sandbox's is."""
        path = place / "shop.db"
        con = {"sqlite": sqlite3, "duckdb": duckdb}[kind].connect(str(path))
        con.execute("CREATE TABLE orders (id integer)")
        con.close()
        (path if what == "file" else place).chmod(0o700)
        os.chown(path if what == "file" else place, 0, 0)
        code = (
            "import json, os, sys; sys.path.insert(0, sys.argv[1])\n"
            "from cataloger_sandbox.preflight import survey\n"
            "import ibis.backends.sqlite, ibis.backends.duckdb\n"
            "os.setgid(65534); os.setuid(65534)\n"
            "print(json.dumps(survey(['orders'], url=sys.argv[2])))"
        )
        source = os.path.dirname(os.path.dirname(database.__file__))
        run = subprocess.run(
            [sys.executable, "-c", code, source, f"{kind}:///{path}"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert '"kind": "no_right"' in run.stdout, run.stdout
        assert "can't be read by the sandbox's user" in run.stdout

    def test_what_it_finds_and_shows(self, kind, file):
        before = file.read_bytes()
        found = survey(["Orders"], url=f"{kind}:///{file}")
        assert found["ok"], found
        name = "orders" if kind == "sqlite" else "main.orders"
        assert [it["name"] for it in found["tables"]] == [name]
        assert len(found["proof"]) == {"sqlite": 3, "duckdb": 4}[kind], found
        assert found["writes"] == []
        assert file.read_bytes() == before
        assert [it.name for it in file.parent.iterdir()] == ["shop.db"]

    def test_a_session_that_may_write_is_found(self, kind, file, monkeypatch):
        """Should the connection ever be opened otherwise."""
        import ibis

        before = [it.name for it in file.parent.iterdir()]
        connect = getattr(ibis, kind).connect
        monkeypatch.setattr(opening, "connect_database", lambda _: connect(str(file)))
        found = survey(["orders"], url=f"{kind}:///{file}")
        assert [it["kind"] for it in found["failures"]] == ["writable"], found
        assert {"make a table"} <= {it["can"] for it in found["writes"]}
        assert [it.name for it in file.parent.iterdir()] == before
        con = {"sqlite": sqlite3, "duckdb": duckdb}[kind].connect(str(file))
        tables = "sqlite_schema" if kind == "sqlite" else "duckdb_tables()"
        assert con.execute(f"SELECT count(*) FROM {tables}").fetchone() == (1,)
        con.close()

    def test_odd_names_views_and_estimates(self, kind, file):
        con = {"sqlite": sqlite3, "duckdb": duckdb}[kind].connect(str(file))
        con.execute('CREATE TABLE "odd ""name.x; --" (id integer)')
        con.execute("CREATE VIEW v AS SELECT * FROM orders")
        con.execute("CREATE TABLE gone (id integer)")
        con.execute("CREATE VIEW broken AS SELECT * FROM gone")
        con.execute("DROP TABLE gone")
        con.execute("INSERT INTO orders VALUES (1), (2)")
        if kind == "sqlite":
            con.execute("CREATE INDEX i ON orders (id)")
            con.execute("ANALYZE")
        con.commit()
        con.close()
        found = survey(["*"], url=f"{kind}:///{file}")
        assert found["ok"], found
        at = "" if kind == "sqlite" else "main."
        assert [(it["name"], it["kind"]) for it in found["tables"]] == [
            (f'{at}"odd ""name.x; --"', "table"),
            (f"{at}orders", "table"),
            (f"{at}v", "view"),
        ]
        assert found["tables"][1]["rows"] == 2
        assert any("broken" in note for note in found["notes"])
        failure = _failure(f"{kind}:///{file}", ["order"])
        assert failure["nearest"] == [f"{at}orders"]


def test_duckdb_held_by_another_process(tmp_path):
    path = tmp_path / "shop.db"
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]);print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        failure = _failure(f"duckdb:///{path}")
        holder.stdin.close()
    assert failure["kind"] == "busy"


@pytest.mark.parametrize("at", [0, 12, 4096, 5000])
def test_duckdb_that_is_damaged(tmp_path, at):
    """Its blocks have sums: that one is wrong is no lock."""
    path = tmp_path / "shop.db"
    con = duckdb.connect(str(path))
    con.execute("CREATE TABLE orders AS SELECT range AS id FROM range(1000)")
    con.close()
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)
    failure = _failure(f"duckdb:///{path}")
    assert failure["kind"] in ("no_database", "server"), failure


def test_sqlite_that_is_being_written(tmp_path):
    """A reader waits for nobody; what is locked whole is told."""
    path = tmp_path / "shop.db"
    con = sqlite3.connect(path, isolation_level=None)
    con.execute("CREATE TABLE orders (id integer)")
    con.execute("BEGIN EXCLUSIVE")
    failure = _failure(f"sqlite:///{path}")
    con.close()
    assert failure["kind"] == "busy"


def test_a_driver_that_is_missing():
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); sys.modules['MySQLdb'] = None\n"
        "from cataloger_sandbox.preflight import survey\n"
        "print(json.dumps(survey(['orders'], url='mysql://u:s3cret@127.0.0.1/db')))"
    )
    source = os.path.dirname(os.path.dirname(database.__file__))
    run = subprocess.run(
        [sys.executable, "-c", code, source], check=True, capture_output=True, text=True
    )
    assert '"kind": "driver"' in run.stdout
    assert "s3cret" not in run.stdout


# Stops the survey of a file in the middle of its trial, after so many refusals.
STOPPED = """
import sys
sys.path[:0] = sys.argv[1:2]
from cataloger_sandbox import preflight
from cataloger_sandbox.preflight import report

class Proof(list):
    def append(self, what):
        super().append(what)
        if len(self) == int(sys.argv[3]):
            print(what, flush=True)
            sys.stdin.read()

class Survey(report.Survey):
    def __init__(self, **more):
        super().__init__(**more)
        self.proof = Proof()

preflight.Survey = Survey
preflight.survey(["orders"], url=sys.argv[2])
"""


@pytest.mark.parametrize(
    ("kind", "after"), [*(("sqlite", n) for n in (1, 2, 3)), *(("duckdb", n) for n in (1, 2, 3, 4))]
)
def test_nothing_stays_when_the_survey_of_a_file_is_killed(tmp_path, kind, after):
    path = tmp_path / "shop.db"
    connect = {"sqlite": sqlite3, "duckdb": duckdb}[kind].connect
    con = connect(str(path))
    con.execute("CREATE TABLE orders (id integer)")
    con.commit()
    con.close()
    before = path.read_bytes()
    source = os.path.dirname(os.path.dirname(database.__file__))
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, source, f"{kind}:///{path}", str(after)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as surveyor:
        assert surveyor.stdout.readline().startswith(b"refused: ")
        surveyor.kill()
    assert path.read_bytes() == before
    assert [it.name for it in tmp_path.iterdir()] == ["shop.db"]
    # Nor does a lock: another one can write at once.
    con = connect(str(path))
    con.execute("INSERT INTO orders VALUES (1)")
    con.commit()
    con.close()


def test_sqlite_with_a_log_of_what_is_to_come(tmp_path):
    """Every reader of such a file makes the log and its index, where it may: they are empty."""
    path = tmp_path / "shop.db"
    con = sqlite3.connect(path)
    con.execute("PRAGMA journal_mode = wal")
    con.execute("CREATE TABLE orders (id integer)")
    con.commit()
    con.close()
    before = path.read_bytes()
    assert survey(["orders"], url=f"sqlite:///{path}")["ok"]
    assert path.read_bytes() == before
    logs = {it.name: it for it in tmp_path.iterdir() if it != path}
    assert set(logs) <= {"shop.db-wal", "shop.db-shm"}
    assert "shop.db-wal" not in logs or logs["shop.db-wal"].stat().st_size == 0
    # Who writes next clears them away.
    con = sqlite3.connect(path)
    con.execute("INSERT INTO orders VALUES (1)")
    con.commit()
    con.close()
    assert [it.name for it in tmp_path.iterdir()] == ["shop.db"]
