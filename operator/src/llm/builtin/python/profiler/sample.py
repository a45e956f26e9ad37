"""What a sample of a column's values tells, with intervals."""

import math

from profiler import interval, spread
from profiler.model import CUT, Column

# So many values are kept for a look at what they refer to.
KEPT = 1000
# From this share on a value is frequent.
FREQUENT = 0.01


def summarize(
    column: Column, values: list[str | None], population: int, fair: bool, counted: bool
) -> None:
    """Fill in what was not counted in a pass. ``fair``: rows were drawn each by itself."""
    facts = column.facts
    drawn = len(values)
    if not drawn:
        return
    filled = [value for value in values if value is not None]

    def share(hits: int, of: int, all_: int, among: int = 1) -> list[float] | None:
        return list(interval.share(hits, of, all_, among)) if fair else None

    if not counted:
        facts["nulls_seen"] = drawn - len(filled)
        facts["nulls_share"] = share(drawn - len(filled), drawn, population)
    if column.kind in {"blob", "json", "array", "other"} or not filled:
        return
    counts: dict[str, int] = {}
    for value in filled:
        counts[value] = counts.get(value, 0) + 1
    if column.kind in {"number", "text", "uuid"}:
        # In the order in which they were drawn, which is the table's: evenly, not the first.
        values = list(counts)
        kept = min(KEPT, len(values))
        column.drawn = [values[at * len(values) // kept] for at in range(kept)]
    in_order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    spread.note_values(column, in_order[: spread.LOOK], len(counts))
    facts["distinct_seen"] = facts.pop("distinct")
    facts.pop("unknown", None)
    if len(counts) > spread.LOOK:
        facts.pop("variants", None)
    # Of those that are filled, of which there are so many.
    rest = population - facts.get("nulls", 0) if counted else max(len(filled), population)
    # Of many rare values, those that lead in a sample lead by luck.
    facts["top"] = [top for top in facts.get("top", []) if top[1] >= FREQUENT * len(filled)]
    for top in facts["top"]:
        top[2] = share(top[1], len(filled), rest, len(counts))
    facts["drawn"] = len(filled)
    if column.kind == "number":
        _numbers(column, filled, fair)
    elif column.kind == "time":
        _times(facts, filled)
    elif column.kind == "text" and not counted:
        lengths = [len(value) for value in filled]
        # Of what was cut, the length is not known.
        if max(lengths) < CUT:
            facts["shortest"], facts["longest"] = min(lengths), max(lengths)


def _numbers(column: Column, filled: list[str], fair: bool) -> None:
    facts = column.facts
    pairs = []
    for text in filled:
        try:
            number = float(text)
        except ValueError:
            continue
        if math.isfinite(number):
            pairs.append((number, text))
    if not pairs:
        return
    pairs.sort()
    size = len(pairs)
    facts["quartiles"] = [
        pairs[max(0, math.ceil(quantile * size) - 1)][1] for quantile in (0.25, 0.5, 0.75)
    ]
    if fair:
        facts["quartile_bounds"] = [
            [pairs[at][1] for at in interval.ranks(quantile, size)]
            for quantile in (0.25, 0.5, 0.75)
        ]
    if "min" not in facts:
        facts["least_seen"], facts["most_seen"] = pairs[0][1], pairs[-1][1]
    edges = [float(edge) for edge in spread.bin_edges(pairs[0][0], pairs[-1][0], column.whole)]
    if len(edges) > 2:
        bins = [0] * (len(edges) - 1)
        at = 0
        for number, _ in pairs:
            while at < len(bins) - 1 and number >= edges[at + 1]:
                at += 1
            bins[at] += 1
        facts["bins"] = bins
        facts["bounds"] = [pairs[0][1], pairs[-1][1]]


def _times(facts: dict, filled: list[str]) -> None:
    usual = sorted(value for value in filled if "1900-01-02" <= value[:10] < "2100")
    if not usual:
        return
    if "min" not in facts:
        facts["least_seen"], facts["most_seen"] = usual[0], usual[-1]
    digits = spread.unit(usual[0], usual[-1])
    if not digits:
        return
    counts: dict[str, int] = {}
    for value in usual:
        counts[value[:digits]] = counts.get(value[:digits], 0) + 1
    spread.fill_periods(facts, counts, usual[0][:digits], usual[-1][:digits])
