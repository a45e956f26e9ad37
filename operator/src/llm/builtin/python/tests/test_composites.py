"""Joins by several columns, declared or not."""

import json

import pytest

COLUMNS = "order_id INTEGER NOT NULL, line_no INTEGER NOT NULL"
ROWS = ", ".join(f"({at // 3}, {at % 3})" for at in range(300))


def _references(kind, capsys, *statements: str) -> list[dict]:
    url = kind.make(*statements)
    names = [one.split()[2] for one in statements if one.startswith("CREATE")]
    session = kind.look(url, *names)
    capsys.readouterr()
    session.relate()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"record": "related"} in lines
    return [line for line in lines if line["record"] == "reference" and len(line["columns"]) > 1]


def _tables(second: str, rows: str = ROWS, more: str = "") -> list[str]:
    return [
        f"CREATE TABLE order_lines ({COLUMNS}, PRIMARY KEY (order_id, line_no))",
        f"INSERT INTO order_lines VALUES {ROWS}",
        f"CREATE TABLE {second} ({COLUMNS}{more})",
        f"INSERT INTO {second} (order_id, line_no) VALUES {rows}",
    ]


def test_declared(kind, capsys):
    more = ", FOREIGN KEY (order_id, line_no) REFERENCES order_lines (order_id, line_no)"
    (one,) = _references(kind, capsys, *_tables("returns", more=more))
    assert not one.get("found")
    assert (one["columns"], one["to_columns"]) == (["order_id", "line_no"],) * 2
    assert one["to"][1] == "order_lines"


def test_found(kind, capsys):
    (one,) = _references(kind, capsys, *_tables("returns"))
    assert one["found"]
    assert not one.get("possible")
    assert one["to"][1] == "order_lines"
    assert (one["filled"], one["orphans"]) == (300, 0)


@pytest.mark.parametrize(
    ("second", "rows", "more"),
    [
        # Too many refer to nothing.
        ("returns", ROWS + ", (900, 1), (901, 1), (902, 1), (903, 2)", ""),
        # It has the same key, and is not named after the other.
        ("returns", ROWS, ", PRIMARY KEY (order_id, line_no)"),
    ],
)
def test_not_found(kind, capsys, second, rows, more):
    assert _references(kind, capsys, *_tables(second, rows, more)) == []


def test_names_that_every_table_has_are_no_key(sqlite, capsys):
    months = ", ".join(f"({2000 + at // 12}, {at % 12})" for at in range(60))
    statements = [
        "CREATE TABLE budgets (year INTEGER, month INTEGER, PRIMARY KEY (year, month))",
        f"INSERT INTO budgets VALUES {months}",
        "CREATE TABLE sales (year INTEGER, month INTEGER)",
        f"INSERT INTO sales VALUES {months}",
    ]
    assert _references(sqlite, capsys, *statements) == []
