"""How values are shown: capped, and with a line that counts what there is."""

import collections
import datetime
import io
import sqlite3

import pytest

from cataloger_sandbox import display
from cataloger_sandbox.display import Display

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
ibis = pytest.importorskip("ibis")

LONG = "x" * 500
COLUMNS = {
    "number": list(range(100)),
    "text": [None, "é🐍\nü", LONG, *(f"row {n}" for n in range(97))],
}


@pytest.fixture
def shown():
    """A display that shows five rows, as a function of what to show."""
    one = Display()
    one.begin(5)
    return one


@pytest.fixture(scope="module")
def database():
    connection = ibis.duckdb.connect()
    connection.create_table("things", pyarrow.table(COLUMNS))
    return connection


def _last(text: str) -> str:
    return text.splitlines()[-1]


def _rows_with(text: str, what: str) -> int:
    return sum(what in line for line in text.splitlines())


# Tables that cap themselves.


def test_pandas(shown):
    frame = pandas.DataFrame(COLUMNS)
    text = shown.echo(frame)
    assert _last(text) == "[100 rows x 2 columns]"
    assert len(text.splitlines()) < 12
    assert LONG not in text
    assert "é🐍" in text
    assert _last(shown.echo(frame.head(3))) == "[3 rows x 2 columns]"
    assert "[0 rows x 2 columns]" in shown.echo(frame.head(0))
    assert "Length: 100" in shown.echo(frame["number"])
    assert "Length: 3" in shown.echo(frame["number"].head(3))
    assert f"{frame}" == text


def test_pandas_wide(shown):
    frame = pandas.DataFrame({f"column_{n}": [n] for n in range(200)})
    text = shown.echo(frame)
    assert "[1 rows x 200 columns]" in text
    assert max(map(len, text.splitlines())) <= 160


def test_polars(shown):
    frame = polars.DataFrame(COLUMNS)
    text = shown.echo(frame)
    assert "shape: (100, 2)" in text
    assert _last(text) == "[5 of 100 rows]"
    assert "null" in text
    assert "é🐍" in text
    assert LONG not in text
    assert len(text.splitlines()) < 17
    assert _last(shown.echo(frame.head(3))) == "[3 rows]"
    assert _last(shown.echo(frame.head(0))) == "[0 rows]"
    assert "shape: (100, 2)" in f"{frame}"
    assert len(f"{frame}".splitlines()) < 17
    assert "shape: (100,)" in shown.echo(frame["number"])


# Tables that don't.


def test_pyarrow(shown):
    table = pyarrow.table(COLUMNS)
    text = shown.echo(table)
    lines = text.splitlines()
    assert lines[0].split() == ["number", "text"]
    assert len(lines) == 1 + 5 + 1
    assert lines[1].split() == ["0", "NULL"]
    assert "é🐍\\nü" in lines[2]
    assert LONG not in text
    assert "x…" in lines[3]
    assert lines[-1] == "[5 of 100 rows]"
    assert _last(shown.echo(table.slice(0, 5))) == "[5 rows]"
    assert _last(shown.echo(table.slice(0, 0))) == "[0 rows]"
    assert _last(shown.echo(table.to_batches()[0])) == "[5 of 100 rows]"
    assert _last(shown.echo(pyarrow.table({}))) == "[0 rows]"


def test_pyarrow_columns_of_one_name(shown):
    """As a join gives them: none is left out."""
    table = pyarrow.table([[1, 2], ["a", "b"]], names=["id", "id"])
    lines = shown.echo(table).splitlines()
    assert [line.split() for line in lines[:3]] == [["id", "id"], ["1", "a"], ["2", "b"]]


def test_pyarrow_of_any_type(shown):
    table = pyarrow.table(
        {
            "decimal": pyarrow.array([None, "1.50"]).cast(pyarrow.decimal128(10, 2)),
            "when": [datetime.datetime(2026, 1, 2, 3, 4, 5), None],
            "list": [[1, 2], None],
            "object": [{"a": 1}, None],
            "bytes": [b"\xff", None],
            "flag": [True, None],
            "nothing": [None, None],
            "line\nbreak": ["a\tb", "c"],
        }
    )
    text = shown.echo(table)
    assert "1.50" in text
    assert "2026-01-02 03:04:05" in text
    assert _last(text) == "[2 rows]"
    assert len(text.splitlines()) == 4


