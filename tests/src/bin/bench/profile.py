"""A plain profile in SQL, to compare with: of every column the nulls, the distinct values and the extremes.

Argument: the file. One statement for each table; nothing is sampled, drawn or looked at twice.
"""

import sqlite3
import sys


def quoted(name: str) -> str:
    """Quote a name."""
    return '"' + name.replace('"', '""') + '"'


def main() -> None:
    """Measure, and print how many columns there were."""
    database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    measured = 0
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        columns = [quoted(row[1]) for row in database.execute(f"PRAGMA table_info({quoted(table)})")]
        wanted = [
            f"sum({column} IS NULL), count(DISTINCT {column}), min({column}), max({column})" for column in columns
        ]
        database.execute(f"SELECT count(*), {', '.join(wanted)} FROM {quoted(table)}").fetchone()
        measured += len(columns)
    print(measured)


main()
