"""Frames as bytes: the corpus that both implementations read, and properties."""

import hashlib
import hmac
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger_sandbox import frames
from cataloger_sandbox.frames import FrameError, Reader, Seal
from conftest import CORPUS

_CORPUS = json.loads(CORPUS.read_text(encoding="utf-8"))
_MEANS = {
    "oversize": "is over the limit",
    "tag": "tag is wrong",
    "json": "is not JSON",
    "object": "is not an object",
}


def _bytes(parts: list) -> bytes:
    return b"".join(
        bytes.fromhex(part) if isinstance(part, str) else bytes.fromhex(part["hex"]) * part["times"]
        for part in parts
    )


def _named(section: str):
    return pytest.mark.parametrize(
        "entry", _CORPUS[section], ids=[entry["name"] for entry in _CORPUS[section]]
    )


def _seal(sender: str, number: int) -> Seal:
    seal = Seal(bytes.fromhex(_CORPUS["handshakes"][0][f"{sender}_key"]))
    seal._number = number
    return seal


def _take(reader: Reader, seal: Seal | None, messages: list) -> str | None:
    """Read all there is; how the stream ended if it did."""
    try:
        while (payload := reader.next()) is not None:
            messages.append(frames.decode(seal.open(payload) if seal else payload))
    except FrameError as error:
        return str(error)
    return None


# The corpus.


def test_the_corpus_has_nothing_that_is_not_tested():
    assert set(_CORPUS) == {
        *("about", "limit", "derivation", "handshakes"),
        *("plain", "sealed", "streams", "messages"),
    }
    assert {entry["take"] for entry in _CORPUS["messages"]} == {"ok", "unknown", "invalid"}
    assert {entry["end"] for entry in _CORPUS["streams"]} == {*_MEANS, "closed", "incomplete"}


def test_limit():
    assert _CORPUS["limit"] == frames.MAX_FRAME


@pytest.mark.parametrize("entry", _CORPUS["derivation"])
def test_derivation(entry):
    text = f"cataloger/1 sandbox|{entry['run']}|{entry['boot']}"
    assert frames.mac(bytes.fromhex(entry["secret"]), text).hex() == entry["key"]


@pytest.mark.parametrize("entry", _CORPUS["handshakes"])
def test_handshake(entry):
    key = bytes.fromhex(entry["key"])
    bound_to = frames.transcript(
        entry["boot"], entry["daemon_nonce"], entry["controller_nonce"], entry["epoch"]
    )
    assert frames.proof(key, bound_to) == entry["proof"]
    assert frames.same(frames.proof(key, bound_to), entry["proof"])
    for name, seal in zip(("controller", "daemon"), frames.seals(key, bound_to), strict=True):
        expected = hmac.digest(
            bytes.fromhex(entry[f"{name}_key"]), bytes(8) + b"body", hashlib.sha256
        )
        assert seal.close(b"body") == expected[:16] + b"body"


@_named("plain")
def test_plain(entry):
    data = _bytes(entry["bytes"])
    assert frames.frame(entry["text"].encode()) == data
    reader = Reader()
    reader.feed(data)
    assert frames.decode(reader.next()) == json.loads(entry["text"])
    assert reader.waiting == 0


@_named("sealed")
def test_sealed(entry):
    data = _bytes(entry["bytes"])
    seal = _seal(entry["from"], entry["number"])
    assert frames.frame(seal.close(entry["text"].encode())) == data
    reader = Reader()
    reader.feed(data)
    body = _seal(entry["from"], entry["number"]).open(reader.next())
    assert frames.decode(body) == json.loads(entry["text"])


@_named("streams")
def test_stream(entry):
    data = _bytes(entry["stream"])
    for step in {len(data) or 1, 1 if len(data) < 4096 else 65536}:
        reader, messages, end = Reader(), [], None
        seal = _seal(entry["from"], entry["start"]) if entry["mode"] == "sealed" else None
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            if end := _take(reader, seal, messages):
                break
        assert messages == [json.loads(text) for text in entry["read"]]
        if entry["end"] in ("closed", "incomplete"):
            assert end is None
            assert (reader.waiting > 0) == (entry["end"] == "incomplete")
        else:
            assert _MEANS[entry["end"]] in end


@_named("messages")
def test_message(entry, request):
    """As the daemon itself takes it; calls that are right have a daemon of their own."""
    message = json.loads(entry["text"])
    is_call = message["type"] in ("execute", "reset", "put_file")
    fresh = entry["take"] == "ok" and is_call
    daemon = request.getfixturevalue("daemon" if fresh else "shared")
    last = daemon.status()["last"]
    daemon.controller.send_payload(daemon.controller.outgoing.close(entry["text"].encode()))
    daemon.controller.send({"type": "status"})
    answers = []
    while True:
        answers.append(daemon.controller.next_of("status", "error", "refusal", "result"))
        kinds = [answer["type"] for answer in answers]
        if "status" in kinds and (not fresh or "result" in kinds):
            break
    heard = {answer["type"]: answer for answer in answers}
    if entry["take"] == "ok":
        assert set(heard) == ({"status", "result"} if is_call else {"status"})
        assert not fresh or heard["result"]["ok"]
    elif is_call and "id" in message:
        assert heard["refusal"]["code"] == "invalid"
        assert heard["refusal"]["id"] == message["id"]
    else:
        assert heard["error"]["code"] == entry["take"]
    assert fresh or heard["status"]["last"] == last


