"""Parsing server-sent events."""

from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_client.core.sse import LARGEST, EventStream, ServerEvent

STREAM = (
    b"\xef\xbb\xbfretry: 5\r\nid: 1\r\n\r\n: still here\n\n"
    b'id:2\nevent: completed\ndata: {"a":\rdata:1}\r\r\nid: 3\0\n\ndata\n\n'
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_event_stream_may_be_cut_anywhere(cuts):
    stream, read = EventStream(), []
    for begin, end in pairwise(sorted([0, *cuts, len(STREAM)])):
        read += stream.feed(STREAM[begin:end])
    assert read == [ServerEvent("completed", '{"a":\n1}'), ServerEvent("message", "")]
    assert stream.last_id == "2"


@given(st.lists(st.binary()))
def test_any_bytes_are_an_event_stream(parts):
    stream = EventStream()
    for part in parts:
        stream.feed(part)


def test_oversized_event_is_refused():
    with pytest.raises(ValueError, match="larger than"):
        EventStream().feed(b"x" * (LARGEST + 1))


def test_empty_data_lines_count_as_data():
    stream = EventStream()
    stream.feed(b"data:\n" * (LARGEST - 1))
    with pytest.raises(ValueError, match="larger than"):
        stream.feed(b"data:\n" * 2)


def test_line_that_arrives_byte_by_byte_takes_linear_time():
    stream, began = EventStream(), process_time()
    for _ in range(LARGEST // 4):
        stream.feed(b"x")
    assert process_time() - began < 5  # with quadratic time: minutes
