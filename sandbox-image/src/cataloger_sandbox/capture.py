"""Keeps the head and the tail of an output of any length, in bounded memory."""

import codecs


class Capture:
    """Bytes of a call's output: all of them up to a limit, beyond it the first and the last."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self._decoder = _decoder()
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
            self._tail += data[-self._tail_limit :]
            if len(self._tail) > 2 * self._tail_limit:
                del self._tail[: -self._tail_limit]
        return text

    def head_text(self) -> str:
        """What feed has given out so far."""
        return _decoder().decode(bytes(self._head))

    def finish(self) -> tuple[str, int]:
        """The text, with a line in place of what was left out, and how many bytes that was."""
        if self.total <= self._head_limit + self._tail_limit:
            return _text(bytes(self._head + self._tail)), 0
        # What the decoder holds back is a character that was cut in two.
        broken, _ = self._decoder.getstate()
        tail = _without_broken_start(bytes(self._tail[-self._tail_limit :]))
        omitted = self.total - len(self._head) + len(broken) - len(tail)
        line = f"\n[... {omitted:,} bytes left out ...]\n"
        return self.head_text() + line + _text(tail), omitted


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _without_broken_start(data: bytes) -> bytes:
    """Drop the rest of a character that was cut in two at the start."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
