"""Who may speak with the daemon."""

import re

import pytest

from client import KEY, Closed

HEX = re.compile(r"[0-9a-f]{32}")
OTHER_KEY = bytes(32)
# Short, and long enough for a busy machine to shake hands in.
NO_PATIENCE = {"HELLO_SECONDS": 1.5, "BEAT_SECONDS": 0.5, "DEAD_SECONDS": 2.0}


def _refused(controller, answer, code: str) -> dict:
    """A refusal says why, and closes."""
    assert answer["type"] == "refused"
    assert answer["code"] == code
    assert answer["message"]
    assert controller.last_words() == []
    return answer


def test_welcome(start):
    daemon = start(claim=False)
    other = daemon.connect()
    for welcome in (daemon.controller.welcome, other.welcome):
        assert welcome["type"] == "welcome"
        assert welcome["protocols"] == [1]
        assert welcome["claimed"] is False
        assert HEX.fullmatch(welcome["boot"])
        assert HEX.fullmatch(welcome["nonce"])
    assert daemon.controller.welcome["boot"] == other.welcome["boot"]
    assert daemon.controller.welcome["nonce"] != other.welcome["nonce"]
    ready = other.hello(claim=True)
    assert ready == {
        "type": "ready",
        "epoch": 1,
        "last": 0,
        "running": None,
        "kept": [],
        "generation": 0,
        "beat_ms": 5000,
    }
    assert daemon.connect().welcome["claimed"] is True


def test_boot_is_new_with_every_daemon(start):
    assert (
        start(claim=False).controller.welcome["boot"]
        != start(claim=False).controller.welcome["boot"]
    )


def test_unclaimed(start):
    daemon = start(claim=False)
    _refused(daemon.controller, daemon.controller.hello(), "unclaimed")
    assert daemon.connect().hello(claim=True)["type"] == "ready"


def test_a_claim_that_is_not_proven_claims_nothing(start):
    daemon = start(claim=False)
    stranger = daemon.controller
    answer = stranger.hello(key=OTHER_KEY, instead={"claim": {"key": KEY.hex(), "env": {}}})
    _refused(stranger, answer, "proof")
    stranger = daemon.connect()
    assert stranger.welcome["claimed"] is False
    assert stranger.hello(claim=True)["type"] == "ready"


@pytest.mark.parametrize(
    "claim",
    [
        {},
        {"key": KEY.hex()},
        {"env": {}},
        {"key": KEY.hex()[:62], "env": {}},
        {"key": KEY.hex() + "00", "env": {}},
        {"key": "x" * 64, "env": {}},
        {"key": 1, "env": {}},
        {"key": KEY.hex(), "env": []},
        {"key": KEY.hex(), "env": {"A": 1}},
        {"key": KEY.hex(), "env": {"A=B": "x"}},
        {"key": KEY.hex(), "env": {"": "x"}},
        {"key": KEY.hex(), "env": {"A": "\0"}},
        {"key": KEY.hex(), "env": {"A": "x" * 70_000}},
        "claim",
        [],
    ],
)
def test_claims_that_are_wrong(start, claim):
    daemon = start(claim=False)
    answer = daemon.controller.hello(instead={"claim": claim})
    _refused(daemon.controller, answer, "frame")
    assert daemon.connect().welcome["claimed"] is False


def test_claimed_once(shared):
    for key in (KEY, OTHER_KEY):
        stranger = shared.connect()
        _refused(stranger, stranger.hello(claim=True, key=key), "claimed")
    assert shared.status()["type"] == "status"


def test_wrong_proofs(shared):
    stranger = shared.connect()
    _refused(stranger, stranger.hello(key=OTHER_KEY), "proof")
    right = shared.controller
    for instead in (
        {"proof": ""},
        {"proof": "é\ud800"},
        {"epoch": 2},  # not the one that was proven
        {"nonce": "0" * 32},
    ):
        stranger = shared.connect()
        _refused(stranger, stranger.hello(instead=instead), "proof")
    # A proof belongs to its connection.
    first, second = shared.connect(), shared.connect()
    first.welcome, second.welcome = second.welcome, first.welcome
    _refused(first, first.hello(), "proof")
    _refused(second, second.hello(), "proof")
    assert shared.controller is right
    assert shared.status()["type"] == "status"


@pytest.mark.parametrize("protocol", [0, 2, 2**53 - 1])
def test_wrong_protocol(shared, protocol):
    stranger = shared.connect()
    _refused(stranger, stranger.hello(instead={"protocol": protocol}), "protocol")


