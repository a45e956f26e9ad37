"""A database before and after changes that were planted, among many tables where nothing changed.

``python drift.py <engine> <url> <seed> before|after`` makes it, and prints what a summary has to
say of it: the begin of every line, and no other line.
"""

import json
import random
import sys
from datetime import datetime, timedelta

import world as worlds
from world import Column, Table

WORDS = """amber birch cedar delta ember fjord grove heath inlet jetty knoll lagoon marsh oasis pond
           quarry ridge strait tundra upland vale weir yard zenith bay cape"""
# So many of the kinds are planted at once.
AT_ONCE = 11


class Drift:
    """Tables, and what happens to some of them."""

    def __init__(self, engine: str, seed: int) -> None:
        self.engine, self.seed = engine, seed
        self.dice = random.Random(f"drift {engine} {seed}")
        self.tables: dict[str, Table] = {}
        self.declared: set[str] = set()
        self.new: list[str] = []
        self.expected: list[str] = []
        self.schema = {"postgres": "public", "mariadb": "shop"}.get(engine, "main")
        words = WORDS.split()
        basin = Column("id", "number", "INTEGER NOT NULL", list(range(1, 51)))
        self.tables["basin"] = Table("basin", [basin], 50, key=["id"])
        for word in words:
            self.tables[word] = self._table(word)
        self.declared = set(words)

    def _spread(self, number: int, shares: dict) -> list:
        """Values in these shares, exactly; what is left is the first's."""
        out = [value for value, share in shares.items() for _ in range(int(number * share))]
        return out + [next(iter(shares))] * (number - len(out))

    def _table(self, name: str) -> Table:
        number = self.dice.randint(200, 500)
        first = datetime(2024, 1, 1) + timedelta(days=self.dice.randint(0, 300))
        cities = {f"city {at}": share for at, share in enumerate([0.3, 0.12, 0.1] + [0.04] * 12)}
        return Table(
            name,
            [
                Column("id", "number", "INTEGER NOT NULL", list(range(1, number + 1))),
                Column("code", "text", "VARCHAR(10) NOT NULL", self._spread(
                    number, {"web": 0.5, "shop": 0.3, "fair": 0.15, "fax": 0.05})),
                Column("city", "text", "VARCHAR(20)", self._spread(number, cities)),
                Column("price", "number", "INTEGER", [at * 7919 % 9973 for at in range(number)]),
                Column("note", "text", "VARCHAR(40)", self._spread(number, {None: 0.2}
                       | {f"note {at}": 0.8 / 40 for at in range(40)})),
                Column("made", "time", "TIMESTAMP" if self.engine != "mariadb" else "DATETIME",
                       [str(first + timedelta(hours=at)) for at in range(number)]),
                Column("basin_id", "number", "INTEGER", [at % 50 + 1 for at in range(number)]),
            ],
            number,
            key=["id"],
        )  # fmt: skip

    # What happens.

    def grow(self, table: Table, by: float, newer: bool = True) -> None:
        """More rows, like those that are there."""
        more = max(1, int(table.rows * by))
        for column in table.columns:
            values = column.values
            if column.name == "id":
                values += range(table.rows + 1, table.rows + more + 1)
            elif column.name == "made" and newer:
                last = datetime.fromisoformat(max(values))
                values += [str(last + timedelta(hours=at + 1)) for at in range(more)]
            elif column.name == "price":
                values += [(table.rows + at) * 7919 % 9973 for at in range(more)]
            else:
                values += [values[at * 37 % table.rows] for at in range(more)]
        table.rows += more

    def column(self, table: Table, name: str) -> Column:
        """A column."""
        return next(column for column in table.columns if column.name == name)

    def change(self) -> None:
        """Plant some of all changes, each in a table of its own; and life goes on elsewhere."""
        # Two seeds in a row have all kinds.
        kinds = [*KINDS, *KINDS][self.seed % 2 * AT_ONCE :][:AT_ONCE]
        chosen = self.dice.sample(sorted(self.tables.keys() - {"basin"}), AT_ONCE)
        others = [t for name, t in self.tables.items() if name not in {"basin", *chosen}]
        for table in others:
            self.grow(table, self.dice.uniform(0.01, 0.09))
        for kind, name in zip(kinds, chosen, strict=True):
            before = len(self.expected)
            KINDS[kind](self, self.tables[name])
            at = f"{self.schema}.{name}: "
            self.expected[before:] = [at + line for line in self.expected[before:]]
        self.expected += self.new

    def gone(self, table: Table) -> None:
        del self.tables[table.name]
        self.expected.append(f"table gone (was {table.rows:,} rows)")

    def renamed(self, table: Table) -> None:
        del self.tables[table.name]
        self.expected.append(f"table gone (was {table.rows:,} rows)")
        self.declared.discard(table.name)
        table.name = f"{table.name} two"
        self.tables[table.name] = table
        self.new.append(f"{self.schema}.{table.name}: table new ({table.rows:,} rows)")

    def dropped(self, table: Table) -> None:
        table.columns.remove(self.column(table, "note"))
        self.expected.append("column note gone (was ")

    def added(self, table: Table) -> None:
        values = [at % 3 for at in range(table.rows)]
        table.columns.append(Column("extra", "number", "INTEGER", values))
        self.expected.append("column extra new (")

    def retyped(self, table: Table) -> None:
        self.column(table, "price").type = "BIGINT"
        self.expected.append("price type: ")

    def strict(self, table: Table) -> None:
        self.column(table, "city").type += " NOT NULL"
        self.expected.append("city nullability: null → not null")

    def loose(self, table: Table) -> None:
        self.column(table, "code").type = "VARCHAR(10)"
        self.expected.append("code nullability: not null → null")

    def key(self, table: Table) -> None:
        table.key = ["id", "code"]
        self.expected += ["primary key: id → id, code", "id uniqueness: unique → not unique"]

    def unique(self, table: Table) -> None:
        table.uniques.append(["id", "made"])
        self.expected.append("unique together: none → (id, made)")

    def rows(self, table: Table) -> None:
        old = table.rows
        self.grow(table, 0.2)
        share = f"{(table.rows - old) / old * 100:+.0f} %"
        self.expected.append(f"rows: {old:,} → {table.rows:,} ({share})")

    def emptied(self, table: Table) -> None:
        old, table.rows = table.rows, 0
        for column in table.columns:
            column.values.clear()
        self.expected += [f"rows: {old:,} → 0 (-100 %)", "warning new: has no rows"]

    def nulls(self, table: Table) -> None:
        column = self.column(table, "note")
        share = self.dice.uniform(0.6, 0.8)
        column.values = self._spread(
            table.rows, {None: share} | {f"note {at}": (1 - share) / 40 for at in range(40)}
        )
        self.expected.append("note nulls: ")

    def shares(self, table: Table) -> None:
        column = self.column(table, "code")
        column.values = self._spread(
            table.rows, {"web": 0.38, "shop": 0.42, "fair": 0.15, "fax": 0.05}
        )
        self.expected += ["code “shop” share: ", "code “web” share: "]

    def lead(self, table: Table) -> None:
        column = self.column(table, "city")
        cities = {f"city {at}": share for at, share in enumerate([0.15, 0.12, 0.1] + [0.04] * 12)}
        column.values = self._spread(table.rows, {"city 14": 0.15} | cities | {"city 14": 0.19})
        self.expected += ["city “city 0” share: ", "city “city 14” share: "]

    def appeared(self, table: Table) -> None:
        column = self.column(table, "code")
        column.values[3] = "app"
        self.expected.append("code value “app” appeared (1 rows)")

    def vanished(self, table: Table) -> None:
        column = self.column(table, "code")
        column.values = ["web" if value == "fax" else value for value in column.values]
        self.expected.append("code value “fax” vanished (was ")

    def several(self, table: Table) -> None:
        column = self.column(table, "code")
        for at in range(6):
            column.values[at] = f"app {at}"
        self.expected.append("code distinct values: 4 → 10")

    def stalled(self, table: Table) -> None:
        self.grow(table, 0.05, newer=False)
        newest = max(self.column(table, "made").values)
        self.expected.append(f"newest made stands still at {newest}")

    def back(self, table: Table) -> None:
        column = self.column(table, "made")
        newest = max(column.values)
        column.values[column.values.index(newest)] = min(column.values)
        self.expected.append(f"newest made went back: {newest} → {max(column.values)}")

    def wrong(self, table: Table) -> None:
        self.column(table, "price").values[5] = -3
        self.expected.append("price warning new: 1 row ")

    def future(self, table: Table) -> None:
        self.column(table, "made").values[5] = "2098-01-01 00:00:00"
        self.expected.append("made warning new: 1 row ")

    def undeclared(self, table: Table) -> None:
        self.declared.remove(table.name)
        self.expected.append(f"reference basin_id → {self.schema}.basin.id: declared → found")

    def make(self, url: str) -> None:
        """Make it anew."""
        writer = worlds.Writer(self.engine, url)
        kind = "TABLE_NAME FROM information_schema.tables WHERE table_schema"
        old = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
            "duckdb": "SELECT table_name FROM duckdb_tables()",
        }.get(self.engine, f"SELECT {kind} = '{self.schema}'")
        if self.engine == "mariadb":
            writer.run("SET foreign_key_checks = 0")
        cascade = " CASCADE" if self.engine == "postgres" else ""
        basin_last = sorted((row[0] for row in writer.rows(old)), key=lambda name: name == "basin")
        for name in basin_last:
            writer.run(f"DROP TABLE {worlds.quoted(self.engine, name)}{cascade}")
        made = worlds.World(self.engine, list(self.tables.values()))
        made.declared = {
            (name, ("basin_id",), "basin", ("id",)) for name in self.declared & self.tables.keys()
        }
        writer.run(*worlds.statements(made, big=False))
        writer.close()


KINDS = {
    name: getattr(Drift, name)
    for name in (
        "gone", "renamed", "dropped", "added", "retyped", "strict", "loose", "key", "unique",
        "rows", "emptied", "nulls", "shares", "lead", "appeared", "vanished", "several", "stalled",
        "back", "wrong", "future", "undeclared",
    )
}  # fmt: skip


def main() -> None:
    """Make it, and say what has changed."""
    engine, url, seed, when = sys.argv[1:]
    drift = Drift(engine, int(seed))
    if when == "after":
        drift.change()
    drift.make(url)
    print(json.dumps(drift.expected))


if __name__ == "__main__":
    main()
