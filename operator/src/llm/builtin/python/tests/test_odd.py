"""What real databases hold besides: odd names, odd values, views that fail, people."""

import json

import pytest

from profiler import names

NAMES = [
    'a"b',
    "a`b",
    "we ird",
    "Ünï☃",
    "select",
    "x'; DROP TABLE y; --",
    "a.b",
    "%s %(x)s {y}",
    "\\",
]


def test_names(kind):
    columns = ", ".join(f"{kind.quote(name)} INTEGER" for name in NAMES)
    statements = []
    for name in NAMES:
        statements += [
            f"CREATE TABLE {kind.quote(name)} ({columns})",
            f"INSERT INTO {kind.quote(name)} VALUES ({', '.join('1' * len(NAMES))})",
        ]
    session = kind.look(kind.make(*statements), *NAMES)
    assert [table.name for table in session.tables] == NAMES
    for table in session.tables:
        assert table.facts["rows"] == 1, table.facts
        for column in table.columns:
            assert column.facts["distinct"] == 1, (table.name, column.name, column.facts)


def test_empty_and_views(kind):
    url = kind.make(
        "CREATE TABLE vacant (id INTEGER, word VARCHAR(10))",
        "CREATE TABLE few (id INTEGER, word VARCHAR(10))",
        "INSERT INTO few VALUES (1, 'a'), (2, 'b')",
        "CREATE VIEW seen AS SELECT id, word FROM few WHERE id > 1",
        "CREATE VIEW failing AS SELECT 1 AS id, CAST(word AS "
        f"{'SIGNED' if kind.name == 'mysql' else 'INTEGER'}) AS boom FROM few",
    )
    session = kind.look(url)
    facts = {table.name: table.facts for table in session.tables}
    assert facts["vacant"]["rows"] == 0
    assert facts["seen"]["rows"] == 1
    failing = next(table for table in session.tables if table.name == "failing")
    if kind.name in ("duckdb", "postgres"):
        assert "problem" in failing.columns[1].facts
        assert failing.columns[0].facts["distinct"] == 1


def test_missing_and_near(kind, capsys):
    url = kind.make("CREATE TABLE customers (id INTEGER)")
    kind.look(url, "custmers", "customers")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    missing = [line for line in lines if line["record"] == "missing"]
    assert [(one["name"], one["near"][0]) for one in missing] == [("custmers", "customers")]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"], indirect=True)
def test_not_a_number(kind):
    url = kind.make(
        "CREATE TABLE n (x DOUBLE PRECISION, d DATE)",
        "INSERT INTO n VALUES ('NaN', '0001-01-01'), ('Infinity', 'infinity'), ('-Infinity', NULL),"
        " (1, '9999-12-31'), (2.5, '2024-05-05'), (NULL, '2024-05-06')",
    )
    x, d = kind.look(url, "n").tables[0].columns
    assert (x.facts["nan"], x.facts["infinite"], x.facts["nulls"]) == (1, 2, 1)
    assert (float(x.facts["min"]), float(x.facts["max"])) == (1, 2.5)
    assert x.facts["distinct"] == 5
    assert (d.facts["infinite"], d.facts["outside"], d.facts["future"]) == (1, 2, 1)
    assert d.facts["newest"].startswith("2024-05-06")


def test_zero_dates(request, tmp_path):
    from conftest import Kind

    kind = Kind("mysql", request, tmp_path)
    url = kind.make(
        "CREATE TABLE z (d DATE NOT NULL)",
        "INSERT INTO z VALUES ('0000-00-00'), ('2024-01-01'), ('2024-01-02')",
    )
    (d,) = kind.look(url, "z").tables[0].columns
    assert (d.facts["zero_dates"], d.facts["nulls"], d.facts["min"]) == (1, 0, "2024-01-01")
    assert d.facts["distinct"] == 3


