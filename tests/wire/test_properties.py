"""Whatever the bytes are, they become messages or a `WireError`, and what is written is read back."""

import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.wire import jsonrpc
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Message,
    Notification,
    Request,
    Response,
    WireError,
    check_text,
    decode,
    decode_batch,
    depth_exceeds,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    is_batch,
)
from trio_mcp.wire.sse import KEEPALIVE, Decoder, Event, encode_event

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.integers() | TEXT | st.integers(-(10**60), 10**60)
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)

#: JSON text that Python writes and JSON has not: NaN, lone surrogates as escapes.
LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("jsonrpc", "id", "method", "params", "result", "error")
#: Objects that come near to being messages.
NEARLY = st.dictionaries(
    st.sampled_from(MEMBERS) | st.text(max_size=3),
    st.just("2.0") | IDS | LOOSE | st.fixed_dictionaries({"code": LOOSE, "message": LOOSE}),
    max_size=6,
) | st.fixed_dictionaries({"jsonrpc": st.just("2.0")}, optional=dict.fromkeys(MEMBERS[1:], LOOSE))
#: Bytes around the characters that the decoder looks at.
TOKENS = st.lists(
    st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"1", b"-", b"e", b"null", b"\\u", b"d800"])
    | st.sampled_from([b'"id"', b'"jsonrpc":"2.0"', b'"method"', b'"params"', b" ", b"\n", b"\xff", b"\xc3\xa4"])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)
BODIES = (
    st.binary(max_size=60)
    | TOKENS
    | (LOOSE | NEARLY).map(lambda value: json.dumps(value).encode())
    | NEARLY.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.lists(NEARLY, max_size=3).map(lambda value: json.dumps(value).encode())
)


def well_formed(message: Message | WireError) -> bool:
    if isinstance(message, WireError):
        return message.code in (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS) and type(message.id) in (
            int,
            str,
            type(None),
        )
    if isinstance(message, Response):
        return type(message.id) in (int, str, type(None)) and (message.result is None) == (message.error is not None)
    if isinstance(message, Request) and type(message.id) not in (int, str):
        return False
    return type(message.method) is str and bytes(message.params).startswith(b"{")


@given(BODIES, st.integers(0, 20))
def test_any_bytes_are_a_message_or_a_wire_error(body, max_depth):
    try:
        message: Message | WireError = decode(body, max_depth=max_depth)
    except WireError as error:
        message = error
    assert well_formed(message)


@given(BODIES | st.lists(BODIES).map(lambda bodies: b"[" + b",".join(bodies) + b"]"))
def test_any_bytes_are_a_batch_or_a_wire_error(body):
    try:
        messages = decode_batch(body)
    except WireError as error:
        messages = [error]
    assert messages
    assert all(map(well_formed, messages))
    is_batch(body)


@given(BODIES)
def test_the_id_of_an_error_can_always_be_sent_back(body):
    try:
        decode(body)
        return
    except WireError as error:
        refused = error
    answer = msgspec.json.decode(encode_error(refused.id, refused.code, refused.message))
    assert answer.get("id") == refused.id


@given(BODIES)
def test_what_decode_lets_pass_is_what_pythons_own_parser_reads(body):
    try:
        message = decode(body)
    except WireError:
        return
    value = json.loads(body)
    assert value["jsonrpc"] == "2.0"
    if isinstance(message, Response):
        assert value.get("id") == message.id
    else:
        assert value["method"] == message.method
        assert json.loads(bytes(message.params)) == value.get("params", {})


@given(IDS, TEXT, OBJECTS | st.just(UNSET))
def test_a_request_is_read_back_as_it_was_written(id, method, params):
    message = decode(encode_request(id, method, params))
    assert isinstance(message, Request)
    assert (message.id, message.method) == (id, method)
    assert msgspec.json.decode(message.params) == ({} if params is UNSET else params)


@given(TEXT, OBJECTS | st.just(UNSET))
def test_a_notification_is_read_back_as_it_was_written(method, params):
    message = decode(encode_notification(method, params))
    assert isinstance(message, Notification)
    assert message.method == method
    assert msgspec.json.decode(message.params) == ({} if params is UNSET else params)


