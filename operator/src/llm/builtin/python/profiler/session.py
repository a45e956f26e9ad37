"""What the cells call: look around, measure tables, find joins. Facts come out as lines of JSON.

A result is cut when it is long, so what does not fit into one waits for ``more(number)``.
"""

import difflib
import fnmatch
import json
import re
import struct
from datetime import UTC, datetime

from profiler import composites
from profiler import joins as joining
from profiler.duckdb_ import Duckdb
from profiler.engine import Engine
from profiler.measure import Clock, measure
from profiler.model import LARGE, Column, Failed, Reference, Table
from profiler.mysql import Mysql
from profiler.postgres import Postgres
from profiler.sqlite import Sqlite

# A result may have 16 KiB.
PAGE = 14_000
# How long a text in a fact may be.
LONGEST = 400

_SPELLED = re.compile(r"\\u\{([0-9a-f]{1,6})\}")

_ENGINES = {"postgres": Postgres, "mysql": Mysql, "sqlite": Sqlite, "duckdb": Duckdb}


class Session:
    """The state of an exploration, from cell to cell."""

    def __init__(self, connection, seconds: float, large: int = LARGE) -> None:
        self.engine: Engine = _ENGINES[connection.name](connection)
        self.seconds = max(2.0, seconds * 0.85)
        self.large = large
        self.tables: list[Table] = []
        self.pages: dict[str, list[str]] = {}

    # What the cells call.

    def survey(self, wanted: list[str]) -> None:
        """Find the tables that are meant, and tell what the database itself knows of them."""
        clock = Clock(self.seconds)
        lines = [
            {
                "record": "database",
                "name": self.engine.name(),
                "version": self.engine.version(),
                "began": _now(),
            }
        ]
        all_tables = self.engine.tables()
        chosen: dict[tuple[str, str], Table] = {}
        for pattern in wanted:
            matches = _matches(pattern, all_tables, self.engine.default_schema)
            for table in matches:
                chosen.setdefault(table.at, table)
            if not matches:
                lines.append(
                    {"record": "missing", "name": pattern, "near": _near(pattern, all_tables)}
                )
        self.tables = list(chosen.values())
        for number, table in enumerate(self.tables):
            try:
                clock.left()
                self.engine.describe(table)
            except Failed as failed:
                table.facts["problem"] = failed.problem
            lines.append(
                {
                    "record": "found",
                    "table": number,
                    "schema": table.schema,
                    "name": table.name,
                    "columns": len(table.columns),
                    "estimate": table.estimate,
                }
            )
        self._tell("survey", lines)

    def profile(self, *numbers: int) -> None:
        """Measure these tables."""
        clock = Clock(self.seconds)
        lines = []
        for number in numbers:
            table = self.tables[number]
            if "problem" not in table.facts:
                table.facts["at"] = _now()
                measure(self.engine, table, clock, self.large)
            lines += self._facts(number, table)
        self._tell(f"tables {' '.join(map(str, numbers))}", lines)

    def relate(self) -> None:
        """Prove the references that are declared, and find those that are not."""
        clock = Clock(self.seconds)
        lines = []
        self.engine.begin()
        try:
            for table in self.tables:
                lines += [self._declared(table, reference, clock) for reference in table.references]
            lines += [
                {
                    "record": "reference",
                    "table": self.tables.index(join.child),
                    "columns": [join.column.name],
                    "to": [join.parent.schema, join.parent.name],
                    "to_columns": [join.key.name],
                    "found": True,
                    "possible": join.score < joining.REPORT,
                    "score": join.score,
                    "evidence": join.evidence,
                    "orphans": join.orphans,
                    "filled": join.filled,
                    "sampled": join.sampled,
                }
                for join in joining.found(self.engine, self.tables, clock)
            ]
            lines += [
                {
                    "record": "reference",
                    "table": self.tables.index(join.child),
                    "columns": [column.name for column in join.columns],
                    "to": [join.parent.schema, join.parent.name],
                    "to_columns": [column.name for column in join.key],
                    "found": True,
                    "possible": join.possible,
                    "evidence": join.evidence,
                    "orphans": join.orphans,
                    "filled": join.filled,
                }
                for join in composites.found(self.engine, self.tables, clock, self.large)
            ]
            lines.append({"record": "related"})
        finally:
            self.engine.end()
        self._tell("references", lines)

    def more(self, page: str) -> None:
        """Print this page of facts."""
        print("\n".join(self.pages[page]))

    # Telling.

    def _tell(self, what: str, records: list[dict]) -> None:
        """Print the first page of these facts, and what the other ones are called."""
        pages: list[list[str]] = [[]]
        size = 0
        for record in records:
            line = _line(record)
            if size + len(line) > PAGE and pages[-1]:
                pages.append([])
                size = 0
            pages[-1].append(line)
            size += len(line) + 1
        others = {f"{what}, {number}": page for number, page in enumerate(pages) if number}
        self.pages |= others
        end = {"record": "end", "more": list(others)}
        print("\n".join([*pages[0], json.dumps(end, separators=(",", ":"))]))

    def _facts(self, number: int, table: Table) -> list[dict]:
        head = {
            "record": "table",
            "table": number,
            "schema": table.schema,
            "name": table.name,
            "kind": table.kind,
            "estimate": table.estimate if table.facts.get("rows") is None else None,
            "size": table.size,
            "size_about": self.engine.size_about,
            "comment": table.comment,
            "definition": table.definition,
            "key": table.key,
            "uniques": table.uniques[:10],
            "indexes": len(table.indexed),
        } | table.facts
        columns = [self._column(number, table, column) for column in table.columns]
        return [head, *(column | {"place": place} for place, column in enumerate(columns))]

    def _column(self, number: int, table: Table, column: Column) -> dict:
        out = {"record": "column", "table": number, "name": column.name, "type": column.type}
        out |= {
            "kind": column.kind,
            "not_null": column.not_null
            or (column.name in table.key and self.engine.dialect != "SQLite"),
            "unique": [column.name] in [table.key, *table.uniques],
            "default": column.default,
            "generated": column.generated,
            "comment": column.comment,
        }
        ends = {
            fact: _digits(column, value)
            for fact, value in column.facts.items()
            if fact in {"min", "max", "quartiles", "least_seen", "most_seen", "quartile_bounds"}
        }
        if column.single and "top" in column.facts:
            ends["top"] = [[_digits(column, top[0]), *top[1:]] for top in column.facts["top"]]
        return out | column.facts | ends

    def _declared(self, table: Table, reference: Reference, clock: Clock) -> dict:
        out = {
            "record": "reference",
            "table": self.tables.index(table),
            "columns": reference.columns,
            "to": list(reference.to),
            "to_columns": reference.to_columns,
            "enforced": reference.enforced,
        }
        rows = table.facts.get("rows")
        if reference.enforced or rows is None or rows > self.large:
            return out
        engine = self.engine
        both = list(zip(reference.columns, reference.to_columns, strict=False))
        filled = " AND ".join(f"c.{engine.quote(column)} IS NOT NULL" for column, _ in both)
        same = " AND ".join(
            f"p.{engine.quote(to)} = c.{engine.quote(column)}" for column, to in both
        )
        parent = engine.at(Table(*reference.to))
        try:
            found = engine.rows(
                f"""SELECT COUNT(*), SUM(CASE WHEN NOT EXISTS (
                        SELECT 1 FROM {parent} AS p WHERE {same}) THEN 1 ELSE 0 END)
                    FROM {engine.at(table)} AS c WHERE {filled}""",
                clock.left(15),
            )[0]
            out |= {"filled": int(found[0]), "orphans": int(found[1] or 0)}
        except Failed as failed:
            out["problem"] = failed.problem
        return out


