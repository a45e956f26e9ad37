"""What the tests share: places, daemons, the corpus, and an end to every test."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from client import Daemon, make_directory
from servers import MySQL, Postgres

TEST_SECONDS = 90
CORPUS = Path(__file__).parents[2] / "tests" / "corpus" / "frames.json"

settings.register_profile(
    "suite",
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_configure(config):
    # ibis's own, which nobody here can mend.
    config.addinivalue_line("filterwarnings", "ignore:fetch_arrow_table:DeprecationWarning")


def _out_of_time(_number, _frame):
    raise TimeoutError(f"the test took longer than {TEST_SECONDS} s")


@pytest.fixture(autouse=True)
def _time_limit():
    """No test hangs."""
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)


def _make_place():
    base = Path(tempfile.mkdtemp(prefix="cataloger-test-"))
    base.chmod(0o755)
    yield make_directory(base / "place")
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def place():
    """A directory that the sandbox's user owns and reaches, which pytest's own is not."""
    yield from _make_place()


@pytest.fixture(scope="session")
def corpus():
    return json.loads(CORPUS.read_text(encoding="utf-8"))


@pytest.fixture
def start(place):
    """Starts daemons without packages, and ends them."""
    started = []

    def starter(*arguments: str, **options) -> Daemon:
        directory = make_directory(place / f"daemon-{len(started)}")
        started.append(Daemon(directory, "--preload", "", *arguments, **options))
        return started[-1]

    yield starter
    for daemon in started:
        assert_quiet(daemon.close())


@pytest.fixture
def daemon(start):
    """A claimed daemon without packages, for one test."""
    return start()


@pytest.fixture(scope="session")
def shared_daemon():
    """A claimed daemon without packages, for tests that leave it as it was."""
    for directory in _make_place():
        daemon = Daemon(directory, "--preload", "")
        yield daemon
        assert_quiet(daemon.close())


@pytest.fixture
def shared(shared_daemon):
    """The shared daemon, with a new connection."""
    shared_daemon.reconnect()
    return shared_daemon


@pytest.fixture(scope="session")
def packed_daemon():
    """A claimed daemon with the data packages."""
    for directory in _make_place():
        daemon = Daemon(directory)
        yield daemon
        assert_quiet(daemon.close())


@pytest.fixture
def packed(packed_daemon):
    """The daemon with packages, with a new connection."""
    packed_daemon.reconnect()
    return packed_daemon


@pytest.fixture(scope="session")
def postgres():
    """A server of PostgreSQL. Tests make databases and roles of their own in it."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mysql():
    """A server of MariaDB, or of MySQL, likewise."""
    pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    server = MySQL()
    yield server
    server.stop()


def assert_quiet(stderr: str) -> None:
    """A daemon says that it listens, and which optional packages it misses; nothing else."""
    said = [line for line in stderr.splitlines() if "not installed" not in line]
    assert said == ["cataloger_sandbox: listening"], stderr


@pytest.fixture
def as_root():
    if os.getuid() != 0:
        pytest.skip("only root can do this")
