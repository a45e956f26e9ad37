"""The preflight on a real PostgreSQL: every way to be able to write, and what is read of tables."""

import itertools
import json
import os
import signal
import subprocess
import sys

import psycopg
import pytest

from cataloger_sandbox.preflight import survey
from servers import PASSWORD

_number = itertools.count(1)

SCHEMA = """
CREATE TABLE orders (id integer PRIMARY KEY, total numeric);
INSERT INTO orders SELECT n, n FROM generate_series(1, 100) n;
CREATE SEQUENCE numbers;
CREATE VIEW recent AS SELECT * FROM orders;
CREATE SCHEMA sales;
CREATE TABLE sales.leads (id integer);
CREATE FUNCTION twice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 * 2';
SELECT lo_create(4711);
"""


class Place:
    """A database with a role that can only read."""

    def __init__(self, server) -> None:
        number = next(_number)
        self.server = server
        self.database, self.role = f"shop{number}", f"reader{number}"
        server.admin(f"CREATE DATABASE {self.database}")
        server.admin(f"CREATE ROLE {self.role} LOGIN PASSWORD '{PASSWORD}'")
        self.admin(SCHEMA)
        # As it is from PostgreSQL 15 on.
        self.admin("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        self.admin(
            f"GRANT USAGE ON SCHEMA sales TO {self.role};"
            f"GRANT SELECT ON orders, recent, sales.leads TO {self.role}"
        )

    def admin(self, sql: str) -> str:
        sql = sql.replace("{role}", self.role).replace("{database}", self.database)
        return self.server.admin(sql, self.database)

    def survey(self, *tables: str, role: str = "", **options) -> dict:
        url = self.server.url(role or self.role, self.database)
        return survey(list(tables) or ["orders"], url=url, **options)

    def everything(self) -> str:
        """All that could be left behind."""
        return self.admin(
            "SELECT (SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_class),"
            "(SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_roles),"
            "(SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_proc),"
            "(SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'),"
            "(SELECT count(*) FROM orders)"
        )


@pytest.fixture(scope="module")
def reader(postgres):
    """One that tests leave as it was."""
    return Place(postgres)


@pytest.fixture
def place(postgres):
    """One for a test that grants."""
    return Place(postgres)


