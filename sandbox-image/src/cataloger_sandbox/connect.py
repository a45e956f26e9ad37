"""The thin client: joins stdin and stdout to the daemon's socket, and understands nothing.

It is what an exec stream starts. It leaves when either side ends, or when its stdin says
nothing for a while: a broken exec stream may never close its stdin.
"""

import os
import selectors
import socket
import sys
import time

from cataloger_sandbox import DEFAULT_SOCKET, linux

SILENCE_SECONDS = 60.0
_CHUNK = 256 * 1024


class _Way:
    """One direction: bytes read and not written yet."""

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self.buffer = b""
        self.ended = False


def _join(way_in: _Way, way_out: _Way) -> int:
    ways = [way_in, way_out]
    for way in ways:
        os.set_blocking(way.source, False)
        os.set_blocking(way.target, False)
    heard = time.monotonic()
    selector = selectors.PollSelector()  # epoll knows no files, and stdin may be /dev/null
    registered: dict[int, int] = {}
    while True:
        wanted: dict[int, int] = {}
        for way in ways:
            if way.buffer:
                wanted[way.target] = wanted.get(way.target, 0) | selectors.EVENT_WRITE
            elif not way.ended:
                wanted[way.source] = wanted.get(way.source, 0) | selectors.EVENT_READ
        _register(selector, registered, wanted)
        left = heard + SILENCE_SECONDS - time.monotonic()
        if left <= 0:
            print("cataloger_sandbox: the controller fell silent", file=sys.stderr)
            return 4
        selector.select(left)
        for way in list(ways):
            if not way.buffer and not way.ended:
                try:
                    way.buffer = os.read(way.source, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    way.buffer = b""
                if not way.buffer:
                    way.ended = True
                elif way is way_in:
                    heard = time.monotonic()
            if way.buffer:
                try:
                    way.buffer = way.buffer[os.write(way.target, way.buffer) :]
                except BlockingIOError:
                    pass
                except OSError:
                    if way is way_out:
                        return 0
                    ways.remove(way_in)  # the daemon reads no more; it may have said why
        if any(way.ended and not way.buffer for way in ways):
            return 0


def _register(
    selector: selectors.BaseSelector, registered: dict[int, int], wanted: dict[int, int]
) -> None:
    for descriptor in [d for d in registered if d not in wanted]:
        selector.unregister(descriptor)
        del registered[descriptor]
    for descriptor, events in wanted.items():
        if descriptor not in registered:
            selector.register(descriptor, events)
        elif registered[descriptor] != events:
            selector.modify(descriptor, events)
        registered[descriptor] = events


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
    return _join(_Way(0, connection.fileno()), _Way(connection.fileno(), 1))
