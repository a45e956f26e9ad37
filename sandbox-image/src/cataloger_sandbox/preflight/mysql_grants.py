"""What the grants of a MySQL or MariaDB account let it write: read, and judged.

What is not known to be harmless is taken for writing. The text of a grant is never told: MariaDB
has the hash of the password in it.
"""

import re
from dataclasses import dataclass, field

from cataloger_sandbox.preflight.report import Write

# These can't write. A temporary table is not writing; a routine is told apart.
_HARMLESS = frozenset(
    (
        "USAGE",
        "SELECT",
        "SHOW VIEW",
        "SHOW DATABASES",
        "SHOW CREATE ROUTINE",
        "SHOW_ROUTINE",
        "PROCESS",
        "REFERENCES",
        "EXECUTE",
        "CREATE TEMPORARY TABLES",
        "LOCK TABLES",
        "REPLICATION CLIENT",
        "REPLICATION SLAVE",
        "BINLOG MONITOR",
        "SLAVE MONITOR",
        "REPLICA MONITOR",
    )
)
_NOTED = {
    "LOCK TABLES": "it may lock tables, which keeps others from writing",
    "EXECUTE": "it may call routines, which may act with their owner's rights",
}
_NAME = r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[^\s`'\",@]+)"
_ACCOUNT = rf"{_NAME}(?:@{_NAME})?"
_ON = re.compile(
    rf"GRANT (?P<privileges>.+?) ON (?P<kind>TABLE |PROCEDURE |FUNCTION |PACKAGE BODY |PACKAGE )?"
    rf"(?P<name>(?:{_NAME}|\*)(?:\.(?:{_NAME}|\*))?) TO (?P<to>{_ACCOUNT})(?P<rest>.*)",
    re.DOTALL,
)
_PROXY = re.compile(rf"GRANT PROXY ON (?P<name>{_ACCOUNT}) TO (?P<to>{_ACCOUNT})", re.DOTALL)
_ROLES = re.compile(
    rf"GRANT (?P<roles>{_ACCOUNT}(?:, ?{_ACCOUNT})*) TO (?P<to>{_ACCOUNT})(?P<rest>.*)", re.DOTALL
)
# These say how the session begins, or take something away again.
_IGNORED = ("SET DEFAULT ROLE", "REVOKE ")


@dataclass
class Grants:
    """Lines of SHOW GRANTS, and whose they are beside the account's own."""

    lines: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read(cursor) -> Grants:
    """All grants that can come into force.

    Those of the account and of PUBLIC, and those of roles that it may take but has not taken yet.
    """
    grants = Grants()
    _take(cursor, "SHOW GRANTS", grants)
    asked: list[str] = []
    while waiting := [role for line in grants.lines for role in _roles(line) if role not in asked]:
        role = waiting[0]
        asked.append(role)
        # Who may take a role may not always look at it, but sees its grants once it is taken. It
        # is given back with the session.
        seen = _take(cursor, f"SHOW GRANTS FOR {role}", grants) or (
            _take(cursor, f"SET ROLE {role}", grants) and _take(cursor, "SHOW GRANTS", grants)
        )
        # A role of a role is shown with the outer one.
        if not seen and not any(_holder(line) == _bare(role) for line in grants.lines):
            grants.unread.append(role)
    return grants


def _take(cursor, statement: str, grants: Grants) -> bool:
    """Read what a statement shows, if the server lets it."""
    try:
        cursor.execute(statement)
        lines = [row[0] for row in cursor.fetchall()]
    except Exception:  # noqa: BLE001 - the driver is not there to be named
        return False
    grants.lines += [line for line in lines if line not in grants.lines]
    return True


def _holder(line: str) -> str:
    found = _ON.fullmatch(line) or _ROLES.fullmatch(line)
    return _bare(found["to"]) if found else ""


def _roles(line: str) -> list[str]:
    if _ON.fullmatch(line) or _PROXY.match(line):
        return []
    found = _ROLES.fullmatch(line)
    return re.findall(_ACCOUNT, found["roles"]) if found else []


def judge(grants: Grants, own: str) -> tuple[list[Write], list[str]]:
    """Every way to write, and what else there is to know."""
    writes, notes = [], []
    for line in grants.lines:
        if line.startswith(_IGNORED):
            continue
        if found := _PROXY.match(line):
            by = _by(found["to"], own)
            writes.append(Write("act as", "account", found["name"], by))
        elif found := _ON.fullmatch(line):
            can, noted = _privileges(found["privileges"], found["rest"])
            notes += [it for it in noted if it not in notes]
            if can:
                writes.append(_write(found, can, own))
        elif found := _ROLES.fullmatch(line):
            if "WITH ADMIN OPTION" in found["rest"]:
                by = _by(found["to"], own)
                writes.append(Write("pass on", "role", found["roles"], f"{by} WITH ADMIN OPTION"))
        else:
            writes.append(
                Write("do what is not understood", "", "", "by a grant of a kind that is unknown")
            )
    writes += [
        Write("do what can't be seen", "role", role, "its grants can't be read")
        for role in grants.unread
    ]
    return writes, notes


def _privileges(text: str, rest: str) -> tuple[list[str], list[str]]:
    """What of the privileges lets write, and what is to be known of others."""
    can, noted = [], []
    for privilege in re.split(r",\s*(?![^(]*\))", text):
        bare = re.sub(r"\s*\(.*\)\s*$", "", privilege, flags=re.DOTALL).strip().upper()
        if bare in _NOTED:
            noted.append(_NOTED[bare])
        if bare not in _HARMLESS:
            can.append(privilege.strip())
    if "GRANT OPTION" in rest:
        can.append("GRANT OPTION")
    return can, noted


def _write(found: re.Match, can: list[str], own: str) -> Write:
    kind, name = (found["kind"] or "").strip().lower(), found["name"]
    if name == "*.*":
        what, shown = "", "everything"
    elif name.endswith(".*"):
        what, shown = "database", name.removesuffix(".*")
    else:
        what, shown = kind or "table", name
    undo = ""
    if _bare(found["to"]) == "PUBLIC":
        target = f"{found['kind'] or ''}{name}"
        undo = f"REVOKE {', '.join(can)} ON {target} FROM PUBLIC;"
    return Write(", ".join(can), what, shown, _by(found["to"], own), undo)


def _by(to: str, own: str) -> str:
    name = _bare(to)
    if name == "PUBLIC":
        return "granted to PUBLIC"
    if name == own:
        return f"granted to {name}"
    return f"granted to {name}, a role that {own} may take"


def _bare(account: str) -> str:
    """The name in an account, without quotes and host."""
    found = re.match(_NAME, account)
    name = found[0] if found else account
    return name[1:-1] if name[:1] in "`'\"" else name
