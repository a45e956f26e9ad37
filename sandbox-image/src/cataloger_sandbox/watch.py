"""Measures what the session's processes use, cheaply when little and exactly when much."""

import os

from cataloger_sandbox import cgroup, linux

# Kept free below a container's limit: the daemon, the preloader and a stream live there.
_RESERVE_SHARE = 10
_RESERVE_BYTES = 64 * 1024 * 1024


class Watch:
    """Says when the session's processes pass a limit, and which."""

    def __init__(self, memory_limit: int, process_limit: int) -> None:
        self._cgroup = cgroup.find()
        self._memory_limit = memory_limit
        self._process_limit = process_limit
        self._kills = self._cgroup.kills() if self._cgroup else 0
        self._base = 0
        self.processes: set[int] = set()
        self.memory = 0

    @property
    def memory_limit(self) -> int:
        """Bytes that the session may use, 0 if there is no limit."""
        limits = [self._memory_limit] if self._memory_limit else []
        if self._cgroup:
            reserve = max(_RESERVE_BYTES, self._cgroup.limit // _RESERVE_SHARE)
            limits.append(max(_RESERVE_BYTES, self._cgroup.limit - reserve))
        return min(limits, default=0)

    def list_processes(self, apart_from: set[int]) -> set[int]:
        """Look anew at who is there."""
        self.processes = linux.descendants(os.getpid()) - apart_from
        return self.processes

    def too_many(self, count: int | None = None) -> str | None:
        """A sentence if there are too many processes."""
        if count is None:
            count = len(self.processes)
        if self._process_limit and count > self._process_limit:
            return f"the code had {count} processes, and {self._process_limit} are allowed"
        return None

    def too_much(self) -> str | None:
        """A sentence if they use too much memory."""
        limit = self.memory_limit
        if not limit:
            return None
        if self._cgroup:
            self.memory = self._cgroup.used()
        else:
            self.memory = sum(linux.private_bytes(pid) for pid in self.processes)
            if self.memory > limit:  # pages shared by fork were counted more than once
                self.memory = sum(linux.proportional_bytes(pid) for pid in self.processes)
        if self.memory > limit:
            return (
                f"the code used {self.memory // 2**20:,} MiB of memory, "
                f"and {limit // 2**20:,} MiB are allowed"
            )
        return None

    def note_base(self) -> None:
        """Remember what is used before any code has run: the first call of this counts."""
        if self._cgroup and not self._base:
            self._base = self._cgroup.used()

    def files_fill_it(self) -> bool:
        """Whether files in memory hold more than half of what code may use.

        Asked when no process of the session is left, so that it is files. They need not pass the
        limit by themselves: the session that wrote them needed some memory, and so will the next.
        """
        if not self._cgroup:
            return False
        return self._cgroup.used() - self._base > (self.memory_limit - self._base) // 2

    def kernel_killed(self) -> bool:
        """Whether the kernel has ended a process for want of memory since this was last asked."""
        kills = self._cgroup.kills() if self._cgroup else 0
        new = kills > self._kills
        self._kills = kills
        return new
