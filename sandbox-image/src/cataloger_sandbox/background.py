"""Where a session's output comes from: a pipe for each call, and those of earlier calls.

What arrives on the pipe of a call that has ended is background: it is kept apart, and told
with the next call's result.
"""

import fcntl
import os
import sys
import termios

from cataloger_sandbox.capture import Capture
from cataloger_sandbox.events import Events

BACKGROUND_LIMIT = 4096
MAX_OLD_PIPES = 64
_PIPE_BYTES = 1024 * 1024
_CHUNK = 256 * 1024


def make_pipe() -> tuple[int, int]:
    """A pipe with room, whose reading end does not block."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # the user's share of pipe memory is used up; a small one works too
    return read, write


def read_some(pipe: int, most: int = _CHUNK) -> bytes | None:
    """Bytes, none at the end, None if there is nothing now."""
    try:
        return os.read(pipe, min(most, _CHUNK))
    except BlockingIOError:
        return None


def read_present(pipe: int, capture: Capture) -> None:
    """Read what is in the pipe now, and not what is written meanwhile."""
    buffer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, buffer)
    left = int.from_bytes(buffer, sys.byteorder)
    while left > 0 and (data := read_some(pipe, left)):
        left -= len(data)
        capture.feed(data)


class Background:
    """What processes and threads of earlier calls write."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._capture = Capture(BACKGROUND_LIMIT)
        self._pipes: list[int] = []

    def adopt(self, pipe: int) -> None:
        """Read this pipe from now on, until nobody holds its other end."""
        self._pipes.append(pipe)
        self._events.on_readable(pipe, lambda: self._drain(pipe))
        self._drain(pipe)
        while len(self._pipes) > MAX_OLD_PIPES:
            # Not the first: that is the session's own. Who still writes there gets EPIPE.
            self._close(self._pipes[1])

    def _drain(self, pipe: int) -> None:
        data = read_some(pipe)
        if data:
            self._capture.feed(data)
        elif data is not None:
            self._close(pipe)

    def _close(self, pipe: int) -> None:
        self._pipes.remove(pipe)
        self._events.forget(pipe)
        os.close(pipe)

    def take(self) -> dict | None:
        """What came since this was last asked, or None."""
        for pipe in list(self._pipes):
            self._drain(pipe)
        if not self._capture.total:
            return None
        text, omitted = self._capture.finish()
        self._capture = Capture(BACKGROUND_LIMIT)
        return {"output": text, "omitted": omitted}

    def forget(self) -> None:
        """Drop what was kept: a reset tells nothing of what was before it."""
        self._capture = Capture(BACKGROUND_LIMIT)

    def close(self) -> None:
        """The session has ended; what it left is still told."""
        for pipe in list(self._pipes):
            read_present(pipe, self._capture)
            self._close(pipe)
