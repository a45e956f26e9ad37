"""All ways in which a role of PostgreSQL can write, by the server's own catalogs.

It reads catalogs only. Temporary tables are not writing.
"""

from cataloger_sandbox.preflight.postgres_roles import PUBLIC, Role, reachable
from cataloger_sandbox.preflight.report import Write, several

# Predefined roles that let write, and what they let.
_PREDEFINED = {
    "pg_write_all_data": "INSERT, UPDATE, DELETE on every table",
    "pg_write_server_files": "write files of the server",
    "pg_execute_server_program": "run programs on the server",
    "pg_maintain": "VACUUM, REINDEX, REFRESH and LOCK every table",
    "pg_create_subscription": "make subscriptions, which write into tables",
}

# What of the grants on each kind of thing is writing: (kind, name, undo, grantee, privilege,
# grantable), without what the owner has of itself.
_GRANTS = {
    "table": """
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END,
       a.grantee, a.privilege_type, a.is_grantable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> c.relowner AND c.relpersistence <> 't'
  AND (a.is_grantable OR a.privilege_type IN
       ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN')
       OR c.relkind = 'S' AND a.privilege_type = 'USAGE')
  -- Setting one's own session is not writing, and every role may.
  AND c.oid <> 'pg_catalog.pg_settings'::regclass
""",
    "column": """
SELECT 'column', quote_ident(n.nspname) || '.' || quote_ident(c.relname) || '.'
           || quote_ident(t.attname),
       '(' || quote_ident(t.attname) || ') ON TABLE '
           || quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       a.grantee, a.privilege_type, a.is_grantable
FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL aclexplode(t.attacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> c.relowner AND NOT t.attisdropped
  AND (a.is_grantable OR a.privilege_type IN ('INSERT', 'UPDATE'))
""",
    "schema": """
SELECT 'schema', quote_ident(n.nspname), 'SCHEMA ', a.grantee, a.privilege_type, a.is_grantable
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> n.nspowner
  AND (a.is_grantable OR a.privilege_type = 'CREATE') AND n.nspname !~ '^pg_(toast|temp)'
""",
    "database": """
SELECT 'database', quote_ident(d.datname), 'DATABASE ', a.grantee, a.privilege_type, a.is_grantable
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> d.datdba
  AND (a.is_grantable OR a.privilege_type = 'CREATE')
""",
    "large object": """
SELECT 'large object', l.oid::text, 'LARGE OBJECT ', a.grantee, a.privilege_type, a.is_grantable
FROM pg_largeobject_metadata l CROSS JOIN LATERAL aclexplode(l.lomacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> l.lomowner
  AND (a.is_grantable OR a.privilege_type = 'UPDATE')
""",
    "foreign server": """
SELECT 'foreign server', quote_ident(s.srvname), 'FOREIGN SERVER ', a.grantee, a.privilege_type,
       a.is_grantable
FROM pg_foreign_server s CROSS JOIN LATERAL aclexplode(s.srvacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> s.srvowner
UNION ALL
SELECT 'foreign data wrapper', quote_ident(w.fdwname), 'FOREIGN DATA WRAPPER ', a.grantee,
       a.privilege_type, a.is_grantable
FROM pg_foreign_data_wrapper w CROSS JOIN LATERAL aclexplode(w.fdwacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> w.fdwowner
""",
}

_PARAMETERS = """
SELECT 'parameter', p.parname, 'PARAMETER ', a.grantee, a.privilege_type, a.is_grantable
FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a
WHERE a.grantee = ANY(%(roles)s) AND (a.is_grantable OR a.privilege_type = 'ALTER SYSTEM')
"""

_DEFAULTS = """
SELECT CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
            WHEN 'L' THEN 'large objects' ELSE 'schemas' END,
       quote_ident(r.rolname), quote_ident(n.nspname), a.grantee, a.privilege_type
FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole
LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL aclexplode(d.defaclacl) a
WHERE a.grantee = ANY(%(roles)s) AND a.grantee <> d.defaclrole AND (
    d.defaclobjtype = 'r' AND a.privilege_type IN
        ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN')
    OR d.defaclobjtype = 'S' AND a.privilege_type IN ('USAGE', 'UPDATE')
    OR d.defaclobjtype = 'L' AND a.privilege_type = 'UPDATE'
    OR d.defaclobjtype = 'n' AND a.privilege_type = 'CREATE')
"""

_OWNED = """
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relowner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relowner = ANY(%(roles)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND c.relpersistence <> 't'
UNION ALL
SELECT 'schema', quote_ident(nspname), nspowner FROM pg_namespace
WHERE nspowner = ANY(%(roles)s) AND nspname !~ '^pg_(toast|temp)'
UNION ALL
SELECT 'database', quote_ident(datname), datdba FROM pg_database WHERE datdba = ANY(%(roles)s)
UNION ALL
SELECT 'function', p.oid::regprocedure::text, p.proowner FROM pg_proc p
WHERE p.proowner = ANY(%(roles)s)
UNION ALL
-- All else that can be owned.
SELECT '', pg_describe_object(s.classid, s.objid, s.objsubid), s.refobjid FROM pg_shdepend s
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY(%(roles)s) AND s.deptype = 'o'
  AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND s.classid <> ALL(ARRAY['pg_class', 'pg_namespace', 'pg_database', 'pg_proc',
      -- Its own defaults and its own password elsewhere: every role may have them.
      'pg_default_acl', 'pg_user_mapping']::regclass[])
"""

