"""What the daemon does with bytes that it can't read, and with messages that it can't use."""

import json
import os

import pytest

from cataloger_sandbox.frames import MAX_FRAME, frame

_LENGTH_OVER = (MAX_FRAME + 1).to_bytes(4, "big")


@pytest.fixture(scope="module")
def _kept(shared_daemon):
    """Something in the session, and its process, that must outlive every test here."""
    shared_daemon.reconnect()
    shared_daemon.run("kept = object()")
    return shared_daemon.value("__import__('os').getpid(), id(kept)")


@pytest.fixture
def living(shared, _kept):
    """The shared daemon, whose session must be the same at the end."""
    yield shared
    shared.reconnect()
    assert shared.value("__import__('os').getpid(), id(kept)") == _kept


def _sealed(controller, body: bytes) -> bytes:
    return frame(controller.outgoing.close(body))


def _flip(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def _twice(controller) -> bytes:
    return _sealed(controller, b'{"type":"beat"}') * 2


def _left_out(controller) -> bytes:
    _sealed(controller, b'{"type":"beat"}')
    return _sealed(controller, b'{"type":"beat"}')


def _sent_back(controller) -> bytes:
    controller.send({"type": "status"})
    controller.next_of("status")
    return frame(controller.payload)


def _deep(depth: int) -> bytes:
    return b'{"type":"beat","x":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda c: _LENGTH_OVER, "over the limit"),
        (lambda c: b"\xff\xff\xff\xff", "over the limit"),
        (lambda c: b"GET / HTTP/1.1\r\n\r\n", "over the limit"),
        (lambda c: frame(os.urandom(100)), "tag is wrong"),
        (lambda c: frame(b""), "tag is wrong"),
        (lambda c: frame(bytes(15)), "tag is wrong"),
        (lambda c: frame(b'{"type":"status"}'), "tag is wrong"),
        (lambda c: _flip(_sealed(c, b'{"type":"beat"}'), 4), "tag is wrong"),
        (lambda c: _flip(_sealed(c, b'{"type":"beat"}'), -1), "tag is wrong"),
        (_twice, "tag is wrong"),
        (_left_out, "tag is wrong"),
        (_sent_back, "tag is wrong"),
        (lambda c: _sealed(c, b""), "not JSON"),
        (lambda c: _sealed(c, b"\xff"), "not JSON"),
        (lambda c: _sealed(c, b'{"type":"beat","x":NaN}'), "not JSON"),
        (lambda c: _sealed(c, _deep(100_000)), "not JSON"),
        (lambda c: _sealed(c, b"[]"), "not an object"),
        (lambda c: _sealed(c, b'{"type":1}'), "not an object"),
    ],
)
def test_unreadable(living, make, says):
    controller = living.controller
    controller.stream.send(make(controller))
    (error,) = controller.last_words()
    assert (error["type"], error["code"]) == ("error", "frame")
    assert says in error["message"]


@pytest.mark.parametrize(
    "data",
    [
        _LENGTH_OVER,
        b"GET / HTTP/1.1\r\n\r\n",
        frame(b"garbage"),
        frame(bytes(64)),
        frame(b"{}"),
        frame(b""),
        frame(_deep(100_000)),
    ],
    ids=range(7),
)
def test_unreadable_before_the_handshake(living, data):
    stranger = living.connect()
    stranger.stream.send(data)
    (refused,) = stranger.last_words()
    assert (refused["type"], refused["code"]) == ("refused", "frame")


def test_half_a_frame_and_gone(living):
    for half in (b"\0", b"\0\0\0", b"\0\0\1\0", b"\0\0\1\0" + bytes(100)):
        living.controller.stream.send(half)
        living.reconnect()


def test_a_frame_byte_by_byte(living):
    for byte in _sealed(living.controller, b'{"type":"status"}'):
        living.controller.stream.send(bytes([byte]))
    assert living.controller.next_of("status")


def test_many_frames_at_once(living):
    frames_ = b"".join(_sealed(living.controller, b'{"type":"status"}') for _ in range(100))
    living.controller.stream.send(frames_)
    for _ in range(100):
        assert living.controller.next_of("status")


def test_depths_around_the_interpreters_limit(living):
    """Whatever can just be read must also just be handled."""
    for depth in range(900, 1010):
        living.number += 1
        call = {"type": "execute", "id": living.number, "code": "1", "timeout_ms": 20_000}
        call |= {"grace_ms": 500, "max_rows": 20, "output_limit": 65536}
        body = json.dumps(call)[:-1].encode() + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        controller = living.controller
        controller.stream.sendall(_sealed(controller, body))
        answer = controller.next_of("result", "refusal", "error")
        assert answer["type"] == "result" or answer["code"] in ("invalid", "frame")
        if answer["type"] == "error":
            living.reconnect()
        else:
            controller.send({"type": "ack", "through": living.number})


@pytest.mark.parametrize("kind", ["", "dance", "hello", "welcome", "EXECUTE", "x" * 100_000, "é\n"])
def test_unknown_types(living, kind):
    living.controller.send({"type": kind, "id": 10**6})
    error = living.controller.next_of("error")
    assert error["code"] == "unknown"
    assert len(error["message"]) < 200
    assert living.status()["last"] < 10**6


