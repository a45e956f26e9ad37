"""Calls by id, against a model."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cataloger_sandbox import ledger
from cataloger_sandbox.ledger import Ledger, Refusal

_numbers = st.integers(1, 40)
_contents = st.sampled_from([b"a", b"b"])


class LedgerMachine(RuleBasedStateMachine):
    """A controller that asks for anything, in any order."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger()
        self.last = 0
        self.running = None
        self.contents = {}  # of every call that was ever run
        self.answers = {}
        self.began = []

    def _expected(self, number, content):
        if number <= self.last:
            if number != self.running and number not in self.answers:
                return "forgotten"
            if self.contents[number] != content:
                return "conflict"
            return self.answers.get(number)
        if self.running is not None:
            return "busy"
        if len(self.answers) >= ledger.MAX_KEPT:
            return "full"
        return "new"

    def _ask(self, number, content):
        expected = self._expected(number, content)
        fresh = number > self.ledger.last
        try:
            found = self.ledger.admit(number, content)
        except Refusal as raised:
            refusal = raised
            found = refusal.code
        else:
            if fresh:
                assert found is None
                found = "new"
        assert found == expected
        assert found != "busy" or refusal.more == {"running": self.running}
        if expected == "new":
            self.last = self.running = number
            self.contents[number] = content
            self.began.append(number)

    @rule(number=_numbers, content=_contents)
    def ask_for_any(self, number, content):
        self._ask(number, content)

    @rule(step=st.integers(1, 3), content=_contents)
    def ask_for_a_later_one(self, step, content):
        self._ask(self.last + step, content)

    @precondition(lambda self: self.last)
    @rule(content=_contents)
    def ask_for_the_last_again(self, content):
        self._ask(self.last, content)

    @precondition(lambda self: self.running)
    @rule(answer=st.binary(max_size=3))
    def answer(self, answer):
        self.ledger.answer(self.running, answer)
        self.answers[self.running] = answer
        self.running = None

    @rule(through=_numbers)
    def acknowledge_any(self, through):
        self._acknowledge(through)

    @rule(back=st.integers(0, 20))
    def acknowledge_late_ones(self, back):
        self._acknowledge(self.last - back)

    def _acknowledge(self, through):
        self.ledger.acknowledge(through)
        self.answers = {n: answer for n, answer in self.answers.items() if n > through}

    @invariant()
    def each_runs_once(self):
        assert len(self.began) == len(set(self.began))
        assert self.began == sorted(self.began)

    @invariant()
    def tells_the_truth(self):
        assert self.ledger.last == self.last
        assert self.ledger.running == self.running
        assert self.ledger.kept == sorted(self.answers)

    @invariant()
    def remembers_no_more_than_it_must(self):
        known = set(self.answers) | ({self.running} if self.running else set())
        assert set(self.ledger._digests) == known
        assert self.ledger._bytes == sum(map(len, self.answers.values()))


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=60)


def test_full_by_size(monkeypatch):
    monkeypatch.setattr(ledger, "MAX_KEPT_BYTES", 100)
    calls = Ledger()
    for number, size in ((1, 99), (2, 1)):
        assert calls.admit(number, b"") is None
        calls.answer(number, bytes(size))
    with pytest.raises(Refusal) as refusal:
        calls.admit(3, b"")
    assert refusal.value.code == "full"
    assert calls.last == 2
    calls.acknowledge(1)
    assert calls.admit(3, b"") is None
