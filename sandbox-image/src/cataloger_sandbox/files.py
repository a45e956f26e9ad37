"""Writes files where hostile code may have put links and pipes."""

import errno
import os
import stat


def write_below(directory: str, path: list[str], data: bytes, *, append: bool) -> int:
    """Write a file below a directory, following nothing; its size then.

    What fails leaves the file as it was.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    here = os.open(directory, flags | os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in path[:-1]:
            try:
                os.mkdir(part, 0o755, dir_fd=here)
            except FileExistsError:
                pass
            inner = os.open(part, flags | os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        name = path[-1]
        if append:
            # O_NONBLOCK: a pipe by that name must not hold the daemon.
            target = os.open(name, flags | os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK, dir_fd=here)
        else:
            new = f".{os.urandom(8).hex()}"
            target = os.open(new, flags | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=here)
        try:
            before = os.fstat(target)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            if not append:
                os.rename(new, name, src_dir_fd=here, dst_dir_fd=here)
            return os.fstat(target).st_size
        except OSError:
            if not append:
                os.unlink(new, dir_fd=here)
            elif stat.S_ISREG(before.st_mode):
                os.ftruncate(target, before.st_size)
            raise
        finally:
            os.close(target)
    finally:
        os.close(here)
