"""Compares every number on a rendered page with what is known to be true.

``python check.py <engine> <url> <seed> <page>`` tells what is wrong with the page of a database
that ``world.py`` made. What has no mark must be exact; what has one must lie within its interval:
if that is all that is wrong, the exit code is 3, for of a thousand such numbers one is outside.
A number that no rule here explains is wrong, too.
"""

import math
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import rendered
import world as worlds

TODAY = datetime.now(UTC).date().isoformat()
TOMORROW = f"{TODAY}~"  # later than any moment of today, as a text
_OUTSIDE = 3
_COUNT = r"([0-9][0-9,]*)"
_PERCENT = r"(0|100 %|<0\.1 %|>99\.9 %|[0-9.]+ %)"


def number(text: str):
    """A number out of a text."""
    return int(text.replace(",", ""))


def share(part: int, of: int) -> str:
    """A share as a page should say it."""
    if not part:
        return "0"
    if part == of:
        return "100 %"
    percent = part * 100 / of
    if percent < 0.1:
        return "<0.1 %"
    return ">99.9 %" if percent > 99.9 else f"{percent:.1f} %"


def same(text: str, value) -> bool:
    """Whether a text is a value, in full or as far as it goes."""
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            return Decimal(text) == Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            return False
    wanted, text = rendered.shown(str(value)).strip(), text.strip()
    return wanted.startswith(text[:-1]) if text.endswith("…") else text == wanted


def is_nan(value) -> bool:
    """Whether a value is no number at all."""
    return isinstance(value, float) and math.isnan(value)


