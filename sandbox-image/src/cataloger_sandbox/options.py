"""What the daemon was started with, and what its processes have agreed on."""

# Imported before the first session; those that are not installed are passed over.
DEFAULT_MODULES = (
    "ibis",
    "ibis.backends.duckdb",
    "ibis.backends.mysql",
    "ibis.backends.postgres",
    "ibis.backends.sqlite",
    "pandas",
    "polars",
    "pyarrow",
    "pyarrow.parquet",
    "duckdb",
    "boto3",
    "matplotlib.pyplot",
)

# The exit code of a session whose own code can't go on: what runs in it has broken what it needs.
SESSION_BROKEN = 117


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
