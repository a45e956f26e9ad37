"""What names tell: their words, which of them mean a person, and which mean a measure."""

import itertools
import re

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")
_PERSONAL = {
    "email", "mail", "mails", "emails", "phone", "telephone", "tel", "mobile", "fax", "cell",
    "firstname", "lastname", "surname", "forename", "fullname", "birthdate", "birthday", "dob",
    "birth", "born", "ssn", "passport", "iban", "bic", "street", "address", "addr", "address1",
    "address2", "ip", "username", "login", "password", "passwd", "pwd", "secret", "token",
    "vorname", "nachname", "strasse", "telefon", "geburtsdatum", "nickname",
}  # fmt: skip
_PERSONAL_PAIRS = {
    ("first", "name"), ("last", "name"), ("given", "name"), ("family", "name"), ("full", "name"),
    ("middle", "name"), ("maiden", "name"), ("user", "name"), ("contact", "name"),
    ("customer", "name"), ("client", "name"), ("display", "name"), ("credit", "card"),
    ("card", "number"), ("tax", "id"), ("post", "code"), ("postal", "code"), ("zip", "code"),
    ("driver", "license"), ("account", "holder"), ("employee", "name"),
}  # fmt: skip
_PEOPLE = {
    "customer", "user", "employee", "contact", "person", "people", "patient", "member", "client",
    "student", "teacher", "author", "passenger", "guest", "subscriber", "applicant", "driver",
    "agent", "staff", "worker", "actor", "player", "owner", "tenant", "visitor", "kunde",
}  # fmt: skip
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_PHONE = re.compile(r"\+?[0-9][0-9 ()/.-]{6,18}\Z")
_IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman"}
MEASURES = {
    "qty", "quantity", "amount", "total", "price", "cost", "age", "year", "month", "day", "week",
    "position", "pos", "status", "state", "count", "number", "num", "size", "weight", "height",
    "width", "length", "rank", "score", "rating", "level", "version", "priority", "percent", "rate",
    "line",
    "sequence", "seq", "sort", "order_by", "tax", "discount", "balance", "stock", "duration",
}  # fmt: skip
KEYS = {
    "id", "key", "code", "no", "nr", "num", "number", "uuid", "guid", "sku", "pk", "ref", "fk",
    "sk",
}  # fmt: skip
UNKNOWN = {
    "n/a", "na", "none", "null", "nil", "unknown", "-", "--", "?", "tbd", "todo", "undefined",
    "not available", "not applicable", "missing", "xxx", "test", "#n/a", "(null)", "nan", "k.a.",
}  # fmt: skip


def words(name: str) -> list[str]:
    """The words of a name: ``CustomerID`` and ``customer_id`` have the same."""
    return [part.lower() for part in _PARTS.findall(name)]


def singular(word: str) -> str:
    """A word without its plural."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def stem(name: str) -> tuple[str, ...]:
    """The words of a name, each in the singular."""
    return tuple(singular(word) for word in words(name))


def is_personal(table: str, column: str) -> bool:
    """Whether a column looks as if it said something about a person, by its name."""
    parts = words(column)
    if parts and parts[-1] in {"id", "count", "verified", "confirmed", "type", "kind", "sent"}:
        return len(parts) > 1 and tuple(parts[-2:]) == ("tax", "id")
    if "".join(parts) in _PERSONAL or _PERSONAL & set(parts):
        return True
    if set(itertools.pairwise(parts)) & _PERSONAL_PAIRS:
        return True
    return parts in (["name"], ["names"]) and bool(_PEOPLE & set(stem(table)))


def looks_personal(values: list[str]) -> str | None:
    """What most of these values look like, if that is something about a person."""
    if not values:
        return None
    for what, pattern in (("mail addresses", _MAIL), ("phone numbers", _PHONE)):
        hits = sum(bool(pattern.match(value.strip())) for value in values)
        if hits * 2 > len(values) and (
            what != "phone numbers" or any(sign in "".join(values) for sign in "+(/ ")
        ):
            return what
    return None


def shape(value: str) -> str:
    """A value with its letters as ``a`` and its digits as ``9``; long runs are shortened."""
    out = []
    for letter in value[:60]:
        sign = "9" if letter.isdigit() else "a" if letter.isalpha() else letter
        if out and out[-1][0] == sign:
            out[-1][1] += 1
        else:
            out.append([sign, 1])
    parts = [sign * count if count <= 4 else f"{sign}…" for sign, count in out]
    return "".join(parts[:16]) + ("…" if len(parts) > 16 else "")


def variants(values: list[str]) -> list[list[str]]:
    """Values that differ only in case and space around them."""
    groups: dict[str, list[str]] = {}
    for value in values:
        groups.setdefault(" ".join(value.split()).casefold(), []).append(value)
    return [sorted(group)[:4] for group in groups.values() if len(group) > 1]


def means_unknown(value: str) -> bool:
    """Whether a text says that there is no value."""
    return value.strip().casefold() in UNKNOWN