# What the administrator did; what is found: what can be done, on what, and how one comes to it.
WAYS = {
    "superuser": (
        "ALTER ROLE {role} SUPERUSER",
        ("do everything", "", "{role} has the attribute SUPERUSER"),
    ),
    "superuser by SET ROLE": (
        "CREATE ROLE {role}_boss SUPERUSER; GRANT {role}_boss TO {role}",
        ("do everything", "", "member of {role}_boss, which has the attribute SUPERUSER"),
    ),
    "createrole": ("ALTER ROLE {role} CREATEROLE", ("make and change roles", "", "CREATEROLE")),
    "createdb": ("ALTER ROLE {role} CREATEDB", ("make databases", "", "CREATEDB")),
    "replication": (
        "ALTER ROLE {role} REPLICATION",
        ("make replication slots", "", "REPLICATION"),
    ),
    "insert": ("GRANT INSERT ON orders TO {role}", ("INSERT", "table public.orders", "granted to")),
    "update": ("GRANT UPDATE ON orders TO {role}", ("UPDATE", "table public.orders", "granted to")),
    "delete, in another schema": (
        "GRANT DELETE ON sales.leads TO {role}",
        ("DELETE", "table sales.leads", "granted to {role}"),
    ),
    "delete, where it can't even look": (
        "CREATE SCHEMA hidden; CREATE TABLE hidden.t (); GRANT DELETE ON hidden.t TO {role}",
        ("DELETE", "table hidden.t", "granted to {role}"),
    ),
    "truncate": (
        "GRANT TRUNCATE ON orders TO {role}",
        ("TRUNCATE", "table public.orders", "granted to {role}"),
    ),
    "trigger": (
        "GRANT TRIGGER ON orders TO {role}",
        ("TRIGGER", "table public.orders", "granted to {role}"),
    ),
    "all": (
        "GRANT ALL ON orders TO {role}",
        ("DELETE, INSERT, TRIGGER, TRUNCATE, UPDATE", "table public.orders", "granted to {role}"),
    ),
    "through a view": (
        "GRANT UPDATE ON recent TO {role}",
        ("UPDATE", "view public.recent", "granted to {role}"),
    ),
    "to everybody": (
        "GRANT INSERT ON orders TO PUBLIC",
        ("INSERT", "table public.orders", "granted to PUBLIC"),
    ),
    "a column": (
        "GRANT UPDATE (total) ON orders TO {role}",
        ("UPDATE", "column public.orders.total", "granted to {role}"),
    ),
    "a column, to everybody": (
        "GRANT INSERT (total) ON orders TO PUBLIC",
        ("INSERT", "column public.orders.total", "granted to PUBLIC"),
    ),
    "with grant option": (
        "GRANT SELECT ON orders TO {role} WITH GRANT OPTION",
        ("SELECT and pass it on", "table public.orders", "granted to {role}"),
    ),
    "a sequence": (
        "GRANT USAGE ON numbers TO {role}",
        ("USAGE", "sequence public.numbers", "granted to {role}"),
    ),
    "setting a sequence, to everybody": (
        "GRANT UPDATE ON numbers TO PUBLIC",
        ("UPDATE", "sequence public.numbers", "granted to PUBLIC"),
    ),
    "create in a schema": (
        "GRANT CREATE ON SCHEMA sales TO {role}",
        ("CREATE", "schema sales", "granted to {role}"),
    ),
    "create in public, as before 15": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        ("CREATE", "schema public", "granted to PUBLIC"),
    ),
    "create in the database": (
        "GRANT CREATE ON DATABASE {database} TO {role}",
        ("CREATE", "database {database}", "granted to {role}"),
    ),
    "create in another database": (
        "CREATE DATABASE {database}_b; GRANT CREATE ON DATABASE {database}_b TO {role}",
        ("CREATE", "database {database}_b", "granted to {role}"),
    ),
    "a member that inherits": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w; GRANT {role}_w TO {role}",
        ("INSERT", "table public.orders", "granted to {role}_w, of which {role} is a member"),
    ),
    "a member by SET ROLE only": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w;"
        "ALTER ROLE {role} NOINHERIT; GRANT {role}_w TO {role}",
        ("INSERT", "table public.orders", "granted to {role}_w, of which {role} is a member"),
    ),
    "a member of a member": (
        "CREATE ROLE {role}_a NOINHERIT; CREATE ROLE {role}_b; GRANT DELETE ON orders TO {role}_b;"
        "GRANT {role}_b TO {role}_a; GRANT {role}_a TO {role}",
        ("DELETE", "table public.orders", "of which {role} is a member through {role}_a"),
    ),
    "admin option": (
        "CREATE ROLE {role}_w; GRANT {role}_w TO {role} WITH ADMIN OPTION",
        ("grant and revoke membership", "role {role}_w", "{role} has the ADMIN OPTION"),
    ),
    "pg_write_all_data": (
        "GRANT pg_write_all_data TO {role}",
        ("INSERT, UPDATE, DELETE on every table", "", "member of pg_write_all_data"),
    ),
    "pg_write_server_files": (
        "GRANT pg_write_server_files TO {role}",
        ("write files of the server", "", "member of pg_write_server_files"),
    ),
    "pg_execute_server_program": (
        "GRANT pg_execute_server_program TO {role}",
        ("run programs on the server", "", "member of pg_execute_server_program"),
    ),
    "owner of a table": (
        "ALTER TABLE orders OWNER TO {role}",
        ("change and drop", "table public.orders", "{role} owns it"),
    ),
    "owner by membership": (
        "CREATE ROLE {role}_o; ALTER TABLE orders OWNER TO {role}_o; GRANT {role}_o TO {role}",
        ("change and drop", "table public.orders", "{role}_o owns it, of which {role} is a member"),
    ),
    "owner of a view": (
        "ALTER VIEW recent OWNER TO {role}",
        ("change and drop", "view public.recent", "{role} owns it"),
    ),
    "owner of a sequence": (
        "ALTER SEQUENCE numbers OWNER TO {role}",
        ("change and drop", "sequence public.numbers", "{role} owns it"),
    ),
    "owner of a schema": (
        "ALTER SCHEMA sales OWNER TO {role}",
        ("change and drop", "schema sales", "{role} owns it"),
    ),
    "owner of the database": (
        "ALTER DATABASE {database} OWNER TO {role}",
        ("change and drop", "database {database}", "{role} owns it"),
    ),
    "owner of a function": (
        "ALTER FUNCTION twice(integer) OWNER TO {role}",
        ("change and drop", "function public.twice(integer)", "{role} owns it"),
    ),
    "owner of a type": (
        "CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood OWNER TO {role}",
        ("change and drop", "type public.mood", "{role} owns it"),
    ),
    "owner of a large object": (
        "ALTER LARGE OBJECT 4711 OWNER TO {role}",
        ("change and drop", "large object 4711", "{role} owns it"),
    ),
    "a large object": (
        "GRANT UPDATE ON LARGE OBJECT 4711 TO {role}",
        ("UPDATE", "large object 4711", "granted to {role}"),
    ),
    "a foreign server": (
        "CREATE FOREIGN DATA WRAPPER {role}_w;"
        "CREATE SERVER {role}_s FOREIGN DATA WRAPPER {role}_w;"
        "GRANT USAGE ON FOREIGN SERVER {role}_s TO {role}",
        ("USAGE", "foreign server {role}_s", "granted to {role}"),
    ),
    "owner in another database": (
        "CREATE DATABASE {database}_b;\n\\c {database}_b\nCREATE TABLE t ();"
        "ALTER TABLE t OWNER TO {role}",
        ("change and drop", "1 objects in database {database}_b", "{role} owns it"),
    ),
    "tables of the future": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT INSERT ON TABLES TO {role}",
        ("INSERT", "all tables that postgres will make in schema sales", "granted to {role}"),
    ),
    "tables of the future, everybody": (
        "ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO PUBLIC",
        ("DELETE", "all tables that postgres will make", "granted to PUBLIC"),
    ),
    "a member that may SET ROLE and inherits nothing": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w;"
        "GRANT {role}_w TO {role} WITH INHERIT FALSE, SET TRUE",
        ("INSERT", "table public.orders", "granted to {role}_w, of which {role} is a member"),
    ),
    "a member that inherits and may not SET ROLE": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w;"
        "GRANT {role}_w TO {role} WITH INHERIT TRUE, SET FALSE",
        ("INSERT", "table public.orders", "granted to {role}_w, of which {role} is a member"),
    ),
    "an attribute step by step": (
        "CREATE ROLE {role}_a; CREATE ROLE {role}_b CREATEDB;"
        "GRANT {role}_b TO {role}_a WITH INHERIT FALSE, SET TRUE;"
        "GRANT {role}_a TO {role} WITH INHERIT FALSE, SET TRUE",
        ("make databases", "", "member of {role}_b through {role}_a, which has the attribute"),
    ),
    "nothing but the admin option": (
        "CREATE ROLE {role}_w;GRANT {role}_w TO {role} WITH INHERIT FALSE, SET FALSE, ADMIN TRUE",
        ("grant and revoke membership", "role {role}_w", "{role} has the ADMIN OPTION"),
    ),
    "the admin option of a role that is inherited": (
        "CREATE ROLE {role}_a; CREATE ROLE {role}_w;"
        "GRANT {role}_w TO {role}_a WITH INHERIT FALSE, SET FALSE, ADMIN TRUE;"
        "GRANT {role}_a TO {role} WITH INHERIT TRUE, SET FALSE",
        ("grant and revoke membership", "role {role}_w", "{role}_a has the ADMIN OPTION"),
    ),
    "a role that a CREATEROLE has made": (
        "CREATE ROLE {role}_m CREATEROLE; SET ROLE {role}_m; CREATE ROLE {role}_w; RESET ROLE;"
        "GRANT {role}_m TO {role} WITH INHERIT TRUE, SET FALSE",
        ("grant and revoke membership", "role {role}_w", "{role}_m has the ADMIN OPTION"),
    ),
    "pg_create_subscription": (
        "GRANT pg_create_subscription TO {role}",
        ("make subscriptions, which write into tables", "", "member of pg_create_subscription"),
    ),
    "pg_maintain": (
        "GRANT pg_maintain TO {role}",
        ("VACUUM, REINDEX, REFRESH and LOCK every table", "", "member of pg_maintain"),
    ),
    "maintain": (
        "GRANT MAINTAIN ON orders TO {role}",
        ("MAINTAIN", "table public.orders", "granted to {role}"),
    ),
    "maintaining tables of the future": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT MAINTAIN ON TABLES TO {role}",
        ("MAINTAIN", "all tables that postgres will make in schema sales", "granted to {role}"),
    ),
    "large objects of the future": (
        "ALTER DEFAULT PRIVILEGES GRANT UPDATE ON LARGE OBJECTS TO {role}",
        ("UPDATE", "all large objects that postgres will make", "granted to {role}"),
    ),
    "large objects of the future, everybody": (
        "ALTER DEFAULT PRIVILEGES GRANT UPDATE ON LARGE OBJECTS TO PUBLIC",
        ("UPDATE", "all large objects that postgres will make", "granted to PUBLIC"),
    ),
    "settings of the server": (
        "GRANT ALTER SYSTEM ON PARAMETER work_mem TO {role}",
        ("ALTER SYSTEM", "parameter work_mem", "granted to {role}"),
    ),
}