@pytest.mark.parametrize(
    "instead",
    [
        {"type": "beat"},
        {"type": "status"},
        {"protocol": "1"},
        {"protocol": True},
        {"protocol": None},
        {"epoch": -1},
        {"epoch": 1.0},
        {"epoch": 2**53},
        {"epoch": "1"},
        {"nonce": None},
        {"nonce": "0" * 129},
        {"nonce": ""},
        {"nonce": "0" * 31},
        {"nonce": "0" * 31 + "|"},
        {"nonce": "0" * 31 + "x"},
        {"proof": None},
        {"proof": "0" * 129},
    ],
)
def test_hellos_that_are_wrong(shared, instead):
    stranger = shared.connect()
    _refused(stranger, stranger.hello(instead=instead), "frame")
    assert shared.status()["type"] == "status"


def test_epochs(start):
    daemon = start()
    first = daemon.controller
    second = daemon.connect()
    assert second.hello(epoch=5)["epoch"] == 5
    (error,) = first.last_words()
    assert (error["type"], error["code"], error["epoch"]) == ("error", "superseded", 5)
    assert first.stream.recv(1) == b""

    lower = daemon.connect()
    assert _refused(lower, lower.hello(epoch=4), "epoch")["epoch"] == 5
    second.send({"type": "status"})
    assert second.next_of("status")

    third = daemon.connect()
    assert third.hello(epoch=5)["epoch"] == 5
    (error,) = second.last_words()
    assert (error["code"], error["epoch"]) == ("superseded", 5)

    # A wrong proof takes nothing over.
    stranger = daemon.connect()
    _refused(stranger, stranger.hello(epoch=6, key=OTHER_KEY), "proof")
    third.send({"type": "status"})
    assert third.next_of("status")
    third.close()

    # Shut out for good, also when the higher one has left.
    late = daemon.connect()
    assert _refused(late, late.hello(epoch=1), "epoch")["epoch"] == 5
    assert daemon.connect().hello(epoch=2**53 - 1)["type"] == "ready"


def test_who_is_superseded_can_still_read_what_it_was_sent(daemon):
    """The last words come last, though answers are still on their way."""
    old = daemon.controller
    code = "print('x' * 60_000)"
    result = old.execute(1, code)
    for _ in range(200):
        old.start(1, code)
    daemon.controller = daemon.connect()
    assert daemon.controller.hello()["type"] == "ready"
    *results, error = old.last_words()
    assert error["code"] == "superseded"
    assert results == [result] * 200


def test_late(start):
    daemon = start(claim=False, constants=NO_PATIENCE)
    silent = daemon.controller
    half = daemon.connect()
    half.stream.send(b"\0\0\1\0{")
    for controller in (silent, half):
        _refused(controller, controller.receive(), "late")
    assert daemon.connect().hello(claim=True)["type"] == "ready"


def test_strangers_are_limited(daemon):
    strangers = [daemon.connect() for _ in range(9)]
    with pytest.raises(Closed):
        strangers[0].receive()
    assert daemon.run("1 + 1")["output"] == "2\n"
    # The newest can come in, and who is proven is not counted.
    assert strangers[-1].hello()["type"] == "ready"
    more = [daemon.connect() for _ in range(8)]
    strangers[-1].send({"type": "status"})
    assert strangers[-1].next_of("status")
    assert more[0].hello()["type"] == "ready"


def test_beats(start):
    """Who beats stays, who falls silent is dropped; the daemon beats too."""
    daemon = start(constants=NO_PATIENCE)
    ready = daemon.reconnect()
    assert ready["beat_ms"] == 500
    for _ in range(8):
        assert daemon.controller.next_of("beat")
        daemon.controller.send({"type": "beat"})
    assert daemon.controller.last_words() == []
    daemon.reconnect()
    assert daemon.run("1 + 1")["output"] == "2\n"


def test_silent_in_the_middle_of_a_frame(start):
    daemon = start(constants=NO_PATIENCE)
    daemon.run("kept = 1")
    payload = daemon.controller.outgoing.close(b'{"type":"status"}')
    daemon.controller.stream.send(len(payload).to_bytes(4, "big") + payload[:20])
    assert daemon.controller.last_words() == []
    daemon.reconnect()
    assert daemon.run("kept")["output"] == "1\n"
