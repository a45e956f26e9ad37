"""Joins by two or three columns that nobody has declared: named as the other table's whole key.

One of the columns alone says little, so names have to agree for all, and the data for every row.
"""

from dataclasses import dataclass, field

from profiler import names
from profiler.engine import Engine
from profiler.measure import Clock
from profiler.model import Column, Failed, Table

MOST = 3
BROKEN = 0.01


@dataclass
class Composite:
    """Columns that refer to a key of several, as it seems."""

    child: Table
    columns: list[Column]
    parent: Table
    key: list[Column]
    evidence: list[str] = field(default_factory=list)
    possible: bool = False
    orphans: int | None = None
    filled: int | None = None


def found(engine: Engine, tables: list[Table], clock: Clock, large: int) -> list[Composite]:
    """The joins by several columns, proved by the data; of tables that can be read whole."""
    by_name: dict[frozenset, list[tuple[Table, list[Column]]]] = {}
    for parent in tables:
        if parent.is_view:
            continue
        for key in [parent.key, *parent.uniques]:
            columns = [column for column in map(parent.column, key) if column is not None]
            stems = frozenset(names.stem(column.name) for column in columns)
            if 2 <= len(key) <= MOST and len(columns) == len(stems) == len(key):
                by_name.setdefault(stems, []).append((parent, columns))
    wanted = {stem for stems in by_name for stem in stems}
    out = []
    for child in tables:
        own: dict[tuple[str, ...], Column] = {}
        for column in child.columns:
            stem = names.stem(column.name)
            if stem in wanted and column.readable:
                own.setdefault(stem, column)
        for stems, parents in by_name.items():
            if not stems <= own.keys():
                continue
            # Where schemas have the same tables, each refers to its own.
            here = {parent.name for parent, _ in parents if parent.schema == child.schema}
            for parent, key in parents:
                if parent.schema != child.schema and parent.name in here:
                    continue
                join = _joined(child, [own[names.stem(one.name)] for one in key], parent, key)
                if join and _check(engine, join, clock, large):
                    out.append(join)
    return _clear(out)


def _joined(
    child: Table, columns: list[Column], parent: Table, key: list[Column]
) -> Composite | None:
    if child is parent or any(a.kind != b.kind for a, b in zip(columns, key, strict=True)):
        return None
    said = {column.name for column in columns}
    if any(said == set(reference.columns) for reference in child.references):
        return None
    # What every table may have, such as id or year and month, is no key by its name.
    stems = [set(names.stem(column.name)) for column in columns]
    if any(stem <= names.KEYS for stem in stems) or all(stem <= names.MEASURES for stem in stems):
        return None
    join = Composite(child, columns, parent, key, ["same names as the whole key"])
    # Where both have the same key, it is the one that is named after the other.
    if child.is_unique([column.name for column in columns]):
        here, there = names.stem(child.name), names.stem(parent.name)
        if not (len(here) > len(there) and here[: len(there)] == there):
            return None
        join.evidence.append("named after the table")
    return join


def _check(engine: Engine, join: Composite, clock: Clock, large: int) -> bool:
    rows = [table.facts.get("rows") for table in (join.child, join.parent)]
    if None in rows or not all(rows) or max(rows) > large:
        return False
    both = list(zip(join.columns, join.key, strict=True))
    filled = " AND ".join(f"c.{engine.quote(column.name)} IS NOT NULL" for column, _ in both)
    same = " AND ".join(
        f"p.{engine.quote(to.name)} = c.{engine.quote(column.name)}" for column, to in both
    )
    sql = f"""SELECT COUNT(*), SUM(CASE WHEN NOT EXISTS (
                  SELECT 1 FROM {engine.at(join.parent)} AS p WHERE {same}) THEN 1 ELSE 0 END)
              FROM {engine.at(join.child)} AS c WHERE {filled}"""
    try:
        number, orphans = engine.rows(sql, clock.left(10))[0]
    except Failed:
        return False
    join.filled, join.orphans = int(number), int(orphans or 0)
    return join.filled > 0 and join.orphans <= BROKEN * join.filled


def _clear(joins: list[Composite]) -> list[Composite]:
    """Of several keys that fit, none is certain."""
    by_columns: dict[tuple, list[Composite]] = {}
    for join in joins:
        at = (join.child, tuple(sorted(column.name for column in join.columns)))
        by_columns.setdefault(at, []).append(join)
    for rivals in by_columns.values():
        for join in rivals if len({join.parent for join in rivals}) > 1 else ():
            join.possible = True
            others = [one.parent.name for one in rivals if one.parent is not join.parent]
            join.evidence.append(f"{others[0]} would fit, too")
    return joins
