#!/usr/bin/env python3
"""Makes the sample: a shop in SQLite, with the warts of real ones.

It is in the image, and the demo has it, too.

    sample.py FILE            a new one
    sample.py FILE --later    what has become of it some months later

Always the same, and all made up. It needs nothing but Python.
"""

# Its dice need not be safe, and SQL is read more easily in long lines.
# ruff: noqa: S311, SIM905, E501

import random
import sqlite3
import sys
from datetime import datetime, timedelta

SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    full_name TEXT NOT NULL,
    email TEXT UNIQUE,
    phone TEXT,
    country TEXT NOT NULL DEFAULT 'DE',
    segment TEXT,
    created_at TEXT NOT NULL
);
CREATE TABLE categories (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    parent_category_id INTEGER
);
CREATE TABLE products (
    sku TEXT PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    price REAL NOT NULL,
    weight TEXT,
    stock INTEGER NOT NULL,
    discontinued INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL,
    ordered_at TEXT NOT NULL,
    shipped_on TEXT,
    status TEXT NOT NULL,
    channel TEXT,
    note TEXT
);
CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    line INTEGER NOT NULL,
    product_sku TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_price REAL NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE page_views (
    seen_at TEXT NOT NULL,
    customer_id INTEGER,
    path TEXT NOT NULL,
    seconds REAL
);
CREATE TABLE legacy_stock (sku TEXT, counted INTEGER);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE VIEW open_orders AS
    SELECT o.id, o.ordered_at, c.country FROM orders AS o JOIN customers AS c ON c.id = o.customer_id
    WHERE o.status = 'open';
