"""What a survey has found, and its form as JSON. Must not know any database."""

from dataclasses import dataclass, field

# How many names are listed where there are many.
SHOWN = 5


_OF_ALL = "-- What PUBLIC or a mandatory role has every role has. This takes it from all of them:"


class Failure(Exception):
    """Why a run can't begin: what is wrong, and what to do. Holds neither URL nor password."""

    def __init__(self, kind: str, problem: str, advice: str, **more: list) -> None:
        super().__init__(problem)
        self.kind = kind
        self.problem = problem
        self.advice = advice
        self.more = more
        # The name or pattern that it is about, if it is about one.
        self.asked = ""

    def document(self) -> dict:
        """As JSON."""
        told = {"kind": self.kind, "problem": self.problem, "advice": self.advice}
        return told | {name: list(value) for name, value in self.more.items() if value}


@dataclass(frozen=True)
class Relation:
    """A table, or what can be read like one."""

    schema: str
    name: str
    kind: str
    # As SQL writes it, quoted where it must be.
    sql: str
    # The database's own estimate.
    rows: int | None = None
    readable: bool = True
    # It is a part of another one, which stands for it.
    part: bool = False
    # It belongs to the database system, and is meant only by who names its schema.
    system: bool = False

    @property
    def shown(self) -> str:
        """For lists of names."""
        return self.sql


@dataclass(frozen=True)
class Write:
    """One way in which the role can write."""

    # What it can do, such as "INSERT, UPDATE".
    can: str
    # On what kind of thing, such as "table"; empty for all.
    kind: str
    # Which one, as SQL writes it.
    name: str
    # How it comes to it.
    by: str
    # What takes it away, if making another role does not.
    undo: str = ""


@dataclass
class Survey:
    """All that was found."""

    allow_writable: bool = False
    limit: int = 1_000
    engine: str = ""
    version: str = ""
    role: str = ""
    database: str = ""
    tables: list[Relation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    # What makes a role that can only read these tables.
    statements: list[str] = field(default_factory=list)
    # How it was shown that nothing can be written.
    proof: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def document(self) -> dict:
        """As JSON."""
        failures = [failure.document() for failure in self.failures]
        writes = [
            {"can": can, "on": on, "by": by} for (can, by), on in gathered(self.writes).items()
        ]
        if self.writes and not self.allow_writable:
            failures.append(self._refusal(writes))
        return {
            "ok": not failures,
            "engine": self.engine,
            "version": self.version,
            "role": self.role,
            "database": self.database,
            "tables": [
                {"name": table.sql, "kind": table.kind, "rows": table.rows} for table in self.tables
            ],
            "notes": self.notes,
            "proof": [] if self.writes else self.proof,
            "writes": writes,
            "failures": failures,
        }

    def _refusal(self, writes: list[dict]) -> dict:
        # Without a table there is nothing that it could read.
        statements = self.statements if self.tables else []
        how = (
            "by these statements"
            if statements
            else "as will be written here once the tables are found"
        )
        advice = (
            f"Make a role that can only read, {how}, and name it in the URL. Or say allowWritable "
            "in the manifest (--allow-writable), if that risk is taken."
        )
        if undo := list(dict.fromkeys(it.undo for it in self.writes if it.undo)):
            statements = statements and [*statements, _OF_ALL, *undo]
        problem = f"the role {self.role} can write"
        return Failure("writable", problem, advice).document() | {
            "writes": writes,
            "statements": statements,
        }


def gathered(writes: list[Write]) -> dict[tuple[str, str], str]:
    """What can be done alike, and by the same way, told once: by (can, by), on what."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for write in writes:
        names = groups.setdefault((write.can, write.by, write.kind), [])
        if write.name not in names:
            names.append(write.name)
    result: dict[tuple[str, str], str] = {}
    for (can, by, kind), names in groups.items():
        on = f"{kind if len(names) == 1 else _plural(kind)} {several(sorted(names))}".strip()
        key = (can, by)
        result[key] = f"{result[key]}; {on}" if key in result else on
    return result


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s" if kind else ""


def several(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    if len(names) <= SHOWN + 1:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN:,} more"
