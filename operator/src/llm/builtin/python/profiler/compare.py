"""Compares two catalogs: what is new, gone or different, the heaviest first; nothing else."""

import fnmatch
import json

from profiler.pages import Catalog, read

# What a change is: from these on.
ROWS = 0.10
POINTS = 0.05
# So many changes are told in full; of the rest, the tables.
TOLD = 40
_LONGEST = 60
_WARNING = 120
# They come with time alone.
_PASSING = {"stale"}


class Comparison:
    """What differs between two catalogs."""

    def __init__(self, before: Catalog, after: Catalog) -> None:
        self.before, self.after = before, after
        self.changes: list[dict] = []
        self.notes: list[str] = []
        self._moved: set[str] = set()

    def run(self) -> None:
        """Compare all."""
        before, after = self.before, self.after
        for name, table in after.tables.items():
            if name not in before.tables:
                self._moved.add(name)
                self._add(10, "table", name, after=_rows(table) or "new")
        for name in before.tables:
            if name in after.tables:
                self._table(name)
            else:
                self._moved.add(name)
                if self._was_asked_for(name):
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
        names = (name, name.partition(".")[2])
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
        if before.get("key", "") != after.get("key", ""):
            self._add(
                3, "key", name, before=before.get("key") or "none", after=after.get("key") or "none"
            )
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
            self.notes.append(f"{name}: measured whole in one run, and from a sample in the other")
            return
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
            if old.get("null") != new.get("null"):
                self._add(3, "null", name, column, before=old.get("null"), after=new.get("null"))
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
        if "top" not in old or "top" not in new:
            return
        counts = [dict(one["top"]) for one in (old, new)]
        totals = [sum(count.values()) or 1 for count in counts]
        for value in sorted(set(counts[0]) | set(counts[1])):
            was, now = (count.get(value) for count in counts)
            if was is None:
                self._add(7, "value", name, column, value=value, after=f"{now:,} rows")
            elif now is None:
                self._add(7, "value", name, column, value=value, before=f"{was:,} rows")
            elif abs(was / totals[0] - now / totals[1]) > POINTS:
                self._add(
                    7,
                    "share",
                    name,
                    column,
                    value=value,
                    before=f"{was / totals[0]:.1%}",
                    after=f"{now / totals[1]:.1%}",
                )

    def _references(self) -> None:
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
            kind, at = key
            is_new = key in after
            of = after[key] if is_new else before[key]
            table = of.get("on", "")
            if kind in _PASSING or {at, table} & self._moved:
                continue
            said = of.get("says", kind)
            self._add(8, "warning", table, at)
            self.changes[-1]["after" if is_new else "before"] = _cut(said, _WARNING)


def _rows(table: dict) -> str:
    return f"{int(table['rows']):,} rows" if table.get("counted") == "exact" else ""


def _ratio(old: int, new: int) -> str:
    return f"{(new - old) / old:+.0%}" if old else ""


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
    return f"{share[0]:.1%}" if share[0] == share[1] else f"{share[0]:.1%} to {share[1]:.1%}"


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
        for path in earlier:
            before = read(path)
            if before is not None:
                break
            skipped.append(path.split("/")[0])
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
            comparison = Comparison(before, after)
            comparison.run()
            lines.append(head | {"with": before.run, "changes": len(comparison.changes)})
            lines += comparison.changes[:TOLD]
            rest: dict[str, int] = {}
            for change in comparison.changes[TOLD:]:
                rest[change["on"]] = rest.get(change["on"], 0) + 1
            if rest:
                lines.append({"record": "rest", "tables": list(rest)[:TOLD]})
            lines += [{"record": "note", "text": note[:200]} for note in comparison.notes[:10]]
            if len(comparison.notes) > 10:
                more = f"and {len(comparison.notes) - 10} more that can't be compared"
                lines.append({"record": "note", "text": more})
    print("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))
