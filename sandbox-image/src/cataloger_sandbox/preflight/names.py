"""Which tables are meant by names and patterns. Pure: the database's relations are given."""

import difflib
import re
from dataclasses import dataclass

from cataloger_sandbox.preflight.report import Failure, Relation, several

_QUOTES = {'"': '"', "`": "`"}
_NEAREST = 5
_CLOSE = 0.6


class BadNameError(ValueError):
    """A text that names nothing."""


@dataclass(frozen=True)
class Part:
    """A part of a name between dots: a text, or a pattern."""

    text: str
    pattern: bool

    def matches(self, name: str, *, fold: bool = False) -> bool:
        """Whether it means that name; ``fold`` takes small and capital letters for the same."""
        if not self.pattern:
            return self.text == name or (fold and self.text.casefold() == name.casefold())
        expression = "".join(
            ".*" if it == "*" else "." if it == "?" else re.escape(it) for it in self.text
        )
        flags = re.DOTALL | (re.IGNORECASE if fold else 0)
        return re.fullmatch(expression, name, flags) is not None


def parse(text: str) -> list[Part]:
    """The parts of ``orders``, ``sales.*`` or ``"odd.name"."x"``. What is quoted is no pattern."""
    parts, at = [], 0
    while True:
        quote = _QUOTES.get(text[at : at + 1])
        if quote:
            piece, at = _quoted(text, at, quote)
            parts.append(Part(piece, pattern=False))
        else:
            end = text.find(".", at)
            end = len(text) if end < 0 else end
            piece, at = text[at:end].strip(), end
            if not piece:
                raise BadNameError("a part of it is empty")
            parts.append(Part(piece, pattern="*" in piece or "?" in piece))
        if at == len(text):
            return parts
        if text[at] != ".":
            raise BadNameError("something follows a closing quote")
        at += 1


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    piece, at = "", at + 1
    while True:
        end = text.find(quote, at)
        if end < 0:
            raise BadNameError("a quote is not closed")
        piece += text[at:end]
        at = end + 1
        if text[at : at + 1] != quote:  # a doubled one stands for itself
            break
        piece += quote
        at += 1
    if not piece:
        raise BadNameError("a part of it is empty")
    return piece, at


