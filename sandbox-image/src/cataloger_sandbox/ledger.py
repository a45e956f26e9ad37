"""Calls by id: each is run at most once, and its answer is kept until it is acknowledged."""

import hashlib

MAX_KEPT = 16
MAX_KEPT_BYTES = 64 * 1024 * 1024


class Refusal(Exception):
    """A call that is not run; its id is not spent."""

    def __init__(self, code: str, message: str, **more) -> None:
        super().__init__(message)
        self.code = code
        self.more = more


class Ledger:
    """Remembers one number (the highest id) for ever, and answers until they are acknowledged."""

    def __init__(self) -> None:
        self.last = 0
        self.running: int | None = None
        self._digests: dict[int, bytes] = {}
        self._answers: dict[int, bytes] = {}
        self._bytes = 0

    @property
    def kept(self) -> list[int]:
        """Ids whose answers are kept."""
        return sorted(self._answers)

    def admit(self, number: int, content: bytes) -> bytes | None:
        """Begin a call. Returns its answer where it was run before, None where it runs now.

        ``running`` tells the two cases of None apart: a new call is not running yet.
        """
        digest = hashlib.sha256(content).digest()
        if number <= self.last:
            known = self._digests.get(number)
            if known is None:
                raise Refusal("forgotten", f"call {number} was run, and its answer is gone")
            if known != digest:
                raise Refusal("conflict", f"call {number} was used for something else")
            return self._answers.get(number)
        if self.running is not None:
            raise Refusal("busy", f"call {self.running} is running", running=self.running)
        if len(self._answers) >= MAX_KEPT or self._bytes >= MAX_KEPT_BYTES:
            raise Refusal("full", f"{len(self._answers)} answers wait to be acknowledged")
        self.last = number
        self.running = number
        self._digests[number] = digest
        return None

    def answer(self, number: int, encoded: bytes) -> None:
        """End the running call."""
        self._answers[number] = encoded
        self._bytes += len(encoded)
        self.running = None

    def acknowledge(self, through: int) -> None:
        """Forget answers up to an id; never the running call."""
        for number in [n for n in self._answers if n <= through]:
            self._bytes -= len(self._answers.pop(number))
            del self._digests[number]
