"""Summaries tell what has changed, all of it, and nothing else."""

import json

from profiler import compare

TABLE = {"kind": "table", "how": "exact", "key": "id", "counted": "exact", "rows": "100"}
COLUMN = {"type": "text", "null": "null", "nulls": "10", "of": "100"}


def _page(tables: dict, warnings=(), references=(), asked=("*",)) -> str:
    def attributes(of: dict) -> str:
        return "".join(f" data-{name}='{value}'" for name, value in of.items())

    out = [f"<main data-catalog='1' data-run='now' data-asked='{json.dumps(list(asked))}'>"]
    out += [f"<li{attributes(warning)}></li>" for warning in warnings]
    for name, (of, columns) in tables.items():
        out.append(f"<section{attributes({'table': name} | of)}>")
        out += [f"<li{attributes(reference)}></li>" for reference in references]
        out += [
            f"<tr{attributes({'column': column} | said)}></tr>" for column, said in columns.items()
        ]
    return "".join(out)


def _changes(tmp_path, capsys, before: str, after: str) -> list[dict]:
    for name, page in (("before", before), ("after", after)):
        (tmp_path / name).write_text(page, encoding="utf-8")
    compare.changes(str(tmp_path / "after"), [str(tmp_path / "before")])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def _told(lines: list[dict]) -> list[tuple]:
    return [
        (one["what"], one["on"], one["name"], one.get("before"), one.get("after"))
        for one in lines
        if one["record"] == "change"
    ]


def test_nothing(tmp_path, capsys):
    page = _page({"m.a": (TABLE, {"x": COLUMN})})
    lines = _changes(tmp_path, capsys, page, page)
    assert [line["record"] for line in lines] == ["compared"]
    assert lines[0]["changes"] == 0


def test_each_kind(tmp_path, capsys):
    before = _page({
        "m.gone": (TABLE, {}),
        "m.a": (
            TABLE,
            {
                "same": COLUMN,
                "dropped": COLUMN,
                "typed": COLUMN,
                "strict": COLUMN,
                "nulls": COLUMN,
                "few": COLUMN | {"distinct": "2", "top": '[["a",60],["b",30]]'},
            },
        ),
    })  # fmt: skip
    after = _page({
        "m.new": (TABLE, {}),
        "m.a": (
            TABLE | {"rows": "111", "key": "id, x"},
            {
                "same": COLUMN | {"nulls": "15"},
                "added": COLUMN,
                "typed": COLUMN | {"type": "integer"},
                "strict": COLUMN | {"null": "not null"},
                "nulls": COLUMN | {"nulls": "16"},
                "few": COLUMN | {"distinct": "2", "top": '[["a",50],["c",40]]'},
            },
        ),
    })  # fmt: skip
    told = _told(_changes(tmp_path, capsys, before, after))
    assert told == [
        ("table", "m.gone", "", "100 rows", None),
        ("column", "m.a", "dropped", "text", None),
        ("type", "m.a", "typed", "text", "integer"),
        ("key", "m.a", "", "id", "id, x"),
        ("null", "m.a", "strict", "null", "not null"),
        ("column", "m.a", "added", None, "text"),
        ("rows", "m.a", "", "100", "111"),
        ("nulls", "m.a", "nulls", "10.0 %", "16.0 %"),
        ("share", "m.a", "few", "66.7 %", "55.6 %"),
        ("value", "m.a", "few", "30 rows", None),
        ("value", "m.a", "few", None, "40 rows"),
        ("table", "m.new", "", None, "100 rows"),
    ]


def test_other_methods_are_no_drift(tmp_path, capsys):
    sampled = {"type": "text", "null": "null", "between": "0.02 0.2"}
    before = _page({"m.a": (TABLE, {"x": COLUMN}), "m.b": (TABLE, {})})
    after = _page(
        {"m.a": (TABLE | {"how": "sample", "rows": "105"}, {"x": sampled})}, asked=("m.a",)
    )
    lines = _changes(tmp_path, capsys, before, after)
    assert _told(lines) == []
    notes = [line["text"] for line in lines if line["record"] == "note"]
    assert any("m.b was not looked for" in note for note in notes)
    assert any("another way" in note for note in notes)


def test_a_name_without_a_schema_is_of_the_usual_one(tmp_path, capsys):
    before = _page({"main.orders": (TABLE, {}), "old.orders": (TABLE, {})}, asked=("*.*",))
    after = _page({"main.orders": (TABLE, {})}, asked=("orders",))
    lines = _changes(tmp_path, capsys, before, after)
    assert _told(lines) == []
    assert any("old.orders was not looked for" in line.get("text", "") for line in lines)


def test_warnings(tmp_path, capsys):
    warning = {"warning": "nan", "at": "m.a.x", "on": "m.a", "says": "1 row"}
    stale = {"warning": "stale", "at": "m.a", "on": "m.a", "says": "old"}
    before = _page({"m.a": (TABLE, {"x": COLUMN})})
    after = _page({"m.a": (TABLE, {"x": COLUMN})}, warnings=[warning, stale])
    told = _told(_changes(tmp_path, capsys, before, after))
    assert told == [("warning", "m.a", "m.a.x", None, "1 row")]
    told = _told(_changes(tmp_path, capsys, after, before))
    assert told == [("warning", "m.a", "m.a.x", "1 row", None)]


def test_references(tmp_path, capsys):
    reference = {
        "reference": "m.a.x → m.b.id", "way": "found", "on": "m.a", "from": "m.a.x",
        "to": "m.b.id", "to-table": "m.b",
    }  # fmt: skip
    tables = {"m.a": (TABLE, {"x": COLUMN}), "m.b": (TABLE, {"id": COLUMN})}
    plain, related = _page(tables), _page(tables, references=[reference])
    declared = _page(tables, references=[reference | {"way": "declared"}])
    assert _told(_changes(tmp_path, capsys, plain, related))[0][3:] == (None, "found")
    assert _told(_changes(tmp_path, capsys, related, declared))[0][3:] == ("found", "declared")
    # With a column that is new, a reference is no news.
    without = _page({"m.a": (TABLE, {}), "m.b": tables["m.b"]})
    assert [one[0] for one in _told(_changes(tmp_path, capsys, without, related))] == ["column"]


def test_pages_of_others_are_passed_over(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "catalog.html").write_text("<h1>By hand</h1>")
    page = _page({"m.a": (TABLE, {})})
    (tmp_path / "0").write_text(page)
    (tmp_path / "2").write_text(page)
    others = [str(tmp_path / "none"), str(tmp_path / "1/catalog.html")]
    compare.changes(str(tmp_path / "2"), [*others, str(tmp_path / "0")])
    (head,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (head["with"], len(head["skipped"])) == ("now", 2)
    compare.changes(str(tmp_path / "2"), others)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["record"] for line in lines] == ["compared", "rows"]
