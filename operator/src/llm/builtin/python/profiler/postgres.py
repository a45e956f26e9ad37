"""PostgreSQL."""

from profiler.engine import Engine
from profiler.model import Column, Reference, Table

_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view"}
_KINDS["f"] = "foreign table"
_WHOLE = {"int2", "int4", "int8", "oid"}
_FLOATING = {"float4", "float8", "numeric"}
_TIMES = {"date", "timestamp", "timestamptz"}
_TEXTS = {"text", "varchar", "bpchar", "char", "name", "citext"}
_OTHERS = {"bool": "bool", "uuid": "uuid", "json": "json", "jsonb": "json", "bytea": "blob"}
_OTHERS |= {"time": "clock", "timetz": "clock", "interval": "clock"}


class Postgres(Engine):
    """A transaction for a table, a savepoint for every statement: an error costs only itself."""

    dialect = "PostgreSQL"
    default_schema = "public"

    def __init__(self, connection) -> None:
        super().__init__(connection)
        self._inside = False
        self._limit = 0

    def version(self) -> str:
        return "PostgreSQL " + str(self.rows("SHOW server_version")[0][0])

    def begin(self) -> None:
        self.raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.raw.execute("SET LOCAL lock_timeout = '2s'")
        self.raw.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        self.raw.execute("SET LOCAL TIME ZONE 'UTC'")
        self.raw.execute("SET LOCAL extra_float_digits = 1")
        self._inside, self._limit = True, 0

    def end(self) -> None:
        self._inside = False
        self.raw.execute("ROLLBACK")

    def _rows(self, sql: str, seconds: float) -> list[tuple]:
        if not self._inside:
            return self.raw.execute(sql).fetchall()
        limit = max(1, int(seconds * 1000))
        if limit != self._limit:
            self.raw.execute(f"SET LOCAL statement_timeout = {limit}")
            self._limit = limit
        self.raw.execute("SAVEPOINT look")
        try:
            return self.raw.execute(sql).fetchall()
        except Exception:
            self.raw.execute("ROLLBACK TO SAVEPOINT look")
            self._limit = 0
            raise
        finally:
            self.raw.execute("RELEASE SAVEPOINT look")

    def tables(self) -> list[Table]:
        found = self.rows(
            """SELECT n.nspname, c.relname, c.relkind::text, c.oid::bigint, c.reltuples::float8,
                      c.relpages, pg_catalog.obj_description(c.oid, 'pg_class')
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                 AND n.nspname !~ '^pg_(toast|temp)' AND NOT c.relispartition
               ORDER BY 1, 2"""
        )
        return [
            Table(schema, name, _KINDS[kind], comment=comment, handle=(oid, tuples, pages))
            for schema, name, kind, oid, tuples, pages, comment in found
        ]

    def describe(self, table: Table) -> None:
        oid, tuples, pages = table.handle
        if table.kind in {"table", "materialized view", "partitioned table"}:
            size = self.rows(
                f"""SELECT sum(pg_catalog.pg_relation_size(relid)),
                           sum(pg_catalog.pg_total_relation_size(relid))
                    FROM (SELECT relid FROM pg_catalog.pg_partition_tree({oid})
                          UNION SELECT {oid}) AS parts"""
            )[0]
            heap, table.size = int(size[0] or 0), int(size[1] or 0)
            now = heap / 8192
            table.estimate = int(tuples / pages * now if tuples > 0 and pages > 0 else heap / 60)
        if table.is_view or table.kind == "materialized view":
            table.definition = self.rows(f"SELECT pg_catalog.pg_get_viewdef({oid}::oid)")[0][0]
        columns = self.rows(
            f"""SELECT a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                       -- From 18 on it may be said of rows to come only.
                       a.attnotnull AND NOT EXISTS (
                           SELECT FROM pg_catalog.pg_constraint k
                           WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                             AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
                       pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                       a.attgenerated::text <> '' OR a.attidentity::text <> '',
                       pg_catalog.col_description(a.attrelid, a.attnum),
                       coalesce(b.typname, t.typname), t.typtype::text, t.typcategory::text,
                       pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT')
                FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND t.typbasetype <> 0
                LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped
                ORDER BY a.attnum"""
        )
        numbers = {}
        for (
            number,
            name,
            shown,
            not_null,
            default,
            generated,
            comment,
            base,
            kind,
            category,
            may,
        ) in columns:
            numbers[number] = name
            table.columns.append(
                Column(
                    name,
                    shown,
                    _kind(base, kind, category),
                    whole=base in _WHOLE,
                    floating=base in _FLOATING,
                    not_null=bool(not_null),
                    default=default,
                    generated=bool(generated),
                    comment=comment,
                    readable=bool(may),
                )
            )
        self._constraints(table, oid, numbers)

    def _constraints(self, table: Table, oid: int, numbers: dict[int, str]) -> None:
        found = self.rows(
            f"""SELECT k.contype::text, k.conkey::int[], n.nspname, c.relname, k.convalidated,
                       ARRAY(SELECT a.attname::text
                             FROM unnest(k.confkey) WITH ORDINALITY f(num, at)
                             JOIN pg_catalog.pg_attribute a
                               ON a.attrelid = k.confrelid AND a.attnum = f.num ORDER BY f.at)
                FROM pg_catalog.pg_constraint k
                LEFT JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
                LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE k.conrelid = {oid} AND k.contype IN ('p', 'u', 'f') ORDER BY k.conname"""
        )
        for kind, places, schema, name, validated, to in found:
            columns = [numbers[place] for place in places]
            if kind == "p":
                table.key = columns
            elif kind == "u":
                table.uniques.append(columns)
            else:
                table.references.append(Reference(columns, (schema, name), to, bool(validated)))
        indexes = self.rows(
            f"""SELECT indisunique, string_to_array(indkey::text, ' ')::int[], indnkeyatts
                FROM pg_catalog.pg_index
                WHERE indrelid = {oid} AND indisvalid AND indpred IS NULL AND indexprs IS NULL"""
        )
        for unique, places, number in indexes:
            columns = [numbers.get(place, "") for place in places[:number]]
            table.indexed.append(columns)
            if unique and columns != table.key and columns not in table.uniques:
                table.uniques.append(columns)

    def text(self, expression: str) -> str:
        return f"({expression})::text"

    def finite(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind == "time":
            return f"isfinite({name})"
        if column.floating:
            return f"{name} NOT IN ('NaN', 'Infinity', '-Infinity')"
        return ""

    def aggregates(self, column: Column) -> dict[str, str]:
        out = super().aggregates(column)
        name = self.quote(column.name)
        if column.kind == "number" and column.floating:
            out["nan"] = f"COUNT(*) FILTER (WHERE {name} = 'NaN')"
            out["infinite"] = f"COUNT(*) FILTER (WHERE {name} IN ('Infinity', '-Infinity'))"
        if column.kind == "time":
            out["infinite"] = f"COUNT(*) FILTER (WHERE NOT isfinite({name}))"
        if column.kind == "array":
            out["shortest"] = f"MIN(cardinality({name}))"
            out["longest"] = f"MAX(cardinality({name}))"
        return out

    def fallback(self, table: Table, columns: list[Column], number: int) -> tuple[str, str] | None:
        if table.kind != "table" or not table.estimate:
            return None
        percent = min(100.0, number * 100.0 / table.estimate)
        values = ", ".join(self._kept(column) for column in columns)
        return (
            f"SELECT {values} FROM {self.at(table)} TABLESAMPLE SYSTEM ({percent!r})",
            "by whole blocks (TABLESAMPLE SYSTEM): neighbours come together",
        )


def _kind(base: str, kind: str, category: str) -> str:
    if kind == "e":
        return "enum"
    if base in _WHOLE or base in _FLOATING:
        return "number"
    if base in _TIMES:
        return "time"
    if base in _TEXTS:
        return "text"
    return _OTHERS.get(base) or ("array" if category == "A" else "other")
