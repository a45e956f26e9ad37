"""The session's sys.stdout and sys.stderr: one sink, in the order written.

Each call has a pipe of its own. What a thread of an earlier call writes goes to the
background pipe instead, so that it is never credited to the call that runs now.
"""

import io
import os
import sys
import threading

_FLUSH_BYTES = 64 * 1024


class Sink:
    """Where text goes: the running call's pipe, or the background's."""

    def __init__(self, background: int) -> None:
        self._background = background
        self._target = background
        self._call = 0
        self._old_threads: frozenset[int] = frozenset()
        self._main = threading.main_thread().ident
        self._renew()
        self._start_of_threads()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._parts: list[bytes] = []
        self._size = 0

    def _start_of_threads(self) -> None:
        """Mark each thread with the call that it comes from; its own threads inherit the mark."""
        start = threading.Thread.start
        sink = self

        def marked_start(thread: threading.Thread) -> None:
            thread._cataloger_call = sink._origin()
            start(thread)

        marked_start.__doc__ = start.__doc__
        threading.Thread.start = marked_start
        os.register_at_fork(before=self.flush, after_in_child=self._renew)

    def _origin(self) -> int:
        if threading.get_ident() == self._main:
            return self._call
        mark = getattr(threading.current_thread(), "_cataloger_call", None)
        if mark is None:  # started by hand, or by a library: old if it was there before the call
            return 0 if threading.get_ident() in self._old_threads else self._call
        return mark

    def begin(self, call: int, target: int) -> None:
        """From now on, what the call's own threads write goes to its pipe."""
        old = frozenset(sys._current_frames()) - {self._main}
        with self._lock:
            self.flush()
            self._old_threads = old
            self._call = call
            self._target = target

    def end(self) -> None:
        """The call is over: all that is written now is background."""
        with self._lock:
            self.flush()
            self._target = self._background

    def write(self, data: bytes) -> None:
        """Write bytes; lines leave at once, as on a terminal."""
        with self._lock:
            # Under the lock: a call must not begin between this look and what follows from it.
            ours = threading.get_ident() == self._main or self._origin() == self._call
            if ours:
                self._parts.append(data)
                self._size += len(data)
                if b"\n" in data or self._size >= _FLUSH_BYTES:
                    self.flush()
        if not ours:
            _write_all(self._background, data)

    def write_text(self, text: str) -> None:
        """Write text; lone surrogates are spelled out, never an error."""
        self.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Hand everything to the pipe."""
        with self._lock:
            data = b"".join(self._parts)
            self._parts = []
            self._size = 0
            if data:
                _write_all(self._target, data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        pass  # the code has closed it: what is printed is lost, and that is its own doing


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, sink: Sink, descriptor: int) -> None:
        self._sink = sink
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data) -> int:
        data = bytes(data)
        self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        self._sink.flush()


class Text(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``. Lone surrogates are spelled out, never an error."""

    def __init__(self, sink: Sink, descriptor: int, name: str) -> None:
        self._sink = sink
        self.buffer = _Bytes(sink, descriptor)
        self.name = name
        self.mode = "w"

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self.buffer.fileno()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._sink.write_text(text)
        return len(text)

    def flush(self) -> None:
        self._sink.flush()

    def reconfigure(self, **_options) -> None:
        """Accepted for programs that set their encoding; it stays UTF-8."""

    def close(self) -> None:
        """A program may close its stdout; the session's stays."""
