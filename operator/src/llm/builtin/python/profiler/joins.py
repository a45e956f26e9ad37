"""Joins that nobody has declared: candidates by names and shape, proved or vetoed by the data.

A parent is a column that is unique and never null; a child is one whose name says so. That all
values of the one are among the other says next to nothing by itself (small integers always are):
it can only veto. The weights were tuned on generated schemas.
"""

from dataclasses import dataclass, field

from profiler import names
from profiler.engine import Engine
from profiler.measure import Clock
from profiler.model import Column, Failed, Table

REPORT = 7
POSSIBLE = 5
MARGIN = 2
LOOKED_AT = 1000
BROKEN = 0.01
# Where the name leaves no doubt, more may be broken.
BROKEN_BY_NAME = 0.1
_ROLES = {
    "parent": None, "manager": None, "reports": None, "boss": None, "supervisor": None,
    "created": "user", "updated": "user", "modified": "user", "approved": "user",
    "assigned": "user", "owner": "user", "author": "user", "reviewer": "user",
    "sender": "user", "recipient": "user", "root": None, "previous": None, "prev": None,
    "next": None, "original": None, "referrer": None, "mentor": None, "predecessor": None,
    "successor": None, "superior": None, "leader": None, "lead": None, "head": None,
}  # fmt: skip
_SELF = {role for role, to in _ROLES.items() if to is None}
_PREFIXES = {"tbl", "t", "dim", "fact", "stg", "tb", "raw", "src", "d", "f"}
_LINKS = {"by", "to", "of", "from"}
_PEOPLE = {"user", "employee", "person", "account", "member", "staff", "customer", "contact"}


@dataclass
class Join:
    """A column that refers to another table's key, as it seems."""

    child: Table
    column: Column
    parent: Table
    key: Column
    score: int
    evidence: list[str] = field(default_factory=list)
    orphans: int | None = None
    filled: int | None = None
    sampled: int | None = None
    named: int = 0


def found(engine: Engine, tables: list[Table], clock: Clock) -> list[Join]:
    """The joins among these tables, the best for each column, proved by the data."""
    parents = _Parents(tables)
    joins = []
    for table in tables:
        declared = {tuple(reference.columns) for reference in table.references}
        for column in table.columns:
            if (column.name,) in declared or not _may_refer(column):
                continue
            ranked = sorted(_candidates(table, column, parents), key=lambda join: -join.score)
            best = _proved(engine, ranked[:6], clock)
            if best:
                joins.append(best)
    return joins


def _keys(table: Table) -> list[Column]:
    """The columns that identify a row by themselves: declared, or counted."""
    if table.is_view:
        return []
    rows = table.facts.get("rows")
    out = []
    for column in table.columns:
        facts = column.facts
        if column.kind not in {"number", "text", "uuid"} or (
            column.kind == "number"
            and not column.whole
            and "decimal" not in column.type.lower()
            and "numeric" not in column.type.lower()
        ):
            continue
        if facts.get("longest", 0) > 64:
            continue
        declared = [column.name] in [table.key, *table.uniques]
        counted = rows and facts.get("distinct") == rows and not facts.get("nulls")
        if declared or (counted and (_is_key_name(column) or column is table.columns[0])):
            out.append(column)
    return out


def _is_key_name(column: Column) -> bool:
    parts = names.words(column.name)
    return bool(parts) and (parts[-1] in names.KEYS or parts[-1].endswith("id"))


def _may_refer(column: Column) -> bool:
    if column.kind not in {"number", "text", "uuid"} or not column.readable:
        return False
    if column.kind == "number" and column.facts.get("quartiles") and not column.whole:
        return "." not in "".join(str(value) for value in column.facts["quartiles"])
    return column.facts.get("longest", 0) <= 64


def _bare(tables: list[Table]) -> list[tuple[str, ...]]:
    """The tables' names in words, without what all of them begin with."""
    stems = [names.stem(table.name) for table in tables]
    shared = len({stem[:1] for stem in stems}) == 1 and len(stems) > 2
    if shared and all(len(stem) > 1 for stem in stems):
        stems = [stem[1:] for stem in stems]
    out = []
    for stem in stems:
        while len(stem) > 1 and stem[0] in _PREFIXES:
            stem = stem[1:]
        out.append(stem)
    return out


