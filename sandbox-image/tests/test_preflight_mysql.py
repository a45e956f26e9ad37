"""The preflight on a real MariaDB or MySQL: every way to write, and what is read of tables."""

import itertools
import os
import signal
import subprocess
import sys

import pytest

from cataloger_sandbox.preflight import mysql_grants, survey
from servers import PASSWORD

_number = itertools.count(1)

SCHEMA = """
CREATE TABLE orders (id integer PRIMARY KEY, total numeric);
INSERT INTO orders VALUES (1, 1), (2, 2), (3, 3);
CREATE VIEW recent AS SELECT * FROM orders;
CREATE TABLE secret (id integer);
CREATE TABLE `odd ``name.x` (id integer);
CREATE TABLE `order` (id integer);
CREATE PROCEDURE wipe() DELETE FROM orders;
"""


# What only one of both knows.
_MARIADB = (
    "SET USER",
    "CONNECTION ADMIN",
    "READ_ONLY ADMIN",
    "BINLOG ADMIN",
    "BINLOG REPLAY",
    "FEDERATED ADMIN",
    "REPLICATION SLAVE ADMIN",
)
_MYSQL = (
    "CREATE ROLE",
    "DROP ROLE",
    "CLONE_ADMIN",
    "SYSTEM_VARIABLES_ADMIN",
    "PERSIST_RO_VARIABLES_ADMIN",
    "SESSION_VARIABLES_ADMIN",
    "SYSTEM_USER",
    "ROLE_ADMIN",
    "BINLOG_ADMIN",
    "REPLICATION_APPLIER",
    "REPLICATION_SLAVE_ADMIN",
    "CONNECTION_ADMIN",
    "ENCRYPTION_KEY_ADMIN",
    "TABLE_ENCRYPTION_ADMIN",
    "INNODB_REDO_LOG_ARCHIVE",
    "RESOURCE_GROUP_ADMIN",
    "APPLICATION_PASSWORD_ADMIN",
    "FLUSH_TABLES",
)


class Place:
    """A database with an account that can only read, and another database."""

    def __init__(self, server) -> None:
        number = next(_number)
        self.server = server
        self.database, self.role = f"shop{number}", f"reader{number}"
        self.admin("CREATE DATABASE {database}; CREATE DATABASE {database}_b", "mysql")
        self.admin(SCHEMA)
        self.admin("CREATE TABLE visits (id integer)", f"{self.database}_b")
        self.admin(f"CREATE USER {{role}}@'%' IDENTIFIED BY '{PASSWORD}'")
        self.admin("GRANT SELECT, SHOW VIEW ON orders TO {role}")
        self.admin("GRANT SELECT, SHOW VIEW ON recent TO {role}")

    def admin(self, sql: str, database: str = "") -> str:
        sql = sql.replace("{role}", self.role).replace("{database}", self.database)
        return self.server.admin(sql, database or self.database)

    def survey(self, *tables: str, role: str = "", rest: str = "", **options) -> dict:
        url = self.server.url(role or self.role, self.database, rest)
        return survey(list(tables) or ["orders"], url=url, **options)

    def everything(self) -> str:
        """All that could be left behind."""
        return self.admin(
            "SELECT (SELECT group_concat(table_name) FROM information_schema.tables"
            " WHERE table_schema LIKE '{database}%'),"
            "(SELECT count(*) FROM information_schema.schemata),"
            "(SELECT count(*) FROM mysql.user), (SELECT count(*) FROM orders)"
        )


@pytest.fixture(scope="module")
def reader(mysql):
    """One that tests leave as it was."""
    place = Place(mysql)
    place.admin(
        "GRANT SELECT ON `odd ``name.x` TO {role}; GRANT SELECT ON `order` TO {role};"
        "GRANT SELECT ON {database}_b.* TO {role}"
    )
    return place


@pytest.fixture
def place(mysql):
    """One for a test that grants."""
    yield Place(mysql)
    if mysql.is_mysql:
        mysql.admin("SET GLOBAL mandatory_roles = ''")


ROLE = "granted to {role}_w, a role that {role} may take"