# What is new: the version that it came with.
SINCE = {
    "settings of the server": 15,
    "a member that may SET ROLE and inherits nothing": 16,
    "a member that inherits and may not SET ROLE": 16,
    "an attribute step by step": 16,
    "nothing but the admin option": 16,
    "the admin option of a role that is inherited": 16,
    "a role that a CREATEROLE has made": 16,
    "pg_create_subscription": 16,
    "pg_maintain": 17,
    "maintain": 17,
    "maintaining tables of the future": 17,
    "large objects of the future": 18,
    "large objects of the future, everybody": 18,
}


def _only(found: dict, kind: str) -> dict:
    assert [it["kind"] for it in found["failures"]] == [kind], found
    return found["failures"][0]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_is_found_and_mended(place, way):
    did, (can, on, by) = WAYS[way]
    if place.server.major < SINCE.get(way, 0):
        pytest.skip("this server can't grant that")
    if way == "all" and place.server.major >= 17:
        can = can.replace("INSERT", "INSERT, MAINTAIN")
    place.admin(did)
    before = place.everything()
    found = place.survey("orders", "sales.*")
    refusal = _only(found, "writable")
    assert place.role in refusal["problem"]
    by, on = (
        it.replace("{role}", place.role).replace("{database}", place.database) for it in (by, on)
    )
    assert [
        it for it in refusal["writes"] if it["can"] == can and it["on"] == on and by in it["by"]
    ]
    assert place.everything() == before, "something was left behind"

    assert place.survey("orders", allow_writable=True)["failures"] == []

    # What it recommends makes a role that can read, and passes.
    statements = refusal["statements"]
    new = statements[0].split()[2]
    place.admin("\n".join(statements).replace("CHOOSE-A-PASSWORD", PASSWORD))
    again = place.survey("orders", "sales.leads", role=new)
    assert again["ok"], again
    assert [it["name"] for it in again["tables"]] == ["public.orders", "sales.leads"]
    url = place.server.url(new, place.database)
    with psycopg.connect(url) as con:
        assert con.execute("SELECT count(*) FROM public.orders").fetchone() == (100,)


