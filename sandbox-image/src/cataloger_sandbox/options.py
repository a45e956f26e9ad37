"""What the daemon was started with."""


class Options:
    """Settings of a sandbox; see the daemon's arguments."""

    def __init__(
        self,
        *,
        work: str,
        tmp: str,
        writable: list[str],
        preload: list[str],
        rlimits: dict[str, int],
        memory_limit: int,
        process_limit: int,
        own_uid: bool,
    ) -> None:
        self.work = work
        self.tmp = tmp
        self.writable = writable
        self.preload = preload
        self.rlimits = rlimits
        self.memory_limit = memory_limit
        self.process_limit = process_limit
        self.own_uid = own_uid