"""
FIRST = "Ada Ben Cleo Dario Edda Finn Greta Hugo Ines Jonas Kira Lars Mona Nils Olga Paul".split()
LAST = "Adler Brandt Caruso Dubois Ekman Fischer Gruber Haas Ivers Jansen Keller Lang".split()
THINGS = "Lamp Chair Desk Shelf Rug Vase Clock Mirror Basket Cushion Kettle Tray".split()
START = datetime(2026, 1, 2)


def day(dice: random.Random, days: int) -> datetime:
    """Some moment in the first so many days, more often later ones."""
    return START + timedelta(seconds=int(days * 86400 * dice.random() ** 0.6))


def make(shop: sqlite3.Connection) -> None:
    """Fill a new shop."""
    dice = random.Random(20261121)
    shop.executescript(SCHEMA)
    for number in range(1, 2401):
        first, last = dice.choice(FIRST), dice.choice(LAST)
        mail = f"{first}.{last}{number}@example.com".lower()
        shop.execute(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                f"{first} {last}",
                None if number % 9 == 0 else mail,
                None if dice.random() < 0.2 else f"+49 30 {dice.randint(1000000, 9999999)}",
                # Two ways to write the same country.
                dice.choices(["DE", "AT", "CH", "FR", "de"], [55, 18, 14, 11, 2])[0],
                dice.choices(["private", "business", "n/a"], [70, 22, 8])[0],
                # Whoever was moved over from the old system has no real date.
                "1900-01-01 00:00:00" if number <= 60 else str(day(dice, 300)),
            ),
        )
    for number in range(1, 25):
        parent = None if number <= 6 else 1 + number % 6
        shop.execute(
            "INSERT INTO categories VALUES (?, ?, ?)", (number, f"Category {number}", parent)
        )
    for number in range(1, 481):
        price = round(4 + 180 * dice.random() ** 2.2, 2)
        shop.execute(
            "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, 0)",
            (
                f"SKU-{number:04}",
                f"{dice.choice(THINGS)} {number}",
                dice.randint(1, 24),
                -price if number in (77, 301) else price,
                None if dice.random() < 0.3 else f"{dice.randint(1, 90) / 10}",
                dice.randint(0, 250),
            ),
        )
        shop.execute(
            "INSERT INTO legacy_stock VALUES (?, ?)", (f"SKU-{number:04}", dice.randint(0, 99))
        )
    for number in range(1, 6001):
        at = day(dice, 310)
        status = dice.choices(["delivered", "open", "cancelled", "returned"], [78, 12, 7, 3])[0]
        shipped = at + timedelta(days=dice.randint(1, 9))
        if number % 1200 == 0:
            shipped = datetime(2099, 12, 31)
        shop.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (
                number,
                # A few customers were deleted; their orders were not.
                9000 + number % 7 if number % 400 == 0 else dice.randint(1, 2400),
                str(at),
                str(shipped.date()) if status != "open" else None,
                status,
                dice.choices(["web", "app", "phone"], [58, 36, 6])[0],
            ),
        )
        lines(shop, dice, number)
    for _ in range(12_000):
        shop.execute(
            "INSERT INTO page_views VALUES (?, ?, ?, ?)",
            (
                str(day(dice, 318)),
                None if dice.random() < 0.63 else dice.randint(1, 2400),
                "/"
                + dice.choices(["", "search", "cart", f"p/{dice.randint(1, 480)}"], [3, 4, 1, 6])[
                    0
                ],
                float("inf") if dice.random() < 0.0004 else round(dice.expovariate(1 / 40), 1),
            ),
        )


def lines(shop: sqlite3.Connection, dice: random.Random, order: int) -> None:
    """The lines of an order; some of their products never existed."""
    for line in range(1, dice.choices([2, 3, 4, 5], [45, 30, 15, 10])[0]):
        sku = f"SKU-{dice.randint(1, 480):04}" if dice.random() > 0.002 else "SKU-9999"
        quantity = (
            "two" if (order, line) == (4321, 1) else dice.choices([1, 2, 3, 10], [70, 20, 8, 2])[0]
        )
        price = round(4 + 180 * dice.random() ** 2.2, 2)
        shop.execute(
            "INSERT INTO order_lines VALUES (?, ?, ?, ?, ?)", (order, line, sku, quantity, price)
        )


def later(shop: sqlite3.Connection) -> None:
    """What a migration, a bug and time have done."""
    dice = random.Random(7)
    shop.executescript("""
        DROP TABLE legacy_stock;
        CREATE TABLE refunds (
            id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, amount REAL NOT NULL, refunded_on TEXT NOT NULL
        );
        ALTER TABLE customers ADD COLUMN newsletter INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE orders DROP COLUMN note;
        CREATE TABLE new_products (
            sku TEXT PRIMARY KEY NOT NULL, title TEXT NOT NULL,
            category_id INTEGER NOT NULL REFERENCES categories (id), price REAL NOT NULL, weight REAL,
            stock INTEGER NOT NULL, discontinued INTEGER NOT NULL DEFAULT 0
        );
        INSERT INTO new_products SELECT * FROM products;
        DROP TABLE products;
        ALTER TABLE new_products RENAME TO products;
        UPDATE products SET price = -price WHERE price < 0;
        UPDATE customers SET newsletter = id % 3 = 0, phone = CASE WHEN id % 2 THEN phone END;
        UPDATE orders SET channel = 'marketplace' WHERE channel = 'web' AND id % 4 = 0;
    """)
    for number in range(6001, 7501):
        at = START + timedelta(days=310, minutes=number - 6000)
        shop.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                dice.randint(1, 2400),
                str(at),
                None if number % 8 == 0 else str((at + timedelta(days=3)).date()),
                dice.choices(["delivered", "open", "cancelled", "returned"], [78, 12, 7, 3])[0],
                dice.choices(["web", "app", "phone", "marketplace"], [44, 36, 6, 14])[0],
            ),
        )
        lines(shop, dice, number)
        if number % 5 == 0:
            shop.execute(
                "INSERT INTO refunds (order_id, amount, refunded_on) VALUES (?, ?, ?)",
                (number, round(dice.random() * 90, 2), str(at.date())),
            )


def main() -> None:
    """Make, or change."""
    file, *more = sys.argv[1:]
    with sqlite3.connect(file) as shop:
        later(shop) if more == ["--later"] else make(shop)


if __name__ == "__main__":
    main()