# What the administrator did; what is found; what takes it away again, where all share it.
WAYS = {
    "insert": (
        "GRANT INSERT ON orders TO {role}",
        ("INSERT", "table `{database}`.`orders`", "granted to {role}"),
    ),
    "update of a column": (
        "GRANT UPDATE (total) ON orders TO {role}",
        ("UPDATE (`total`)", "table `{database}`.`orders`", "granted to {role}"),
    ),
    "delete in another database": (
        "GRANT DELETE ON {database}_b.* TO {role}",
        ("DELETE", "database `{database}_b`", "granted to {role}"),
    ),
    "a pattern of databases": (
        "GRANT CREATE ON `{database}%`.* TO {role}",
        ("CREATE", "database `{database}%`", "granted to {role}"),
    ),
    "everything": (
        "GRANT ALL ON *.* TO {role}",
        ("ALL PRIVILEGES", "everything", "granted to {role}"),
    ),
    **{
        privilege: (
            f"GRANT {privilege} ON *.* TO {{role}}",
            (privilege, "everything", "granted to {role}"),
        )
        for privilege in (
            "INSERT",
            "UPDATE",
            "DELETE",
            "CREATE",
            "DROP",
            "ALTER",
            "INDEX",
            "TRIGGER",
            "EVENT",
            "CREATE VIEW",
            "CREATE ROUTINE",
            "ALTER ROUTINE",
            "FILE",
            "SUPER",
            "RELOAD",
            "SHUTDOWN",
            "CREATE USER",
            "CREATE TABLESPACE",
            *_MARIADB,
            *_MYSQL,
        )
    },
    "delete history": (
        "GRANT DELETE HISTORY ON *.* TO {role}",
        (("DELETE HISTORY", "DELETE VERSIONING ROWS"), "everything", "granted to {role}"),
    ),
    "grant option": (
        "GRANT SELECT ON orders TO {role} WITH GRANT OPTION",
        ("GRANT OPTION", "table `{database}`.`orders`", "granted to {role}"),
    ),
    "alter a routine": (
        "GRANT ALTER ROUTINE ON PROCEDURE wipe TO {role}",
        ("ALTER ROUTINE", "procedure `{database}`.`wipe`", "granted to {role}"),
    ),
    "proxy": (
        "CREATE USER {role}_p; GRANT PROXY ON {role}_p TO {role}",
        ("act as", "account `{role}_p`@`%`", "granted to {role}"),
    ),
    "a role that is active": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w; GRANT {role}_w TO {role};"
        "SET DEFAULT ROLE {role}_w FOR {role}",
        ("INSERT", "table `{database}`.`orders`", ROLE),
    ),
    "a role that is not active": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w; GRANT {role}_w TO {role}",
        ("INSERT", "table `{database}`.`orders`", ROLE),
    ),
    "a role of a role": (
        "CREATE ROLE {role}_v; CREATE ROLE {role}_w; GRANT DROP ON orders TO {role}_w;"
        "GRANT {role}_w TO {role}_v; GRANT {role}_v TO {role}",
        ("DROP", "table `{database}`.`orders`", ROLE),
    ),
    "a role with admin option": (
        "CREATE ROLE {role}_w; GRANT {role}_w TO {role} WITH ADMIN OPTION",
        ("pass on", "role `{role}_w`", "granted to {role} WITH ADMIN OPTION"),
    ),
    "to everybody": (
        "GRANT INSERT, SELECT ON {database}.orders TO PUBLIC",
        ("INSERT", "table `{database}`.`orders`", "granted to PUBLIC"),
    ),
    "a database for everybody": (
        "GRANT ALL ON {database}_b.* TO PUBLIC",
        ("ALL PRIVILEGES", "database `{database}_b`", "granted to PUBLIC"),
    ),
    "a role that everybody has": (
        "CREATE ROLE {role}_w; GRANT INSERT ON orders TO {role}_w;"
        "SET GLOBAL mandatory_roles = '{role}_w'",
        ("INSERT", "table `{database}`.`orders`", ROLE),
    ),
    "a role to pass on, by another role": (
        "CREATE ROLE {role}_v; CREATE ROLE {role}_w; GRANT {role}_w TO {role}_v WITH ADMIN OPTION;"
        "GRANT {role}_v TO {role}",
        ("pass on", "role `{role}_w`@`%`", f"{ROLE.replace('_w', '_v')} WITH ADMIN OPTION"),
    ),
}


