"""Emptying directories that were made to stay full. Runs as the sandbox's user."""

import json
import os
import stat

import pytest

from cataloger_sandbox import sweep
from client import OTHER_UID, make_directory, run_as_somebody

_SWEEP = """
import json
from cataloger_sandbox import sweep
print(json.dumps([sweep.empty(sys.argv[1]), __import__("os").listdir(sys.argv[1])]))
"""


def _fill_and_empty(place, code: str) -> None:
    """Have code fill the directory ``top``, and see it emptied."""
    top = make_directory(place / "top")
    run_as_somebody(f"import os\nos.chdir({str(top)!r})\n{code}")
    if os.access(top, os.R_OK):
        assert list(top.iterdir()), "the test left nothing to empty"
    assert json.loads(run_as_somebody(_SWEEP, str(top))) == [[], []]
    assert top.is_dir()


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            "for _ in range(5000): os.mkdir('d'); os.chdir('d')\nopen('f', 'w').close()",
            id="5,000 levels",
        ),
        pytest.param(
            "for _ in range(200): os.mkdir('d' * 255); os.chdir('d' * 255); open('f', 'w').close()",
            id="longer than any path",
        ),
        pytest.param("for n in range(3000): open(str(n), 'w').close()", id="many files"),
        pytest.param("for n in range(2000): os.makedirs(f'{n % 7}/{n}')", id="many directories"),
        pytest.param(
            "os.makedirs('a/b/c'); open('a/b/f', 'w').close()\n"
            "os.chmod('a/b/c', 0); os.chmod('a/b', 0o500); os.chmod('a', 0o555)",
            id="read-only directories",
        ),
        pytest.param(
            "os.makedirs('a/b/c'); open('a/b/f', 'w').close()\n"
            "for path in ('a/b/c', 'a/b', 'a'): os.chmod(path, 0)",
            id="directories without any mode",
        ),
        pytest.param("open('f', 'w').close(); os.chmod('f', 0)", id="a file without any mode"),
        pytest.param(
            "open('f', 'w').close(); os.chmod('.', 0o500)", id="the directory itself is read-only"
        ),
        pytest.param(
            "open('f', 'w').close(); os.chmod('.', 0)", id="the directory itself has no mode"
        ),
        pytest.param(
            "import socket\nos.mkdir('d'); os.mkfifo('fifo'); os.mkfifo('d/fifo')\n"
            "for path in ('socket', 'd/socket'): socket.socket(socket.AF_UNIX).bind(path)",
            id="FIFOs and sockets",
        ),
        pytest.param(
            "for name in (b'\\n', b'a\\nb', b'\\xff\\xfe', b'-rf', b' ', b'*', 'é🐍'.encode()):\n"
            "    os.mkdir(name); open(name + b'/' + name, 'w').close(); os.mkdir(name + b'/d')\n"
            "    open(b'f' + name, 'w').close()",
            id="odd names",
        ),
        pytest.param(
            "for n in range(1, 6):\n"
            "    os.makedirs(f'.cataloger-sweep-{n}/.cataloger-sweep-{n + 1}/.cataloger-sweep-1')\n"
            "    open(f'.cataloger-sweep-{n}/.cataloger-sweep-{n}', 'w').close()\n"
            "open('.cataloger-sweep-7', 'w').close()\n"
            "os.symlink('/nowhere', '.cataloger-sweep-8')\n"
            "for n in range(9): os.makedirs(f'a/.cataloger-sweep-{n}/.cataloger-sweep-1/x')",
            id="the sweep's own names",
        ),
        pytest.param("open('a', 'w').close(); os.mkdir('d'); os.link('a', 'd/b')", id="hard links"),
    ],
)
def test_everything_goes(place, code):
    _fill_and_empty(place, code)


def test_links_are_not_followed(place):
    outside = make_directory(place / "outside")
    inner = make_directory(outside / "directory")
    (inner / "file").write_text("stays")
    inner.chmod(0o500)
    code = f"""
outside = {str(outside)!r}
os.mkdir("d")
for where in ("", "d/"):
    os.symlink(outside, where + "to-directory")
    os.symlink(outside + "/directory/file", where + "to-file")
    os.symlink(outside + "/directory", where + "to-read-only")
    os.symlink("/nowhere", where + "to-nothing")
    os.symlink("loop", where + "loop")
    os.symlink("..", where + "up")
    os.symlink("/", where + "to-root")
"""
    _fill_and_empty(place, code)
    assert (inner / "file").read_text() == "stays"
    assert stat.S_IMODE(inner.stat().st_mode) == 0o500


def test_a_directory_that_is_a_link_is_left_alone(place):
    outside = make_directory(place / "outside")
    (outside / "file").write_text("stays")
    (place / "link").symlink_to(outside)
    failed = sweep.empty(str(place / "link"))
    assert len(failed) == 1
    assert (outside / "file").read_text() == "stays"


def test_what_is_not_there_is_empty(place):
    assert sweep.empty(str(place / "nothing")) == []


@pytest.mark.usefixtures("as_root")
def test_only_one_users_entries(place):
    theirs = place / "theirs"
    for owner, name in ((OTHER_UID, "ours"), (0, "theirs")):
        (place / name).mkdir()
        (place / name / "file").touch()
        (place / f"{name}-file").touch()
        os.symlink("/", place / f"{name}-link")
        for path in (name, f"{name}-file", f"{name}-link"):
            os.chown(place / path, owner, owner, follow_symlinks=False)
    os.chown(place, 0, 0)
    place.chmod(0o1777)
    code = _SWEEP.replace("sys.argv[1])", f"sys.argv[1], {OTHER_UID})", 1)
    # What is inside of our own directory is root's, and goes or not as the kernel has it.
    failed, left = json.loads(run_as_somebody(code, str(place)))
    assert failed == []
    assert sorted(left) == ["theirs", "theirs-file", "theirs-link"]
    assert (theirs / "file").exists()


@pytest.mark.usefixtures("as_root")
def test_what_can_not_be_removed_is_told(place):
    (place / "directory" / "inner").mkdir(parents=True)
    (place / "directory" / "inner" / "file").touch()
    (place / "\udcff").mkdir()
    (place / "\udcff" / "d").mkdir()
    (place / "file").touch()
    os.chown(place / "file", OTHER_UID, OTHER_UID)
    place.chmod(0o777)
    failed, left = json.loads(run_as_somebody(_SWEEP, str(place)))
    assert sorted(left) == ["directory", "\udcff"]
    assert {entry.rpartition(": ")[0] for entry in failed} == {
        f"{place}/directory",
        f"{place}/\udcff",
    }


def test_writable_mounts_are_directories():
    for path in sweep.writable_mounts():
        assert os.path.isdir(path)
        assert path != "/"