def test_a_reader_is_shown_to_be_one(reader):
    before = reader.everything()
    found = reader.survey("orders", "recent", "sales.leads")
    assert found["ok"], found
    assert found["writes"] == []
    assert found["role"] == reader.role
    assert found["engine"] == "PostgreSQL"
    assert [it["kind"] for it in found["tables"]] == ["table", "view", "table"]
    assert found["proof"] == [
        "refused: DELETE on table public.orders",
        "refused: DELETE on table sales.leads",
        "refused: CREATE on schema public",
        "refused: CREATE on schema sales",
        "refused: CREATE on database",
    ]
    assert reader.everything() == before


def test_what_is_no_writing(place):
    place.admin(
        "GRANT TEMPORARY ON DATABASE {database} TO {role}; GRANT REFERENCES ON orders TO {role};"
        "GRANT pg_read_all_data, pg_monitor TO {role}; ALTER ROLE {role} BYPASSRLS;"
        "GRANT EXECUTE ON FUNCTION twice(integer) TO {role};"
        "ALTER ROLE {role} SET work_mem = '8MB'"
    )
    new = {
        15: "pg_checkpoint",
        16: "pg_use_reserved_connections",
        18: "pg_signal_autovacuum_worker",
    }
    for since, role in ({0: "pg_signal_backend, pg_read_server_files"} | new).items():
        if place.server.major >= since:
            place.admin(f"GRANT {role} TO {{role}}")
    assert place.survey()["ok"]