# The same, as MySQL has it.
AS_MYSQL = {
    "everything": (
        WAYS["everything"][0],
        (
            "INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, SHUTDOWN, FILE, INDEX, ALTER, SUPER, "
            "CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, "
            "CREATE TABLESPACE, CREATE ROLE, DROP ROLE",
            "everything",
            "granted to {role}",
        ),
    ),
    "a role that is active": (
        WAYS["a role that is active"][0].replace("_w FOR", "_w TO"),
        WAYS["a role that is active"][1],
    ),
    # It shows what is taken, and not by which of the roles that came with it.
    "a role of a role": (
        WAYS["a role of a role"][0],
        ("DROP", "table `{database}`.`orders`", ROLE.replace("_w", "_v")),
    ),
    "a role with admin option": (
        WAYS["a role with admin option"][0],
        ("pass on", "role `{role}_w`@`%`", "granted to {role} WITH ADMIN OPTION"),
    ),
}
ONLY_MARIADB = (*_MARIADB, "delete history", "to everybody", "a database for everybody")
ONLY_MYSQL = (*_MYSQL, "a role that everybody has", "a role to pass on, by another role")


def _skip_elsewhere(server, way: str) -> None:
    if way in (ONLY_MARIADB if server.is_mysql else ONLY_MYSQL):
        pytest.skip("this server knows no such thing")


def _only(found: dict, kind: str) -> dict:
    assert [it["kind"] for it in found["failures"]] == [kind], found
    return found["failures"][0]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_is_found_and_mended(place, way):
    _skip_elsewhere(place.server, way)
    did, (can, on, by) = (place.server.is_mysql and AS_MYSQL.get(way)) or WAYS[way]
    place.admin(did)
    before = place.everything()
    found = place.survey()
    refusal = _only(found, "writable")
    by, on = (
        it.replace("{role}", place.role).replace("{database}", place.database) for it in (by, on)
    )
    cans = (can,) if isinstance(can, str) else can
    assert [
        it for it in refusal["writes"] if it["can"] in cans and it["on"] == on and by == it["by"]
    ], refusal["writes"]
    assert place.everything() == before, "something was left behind"
    assert PASSWORD not in str(found)
    assert "IDENTIFIED BY PASSWORD" not in str(found)

    assert place.survey(allow_writable=True)["failures"] == []

    # What it recommends makes an account that can read, and passes.
    new = f"{place.role}_new"
    statements = "\n".join(refusal["statements"]).replace("cataloger_reader", new)
    place.admin(statements.replace("CHOOSE-A-PASSWORD", PASSWORD))
    again = place.survey(role=new)
    assert again["ok"], again


def test_a_reader_is_shown_to_be_one(reader):
    before = reader.everything()
    found = reader.survey("orders", "recent")
    assert found["ok"], found
    assert (found["writes"], found["engine"]) == (
        [],
        "MySQL" if reader.server.is_mysql else "MariaDB",
    )
    assert [(it["name"], it["kind"]) for it in found["tables"]] == [
        (f"{reader.database}.orders", "table"),
        (f"{reader.database}.recent", "view"),
    ]
    assert found["tables"][0]["rows"] == 3
    assert reader.everything() == before


def test_estimates_are_those_of_now(place):
    assert place.survey()["tables"][0]["rows"] == 3
    place.admin("INSERT INTO orders SELECT a.id * 1000 + b.id, 0 FROM orders a, orders b")
    assert place.survey()["tables"][0]["rows"] > 6


def test_a_server_that_only_reads(place):
    setting = "super_read_only" if place.server.is_mysql else "read_only"
    place.admin(f"SET GLOBAL {setting} = ON")
    try:
        assert place.survey()["ok"]
        # What is granted counts: a server can be opened for writing again.
        place.server.admin("SET GLOBAL super_read_only = OFF" if place.server.is_mysql else "DO 1")
        place.admin("GRANT INSERT ON orders TO {role}")
        place.admin(f"SET GLOBAL {setting} = ON")
        assert _only(place.survey(), "writable")
    finally:
        place.admin("SET GLOBAL super_read_only = OFF" if place.server.is_mysql else "DO 1")
        place.admin("SET GLOBAL read_only = OFF")


def test_a_first_log_in_with_tls_and_without(place):
    """MySQL's passwords are sent whole the first time: under TLS, or under the server's key."""
    if not place.server.is_mysql:
        pytest.skip("MariaDB has other passwords")
    for number, rest in enumerate(("", "?ssl_mode=DISABLED", "?ssl_mode=REQUIRED")):
        role = f"{place.role}_{number}"
        place.admin(
            f"CREATE USER {role} IDENTIFIED WITH caching_sha2_password BY '{PASSWORD}';"
            f"GRANT SELECT ON orders TO {role}"
        )
        for _ in range(2):
            found = place.survey(role=role, rest=rest)
            assert found["ok"], found
    place.admin("ALTER USER {role} REQUIRE SSL")
    assert _only(place.survey(), "password")
    assert place.survey(rest="?ssl_mode=REQUIRED")["ok"]