class _Parents:
    """All keys, found by what a name could say of them: looking at each would take too long."""

    def __init__(self, tables: list[Table]) -> None:
        self.bare = dict(zip(tables, _bare(tables), strict=True))
        self._by_last: dict[str, list] = {}
        self._by_key: dict[tuple[str, ...], list] = {}
        self._by_letter: dict[str, list] = {}
        self._people: list = []
        self._own: dict[Table, list] = {}
        for table in tables:
            for key in _keys(table):
                parent, there = (table, key), self.bare[table]
                self._by_key.setdefault(names.stem(key.name), []).append(parent)
                self._own.setdefault(table, []).append(parent)
                if there:
                    self._by_last.setdefault(there[-1], []).append(parent)
                    self._by_letter.setdefault(there[0][0], []).append(parent)
                    if there[-1] in _PEOPLE:
                        self._people.append(parent)

    def of(self, table: Table, column: Column) -> list:
        """The keys that a column could refer to."""
        words = names.stem(column.name)
        bare = words[:-1] if words and words[-1] in names.KEYS else words
        if len(words) == 1 and words[0].endswith("id") and len(words[0]) > 3:
            bare = (names.singular(words[0][:-2]),)
        out = [*self._by_key.get(words, ()), *self._own.get(table, ())]
        if bare:
            out += self._by_last.get(bare[-1], ())
            out += self._people if set(bare) & set(_ROLES) else ()
            if not self._by_last.get(bare[-1]):
                letters = {bare[0][0], bare[-1][0]}
                out += [one for letter in letters for one in self._by_letter.get(letter, ())]
        return list(dict.fromkeys(out))


def _candidates(table: Table, column: Column, parents: _Parents) -> list[Join]:
    out = []
    for parent, key in parents.of(table, column):
        if key is column or not _fit(column, key):
            continue
        join = _judged(table, column, parent, key, parents.bare[parent])
        if join is not None and join.score >= POSSIBLE - 3:
            out.append(join)
    # Where schemas have the same tables, each refers to its own.
    here = {join.parent.name for join in out if join.parent.schema == table.schema}
    return [
        join for join in out if join.parent.schema == table.schema or join.parent.name not in here
    ]


def _fit(column: Column, key: Column) -> bool:
    if column.kind != key.kind:
        return False
    if column.kind == "text":
        longest, most = column.facts.get("longest"), key.facts.get("longest")
        return longest is None or most is None or longest <= most
    return True


def _judged(
    table: Table, column: Column, parent: Table, key: Column, there: tuple[str, ...]
) -> Join | None:
    join = Join(table, column, parent, key, 0)
    words = names.stem(column.name)
    suffix = bool(words) and words[-1] in names.KEYS
    named, why = _by_name(table, column, parent, key, there)
    if not named:
        return None
    join.evidence.append(why)
    score = named
    if parent.key != [key.name]:
        score -= 1
    # A text refers to a text key by its name: sku to sku.
    if suffix and names.stem(key.name)[-1:] == words[-1:]:
        score += 1
    if column.kind in {"uuid", "text"} and key.kind == column.kind and suffix:
        score += 1
    if any(index[:1] == [column.name] for index in table.indexed) and [column.name] != table.key:
        score += 1
        join.evidence.append("indexed")
    if not suffix and set(words) & names.MEASURES:
        score -= 4
    if [column.name] == table.key and parent is not table:
        score -= 2
    join.named = named
    join.score = score
    return join


def _by_name(
    table: Table, column: Column, parent: Table, key: Column, there: tuple[str, ...]
) -> tuple[int, str]:
    """How clearly a column's name says that it refers to a key, and by what."""
    words = bare = names.stem(column.name)
    suffix = bool(bare) and bare[-1] in names.KEYS
    if suffix:
        bare = bare[:-1]
    elif len(words) == 1 and words[0].endswith("id") and len(words[0]) > 3:
        bare, suffix = (names.singular(words[0][:-2]),), True
    role = set(bare) & set(_ROLES)
    roles = " ".join(sorted(role))
    if parent is table:
        plain = tuple(word for word in bare if word not in role and word not in _LINKS)
        if role & _SELF and plain in ((), there) and (suffix or not plain):
            return (5 if suffix else 4, f"role “{roles}” within the table")
        return (0, "")
    if words == names.stem(key.name) and len(words) > 1:
        # What several tables have by the same name is an attribute, unless one of them owns it.
        if _owns(there, words):
            return (5, "same name as the key")
        if parent.key == [key.name] and table.key != [column.name]:
            return (4 if suffix else 3, "same name as the key")
        return (0, "")
    if not bare:
        return (0, "")
    if bare == there:
        if suffix or column.kind != "text" or len(words) == 1:
            return (5 if suffix else 4, "named after the table")
    elif len(bare) > len(there) and bare[-len(there) :] == there:
        before = " ".join(bare[: -len(there)])
        return (4 if suffix else 3, f"role “{before}” and the table's name")
    elif suffix and len(there) > len(bare) and there[-len(bare) :] == bare:
        return (3, "named after the last part of the table's name")
    elif (
        there
        and there[-1] in _PEOPLE
        and ("manager" in role or any(_ROLES[one] == "user" for one in role))
    ):
        return (3, f"role “{roles}”")
    elif suffix and any(_abbreviates(short, there) for short in ("".join(bare), bare[-1])):
        return (3, "an abbreviation of the table's name")
    return (0, "")


