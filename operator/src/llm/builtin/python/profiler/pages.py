"""Reads what a catalog of the builtin model says to machines, in attributes."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Catalog:
    """A catalog, as far as it can be compared."""

    run: str = ""
    cut_warnings: bool = False
    cut_references: bool = False
    cut_tables: bool = False
    asked: list[str] = field(default_factory=list)
    tables: dict[str, dict] = field(default_factory=dict)
    columns: dict[str, dict[str, dict]] = field(default_factory=dict)
    references: dict[str, dict] = field(default_factory=dict)
    warnings: dict[tuple[str, str], dict] = field(default_factory=dict)
    unmeasured: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.catalog = Catalog()
        self.is_ours = False
        self._table = ""
        self._names = ""  # the element with names and types only that is open
        self._type = ""
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._names:
            self._listed()
            return
        of = {name[5:]: value or "" for name, value in attrs if name.startswith("data-")}
        if "catalog" in of:
            self.is_ours = of["catalog"] == "1"
            self.catalog.run = of.get("run", "")
            self.catalog.cut_warnings = "cut-warnings" in of
            self.catalog.cut_references = "cut-references" in of
            self.catalog.asked = json.loads(of.get("asked", "[]"))
        elif "table" in of:
            self._table = of["table"]
            # What is not said is what most tables are.
            usual = {"kind": "table", "how": "exact"} | (
                {"counted": "exact"} if "rows" in of else {}
            )
            self.catalog.tables[self._table] = usual | of
            self.catalog.columns[self._table] = {}
        elif "column" in of and self._table:
            if "top" in of:
                of["top"] = json.loads(of["top"])
            if "often" in of:
                of["often"] = json.loads(of["often"])
            self.catalog.columns[self._table][of["column"]] = of
        elif "reference" in of:
            self.catalog.references[of["reference"]] = of
        elif "warning" in of:
            self.catalog.warnings[_key(of)] = of
        elif "names" in of and self._table:
            self._names = tag
        elif "unmeasured" in of:
            self.catalog.unmeasured.add(of["unmeasured"])
        elif "cut-tables" in of:
            self.catalog.cut_tables = True

    def handle_data(self, data: str) -> None:
        if self._names:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if not self._names:
            return
        if tag == "b":
            self._type = "".join(self._text)
        elif tag == "i":
            self._column("".join(self._text))
        else:
            self._listed()
        self._text = []
        if tag == self._names:
            self._names = ""

    def _listed(self) -> None:
        """Names that stand in a line, with commas between them."""
        for name in "".join(self._text).split(", "):
            if name.strip(" "):
                self._column(name.strip(" "))
        self._text = []

    def _column(self, name: str) -> None:
        self.catalog.columns[self._table][name] = {"column": name, "type": self._type}


def _key(of: dict) -> tuple[str, str]:
    """What makes a warning that warning, whatever was counted."""
    kind, at = of["warning"], of.get("at", "")
    # A column may have several of these: each names its values.
    return (kind, f"{at} {of.get('says', '')}" if kind == "variants" else at)


def read(path: str) -> Catalog | None:
    """The catalog in a file; nothing if it says nothing to machines."""
    reader = _Reader()
    try:
        with open(path, encoding="utf-8") as file:
            reader.feed(file.read())
        reader.close()
    except (OSError, ValueError):
        return None
    return reader.catalog if reader.is_ours and reader.catalog.tables else None
