"""What a controller's message may hold; a ValueError says what it may not."""

import base64

from cataloger_sandbox import frames

_MAX_ENV_BYTES = 64 * 1024
_LIMITS = {  # of execute's members: least, most
    "timeout_ms": (1, 24 * 3600 * 1000),
    "grace_ms": (0, 600 * 1000),
    "max_rows": (1, 10_000),
    "output_limit": (256, 1024 * 1024),
}


def integer(message: dict, name: str, *, least: int = 0, most: int = 2**53 - 1) -> int:
    value = message.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}")
    return value


def text(message: dict, name: str, most: int) -> str:
    value = message.get(name)
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name} must be a text of at most {most} characters")
    return value


def nonce(message: dict, name: str) -> str:
    value = text(message, name, 32)
    if len(value) != 32 or not set(value) <= set("0123456789abcdefABCDEF"):
        raise ValueError(f"{name} must be 32 hex digits")
    return value


def key(claim: object) -> bytes:
    try:
        key = bytes.fromhex(text(claim, "key", 64)) if isinstance(claim, dict) else b""
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("claim must have a key of 32 bytes in hex")
    return key


def environment(message: object) -> dict[str, str]:
    env = message.get("env") if isinstance(message, dict) else None
    if not isinstance(env, dict):
        raise ValueError("env must be an object")
    for name, value in env.items():
        # The values are secrets: they are in no message.
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"env: the value of {name[:100]!r} must be a text without null bytes")
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"env: {name[:100]!r} can't be a name")
    # As it goes to the session: what does not fit into a socket's buffer would be cut off.
    if len(frames.encode(env)) > _MAX_ENV_BYTES:
        raise ValueError(f"env must have at most {_MAX_ENV_BYTES} bytes as JSON")
    return env


def relative(path: str) -> list[str]:
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError("path must be relative, without empty parts, '.' and '..'")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("path must be Unicode, without lone surrogates") from None
    return parts


def execute(message: dict) -> dict:
    """The members of a call to run code."""
    call = {"id": message["id"], "code": text(message, "code", frames.MAX_FRAME)}
    for name, (least, most) in _LIMITS.items():
        call[name] = integer(message, name, least=least, most=most)
    return call


def put_file(message: dict) -> tuple[list[str], bytes, bool]:
    """Where to write what, and whether at the end of what is there."""
    path = relative(text(message, "path", 4096))
    append = message.get("append", False)
    if not isinstance(append, bool):
        raise ValueError("append must be true or false")
    encoded = text(message, "data", frames.MAX_FRAME)
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise ValueError(f"data: {error}") from None
    return path, data, append