def _digits(column: Column, value):
    """Numbers with a fraction as text, with the digits that tell them apart, and no others."""
    if isinstance(value, list):
        return [_digits(column, one) for one in value]
    if column.single:
        exact = float(value)
        short = (f"{exact:.{digits}g}" for digits in range(6, 10))
        same = (
            text for text in short if struct.unpack("f", struct.pack("f", float(text)))[0] == exact
        )
        return next(same, repr(exact))
    # Who reads numbers might round them.
    return repr(value) if isinstance(value, float) else value


def _line(record: dict) -> str:
    """A fact as a line that fits into a result, whatever its texts are made of."""
    line = ""
    for longest in (LONGEST, 80, 20):
        line = json.dumps(_short(plain_record(record), longest), separators=(",", ":"))
        if len(line) <= PAGE:
            break
    return line


def plain_record(record: dict) -> dict:
    """A record without what is empty; zeros stay, they were counted."""
    return {
        name: value
        for name, value in record.items()
        if value is not None and value is not False and value not in ("", [], {})
    }


def _short(value, longest: int = LONGEST):
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + "…"
    if isinstance(value, list):
        return [_short(item, longest) for item in value]
    if isinstance(value, dict):
        return {name: _short(item, longest) for name, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value


def _matches(pattern: str, tables: list[Table], default: str) -> list[Table]:
    """The tables that a name or pattern means. A bare name means the default schema's first."""
    found = _meant(pattern, tables, default)
    # What can't be seen in a name was spelled out where it was told.
    plain = _SPELLED.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), pattern)
    return found or (_meant(plain, tables, default) if plain != pattern else [])


def _meant(pattern: str, tables: list[Table], default: str) -> list[Table]:
    exact = [
        table
        for table in tables
        if f"{table.schema}.{table.name}" == pattern
        or [table.schema, table.name] == _parts(pattern)
    ]
    bare = [table for table in tables if table.name == pattern or [table.name] == _parts(pattern)]
    bare.sort(key=lambda table: table.schema != default)
    if exact or bare:
        return exact or bare[:1]
    folded = pattern.casefold()
    for table in tables:
        if folded in (table.name.casefold(), f"{table.schema}.{table.name}".casefold()):
            return [table]
    if not set(pattern) & set("*?"):
        return []
    # No sets in brackets: they may be part of a name.
    glob = pattern.replace("[", "[[]")
    return [
        table
        for table in tables
        if fnmatch.fnmatchcase(f"{table.schema}.{table.name}", glob)
        or (
            "." not in pattern and table.schema == default and fnmatch.fnmatchcase(table.name, glob)
        )
    ]


def _parts(pattern: str) -> list[str]:
    """The parts of a name of which odd ones stand in quotes; none of one that is no such name."""
    part = r'"(?:[^"]|"")+"|`(?:[^`]|``)+`|[^."`]+'
    if not re.fullmatch(rf"(?:{part})(?:\.(?:{part}))*", pattern):
        return []
    return [
        found[1:-1].replace(found[0] * 2, found[0]) if found[0] in '"`' else found
        for found in re.findall(part, pattern)
    ]


def _near(pattern: str, tables: list[Table]) -> list[str]:
    known = {f"{table.schema}.{table.name}" for table in tables} | {table.name for table in tables}
    return difflib.get_close_matches(pattern, sorted(known), 3, 0.6)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
