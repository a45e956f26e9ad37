"""What is done about memory depends on who holds it."""

import pytest

from cataloger_sandbox import cgroup, watch

MIB = 1 << 20


class Counted(cgroup.MemoryCgroup):
    """A cgroup of 400 MiB that uses what a test says; code may use 336 of it."""

    def __init__(self, used: int) -> None:
        super().__init__(400 * MIB, "", ("", ""), "")
        self.now = used

    def used(self) -> int:
        return self.now * MIB

    def kills(self) -> int:
        return 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    group = Counted(100)
    monkeypatch.setattr(cgroup, "find", lambda: group)
    return group


# A session that had 20 MiB for itself beside its files: without it they are below the limit.
@pytest.mark.parametrize(("left", "files"), [(100, False), (217, False), (219, True), (316, True)])
def test_files_are_known_by_what_stays(counted: Counted, left: int, files: bool) -> None:
    looked = watch.Watch(0, 0)
    looked.note_base()
    counted.now = 337
    looked.note_base()
    assert looked.too_much()
    counted.now = left
    assert looked.files_fill_it() is files


def test_without_a_cgroup_nothing_is_known_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "find", lambda: None)
    looked = watch.Watch(1, 0)
    looked.note_base()
    assert not looked.files_fill_it()
