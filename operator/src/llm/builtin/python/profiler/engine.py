"""What all databases have in common: statements with a time limit, names in quotes, aggregates."""

import json
from datetime import UTC, datetime, timedelta

from profiler.model import CUT, Column, Failed, Table


class Engine:
    """A database that is read through its driver, in its own SQL."""

    dialect = ""
    sign = '"'
    # So many expressions may stand in one SELECT.
    targets = 1500
    default_schema = ""
    # Whether the size of a table is what the database believes.
    size_about = False

    def __init__(self, connection) -> None:
        self.raw = connection.con
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        self.tomorrow = tomorrow.isoformat()

    # Statements.

    def rows(self, sql: str, seconds: float = 10.0) -> list[tuple]:
        """What a statement gives, or why it gives nothing."""
        try:
            return self._rows(sql, max(seconds, 0.05))
        except Exception as error:  # noqa: BLE001 - every driver has errors of its own
            text = str(error).strip().splitlines()
            problem = f"{type(error).__name__}: {text[0] if text else ''}"[:200]
            raise Failed(problem, self._timed_out(error)) from None

    def _rows(self, sql: str, seconds: float) -> list[tuple]:
        raise NotImplementedError

    def _timed_out(self, error: Exception) -> bool:
        said = str(error).lower()
        return any(word in said for word in ("timeout", "interrupt", "max_statement_time"))

    def begin(self) -> None:
        """From here on all statements see the same data."""

    def end(self) -> None:
        """Let go of that data."""

    # Names.

    def quote(self, name: str) -> str:
        """A name that means only itself."""
        return self.sign + name.replace(self.sign, self.sign * 2) + self.sign

    def literal(self, text: str) -> str:
        """A text that means only itself."""
        return "'" + text.replace("'", "''") + "'"

    def at(self, table: Table) -> str:
        """A table, in SQL."""
        return f"{self.quote(table.schema)}.{self.quote(table.name)}"

    # What there is.

    def tables(self) -> list[Table]:
        """All tables and views but the system's own, without their columns."""
        raise NotImplementedError

    def describe(self, table: Table) -> None:
        """Fill in columns, keys and the estimate of rows."""
        raise NotImplementedError

    def version(self) -> str:
        """Which server it is."""
        return str(self.rows("SELECT version()")[0][0])

    def name(self) -> str:
        """What the database is called."""
        return str(self.rows("SELECT current_database()")[0][0])

    # Expressions.

    def text(self, expression: str) -> str:
        """As a text."""
        return f"CAST({expression} AS VARCHAR)"

    def cut(self, expression: str, length: int = CUT) -> str:
        """The begin of a text."""
        return f"LEFT({expression}, {length})"

    def letters(self, expression: str) -> str:
        """How many letters a text has."""
        return f"LENGTH({expression})"

    def bytes(self, expression: str) -> str:
        """How many bytes a value has."""
        return f"OCTET_LENGTH({expression})"

    def finite(self, column: Column) -> str:
        """The condition that a value is a real number or date; empty if all are."""
        del column
        return ""

    def value(self, column: Column) -> str:
        """A value, with all of its digits."""
        return self.quote(column.name)

    def shown(self, column: Column) -> str:
        """A value as text, for people."""
        return self.text(self.value(column))

    def has_order(self, column: Column) -> bool:
        """Whether MIN and MAX mean something."""
        return column.kind in {"number", "time", "clock", "text"}

    def has_equality(self, column: Column) -> bool:
        """Whether values can be grouped."""
        return column.kind in {"number", "time", "clock", "text", "bool", "enum", "uuid"}

    def date(self, day: str) -> str:
        """A day, to compare with."""
        return f"DATE '{day}'"

    def aggregates(self, column: Column) -> dict[str, str]:
        """What one pass over the table tells of a column: facts by their names."""
        name = self.quote(column.name)
        out = {"filled": f"COUNT({name})"}
        finite = self.finite(column)

        def only(condition: str) -> str:
            both = f"{finite} AND {condition}" if finite else condition
            return f"SUM(CASE WHEN {both} THEN 1 ELSE 0 END)"

        value = self.value(column)
        value = f"CASE WHEN {finite} THEN {value} END" if finite else value
        if self.has_order(column):
            out["min"] = self.cut(self.text(f"MIN({value})"))
            out["max"] = self.cut(self.text(f"MAX({value})"))
        if column.kind == "number":
            out["zeros"] = only(f"{name} = 0")
            out["negatives"] = only(f"{name} < 0")
        if column.kind == "time":
            out["future"] = only(f"{name} >= {self.date(self.tomorrow)}")
            far = f"{name} < {self.date('1900-01-02')} OR {name} >= {self.date('2100-01-01')}"
            out["outside"] = only(f"({far})")
            past = f"{name} < {self.date(self.tomorrow)}"
            past = f"{finite} AND {past}" if finite else past
            out["newest"] = self.text(f"MAX(CASE WHEN {past} THEN {name} END)")
        if column.kind == "text":
            length = self.letters(name)
            out["shortest"] = f"MIN({length})"
            out["longest"] = f"MAX({length})"
            out["empty"] = f"SUM(CASE WHEN {length} = 0 THEN 1 ELSE 0 END)"
        if column.kind in {"blob", "json"}:
            length = self.bytes(name) if column.kind == "blob" else self.letters(self.text(name))
            out["shortest"] = f"MIN({length})"
            out["longest"] = f"MAX({length})"
        if column.kind == "bool":
            out["trues"] = only(f"{name} = {self.true()}")
        return out

    def lean(self, column: Column) -> dict[str, str]:
        """The least that one pass over a very large table should tell."""
        wanted = {"filled", "min", "max", "newest", "nan", "infinite", "zero_dates"}
        return {fact: sql for fact, sql in self.aggregates(column).items() if fact in wanted}

    def true(self) -> str:
        """Truth."""
        return "TRUE"

    # Samples.

    def drawn(self, columns: list[Column], rate: float) -> str:
        """An aggregate that keeps each row with this chance, as lists of texts."""
        values = ", ".join(self._kept(column) for column in columns)
        return f"ARRAY_AGG(ARRAY[{values}]) FILTER (WHERE RANDOM() < {rate!r})"

    def _kept(self, column: Column) -> str:
        if not column.readable:
            return self.text("NULL")
        if column.kind in {"blob", "json", "array", "other"}:
            return f"CASE WHEN {self.quote(column.name)} IS NULL THEN NULL ELSE '' END"
        return self.cut(self.shown(column))

    def unpack(self, sample) -> list[list[str | None]]:
        """The rows of :meth:`drawn`."""
        if sample is None:
            return []
        if isinstance(sample, str):
            sample = json.loads(sample)
        return [list(row) for row in sample]

    def fallback(self, table: Table, columns: list[Column], number: int) -> tuple[str, str] | None:
        """A statement that draws about so many rows without reading all, and how it does that."""
        del table, columns, number
        return None
