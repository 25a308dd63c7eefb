"""Events are written as the standard has them, and read back from bytes in any pieces."""

import pytest

from trio_mcp.wire.sse import KEEPALIVE, Decoder, Event, encode_event


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"data": b"{}"}, b"data: {}\n\n"),
        ({"data": b""}, b"data: \n\n"),
        ({"data": b"{}", "id": "1"}, b"id: 1\ndata: {}\n\n"),
        ({"data": b"/x", "event": "endpoint"}, b"event: endpoint\ndata: /x\n\n"),
        ({"data": b"", "id": "a", "retry": 0}, b"id: a\nretry: 0\ndata: \n\n"),
        ({"data": b"a\nb\n"}, b"data: a\ndata: b\ndata: \n\n"),
        ({"data": "ä".encode(), "id": "ö"}, "id: ö\ndata: ä\n\n".encode()),
    ],
)
def test_an_event_is_written_with_only_the_fields_it_has(arguments, expected):
    assert encode_event(**arguments) == expected


# A stream, the events in it, the id to resume from.
STREAMS: list[tuple[bytes, list[Event], str | None]] = [
    (b"data: a\n\n", [Event("a")], None),
    (b"data:a\n\n", [Event("a")], None),
    (b"data:  a\n\n", [Event(" a")], None),
    (b"data\n\n", [Event("")], None),
    (b"data: \n\n", [Event("")], None),
    (b"data: a\ndata: b\n\n", [Event("a\nb")], None),
    (b"data: a\r\rdata: b\r\n\r\ndata: c\n\n", [Event("a"), Event("b"), Event("c")], None),
    (b"data: a\r\n\r\r\n\n", [Event("a")], None),
    (b"data: a\r\ndata: b\r\n\r\n", [Event("a\nb")], None),
    (b"event: x\ndata: a\n\ndata: b\n\n", [Event("a", "x"), Event("b")], None),
    (b"event\ndata: a\n\n", [Event("a")], None),
    (b"event: x\n\ndata: a\n\n", [Event("a")], None),
    (b"id: 1\ndata: a\n\ndata: b\n\n", [Event("a", id="1"), Event("b", id="1")], "1"),
    (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [Event("a", id="1"), Event("b", id="")], ""),
    (b"id: 1\ndata: a\n\nid: \0\ndata: b\n\n", [Event("a", id="1"), Event("b", id="1")], "1"),
    (b"id: 1\n\n", [], "1"),
    (b"id: 1\ndata: a\n\nid: 2\ndata: b\n", [Event("a", id="1")], "1"),
    (b"retry: 100\ndata: a\n\ndata: b\n\n", [Event("a", retry=100), Event("b")], None),
    (b"retry: 1.5\nretry: -1\nretry: x\nretry\nretry: \xc2\xb2\ndata: a\n\n", [Event("a")], None),
    (b"retry: " + b"9" * 5000 + b"\ndata: a\n\n", [Event("a")], None),
    (b"Data: a\n data: b\ndata : c\nunknown: d\n\n", [], None),
    (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [Event("a")], None),
    (b"data: \xef\xbb\xbfa\n\n", [Event("\ufeffa")], None),
    (b"data: \xff\n\n", [Event("\ufffd")], None),
    ("data: ä€😀\u2028\x0b\x0c\x85\n\n".encode(), [Event("ä€😀\u2028\x0b\x0c\x85")], None),
    (b"data: a", [], None),
    (b"data: a\n", [], None),
    (b"\n\n\n", [], None),
]


@pytest.mark.parametrize(("stream", "events", "last_id"), STREAMS)
def test_a_stream_is_read_as_a_browser_reads_it(stream, events, last_id):
    decoder = Decoder()
    assert decoder.feed(stream) == events
    assert decoder.last_id == last_id


@pytest.mark.parametrize(("stream", "events", "last_id"), STREAMS)
def test_it_does_not_matter_where_the_stream_is_cut(stream, events, last_id):
    for cut in range(len(stream) + 1) if len(stream) < 200 else range(0, len(stream), 501):
        decoder = Decoder()
        assert [*decoder.feed(stream[:cut]), *decoder.feed(b""), *decoder.feed(stream[cut:])] == events
        assert decoder.last_id == last_id
    decoder = Decoder()
    assert [event for byte in stream for event in decoder.feed(bytes([byte]))] == events


def test_the_decoder_never_looks_at_the_unfinished_line_again():
    decoder = Decoder()
    for _ in range(3):
        decoder.feed(b"data: " + b"x" * 10)
        decoder.feed(b"x" * 10)
    buffer = decoder._buffer
    decoder.feed(b"y")
    assert decoder._buffer is buffer, "a long line in small pieces would be copied for each of them"


def test_keepalives_are_comments_and_no_events():
    decoder = Decoder()
    assert decoder.feed(KEEPALIVE + b": text\n" + KEEPALIVE) == []
    assert decoder.comments == 3


def test_a_comment_inside_an_event_does_not_disturb_it():
    assert Decoder().feed(b"data: a\n:\ndata: b\n\n") == [Event("a\nb")]
    assert Decoder().feed(encode_event(b"a") + KEEPALIVE + encode_event(b"b")) == [Event("a"), Event("b")]