def test_a_role_that_inherits_no_attribute_can_not_use_it(place):
    if place.server.major < 16:
        pytest.skip("memberships have no options before 16")
    place.admin(
        "CREATE ROLE {role}_b SUPERUSER; GRANT {role}_b TO {role} WITH INHERIT FALSE, SET FALSE;"
        "CREATE ROLE {role}_c CREATEDB; GRANT {role}_c TO {role} WITH INHERIT TRUE, SET FALSE;"
        # Who can't become the one in between, can't go on from there.
        "CREATE ROLE {role}_d; GRANT INSERT ON orders TO {role}_d;"
        "GRANT {role}_d TO {role}_c WITH INHERIT FALSE, SET TRUE"
    )
    assert place.survey()["ok"]
    with psycopg.connect(place.server.url(place.role, place.database), autocommit=True) as con:
        for role in "bcd":
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                con.execute(f"SET ROLE {place.role}_{role}")


def test_functions_with_rights_of_their_own_are_told(place):
    place.admin(
        "CREATE FUNCTION wipe() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM orders'"
    )
    found = place.survey()
    assert found["ok"]
    assert any("public.wipe()" in note for note in found["notes"]), found["notes"]


def test_row_security_is_told(place):
    place.admin("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    found = place.survey()
    assert any("row security is active on public.orders" in note for note in found["notes"])


def test_many_are_told_as_one(place):
    place.admin(
        "CREATE SCHEMA many; DO $$BEGIN FOR n IN 100..199 LOOP"
        " EXECUTE format('CREATE TABLE many.t%s ()', n); END LOOP; END$$;"
        "GRANT INSERT ON ALL TABLES IN SCHEMA many TO {role}"
    )
    writes = place.survey()["writes"]
    assert [it["on"] for it in writes] == [
        "tables many.t100, many.t101, many.t102, many.t103, many.t104 and 95 more"
    ]


KINDS = """
CREATE MATERIALIZED VIEW totals AS SELECT sum(total) AS s FROM orders;
CREATE TABLE log (at date) PARTITION BY RANGE (at);
CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE "Odd ""x" (a integer);
CREATE TABLE "a.b*c" (a integer);
CREATE TABLE "Ünïcode; DROP TABLE orders" (a integer);
CREATE TABLE "select" (a integer);
CREATE TABLE sales.orders (id integer);
CREATE TABLE sales.fact_one (id integer);
CREATE TABLE sales.fact_two (id integer);
CREATE SCHEMA eu; CREATE TABLE eu.visits (); CREATE SCHEMA us; CREATE TABLE us.visits ();
CREATE TABLE "Twice" (); CREATE TABLE "TWICE" ();
CREATE TABLE secret (a integer); CREATE TABLE sales.secret (a integer);
CREATE TABLE narrow (a integer, b integer);
GRANT USAGE ON SCHEMA eu, us TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA public, sales, eu, us TO {role};
REVOKE SELECT ON secret, sales.secret, narrow FROM {role};
GRANT SELECT (a) ON narrow TO {role};
ANALYZE orders;
"""


@pytest.fixture(scope="module")
def kinds(postgres):
    place = Place(postgres)
    place.admin(KINDS)
    return place


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["orders"], ["public.orders"]),
        (["ORDERS"], ["public.orders"]),
        (["public.Orders"], ["public.orders"]),
        (["{database}.sales.orders"], ["sales.orders"]),
        (["orders", "public.orders", "order*"], ["public.orders"]),
        (["sales.o*"], ["sales.orders"]),
        (["leads"], ["sales.leads"]),
        (["fact_*"], ["sales.fact_one", "sales.fact_two"]),
        (["*.fact_???"], ["sales.fact_one", "sales.fact_two"]),
        (["totals", "log"], ["public.totals", "public.log"]),
        (["log*"], ["public.log"]),
        (["log_2025"], ["public.log_2025"]),
        (['"Odd ""x"'], ['public."Odd ""x"']),
        (["Odd?*x"], ['public."Odd ""x"']),
        (["a.b*c"], ['public."a.b*c"']),
        (['public."a.b*c"'], ['public."a.b*c"']),
        (['"Ünïcode; DROP TABLE orders"'], ['public."Ünïcode; DROP TABLE orders"']),
        (["select"], ['public."select"']),
        (["eu.visits"], ["eu.visits"]),
        (["Twice"], ['public."Twice"']),
        (["narrow"], ["public.narrow"]),
        (["pg_catalog.pg_class"], ["pg_catalog.pg_class"]),
    ],
)
def test_names_are_resolved(kinds, asked, names):
    found = kinds.survey(*(it.replace("{database}", kinds.database) for it in asked))
    assert found["ok"], found["failures"]
    assert [it["name"] for it in found["tables"]] == names


