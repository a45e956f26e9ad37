"""Makes a database to bench with: so many tables of a shop, each of so many rows. All refer to the first.

Arguments: the file, the number of tables, the rows of each. The same arguments give the same rows.
"""

import sqlite3
import sys

TABLE = """
CREATE TABLE {name} (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL,
    status TEXT NOT NULL,
    amount REAL,
    created TEXT NOT NULL,
    note TEXT
)
"""

# A prime takes the numbers through an order that looks like none.
ROWS = """
INSERT INTO {name}
WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :rows)
SELECT
    n,
    (n * 7919 + :seed) % (:rows / 10 + 1) + 1,
    CASE WHEN n * 31 % 100 < 60 THEN 'paid' WHEN n * 31 % 100 < 90 THEN 'open' ELSE 'lost' END,
    CASE WHEN n % 50 = 0 THEN NULL ELSE (n * 104729 + :seed) % 100000 / 100.0 END,
    date('2024-01-01', (n * 13 % 1000) || ' days'),
    CASE WHEN n % 10 = 0 THEN 'note ' || (n * 7919 % 1009) END
FROM counted
"""


def main() -> None:
    """Make it."""
    file, tables, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    for number in range(1, tables + 1):
        name = "customers" if number == 1 and tables > 1 else f"orders_{number:04}"
        database.execute(TABLE.format(name=name))
        database.execute(ROWS.format(name=name), {"rows": rows, "seed": number})
    database.commit()


main()
