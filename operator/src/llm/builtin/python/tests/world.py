"""A database made from a seed, with all that real ones hold: every value of it is known.

``python world.py <engine> <url> <seed>`` makes it. Checks make the same values again.
"""

import json
import math
import random
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import unquote, urlsplit

ENGINES = ("sqlite", "duckdb", "postgres", "mariadb")
# Too large to be measured whole: its truth is what plain queries say.
BIG = 1_080_000
# Names that are hard to quote, to show and to compare.
NAMES = [
    "we ird", 'a"b', "a`b", "Ünï☃", "select", "x'; DROP TABLE things; --", "a.b", "%s %(x)s {y}",
    "\\", "<b>&amp;", "\u202eevil", "名前", "1st", "données\u00a0x",
]  # fmt: skip


@dataclass
class Column:
    """A column and all of its values."""

    name: str
    kind: str  # number, text, enum, bool, time, clock, blob, json, array, uuid
    type: str
    values: list


@dataclass
class Table:
    """A table."""

    name: str
    columns: list[Column]
    rows: int
    key: list[str] = field(default_factory=list)
    uniques: list[list[str]] = field(default_factory=list)
    view: str = ""  # its query


@dataclass
class World:
    """Tables, and what refers to what."""

    engine: str
    tables: list[Table]
    # (child, columns, parent, columns): declared, and those whose constraint is not there.
    declared: set[tuple] = field(default_factory=set)
    dropped: set[tuple] = field(default_factory=set)
    # How many rows of a dropped one refer to nothing.
    orphans: dict[tuple, int] = field(default_factory=dict)


def quoted(engine: str, name: str) -> str:
    """A name in SQL."""
    sign = "`" if engine == "mariadb" else '"'
    return sign + name.replace(sign, sign * 2) + sign


