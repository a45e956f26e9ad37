"""What is known of tables and columns: plain data, filled by the engines and the measurements."""

from dataclasses import dataclass, field

# Up to so many rows, by estimate, a table is measured exactly.
LARGE = 1_000_000
# Of a text, so many letters are looked at; full values are counted.
CUT = 80


class Failed(Exception):
    """A statement that the database refused, or did not end in time."""

    def __init__(self, problem: str, timed_out: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.timed_out = timed_out


@dataclass(eq=False)
class Column:
    """A column, as the database's catalog has it; ``facts`` is what was measured."""

    name: str
    type: str
    kind: str  # number, time, clock, bool, text, enum, uuid, json, blob, array, other
    whole: bool = False  # a number without a fraction
    floating: bool = False  # a number that may be NaN or infinite
    single: bool = False  # a number of 32 bits, read as one of 64
    not_null: bool = False
    default: str | None = None
    generated: bool = False
    comment: str | None = None
    readable: bool = True
    storage: str = ""  # SQLite only: which types its values have
    facts: dict = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)  # of a sample, some distinct values


@dataclass
class Reference:
    """A foreign key: declared, or found."""

    columns: list[str]
    to: tuple[str, str]
    to_columns: list[str]
    enforced: bool = False


@dataclass(eq=False)
class Table:
    """A table or view."""

    schema: str
    name: str
    kind: str = "table"
    estimate: int | None = None  # of rows, by the database; never shown as a count
    size: int | None = None
    comment: str | None = None
    definition: str | None = None
    columns: list[Column] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    uniques: list[list[str]] = field(default_factory=list)
    indexed: list[list[str]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    handle: object = None  # what the engine knows it by
    facts: dict = field(default_factory=dict)

    @property
    def at(self) -> tuple[str, str]:
        """Where it is."""
        return (self.schema, self.name)

    @property
    def is_view(self) -> bool:
        """Whether reading it runs a query."""
        return self.kind == "view"

    def column(self, name: str) -> Column | None:
        """The column of a name."""
        return next((column for column in self.columns if column.name == name), None)

    def is_unique(self, columns: list[str]) -> bool:
        """Whether the database sees to it that no two rows are equal in these."""
        wanted = set(columns)
        declared = [self.key, *self.uniques]
        return any(key and set(key) <= wanted for key in declared)
