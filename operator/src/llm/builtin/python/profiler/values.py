"""Compares the values of a column: which appeared or vanished, and whose share has changed."""

from dataclasses import dataclass
from fractions import Fraction

# From so many points on, a share has changed.
POINTS = 0.05
# From this share on, a value among many is told.
_OFTEN = Fraction(1, 20)


@dataclass
class Values:
    """What a page says of a column's values: all of them, or those that lead."""

    counts: dict[str, int]
    filled: int
    distinct: int
    whole: bool

    @classmethod
    def of(cls, column: dict) -> "Values | None":
        """What is known; nothing if values were not counted, or must not be shown."""
        if "personal" in column or not {"distinct", "nulls", "of"} <= column.keys():
            return None
        # Of many times it is not said which are frequent.
        if not {"top", "often"} & column.keys() and _is_time(column.get("type", "")):
            return None
        counts: dict[str, int] = {}
        # Long values may begin alike.
        for value, rows in column.get("top", column.get("often", [])):
            counts[value] = counts.get(value, 0) + rows
        filled = int(column["of"]) - int(column["nulls"])
        return cls(counts, filled, int(column["distinct"]), "top" in column)

    def share(self, value: str) -> tuple[Fraction, Fraction]:
        """Between which shares a value is."""
        if value in self.counts:
            share = Fraction(self.counts[value], self.filled)
            return (share, share)
        if self.whole:
            return (Fraction(0), Fraction(0))
        least = min(self.counts.values(), default=0)
        return (Fraction(0), Fraction(least, self.filled) if least else self._rare())

    def _rare(self) -> Fraction:
        return max(_OFTEN, Fraction(1, self.filled))


def differing(old: Values, new: Values) -> list[tuple]:
    """What has changed: its kind, the value, what it was, and what it is."""
    if not old.filled or not new.filled:
        return []
    out: list[tuple] = []
    both = old.whole and new.whole
    if old.whole != new.whole and old.distinct != new.distinct:
        out.append(("values", None, f"{old.distinct:,}", f"{new.distinct:,}"))
    for value in sorted(old.counts.keys() | new.counts.keys()):
        was, now = old.share(value), new.share(value)
        if both and value not in old.counts:
            out.append(("value", value, None, f"{new.counts[value]:,} rows"))
        elif both and value not in new.counts:
            out.append(("value", value, f"{old.counts[value]:,} rows", None))
        # As far as can be known: by that much at least.
        elif max(was[0] - now[1], now[0] - was[1]) > POINTS:
            out.append(("share", value, _shown(was), _shown(now)))
    return out


def _shown(share: tuple[Fraction, Fraction]) -> str:
    if share[0] == share[1]:
        return f"{float(share[0]) * 100:.1f} %"
    return f"at most {float(share[1]) * 100:.1f} %"


def _is_time(kind: str) -> bool:
    return any(word in kind.lower() for word in ("date", "time"))
