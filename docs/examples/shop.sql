-- A small shop, with what real databases have: a broken reference, a column that is always the
-- same, dates in the future, values that mean "unknown".
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT UNIQUE,
    country TEXT NOT NULL DEFAULT 'DE',
    created_at TEXT NOT NULL
);
CREATE TABLE products (
    sku TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents >= 0),
    discontinued INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    ordered_on TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE TABLE order_lines (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    line INTEGER NOT NULL,
    product_sku TEXT,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, line)
);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
INSERT INTO customers
SELECT i, 'Customer ' || i, CASE WHEN i % 7 = 0 THEN NULL ELSE 'c' || i || '@example.com' END,
       substr('DEDEDEATCHFR', 1 + 2 * (i * i % 6), 2), date('2024-01-01', '+' || i || ' days')
FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
INSERT INTO products
SELECT printf('SKU-%03d', i), 'Product ' || i, (i * 7919) % 20000 + 99, 0 FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
INSERT INTO orders
SELECT i, 1 + (i * 37) % 400,
       CASE WHEN i % 500 = 0 THEN '2099-01-01' ELSE date('2025-01-01', '+' || (i % 365) || ' days') END,
       CASE i % 10 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'open' ELSE 'delivered' END
FROM n;
INSERT INTO order_lines
SELECT o.id, l.line,
       CASE WHEN (o.id + l.line) % 211 = 0 THEN 'SKU-999' ELSE printf('SKU-%03d', 1 + (o.id * l.line) % 60) END,
       1 + (o.id + l.line) % 4
FROM orders AS o, (SELECT 1 AS line UNION ALL SELECT 2 UNION ALL SELECT 3) AS l
WHERE l.line <= 1 + o.id % 3;