def test_pyarrow_values_that_python_has_no_type_for(shown):
    """Dates beyond Python's, as databases have them, are shown and not raised."""
    for array in (
        pyarrow.array([2**31 - 1], type=pyarrow.date32()),
        pyarrow.array([2**62], type=pyarrow.timestamp("us")),
        pyarrow.array([1], type=pyarrow.timestamp("ns")),
        pyarrow.array([1], type=pyarrow.timestamp("us", tz="Nowhere/Land")),
        pyarrow.array([2**62], type=pyarrow.duration("s")),
    ):
        table = pyarrow.table({"a": [1], "when": array})
        assert _last(shown.echo(table)) == "[1 rows]"


def test_ibis_tables(shown, database):
    things = database.table("things")
    text = shown.echo(things)
    assert text.splitlines()[0].split() == ["number", "text"]
    assert len(text.splitlines()) == 7
    assert _last(text) == "[5 of 100 rows]"
    filtered = things.filter(things.number < 3)
    assert _last(shown.echo(filtered)) == "[3 rows]"
    assert _last(shown.echo(things.filter(things.number < 0))) == "[0 rows]"
    assert _last(shown.echo(things.filter(things.number < 6))) == "[5 of 6 rows]"
    assert "NULL" in shown.echo(filtered)
    assert LONG not in shown.echo(things)
    assert _last(shown.echo(things.group_by("text").aggregate(n=things.count()))) == (
        "[5 of 100 rows]"
    )


def test_ibis_columns_and_scalars(shown, database):
    things = database.table("things")
    text = shown.echo(things.number)
    assert text.splitlines()[0].strip() == "number"
    assert _last(text) == "[5 of 100 rows]"
    assert _last(shown.echo(things.number.max() - things.number)) == "[5 of 100 rows]"
    assert "99" in shown.echo(things.number.max())
    assert "100" in shown.echo(things.count())
    assert "49.5" in shown.echo(things.number.mean())


def test_ibis_counts_no_further_than_it_must(shown, database, monkeypatch):
    monkeypatch.setattr(display, "COUNT_LIMIT", 50)
    assert _last(shown.echo(database.table("things"))) == "[5 of more than 50 rows]"


def test_ibis_errors_are_raised(shown, database):
    things = database.table("things")
    with pytest.raises(Exception, match=r"[Cc]onver|cast"):
        shown.echo(things.mutate(bad=things.text.cast("int64")).order_by("number"))


# Rows.


