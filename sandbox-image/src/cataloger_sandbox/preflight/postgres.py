"""The survey of PostgreSQL: what is there, and what can be read."""

from cataloger_sandbox.preflight import postgres_trial, postgres_writes
from cataloger_sandbox.preflight.names import Resolver
from cataloger_sandbox.preflight.opening import Address
from cataloger_sandbox.preflight.report import Failure, Relation, Survey, several

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}

_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text, c.reltuples, c.relispartition,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'SELECT'),
       n.nspname IN ('pg_catalog', 'information_schema'),
       c.relkind IN ('r', 'p') AND c.relrowsecurity AND row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1, 2
"""


def survey(connection, _address: Address, asked: list[str], result: Survey) -> None:
    """Fill in all that there is to know."""
    con = connection.con
    result.engine = "PostgreSQL"
    with con.cursor() as cursor:
        cursor.execute("SHOW server_version")
        result.version = cursor.fetchone()[0].partition(" ")[0]
        cursor.execute(
            "SELECT session_user::text, current_database()::text, current_schemas(false)::text[], "
            "current_setting('default_transaction_read_only'), "
            "current_setting('statement_timeout'), pg_is_in_recovery()"
        )
        result.role, result.database, home, read_only, timeout, standby = cursor.fetchone()
    if read_only != "on" or timeout == "0":
        result.notes.append(
            "the session's settings did not reach the server (a pooler?): "
            f"default_transaction_read_only is {read_only}, statement_timeout is {timeout}"
        )
    with con.transaction(), con.cursor() as cursor:
        # Nothing in the database may stand in for what is meant here, and names come out whole.
        cursor.execute("SET LOCAL search_path = pg_catalog")
        relations, secured = _relations(cursor)
        resolver = Resolver(relations, home, result.database)
        result.tables, result.failures, notes = resolver.resolve(asked, result.limit)
        result.notes += notes
        result.failures = [
            _with_grants(cursor, it, relations, result.role) for it in result.failures
        ]
        hidden = [it.sql for it in result.tables if it in secured]
        if hidden:
            result.notes.append(
                f"row security is active on {several(hidden)}: what is counted there is what this "
                "role sees"
            )
        result.writes, notes = postgres_writes.find(cursor, con.info.server_version)
        result.notes += notes
    if not result.writes:
        writes, result.proof, notes = postgres_trial.attempt(con, result.tables, home, standby)
        result.writes += writes
        result.notes += notes
    with con.transaction(), con.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = pg_catalog")
        result.statements = _reader(cursor, result)


def _relations(cursor) -> tuple[list[Relation], set[Relation]]:
    cursor.execute(_RELATIONS)
    relations, secured = [], set()
    for schema, name, kind, rows, part, sql, usage, select, some, system, security in cursor:
        relation = Relation(
            schema=schema,
            name=name,
            kind=_KINDS[kind],
            sql=sql,
            # Before the first ANALYZE there is none; a view never has one.
            rows=int(rows) if rows > 0 and kind in "rmpf" else None,
            readable=bool(usage and (select or some)),
            part=part,
            system=system,
        )
        relations.append(relation)
        if security:
            secured.add(relation)
    return relations, secured


def _with_grants(cursor, failure: Failure, relations: list[Relation], role: str) -> Failure:
    """With the statements that give what is missing."""
    names = failure.more.pop("tables", None)
    if names is None:
        return failure
    schemas = sorted({it.schema for it in relations if it.sql in names})
    quoted = _quoted(cursor, [role, *schemas])
    failure.more["statements"] = [
        *(f"GRANT USAGE ON SCHEMA {quoted[it]} TO {quoted[role]};" for it in schemas),
        *(f"GRANT SELECT ON {name} TO {quoted[role]};" for name in names),
    ]
    return failure


def _reader(cursor, result: Survey) -> list[str]:
    """What makes a role that can only read the tables."""
    cursor.execute("SELECT rolname::text FROM pg_roles")
    taken = {name for (name,) in cursor}
    name, number = "cataloger_reader", 1
    while name in taken:
        number += 1
        name = f"cataloger_reader_{number}"
    schemas = sorted({it.schema for it in result.tables})
    quoted = _quoted(cursor, [result.database, *schemas])
    return [
        f"CREATE ROLE {name} LOGIN PASSWORD 'CHOOSE-A-PASSWORD';",
        f"GRANT CONNECT ON DATABASE {quoted[result.database]} TO {name};",
        *(f"GRANT USAGE ON SCHEMA {quoted[it]} TO {name};" for it in schemas),
        *(f"GRANT SELECT ON {it.sql} TO {name};" for it in result.tables),
    ]


def _quoted(cursor, names: list[str]) -> dict[str, str]:
    cursor.execute("SELECT n, quote_ident(n) FROM unnest(%s::text[]) n", [names])
    return dict(cursor.fetchall())
