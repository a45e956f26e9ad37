"""MySQL and MariaDB."""

import json

from profiler.engine import Engine
from profiler.model import CUT, LARGE, Column, Failed, Reference, Table

_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "year"}
_FRACTIONS = {"decimal", "float", "double"}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BLOBS = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit"}
_OTHERS = {"date": "time", "datetime": "time", "timestamp": "time", "time": "clock"}
_OTHERS |= {"enum": "enum", "set": "enum", "json": "json", "uuid": "uuid"}
_OTHERS |= {"inet4": "text", "inet6": "text"}


class Mysql(Engine):
    """Distinct values are what the column's collation calls distinct."""

    dialect = "MySQL"
    size_about = True
    sign = "`"

    def __init__(self, connection) -> None:
        super().__init__(connection)
        said = str(self.rows("SELECT version()")[0][0])
        self._maria = "mariadb" in said.lower()
        self.dialect = "MariaDB" if self._maria else "MySQL"
        self._said = said
        self.default_schema = self.rows("SELECT DATABASE()")[0][0] or ""
        # A backslash in a text means what it says; and no other mode, since those that forbid
        # dates such as 2024-00-00 make MySQL take them for 0000-00-00 where it groups.
        self.rows("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'")
        self.rows("SET SESSION group_concat_max_len = 16000000")

    def version(self) -> str:
        return f"{self.dialect} {self._said.split('-')[0]}"

    def name(self) -> str:
        return self.default_schema or "server"

    def begin(self) -> None:
        self.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def end(self) -> None:
        self.rows("ROLLBACK")

    def _rows(self, sql: str, seconds: float) -> list[tuple]:
        limit = (
            f"max_statement_time = {seconds:.3f}"
            if getattr(self, "_maria", False)
            else f"max_execution_time = {int(seconds * 1000)}"
        )
        with self.raw.cursor() as cursor:
            if hasattr(self, "_maria"):
                cursor.execute(f"SET SESSION {limit}")
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _timed_out(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in {1317, 1969, 3024}

    def tables(self) -> list[Table]:
        found = self.rows(
            """SELECT table_schema, table_name, table_type, table_rows, data_length + index_length,
                      table_comment
               FROM information_schema.tables
               WHERE table_schema NOT IN
                   ('mysql', 'information_schema', 'performance_schema', 'sys')
               ORDER BY 1, 2"""
        )
        return [
            Table(
                schema,
                name,
                "view" if kind.endswith("VIEW") else "table",
                estimate=None if rows is None else int(rows),
                size=None if size is None else int(size),
                comment=comment if comment not in ("", "VIEW") else None,
            )
            for schema, name, kind, rows, size, comment in found
        ]

    def describe(self, table: Table) -> None:
        schema, name = self.literal(table.schema), self.literal(table.name)
        here = f"table_schema = {schema} AND table_name = {name}"
        for name, data, shown, null, default, extra, comment in self.rows(
            f"""SELECT column_name, data_type, column_type, is_nullable, column_default, extra,
                       column_comment
                FROM information_schema.columns WHERE {here} ORDER BY ordinal_position"""
        ):
            data = data.lower()
            kind = "number" if data in _NUMBERS | _FRACTIONS else _OTHERS.get(data, "other")
            kind = "text" if data in _TEXTS else "blob" if data in _BLOBS else kind
            default = None if default in (None, "NULL") else str(default)
            table.columns.append(
                Column(
                    name,
                    _text(shown),
                    "bool" if shown == "tinyint(1)" else kind,
                    whole=data in _NUMBERS,
                    single=data == "float",
                    not_null=null == "NO",
                    default=default,
                    generated="GENERATED" in extra.upper() or "auto_increment" in extra,
                    comment=_text(comment) or None,
                )
            )
        if self._maria:
            self._documents(table, here)
        if table.is_view:
            table.definition = _text(
                self.rows(f"SELECT view_definition FROM information_schema.views WHERE {here}")[0][
                    0
                ]
            )
        self._constraints(table, here)
        # The estimate is off by as much as it likes; where it may matter, what there is is counted.
        if not table.is_view and (table.estimate or 0) > LARGE // 10:
            some = f"SELECT COUNT(*) FROM (SELECT 1 FROM {self.at(table)} LIMIT {LARGE + 1}) AS s"
            try:
                seen = self.rows(some, 10)[0][0]
                table.estimate = seen if seen <= LARGE else max(seen, table.estimate)
            except Failed:
                table.estimate = max(table.estimate, LARGE + 1)

    def _documents(self, table: Table, here: str) -> None:
        """MariaDB's JSON is a text with a check that it is."""
        here = here.replace("table_schema", "constraint_schema")
        sql = f"SELECT check_clause FROM information_schema.check_constraints WHERE {here}"
        checks = {_text(clause) for (clause,) in self.rows(sql)}
        for column in table.columns:
            if column.kind == "text" and f"json_valid({self.quote(column.name)})" in checks:
                column.kind = column.type = "json"

    def _constraints(self, table: Table, here: str) -> None:
        indexes: dict[str, tuple[bool, list[str]]] = {}
        for index, open_, column, part in self.rows(
            f"""SELECT index_name, non_unique, column_name, sub_part
                FROM information_schema.statistics WHERE {here} ORDER BY index_name, seq_in_index"""
        ):
            unique, columns = indexes.setdefault(index, (not int(open_), []))
            columns.append(column or "(an expression)")
            if part is not None or column is None:
                indexes[index] = (False, columns)
        for index, (unique, columns) in indexes.items():
            table.indexed.append(columns)
            if index == "PRIMARY":
                table.key = columns
            elif unique and columns not in table.uniques:
                table.uniques.append(columns)
        found: dict[str, Reference] = {}
        for name, column, schema, to, to_column in self.rows(
            f"""SELECT constraint_name, column_name, referenced_table_schema, referenced_table_name,
                       referenced_column_name
                FROM information_schema.key_column_usage
                WHERE {here} AND referenced_table_name IS NOT NULL
                ORDER BY constraint_name, ordinal_position"""
        ):
            reference = found.setdefault(name, Reference([], (schema, to), []))
            reference.columns.append(column)
            reference.to_columns.append(to_column)
        table.references = list(found.values())

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS CHAR)"

    def letters(self, expression: str) -> str:
        return f"CHAR_LENGTH({expression})"

    def cut(self, expression: str, length: int = CUT) -> str:
        return f"LEFT({expression}, {length})"

    def date(self, day: str) -> str:
        return f"'{day}'"

    def value(self, column: Column) -> str:
        # As text, the server would round a number of 32 bits to six digits.
        name = self.quote(column.name)
        return f"({name} + 0e0)" if column.single else name

    def finite(self, column: Column) -> str:
        if column.kind == "time":
            # 0000-00-00 is less than any date, and NULL to "IS NULL".
            return f"{self.quote(column.name)} >= '0001-01-01'"
        return ""

    def aggregates(self, column: Column) -> dict[str, str]:
        out = super().aggregates(column)
        if column.kind == "time":
            name = self.quote(column.name)
            out["zero_dates"] = (
                f"COUNT({name}) - SUM(CASE WHEN {self.finite(column)} THEN 1 ELSE 0 END)"
            )
        return out

    def drawn(self, columns: list[Column], rate: float) -> str:
        values = ", ".join(self._kept(column) for column in columns)
        row = f"CASE WHEN RAND() < {rate!r} THEN JSON_ARRAY({values}) END"
        return f"GROUP_CONCAT({row} SEPARATOR '\n')"

    def unpack(self, sample) -> list[list[str | None]]:
        out = []
        for line in _text(sample or "").split("\n"):
            try:
                out.append(json.loads(line))
            except ValueError:
                pass  # the last, if it was cut
        return out


def _text(value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