def test_what_came_with_postgresql_18(request, tmp_path):
    from conftest import Kind

    kind = Kind("postgres", request, tmp_path)
    if request.getfixturevalue("postgres").major < 18:
        pytest.skip("this server is older")
    url = kind.make(
        "CREATE TABLE rooms (id int4range, during daterange, price int,"
        " twice int GENERATED ALWAYS AS (price * 2) VIRTUAL,"
        " PRIMARY KEY (id, during WITHOUT OVERLAPS))",
        "CREATE TABLE stays (room int4range, during daterange, note text,"
        " FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD during))",
        "INSERT INTO rooms VALUES ('[1,2)', '[2024-01-01,2025-01-01)', 3),"
        " ('[1,2)', '[2025-01-01,2026-01-01)', 4)",
        "INSERT INTO stays VALUES ('[1,2)', '[2024-02-01,2025-02-01)', NULL)",
        "ALTER TABLE stays ADD CONSTRAINT later NOT NULL note NOT VALID",
        "CREATE TABLE children (id int, parent int)",
        "CREATE TABLE parents (id int PRIMARY KEY)",
        "INSERT INTO children VALUES (1, 9)",
        "ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES parents NOT ENFORCED",
    )
    session = kind.look(url)
    tables = {it.name: it for it in session.tables}
    assert not [it for table in session.tables for it in table.columns if "problem" in it.facts]
    assert tables["rooms"].key == ["id", "during"]
    twice = tables["rooms"].columns[3]
    assert (twice.generated, str(twice.facts["max"])) == (True, "8")
    note = tables["stays"].columns[2]
    assert (note.not_null, note.facts["nulls"]) == (False, 1)
    # Periods that cover a stay together are no broken reference; one that is not enforced may be.
    assert [it.enforced for it in tables["stays"].references] == [True]
    assert [it.enforced for it in tables["children"].references] == [False]


@pytest.fixture
def mysql_kind(request, tmp_path):
    """MariaDB, or MySQL."""
    from conftest import Kind

    return Kind("mysql", request, tmp_path)


def test_dates_of_which_a_part_is_zero(mysql_kind):
    url = mysql_kind.make(
        "CREATE TABLE z (d DATE NOT NULL, at DATETIME(3))",
        "INSERT INTO z VALUES ('0000-00-00', '0000-00-00 00:00:00'), ('2024-00-00', NULL),"
        " ('2024-02-03', '2024-02-03 10:00:00.123')",
    )
    for large in (1_000_000, 1):
        d, at = mysql_kind.look(url, "z", large=large).tables[0].columns
        assert (d.facts["zero_dates"], d.facts["nulls"]) == (1, 0)
        assert (d.facts["min"], d.facts["max"]) == ("2024-00-00", "2024-02-03")
        assert d.facts.get("distinct", d.facts.get("distinct_seen")) == 3
        assert (at.facts["zero_dates"], at.facts["nulls"]) == (1, 1)
        assert at.facts["min"] == at.facts["newest"] == "2024-02-03 10:00:00.123"


