"""Joins without constraints, on generated schemas of known truth; half were not tuned on."""

import random

import pytest

NOUNS = [
    "customer", "order", "product", "invoice", "payment", "shipment", "category", "warehouse",
    "supplier", "employee", "department", "project", "task", "account", "address", "ticket",
    "course", "student", "device", "campaign",
]  # fmt: skip
STYLES = ["plain", "plural", "camel", "prefixed", "own", "abbreviated", "code"]
ROLES = ["billing", "shipping", "primary", "previous", "backup"]


class Schema:
    """Tables that refer to each other in one of the ways in which people name that."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.style = STYLES[seed % len(STYLES)]
        self.statements: list[str] = []
        self.truth: set[tuple[str, str, str]] = set()
        nouns = self.dice.sample(NOUNS, self.dice.randint(5, 10))
        self.rows: dict[str, int] = {}
        for at, noun in enumerate(nouns):
            self._table(noun, self.dice.sample(nouns[:at], min(at, self.dice.randint(0, 3))))

    def _name(self, noun: str) -> str:
        plural = (
            noun[:-1] + "ies"
            if noun.endswith("y")
            else noun + ("es" if noun.endswith("s") else "s")
        )
        return {"plural": plural, "prefixed": f"app_{plural}", "camel": noun.title()}.get(
            self.style, noun
        )

    def _key(self, noun: str) -> str:
        return {"own": f"{noun}_id", "camel": f"{noun.title()}ID", "code": "code"}.get(
            self.style, "id"
        )

    def _child(self, noun: str) -> str:
        if self.style == "camel":
            return f"{noun.title()}ID"
        if self.style == "abbreviated" and len(noun) > 6:
            return f"{noun[:4]}_id"
        return f"{noun}_code" if self.style == "code" else f"{noun}_id"

    def _value(self, noun: str, at: int) -> str:
        return f"'{noun[:2].upper()}-{at:05}'" if self.style == "code" else str(at)

    def _table(self, noun: str, parents: list[str]) -> None:
        dice, name, number = self.dice, self._name(noun), self.dice.randint(30, 400)
        self.rows[noun] = number
        kind = "VARCHAR(12)" if self.style == "code" else "INTEGER"
        columns = [f"{self._key(noun)} {kind} PRIMARY KEY"]
        makers = [lambda at: self._value(noun, at + 1)]
        for parent in parents:
            child = self._child(parent)
            if self.style != "camel" and dice.random() < 0.2:
                child = f"{dice.choice(ROLES)}_{child}"
            columns.append(f"{child} {kind}")
            self.truth.add((name, child, self._name(parent)))
            most, nulls, broken = self.rows[parent], dice.random() < 0.3, dice.random() < 0.2

            def make(at, parent=parent, most=most, nulls=nulls, broken=broken):
                if nulls and dice.random() < 0.2:
                    return "NULL"
                if broken and at == 7:
                    return self._value(parent, 99_999)
                return self._value(parent, dice.randint(1, most))

            makers.append(make)
        if dice.random() < 0.3 and self.style != "camel":
            columns.append(f"parent_{noun}_{'code' if self.style == 'code' else 'id'} {kind}")
            self.truth.add((name, columns[-1].split()[0], name))
            makers.append(lambda at: "NULL" if at < 5 else self._value(noun, dice.randint(1, at)))
        # What only looks like one.
        for measure in dice.sample(["quantity", "position", "status", "year", "age", "level"], 3):
            columns.append(f"{measure} INTEGER")
            makers.append(lambda _: str(dice.randint(1, 25)))
        columns.append("external_id INTEGER")
        makers.append(lambda at: str(at * 37 % 1000))
        self.statements.append(f'CREATE TABLE "{name}" ({", ".join(columns)})')
        rows = ", ".join("(" + ", ".join(make(at) for make in makers) + ")" for at in range(number))
        self.statements.append(f'INSERT INTO "{name}" VALUES {rows}')


@pytest.mark.parametrize("seeds", [range(28), range(100, 128)], ids=["tuned", "unseen"])
def test_recall_and_precision(sqlite, seeds, capsys):
    from profiler import joins
    from profiler.measure import Clock

    right = wrong = missed = 0
    for seed in seeds:
        schema = Schema(seed)
        url = sqlite.make(*schema.statements)
        session = sqlite.look(url)
        found = joins.found(session.engine, session.tables, Clock(60))
        said = {
            (join.child.name, join.column.name, join.parent.name)
            for join in found
            if join.score >= joins.REPORT
        }
        right += len(said & schema.truth)
        wrong += len(said - schema.truth)
        missed += len(schema.truth - said)
        for one in sorted(schema.truth ^ said):
            with capsys.disabled():
                print("\n", schema.style, "missed" if one in schema.truth else "wrong", one, end="")
    recall, precision = right / (right + missed), right / (right + wrong)
    with capsys.disabled():
        said = f"recall={recall:.3f} precision={precision:.3f}"
        print(f"\njoins: references={right + missed} {said}")
    assert recall >= 0.95
    assert precision >= 0.95
