"""The head and the tail of an output, against a model that keeps everything."""

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger_sandbox.capture import Capture

_limits = st.integers(2, 64)
_texts = st.text(st.characters(), max_size=200) | st.text("aé€🐍\n", max_size=200)
_bytes = (
    st.binary(max_size=200)
    | _texts.map(str.encode)
    | st.lists(
        st.sampled_from(
            [
                b"a",
                b"\xff",
                b"\xe2",
                b"\x82",
                b"\xf0\x9f",
                b"\xed\xa0\x80",
                b"\xc0\xaf",
                "🐍".encode(),
            ]
        ),
        max_size=60,
    ).map(b"".join)
)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _feed(limit: int, data: bytes, cuts=()) -> tuple[Capture, str]:
    capture = Capture(limit)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    streamed = "".join(capture.feed(data[begin:end]) for begin, end in itertools.pairwise(edges))
    return capture, streamed


def _line(omitted: int) -> str:
    return f"\n[... {omitted:,} bytes left out ...]\n"


@given(_limits, _bytes, st.lists(st.integers(0, 10_000), max_size=30))
def test_pieces_make_no_difference(limit, data, cuts):
    pieces, streamed = _feed(limit, data, cuts)
    whole, streamed_whole = _feed(limit, data)
    assert pieces.finish() == whole.finish()
    assert streamed == streamed_whole
    assert pieces.total == len(data)


@given(_limits, _bytes)
def test_what_fits_is_whole(limit, data):
    text, omitted = _feed(limit, data[:limit])[0].finish()
    assert (text, omitted) == (_decode(data[:limit]), 0)


@given(_limits, _texts)
def test_text_is_cut_between_characters(limit, text):
    data = text.encode()
    found, omitted = _feed(limit, data)[0].finish()
    if len(data) <= limit:
        assert (found, omitted) == (text, 0)
        return
    head = data[: limit // 2].decode(errors="ignore")
    tail = data[len(data) - (limit - limit // 2) :].decode(errors="ignore")
    assert omitted == len(data) - len(head.encode()) - len(tail.encode())
    assert found == head + _line(omitted) + tail


@given(_limits, _bytes)
def test_what_is_kept_and_what_is_omitted_make_the_total(limit, data):
    found, omitted = _feed(limit, data)[0].finish()
    if len(data) <= limit:
        assert omitted == 0
        return
    kept = [
        _decode(data[:head]) + _line(omitted) + _decode(data[len(data) - tail :])
        for head in range(max(0, limit // 2 - 3), limit // 2 + 1)
        for tail in range(max(0, limit - limit // 2 - 3), limit - limit // 2 + 1)
        if head + omitted + tail == len(data)
    ]
    assert found in kept


@given(_limits, _bytes, st.lists(st.integers(0, 10_000), max_size=30))
def test_what_is_streamed_is_the_head(limit, data, cuts):
    capture, streamed = _feed(limit, data, cuts)
    assert capture.streamed == len(streamed)
    assert capture.head_text() == streamed
    found, omitted = capture.finish()
    assert found.startswith(streamed)
    if omitted:
        assert found.startswith(streamed + _line(omitted))


@pytest.mark.parametrize("size", [1, 2, 100, 256 * 1024])
def test_memory_is_bounded(size):
    limit = 64 * 1024
    piece = bytes(size)
    tracemalloc.start()
    try:
        capture = Capture(limit)
        for _ in range(max(20, 4 * limit // size)):
            capture.feed(bytes(piece))
        capture.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The text is made of backslashes here, four characters a byte at most.
    assert peak < 12 * limit + 2 * size


def test_binary_is_spelled_out():
    assert _feed(100, b"a\xff\x00b\xe2")[0].finish() == ("a\\xff\x00b\\xe2", 0)