def test_kinds_and_estimates(kinds):
    found = kinds.survey("orders", "recent", "totals", "log")
    assert [(it["kind"], it["rows"]) for it in found["tables"]] == [
        ("table", 100),
        ("view", None),
        ("materialized view", None),
        ("partitioned table", None),
    ]


@pytest.mark.parametrize(
    ("asked", "kind", "says", "lists"),
    [
        ("oders", "no_such_table", "there is no table 'oders'", ["public.orders", "sales.orders"]),
        ("sales.oders", "no_such_table", "'sales.oders'", ["sales.orders"]),
        ("sale.orders", "no_such_table", "'sale.orders'", ["sales.orders"]),
        ("public.leads", "no_such_table", "'public.leads'", ["sales.leads"]),
        ("facts_*", "no_match", "the pattern 'facts_*' has no match", []),
        ("sale.*", "no_match", "the pattern 'sale.*' has no match", ["sales.*"]),
        ("visits", "ambiguous", "can mean several tables", ["eu.visits", "us.visits"]),
        ("twice", "ambiguous", "can mean several", ['public."TWICE"', 'public."Twice"']),
        ("zzz", "no_such_table", "no table 'zzz'", []),
        ("", "bad_name", "no name of a table", []),
        ("a..b", "bad_name", "a part of it is empty", []),
        ('"a', "bad_name", "not closed", []),
        ("other.sales.orders", "bad_name", "has 3 parts", []),
        ("secret", "no_right", "no right to read public.secret", []),
    ],
)
def test_what_is_not_found_is_told(kinds, asked, kind, says, lists):
    found = kinds.survey(asked)
    failure = _only(found, kind)
    assert says in failure["problem"]
    assert failure.get("nearest", failure.get("candidates", []))[: len(lists)] == lists


def test_what_is_missing_to_read_is_told(kinds):
    failure = _only(kinds.survey("sales.secret"), "no_right")
    assert failure["statements"] == [
        f"GRANT USAGE ON SCHEMA sales TO {kinds.role};",
        f"GRANT SELECT ON sales.secret TO {kinds.role};",
    ]
    found = kinds.survey("sales.*")
    assert found["ok"]
    assert "sales.secret" not in [it["name"] for it in found["tables"]]
    assert any("sales.secret" in note for note in found["notes"])


def test_all_that_is_wrong_is_told_at_once(kinds):
    found = kinds.survey("oders", "visits", "secret")
    assert [it["kind"] for it in found["failures"]] == ["no_such_table", "ambiguous", "no_right"]


