"""Which roles of PostgreSQL a session can act as, and how. Must not know what they may do."""

from dataclasses import dataclass

PUBLIC = 0

_ROLES = """
SELECT oid, rolname::text, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolreplication,
       rolname = session_user
FROM pg_roles
"""

_MEMBERS_16 = """
SELECT member, roleid, inherit_option, set_option, admin_option FROM pg_auth_members
"""

# Before 16 every member may become the role, and inheriting is the member's own attribute.
_MEMBERS = """
SELECT m.member, m.roleid, r.rolinherit, true, m.admin_option
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
"""

_OWNER = """
SELECT d.datdba, r.oid, true, false, false
FROM pg_database d, pg_roles r
WHERE d.datname = current_database() AND r.rolname = 'pg_database_owner'
"""


@dataclass(frozen=True)
class Role:
    """A role that the session is, or can act as."""

    oid: int
    name: str
    # From the session's own role to this one.
    way: tuple[str, ...]
    # Its attributes are in force: the session is this role, or may become it.
    becomes: bool
    superuser: bool = False
    createrole: bool = False
    createdb: bool = False
    replication: bool = False

    def by(self, granted: str = "granted") -> str:
        """How the session comes to what this role has."""
        if len(self.way) < 2:
            return f"{granted} to {self.name}" if granted == "granted" else granted
        through = " and ".join(self.way[1:-1])
        through = f" through {through}" if through else ""
        return f"{granted} to {self.name}, of which {self.way[0]} is a member{through}"

    def owns(self) -> str:
        """How the session comes to own what this role owns."""
        if len(self.way) < 2:
            return f"{self.name} owns it"
        return f"{self.name} owns it, of which {self.way[0]} is a member"


def reachable(cursor, version: int) -> tuple[dict[int, Role], list[tuple[str, str]]]:
    """All roles that the session can act as, by oid, its own first, and which it may pass on.

    The latter as pairs of the role and who holds its ADMIN OPTION.
    """
    cursor.execute(_ROLES)
    known = {row[0]: row[1:] for row in cursor.fetchall()}
    cursor.execute(_MEMBERS_16 if version >= 160000 else _MEMBERS)
    edges = cursor.fetchall()
    cursor.execute(_OWNER)
    edges += cursor.fetchall()
    own = next(oid for oid, row in known.items() if row[-1])
    ways: dict[int, tuple[tuple[str, ...], bool]] = {own: ((known[own][0],), True)}
    waiting, passed = [own], []
    while waiting:
        at = waiting.pop(0)
        way, becomes = ways[at]
        for member, role, inherit, set_, admin in edges:
            if member != at or role not in known:
                continue
            if admin:
                passed.append((known[role][0], known[at][0]))
            # Who may pass a role on may give it to itself. One may become what one may become
            # step by step; what is inherited on the way only counts as it is.
            then_becomes = becomes and (set_ or admin)
            if not (inherit or then_becomes):
                continue
            before = ways.get(role)
            if before is None or (then_becomes and not before[1]):
                ways[role] = (before[0] if before else (*way, known[role][0]), then_becomes)
                waiting.append(role)
    roles = {}
    for oid, (way, becomes) in ways.items():
        name, _, superuser, createrole, createdb, replication, _ = known[oid]
        roles[oid] = Role(oid, name, way, becomes, superuser, createrole, createdb, replication)
    return roles, list(dict.fromkeys(passed))
