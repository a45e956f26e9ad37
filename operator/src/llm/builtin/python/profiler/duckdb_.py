"""DuckDB."""

import re
import threading

from profiler.engine import Engine
from profiler.model import Column, Reference, Table

_WHOLE = re.compile(r"U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)\Z")
_SIMPLE = {"VARCHAR": "text", "BOOLEAN": "bool", "UUID": "uuid", "JSON": "json", "BLOB": "blob"}
_SIMPLE |= {"DATE": "time", "TIME": "clock", "INTERVAL": "other", "BIT": "other", "FLOAT": "number"}
_SIMPLE |= {"DOUBLE": "number", "TIME WITH TIME ZONE": "clock"}


class Duckdb(Engine):
    """Statements are interrupted by a timer: DuckDB has no limit of its own."""

    dialect = "DuckDB"
    default_schema = "main"

    def __init__(self, connection) -> None:
        self._inside = False
        super().__init__(connection)

    def version(self) -> str:
        return "DuckDB " + self.rows("SELECT version()")[0][0].lstrip("v")

    def begin(self) -> None:
        self.raw.execute("BEGIN TRANSACTION")
        self._inside = True

    def end(self) -> None:
        self._inside = False
        self.raw.execute("ROLLBACK")

    def _rows(self, sql: str, seconds: float) -> list[tuple]:
        timer = threading.Timer(seconds, self.raw.interrupt)
        timer.daemon = True
        timer.start()
        try:
            return self.raw.execute(sql).fetchall()
        except Exception:
            if self._inside:
                # An error ends the transaction. Who reads a file keeps others from writing it,
                # so that the next one sees the same.
                self.raw.execute("ROLLBACK")
                self.raw.execute("BEGIN TRANSACTION")
            raise
        finally:
            timer.cancel()

    def tables(self) -> list[Table]:
        found = self.rows(
            """SELECT schema_name, table_name, 'table', estimated_size, comment, NULL
               FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal
               UNION ALL
               SELECT schema_name, view_name, 'view', NULL, comment, sql
               FROM duckdb_views() WHERE database_name = current_database() AND NOT internal
               ORDER BY 1, 2"""
        )
        return [
            Table(schema, name, kind, estimate=size, comment=comment, definition=sql)
            for schema, name, kind, size, comment, sql in found
        ]

    def describe(self, table: Table) -> None:
        here = (
            f"database_name = current_database() AND schema_name = {self.literal(table.schema)} "
            f"AND table_name = {self.literal(table.name)}"
        )
        for name, shown, null, default, comment in self.rows(
            f"""SELECT column_name, data_type, is_nullable, column_default, comment
                FROM duckdb_columns() WHERE {here} ORDER BY column_index"""
        ):
            kind = _kind(shown)
            table.columns.append(
                Column(
                    name,
                    shown,
                    kind,
                    whole=bool(_WHOLE.match(shown)),
                    floating=shown in {"FLOAT", "DOUBLE"},
                    not_null=not null,
                    default=default,
                    comment=comment,
                )
            )
        for kind, columns, to, to_columns in self.rows(
            f"""SELECT constraint_type, constraint_column_names, referenced_table,
                       referenced_column_names
                FROM duckdb_constraints() WHERE {here} ORDER BY constraint_index"""
        ):
            if kind == "PRIMARY KEY":
                table.key = list(columns)
            elif kind == "UNIQUE":
                table.uniques.append(list(columns))
            elif kind == "FOREIGN KEY":
                table.references.append(
                    Reference(list(columns), (table.schema, to), list(to_columns), enforced=True)
                )
        if table.kind == "table":
            # That is nearly free here, and the estimate counts what was deleted.
            table.estimate = self.rows(f"SELECT COUNT(*) FROM {self.at(table)}")[0][0]

    def finite(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind == "time" or column.floating:
            return f"isfinite({name})"
        return ""

    def aggregates(self, column: Column) -> dict[str, str]:
        out = super().aggregates(column)
        name = self.quote(column.name)
        if column.kind == "number" and column.floating:
            out["nan"] = f"COUNT(*) FILTER (WHERE isnan({name}))"
            out["infinite"] = f"COUNT(*) FILTER (WHERE isinf({name}))"
        if column.kind == "time":
            out["infinite"] = f"COUNT(*) FILTER (WHERE isinf({name}))"
        if column.kind == "array":
            out["shortest"] = f"MIN(len({name}))"
            out["longest"] = f"MAX(len({name}))"
        return out

    def drawn(self, columns: list[Column], rate: float) -> str:
        values = ", ".join(self._kept(column) for column in columns)
        return f"LIST([{values}]) FILTER (WHERE RANDOM() < {rate!r})"

    def fallback(self, table: Table, columns: list[Column], number: int) -> tuple[str, str] | None:
        if table.is_view:
            return None
        values = ", ".join(self._kept(column) for column in columns)
        sample = (
            f"(SELECT * FROM {self.at(table)} USING SAMPLE reservoir({number} ROWS) REPEATABLE (1))"
        )
        return (f"SELECT {values} FROM {sample} AS s", "as a reservoir")

    def bytes(self, expression: str) -> str:
        return f"OCTET_LENGTH({expression})"


def _kind(shown: str) -> str:
    if shown in _SIMPLE:
        return _SIMPLE[shown]
    if shown.endswith("]"):
        return "array"
    if _WHOLE.match(shown) or shown.startswith("DECIMAL"):
        return "number"
    if shown.startswith("ENUM("):
        return "enum"
    if shown.startswith("TIMESTAMP"):
        return "time"
    return "other"
