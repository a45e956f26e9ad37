"""Tries to write in PostgreSQL where the catalogs say that it can't be, to see the server refuse.

All of it is rolled back, by us or, should we be killed, by the server. Rows are never touched: a
DELETE is explained, for which the server asks for the same right, and no trigger fires.
"""

import secrets

import psycopg
from psycopg import errors, sql

from cataloger_sandbox.preflight.report import Relation, Write

_TABLES = 20
_LOCK_TIMEOUT = "1s"
_STATEMENT_TIMEOUT = "5s"
_BY = "the server let it, though no grant says so"


def attempt(
    con: psycopg.Connection, tables: list[Relation], home: list[str], standby: bool
) -> tuple[list[Write], list[str], list[str]]:
    """What could be done nevertheless; what was refused; what could not be tried."""
    if standby:
        return [], [], ["the server is a standby: nothing could be tried, only grants were read"]
    name = sql.Identifier(f"cataloger_trial_{secrets.token_hex(8)}")
    tries: list[tuple[Write, sql.Composable]] = [
        (
            Write("DELETE", it.kind, it.sql, _BY),
            sql.SQL("EXPLAIN (COSTS OFF) DELETE FROM {}").format(
                sql.Identifier(it.schema, it.name)
            ),
        )
        for it in [it for it in tables if "table" in it.kind][:_TABLES]
    ]
    tries += [
        (
            Write("CREATE", "schema", schema, _BY),
            sql.SQL("CREATE TABLE {}.{} ()").format(sql.Identifier(schema), name),
        )
        for schema in dict.fromkeys([*home, *(it.schema for it in tables)])
    ]
    tries.append((Write("CREATE", "database", "", _BY), sql.SQL("CREATE SCHEMA {}").format(name)))
    return _all(con, tries)


def _all(
    con: psycopg.Connection, tries: list[tuple[Write, sql.Composable]]
) -> tuple[list[Write], list[str], list[str]]:
    writes, refused, notes = [], [], []
    con.execute("BEGIN READ WRITE")
    try:
        con.execute(
            f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'; "
            f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"
        )
        for write, statement in tries:
            con.execute("SAVEPOINT trial")
            try:
                con.execute(statement)
            except errors.InsufficientPrivilege:
                refused.append(f"{write.can} on {write.kind} {write.name}".strip())
            except psycopg.Error as error:
                what = f"{write.can} on {write.kind} {write.name}".strip()
                notes.append(f"{what} could not be tried: {_reason(error)}")
            else:
                writes.append(write)
            con.execute("ROLLBACK TO SAVEPOINT trial")
    finally:
        con.execute("ROLLBACK")
    return writes, [f"refused: {it}" for it in refused], notes


def _reason(error: psycopg.Error) -> str:
    if isinstance(error, errors.LockNotAvailable):
        return "another session holds a lock on it"
    return (error.diag.message_primary or type(error).__name__).strip()