# Properties.

_any_character = st.characters(exclude_categories=())
_any_text = st.text(_any_character | st.sampled_from('\ud800\udcff\udfff"\\\0\u2028'), max_size=20)


def _json(texts):
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    ).filter(lambda value: "inf" not in repr(value))


def _messages(texts):
    return st.builds(
        lambda members, kind: members | {"type": kind},
        st.dictionaries(texts, _json(texts), max_size=4),
        texts,
    )


def _clean(value):
    """What a reader may expect of text that JSON can't carry: each lone surrogate spelled out."""
    if isinstance(value, str):
        return "".join(
            f"\\u{ord(one):04x}" if 0xD800 <= ord(one) < 0xE000 else one for one in value
        )
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


@given(_messages(st.text(max_size=20)))
def test_round_trip(message):
    body = frames.encode(message)
    assert frames.decode(body) == message
    assert json.loads(body) == message


@given(_messages(_any_text))
def test_lone_surrogates_are_cleaned(message):
    assert frames.decode(frames.encode(message)) == _clean(message)


def test_messages_of_any_depth_encode_or_are_refused():
    for depth in (1, 100, 900, 5000):
        body = b'{"type":"beat","x":' + b"[" * depth + b"]" * depth + b"}"
        try:
            frames.decode(body)
        except FrameError:
            assert depth > 100


@st.composite
def _streams(draw):
    messages = draw(st.lists(_messages(st.text(max_size=10)), max_size=6))
    sealed = draw(st.booleans())
    seal = Seal(b"key")
    data = b"".join(
        frames.frame(seal.close(frames.encode(m)) if sealed else frames.encode(m)) for m in messages
    )
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=20))
    edges = [0, *sorted(cuts), len(data)]
    return messages, sealed, [data[a:b] for a, b in itertools.pairwise(edges)]


@given(_streams())
def test_any_split_gives_the_same_messages(stream):
    messages, sealed, pieces = stream
    reader, found = Reader(), []
    seal = Seal(b"key") if sealed else None
    for piece in pieces:
        reader.feed(piece)
        assert _take(reader, seal, found) is None
    assert found == messages
    assert reader.waiting == 0


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_garbage_as_a_stream(pieces, small):
    """Also garbage behind a length that is small enough to be believed."""
    reader = Reader()
    for piece in pieces:
        reader.feed(len(piece).to_bytes(4, "big") + piece if small else piece)
        try:
            while (payload := reader.next()) is not None:
                assert isinstance(frames.decode(payload), dict)
        except FrameError:
            return


_near_json = st.lists(
    st.sampled_from(
        [
            *(bytes([one]) for one in b'{}[]",:\\tfn0-1.eE \xff\xc3\xed'),
            *(b'{"type":"a"', b'"type":', b"null", b"NaN", b"1e999", b"9" * 5000),
            *(b"\\ud800", b"\\u0000", b"\xef\xbb\xbf"),
        ]
    ),
    max_size=30,
).map(b"".join)


@given(st.binary(max_size=100) | _near_json)
def test_garbage_as_a_body(body):
    try:
        message = frames.decode(body)
    except FrameError:
        return
    assert isinstance(message["type"], str)
    assert isinstance(frames.encode(message), bytes)


@given(st.binary(max_size=100), st.data())
def test_a_flipped_bit_is_seen(body, data):
    payload = bytearray(Seal(b"key").close(body))
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameError):
        Seal(b"key").open(bytes(payload))


@given(st.lists(st.binary(max_size=10), min_size=1, max_size=6), st.data())
def test_only_the_next_frame_opens(bodies, data):
    closing, opening = Seal(b"key"), Seal(b"key")
    payloads = [closing.close(body) for body in bodies]
    for position, body in enumerate(bodies):
        other = data.draw(
            st.integers(0, len(bodies) - 1).filter(lambda n, p=position: n != p)
            if len(bodies) > 1
            else st.none()
        )
        if other is not None:
            with pytest.raises(FrameError):
                opening.open(payloads[other])
        assert opening.open(payloads[position]) == body


def test_a_frame_at_the_limit_and_one_over():
    assert len(frames.frame(bytes(frames.MAX_FRAME))) == frames.MAX_FRAME + 4
    with pytest.raises(FrameError):
        frames.frame(bytes(frames.MAX_FRAME + 1))