def test_rows_of_a_cursor(shown):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (n INTEGER, s TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", enumerate(COLUMNS["text"]))
    rows = connection.execute("SELECT * FROM t").fetchall()
    lines = shown.echo(rows).splitlines()
    assert lines[0] == "(0, None)"
    assert lines[1] == "(1, 'é🐍\\nü')"
    assert len(lines[2]) < 450
    assert lines[-1] == "[5 of 100 rows]"
    assert len(lines) == 6
    assert _last(shown.echo(rows[:5])) == "[5 rows]"
    assert _last(shown.echo(tuple(rows))) == "[5 of 100 rows]"
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM t").fetchall()
    lines = shown.echo(rows).splitlines()
    assert lines[0] == "{'n': 0, 's': None}"
    assert lines[-1] == "[5 of 100 rows]"


def test_rows_of_other_kinds(shown):
    rows = [{"n": n, "s": text} for n, text in enumerate(COLUMNS["text"])]
    lines = shown.echo(rows).splitlines()
    assert lines[0] == "{'n': 0, 's': None}"
    assert lines[-1] == "[5 of 100 rows]"
    row = collections.namedtuple("row", ["n", "s"])
    lines = shown.echo([row(n, "x") for n in range(100)]).splitlines()
    assert lines[0] == "row(n=0, s='x')"
    assert lines[-1] == "[5 of 100 rows]"
    lines = shown.echo([collections.ChainMap({"n": n}) for n in range(7)]).splitlines()
    assert lines[-1] == "[5 of 7 rows]"


@pytest.mark.parametrize(
    "value",
    [
        [],
        (),
        {},
        [1, 2, 3],
        ["ab", "cd"],
        [[1, 2], [3, 4]],
        (1, 2),
        ("a", (1, 2)),
        [(1, 2), "x"],
        {"a": (1, 2)},
        {1, 2},
        "text",
        None,
        [None],
        b"x",
        range(3),
    ],
)
def test_what_is_no_table_is_shown_as_it_is(shown, value):
    assert shown.echo(value) == repr(value)
    assert shown.table(value) is None


def test_lists_of_frames_are_no_rows(shown):
    frame = pandas.DataFrame({"a": [1], "b": [2]})
    text = shown.echo([frame, frame])
    assert "rows]\n" not in shown.echo([frame["a"], frame["a"]])
    assert text.count("[1 rows x 2 columns]") == 2
    assert "[2 rows]" not in text


def test_long_collections(shown):
    text = shown.echo(list(range(5000)))
    assert _last(text) == "[1,000 of 5,000 items]"
    assert "1000" not in text.replace("1,000", "")


# print().


def _printed(shown, *values, **options) -> str:
    out = io.StringIO()
    shown._print = lambda *args, **more: print(*args, **({"file": out} | more))
    shown.print(*values, **options)
    return out.getvalue()


def test_print(shown, database):
    things = database.table("things")
    rows = [(n,) for n in range(100)]
    assert _last(_printed(shown, pyarrow.table(COLUMNS))) == "[5 of 100 rows]"
    assert _last(_printed(shown, things)) == "[5 of 100 rows]"
    assert _last(_printed(shown, polars.DataFrame(COLUMNS))) == "[5 of 100 rows]"
    assert _last(_printed(shown, pandas.DataFrame(COLUMNS))) == "[100 rows x 2 columns]"
    assert _last(_printed(shown, rows)) == "[5 of 100 rows]"
    assert _printed(shown, "a", 1, None, sep="-", end="!") == "a-1-None!"
    both = _printed(shown, "before", rows, "after", sep="\n")
    assert both.startswith("before\n(0,)\n")
    assert both.endswith("[5 of 100 rows]\nafter\n")


def test_print_into_a_file_writes_all(shown):
    """What goes elsewhere is data."""
    rows = [(n,) for n in range(100)]
    elsewhere = io.StringIO()
    shown.print(rows, file=elsewhere)
    assert elsewhere.getvalue() == f"{rows}\n"


# In a session.


def test_max_rows_changes_from_call_to_call(packed):
    packed.run("import pandas as pd, polars as pl, pyarrow as pa, ibis")
    packed.run("columns = {'n': list(range(1000, 1100))}")
    packed.run("t = ibis.duckdb.connect().create_table('t', pa.table(columns))")
    for name in ("pd.DataFrame(columns)", "pl.DataFrame(columns)", "pa.table(columns)", "t"):
        for shape in ("{}", "print({})", "print(f'{{{}}}')"):
            if "f'" in shape and name in ("pa.table(columns)", "t"):
                continue
            for rows in (3, 50, 1, 7):
                output = packed.run(shape.format(name), max_rows=rows)["output"]
                found = sum(f" {n}" in output or f"\n{n}" in output for n in range(1000, 1100))
                # Of an odd number pandas shows the even one below it.
                less = rows > 1 and name.startswith("pd")
                assert rows - less <= found <= rows, (name, shape, rows, output)
                assert "100" in output.replace("1000", "")


def test_all_rows_when_there_is_room(packed):
    packed.run("import pandas as pd, polars as pl, pyarrow as pa")
    for name in ("pd", "pl", "pa"):
        make = "pa.table" if name == "pa" else f"{name}.DataFrame"
        output = packed.run(f"{make}({{'n': list(range(1000, 1900))}})", max_rows=1000)["output"]
        assert sum(str(n) in output for n in range(1000, 1900)) == 900
        assert "900" in output


def test_what_the_last_value_is_called(packed):
    assert packed.run("6 * 7")["output"] == "42\n"
    assert packed.run("_ + 1")["output"] == "43\n"
    assert packed.run("6 * 7;")["output"] == ""
    assert packed.run("None")["output"] == ""


def test_a_value_that_can_not_be_shown(packed):
    code = "class Odd:\n    def __repr__(self): raise ValueError('no')\nOdd()"
    answer = packed.run(code)
    assert (answer["status"], answer["error"]["name"]) == ("error", "ValueError")
    assert packed.run("print(Odd())")["status"] == "error"
    assert packed.run("1 + 1")["output"] == "2\n"
