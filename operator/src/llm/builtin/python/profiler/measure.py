"""Measures a table: one pass for all columns, then values where the table is small, or a sample."""

import itertools
import math
import time

from profiler import names, spread
from profiler.engine import Engine
from profiler.model import LARGE, Column, Failed, Table
from profiler.sample import summarize

DRAWN = 20_000
CELLS = 400_000
HUGE = 5_000_000  # from so many rows on, a pass tells little more than counts and extremes


class Clock:
    """How much time is left for a call."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self, most: float = 1e9) -> float:
        """Seconds, at most so many; an error if there are none."""
        left = min(most, self._until - time.monotonic())
        if left < 0.2:
            raise Failed("not measured: the time of the call was over", timed_out=True)
        return left


def measure(engine: Engine, table: Table, clock: Clock, large: int = LARGE) -> None:
    """Fill in the facts of a table and its columns. What fails is noted where it failed."""
    began = time.monotonic()
    facts = table.facts
    engine.begin()
    try:
        readable = [column for column in table.columns if column.readable]
        for column in table.columns:
            if not column.readable:
                column.facts["problem"] = "not readable for this role"
        small = _is_small(engine, table, clock, large)
        if small:
            facts["how"] = "exact"
            _pass(engine, table, readable, clock, None)
            if facts.get("rows"):
                for column in readable:
                    _values(engine, table, column, clock)
        else:
            facts["how"] = "sample"
            _large(engine, table, readable, clock)
        for column in table.columns:
            _hide_personal(table, column)
    except Failed as failed:
        facts["problem"] = failed.problem
    finally:
        engine.end()
    facts["seconds"] = round(time.monotonic() - began, 2)


def _is_small(engine: Engine, table: Table, clock: Clock, large: int) -> bool:
    if table.estimate is not None:
        return table.estimate <= large
    # A view, or a table somewhere else: what it costs is not known before.
    some = f"SELECT COUNT(*) FROM (SELECT 1 FROM {engine.at(table)} LIMIT {large + 1}) AS s"
    try:
        return engine.rows(some, clock.left(10))[0][0] <= large
    except Failed as failed:
        if not failed.timed_out:
            raise
        return False


# The pass.


def _pass(engine: Engine, table: Table, columns: list[Column], clock: Clock, drawn: str | None):
    """Count all that one reading of the table gives. Returns the sample, if one was to be drawn."""
    lean = drawn is not None and (table.estimate or 0) > HUGE
    wanted = [(None, "rows", "COUNT(*)")]
    if drawn:
        wanted.append((None, "sample", drawn))
    for column in columns:
        facts = engine.lean(column) if lean else engine.aggregates(column)
        wanted += [(column, fact, sql) for fact, sql in facts.items()]
    sample = None
    limit = 45 if drawn else 30
    for at in range(0, len(wanted), engine.targets if drawn else 500):
        part = wanted[at : at + (engine.targets if drawn else 500)]
        sql = ", ".join(expression for _, _, expression in part)
        try:
            row = engine.rows(f"SELECT {sql} FROM {engine.at(table)}", clock.left(limit))[0]
        except Failed as failed:
            if failed.timed_out or len(part) == 1:
                raise
            row = _apart(engine, table, part, clock)
        for (column, fact, _), value in zip(part, row, strict=True):
            if fact == "sample":
                sample = value
            elif column is None:
                table.facts[fact] = int(value)
            elif value is not None:
                column.facts[fact] = _plain(value)
    rows = table.facts["rows"]
    for column in columns:
        if "filled" in column.facts:
            column.facts["nulls"] = rows - column.facts.pop("filled")
        if lean:
            table.facts["how"] = "lean"
            _heed_types(engine, column)
    return sample


def _heed_types(engine: Engine, column: Column) -> None:
    """Drop extremes that were taken without a look at each value, and are not what they seem."""
    facts = column.facts
    ends = [facts.get(fact) for fact in ("min", "max")]
    numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in ends)
    if column.kind == "number" and engine.dialect == "SQLite" and not numbers:
        facts.pop("min", None)
        facts.pop("max", None)
    if column.kind == "time" and "newest" not in facts:
        if all(isinstance(end, str) and end[:4].isdigit() for end in ends):
            if ends[1] < engine.tomorrow:
                facts["newest"] = ends[1]
        else:
            facts.pop("min", None)
            facts.pop("max", None)


def _apart(engine: Engine, table: Table, part: list, clock: Clock) -> list:
    """A column that fails must not cost the others: each by itself."""
    row = []
    broken = set()
    for column, _, expression in part:
        if column is not None and column.name in broken:
            row.append(None)
            continue
        try:
            sql = f"SELECT {expression} FROM {engine.at(table)}"
            row.append(engine.rows(sql, clock.left(10))[0][0])
        except Failed as failed:
            if column is None:
                raise
            broken.add(column.name)
            column.facts["problem"] = failed.problem
            row.append(None)
    return row


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (str, int, float)):
        return value
    return int(value) if value == int(value) else str(value)


# Values, of a table that may be read more than once.


def _values(engine: Engine, table: Table, column: Column, clock: Clock) -> None:
    facts = column.facts
    filled = table.facts["rows"] - facts.get("nulls", table.facts["rows"])
    if not filled or "problem" in facts or not engine.has_equality(column):
        return
    try:
        if column.kind == "number":
            _quartiles_and_bins(engine, table, column, clock)
            if facts.get("distinct") == filled:
                return
        _frequent(engine, table, column, clock)
        if column.kind == "time":
            _periods(engine, table, column, clock)
    except Failed as failed:
        facts["problem"] = failed.problem


def _frequent(engine: Engine, table: Table, column: Column, clock: Clock) -> None:
    name = engine.quote(column.name)
    rows = engine.rows(
        f"""SELECT {engine.cut(engine.text("v"))}, n, COUNT(*) OVER () FROM (
                SELECT {engine.value(column)} AS v, COUNT(*) AS n FROM {engine.at(table)}
                WHERE {name} IS NOT NULL GROUP BY {name}) AS g
            ORDER BY n DESC, 1 LIMIT {spread.LOOK}""",
        clock.left(20),
    )
    if not rows:
        return
    distinct = int(rows[0][2])
    values = [(str(_plain(value)), int(number)) for value, number, _ in rows if value is not None]
    spread.note_values(column, values, distinct)


def _quartiles_and_bins(engine: Engine, table: Table, column: Column, clock: Clock) -> None:
    facts = column.facts
    name = engine.quote(column.name)
    finite = engine.finite(column) or f"{name} IS NOT NULL"
    odd = facts.get("nan", 0) + facts.get("infinite", 0) + facts.get("mixed", 0)
    number = table.facts["rows"] - facts.get("nulls", 0) - odd
    edges = spread.bin_edges(facts.get("min"), facts.get("max"), column.whole)
    parts = ["COUNT(*)"]
    for quantile in (0.25, 0.5, 0.75):
        rank = max(1, math.ceil(quantile * number))
        value = f"MIN(CASE WHEN s >= {rank} THEN v END)"
        parts.append(value if engine.dialect == "SQLite" else engine.text(value))
    parts += [f"SUM(CASE WHEN v < {edge} THEN n ELSE 0 END)" for edge in edges[1:-1]]
    row = engine.rows(
        f"""WITH g AS (SELECT {engine.value(column)} AS v, COUNT(*) AS n FROM {engine.at(table)}
                       WHERE {finite} GROUP BY {name}),
                 r AS (SELECT v, n, SUM(n) OVER (ORDER BY v) AS s FROM g)
            SELECT {", ".join(parts)} FROM r""",
        clock.left(20),
    )[0]
    # Each kind of what is no real number is one value more.
    facts["distinct"] = int(row[0])
    if odd:
        facts.pop("distinct")
    if row[2] is None:
        return
    facts["quartiles"] = [_plain(value) for value in row[1:4]]
    below = [0, *(int(value or 0) for value in row[4:]), number]
    if len(edges) > 2:
        facts["bins"] = [after - before for before, after in itertools.pairwise(below)]


def _periods(engine: Engine, table: Table, column: Column, clock: Clock) -> None:
    """How many rows there are for each year, month, day or hour, where dates make sense."""
    facts = column.facts
    least, most = str(facts.get("min", "")), str(facts.get("max", ""))
    if facts.get("future") and "newest" in facts:
        most = str(facts["newest"])
    # What is far away may stand for something else: it would press all else together.
    far = bool(facts.get("outside"))
    digits = 7 if far else spread.unit(least, most)
    if not digits:
        return
    name = engine.quote(column.name)
    finite = engine.finite(column) or f"{name} IS NOT NULL"
    if far:
        usual = [f"{name} >= {engine.date('1900-01-02')}", f"{name} < {engine.date('2100-01-01')}"]
        finite = " AND ".join([finite, *usual])
    period = engine.cut(engine.text(name), digits)
    rows = engine.rows(
        f"SELECT {period}, COUNT(*) FROM {engine.at(table)} WHERE {finite} GROUP BY 1",
        clock.left(20),
    )
    counts = {str(_plain(key)): int(number) for key, number in rows}
    if far:
        until = most if "newest" in facts else "9"
        counts = {key: rows for key, rows in counts.items() if key <= until}
        least, most = min(counts, default=""), max(counts, default="")
    if counts:
        spread.fill_periods(facts, counts, least[:digits], most[:digits])


# A large table.


def _large(engine: Engine, table: Table, columns: list[Column], clock: Clock) -> None:
    facts = table.facts
    wanted = max(2000, min(DRAWN, CELLS // max(1, len(columns))))
    rows = []
    if not table.is_view:
        rate = min(1.0, wanted / max(1, table.estimate or 1))
        try:
            drawn = _pass(engine, table, columns, clock, engine.drawn(columns, rate))
            rows = engine.unpack(drawn)
            method = "each row with the same chance, in the pass that counted"
        except Failed as failed:
            if not failed.timed_out:
                raise
            facts["slow"] = failed.problem
            facts.pop("rows", None)
            for column in columns:
                column.facts.clear()
    if "rows" not in facts:
        # Other questions have answers than in a pass: no comparison with one means anything.
        facts["how"] = "few"
        fallback = engine.fallback(table, columns, wanted)
        if not fallback:
            facts["problem"] = facts.pop("slow", None) or "reading it whole takes too long"
            return
        sql, method = fallback
        rows = [list(row) for row in engine.rows(sql, clock.left(20))]
        rows = [[None if v is None else str(_plain(v)) for v in row] for row in rows]
    facts["sample"] = {"rows": len(rows), "method": method}
    population = facts.get("rows") or max(table.estimate or 0, len(rows))
    # Blocks are no rows: an interval would be a lie.
    fair = "blocks" not in method
    for at, column in enumerate(columns):
        values = [row[at] for row in rows]
        summarize(column, values, population, fair=fair, counted="rows" in facts)


# People.


def _hide_personal(table: Table, column: Column) -> None:
    """No value of what may be about a person leaves here, extremes included."""
    facts = column.facts
    by_name = column.kind in {"text", "enum", "time", "other", "array"} and names.is_personal(
        table.name, column.name
    )
    if by_name:
        facts.setdefault("personal", "personal, by its name")
    if "personal" not in facts:
        return
    for fact in ("min", "max", "newest", "bounds", "variants", "quartiles", "top", "unknown"):
        facts.pop(fact, None)
    for fact in ("least_seen", "most_seen", "quartile_bounds"):
        facts.pop(fact, None)
    column.drawn = []
    if column.kind != "number":
        facts.pop("bins", None)
        facts.pop("period", None)