@dataclass
class Resolver:
    """Finds what is meant, among what is there."""

    relations: list[Relation]
    # Where a name without a schema is looked for, in this order.
    home: list[str]
    # What may stand before the schema.
    database: str

    def resolve(
        self, asked: list[str], limit: int
    ) -> tuple[list[Relation], list[Failure], list[str]]:
        """All that is meant, in the order that it was asked for; what is wrong; what to know."""
        found: dict[Relation, None] = {}
        failures, notes = [], []
        for text in asked:
            try:
                meant, left_out = self._one(text)
            except Failure as failure:
                failure.asked = text
                failures.append(failure)
                continue
            found |= dict.fromkeys(meant)
            notes += left_out
        if len(found) > limit:
            failures.append(
                Failure(
                    "too_many_tables",
                    f"{len(found):,} tables are meant, and one catalog takes {limit:,} at most",
                    "Name fewer, or narrower patterns, or make several catalogs.",
                )
            )
        return list(found)[:limit], failures, notes

    def _one(self, text: str) -> tuple[list[Relation], list[str]]:
        try:
            parts = parse(text)
        except BadNameError as error:
            raise Failure(
                "bad_name",
                f"{text!r} is no name of a table: {error}",
                "Write it as orders, sales.orders, or a pattern such as sales.* or fact_*; odd "
                'names in double quotes, as "Odd Name".',
            ) from None
        whole = [it for it in self.relations if it.name == text and not it.system]
        parts = self._within(text, parts, whole)
        meant = self._choose(text, parts, self._matching(parts, text)) if parts else []
        # A name with dots in it, or an asterisk, that nobody has quoted.
        meant = meant or (self._choose(text, [Part(text, pattern=False)], whole) if whole else [])
        if not meant:
            raise self._missing(text, parts)
        return self._readable(text, any(part.pattern for part in parts), meant)

    def _within(self, text: str, parts: list[Part], whole: list[Relation]) -> list[Part]:
        """Without the name of the database, which may come first."""
        if len(parts) == 3 and parts[0].matches(self.database, fold=True):
            return parts[1:]
        if len(parts) <= 2:
            return parts
        if whole:
            return []
        raise Failure(
            "bad_name",
            f"{text!r} has {len(parts)} parts, and does not name a table of this database",
            "Write it as orders or schema.orders; quote names that hold dots. The database is "
            "the one of the URL.",
        )

    def _matching(self, parts: list[Part], text: str) -> list[Relation]:
        *schema, name = parts
        for fold in (False, True):
            found = [
                it
                for it in self.relations
                if name.matches(it.name, fold=fold)
                and (
                    schema[0].matches(it.schema, fold=fold)
                    and (not it.system or not schema[0].pattern)
                    if schema
                    else not it.system
                )
            ]
            if found:
                break
        if any(part.pattern for part in parts):
            exact = [it for it in found if it.name == text]
            return exact or [it for it in found if not it.part]
        return found

    def _choose(self, text: str, parts: list[Part], found: list[Relation]) -> list[Relation]:
        """One relation for each name, as the database itself would choose; else it is not clear."""
        patterns = any(part.pattern for part in parts)
        if len(parts) == 1:
            at_home = [it for it in found if it.schema in self.home]
            if at_home:
                found = at_home
        groups: dict[str, list[Relation]] = {}
        for it in found:
            key = it.name if patterns else ""
            if len(parts) > 1 and patterns:
                key = f"{it.schema}\0{it.name}"
            groups.setdefault(key, []).append(it)
        chosen = []
        for candidates in groups.values():
            if len(parts) == 1:
                candidates = self._first_at_home(candidates)
            if len(candidates) > 1:
                raise Failure(
                    "ambiguous",
                    f"{text!r} can mean several tables",
                    "Write the one that is meant with its schema, as it is spelled there.",
                    candidates=[it.shown for it in candidates[:20]],
                )
            chosen += candidates
        return sorted(chosen, key=lambda it: (it.schema, it.name))

    def _first_at_home(self, candidates: list[Relation]) -> list[Relation]:
        for schema in self.home:
            here = [it for it in candidates if it.schema == schema]
            if here:
                return here
        return candidates

    def _readable(
        self, text: str, pattern: bool, meant: list[Relation]
    ) -> tuple[list[Relation], list[str]]:
        """Who names a table must be able to read it; of a pattern, what can be read is taken."""
        readable = [it for it in meant if it.readable]
        hidden = [it for it in meant if not it.readable]
        if not hidden:
            return readable, []
        names = [it.shown for it in hidden]
        if pattern and readable:
            return readable, [
                f"{text} also means {several(names)}, which the role has no right to read: left out"
            ]
        raise Failure(
            "no_right",
            f"the role has no right to read {several(names)}",
            "Grant it, as who owns it:",
            tables=names,
        )

    def _missing(self, text: str, parts: list[Part]) -> Failure:
        visible = [it for it in self.relations if not it.system]
        what = "the pattern {!r} has no match" if _is_pattern(parts) else "there is no table {!r}"
        near = self._nearest(parts, visible)
        if near:
            advice = "The nearest names are listed here."
        elif visible:
            advice = f"There are {len(visible):,} tables and views, none with a name like it."
        else:
            advice = "The role sees no table in this database: is it the right database?"
        kind = "no_match" if _is_pattern(parts) else "no_such_table"
        return Failure(kind, what.format(text), advice, nearest=near)

    def _nearest(self, parts: list[Part], visible: list[Relation]) -> list[str]:
        wanted = [part.text.replace("*", "").replace("?", "").casefold() for part in parts]
        if not wanted:
            return []
        names = {it.shown: it.name.casefold() for it in visible}
        if len(wanted) > 1:
            schemas = sorted({it.schema for it in visible})
            close = difflib.get_close_matches(
                wanted[0], [it.casefold() for it in schemas], 1, _CLOSE
            )
            if not wanted[1]:
                return [f"{it}.*" for it in schemas if it.casefold() in close]
            inside = {
                it.shown: it.name.casefold() for it in visible if it.schema.casefold() in close
            }
            return _closest(wanted[1], inside) or _closest(wanted[1], names)
        return _closest(wanted[0], names)


def _is_pattern(parts: list[Part]) -> bool:
    return any(part.pattern for part in parts)


def _closest(wanted: str, names: dict[str, str]) -> list[str]:
    """The shown names whose bare names are most like what is wanted."""
    if not wanted:
        return []

    def likeness(name: str) -> float:
        within = 0.7 if len(wanted) > 2 and (wanted in name or name in wanted) else 0.0
        return max(difflib.SequenceMatcher(None, wanted, name).ratio(), within)

    rated = [(likeness(name), shown) for shown, name in names.items() if name]
    rated = [it for it in rated if it[0] >= _CLOSE]
    return [shown for _, shown in sorted(rated, key=lambda it: (-it[0], it[1]))[:_NEAREST]]