def _owns(parent_words: tuple[str, ...], key_words: tuple[str, ...]) -> bool:
    return bool(parent_words) and key_words[: len(parent_words)] == parent_words


def _abbreviates(short: str, words: tuple[str, ...]) -> bool:
    if len(short) < 2 or not words:
        return False
    if len(words) > 1 and short == "".join(word[0] for word in words):
        return True
    long = "".join(words)
    if len(short) < 3 or long[0] != short[0] or len(long) <= len(short):
        return False
    if long.startswith(short):
        return True
    # Its consonants in order: cstmr, acct.
    rest = iter(long)
    return len(short) >= 4 and all(letter in rest for letter in short)


def _proved(engine: Engine, ranked: list[Join], clock: Clock) -> Join | None:
    """The best candidate that the data does not contradict."""
    alive = []
    for join in ranked:
        if alive and join.score + 3 + MARGIN < alive[0].score:
            break
        if _check(engine, join, clock):
            alive.append(join)
            alive.sort(key=lambda one: (-one.score, one.orphans or 0))
    if not alive or alive[0].score < POSSIBLE:
        return None
    best = alive[0]
    rivals = [
        join
        for join in alive[1:]
        if join.parent is not best.parent and best.score - join.score < MARGIN
    ]
    if rivals and best.score >= REPORT:
        if best.score == rivals[0].score:
            best.score = REPORT - 1
        best.evidence.append(f"{rivals[0].parent.name} would fit, too")
    return best


def _check(engine: Engine, join: Join, clock: Clock) -> bool:
    """Look for values without a row that they refer to. Whether it may be a join still."""
    child_rows = join.child.facts.get("rows")
    nulls = join.column.facts.get("nulls", 0)
    if child_rows == 0 or (child_rows is not None and nulls >= child_rows):
        join.evidence.append("by names alone: there are no values")
        join.filled = 0
        return join.named >= 4
    if not join.parent.facts.get("rows", 1):
        join.evidence.append("by names alone: the other table is empty")
        return False
    name, key = engine.quote(join.column.name), engine.quote(join.key.name)
    values = f"SELECT {name} AS v FROM {engine.at(join.child)} WHERE {name} IS NOT NULL"
    missing = f"NOT EXISTS (SELECT 1 FROM {engine.at(join.parent)} AS p WHERE p.{key} = c.v)"
    try:
        if join.column.drawn:
            join.orphans, join.sampled = _missing_of(engine, join), len(join.column.drawn)
        else:
            # Most of what is wrong shows at once.
            some = f"""SELECT COUNT(*), SUM(CASE WHEN {missing} THEN 1 ELSE 0 END)
                       FROM ({values} LIMIT {LOOKED_AT}) AS c"""
            seen, broken = engine.rows(some, clock.left(5))[0]
            seen, broken = int(seen), int(broken or 0)
            if broken > max(1, seen * BROKEN_BY_NAME):
                return False
            every = f"SELECT COUNT(*) FROM ({values}) AS c WHERE {missing}"
            join.orphans = int(engine.rows(every, clock.left(10))[0][0])
            join.filled = (child_rows or 0) - nulls
    except Failed as failed:
        join.evidence.append(f"not proved: {failed.problem}")
        return join.named >= 5
    of = join.sampled or join.filled or 1
    clear = join.named >= 4
    if join.orphans > of * (BROKEN_BY_NAME if clear else BROKEN):
        return False
    join.score += 3 if not join.orphans else 2 if clear else 1
    if not join.orphans and _is_dense(join.column) and join.named < 3:
        join.score -= 3
    return True


def _missing_of(engine: Engine, join: Join) -> int:
    """How many of the values that were drawn are no keys."""
    whole = join.column.kind == "number"
    drawn = [value for value in join.column.drawn if not whole or value.lstrip("-").isdigit()]
    listed = ", ".join(value if whole else engine.literal(value) for value in drawn)
    if not listed:
        return len(join.column.drawn)
    key = engine.quote(join.key.name)
    there = f"SELECT COUNT(DISTINCT {key}) FROM {engine.at(join.parent)} WHERE {key} IN ({listed})"
    return len(join.column.drawn) - int(engine.rows(there, 10)[0][0])


def _is_dense(column: Column) -> bool:
    try:
        least, most = int(column.facts["min"]), int(column.facts["max"])
    except (KeyError, ValueError):
        return False
    return least in (0, 1) and most - least + 1 <= 2 * (column.facts.get("distinct") or 0)
