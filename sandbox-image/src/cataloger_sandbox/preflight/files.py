"""The survey of databases that are files, SQLite and DuckDB.

They know no roles: what can't be written is shown by trying, in ways that would leave nothing if
they were not refused.
"""

import os
import secrets
import sqlite3

from cataloger_sandbox.preflight.names import Resolver
from cataloger_sandbox.preflight.opening import Address
from cataloger_sandbox.preflight.quoting import double, needs_none
from cataloger_sandbox.preflight.report import Relation, Survey, Write


def survey_sqlite(connection, address: Address, asked: list[str], result: Survey) -> None:
    """Fill in all that there is to know of a file of SQLite."""
    con = connection.con
    result.engine, result.version = "SQLite", sqlite3.sqlite_version
    result.role, result.database = "the sandbox's user", os.path.basename(address.path)
    rows = con.execute(
        "SELECT name, type FROM main.sqlite_schema WHERE type IN ('table', 'view') ORDER BY name"
    ).fetchall()
    estimates = _estimates(con)
    relations = [
        Relation(
            schema="main",
            name=name,
            kind=kind,
            sql=_quoted(name),
            rows=estimates.get(name) if kind == "table" else None,
            system=name.startswith("sqlite_"),
        )
        for name, kind in rows
    ]
    _resolve(relations, asked, "main", result)
    result.tables = [it for it in result.tables if _answers(con.execute, it, result)]
    trial = _quoted(f"cataloger_trial_{secrets.token_hex(8)}")
    _refused(
        result,
        con.execute,
        sqlite3.OperationalError,
        {
            "make a table": f"CREATE TABLE main.{trial} (x)",
            "change the file": "PRAGMA main.user_version = 1",
            "attach another file": "ATTACH ':memory:' AS " + trial,
        },
    )
    _file_note(address, result)


def _estimates(con: sqlite3.Connection) -> dict[str, int]:
    """What the last ANALYZE has counted, where there was one."""
    try:
        rows = con.execute("SELECT tbl, stat FROM main.sqlite_stat1").fetchall()
    except sqlite3.Error:
        return {}
    found = {}
    for table, stat in rows:
        count = str(stat).partition(" ")[0]
        if count.isdigit():
            found[table] = int(count)
    return found


def survey_duckdb(connection, address: Address, asked: list[str], result: Survey) -> None:
    """Fill in all that there is to know of a file of DuckDB."""
    import duckdb

    con = connection.con
    result.engine, result.role = "DuckDB", "the sandbox's user"
    result.version, result.database = con.execute("SELECT version(), current_database()").fetchone()
    rows = con.execute(
        "SELECT schema_name, table_name, 'table', estimated_size, internal FROM duckdb_tables() "
        "WHERE database_name = current_database() UNION ALL "
        "SELECT schema_name, view_name, 'view', NULL, internal FROM duckdb_views() "
        "WHERE database_name = current_database() ORDER BY 1, 2"
    ).fetchall()
    relations = [
        Relation(
            schema=schema,
            name=name,
            kind=kind,
            sql=f"{_quoted(schema)}.{_quoted(name)}",
            rows=size,
            system=internal,
        )
        for schema, name, kind, size, internal in rows
    ]
    _resolve(relations, asked, "main", result)
    result.tables = [it for it in result.tables if _answers(con.execute, it, result)]
    trial = _quoted(f"cataloger_trial_{secrets.token_hex(8)}")
    _refused(
        result,
        con.execute,
        (duckdb.InvalidInputException, duckdb.PermissionException),
        {
            "make a table": f"CREATE TABLE {trial} (x INTEGER)",
            "write a file": f"COPY (SELECT 1) TO '{os.devnull}'",
            "attach another file": f"ATTACH '{os.devnull}' AS {trial}",
            "turn external access on": "SET enable_external_access = true",
        },
    )
    _file_note(address, result)


def _resolve(relations: list[Relation], asked: list[str], home: str, result: Survey) -> None:
    resolver = Resolver(relations, [home], result.database)
    result.tables, result.failures, notes = resolver.resolve(asked, result.limit)
    result.notes += notes


def _answers(execute, relation: Relation, result: Survey) -> bool:
    """Whether it can be read: a view may name what is gone."""
    try:
        execute(f"SELECT 1 FROM {relation.sql} LIMIT 0").fetchall()  # noqa: S608 - names are quoted
    except Exception as error:  # noqa: BLE001 - two drivers' own
        reason = str(error).partition("\n")[0][:200]
        result.notes.append(f"{relation.sql} can't be read, and is left out: {reason}")
        return False
    return True


def _refused(result: Survey, execute, refusal, tries: dict[str, str]) -> None:
    """Try to write in each way, and note what was refused."""
    for what, statement in tries.items():
        inside = not statement.startswith("ATTACH")  # which no transaction holds
        if inside:
            execute("BEGIN")
        try:
            execute(statement)
        except refusal:
            result.proof.append(f"refused: {what}")
        except Exception as error:  # noqa: BLE001 - two drivers' own
            reason = str(error).partition("\n")[0][:200]
            result.notes.append(f"{what} could not be tried: {reason}")
        else:
            result.writes.append(Write(what, "", "", "the session lets it"))
        if inside:
            execute("ROLLBACK")


def _file_note(address: Address, result: Survey) -> None:
    if os.access(address.path, os.W_OK):
        result.notes.append(
            "the file itself can be written by the sandbox's user: only the session is read-only. "
            "Mount it read-only, or take away that right"
        )


def _quoted(name: str) -> str:
    return name if needs_none(name) else double(name)
