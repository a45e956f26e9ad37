"""The thin client: joins stdin and stdout to the daemon's socket, and understands nothing.

It is what an exec stream starts. It leaves when either side ends, or when its stdin says
nothing for a while: a broken exec stream may never close its stdin.
"""

import os
import socket
import sys
import threading
import time

from cataloger_sandbox import DEFAULT_SOCKET, linux

SILENCE_SECONDS = 60.0
_CHUNK = 256 * 1024


class _Way(threading.Thread):
    """One direction. A thread that blocks costs two system calls for what passes, and no more."""

    def __init__(self, source: int, target: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._target = target
        self._ended = ended
        self.heard = time.monotonic()

    def run(self) -> None:
        try:
            while data := os.read(self._source, _CHUNK):
                self.heard = time.monotonic()
                view = memoryview(data)
                while view:
                    try:
                        view = view[os.write(self._target, view) :]
                    except OSError:
                        if self._target == 1:
                            return
                        # The daemon reads no more. It may have said why: the other way ends first.
                        threading.Event().wait()
        except OSError:
            pass  # the source is gone
        finally:
            self._ended.set()


def _join(connection: int) -> int:
    for descriptor in (0, 1):
        os.set_blocking(descriptor, True)
    ended = threading.Event()
    way_in, way_out = _Way(0, connection, ended), _Way(connection, 1, ended)
    way_in.start()
    way_out.start()
    while not ended.wait(max(0.0, way_in.heard + SILENCE_SECONDS - time.monotonic())):
        if time.monotonic() >= way_in.heard + SILENCE_SECONDS:
            print("cataloger_sandbox: the controller fell silent", file=sys.stderr, flush=True)
            return 4
    return 0


def main(arguments: list[str]) -> int:
    """Run as a process: ``connect [--socket NAME]``."""
    linux.set_dumpable(False)
    name = DEFAULT_SOCKET
    if len(arguments) == 2 and arguments[0] == "--socket":
        name = arguments[1]
    elif arguments:
        print("cataloger_sandbox: usage: connect [--socket NAME]", file=sys.stderr)
        return 2
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("\0" + name)
    except OSError as error:
        print(f"cataloger_sandbox: no daemon at {name}: {error.strerror}", file=sys.stderr)
        return 3
    code = _join(connection.fileno())
    # Not by returning: a thread may be in a write that never ends.
    os._exit(code)
