"""Frames: length-prefixed JSON, plain or sealed by a tag. Bytes only; knows no sockets."""

import hashlib
import hmac
import json
import struct

MAX_FRAME = 16 * 1024 * 1024
TAG_BYTES = 16
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class FrameError(Exception):
    """What was read can't be a frame; the connection can't go on."""


def frame(payload: bytes) -> bytes:
    """Put the length before a payload."""
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a frame of {len(payload)} bytes is over the limit of {MAX_FRAME}")
    return _LENGTH.pack(len(payload)) + payload


class Reader:
    """Cuts a stream of bytes, arriving in any pieces, into payloads."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self.limit = limit

    def feed(self, data: bytes) -> None:
        """Add bytes that were read."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole payload, or None until more bytes come."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self.limit:
            raise FrameError(f"a frame of {length} bytes is over the limit of {self.limit}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[_LENGTH.size : end])
        del self._buffer[:end]
        return payload

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)


def encode(message: dict) -> bytes:
    """A message as JSON bytes. Lone surrogates, which JSON can't carry, are spelled out."""
    try:
        return _ENCODER.encode(message).encode("utf-8")
    except UnicodeEncodeError:
        return _ENCODER.encode(_clean(message)).encode("utf-8")


def _clean(value):
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def decode(body: bytes) -> dict:
    """JSON bytes as a message."""
    try:
        message = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame is not JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise FrameError("a frame is not an object with a type")
    return message


def mac(key: bytes, text: str) -> bytes:
    """HMAC-SHA-256 of a text."""
    return hmac.new(key, text.encode("utf-8"), hashlib.sha256).digest()


def same(left: str, right: str) -> bool:
    """Compare two proofs without telling by the time how far they agree."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


class Seal:
    """One direction of a connection: tags payloads, or checks their tags, in order."""

    def __init__(self, key: bytes) -> None:
        self._base = hmac.new(key, digestmod=hashlib.sha256)
        self._number = 0

    def _tag(self, body: bytes) -> bytes:
        state = self._base.copy()
        state.update(_NUMBER.pack(self._number))
        state.update(body)
        return state.digest()[:TAG_BYTES]

    def close(self, body: bytes) -> bytes:
        """The payload for a body: its tag before it."""
        payload = self._tag(body) + body
        self._number += 1
        return payload

    def open(self, payload: bytes) -> bytes:
        """The body of a payload, if its tag is the right one."""
        body = payload[TAG_BYTES:]
        if len(payload) < TAG_BYTES or not hmac.compare_digest(
            payload[:TAG_BYTES], self._tag(body)
        ):
            raise FrameError("a frame's tag is wrong: it was not made by who holds the key")
        self._number += 1
        return body


def transcript(boot: str, daemon_nonce: str, controller_nonce: str, epoch: int) -> str:
    """What proofs and keys of a connection are bound to."""
    return f"{boot}|{daemon_nonce}|{controller_nonce}|{epoch}"


def proof(key: bytes, bound_to: str) -> str:
    """The controller's proof that it holds the key."""
    return mac(key, "cataloger/1 hello|" + bound_to).hex()


def seals(key: bytes, bound_to: str) -> tuple[Seal, Seal]:
    """The seals of a connection: the controller's direction, the daemon's."""
    return (
        Seal(mac(key, "cataloger/1 controller|" + bound_to)),
        Seal(mac(key, "cataloger/1 daemon|" + bound_to)),
    )
