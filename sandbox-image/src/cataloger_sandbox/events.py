"""The daemon's loop: readable and writable descriptors with callbacks, nothing more."""

import selectors
from collections.abc import Callable


class Events:
    """A selector whose entries are callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def on_readable(self, thing, callback: Callable[[], None]) -> None:
        """Call back when there is something to read."""
        self._selector.register(thing, selectors.EVENT_READ, (callback, None))

    def also_writable(self, thing, callback: Callable[[], None] | None) -> None:
        """Also call back when there is room to write; None to stop that."""
        key = self._selector.get_key(thing)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if callback else 0)
        self._selector.modify(thing, events, (key.data[0], callback))

    def forget(self, thing) -> None:
        """No more callbacks for this."""
        try:
            self._selector.unregister(thing)
        except (KeyError, ValueError):
            pass

    def wait(self, seconds: float) -> None:
        """Wait for events, and call back."""
        for key, events in self._selector.select(max(0.0, seconds)):
            readable, writable = key.data
            current = self._selector.get_map().get(key.fd)
            # An earlier callback of this round may have closed it.
            if current is None or current.data is not key.data:
                continue
            if events & selectors.EVENT_READ:
                readable()
            if events & selectors.EVENT_WRITE and writable is not None:
                current = self._selector.get_map().get(key.fd)
                if current is not None and current.data is key.data:
                    writable()
