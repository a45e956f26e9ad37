"""Empties directories that hostile code has filled: any depth, any modes, any number."""

import os
import stat


def empty(directory: str, only_uid: int | None = None) -> list[str]:
    """Remove everything in a directory, and keep the directory. Returns what stayed, and why.

    With ``only_uid`` just that user's entries at the top are removed (a directory that is
    shared with others). Never follows a link. Subdirectories are moved up to the top before
    they are emptied, so neither a path's length nor a depth nor open files grow with the tree.
    """
    try:
        info = os.stat(directory, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
            os.chmod(directory, stat.S_IMODE(info.st_mode) | stat.S_IRWXU)
        top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{directory}: {error.strerror}"]
    failed: list[str] = []
    try:
        _remove_entries(top, only_uid, failed, directory)
    finally:
        os.close(top)
    return failed


def _remove_entries(top: int, only_uid: int | None, failed: list[str], directory: str) -> None:
    counter = 0
    stuck: set[str] = set()
    while True:
        # Moved-up directories appear in the listing of the top: list until it is empty.
        names = [name for name in os.listdir(top) if name not in stuck]
        progress = False
        for name in names:
            try:
                info = os.stat(name, dir_fd=top, follow_symlinks=False)
                if only_uid is not None and info.st_uid != only_uid:
                    stuck.add(name)
                    continue
                if stat.S_ISDIR(info.st_mode):
                    counter = _flatten(name, top, counter)
                    os.rmdir(name, dir_fd=top)
                else:
                    os.unlink(name, dir_fd=top)
                progress = True
            except FileNotFoundError:
                progress = True
            except OSError as error:
                stuck.add(name)
                failed.append(f"{directory}/{name}: {error.strerror}")
        if not names or not progress:
            return


def _flatten(name: str, top: int, counter: int) -> int:
    """Remove a directory's files, and move its subdirectories up to the top."""
    try:
        os.chmod(name, 0o700, dir_fd=top)
    except OSError:
        pass  # not ours; what can't be read will tell
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for entry in os.listdir(inner):
            info = os.stat(entry, dir_fd=inner, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                # A directory without write permission can't be moved: its ".." would change.
                os.chmod(entry, 0o700, dir_fd=inner)
                while True:
                    counter += 1
                    moved = f".cataloger-sweep-{counter}"
                    try:
                        os.stat(moved, dir_fd=top, follow_symlinks=False)
                    except FileNotFoundError:
                        break
                os.rename(entry, moved, src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    return counter


def writable_mounts() -> list[str]:
    """Mounted directories that we may write to: where a container's volumes are."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            path = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            kind = fields[fields.index("-") + 1]
            if kind in ("proc", "sysfs", "cgroup", "cgroup2", "devpts"):
                continue
            if path != "/" and os.path.isdir(path) and os.access(path, os.W_OK):
                found.append(path)
    return found