def is_odd(value) -> bool:
    """Whether a value is no real number or date."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value in ("infinity", "0000-00-00")


class Check:
    """What is wrong with a page."""

    def __init__(self, engine: str, url: str, seed: int, path: str) -> None:
        self.engine = engine
        self.world = worlds.world(engine, seed)
        self.page = rendered.page(path)
        self.database = worlds.Writer(engine, url)
        self.wrong: list[str] = []
        # Of their intervals.
        self.outside: list[str] = []
        self.exact = self.sampled = 0
        self.joins = ""
        self.schema = {"postgres": "public", "mariadb": "shop"}.get(engine, "main")

    def expect(self, holds: bool, *about) -> None:
        """Note what is not as it should be."""
        if not holds:
            self.wrong.append(" ".join(str(one) for one in about))

    def within(self, least: float, truth: float, most: float, *about) -> None:
        """Note what is not within its interval."""
        self.sampled += 1
        if not least <= truth <= most:
            self.outside.append(" ".join(str(one) for one in (*about, truth)))

    def run(self) -> None:
        """Check all."""
        sections = {one.of["data-table"]: one for one in self.page.having("data-table")}
        wanted = {f"{self.schema}.{rendered.shown(table.name)}" for table in self.world.tables}
        wanted.add(f"{self.schema}.big")
        self.expect(wanted == sections.keys(), "tables", wanted ^ sections.keys())
        for table in self.world.tables:
            section = sections.get(f"{self.schema}.{rendered.shown(table.name)}")
            if section:
                self.table(table, section)
        self.big(sections[f"{self.schema}.big"])
        self.head()
        self.warnings()
        self.references()

    def query(self, column: str, table: str, what: str) -> list:
        """What a plain query says of a column."""
        name, at = worlds.quoted(self.engine, column), worlds.quoted(self.engine, table)
        return self.database.rows(f"SELECT {what.format(c=name)} FROM {at}")[0]

    # Tables.

    def head(self) -> None:
        tables = self.world.tables
        (header,) = self.page.tags("header")
        rows = sum(table.rows for table in tables) + worlds.BIG
        columns = sum(len(table.columns) for table in tables) + 5
        text = header.text()
        for said in (
            f"{len(tables) + 1} of {len(tables) + 1} tables measured",
            f"rows counted {rows:,}",
            f"columns {columns}",
            f"declared references {len(self.world.declared)}",
        ):
            self.expect(said in " ".join(text.split()), "header", said, "not in", text)

    def table(self, table: worlds.Table, section: rendered.Element) -> None:
        facts = {
            one.tags("dt")[0].text(): one.tags("dd")[0].text()
            for one in section.tags("dl")[0].tags("div")
        }
        self.expect(facts["Rows"] == f"{table.rows:,} counted", table.name, facts)
        self.expect(facts["Columns"] == str(len(table.columns)), table.name, facts)
        key = ", ".join(table.key) or "none declared"
        self.expect(facts["Key"] == key, table.name, facts)
        self.expect(section.of["data-rows"] == str(table.rows), table.name, section.of)
        times = [column for column in table.columns if column.kind == "time"]
        past = {
            column.name: max((v for v in column.values if v and v < TOMORROW), default="")
            for column in times
        }
        if "Data up to" in facts or any(past.values()):
            newest, _, column = facts.get("Data up to", "?").partition(" in ")
            self.expect(past.get(column) == newest and newest == max(past.values()), facts, past)
        rows = {one.of["data-column"]: one for one in section.having("data-column")}
        # Of a very wide table, the last ones by name and type only.
        named = [
            name.strip()
            for list_ in section.having("data-names")
            for name in list_.text(without=list_.tags("b")).split(", ")
        ]
        wanted = [rendered.shown(column.name) for column in table.columns]
        self.expect(wanted == [*rows, *named], table.name, "columns", set(wanted) ^ rows.keys())
        self.expect(len(rows) >= min(len(wanted), 60), table.name, len(rows))
        for column in table.columns:
            row = rows.get(rendered.shown(column.name))
            if row:
                self.column(table, column, row)

    # Columns.

    def column(self, table: worlds.Table, column: worlds.Column, row: rendered.Element) -> None:
        at = f"{table.name}.{column.name}"
        _, null, distinct, _, values = [
            one for one in row.inside if isinstance(one, rendered.Element)
        ]
        filled = [value for value in column.values if value is not None]
        nulls = table.rows - len(filled)
        self.expect(
            null.text() == (share(nulls, table.rows) if table.rows else "–"), at, null.text()
        )
        self.expect(row.of["data-nulls"] == str(nulls), at, row.of)
        self.exact += 1
        different = self.distinct(table, column, filled)
        if column.kind in ("blob", "json", "array") and filled:
            self.expect(distinct.text() == "not measured", at, distinct.text())
        else:
            note = " all distinct" if different == len(filled) > 1 else ""
            said = " ".join(distinct.text().split())
            self.expect(said == f"{different:,}{note}", at, said, different)
            self.exact += 1
        self.values(at, table, column, filled, different, values)

    def distinct(self, table: worlds.Table, column: worlds.Column, filled: list) -> int:
        if self.engine == "mariadb" and column.kind == "text":
            return self.query(column.name, table.name, "COUNT(DISTINCT {c})")[0]
        return len({str(one) for one in filled}) if column.kind != "number" else len(
            {"nan" if is_nan(one) else one for one in filled})  # fmt: skip

    def values(self, at, table, column, filled, different, cell) -> None:  # noqa: PLR0917
        """The last cell: extremes, quartiles, frequent values, and what else was counted."""
        done = []
        if column.kind in {"number", "time"}:
            real = sorted(one for one in filled if not is_odd(one))
        else:
            real = filled
        for span in cell.all(lambda one: one.tag == "span" and one.of.get("class") == "v"):
            done.append(span)
            least, _, most = span.text().partition(" … ")
            ends = self.ends(table, column, real)
            fits = same(least, ends[0]) and same(most, ends[1])
            self.expect(fits, at, span.text(), "not", *ends)
            self.exact += 2
        for span in cell.all(lambda one: one.tag == "span" and one.of.get("class") == "top"):
            done.append(span)
            self.shares(at, column, filled, span)
        for small in cell.tags("small"):
            text = small.text(without=done)
            if text.startswith("median "):
                done.append(small)
                found = re.fullmatch(r"median (\S+), half are (\S+) … (\S+)", text)
                quarters = [real[math.ceil(q * len(real)) - 1] for q in (0.5, 0.25, 0.75)]
                fits = found and all(map(same, found.groups(), quarters))
                self.expect(fits, at, text, "not", quarters)
                self.exact += 3
            elif re.fullmatch(r"drawn by ([0-9]+ )?\w+", text):
                done.append(small)
        if cell.text().startswith("always "):
            said = cell.tags("q")
            if said:
                self.expect(different == 1 and same(said[0].text(), filled[0]), at, cell.text())
                done += said
            else:
                self.expect(not filled, at, cell.text())
        rest = " ".join(cell.text(without=done).split())
        for kind, value in self.counts(column, filled, real).items():
            rest, number_ = re.subn(kind, "", rest)
            told = value if isinstance(value, str) else f"{value:,}"
            if number_:
                found = re.search(kind, " ".join(cell.text(without=done).split()))
                self.expect(found[1] == told, at, found[0], "not", told)
                self.exact += 1
            elif value and not isinstance(value, str) and value != len(filled):
                few = kind.startswith(_COUNT + " zero") and different <= 8
                self.expect(few, at, "nothing is said of", kind, value)
        self.expect(not re.search("[0-9]", rest), at, "unexplained:", rest)

    def ends(self, table, column, real) -> tuple:
        """The least and the greatest value; of texts, as the database orders them."""
        if column.kind in ("number", "time"):
            return (real[0], real[-1])
        cast = "VARCHAR" if self.engine in ("postgres", "duckdb") else "CHAR"
        return self.query(
            column.name, table.name, f"CAST(MIN({{c}}) AS {cast}), CAST(MAX({{c}}) AS {cast})"
        )

    def shares(self, at, column, filled, span) -> None:
        """Frequent values and their shares."""
        names = [one.text() for one in span.tags("q", "i")]
        told = [one.text() for one in span.tags("b")]
        self.expect(len(names) == len(told), at, span.text())
        counts: dict[str, int] = {}
        for value in filled:
            text = str(value)
            if column.kind == "bool":
                text = str(int(value)) if self.engine in ("sqlite", "mariadb") else text.lower()
            counts[text] = counts.get(text, 0) + 1
        for name, said in zip(names, told, strict=False):
            name = "" if name == "empty text" else name
            hits = [rows for value, rows in counts.items() if same(name, value)]
            if column.kind == "number":
                hits = [filled.count(value) for value in set(filled) if same(name, value)]
            fits = said in {share(rows, len(filled)) for rows in hits}
            self.expect(fits, at, name, said, "not", hits, len(filled))
            self.exact += 1

    def counts(self, column, filled, real) -> dict:
        """What else may be told, by how it is told."""
        out = {}
        if column.kind == "number":
            out[_COUNT + " zeros?"] = sum(value == 0 for value in real)
            out[_COUNT + " negative"] = sum(value < 0 for value in real)
            out[_COUNT + " NaN"] = sum(is_nan(value) for value in filled)
            out[_COUNT + " infinite"] = sum(value in (math.inf, -math.inf) for value in filled)
        if column.kind == "time":
            far = sum(value < "1900-01-02" or value >= "2100-01-01" for value in real)
            out[_COUNT + " in the future"] = sum(value > TOMORROW for value in real)
            out[_COUNT + " before 1900 or after 2099"] = far
            out[_COUNT + " of 0000-00-00"] = filled.count("0000-00-00")
            out[_COUNT + " infinite"] = filled.count("infinity")
        if column.kind == "text":
            out[_COUNT + " empty"] = filled.count("")
        if column.kind in ("text", "json", "blob", "array") and filled:
            sizes = sorted({len(value) for value in filled})
            ends = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"
            if column.kind != "text":
                ends = f"{sizes[0]:,}–{sizes[-1]:,}"
            word = {"blob": "bytes", "array": "elements"}.get(column.kind, "letters")
            out[rf"([0-9,]+(?:–[0-9,]+)?) {word}"] = ends
        return out

    # A table that is sampled.

    def big(self, section: rendered.Element) -> None:
        self.expect(section.of["data-rows"] == str(worlds.BIG), "big", section.of)
        text = " ".join(section.tags("dl")[0].text().split())
        found = re.search(r"Sample ([0-9,]+) rows", text)
        self.expect(found and 15_000 < number(found[1]) < 25_000, text)
        (newest,) = self.query("day", "big", "MAX({c})")
        self.expect(f"Data up to {newest} in day" in text, text)
        for row in section.having("data-column"):
            cells = [one for one in row.inside if isinstance(one, rendered.Element)]
            self.drawn(row.of["data-column"], *cells[1:3], cells[4])

    def drawn(self, column: str, null, distinct, cell) -> None:
        at = f"big.{column}"
        filled, different, *ends = self.query(
            column, "big", "COUNT({c}), COUNT(DISTINCT {c}), MIN({c}), MAX({c})"
        )
        self.expect(null.text() == share(worlds.BIG - filled, worlds.BIG), at, null.text())
        found = re.fullmatch(rf"≥ {_COUNT} +{_COUNT} sampled", distinct.text())
        self.expect(found and number(found[1]) <= different, at, distinct.text(), different)
        done = []
        for span in cell.all(lambda one: one.of.get("class") == "v"):
            done.append(span)
            said = span.text().split(" … ")
            self.expect(said == [str(one) for one in ends], at, span.text(), ends)
            self.exact += 2
        for span in cell.all(lambda one: one.of.get("class") == "top"):
            done.append(span)
            names = [one.text() for one in span.tags("q")]
            told = [one.text() for one in span.tags("b", "small")]
            self.expect(names and len(told) == 2 * len(names), at, span.text())
            for name, about, between in zip(names, told[::2], told[1::2], strict=False):
                sql = f"COUNT(CASE WHEN {{c}} = '{name}' THEN 1 END)"
                percent = self.query(column, "big", sql)[0] * 100 / filled
                least, most = re.fullmatch(r"\(([0-9.]+)–([0-9.]+) %\)", between).groups()
                fits = about.startswith("≈ ") and float(most) - float(least) < 8
                self.expect(fits, at, name, about, between)
                self.within(float(least), percent, float(most), at, name)
        for small in cell.tags("small"):
            text = " ".join(small.text().split())
            if text.startswith("median "):
                done.append(small)
                one = r"≈ (\S+) \((\S+) to (\S+)\) ?"
                found = re.fullmatch(f"median {one}, half are {one} … {one}", text)
                self.expect(found, at, text)
                for quantile, at_ in ((0.5, 1), (0.25, 4), (0.75, 7)) if found else ():
                    rank = math.ceil(quantile * filled) - 1
                    name = worlds.quoted(self.engine, column)
                    (truth,) = self.database.rows(
                        f"SELECT {name} FROM big WHERE {name} IS NOT NULL ORDER BY 1 "
                        f"LIMIT 1 OFFSET {rank}"
                    )[0]
                    _, least, most = (float(found[at_ + step]) for step in range(3))
                    self.within(least, truth, most, at, text)
            elif re.fullmatch(r"drawn by ([0-9]+ )?\w+", text):
                done.append(small)
        rest = cell.text(without=done)
        counted = {
            r"([0-9,]+) zeros?": "COUNT(CASE WHEN {c} = 0 THEN 1 END)",
            r"([0-9,]+) letters": "MAX(LENGTH({c}))",
            r"[0-9,]+–([0-9,]+) letters": "MAX(LENGTH({c}))",
        }
        for kind, sql in counted.items():
            found = re.search(kind, rest)
            if found and "–" not in rest[: found.start()]:
                truth = self.query(column, "big", sql)[0]
                self.expect(number(found[1]) == truth, at, found[0], truth)
                rest = rest.replace(found[0], "")
        self.expect(not re.search("[0-9]", rest), at, "unexplained:", rest)

    # Warnings and joins.

    def warnings(self) -> None:
        wanted: dict[tuple[str, str], str] = {}
        for table in self.world.tables:
            full = f"{self.schema}.{rendered.shown(table.name)}"
            if not table.rows:
                wanted["empty", full] = "has no rows"
            if not table.key and not table.view:
                wanted["keyless", full] = "has no primary key, nor any other unique constraint"
            for column in table.columns:
                at = f"{full}.{rendered.shown(column.name)}"
                filled = [value for value in column.values if value is not None]
                if table.rows and not filled:
                    wanted["null", at] = f"is null in all {table.rows:,} rows"
                counts = {
                    "nan": sum(is_nan(value) for value in filled),
                    "infinite": sum(value in (math.inf, -math.inf, "infinity") for value in filled),
                }
                if column.kind == "time":
                    real = [value for value in filled if not is_odd(value)]
                    counts["future"] = sum(value > TOMORROW for value in real)
                    counts["outside"] = sum(
                        value < "1900-01-02" or value >= "2100-01-01" for value in real
                    )
                    counts["zero-date"] = filled.count("0000-00-00")
                for kind, rows in counts.items():
                    if rows:
                        word = "row" if rows == 1 else "rows"
                        wanted[kind, at] = f"{rows:,} {word} ({share(rows, table.rows)}) "
        for (child, columns, parent, to), broken in self.world.orphans.items():
            at = f"{self.schema}.{child}.{', '.join(columns)}"
            table = next(one for one in self.world.tables if one.name == child)
            values = next(one for one in table.columns if one.name == columns[0]).values
            of = len([value for value in values if value is not None])
            word = "row" if broken == 1 else "rows"
            wanted["orphans", at] = f"{broken} {word} of {of} refer to no {parent}.{to[0]}"
        told = {
            (one.of["data-warning"], one.of["data-at"]): one
            for one in self.page.having("data-warning")
        }
        for key, says in wanted.items():
            one = told.get(key)
            fits = one and one.of["data-says"].startswith(says)
            self.expect(fits, "warning", key, says, "not", one and one.of["data-says"])
            self.expect(one and one.of["data-says"] in one.text(), "warning", key)
            self.exact += 1
        # They depend on what plain rules make of chance: constant columns of a few rows.
        free = {"constant", "stale"}
        more = {key for key in told.keys() - wanted.keys() if key[0] not in free}
        self.expect(not more, "more warnings", more)

    def references(self) -> None:
        said: dict[str, set] = {"declared": set(), "found": set(), "possible": set()}
        for one in self.page.having("data-reference"):
            said[one.of["data-way"]].add(one.of["data-reference"])

        def text(reference) -> str:
            child, columns, parent, to = reference
            here = f"{self.schema}.{child}.{', '.join(columns)}"
            return f"{here} → {self.schema}.{parent}.{', '.join(to)}"

        declared = {text(one) for one in self.world.declared}
        dropped = {text(one) for one in self.world.dropped}
        self.expect(said["declared"] == declared, "declared", said["declared"] ^ declared)
        right = said["found"] & dropped
        recall, precision = len(right) / len(dropped), len(right) / max(1, len(said["found"]))
        self.joins = (
            f"joins: references={len(dropped)} recall={recall:.3f} precision={precision:.3f}"
        )
        self.expect(recall >= 0.95, "missed", dropped - right)
        self.expect(precision >= 0.95, "wrong", said["found"] - dropped)


def main() -> None:
    """Tell what is wrong."""
    engine, url, seed, path = sys.argv[1:]
    check = Check(engine, url, int(seed), path)
    check.run()
    print(f"{engine}, seed {seed}: {check.exact} exact, {check.sampled} sampled; {check.joins}")
    if check.wrong:
        print("\n".join(check.wrong[:40]))
        sys.exit(1)
    if check.outside:
        print("\n".join(check.outside))
        # By chance, perhaps: whoever asks can have another sample drawn.
        sys.exit(_OUTSIDE)


if __name__ == "__main__":
    main()
