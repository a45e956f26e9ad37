"""How names are written in SQL."""

import re

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words that name nothing unless they are quoted, in one engine or another.
_RESERVED = frozenset(
    """
    add all alter analyze and any as asc before between both by call case change check collate
    column commit condition constraint convert create cross cube current database databases default
    delete desc describe distinct div drop each else end except exists explain fetch for force
    foreign from full function grant group groups having if in index inner insert int intersect
    interval into is isnull join key keys kill lateral left like limit lines load lock loop match
    mod natural not notnull null of offset on only optimize option or order out outer over partition
    primary procedure purge qualify range rank read recursive references release rename repeat
    replace require return returning revoke right row rows schema schemas select separator set show
    signal sql ssl starting system table terminated then to transaction trigger true undo union
    unique unlock unsigned update usage use user using values varying view when where while window
    with write xor zerofill
    """.split()  # noqa: SIM905 - so many words are read more easily
)


def needs_none(name: str) -> bool:
    """Whether a name means the same without quotes."""
    return _PLAIN.fullmatch(name) is not None and name.lower() not in _RESERVED


def double(name: str) -> str:
    """In double quotes, as the standard has it."""
    return '"' + name.replace('"', '""') + '"'


def back(name: str) -> str:
    """In backticks, as MySQL has it."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A string of MySQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
