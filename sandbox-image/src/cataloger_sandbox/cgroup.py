"""What the container's memory cgroup says, version 1 or 2; nothing outside of a container."""

import os

_V2 = "/sys/fs/cgroup"
_V1 = "/sys/fs/cgroup/memory"
# Version 1 says "no limit" by a number near 2^63.
_NO_LIMIT = 1 << 60


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _field(path: str, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


class MemoryCgroup:
    """The cgroup of the container whose PID 1 we are."""

    def __init__(self, limit: int, usage: str, cache: tuple[str, str], kills: str) -> None:
        self.limit = limit
        self._usage = usage
        self._cache = cache
        self._kills = kills

    def used(self) -> int:
        """Bytes that can't be given back at once: all but inactive page cache."""
        try:
            return int(_read(self._usage)) - _field(*self._cache)
        except (OSError, ValueError):
            return 0

    def kills(self) -> int:
        """How many processes the kernel has ended here for want of memory."""
        try:
            return _field(self._kills, "oom_kill")
        except (OSError, ValueError):
            return 0


def find() -> MemoryCgroup | None:
    """The container's cgroup, if we are its PID 1 and it has a limit."""
    if os.getpid() != 1:
        return None
    for limit, usage, cache, kills in (
        (
            f"{_V2}/memory.max",
            f"{_V2}/memory.current",
            (f"{_V2}/memory.stat", "inactive_file"),
            f"{_V2}/memory.events",
        ),
        (
            f"{_V1}/memory.limit_in_bytes",
            f"{_V1}/memory.usage_in_bytes",
            (f"{_V1}/memory.stat", "total_inactive_file"),
            f"{_V1}/memory.oom_control",
        ),
    ):
        try:
            number = int(_read(limit))
        except (OSError, ValueError):  # not this version, or "max"
            continue
        if number < _NO_LIMIT:
            return MemoryCgroup(number, usage, cache, kills)
    return None
