"""Numbers that are not marked are exact; those out of a sample lie within their interval."""

import math
import random
from datetime import date, timedelta

ROWS = 3000


def _rows(number: int, seed: int) -> list[tuple]:
    """Rows with a known truth."""
    dice = random.Random(seed)
    day = date(2021, 3, 1)
    out = []
    for at in range(number):
        out.append((
            at + 1,
            None if dice.random() < 0.17 else dice.randint(-40, 900),
            round(dice.gauss(100, 30), 2),
            dice.choices(["red", "green", "blue"], [6, 3, 1])[0],
            None if dice.random() < 0.4 else f"word{dice.randint(0, 500):03}",
            day + timedelta(days=dice.randint(0, 900)),
            7,
            None,
            "" if dice.random() < 0.05 else "x" * dice.randint(1, 30),
        ))  # fmt: skip
    return out


_COLUMNS = ["id", "whole", "part", "colour", "word", "day", "same", "gone", "filler"]
_TYPES = [
    "INTEGER PRIMARY KEY", "INTEGER", "DECIMAL(10,2)", "VARCHAR(10) NOT NULL", "VARCHAR(20)",
    "DATE",     "INTEGER", "INTEGER", "VARCHAR(40)",
]  # fmt: skip


def _literal(value) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, (int, float)) else f"'{value}'"


def _statements(rows: list[tuple]) -> list[str]:
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(_COLUMNS, _TYPES, strict=True))
    out = [f"CREATE TABLE things ({columns})"]
    for at in range(0, len(rows), 1000):
        values = ", ".join(
            "(" + ", ".join(map(_literal, row)) + ")" for row in rows[at : at + 1000]
        )
        out.append(f"INSERT INTO things VALUES {values}")
    return out


def test_exact(kind):
    rows = _rows(ROWS, 1)
    session = kind.look(kind.make(*_statements(rows)), "things")
    table = session.tables[0]
    assert table.facts["rows"] == ROWS
    assert table.facts["how"] == "exact"
    assert table.key == ["id"]
    for at, column in enumerate(table.columns):
        facts = column.facts
        assert "problem" not in facts, (column.name, facts)
        filled = [row[at] for row in rows if row[at] is not None]
        assert facts["nulls"] == ROWS - len(filled), column.name
        if not filled:
            continue
        assert facts["distinct"] == len(set(filled)), column.name
        if column.kind == "number":
            assert float(facts["min"]) == min(filled)
            assert float(facts["max"]) == max(filled)
            assert facts["zeros"] == sum(value == 0 for value in filled)
            assert facts["negatives"] == sum(value < 0 for value in filled)
            ordered = sorted(filled)
            wanted = [ordered[math.ceil(share * len(ordered)) - 1] for share in (0.25, 0.5, 0.75)]
            assert [float(value) for value in facts["quartiles"]] == wanted
            if "bins" in facts:
                assert sum(facts["bins"]) == len(filled)
        if column.kind == "text":
            lengths = [len(value) for value in filled]
            assert (facts["shortest"], facts["longest"]) == (min(lengths), max(lengths))
            assert facts["empty"] == filled.count("")
        if column.name == "day":
            assert column.kind == "time"
            assert facts["min"] == min(filled).isoformat()
            assert facts["max"] == facts["newest"] == max(filled).isoformat()
            assert facts["future"] == 0
            assert sum(facts["bins"]) == ROWS
        for value, number, _ in facts.get("top", []):
            truth = [str(one) for one in filled]
            assert number == truth.count(value) or float(value) in filled, (column.name, value)
        if column.name == "colour":
            wanted = {value: filled.count(value) for value in set(filled)}
            assert {value: number for value, number, _ in facts["top"]} == wanted


def test_sampled(kind):
    number = 60_000
    rows = _rows(number, 2)
    url = kind.make(*_statements(rows))
    checked = wrong = 0
    session = kind.look(url, "things", large=1000)
    table = session.tables[0]
    assert table.facts["how"] == "sample"
    assert table.facts["rows"] == number
    drawn = table.facts["sample"]["rows"]
    assert 10_000 < drawn < 40_000
    for at, column in enumerate(table.columns):
        facts = column.facts
        filled = sorted(row[at] for row in rows if row[at] is not None)
        # One pass counted these.
        assert facts["nulls"] == number - len(filled)
        if not filled:
            continue
        assert "distinct" not in facts
        assert facts["distinct_seen"] <= len(set(filled))
        for value, _, between in facts.get("top", []):
            texts = [str(one) for one in filled] if column.kind != "number" else filled
            sought = value if column.kind != "number" else float(value)
            share = texts.count(sought) / len(filled)
            checked += 1
            wrong += not between[0] <= share <= between[1]
        for (least, most), share in zip(
            facts.get("quartile_bounds", []), (0.25, 0.5, 0.75), strict=False
        ):
            truth = filled[math.ceil(share * len(filled)) - 1]
            checked += 1
            wrong += not float(least) <= truth <= float(most)
    assert checked > 20
    # 99.9 % each.
    assert wrong == 0, f"{wrong} of {checked}"
    print(f"{kind.name}: {checked} sampled numbers, all within their intervals")


def test_many_columns(kind):
    # SQLite's and DuckDB's pass has 500 expressions at once; MariaDB's rows hold no more.
    number = 1000
    columns = ", ".join(f"c{at} INTEGER" for at in range(number))
    values = ", ".join(str(at) for at in range(number))
    url = kind.make(f"CREATE TABLE wide ({columns})", f"INSERT INTO wide VALUES ({values})")
    session = kind.look(url, "wide")
    table = session.tables[0]
    assert len(table.columns) == number
    assert [column.facts.get("distinct") for column in table.columns] == [1] * number
    assert table.columns[777].facts["min"] in (777, "777")
