"""How values are shown: as IPython echoes them, tables capped and with a line that counts them."""

import builtins
import pprint
import sys
from collections.abc import Mapping, Sequence

# An ibis expression is counted no further than this: a count may cost its database a scan.
COUNT_LIMIT = 1_000_000
_WIDTH = 160
_CELL_WIDTH = 80
_MAX_ITEMS = 1000
_PLAIN = frozenset({str, int, float, bool, type(None)})


def set_max_rows(rows: int) -> None:
    """Tell the data packages that are loaded how many rows to show."""
    if pandas := sys.modules.get("pandas"):
        for option, value in (
            ("display.max_rows", rows),
            ("display.min_rows", rows),
            ("display.max_columns", 50),
            ("display.width", _WIDTH),
            ("display.max_colwidth", _CELL_WIDTH),
            ("display.show_dimensions", True),
        ):
            pandas.set_option(option, value)
    if polars := sys.modules.get("polars"):
        polars.Config.set_tbl_rows(rows)
        polars.Config.set_tbl_cols(50)
        polars.Config.set_tbl_width_chars(_WIDTH)
        polars.Config.set_fmt_str_lengths(_CELL_WIDTH)


class Display:
    """Renders values for one session; ``max_rows`` is set anew with every call."""

    def __init__(self) -> None:
        self.max_rows = 20
        self._told: tuple[object, ...] = ()
        self._print = builtins.print

    def begin(self, max_rows: int) -> None:
        """A call begins. Packages that know it already are not told again: that takes long."""
        self.max_rows = max_rows
        now = (max_rows, *(name in sys.modules for name in ("pandas", "polars")))
        if now != self._told:
            self._told = now
            set_max_rows(max_rows)

    def print(self, *values, **options) -> None:
        """``print``, but tables that don't cap themselves are capped, unless for a file."""
        if options.get("file") in (None, sys.stdout, sys.stderr):
            values = [self._printable(value) for value in values]
        self._print(*values, **options)

    def _printable(self, value):
        if type(value) in _PLAIN:
            return value
        table = self.table(value)
        return value if table is None else table

    def echo(self, value) -> str:
        """The text for the value of a last expression."""
        table = self.table(value)
        if table is not None:
            return table
        if isinstance(value, (list, tuple, dict, set, frozenset)):
            return self._collection(value)
        return repr(value)

    def _collection(self, value) -> str:
        if len(value) > _MAX_ITEMS and type(value) in (list, tuple):
            shown = pprint.pformat(value[:_MAX_ITEMS], width=_WIDTH, compact=True, sort_dicts=False)
            return f"{shown}\n[{_MAX_ITEMS:,} of {len(value):,} items]"
        return pprint.pformat(value, width=_WIDTH, compact=True, sort_dicts=False)

    def table(self, value) -> str | None:
        """A capped table, if the value is one that does not cap itself."""
        arrow = sys.modules.get("pyarrow")
        if arrow is not None and isinstance(value, (arrow.Table, arrow.RecordBatch)):
            return self._arrow(value)
        ibis_types = sys.modules.get("ibis.expr.types")
        if ibis_types is not None and isinstance(value, ibis_types.Expr):
            return self._ibis(value, ibis_types)
        polars = sys.modules.get("polars")
        if polars is not None and isinstance(value, polars.DataFrame):
            return self._polars(value)
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series)):
            return repr(value)
        if _is_rows(value):
            return self._rows(value)
        return None

    def _count(self, shown: int, total: str | int) -> str:
        text = f"{total:,}" if isinstance(total, int) else total
        return f"[{shown:,} of {text} rows]" if str(shown) != str(total) else f"[{shown:,} rows]"

    def _rows(self, rows: Sequence) -> str:
        shown = rows[: self.max_rows]
        if _is_sqlite(rows[0]):  # its repr shows nothing
            shown = [dict(row) for row in shown]
        lines = [_short(repr(row), _CELL_WIDTH * 5) for row in shown]
        return "\n".join([*lines, self._count(len(shown), len(rows))])

    def _arrow(self, table) -> str:
        shown = min(table.num_rows, self.max_rows)
        return "\n".join([_frame(table.slice(0, shown)), self._count(shown, table.num_rows)])

    def _polars(self, frame) -> str:
        shown = min(frame.height, self.max_rows)
        return f"{frame!r}\n{self._count(shown, frame.height)}"

    def _ibis(self, expression, types) -> str:
        if isinstance(expression, types.Scalar):
            return repr(expression.execute())
        if not isinstance(expression, (types.Table, types.Column)):
            return repr(expression)
        table = expression if isinstance(expression, types.Table) else expression.as_table()
        head = table.limit(self.max_rows + 1).to_pyarrow()
        total: str | int = head.num_rows
        if head.num_rows > self.max_rows:
            counted = int(table.limit(COUNT_LIMIT + 1).count().execute())
            total = counted if counted <= COUNT_LIMIT else f"more than {COUNT_LIMIT:,}"
        shown = head.slice(0, self.max_rows)
        return "\n".join([_frame(shown), self._count(shown.num_rows, total)])


def _is_rows(value) -> bool:
    """What a DB-API cursor's fetchall gives: a list of tuples, mappings or row objects."""
    if type(value) not in (list, tuple) or len(value) < 1:
        return False
    first = value[0]
    if isinstance(first, (str, bytes, list)) or (type(value) is tuple and type(first) is not tuple):
        return False
    kind = type(first)
    rows = isinstance(first, (tuple, Mapping)) or _is_sqlite(first)
    return rows and all(type(item) is kind for item in value)


def _is_sqlite(row) -> bool:
    sqlite3 = sys.modules.get("sqlite3")
    return sqlite3 is not None and isinstance(row, sqlite3.Row)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cell(value) -> str:
    return _short(str(value).replace("\n", "\\n"), _CELL_WIDTH)


def _values(column) -> list:
    """An Arrow column's values; those that Python has no type for, as Arrow writes them."""
    try:
        return column.to_pylist()
    except Exception:  # noqa: BLE001 - a date beyond Python's, a time zone that is unknown here
        for kind in ("string", "int64"):
            try:
                return column.cast(kind).to_pylist()
            except Exception:  # noqa: BLE001, S112 - then another way
                continue
    return ["?"] * len(column)


def _frame(table) -> str:
    """A plain text table; numbers to the right."""
    if not table.num_columns:
        return "(no columns)"
    blocks = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = _values(column)
        numeric = all(isinstance(v, (int, float)) for v in values if v is not None) and any(
            v is not None for v in values
        )
        cells = [_cell(name), *("NULL" if v is None else _cell(v) for v in values)]
        width = max(len(cell) for cell in cells)
        blocks.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*blocks, strict=True))
