"""The survey of MySQL and MariaDB: what is there, and what can be read.

It only reads: their DDL commits by itself, so nothing is tried.
"""

import re

from cataloger_sandbox.preflight import mysql_grants
from cataloger_sandbox.preflight.names import Resolver
from cataloger_sandbox.preflight.opening import Address
from cataloger_sandbox.preflight.quoting import back, needs_none, text
from cataloger_sandbox.preflight.report import Failure, Relation, Survey

_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_KINDS = {
    "BASE TABLE": "table",
    "SYSTEM VERSIONED": "table",
    "VIEW": "view",
    "SYSTEM VIEW": "view",
}
_RELATIONS = """
SELECT table_schema, table_name, table_type, table_rows FROM information_schema.tables
ORDER BY 1, 2
"""
_DENIED = (1142, 1143, 1044, 1370)
_BROKEN_VIEW = (1356, 1449)
_LOCKED = (1205,)


def survey(connection, _address: Address, asked: list[str], result: Survey) -> None:
    """Fill in all that there is to know."""
    con = connection.con
    with con.cursor() as cursor:
        cursor.execute("SELECT version(), current_user(), database()")
        version, result.role, database = cursor.fetchone()
        result.engine = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        result.version, result.database = version.partition("-")[0], database or ""
        # A table that another session changes is not waited for.
        cursor.execute("SET SESSION lock_wait_timeout = 2")
        resolver = Resolver(_relations(cursor), [database] if database else [], "def")
        tables, result.failures, result.notes = resolver.resolve(asked, result.limit)
        result.failures = [_hidden(cursor, it, result) for it in result.failures]
        result.tables = _readable(cursor, tables, result)
        grants = mysql_grants.read(cursor)
    result.writes, notes = mysql_grants.judge(grants, _name(result.role))
    result.notes += notes
    result.proof = ["SHOW GRANTS of the account, of its roles and of PUBLIC has no right to write"]
    result.statements = _reader(result)


def _relations(cursor) -> list[Relation]:
    cursor.execute(_RELATIONS)
    return [
        Relation(
            schema=schema,
            name=name,
            kind=_KINDS[kind],
            sql=f"{_plain(schema)}.{_plain(name)}",
            rows=rows if kind in ("BASE TABLE", "SYSTEM VERSIONED") else None,
            system=schema.lower() in _SYSTEM,
        )
        for schema, name, kind, rows in cursor.fetchall()
        if kind in _KINDS
    ]


def _hidden(cursor, failure: Failure, result: Survey) -> Failure:
    """Tables without any right on them are not listed: the server says whether that is why."""
    asked = failure.asked
    if failure.kind != "no_such_table" or not re.fullmatch(r"[\w$]+(\.[\w$]+)?", asked):
        return failure
    name = ".".join(back(part) for part in asked.split("."))
    if "." not in asked and not result.database:
        return failure
    if _code(cursor, name) not in _DENIED:
        return failure
    target = name if "." in asked else f"{back(result.database)}.{name}"
    return Failure(
        "no_right",
        f"the role has no right to read {asked}, if that is there: the server does not tell",
        "Grant it:",
        statements=[f"GRANT SELECT, SHOW VIEW ON {target} TO {_account(result.role)};"],
        nearest=failure.more.get("nearest", []),
    )


def _readable(cursor, tables: list[Relation], result: Survey) -> list[Relation]:
    readable, denied = [], []
    for it in tables:
        code = _code(cursor, _both(it))
        if code in _DENIED:
            denied.append(it)
            continue
        if code in _BROKEN_VIEW:
            result.notes.append(f"{it.sql} is a view that can't be read: what it names is gone")
            continue
        if code in _LOCKED:
            result.notes.append(f"{it.sql} is locked by another session")
        readable.append(it)
    if denied:
        result.failures.append(
            Failure(
                "no_right",
                f"the role has no right to read {', '.join(it.sql for it in denied[:20])}",
                "Grant it:",
                statements=[
                    f"GRANT SELECT, SHOW VIEW ON {_both(it)} TO {_account(result.role)};"
                    for it in denied
                ],
            )
        )
    return readable


def _code(cursor, name: str) -> int:
    """The code of the error that reading a table ends with; 0 if with none."""
    try:
        cursor.execute(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608 - names are quoted
        cursor.fetchall()
    except Exception as error:  # noqa: BLE001 - the driver is not there to be named
        return error.args[0] if error.args and isinstance(error.args[0], int) else -1
    return 0


def _reader(result: Survey) -> list[str]:
    account = "'cataloger_reader'@'%'"
    return [
        f"CREATE USER {account} IDENTIFIED BY 'CHOOSE-A-PASSWORD';",
        *(f"GRANT SELECT, SHOW VIEW ON {_both(it)} TO {account};" for it in result.tables),
    ]


def _name(account: str) -> str:
    return account.rpartition("@")[0]


def _account(account: str) -> str:
    user, _, host = account.rpartition("@")
    return f"{text(user)}@{text(host)}"


def _both(relation: Relation) -> str:
    return f"{back(relation.schema)}.{back(relation.name)}"


def _plain(name: str) -> str:
    return name if needs_none(name) else back(name)
