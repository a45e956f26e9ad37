"""Compares two catalogs: what is new, gone or different, the heaviest first; nothing else."""

import fnmatch
import itertools
import json

from profiler.pages import Catalog, read
from profiler.values import POINTS, Values, differing

# What a change is: from these on.
ROWS = 0.10
# So many of the runs before are looked at, too.
OLDER = 4
# So many changes are told in full; of the rest, the tables.
TOLD = 40
_LONGEST = 60
_WARNING = 120
# They come with time alone.
_PASSING = {"stale"}


class Comparison:
    """What differs between two catalogs."""

    def __init__(self, before: Catalog, after: Catalog, older: list[Catalog]) -> None:
        self.before, self.after, self.older = before, after, older
        self.changes: list[dict] = []
        self.notes: list[str] = []
        self._moved: set[str] = set()
        self._unread: set[str] = set()

    def run(self) -> None:
        """Compare all."""
        before, after = self.before, self.after
        for name, table in after.tables.items():
            if name not in before.tables:
                self._moved.add(name)
                if name in before.unmeasured or before.cut_tables:
                    self.notes.append(f"{name} was not measured in the earlier run")
                else:
                    self._add(10, "table", name, after=_rows(table) or "new")
        for name in before.tables:
            if name in after.tables:
                self._table(name)
            else:
                self._moved.add(name)
                if name in after.unmeasured or after.cut_tables:
                    self.notes.append(f"{name} was not measured in this run")
                elif self._was_asked_for(name):
                    self._add(0, "table", name, before=_rows(before.tables[name]) or "there")
                else:
                    self.notes.append(f"{name} was not looked for in this run")
        self._references()
        self._warnings()
        self.changes.sort(
            key=lambda change: (change["weight"], change["on"], change.get("name", ""))
        )

    def _was_asked_for(self, name: str) -> bool:
        """Whether the newer run looked for a table."""
        schema, _, bare = name.partition(".")
        # A name without a schema means the usual one, where other tables were found, too.
        is_usual = any(one.partition(".")[0] == schema for one in self.after.tables)
        names = (name, bare) if is_usual else (name,)
        return any(
            fnmatch.fnmatchcase(one, pattern.replace("[", "[[]"))
            for pattern in self.after.asked
            for one in names
        )

    def _add(self, weight: int, what: str, on: str, name: str = "", **values) -> None:
        change = {"record": "change", "weight": weight, "what": what, "on": on, "name": name}
        self.changes.append(change | {key: _cut(value) for key, value in values.items()})

    def _table(self, name: str) -> None:
        before, after = self.before.tables[name], self.after.tables[name]
        if "problem" in before or "problem" in after:
            self.notes.append(f"{name} could not be measured in one of the runs")
            self._unread.add(name)
            return
        for what in ("key", "uniques"):
            if before.get(what, "") != after.get(what, ""):
                said = [one.get(what) or "none" for one in (before, after)]
                self._add(3, what, name, before=said[0], after=said[1])
        if before.get("kind") != after.get("kind"):
            self._add(3, "kind", name, before=before.get("kind", ""), after=after.get("kind", ""))
        self._column_names(name)
        exact = "exact" in (before.get("counted"), after.get("counted"))
        both = before.get("counted") == after.get("counted") == "exact"
        if both:
            old, new = int(before["rows"]), int(after["rows"])
            if abs(new - old) > ROWS * old:
                self._add(
                    5, "rows", name, before=f"{old:,}", after=f"{new:,}", share=_ratio(old, new)
                )
        elif exact:
            self.notes.append(f"{name}: rows were counted in one of the runs only")
        if before.get("how") != after.get("how"):
            self.notes.append(f"{name}: measured in another way than before")
            self._unread.add(name)
            return
        self._freshness(name)
        for column, new in self.after.columns[name].items():
            old = self.before.columns[name].get(column)
            if old is not None:
                self._shares(name, column, old, new)

    def _column_names(self, name: str) -> None:
        before, after = self.before.columns[name], self.after.columns[name]
        # Of a page that leaves columns out, those that are not there are not gone.
        whole = ["cut" not in catalog.tables[name] for catalog in (self.before, self.after)]
        if not all(whole):
            self.notes.append(f"{name}: not all columns are on both pages")
        for column in before:
            if column not in after and whole[1]:
                self._moved.add(f"{name}.{column}")
                self._add(1, "column", name, column, before=before[column].get("type", ""))
        for column, new in after.items():
            old = before.get(column)
            if old is None:
                if whole[0]:
                    self._moved.add(f"{name}.{column}")
                    self._add(4, "column", name, column, after=new.get("type", ""))
                continue
            if old.get("type") != new.get("type"):
                self._moved.add(f"{name}.{column}")
                self._add(2, "type", name, column, before=old.get("type"), after=new.get("type"))
            # Of some columns, a page may say no more than names and types.
            if "null" not in old or "null" not in new:
                continue
            if old["null"] != new["null"]:
                self._add(3, "null", name, column, before=old["null"], after=new["null"])
            if ("unique" in old) != ("unique" in new):
                said = ["not unique", "unique"]
                self._add(
                    3,
                    "unique",
                    name,
                    column,
                    before=said["unique" in old],
                    after=said["unique" in new],
                )

    def _shares(self, name: str, column: str, old: dict, new: dict) -> None:
        shares = [_share(old), _share(new)]
        if None not in shares:
            if _apart(*shares):
                self._add(
                    6, "nulls", name, column, before=_shown(shares[0]), after=_shown(shares[1])
                )
        elif ("nulls" in old) != ("nulls" in new):
            self.notes.append(f"{name}.{column}: nulls were measured in one of the runs only")
        values = [Values.of(old), Values.of(new)]
        if None in values:
            return
        for what, value, *told in differing(*values):
            both = zip(("before", "after"), told, strict=True)
            said = {when: text for when, text in both if text is not None}
            self._add(
                7, what, name, column, **({"value": value} if value is not None else {}), **said
            )

    def _freshness(self, name: str) -> None:
        """Whether the newest value stands still, or went back."""
        before, after = self.before.tables[name], self.after.tables[name]
        column = after.get("newest-in")
        if not column or before.get("newest-in") != column:
            return
        was, now = before["newest"], after["newest"]
        if now < was:
            self._add(6, "newest", name, column, before=was, after=now)
        # Of days, today's is the last that there can be.
        if now != was or (len(now) <= 10 and now >= self.after.run[:10]):
            return
        both = before.get("counted") == after.get("counted") == "exact"
        grown = int(after["rows"]) - int(before["rows"]) if both else 0
        if grown > 0:
            self._add(6, "stalled", name, column, after=now, share=f"{grown:,} more rows")
        elif self._always_advanced(name, column):
            self._add(6, "stalled", name, column, after=now, share="it advanced before")

    def _always_advanced(self, name: str, column: str) -> bool:
        """Whether there was something newer in each of the earlier runs, as far as is known."""
        seen = []
        for catalog in [self.before, *self.older]:
            table = catalog.tables.get(name, {})
            if table.get("newest-in") != column:
                break
            seen.append(table["newest"])
        return len(seen) > 1 and all(new > old for new, old in itertools.pairwise(seen))

    def _references(self) -> None:
        if self.before.cut_references or self.after.cut_references:
            self.notes.append("not all references are on both pages")
            return
        before, after = self.before.references, self.after.references
        for reference, of in after.items():
            old = before.get(reference)
            if old is None:
                self._reference(reference, of, after=of.get("way", ""))
            elif old.get("way") != of.get("way"):
                self._reference(reference, of, before=old.get("way"), after=of.get("way"))
        for reference, of in before.items():
            if reference not in after:
                self._reference(reference, of, before=of.get("way", ""))

    def _reference(self, reference: str, of: dict, **values) -> None:
        """A reference of what is new or gone is no news of its own."""
        parts = {of.get("from", ""), of.get("to", ""), of.get("on", ""), of.get("to-table", "")}
        if not parts & self._moved:
            self._add(3, "reference", of.get("on", ""), reference, **values)

    def _warnings(self) -> None:
        if self.before.cut_warnings or self.after.cut_warnings:
            self.notes.append("not all warnings are on both pages")
            return
        before, after = self.before.warnings, self.after.warnings
        for key in sorted(set(before) ^ set(after)):
            is_new = key in after
            of = after[key] if is_new else before[key]
            kind, at, table = of["warning"], of.get("at", ""), of.get("on", "")
            if kind in _PASSING or {at, table} & self._moved or table in self._unread:
                continue
            # What could not be measured is not solved, and what can be again is not new.
            if kind != "unread" and ("unread", at) in before.keys() | after.keys():
                continue
            if kind == "orphans" and (self.before.cut_references or self.after.cut_references):
                continue
            said = of.get("says", kind)
            self._add(8, "warning", table, at)
            self.changes[-1]["after" if is_new else "before"] = _cut(said, _WARNING)