def test_a_part_that_is_taken_away_counts_as_given(place):
    if not place.server.is_mysql:
        pytest.skip("MariaDB knows no partial revokes")
    place.admin(
        "SET GLOBAL partial_revokes = ON; GRANT SELECT, INSERT ON *.* TO {role};"
        "REVOKE INSERT ON {database}.* FROM {role}"
    )
    try:
        found = _only(place.survey(), "writable")
        assert [it["can"] for it in found["writes"]] == ["INSERT"]
        place.admin("REVOKE INSERT ON *.* FROM {role}; REVOKE SELECT ON {database}.* FROM {role}")
        assert place.survey("orders", f"{place.database}_b.visits")["ok"]
        assert _only(place.survey(f"{place.database}.secret"), "no_right")
    finally:
        place.admin("DROP USER {role}; SET GLOBAL partial_revokes = OFF")


def test_roles_are_taken_for_the_survey_only(place):
    """What may be read by the roles that a session begins with can be read, and counts as such."""
    place.admin(
        "CREATE ROLE {role}_r; GRANT SELECT ON secret TO {role}_r; GRANT {role}_r TO {role};"
        + (
            "SET DEFAULT ROLE {role}_r TO {role}"
            if place.server.is_mysql
            else "SET DEFAULT ROLE {role}_r FOR {role}"
        )
    )
    found = place.survey("orders", "secret")
    assert found["ok"], found


KILLED = """
import sys
sys.path[:0] = sys.argv[1:2]
from cataloger_sandbox.preflight import preflight
preflight(["orders"], url=sys.argv[2])
"""


def test_nothing_stays_when_it_is_killed(place):
    """Killed while it waits for a table that another session has locked."""
    import MySQLdb

    import cataloger_sandbox

    place.admin("CREATE USER {role}_o IDENTIFIED BY 'o'; GRANT ALL ON *.* TO {role}_o")
    before = place.everything()
    mine = f"FROM information_schema.processlist WHERE user = '{place.role}'"
    waiting = f"SELECT count(*) {mine} AND state LIKE '%metadata lock%'"
    owner = {"host": "127.0.0.1", "port": place.server.port, "password": "o"}
    con = MySQLdb.connect(user=f"{place.role}_o", database=place.database, **owner)
    con.cursor().execute("LOCK TABLES orders WRITE")
    package = os.path.dirname(os.path.dirname(cataloger_sandbox.__file__))
    url = place.server.url(place.role, place.database)
    process = subprocess.Popen([sys.executable, "-c", KILLED, package, url])
    while place.admin(waiting) == "0":
        assert process.poll() is None, "it did not wait"
    process.send_signal(signal.SIGKILL)
    process.wait()
    con.close()
    while place.admin(f"SELECT count(*) {mine}") != "0":
        pass
    transactions = "SELECT count(*) FROM information_schema.innodb_trx"
    assert place.admin(transactions) == "0"
    assert place.everything() == before
    # Nobody waits for it.
    place.admin("SET lock_wait_timeout = 5; ALTER TABLE orders ADD COLUMN more integer")


def test_what_is_no_writing(place):
    if place.server.is_mysql:
        place.admin(
            "GRANT BACKUP_ADMIN, XA_RECOVER_ADMIN, SENSITIVE_VARIABLES_OBSERVER, SHOW_ROUTINE,"
            "SERVICE_CONNECTION_ADMIN, AUDIT_ABORT_EXEMPT, FIREWALL_EXEMPT ON *.* TO {role}"
        )
    place.admin(
        "GRANT PROCESS, SHOW DATABASES, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO {role};"
        "GRANT CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REFERENCES ON {database}.* TO {role}"
    )
    found = place.survey()
    assert found["ok"], found
    assert any("may lock tables" in note for note in found["notes"])
    assert any("may call routines" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["ORDERS"], ["{d}.orders"]),
        (["{d}.orders"], ["{d}.orders"]),
        (["order"], ["{d}.`order`"]),
        (["odd ``name.x".replace("``", "`")], ["{d}.`odd ``name.x`"]),
        (["`odd ``name.x`"], ["{d}.`odd ``name.x`"]),
        (['{d}."odd `name.x"'], ["{d}.`odd ``name.x`"]),
        (["visits"], ["{d}_b.visits"]),
        (["{d}*.visits"], ["{d}_b.visits"]),
        (["r*"], ["{d}.recent"]),
    ],
)
def test_names_are_resolved(reader, asked, names):
    found = reader.survey(*(it.replace("{d}", reader.database) for it in asked))
    assert found["ok"], found["failures"]
    names = [it.replace("{d}", reader.database) for it in names]
    assert [it["name"] for it in found["tables"]] == names


