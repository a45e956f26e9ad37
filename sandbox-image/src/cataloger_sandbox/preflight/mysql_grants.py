"""What the grants of a MySQL or MariaDB account let it write: read, and judged.

What is not known to be harmless is taken for writing. The text of a grant is never told: MariaDB
has the hash of the password in it.
"""

import re
from dataclasses import dataclass, field

from cataloger_sandbox.preflight.report import Write

# These can't write. A temporary table is not writing; a routine is told apart. Of MySQL's dynamic
# privileges most can: SYSTEM_VARIABLES_ADMIN keeps what it sets in a file, CLONE_ADMIN writes and
# replaces data directories, SESSION_VARIABLES_ADMIN uses up GTIDs, ROLE_ADMIN gives roles away.
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
        "BACKUP_ADMIN",
        "XA_RECOVER_ADMIN",
        "SENSITIVE_VARIABLES_OBSERVER",
        "SERVICE_CONNECTION_ADMIN",
        "AUDIT_ABORT_EXEMPT",
        "FIREWALL_EXEMPT",
    )
)
_NOTED = {
    "BACKUP_ADMIN": "it may lock the server for a backup, which keeps others from altering tables",
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


@dataclass(frozen=True)
class Line:
    """A line of SHOW GRANTS."""

    text: str
    # The role that was taken to see it, where the line itself names the account.
    role: str = ""


@dataclass
class Grants:
    """Lines of SHOW GRANTS, roles whose lines can't be seen, and roles that every account has."""

    lines: list[Line] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    mandatory: list[str] = field(default_factory=list)


def read(cursor) -> Grants:
    """All grants that can come into force.

    Those of the account and of PUBLIC, and those of roles that it may take, taken or not.
    """
    grants = Grants()
    # MySQL shows what active roles have as the account's own, and mandatory roles only here.
    _shown(cursor, "SET ROLE NONE")
    _add(grants, _shown(cursor, "SHOW GRANTS") or [])
    # MariaDB has none.
    for names in _shown(cursor, "SELECT @@GLOBAL.mandatory_roles") or []:
        grants.mandatory += re.findall(_ACCOUNT, names or "")
    asked: list[str] = []
    while waiting := [
        (role, line) for line in grants.lines for role in _roles(line.text) if role not in asked
    ]:
        role, named = waiting[0]
        asked.append(role)
        # Who may take a role may not always look at it, but sees its grants once it is taken. It
        # is given back with the session.
        lines, taken = _shown(cursor, f"SHOW GRANTS FOR {role}"), ""
        if lines is None and _shown(cursor, f"SET ROLE {role}") is not None:
            lines, taken = _shown(cursor, "SHOW GRANTS"), _bare(role)
        _add(grants, lines or [], taken)
        # A role of a role is shown with the outer one.
        shown = named.role or any(_holder(line.text) == _bare(role) for line in grants.lines)
        if lines is None and not shown:
            grants.unread.append(role)
    return grants


def _shown(cursor, statement: str) -> list[str] | None:
    """What a statement shows, if the server lets it."""
    try:
        cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()]
    except Exception:  # noqa: BLE001 - the driver is not there to be named
        return None


def _add(grants: Grants, lines: list[str], role: str = "") -> None:
    known = {line.text for line in grants.lines}
    grants.lines += [Line(text, role) for text in lines if text not in known]


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
    # What the account has of itself, by where: what is more once a role is taken is the role's.
    itself: dict[tuple, list[str]] = {}
    for line in grants.lines:
        text = line.text
        if text.startswith(_IGNORED):
            continue
        if found := _PROXY.match(text):
            writes.append(Write("act as", "account", found["name"], _by(line, found["to"], own)))
        elif found := _ON.fullmatch(text):
            can, noted = _privileges(found["privileges"], found["rest"])
            notes += [it for it in noted if it not in notes]
            before = itself.setdefault((found["kind"], found["name"], found["to"]), [])
            can = [it for it in can if it not in before]
            if not line.role:
                before += can
            if can:
                writes.append(_write(line, found, can, own, grants.mandatory))
        elif found := _ROLES.fullmatch(text):
            if "WITH ADMIN OPTION" in found["rest"]:
                by = _by(line, found["to"], own)
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


def _write(line: Line, found: re.Match, can: list[str], own: str, mandatory: list[str]) -> Write:
    kind, name = (found["kind"] or "").strip().lower(), found["name"]
    if name == "*.*":
        what, shown = "", "everything"
    elif name.endswith(".*"):
        what, shown = "database", name.removesuffix(".*")
    else:
        what, shown = kind or "table", name
    undo = ""
    holder = line.role or _bare(found["to"])
    everybody = {"PUBLIC": "PUBLIC"} | {_bare(it): it for it in mandatory}
    if holder in everybody:
        target = f"{found['kind'] or ''}{name}"
        undo = f"REVOKE {', '.join(can)} ON {target} FROM {everybody[holder]};"
    return Write(", ".join(can), what, shown, _by(line, found["to"], own), undo)


def _by(line: Line, to: str, own: str) -> str:
    name = _bare(to)
    if name == own and line.role:
        name = line.role
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
