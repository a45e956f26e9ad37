"""The daemon's loop: readable and writable descriptors with callbacks, nothing more."""

import math
import select
from collections.abc import Callable


def _descriptor(thing) -> int:
    return thing if isinstance(thing, int) else thing.fileno()


class Events:
    """An epoll whose entries are callbacks."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._entries: dict[int, tuple[Callable[[], None], Callable[[], None] | None]] = {}

    def on_readable(self, thing, callback: Callable[[], None]) -> None:
        """Call back when there is something to read, or an end."""
        descriptor = _descriptor(thing)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._entries[descriptor] = (callback, None)

    def also_writable(self, thing, callback: Callable[[], None] | None) -> None:
        """Also call back when there is room to write; None to stop that."""
        descriptor = _descriptor(thing)
        readable, before = self._entries[descriptor]
        if (before is None) != (callback is None):
            wanted = select.EPOLLIN | (select.EPOLLOUT if callback else 0)
            self._epoll.modify(descriptor, wanted)
        self._entries[descriptor] = (readable, callback)

    def forget(self, thing) -> None:
        """No more callbacks for this. To be said before it is closed."""
        descriptor = _descriptor(thing)
        if self._entries.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float) -> None:
        """Wait for events, and call back."""
        # Rounded up to what epoll knows: a deadline just ahead must not be polled for.
        patience = math.ceil(max(0.0, seconds) * 1000) / 1000
        ready = self._epoll.poll(patience)
        entries = {descriptor: self._entries.get(descriptor) for descriptor, _ in ready}
        for descriptor, events in ready:
            entry = entries[descriptor]
            # An earlier callback of this round may have closed it, and opened another.
            if entry is None or self._entries.get(descriptor) is not entry:
                continue
            readable, writable = entry
            if events & ~select.EPOLLOUT:
                readable()
            if events & select.EPOLLOUT and writable is not None:
                entry = self._entries.get(descriptor)
                if entry is not None and entry[1] is writable:
                    writable()