def test_there_is_a_limit(kinds):
    failure = _only(kinds.survey("sales.*", "public.*", limit=3), "too_many_tables")
    assert "one catalog takes 3 at most" in failure["problem"]


def test_the_search_path_decides(kinds):
    kinds.admin("CREATE ROLE {role}_us LOGIN PASSWORD 'x'; GRANT {role} TO {role}_us;")
    kinds.admin("ALTER ROLE {role}_us SET search_path = us, eu")
    url = kinds.server.url(f"{kinds.role}_us", kinds.database, password="x")
    assert [it["name"] for it in survey(["visits"], url=url)["tables"]] == ["us.visits"]


KILLED = """
import sys
sys.path[:0] = sys.argv[1:2]
from cataloger_sandbox.preflight import preflight
preflight(["orders"], url=sys.argv[2])
"""


def test_nothing_stays_when_it_is_killed(reader, monkeypatch):
    """Killed in its trial, while it waits for a lock that another session holds."""
    before = reader.everything()
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        f" WHERE usename = '{reader.role}' AND wait_event_type = 'Lock'"
    )
    owner = f"host=127.0.0.1 port={reader.server.port} user=postgres dbname={reader.database}"
    with psycopg.connect(owner) as con, psycopg.connect(owner, autocommit=True) as watch:
        con.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        command = [sys.executable, "-c", KILLED, os.path.dirname(_package())]
        process = subprocess.Popen([*command, reader.server.url(reader.role, reader.database)])
        while watch.execute(waiting).fetchone() == (0,):
            assert process.poll() is None, "it did not wait"
        process.send_signal(signal.SIGKILL)
        process.wait()
    gone = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{reader.role}'"
    while reader.admin(gone) != "0":
        pass
    assert reader.everything() == before


TRIED = """
import sys
sys.path[:0] = sys.argv[1:2]
import psycopg
from cataloger_sandbox.preflight import postgres_trial
con = psycopg.connect(sys.argv[2], autocommit=True)
postgres_trial.attempt(con, [], ["public"], False)
"""


def test_what_a_trial_made_is_gone_when_it_is_killed(place):
    """Should the server let it make a table: killed while that stands in its transaction."""
    before = place.everything()
    # Whoever makes something waits for whoever watches.
    place.admin(
        "CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_lock(4711); END';"
        "CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE TABLE')"
        " EXECUTE FUNCTION hold()"
    )
    where = f"host=127.0.0.1 port={place.server.port} user=postgres dbname={place.database}"
    held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
    others = (
        "SELECT count(*) FROM pg_stat_activity"
        f" WHERE datname = '{place.database}' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(where, autocommit=True) as watch:
        watch.execute("SELECT pg_advisory_lock(4711)")
        command = [sys.executable, "-c", TRIED, os.path.dirname(_package()), where]
        process = subprocess.Popen(command)
        while watch.execute(held).fetchone() == (0,):
            assert process.poll() is None, "it did not wait"
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Gone from memory and locks before it gets to rest.
        while watch.execute(others).fetchone() != (0,):
            pass
        watch.execute("DROP EVENT TRIGGER hold; DROP FUNCTION hold()")
        left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'cataloger_trial%'"
        assert watch.execute(left).fetchone() == (0,)
    assert place.everything() == before


def _package() -> str:
    import cataloger_sandbox

    return os.path.dirname(cataloger_sandbox.__file__)


def test_a_lock_of_others_stops_nothing(reader):
    owner = f"host=127.0.0.1 port={reader.server.port} user=postgres dbname={reader.database}"
    with psycopg.connect(owner) as con:
        con.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        found = reader.survey()
    assert found["ok"]
    assert (
        "DELETE on table public.orders could not be tried: another session holds a lock on it"
        in (found["notes"])
    )


def test_it_prints_one_line(reader, monkeypatch, capsys):
    from cataloger_sandbox.preflight import preflight

    monkeypatch.setenv("DATABASE_URL", reader.server.url(reader.role, reader.database))
    assert preflight(["orders"]) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["preflight"] == 1
