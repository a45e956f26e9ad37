"""How the values of a column are spread: bins, periods, and what the most frequent ones tell."""

import math
from datetime import date

from profiler import names
from profiler.model import CUT, Column

BINS = 20
TOP = 8
LOOK = 50  # so many of the most frequent values are looked at
# A range of more days than this is shown by this many letters of a date.
_UNITS = ((3 * 366, 4), (62, 7))


def note_values(column: Column, values: list[tuple[str, int]], distinct: int) -> None:
    """What the most frequent values tell. They are in order, and may be all."""
    facts = column.facts
    facts["distinct"] = distinct
    texts = [value for value, _ in values]
    if column.kind in {"text", "enum"}:
        what = names.looks_personal(texts)
        if what:
            facts["personal"] = what
        shapes: dict[str, int] = {}
        for value in texts:
            key = names.shape(value)
            shapes[key] = shapes.get(key, 0) + 1
        facts["shapes"] = sorted(shapes, key=lambda key: -shapes[key])[:2]
        if distinct <= LOOK:
            # Of what was cut, nothing is known.
            whole = [value for value in texts if len(value) < CUT]
            facts["variants"] = names.variants(whole)[:3]
        unknown = sum(number for value, number in values if names.means_unknown(value))
        if unknown:
            facts["unknown"] = unknown
    if values and values[0][1] > 1:
        facts["top"] = [[value, number, None] for value, number in values[:TOP]]


def bin_edges(least, most, whole: bool) -> list[str]:
    """Where the bins of a histogram begin, as numbers in SQL, and where the last one ends."""
    if least is None or most is None:
        return []
    try:
        low, high = float(least), float(most)
    except (TypeError, ValueError):
        return []
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        return []
    if whole and high - low < BINS:
        return [str(edge) for edge in range(int(low), int(high) + 2)]
    width = (high / BINS) - (low / BINS)
    return [repr(low + width * step) for step in range(BINS)] + [repr(high)]


def unit(least: str, most: str) -> int:
    """How many letters of a date name the period that suits a range; 0 if none does."""
    try:
        days = (date.fromisoformat(most[:10]) - date.fromisoformat(least[:10])).days
    except ValueError:
        return 0
    if days <= 0:
        return 0
    return next((digits for more, digits in _UNITS if days > more), 10)


def fill_periods(facts: dict, counts: dict[str, int], first: str, last: str) -> None:
    """Put counts into bins without gaps; several periods to a bin where there are many."""
    periods = list(_all_periods(first, last))
    if len(periods) < 2:
        return
    each = math.ceil(len(periods) / 40)
    bins = [
        sum(counts.get(period, 0) for period in periods[at : at + each])
        for at in range(0, len(periods), each)
    ]
    facts["bins"] = bins
    facts["period"] = {4: "year", 7: "month"}.get(len(first), "day")
    if each > 1:
        facts["period"] = f"{each} {facts['period']}s"
    facts["bounds"] = [first, last]


def _all_periods(first: str, last: str):
    if len(first) == 4:
        yield from (f"{year:04}" for year in range(int(first), int(last) + 1))
    elif len(first) == 7:
        at = int(first[:4]) * 12 + int(first[5:]) - 1
        end = int(last[:4]) * 12 + int(last[5:]) - 1
        yield from (f"{month // 12:04}-{month % 12 + 1:02}" for month in range(at, end + 1))
    else:
        at, end = date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal()
        yield from (date.fromordinal(day).isoformat() for day in range(at, end + 1))
