"""Keeps the head and the tail of an output of any length, in bounded memory."""

import codecs
from collections import deque


class Capture:
    """Bytes of a call's output: all of them up to a limit, beyond it the first and the last."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.total = 0
        self.streamed = 0  # characters given out by feed

    def feed(self, data: bytes) -> str:
        """Add bytes; the text that they add to the head, for who watches."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        text = ""
        if room > 0:
            part = data[:room]
            self._head += part
            data = data[room:]
            text = self._decoder.decode(part)
            self.streamed += len(text)
        if data:
            self._tail.append(data)
            self._tail_bytes += len(data)
            while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
                self._tail_bytes -= len(self._tail.popleft())
        return text

    def head_text(self) -> str:
        """What feed has given out so far."""
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        return decoder.decode(bytes(self._head))

    def finish(self) -> tuple[str, int]:
        """The text, with a line in place of what was left out, and how many bytes that was."""
        tail = b"".join(self._tail)
        if self.total <= self._head_limit + self._tail_limit:
            return _text(bytes(self._head) + tail), 0
        head = _without_broken_end(bytes(self._head))
        tail = _without_broken_start(tail[-self._tail_limit :])
        omitted = self.total - len(head) - len(tail)
        return f"{_text(head)}\n[... {omitted:,} bytes left out ...]\n{_text(tail)}", omitted


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _without_broken_end(data: bytes) -> bytes:
    """Drop a character that was cut in two at the end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if length > back else data
        if byte < 0x80:
            break
    return data


def _without_broken_start(data: bytes) -> bytes:
    """Drop the rest of a character that was cut in two at the start."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
