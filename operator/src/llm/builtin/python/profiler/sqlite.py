"""SQLite: values have types of their own, whatever the column says."""

import re
import time
from pathlib import PurePath

from profiler.engine import Engine
from profiler.model import CUT, LARGE, Column, Failed, Reference, Table

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}.*)?\Z")
_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
_LOOK = 200


class Sqlite(Engine):
    """Statements are interrupted from within, as SQLite knows no time limit."""

    dialect = "SQLite"
    default_schema = "main"

    def __init__(self, connection) -> None:
        super().__init__(connection)
        # What is no UTF-8 is data, too.
        self.raw.text_factory = lambda raw: raw.decode("utf-8", "replace")

    def version(self) -> str:
        return "SQLite " + self.rows("SELECT sqlite_version()")[0][0]

    def name(self) -> str:
        file = self.rows("PRAGMA database_list")[0][2] or "memory"
        return PurePath(file).name

    def begin(self) -> None:
        if not self.raw.in_transaction:
            self.raw.execute("BEGIN")

    def end(self) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def _rows(self, sql: str, seconds: float) -> list[tuple]:
        until = time.monotonic() + seconds
        self.raw.set_progress_handler(lambda: time.monotonic() > until, 50_000)
        try:
            return self.raw.execute(sql).fetchall()
        finally:
            # Else an interrupt from outside would wait for the end of a query.
            self.raw.set_progress_handler(lambda: 0, 100_000)

    def tables(self) -> list[Table]:
        found = self.rows(
            """SELECT name, type, sql FROM main.sqlite_schema
               WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
               ORDER BY name"""
        )
        return [
            Table("main", name, kind, definition=sql if kind == "view" else None, handle=sql)
            for name, kind, sql in found
        ]

    def describe(self, table: Table) -> None:
        name = self.quote(table.name)
        keys = []
        rowid_alias = False
        for _, column, declared, not_null, default, place, hidden in self.rows(
            f"PRAGMA main.table_xinfo({name})"
        ):
            if place:
                keys.append((place, column))
            rowid_alias = place == 1 and declared.upper() == "INTEGER"
            kind = _declared(declared)
            table.columns.append(
                Column(
                    column,
                    declared or "(no type)",
                    kind,
                    whole="INT" in declared.upper(),
                    floating=kind == "number",
                    not_null=bool(not_null) or rowid_alias,
                    default=default,
                    generated=hidden in (2, 3),
                )
            )
        table.key = [column for _, column in sorted(keys)]
        self._constraints(table, name)
        if not table.is_view:
            table.estimate = self._about(table)
        for column in table.columns:
            self._look(table, column)

    def _constraints(self, table: Table, name: str) -> None:
        for _, index, unique, origin, partial in self.rows(f"PRAGMA main.index_list({name})"):
            parts = self.rows(f"PRAGMA main.index_info({self.quote(index)})")
            columns = [part[2] for part in parts]
            if partial or None in columns:
                continue
            table.indexed.append(columns)
            if unique and origin != "pk" and columns not in table.uniques:
                table.uniques.append(columns)
        found: dict[int, Reference] = {}
        for number, _, to, column, to_column, *_ in self.rows(
            f"PRAGMA main.foreign_key_list({name})"
        ):
            reference = found.setdefault(number, Reference([], ("main", to), []))
            reference.columns.append(column)
            if to_column is not None:
                reference.to_columns.append(to_column)
        for reference in found.values():
            if not reference.to_columns:
                # The parent's key is meant, if there is a parent.
                parent = self.quote(reference.to[1])
                keys = self.rows(f"PRAGMA main.table_xinfo({parent})")
                reference.to_columns = [
                    row[1] for row in sorted(keys, key=lambda row: row[5]) if row[5]
                ]
        table.references = list(reversed(found.values()))

    def _about(self, table: Table) -> int:
        """How many rows there are at most, or that there are many. Cheap, and never shown."""
        try:
            most = self.rows(f"SELECT MAX(rowid) FROM {self.at(table)}", 2)[0][0]
            if most is None:
                return 0
            if isinstance(most, int) and 0 <= most <= LARGE:
                return most
        except Failed:
            pass  # without rowid
        try:
            some = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self.at(table)} LIMIT {LARGE + 1})"
            seen = self.rows(some, 10)[0][0]
        except Failed:
            return LARGE * 10
        if seen <= LARGE:
            return seen
        return max(most if isinstance(most, int) and most < 10**12 else 0, seen)

    def _look(self, table: Table, column: Column) -> None:
        """Which types the first values have, and whether they are dates."""
        name = self.quote(column.name)
        try:
            rows = self.rows(
                f"""SELECT typeof({name}), substr(CAST({name} AS TEXT), 1, 40)
                    FROM (SELECT {name} FROM {self.at(table)} WHERE {name} IS NOT NULL
                          LIMIT {_LOOK})""",
                2,
            )
        except Failed:
            return
        texts = [value for kind, value in rows if kind == "text"]
        kinds = [kind for kind, _ in rows]
        most = max(set(kinds), key=kinds.count) if kinds else ""
        if texts and most == "text" and all(_DATE.match(value) for value in texts):
            column.kind = "time"
        elif column.kind == "time":
            column.kind = "number" if most in {"integer", "real"} else "text"
        elif column.kind == "other" and most:
            column.kind = {"integer": "number", "real": "number", "blob": "blob"}.get(most, "text")
        elif column.kind == "number" and most == "text":
            column.kind = "text"
        column.whole = column.whole or (column.kind == "number" and most == "integer")

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS TEXT)"

    def cut(self, expression: str, length: int = CUT) -> str:
        return f"substr({expression}, 1, {length})"

    def bytes(self, expression: str) -> str:
        return f"LENGTH(CAST({expression} AS BLOB))"

    def date(self, day: str) -> str:
        # As ISO texts, days are in order.
        return f"'{day}'"

    def true(self) -> str:
        return "1"

    def finite(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind == "number":
            # 9e999 is infinity; a comparison with it leaves out texts, too.
            return f"typeof({name}) IN ('integer', 'real') AND abs({name}) < 9e999"
        if column.kind == "time":
            return f"typeof({name}) = 'text' AND {name} GLOB '{_DAY}'"
        return ""

    def aggregates(self, column: Column) -> dict[str, str]:
        out = super().aggregates(column)
        name = self.quote(column.name)
        if column.kind == "number":
            # As text, SQLite would round to 15 digits.
            finite = self.finite(column)
            for fact, function in (("min", "MIN"), ("max", "MAX")):
                out[fact] = f"{function}(CASE WHEN {finite} THEN {name} END)"
            out["infinite"] = f"SUM(typeof({name}) = 'real' AND abs({name}) = 9e999)"
        expected = {
            "number": "'integer', 'real'",
            "text": "'text'",
            "time": "'text'",
            "blob": "'blob'",
            "bool": "'integer'",
        }.get(column.kind)
        if expected:
            out["mixed"] = f"SUM(typeof({name}) NOT IN ({expected}, 'null'))"
        if column.kind == "time":
            out["malformed"] = f"SUM({name} IS NOT NULL AND NOT ({self.finite(column)}))"
        return out

    def lean(self, column: Column) -> dict[str, str]:
        # Each typeof and each comparison costs seconds for ten million rows.
        name = self.quote(column.name)
        out = {"filled": f"COUNT({name})"}
        if self.has_order(column):
            out |= {"min": f"MIN({name})", "max": f"MAX({name})"}
        return out

    def drawn(self, columns: list[Column], rate: float) -> str:
        chosen = f"abs(random()) % 1000000000 < {int(rate * 1e9)}"
        # A function takes at most 127 arguments.
        parts = [
            "json_array(" + ", ".join(self._kept(column) for column in columns[at : at + 100]) + ")"
            for at in range(0, len(columns), 100)
        ]
        return f"json_group_array(json_array({', '.join(parts)})) FILTER (WHERE {chosen})"

    def unpack(self, sample) -> list[list[str | None]]:
        return [[value for part in row for value in part] for row in super().unpack(sample)]

    def fallback(self, table: Table, columns: list[Column], number: int) -> tuple[str, str] | None:
        values = ", ".join(self._kept(column) for column in columns)
        at = self.at(table)
        try:
            least, most = self.rows(
                f"SELECT (SELECT MIN(rowid) FROM {at}), (SELECT MAX(rowid) FROM {at})", 2
            )[0]
        except Failed:
            return None
        if least is None or (most - least) > 100 * LARGE * 10:
            return None
        width = most - least + 1
        own = self.quote("drawn by the profiler")
        keys = f"""WITH RECURSIVE n (i) AS (
                       SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}),
                   k AS (SELECT DISTINCT {least} + abs(random()) % {width} AS {own} FROM n)"""
        return (
            f"{keys} SELECT {values} FROM k CROSS JOIN {at} AS t ON t.rowid = k.{own}",
            "by row numbers drawn evenly between the least and the greatest",
        )


def _declared(declared: str) -> str:
    said = declared.upper()
    if "BOOL" in said:
        return "bool"
    if any(word in said for word in ("DATE", "TIMESTAMP")):
        return "time"
    if "JSON" in said:
        return "json"
    if any(word in said for word in ("CHAR", "CLOB", "TEXT", "UUID", "TIME")):
        return "text"
    if any(word in said for word in ("INT", "REAL", "FLOA", "DOUB", "NUM", "DEC", "MONEY")):
        return "number"
    if "BLOB" in said:
        return "blob"
    return "other"