def _execute(**instead) -> dict:
    call = {"type": "execute", "code": "ran = 1", "timeout_ms": 20_000, "grace_ms": 500}
    return call | {"max_rows": 20, "output_limit": 65536} | instead


def _without(name: str) -> dict:
    call = _execute()
    del call[name]
    return call


@pytest.mark.parametrize(
    "call",
    [
        *map(_without, ("code", "timeout_ms", "grace_ms", "max_rows", "output_limit")),
        _execute(code=None),
        _execute(code=["1"]),
        _execute(timeout_ms=0),
        _execute(timeout_ms=1.5),
        _execute(timeout_ms="1"),
        _execute(timeout_ms=True),
        _execute(timeout_ms=24 * 3600 * 1000 + 1),
        _execute(grace_ms=-1),
        _execute(grace_ms=600_001),
        _execute(max_rows=0),
        _execute(max_rows=10_001),
        _execute(output_limit=255),
        _execute(output_limit=2**20 + 1),
        {"type": "reset"},
        {"type": "reset", "env": None},
        {"type": "reset", "env": ["A=1"]},
        {"type": "reset", "env": {"A": None}},
        {"type": "reset", "env": {"A\0": "x"}},
        {"type": "reset", "env": {"A": "x" * 70_000}},
        {"type": "put_file"},
        {"type": "put_file", "path": "a", "append": False},
        {"type": "put_file", "path": "../a", "data": "", "append": False},
        {"type": "put_file", "path": "\ud800", "data": "", "append": False},
        {"type": "put_file", "path": "a", "data": "é", "append": False},
        {"type": "put_file", "path": "a", "data": "", "append": 1},
        {"type": "put_file", "path": "a" * 5000, "data": "", "append": False},
    ],
    ids=lambda call: json.dumps(call)[:60],
)
def test_invalid_calls(living, call):
    number = living.number + 1
    body = json.dumps(call | {"id": number}).encode()  # lone surrogates as escapes
    living.controller.stream.sendall(_sealed(living.controller, body))
    refusal = living.controller.next_of("refusal")
    assert (refusal["id"], refusal["code"]) == (number, "invalid")
    assert refusal["message"]
    # The id is not spent.
    status = living.status()
    assert (status["last"], status["running"]) == (living.number, None)
    assert living.run("'ran' in globals()")["output"] == "False\n"


@pytest.mark.parametrize("number", [None, 0, -1, 1.0, "1", True, 2**53, [1]])
@pytest.mark.parametrize("kind", ["execute", "reset", "put_file"])
def test_invalid_ids(living, kind, number):
    living.controller.send(_execute(type=kind, env={}, path="a", data="", id=number))
    error = living.controller.next_of("error")
    assert (error["code"], "id must be" in error["message"]) == ("invalid", True)
    assert living.status()["running"] is None


@pytest.mark.parametrize(
    "message",
    [
        {"type": "ack"},
        {"type": "ack", "through": -1},
        {"type": "ack", "through": "1"},
        {"type": "interrupt"},
        {"type": "interrupt", "id": None},
    ],
)
def test_invalid_messages(living, message):
    living.controller.send(message)
    assert living.controller.next_of("error")["code"] == "invalid"
    assert living.status()


def test_unknown_members_are_ignored(living):
    living.controller.send({"type": "status", "since": {"a": [1]}, "id": "x"})
    assert living.controller.next_of("status")
    assert living.run("1 + 1", colour="blue")["output"] == "2\n"


def test_a_large_frame(living):
    code = "x = '" + "é" * 7_000_000 + "'; len(x)"
    assert living.run(code)["output"] == "7000000\n"
    living.run("del x")


def test_code_that_is_no_unicode(living):
    living.number += 1
    body = json.dumps(_execute(code="'\ud800'", id=living.number)).encode()
    living.controller.stream.sendall(_sealed(living.controller, body))
    answer = living.controller.answer_to(living.number)
    assert (answer["status"], answer["state"]) == ("error", "kept")
    living.controller.send({"type": "ack", "through": living.number})


def test_a_controller_that_does_not_read_is_cut_off_not_waited_for(daemon):
    """Its buffer has an end; and whoever comes then finds the daemon well."""
    deaf = daemon.controller
    answer = daemon.run("print('é' * 500_000)", output_limit=2**20)
    assert answer["ok"]
    deaf.start(2, "print('x' * 1_000_000)", output_limit=2**20)
    assert deaf.answer_to(2)["ok"]
    again = _execute(id=2, code="print('x' * 1_000_000)", output_limit=2**20)
    with pytest.raises(OSError, match=r"Broken pipe|reset|timed out"):
        _send_often(deaf, again, 300)
    daemon.controller = daemon.connect()
    assert daemon.controller.hello()["kept"] == [2]
    daemon.number = 2
    assert daemon.run("1 + 1")["output"] == "2\n"
    assert daemon.status()["daemon_bytes"] < 300 * 2**20


def _send_often(controller, message: dict, times: int) -> None:
    for _ in range(times):
        controller.send(message)
    controller.send_payload(bytes(MAX_FRAME))
