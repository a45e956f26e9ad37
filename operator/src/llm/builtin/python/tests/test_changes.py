"""What summaries say of values among many, of old data, and of what could not be measured."""

from test_compare import COLUMN, TABLE, _changes, _page, _told

FRESH = TABLE | {"newest-in": "at"}


def _three(tmp_path, capsys, oldest: dict, before: dict, after: dict) -> list[tuple]:
    import json

    from profiler import compare

    for name, of in (("0", oldest), ("1", before), ("2", after)):
        (tmp_path / name).write_text(_page({"m.a": (FRESH | of, {})}), encoding="utf-8")
    compare.changes(str(tmp_path / "2"), [str(tmp_path / "1"), str(tmp_path / "0")])
    return _told([json.loads(line) for line in capsys.readouterr().out.splitlines()])


def test_data_that_stands_still(tmp_path, capsys):
    first, second = {"newest": "2026-01-01 10:00:00"}, {"newest": "2026-01-02 10:00:00"}
    told = _three(tmp_path, capsys, first, second, second)
    assert told == [("stalled", "m.a", "at", None, "2026-01-02 10:00:00")]
    # It stood still before, too.
    assert _three(tmp_path, capsys, second, second, second) == []
    # Rows came, and none of them was newer.
    told = _three(tmp_path, capsys, second, second, second | {"rows": "101"})
    assert told == [("stalled", "m.a", "at", None, "2026-01-02 10:00:00")]
    assert _three(tmp_path, capsys, first, first, second | {"rows": "101"}) == []
    told = _three(tmp_path, capsys, first, second, first)
    assert told == [("newest", "m.a", "at", "2026-01-02 10:00:00", "2026-01-01 10:00:00")]
    # There is nothing newer than today, where days are all that is known.
    today = {"newest": "now"}  # as the page of this test says
    assert _three(tmp_path, capsys, today, today, today | {"rows": "101"}) == []


def _values(tmp_path, capsys, old: dict, new: dict) -> list[tuple]:
    pages = [_page({"m.a": (TABLE, {"x": COLUMN | {"nulls": "0"} | of})}) for of in (old, new)]
    return [(what, *told) for what, _, _, *told in _told(_changes(tmp_path, capsys, *pages))]


def test_values_among_many(tmp_path, capsys):
    def often(**counts) -> dict:
        import json

        return {"distinct": "30", "often": json.dumps(list(counts.items()))}

    rest = {f"v{at}": 5 for at in range(7)}
    leading, other = often(web=40, **rest), often(shop=40, **rest)
    assert _values(tmp_path, capsys, leading, often(web=36, **rest)) == []
    assert _values(tmp_path, capsys, leading, often(web=30, **rest)) == [
        ("share", "40.0 %", "30.0 %")
    ]
    # It is not among those that lead any more.
    assert _values(tmp_path, capsys, leading, other) == [
        ("share", "at most 5.0 %", "40.0 %"),
        ("share", "40.0 %", "at most 5.0 %"),
    ]
    # Nothing leads any more.
    assert _values(tmp_path, capsys, leading, {"distinct": "90"}) == [
        ("share", "40.0 %", "at most 5.0 %")
    ]
    # From a few to many.
    few = {"distinct": "2", "top": '[["a",50],["b",50]]'}
    told = _values(tmp_path, capsys, few, {"distinct": "9", "often": '[["a",49],["b",44]]'})
    assert told == [("values", "2", "9"), ("share", "50.0 %", "44.0 %")]
    # Nothing is said of people.
    assert _values(tmp_path, capsys, few, {"distinct": "9", "personal": "1"}) == []


def test_what_was_not_measured_has_not_changed(tmp_path, capsys):
    reference = {"reference": "m.a.x → m.b.id", "way": "found", "on": "m.a"}
    warning = {"warning": "nan", "at": "m.a.x", "on": "m.a", "says": "1 row"}
    unread = {"warning": "unread", "at": "m.a.x", "on": "m.a", "says": "no"}
    tables = {"m.a": (TABLE, {"x": COLUMN}), "m.b": (TABLE, {"id": COLUMN})}
    whole = _page(tables, references=[reference], warnings=[warning])
    cut = _page(tables).replace("data-catalog", "data-cut-references='1' data-catalog")
    told = _told(_changes(tmp_path, capsys, whole, cut))
    assert [one[0] for one in told] == ["warning"]
    told = _told(_changes(tmp_path, capsys, whole, _page(tables, [unread], [reference])))
    assert told == [("warning", "m.a", "m.a.x", None, "no")]
    failed = _page({"m.a": (TABLE | {"problem": "1", "key": ""}, {}), "m.b": tables["m.b"]})
    lines = _changes(tmp_path, capsys, _page(tables), failed)
    assert _told(lines) == []
    assert any("could not be measured" in line.get("text", "") for line in lines)
    without = _page({"m.a": tables["m.a"]})
    lines = _changes(tmp_path, capsys, _page(tables), without + "<tr data-unmeasured='m.b'></tr>")
    assert _told(lines) == []


def test_columns_of_which_only_names_and_types_are_there(tmp_path, capsys):
    before = _page({"m.a": (TABLE, {"id": COLUMN | {"unique": "1"}, "x": COLUMN, "a<b ": COLUMN})})
    names = "<p data-names='1'><b>integer</b> x, new <b>text</b> id, <i>a&lt;b </i> </p>"
    after = _page({"m.a": (TABLE, {})}) + names
    assert _told(_changes(tmp_path, capsys, before, after)) == [
        ("type", "m.a", "x", "text", "integer"),
        ("column", "m.a", "new", None, "integer"),
    ]
