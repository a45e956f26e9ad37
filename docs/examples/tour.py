# %% The session has connect_database(), which opens the database for reading only.
shop = connect_database()
shop.list_tables()

# %% The value of a last expression is shown; tables are capped, and say how many rows there are.
orders = shop.table("orders")
orders

# %% What a cell defines, the next one finds. Only the answer leaves the database.
orders.group_by("status").agg(orders=orders.count()).order_by("status")

# %% A broken reference: lines whose product does not exist.
shop.sql("""
    SELECT l.product_sku, count(*) AS lines
    FROM order_lines AS l LEFT JOIN products AS p ON p.sku = l.product_sku
    WHERE p.sku IS NULL GROUP BY 1
""")

# %% Writing does not work.
try:
    shop.con.execute("DELETE FROM orders")
except Exception as error:
    print(f"{type(error).__name__}: {error}")

# %% Errors end the cell, not the session; and whatever a cell prints is cut to a head and a tail.
try:
    exit()
except SystemExit:
    print("still here")