def test_types_that_only_mysql_has(mysql_kind, capsys):
    names = "j e s b y ti f n u bl g tn"
    url = mysql_kind.make(
        "CREATE TABLE t (j JSON, e ENUM('a', 'b c') NOT NULL, s SET('x', 'y'), b BIT(10), y YEAR,"
        " ti TIME(2), f FLOAT, n DECIMAL(40, 20), u BIGINT UNSIGNED, bl BLOB, g GEOMETRY,"
        " tn TINYINT(1), KEY (e))",
        "INSERT INTO t VALUES ('{\"a\": 1}', 'a', 'x,y', b'1000000001', 2024, '-838:59:59', -0.1,"
        " 12345678901234567890.12345678901234567890, 18446744073709551615, x'00ff',"
        " ST_GeomFromText('POINT(1 2)'), 1)",
        # What is no value of an enum is stored as an empty one.
        "INSERT INTO t VALUES (NULL, 'nope', '', b'0', 0, '25:00:00', 1.5,"
        " -0.00000000000000000001, 0, NULL, NULL, 7)",
    )
    for large in (1_000_000, 1):
        table = mysql_kind.look(url, "t", large=large).tables[0]
        facts = dict(zip(names.split(), (it.facts for it in table.columns), strict=True))
        assert not [it for it in facts.values() if "problem" in it]
        kinds = [it.kind for it in table.columns]
        wanted = "json enum enum blob number clock number number number blob other bool"
        assert kinds == wanted.split()
        assert table.columns[0].type == "json"
        assert (facts["j"]["nulls"], facts["j"]["longest"]) == (1, 8)
        seen = "distinct" if large > 1 else "distinct_seen"
        assert [facts[it][seen] for it in ("e", "s", "y", "ti", "u", "tn")] == [2] * 6
        assert (facts["b"]["longest"], facts["bl"]["longest"]) == (2, 2)
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        told = {it["name"]: it for it in records if it["record"] == "column"}
        ends = {it: (str(told[it]["min"]), str(told[it]["max"])) for it in ("y", "ti", "f", "u")}
        assert ends == {
            "y": ("0", "2024"),
            "ti": ("-838:59:59.00", "25:00:00.00"),
            "f": ("-0.1", "1.5"),
            "u": ("0", "18446744073709551615"),
        }
        assert facts["n"]["max"] == "12345678901234567890.12345678901234567890"
        assert [str(it) for it in told["f"]["quartiles"]] == ["-0.1", "-0.1", "1.5"]


def test_keys_of_expressions_and_columns_that_hide(mysql_kind):
    url = mysql_kind.make("CREATE TABLE t (id INTEGER PRIMARY KEY, word VARCHAR(10))")
    server = mysql_kind._request.getfixturevalue("mysql")
    name = url.rpartition("/")[2]
    if server.is_mysql:
        server.admin("ALTER TABLE t ADD UNIQUE KEY x ((LOWER(word)))", name)
    server.admin("ALTER TABLE t ADD COLUMN dark INTEGER DEFAULT 3 INVISIBLE", name)
    server.admin("INSERT INTO t (id, word) VALUES (1, 'a'), (2, 'b')", name)
    table = mysql_kind.look(url, "t").tables[0]
    assert (table.key, table.uniques) == (["id"], [])
    assert table.columns[2].facts["min"] in (3, "3")


def test_the_estimate_is_that_of_now(mysql_kind):
    """MySQL would tell that of a day ago, and take a table that has grown for a small one."""
    url = mysql_kind.make("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (0)")
    assert mysql_kind.look(url, "t").tables[0].estimate <= 1
    server = mysql_kind._request.getfixturevalue("mysql")
    values = ", ".join(f"({at})" for at in range(1, 2000))
    server.admin(f"INSERT INTO t VALUES {values}", url.rpartition("/")[2])
    assert mysql_kind.look(url, "t").tables[0].estimate > 1000


def test_sqlite_values_have_their_own_types(sqlite):
    url = sqlite.make(
        "CREATE TABLE t (n INTEGER, d TEXT, b BLOB, u)",
        "INSERT INTO t VALUES (1, '2024-01-01', x'00ff', CAST(x'ff41' AS TEXT)),"
        " ('many', '2024-02-01', x'01', 'b'), (3, 'soon', NULL, 'b'), (9e999, NULL, NULL, 'b')",
    )
    n, d, b, u = sqlite.look(url).tables[0].columns
    assert (n.facts["mixed"], n.facts["infinite"], n.facts["min"], n.facts["max"]) == (1, 1, 1, 3)
    assert d.kind == "text"
    assert (b.facts["longest"], b.facts["nulls"]) == (2, 2)
    assert u.facts["distinct"] == 2