def literal(engine: str, value) -> str:
    """A value in SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value)) if engine == "sqlite" else str(value).upper()
    if isinstance(value, float) and not math.isfinite(value):
        if engine == "sqlite":
            return "9e999" if value > 0 else "-9e999"
        return f"'{value}'"
    if isinstance(value, (int, float, Decimal)):
        return repr(value) if isinstance(value, float) else str(value)
    if isinstance(value, bytes):
        if engine == "postgres":
            return f"'\\x{value.hex()}'"
        if engine == "duckdb":
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        return f"x'{value.hex()}'"
    if isinstance(value, list):
        inner = ", ".join(literal(engine, one) for one in value)
        return f"[{inner}]" if engine == "duckdb" else f"'{{{inner}}}'"
    return "'" + str(value).replace("'", "''") + "'"


class _Maker:
    def __init__(self, engine: str, seed: int) -> None:
        self.engine = engine
        self.dice = random.Random(f"{engine} {seed}")
        self.world = World(engine, [])

    def type(self, **types: str) -> str:
        return types.get(self.engine) or types["other"]

    def some(self, number: int, make, null: float = 0.0) -> list:
        return [None if self.dice.random() < null else make() for _ in range(number)]

    def things(self, name: str) -> None:
        """A table of all types."""
        dice, engine, number = self.dice, self.engine, self.dice.randint(300, 900)
        nulls = dice.uniform(0.05, 0.6)
        far = datetime.now(UTC).date() + timedelta(days=400)
        first = date(2015, 1, 1)

        def day() -> str:
            return (first + timedelta(days=dice.randint(0, 3000))).isoformat()

        odd_days = ["0001-01-01", "1899-12-31", "9999-12-31", far.isoformat(), "2100-01-01"]
        odd_days += ["infinity"] if engine in ("postgres", "duckdb") else []
        odd_days += ["0000-00-00"] if engine == "mariadb" else []
        odd_numbers = [math.inf, -math.inf] if engine != "mariadb" else []
        odd_numbers += [math.nan] if engine in ("postgres", "duckdb") else []
        flags = dice.uniform(0.02, 0.98)
        long = self.type(mariadb="VARCHAR(400)", other="VARCHAR(400)")
        double = self.type(sqlite="REAL", mariadb="DOUBLE", other="DOUBLE PRECISION")
        columns = [
            Column("id", "number", "INTEGER NOT NULL", list(range(1, number + 1))),
            Column("whole", "number", "INTEGER",
                   self.some(number, lambda: dice.randint(-40, 900), nulls)),
            Column("part", "number", self.type(sqlite="NUMERIC", other="DECIMAL(12,3)"),
                   self.some(number, lambda: Decimal(dice.randint(-10**6, 10**7)) / 1000
                             if engine != "sqlite" else dice.randint(-10**6, 10**7) / 1000)),
            Column("tiny", "number", double, self.some(number, lambda: dice.random() * 1e-7, 0.1)),
            Column("vast", "number", double, self.some(number, lambda: dice.gauss(0, 1) * 1e200)),
            Column("single", "number", self.type(sqlite="REAL", other="FLOAT", postgres="REAL"),
                   self.some(number, lambda: float(dice.randint(2**20, 2**24)), 0.2)),
            Column("great", "number", "BIGINT",
                   self.some(number, lambda: dice.randint(2**53, 2**62) * dice.choice([1, -1]))),
            Column("odd", "number", double, self.some(
                number, lambda: dice.choice(odd_numbers) if odd_numbers and dice.random() < 0.1
                else dice.randint(-50, 50) / 4, 0.1)),
            Column("flag", "bool", "BOOLEAN", self.some(number, lambda: dice.random() < flags, .1)),
            Column("colour", "text", "VARCHAR(10) NOT NULL", self.some(
                number, lambda: dice.choices(["red", "green", "blue", "x'y", "<i>"],
                                             [9, 4, 2, 1, 1])[0])),
            Column("word", "text", "VARCHAR(40)", self.some(
                number, lambda: dice.choice(["", "ä", "日本", "😀"])
                if dice.random() < 0.05 else f"word{dice.randint(0, 500):03}", 0.4)),
            Column("prose", "text", long,
                   self.some(number, lambda: "lorem ipsum " * dice.randint(1, 30))),
            Column("day", "time", "DATE", self.some(number, day, 0.2)),
            Column("odd_day", "time", "DATE", self.some(
                number, lambda: dice.choice(odd_days) if dice.random() < 0.15 else day(), 0.2)),
            Column("moment", "time", self.type(mariadb="DATETIME", other="TIMESTAMP"),
                   self.some(number, lambda: f"{day()} {dice.randint(0, 23):02}:30:15")),
            Column("gone", "number", "INTEGER", [None] * number),
            Column("same", "text", "VARCHAR(9)", ["one value"] * number),
            Column("raw", "blob", self.type(postgres="BYTEA", other="BLOB"),
                   self.some(number, lambda: dice.randbytes(dice.randint(0, 40)), 0.3)),
            Column("js", "json", "JSON",
                   self.some(number, lambda: json.dumps({"k": dice.randint(0, 9), "l": ["a"]}))),
        ]  # fmt: skip
        if engine != "sqlite":

            def unique() -> str:
                return str(uuid.UUID(int=dice.getrandbits(128), version=4))

            moods = ["sad", "ok", "so la la", "it''s", "glad"]
            listed = ", ".join(f"'{one}'" for one in moods)
            mood = self.type(mariadb=f"ENUM({listed})", other="mood")
            said = [one.replace("''", "'") for one in moods]
            columns.append(Column("mood", "enum", mood, self.some(
                number, lambda: dice.choices(said, [1, 2, 3, 4, 9])[0], 0.1)))  # fmt: skip
            columns.append(
                Column("clock", "clock", "TIME",
                       self.some(number, lambda: f"{dice.randint(0, 23):02}:15:00"))
            )  # fmt: skip
            columns.append(Column("uid", "uuid", "UUID", self.some(number, unique, 0.1)))
        if engine in ("postgres", "duckdb"):
            columns.append(Column("many", "array", "INTEGER[]", self.some(
                number, lambda: [dice.randint(0, 9)] * dice.randint(0, 7), 0.2)))  # fmt: skip
            columns.append(Column("sums", "array", "DECIMAL(9,2)[]", self.some(
                number, lambda: [Decimal(dice.randint(0, 900)) / 100], 0.2)))  # fmt: skip
        self.add(Table(name, columns, number, key=["id"]))

    def add(self, table: Table) -> None:
        self.world.tables.append(table)

    def odd_names(self) -> None:
        for at, name in enumerate(NAMES):
            number = self.dice.randint(1, 9)
            columns = [
                Column(f"{one} {at}", "number", "INTEGER", list(range(number)))
                for one in self.dice.sample(NAMES, 6)
            ]
            self.add(Table(name, columns, number))

    def wide(self) -> None:
        # Some engines take long for so many.
        number = 1000 if self.engine in ("sqlite", "postgres") else 120
        columns = [Column("id", "number", "INTEGER NOT NULL", list(range(12)))]
        for at in range(1, number):
            values = self.some(12, lambda: self.dice.randint(0, 9), 0.2)
            columns.append(Column(f"measure_{at:03}", "number", "INTEGER", values))
        self.add(Table("wide", columns, 12, key=["id"]))

    def related(self) -> None:
        """Tables that refer to each other; most of it is not declared."""
        dice, world = self.dice, self.world

        def keys(number: int) -> Column:
            return Column("id", "number", "INTEGER NOT NULL", list(range(1, number + 1)))

        def to(name: str, most: int, number: int, null: float = 0.0) -> Column:
            return Column(
                name, "number", "INTEGER", self.some(number, lambda: dice.randint(1, most), null)
            )

        self.add(Table("regions", [keys(12)], 12, key=["id"]))
        self.add(Table("stores", [keys(40), to("region_id", 12, 40)], 40, key=["id"]))
        store = Column("store_id", "number", "INTEGER NOT NULL", [at % 40 + 1 for at in range(400)])
        number = Column("till_no", "number", "INTEGER NOT NULL", [at // 40 for at in range(400)])
        self.add(Table("tills", [store, number], 400, key=["store_id", "till_no"]))
        at = [dice.randrange(400) for _ in range(900)]
        receipts = [
            keys(900),
            Column("store_id", "number", "INTEGER", [store.values[one] for one in at]),
            Column("till_no", "number", "INTEGER", [number.values[one] for one in at]),
            to("parent_receipt_id", 900, 900, 0.8),
        ]
        self.add(Table("receipts", receipts, 900, key=["id"]))
        at = [dice.randrange(400) for _ in range(300)]
        repairs = [
            keys(300),
            Column("store_id", "number", "INTEGER", [store.values[one] for one in at]),
            Column("till_no", "number", "INTEGER", [number.values[one] for one in at]),
            to("receipt_id", 900, 300, 0.3),
        ]
        broken = dice.randint(1, 2)
        for row in dice.sample([at for at, to in enumerate(repairs[3].values) if to], broken):
            repairs[3].values[row] = 90_000 + row
        self.add(Table("repairs", repairs, 300, key=["id"]))
        world.declared = {
            ("stores", ("region_id",), "regions", ("id",)),
            ("repairs", ("store_id", "till_no"), "tills", ("store_id", "till_no")),
        }
        world.dropped = {
            ("tills", ("store_id",), "stores", ("id",)),
            ("receipts", ("store_id",), "stores", ("id",)),
            ("repairs", ("store_id",), "stores", ("id",)),
            ("receipts", ("store_id", "till_no"), "tills", ("store_id", "till_no")),
            ("receipts", ("parent_receipt_id",), "receipts", ("id",)),
            ("repairs", ("receipt_id",), "receipts", ("id",)),
        }
        world.orphans[("repairs", ("receipt_id",), "receipts", ("id",))] = broken

    def all(self) -> World:
        self.things("things")
        self.odd_names()
        self.wide()
        self.related()
        self.add(Table("vacant", [Column("id", "number", "INTEGER", []),
                                  Column("word", "text", "VARCHAR(10)", [])], 0))  # fmt: skip
        things = self.world.tables[0]
        kept = [at for at, value in enumerate(things.columns[1].values) if value is not None]
        columns = [
            Column(column.name, column.kind, column.type, [column.values[at] for at in kept])
            for column in things.columns[:3]
        ]
        query = "SELECT id, whole, part FROM things WHERE whole IS NOT NULL"
        self.add(Table("seen", columns, len(kept), view=query))
        return self.world


def world(engine: str, seed: int) -> World:
    """The database of a seed."""
    return _Maker(engine, seed).all()


def statements(made: World, big: bool = True) -> list[str]:
    """What makes it."""
    engine = made.engine
    out = []
    if engine == "mariadb":
        out.append("ALTER DATABASE CHARACTER SET utf8mb4")
    if any(column.type == "mood" for table in made.tables for column in table.columns):
        out.append("CREATE TYPE mood AS ENUM ('sad', 'ok', 'so la la', 'it''s', 'glad')")
    for table in made.tables:
        name = quoted(engine, table.name)
        if table.view:
            out.append(f"CREATE VIEW {name} AS {table.view}")
            continue
        parts = [f"{quoted(engine, column.name)} {column.type}" for column in table.columns]
        if table.key:
            parts.append(f"PRIMARY KEY ({', '.join(quoted(engine, one) for one in table.key)})")
        for unique in table.uniques:
            parts.append(f"UNIQUE ({', '.join(quoted(engine, one) for one in unique)})")
        for child, columns, parent, to in sorted(made.declared):
            if child == table.name:
                parts.append(
                    f"FOREIGN KEY ({', '.join(columns)}) REFERENCES {parent} ({', '.join(to)})"
                )
        out.append(f"CREATE TABLE {name} ({', '.join(parts)})")
        out += inserts(engine, table)
    return out + (_big(engine) if big else [])


def inserts(engine: str, table: Table) -> list[str]:
    """What fills a table."""
    rows = list(zip(*(column.values for column in table.columns), strict=True))
    out = []
    for at in range(0, len(rows), 300):
        lines = ", ".join(
            "(" + ", ".join(literal(engine, value) for value in row) + ")"
            for row in rows[at : at + 300]
        )
        out.append(f"INSERT INTO {quoted(engine, table.name)} VALUES {lines}")
    return out


def _big(engine: str) -> list[str]:
    numbers = {
        "sqlite": f"""(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
                       WHERE i < {BIG}) SELECT i FROM n)""",
        "duckdb": f"(SELECT range AS i FROM range(1, {BIG + 1}))",
        "postgres": f"(SELECT i FROM generate_series(1::bigint, {BIG}) AS s (i))",
        "mariadb": f"(SELECT seq AS i FROM seq_1_to_{BIG})",
    }[engine]
    whole = "DIV" if engine == "mariadb" else "//" if engine == "duckdb" else "/"
    day = {
        "sqlite": "date('2020-01-01', '+' || (i * 7 % 900) || ' days')",
        "duckdb": "DATE '2020-01-01' + CAST(i * 7 % 900 AS INTEGER)",
        "postgres": "DATE '2020-01-01' + (i * 7 % 900)::integer",
        "mariadb": "DATE_ADD('2020-01-01', INTERVAL i * 7 % 900 DAY)",
    }[engine]
    values = f"""i AS id, CASE WHEN i * 7919 % 100 < 23 THEN NULL ELSE i * 31 % 5000 END AS n,
        CASE WHEN i * 104729 % 1000 < 615 THEN 'web' WHEN i * 104729 % 1000 < 930 THEN 'shop'
             ELSE 'fair' END AS channel,
        (i * 13 % 997) * (i * 17 % 991) {whole} 7 AS skewed, {day} AS day"""
    types = "id INTEGER PRIMARY KEY, n INTEGER, channel VARCHAR(9), skewed INTEGER, day DATE"
    return [
        f"CREATE TABLE big ({types})",
        f"INSERT INTO big SELECT {values} FROM {numbers} AS numbers",
        *(["ANALYZE big"] if engine == "postgres" else []),
        *(["ANALYZE TABLE big"] if engine == "mariadb" else []),
    ]


class Writer:
    """A connection that may write, to a database of a kind."""

    def __init__(self, engine: str, url: str) -> None:
        self.engine = engine
        parts = urlsplit(url)
        who = unquote(parts.username or ""), unquote(parts.password or "")
        place = unquote(parts.path.lstrip("/"))
        if engine == "sqlite":
            import sqlite3

            self.raw = sqlite3.connect("/" + place, isolation_level=None)
        elif engine == "duckdb":
            import duckdb

            self.raw = duckdb.connect("/" + place)
        elif engine == "postgres":
            import psycopg

            self.raw = psycopg.connect(url, autocommit=True)
        else:
            import MySQLdb

            self.raw = MySQLdb.connect(
                host=parts.hostname, port=parts.port, user=who[0], password=who[1],
                database=place, charset="utf8mb4", autocommit=True,
            )  # fmt: skip
            self.run("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'", "SET foreign_key_checks = 1")

    def run(self, *statements: str) -> None:
        """Run these."""
        for statement in statements:
            self.rows(statement)

    def rows(self, statement: str) -> list[tuple]:
        """What a query says."""
        if self.engine == "duckdb":  # whose cursors are connections of their own
            return self.raw.execute(statement).fetchall()
        cursor = self.raw.cursor()
        try:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    def close(self) -> None:
        """Whoever reads may begin."""
        if self.engine == "postgres":
            self.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
        self.raw.close()


def make(engine: str, url: str, seed: int) -> None:
    """Make a database."""
    writer = Writer(engine, url)
    begin = {"sqlite": ["BEGIN"], "duckdb": ["BEGIN"]}.get(engine, [])
    writer.run(*begin, *statements(world(engine, seed)), *(["COMMIT"] if begin else []))
    writer.close()


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2], int(sys.argv[3]))
