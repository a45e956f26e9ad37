"""A page as its readers see it: its elements as a tree, and their text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_EMPTY = {"meta", "link", "br", "hr", "wbr", "img", "input", "col"}


@dataclass(eq=False)
class Element:
    """An element."""

    tag: str
    of: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)

    def all(self, test) -> list["Element"]:
        """Those within that pass a test, in order."""
        out = []
        for one in self.inside:
            if isinstance(one, Element):
                out += [one] if test(one) else []
                out += one.all(test)
        return out

    def tags(self, *tags: str) -> list["Element"]:
        """Those of these kinds."""
        return self.all(lambda one: one.tag in tags)

    def having(self, attribute: str) -> list["Element"]:
        """Those with an attribute."""
        return self.all(lambda one: attribute in one.of)

    def text(self, without=()) -> str:
        """What can be read; parts of it with a space between them."""
        parts = []
        for one in self.inside:
            if isinstance(one, str):
                parts.append(one)
            elif one not in without and one.tag not in {"svg", "style"}:
                apart = one.tag in {"small", "li", "dt", "dd", "td", "th", "p", "div", "h2"}
                parts.append(f" {one.text(without)} " if apart else one.text(without))
        return " ".join("".join(parts).split(" ")).strip()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("")]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in _EMPTY:
            self.open.append(element)

    def handle_endtag(self, tag):
        if any(one.tag == tag for one in self.open[1:]):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data):
        self.open[-1].inside.append(data)


def page(path: str) -> Element:
    """What stands in the frame of the page in a file."""
    parser = _Parser()
    with open(path, encoding="utf-8") as file:
        parser.feed(file.read())
    parser.close()
    (main,) = parser.open[0].tags("main")
    return main


def shown(name: str) -> str:
    """A name with what can't be seen in it, as pages have it."""
    return "".join(
        f"⟨U+{ord(sign):04X}⟩" if sign == "\u202e" else "⏎" if sign == "\n" else sign
        for sign in name
    )