@pytest.mark.parametrize(
    ("asked", "kind", "near"),
    [
        ("{d}_b.visit", "no_such_table", ["{d}_b.visits"]),
        ("x_*", "no_match", []),
        ("a..b", "bad_name", []),
    ],
)
def test_what_is_not_found_is_told(reader, asked, kind, near):
    failure = _only(reader.survey(asked.replace("{d}", reader.database)), kind)
    assert failure.get("nearest", []) == [it.replace("{d}", reader.database) for it in near]


def test_what_may_be_hidden_is_told(reader):
    for asked in ("secret", f"{reader.database}.secret"):
        failure = _only(reader.survey(asked), "no_right")
        assert failure["statements"] == [
            f"GRANT SELECT, SHOW VIEW ON `{reader.database}`.`secret` TO '{reader.role}'@'%';"
        ]


def test_what_can_be_seen_but_not_read(place):
    place.admin("GRANT REFERENCES ON secret TO {role}")
    failure = _only(place.survey("orders", "secret"), "no_right")
    assert failure["problem"].endswith(f"{place.database}.secret")


def test_a_view_of_nothing_is_left_out(place):
    place.admin(
        "CREATE TABLE gone (id integer); CREATE VIEW broken AS SELECT * FROM gone;"
        "GRANT SELECT ON broken TO {role}; DROP TABLE gone"
    )
    found = place.survey("orders", "broken")
    assert found["ok"]
    assert any("broken is a view that can't be read" in note for note in found["notes"])
    assert _only(place.survey("broken"), "no_match")


# As MySQL says it, also where only MariaDB is at hand.
@pytest.mark.parametrize(
    ("line", "can"),
    [
        ("GRANT USAGE ON *.* TO `r`@`%`", []),
        ("GRANT SELECT, PROCESS, SHOW VIEW, SHOW_ROUTINE ON *.* TO `r`@`%`", []),
        ('GRANT SELECT ON `a``b`.`c"d` TO `r`@`%`', []),
        ("GRANT SELECT (`a`, `b, c`), UPDATE (`x`) ON `s`.`t` TO `r`@`%`", ["UPDATE (`x`)"]),
        (
            "GRANT BACKUP_ADMIN,CLONE_ADMIN,FLUSH_TABLES ON *.* TO `r`@`%`",
            ["CLONE_ADMIN, FLUSH_TABLES"],
        ),
        ("GRANT EXECUTE ON FUNCTION `s`.`f` TO `r`@`%`", []),
        ("GRANT `w`@`%`,`v`@`%` TO `r`@`%`", []),
        ("GRANT `w`@`%` TO `r`@`%` WITH ADMIN OPTION", ["pass on"]),
        ("REVOKE INSERT ON `mysql`.* FROM `r`@`%`", []),
        ("SOMETHING NEW", ["do what is not understood"]),
    ],
)
def test_grants_as_mysql_writes_them(line, can):
    writes, _ = mysql_grants.judge(mysql_grants.Grants([mysql_grants.Line(line)]), "r")
    assert [it.can for it in writes] == can


def test_roles_as_mysql_writes_them():
    class Cursor:
        said: list

        def execute(self, statement):
            self.said = {
                "SHOW GRANTS": [
                    ("GRANT USAGE ON *.* TO `r`@`%`",),
                    ("GRANT `w`@`%`,`v` TO `r`@`%`",),
                ],
                "SHOW GRANTS FOR `w`@`%`": [("GRANT INSERT ON `s`.* TO `w`@`%`",)],
                "SELECT @@GLOBAL.mandatory_roles": [("",)],
                "SET ROLE NONE": [],
            }[statement]

        def fetchall(self):
            return self.said

    writes, _ = mysql_grants.judge(mysql_grants.read(Cursor()), "r")
    assert [(it.can, it.by) for it in writes] == [
        ("INSERT", "granted to w, a role that r may take"),
        ("do what can't be seen", "its grants can't be read"),
    ]