_ELSEWHERE = """
SELECT quote_ident(d.datname), s.deptype = 'o', s.refobjid, count(*)
FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY(%(roles)s)
  AND s.deptype IN ('o', 'a') AND d.datname <> current_database()
  AND s.classid <> ALL(ARRAY['pg_default_acl', 'pg_user_mapping']::regclass[])
GROUP BY 1, 2, 3
"""

_DEFINERS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND p.proowner <> ALL(%(roles)s)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1
"""

_LARGE = "SELECT has_function_privilege('pg_catalog.lo_create(oid)', 'EXECUTE')"


def find(cursor, version: int) -> tuple[list[Write], list[str]]:
    """Every way to write, and what else there is to know."""
    roles, passed = reachable(cursor, version)
    writes = _attributes(roles)
    if any(role.superuser and role.becomes for role in roles.values()):
        # All else follows from it, and would hide it.
        return writes, []
    writes += [
        Write("grant and revoke membership", "role", role, f"{holder} has the ADMIN OPTION")
        for role, holder in passed
    ]
    among = {"roles": [PUBLIC, *roles]}
    granted = dict(_GRANTS)
    if version >= 150000:
        granted["parameter"] = _PARAMETERS
    for query in granted.values():
        cursor.execute(query, among)
        writes += _granted(cursor.fetchall(), roles)
    cursor.execute(_DEFAULTS, among)
    writes += _defaults(cursor.fetchall(), roles)
    cursor.execute(_OWNED, among)
    for kind, name, owner in cursor.fetchall():
        writes.append(Write("change and drop", kind, name, roles[owner].owns()))
    elsewhere, notes = _elsewhere(cursor, among, roles)
    return writes + elsewhere, notes + _notes(cursor, among)


def _attributes(roles: dict[int, Role]) -> list[Write]:
    writes = []
    for role in roles.values():
        if what := _PREDEFINED.get(role.name):
            writes.append(Write(what, "", "", _member(role)))
        if not role.becomes:
            continue
        by = _attribute(role)
        if role.superuser:
            writes.append(Write("do everything", "", "", f"{by} SUPERUSER"))
            continue
        if role.createrole:
            writes.append(Write("make and change roles", "", "", f"{by} CREATEROLE"))
        if role.createdb:
            writes.append(Write("make databases", "", "", f"{by} CREATEDB"))
        if role.replication:
            writes.append(Write("make replication slots", "", "", f"{by} REPLICATION"))
    return writes


def _member(role: Role) -> str:
    own, *between = role.way[:-1]
    through = f" through {' and '.join(between)}" if between else ""
    return f"{own} is a member of {role.name}{through}"


def _attribute(role: Role) -> str:
    if len(role.way) == 1:
        return f"{role.name} has the attribute"
    return f"{_member(role)}, which has the attribute"


def _by(grantee: int, roles: dict[int, Role]) -> str:
    return "granted to PUBLIC" if grantee == PUBLIC else roles[grantee].by()


def _granted(rows: list[tuple], roles: dict[int, Role]) -> list[Write]:
    """What is granted on one thing to one role, told at once."""
    together: dict[tuple, list[str]] = {}
    for kind, name, target, grantee, privilege, grantable in rows:
        can = f"{privilege} and pass it on" if grantable else privilege
        together.setdefault((kind, name, target, grantee), []).append(can)
    writes = []
    for (kind, name, target, grantee), privileges in together.items():
        can = sorted(set(privileges))
        undo = ""
        if grantee == PUBLIC:
            bare = [it.removesuffix(" and pass it on") for it in can]
            undo = (
                "".join(f"REVOKE {it} {target} FROM PUBLIC; " for it in bare).strip()
                if kind == "column"
                else f"REVOKE {', '.join(bare)} ON {target}{name} FROM PUBLIC;"
            )
        writes.append(Write(", ".join(can), kind, name, _by(grantee, roles), undo))
    return writes


def _defaults(rows: list[tuple], roles: dict[int, Role]) -> list[Write]:
    together: dict[tuple, list[str]] = {}
    for kind, owner, schema, grantee, privilege in rows:
        together.setdefault((kind, owner, schema, grantee), []).append(privilege)
    writes = []
    for (kind, owner, schema, grantee), privileges in together.items():
        can = ", ".join(sorted(set(privileges)))
        where = f" in schema {schema}" if schema else ""
        undo = ""
        if grantee == PUBLIC:
            within = f" IN SCHEMA {schema}" if schema else ""
            undo = (
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner}{within} "
                f"REVOKE {can} ON {kind.upper()} FROM PUBLIC;"
            )
        what = f"all {kind} that {owner} will make{where}"
        writes.append(Write(can, "", what, _by(grantee, roles), undo))
    return writes


def _elsewhere(cursor, among: dict, roles: dict[int, Role]) -> tuple[list[Write], list[str]]:
    cursor.execute(_ELSEWHERE, among)
    writes, granted = [], []
    for database, owned, role, count in cursor.fetchall():
        if owned:
            what = f"{count:,} objects in database {database}"
            writes.append(Write("change and drop", "", what, roles[role].owns()))
        else:
            granted.append(database)
    if not granted:
        return writes, []
    names = several(sorted(set(granted)))
    return writes, [f"the role has grants in other databases, which were not looked at: {names}"]


def _notes(cursor, among: dict) -> list[str]:
    notes = []
    cursor.execute(_DEFINERS, among)
    if names := [name for (name,) in cursor.fetchall()]:
        notes.append(
            f"the role may call functions that act with their owner's rights: {several(names)}"
        )
    cursor.execute(_LARGE)
    if cursor.fetchone()[0]:
        notes.append(
            "like every role of this server it may make large objects, as long as EXECUTE on "
            "lo_create and its like is PUBLIC's"
        )
    return notes