@given(IDS, JSON)
def test_a_result_is_read_back_as_it_was_written(id, result):
    message = decode(encode_result(id, result))
    assert isinstance(message, Response)
    assert message.id == id
    assert msgspec.json.decode(message.result or b"") == result


@given(IDS | st.none(), st.integers(-(2**70), 2**70), TEXT, JSON | st.just(UNSET))
def test_an_error_is_read_back_as_it_was_written(id, code, text, data):
    message = decode(encode_error(id, code, text, data))
    assert isinstance(message, Response)
    assert message.id == id
    assert message.error == jsonrpc.ErrorBody(code, text, data)


@given(st.lists(st.tuples(IDS, TEXT, OBJECTS), min_size=1, max_size=5))
def test_a_batch_is_read_back_message_by_message(requests):
    body = b"[" + b",".join(encode_request(*request) for request in requests) + b"]"
    assert is_batch(body)
    for message, (id, method, _) in zip(decode_batch(body), requests, strict=True):
        assert isinstance(message, Request)
        assert (message.id, message.method) == (id, method)


# Depth


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(item) for item in value.values()), default=0)
    return 1 + max((depth_of(item) for item in value), default=0) if isinstance(value, list) else 0


#: Strings of the very characters that must not count inside one.
BRACKETS = st.text(st.sampled_from('[]{}"\\/ä'), max_size=8)
DEEP = st.recursive(
    BRACKETS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(BRACKETS, inner, max_size=2),
    max_leaves=30,
)


@given(DEEP, st.booleans(), st.sampled_from([None, 1]))
def test_depth_is_exact_whatever_the_strings_hold(value, ascii, indent):
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode()
    depth = depth_of(value)
    assert not depth_exceeds(body, depth)
    assert depth == 0 or depth_exceeds(body, depth - 1)
    check_text(body, depth)


@given(TOKENS, st.integers(0, 10))
def test_depth_of_anything_at_all_is_measured_without_an_error(body, limit):
    assert depth_exceeds(body, limit) in (True, False)


@given(st.text(st.sampled_from('\\"[a\n'), max_size=40).map(str.encode))
def test_from_its_first_quote_on_a_text_is_cut_into_strings_without_a_second_try(tail):
    body = b'"' + tail
    at = 0
    while (at := body.find(b'"', at)) >= 0:  # the pattern matches wherever the search stands: that makes it linear
        match = jsonrpc._STRINGS.match(body, at)
        assert match is not None
        at = match.end()


# Server-sent events

LINES = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=20)
ONE_LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=8)
EVENTS = st.lists(
    st.builds(Event, LINES, ONE_LINE.map(lambda name: name or "message"), ONE_LINE, st.integers(0, 10**9) | st.none()),
    max_size=5,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(EVENTS, st.sampled_from([b"\n", b"\r", b"\r\n"]), st.lists(st.integers(0, 10**6), max_size=12))
def test_events_come_back_from_any_pieces_and_with_any_line_ends(events, end, cuts):
    stream = KEEPALIVE.join(
        encode_event(event.data.encode(), id=event.id, event=event.event, retry=event.retry) for event in events
    ).replace(b"\n", end)
    decoder = Decoder()
    assert [event for piece in pieces(stream, cuts) for event in decoder.feed(piece)] == events
    assert decoder.last_id == (events[-1].id if events else None)


@given(EVENTS, st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_every_single_cut_gives_the_same_events(events, end):
    stream = b"".join(encode_event(event.data.encode(), id=event.id, event=event.event) for event in events[:2])
    stream = stream.replace(b"\n", end)
    whole = Decoder().feed(stream)
    for cut in range(len(stream) + 1):
        decoder = Decoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == whole


STREAM = st.lists(
    st.sampled_from([b"data", b"id", b"event", b"retry", b":", b" ", b"\r", b"\n", b"\xef\xbb\xbf", b"1", b"\0"])
    | st.binary(max_size=3),
    max_size=30,
).map(b"".join)


@given(STREAM, st.lists(st.integers(0, 10**6), max_size=8))
def test_any_bytes_are_read_the_same_however_they_are_cut(stream, cuts):
    whole, parts = Decoder(), Decoder()
    assert whole.feed(stream) == [event for piece in pieces(stream, cuts) for event in parts.feed(piece)]
    assert (whole.last_id, whole.comments) == (parts.last_id, parts.comments)
