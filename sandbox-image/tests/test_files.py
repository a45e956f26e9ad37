"""Writing below a directory in which hostile code may have put anything."""

import base64
import os
import resource
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger_sandbox import checks, files


@pytest.fixture
def work(place):
    (place / "work").mkdir()
    (place / "outside").mkdir()
    (place / "outside" / "file").write_text("theirs")
    return place / "work"


def _write(work, path: str, data: bytes = b"ours", append: bool = False) -> int:
    return files.write_below(str(work), path.split("/"), data, append=append)


def _names(directory) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_writes_and_makes_directories(work):
    assert _write(work, "a/b/c.txt", b"hello") == 5
    assert (work / "a/b/c.txt").read_bytes() == b"hello"
    assert _write(work, "a/b/c.txt", b", world", append=True) == 12
    assert (work / "a/b/c.txt").read_bytes() == b"hello, world"
    assert _write(work, "a/b/c.txt", b"") == 0
    assert (work / "a/b/c.txt").read_bytes() == b""
    assert _names(work / "a/b") == {"c.txt"}


def test_replaces_at_once(work):
    (work / "file").write_text("before")
    with open(work / "file", encoding="ascii") as reader:
        _write(work, "file", b"after")
        assert reader.read() == "before"
    assert (work / "file").read_text() == "after"
    assert stat.S_IMODE((work / "file").stat().st_mode) & 0o133 == 0


def test_replaces_a_read_only_file(work):
    (work / "file").touch(0o400)
    assert _write(work, "file") == 4


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("path", ["link/file", "directory/link/file", "loop/file"])
def test_links_in_the_path(work, path, append):
    (work / "directory").mkdir()
    (work / "link").symlink_to(work.parent / "outside")
    (work / "directory" / "link").symlink_to("../../outside")
    (work / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
        _write(work, path, append=append)
    assert (work.parent / "outside" / "file").read_text() == "theirs"
    assert _names(work.parent / "outside") == {"file"}


def test_a_link_at_the_end_is_replaced_not_followed(work):
    (work / "link").symlink_to(work.parent / "outside" / "file")
    with pytest.raises(OSError, match="Too many levels"):
        _write(work, "link", append=True)
    _write(work, "link")
    assert not (work / "link").is_symlink()
    assert (work.parent / "outside" / "file").read_text() == "theirs"


def test_fifos(work):
    os.mkfifo(work / "fifo")
    for path in ("fifo", "fifo/file"):
        with pytest.raises(OSError, match=r"No such device|Not a directory"):
            _write(work, path, append=True)
    reader = os.open(work / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="not a regular file"):
            _write(work, "fifo", append=True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)
    assert _write(work, "fifo") == 4
    assert (work / "fifo").is_file()


def test_directories_in_the_way(work):
    (work / "directory" / "inner").mkdir(parents=True)
    for append in (False, True):
        with pytest.raises(OSError, match="directory"):
            _write(work, "directory", append=append)
    (work / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        _write(work, "file/file")
    assert _names(work) == {"directory", "file"}


def test_names_that_are_too_long(work):
    for path in ("n" * 256, "n" * 256 + "/file"):
        with pytest.raises(OSError, match="too long"):
            _write(work, path)
    assert _names(work) == set()


@given(st.text(st.sampled_from("/.\0a\ud800\udcff"), max_size=12) | st.text(max_size=12))
def test_paths_stay_below(path):
    try:
        parts = checks.relative(path)
    except ValueError:
        return
    assert "/".join(parts) == path
    assert not set(parts) & {"", ".", ".."}
    os.fsencode(path)  # does not raise
    whole = os.path.normpath(os.path.join("/work", path))
    assert whole.startswith("/work/")
    assert "\0" not in path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/etc/passwd", "..", "../up", "a/../../b", "a/", "a//b", "./a", ".", "a/."),
        *("a\0b", "\ud800", "a/\udfff/b"),
    ],
)
def test_escapes_are_invalid(path):
    message = {"path": path, "data": "", "append": False}
    with pytest.raises(ValueError, match="path must be"):
        checks.put_file(message)


def test_put_file_members():
    data = bytes(range(256))
    message = {"path": "a/b", "data": base64.b64encode(data).decode()}
    assert checks.put_file(message) == (["a", "b"], data, False)
    assert checks.put_file(message | {"append": True})[2] is True
    for wrong in ("*", "QQ", "QQ=", "é", None, 1):
        with pytest.raises(ValueError, match="data"):
            checks.put_file(message | {"data": wrong})


@pytest.fixture(params=["a full disk", "a limit on the size of files"])
def narrow(request, work):
    """A directory in which no file can have more than 64 KiB."""
    if request.param == "a full disk":
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(work)]
        if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("can't mount here")
        yield work
        subprocess.run(["umount", str(work)], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
        yield work
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room(narrow):
    _write(narrow, "file", b"before")
    with pytest.raises(OSError, match=r"No space|too large"):
        _write(narrow, "file", bytes(1 << 20))
    assert _names(narrow) == {"file"}
    assert (narrow / "file").read_bytes() == b"before"
    with pytest.raises(OSError, match=r"No space|too large"):
        _write(narrow, "file", bytes(1 << 20), append=True)
    assert (narrow / "file").read_bytes() == b"before"
    assert _write(narrow, "file", b"after") == 5