def _rows(table: dict) -> str:
    return f"{int(table['rows']):,} rows" if table.get("counted") == "exact" else ""


def _ratio(old: int, new: int) -> str:
    return f"{(new - old) / old * 100:+.0f} %" if old else ""


def _share(column: dict) -> tuple[float, float] | None:
    """Between which shares the nulls of a column are."""
    if "nulls" in column and int(column.get("of") or 0):
        share = int(column["nulls"]) / int(column["of"])
        return (share, share)
    if "between" in column:
        least, most = column["between"].split()
        return (float(least), float(most))
    return None


def _apart(old: tuple[float, float], new: tuple[float, float]) -> bool:
    disjoint = old[1] < new[0] or new[1] < old[0]
    return disjoint and abs(sum(old) - sum(new)) / 2 > POINTS


def _shown(share: tuple[float, float]) -> str:
    least, most = (f"{end * 100:.1f} %" for end in share)
    return least if least == most else f"{least} to {most}"


def _cut(value, longest: int = _LONGEST) -> str:
    text = str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def changes(current: str, earlier: list[str]) -> None:
    """Print what has changed since the newest earlier catalog that can be compared."""
    after = read(current)
    lines: list[dict] = []
    if after is None:
        lines.append({"record": "unreadable", "file": current})
    else:
        skipped = []
        before = None
        older: list[Catalog] = []
        for path in earlier:
            catalog = read(path)
            if before is None:
                before = catalog
                if catalog is None:
                    skipped.append(path.split("/")[0])
            elif catalog is not None:
                older.append(catalog)
            if len(older) == OLDER:
                break
        head = {
            "record": "compared",
            "run": after.run,
            "tables": len(after.tables),
            "skipped": skipped,
        }
        if before is None:
            lines.append(head)
            rows = [
                {"record": "rows", "on": name, "rows": _rows(table) or "not counted"}
                for name, table in after.tables.items()
            ]
            lines += rows[:TOLD]
        else:
            comparison = Comparison(before, after, older)
            comparison.run()
            lines.append(head | {"with": before.run, "changes": len(comparison.changes)})
            lines += comparison.changes[:TOLD]
            rest: dict[str, int] = {}
            for change in comparison.changes[TOLD:]:
                rest[change["on"]] = rest.get(change["on"], 0) + 1
            if rest:
                lines.append({"record": "rest", "tables": list(rest)[:TOLD], "of": len(rest)})
            lines += [{"record": "note", "text": note[:200]} for note in comparison.notes[:10]]
            if len(comparison.notes) > 10:
                more = f"and {len(comparison.notes) - 10} more that can't be compared"
                lines.append({"record": "note", "text": more})
    print("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))