def test_people_are_not_shown(kind, capsys):
    rows = ", ".join(
        f"({at}, 'Ann Miller{at % 7}', 'ann{at}@example.com', '+49 170 12345{at:02}',"
        f" 'Ann{at}@example.org')"
        for at in range(60)
    )
    url = kind.make(
        "CREATE TABLE customers (id INTEGER, name VARCHAR(40), email VARCHAR(40),"
        " phone VARCHAR(40), reach VARCHAR(40))",
        f"INSERT INTO customers VALUES {rows}",
    )
    kind.look(url, "customers")
    kind.look(url, "customers", large=10)
    said = capsys.readouterr().out
    for secret in ("Miller", "example", "12345"):
        assert secret not in said, said


def test_words():
    assert names.words("CustomerID") == names.words("customer_id") == ["customer", "id"]
    assert names.stem("order_lines") == ("order", "line")
    assert names.stem("categories") == ("category",)
    assert names.stem("addresses") == ("address",)
    assert names.shape("SKU-001") == "aaa-999"
    assert names.variants(["DE", "de ", "AT"]) == [["DE", "de "]]
    assert not names.is_personal("orders", "product_name")
    assert not names.is_personal("orders", "email_id")
    assert names.is_personal("customers", "name")
    assert names.is_personal("x", "firstName")


def test_names_that_were_spelled_out(kind):
    # Whoever tells names to a model spells out what can't be seen.
    url = kind.make(f"CREATE TABLE {kind.quote(chr(0x202E) + 'evil')} (id INTEGER)")
    session = kind.look(url, r"\u{202e}evil")
    assert [table.name for table in session.tables] == ["\u202eevil"]


def test_long_texts_are_no_variants(kind):
    rows = ", ".join(f"('{'x' * 100}{at}')" for at in range(30))
    url = kind.make(
        "CREATE TABLE t (v VARCHAR(200))", f"INSERT INTO t VALUES {rows}, ('Ab'), ('ab')"
    )
    facts = kind.look(url, "t").tables[0].columns[0].facts
    # To MariaDB they are one.
    assert facts.get("variants", []) == ([] if kind.name == "mysql" else [["Ab", "ab"]])


@pytest.mark.parametrize("kind", ["duckdb"], indirect=True)
def test_arrays_of_anything(kind):
    url = kind.make(
        "CREATE TABLE t (a DECIMAL(9,2)[], b INTEGER[][], c DATE[], d INTEGER[2])",
        "INSERT INTO t VALUES ([1.5, 2], [[1], [2, 3]], [DATE '2024-01-01'], [1, 2])",
    )
    columns = kind.look(url, "t").tables[0].columns
    assert [column.kind for column in columns] == ["array"] * 4
    assert [column.facts.get("longest") for column in columns] == [2, 2, 1, 2]


def test_facts_fit_into_results(kind, capsys):
    # A letter may need twelve to be told.
    rows = ", ".join(f"('{chr(0x1F600) * 70}{at}'), ('{chr(0x1F600) * 70}{at}')" for at in range(9))
    charset = " CHARACTER SET utf8mb4" if kind.name == "mysql" else ""
    comment = "-- "
    url = kind.make(
        f"CREATE TABLE t (v VARCHAR(200){charset})", f"INSERT INTO t VALUES {rows}{comment}"
    )
    kind.look(url, "t")
    for line in capsys.readouterr().out.splitlines():
        assert len(line) < 16_000
        json.loads(line)


def test_small_and_single_numbers(kind, capsys):
    single = {"sqlite": "REAL", "postgres": "REAL"}.get(kind.name, "FLOAT")
    double = "DOUBLE" if kind.name == "mysql" else "DOUBLE PRECISION"
    url = kind.make(
        f"CREATE TABLE t (a {single}, b {double})",
        "INSERT INTO t VALUES (16777213, 0.00000012345678901), (0.1, 0.30000000000000004)",
    )
    kind.look(url, "t")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    a, b = [line for line in lines if line["record"] == "column"]
    assert (float(a["min"]), float(a["max"])) == (0.1, 16777213)
    assert (b["min"], b["max"]) == (str(1.2345678901e-07), "0.30000000000000004") or (
        float(b["min"]), float(b["max"])) == (0.00000012345678901, 0.30000000000000004)  # fmt: skip
