"""Bytes become messages, or an error with the right code and the id to echo."""

import sys
from types import FrameType
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from trio_mcp.wire import jsonrpc
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorBody,
    Notification,
    Request,
    Response,
    WireError,
    decode,
    decode_batch,
    depth_exceeds,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    is_batch,
)


def request(id: str = "1", **members: str) -> bytes:
    """The text of a request whose members are given as JSON."""
    fields = {"jsonrpc": '"2.0"', "id": id, "method": '"m"', **members}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


def raw(value: Any) -> Any:
    return msgspec.json.decode(value)


# What is a message


def test_a_request_has_an_id_a_method_and_the_bytes_of_its_params():
    message = decode(b' {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"cursor": ""}} ')
    assert isinstance(message, Request)
    assert (message.id, message.method, raw(message.params)) == (7, "tools/list", {"cursor": ""})


def test_a_notification_is_a_method_without_an_id():
    message = decode(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert isinstance(message, Notification)
    assert (message.method, raw(message.params)) == ("notifications/initialized", {})


def test_params_that_are_left_out_are_an_empty_object():
    message = decode(request())
    assert isinstance(message, Request)
    assert raw(message.params) == {}


@pytest.mark.parametrize("result", ["{}", '{"a":[1]}', "null", "0", '""'])
def test_a_result_keeps_its_bytes(result):
    message = decode(f'{{"jsonrpc":"2.0","id":"a","result":{result}}}'.encode())
    assert isinstance(message, Response)
    assert message.id == "a"
    assert message.error is None
    assert bytes(message.result or b"") == result.encode()


def test_an_error_has_a_code_a_message_and_perhaps_data():
    message = decode(b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":null}}')
    assert message == Response(1, error=ErrorBody(-1, "no", None))
    message = decode(b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}')
    assert message == Response(1, error=ErrorBody(-1, "no", UNSET))


@pytest.mark.parametrize("id", [b"", b'"id":null,'])
def test_an_error_whose_sender_could_not_read_the_id_is_still_a_response(id):
    message = decode(b'{"jsonrpc":"2.0",' + id + b'"error":{"code":-32700,"message":"Parse error"}}')
    assert message == Response(None, error=ErrorBody(PARSE_ERROR, "Parse error"))


def test_unknown_members_are_ignored():
    assert isinstance(decode(request(extra='{"x":[1,{}]}')), Request)


def test_of_a_member_that_comes_twice_the_last_one_counts():
    message = decode(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b","params":{"x":1},"params":{"y":2}}')
    assert isinstance(message, Request)
    assert (message.id, message.method, raw(message.params)) == (2, "b", {"y": 2})


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("0", 0),
        ("-1", -1),
        ("9007199254740993", 2**53 + 1),
        ("18446744073709551616", 2**64),
        ("1" + "0" * 40, 10**40),
        ("-" + "9" * 40, -(10**40) + 1),
        ("9" * 4000, 10**4000 - 1),
        ('""', ""),
        ('"1"', "1"),
        ('"' + "x" * 100_000 + '"', "x" * 100_000),
        (r'"\ud83d\ude00\u0000"', "😀\0"),
    ],
)
def test_an_id_of_any_size_comes_back_as_it_was(text, id):
    message = decode(request(text))
    assert isinstance(message, Request)
    assert message.id == id
    assert type(message.id) is type(id)
    for answer in (encode_result(message.id, {}), encode_error(message.id, -1, "no")):
        assert msgspec.json.decode(answer)["id"] == id


# What is none

NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"}",
    b'{"jsonrpc":"2.0","id":1,"method":"m"',
    b'{"jsonrpc":"2.0","id":1,"method":"m"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"m"} {}',
    b'{"jsonrpc":"2.0","id":1,"method":"m",}',
    b"{'jsonrpc':'2.0'}",
    b"nul",
    b"// comment\n{}",
    b"\xef\xbb\xbf" + request(),
    b"\x00" + request(),
    request("NaN"),
    request("Infinity"),
    request("-Infinity"),
    request("01"),
    request("+1"),
    request("0x1"),
    request("1e999"),
    request("9" * 5000),
    request(params='{"a":NaN}'),
    request(params='{"a":tru}'),
    request(params='{"a":"\n"}'),
    request(params=r'{"a":"\x"}'),
    request(method=r'"\ud800"'),
    request(method=r'"\udc00x"'),
    request(r'"\ud800\u0041"'),
    request(params=r'{"a":"\ud800"}'),
    request(params=r'{"\udfff":1}'),
    request("{" * 3000),
]


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_not_json_is_a_parse_error_without_an_id(body):
    with pytest.raises(WireError) as caught:
        decode(body)
    assert (caught.value.code, caught.value.id) == (PARSE_ERROR, None)
    assert caught.value.message.startswith("Parse error")
    assert str(caught.value) == caught.value.message


NOT_UTF8 = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80", "é".encode("latin-1")]


@pytest.mark.parametrize("bad", NOT_UTF8)
@pytest.mark.parametrize("place", ["method", "params", "outside"])
def test_what_is_not_utf8_is_a_parse_error_that_says_where(bad, place):
    before, after = {
        "method": (b'{"jsonrpc":"2.0","id":1,"method":"', b'"}'),
        "params": (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"', b'"}}'),
        "outside": (b'{"jsonrpc":"2.0","id":1,"method":"m"}', b""),
    }[place]
    with pytest.raises(WireError) as caught:
        decode(before + bad + after)
    assert (caught.value.code, caught.value.id) == (PARSE_ERROR, None)
    assert f"not UTF-8 at byte {len(before)}" in caught.value.message


# The text, the code, the id to echo.
NO_MESSAGE: list[tuple[bytes, int, object]] = [
    (b"null", INVALID_REQUEST, None),
    (b"true", INVALID_REQUEST, None),
    (b"1", INVALID_REQUEST, None),
    (b'"text"', INVALID_REQUEST, None),
    (b"[]", INVALID_REQUEST, None),
    (b"[" + request() + b"]", INVALID_REQUEST, None),
    (b"{}", INVALID_REQUEST, None),
    (b'{"jsonrpc":"2.0"}', INVALID_REQUEST, None),
    (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST, 1),
    (b'{"jsonrpc":"2.0","id":"a","params":{}}', INVALID_REQUEST, "a"),
    (b'{"id":1,"method":"m"}', INVALID_REQUEST, 1),
    (b'{"jsonrpc":"1.0","id":"x","method":"m"}', INVALID_REQUEST, "x"),
    (b'{"jsonrpc":2.0,"id":3,"method":"m"}', INVALID_REQUEST, 3),
    (b'{"jsonrpc":null,"id":0,"method":"m"}', INVALID_REQUEST, 0),
    (b'{"jsonrpc":"1.0","id":' + b"9" * 100 + b',"method":"m"}', INVALID_REQUEST, 10**100 - 1),
    (b'{"jsonrpc":"1.0","id":1,"id":2,"method":"m"}', INVALID_REQUEST, 2),
    (b'{"jsonrpc":"2.0","id":1,"method":null}', INVALID_REQUEST, 1),
    (b'{"jsonrpc":"2.0","id":1,"method":5}', INVALID_REQUEST, 1),
    (b'{"jsonrpc":"2.0","id":1,"method":["m"]}', INVALID_REQUEST, 1),
    (request("null"), INVALID_REQUEST, None),
    (request("true"), INVALID_REQUEST, None),
    (request("1.5"), INVALID_REQUEST, None),
    (request("1.0"), INVALID_REQUEST, None),
    (request("1e3"), INVALID_REQUEST, None),
    (request("[1]"), INVALID_REQUEST, None),
    (request('{"a":1}'), INVALID_REQUEST, None),
    (request(params="[]"), INVALID_PARAMS, 1),
    (request('"q"', params="[1,2]"), INVALID_PARAMS, "q"),
    (request(params="null"), INVALID_PARAMS, 1),
    (request(params='"text"'), INVALID_PARAMS, 1),
    (request(params="0"), INVALID_PARAMS, 1),
    (b'{"jsonrpc":"2.0","method":"m","params":[]}', INVALID_PARAMS, None),
    (b'{"jsonrpc":"2.0","id":null,"method":"m","params":[]}', INVALID_PARAMS, None),
    (b'{"jsonrpc":"2.0","result":{}}', INVALID_REQUEST, None),
    (b'{"jsonrpc":"2.0","id":null,"result":{}}', INVALID_REQUEST, None),
]


@pytest.mark.parametrize(("body", "code", "id"), NO_MESSAGE)
def test_json_that_is_no_message_is_refused_with_its_code_and_the_id_to_echo(body, code, id):
    with pytest.raises(WireError) as caught:
        decode(body)
    assert (caught.value.code, caught.value.id) == (code, id)
    assert type(caught.value.id) is type(id)


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":"no"}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"no"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"no"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
        b'{"jsonrpc":"1.0","id":1,"result":{}}',
    ],
)
def test_the_id_of_a_broken_response_is_not_echoed_for_it_names_a_request_of_ours(body):
    with pytest.raises(WireError) as caught:
        decode(body)
    assert (caught.value.code, caught.value.id) == (INVALID_REQUEST, None)


# Depth


def nested(depth: int, kind: str) -> bytes:
    """JSON of exactly this depth."""
    opening, closing = {
        "arrays": ("[", "]"),
        "objects": ('{"a":', "}"),
        "arrays in objects": ('{"a":[', "]}"),
        "objects in arrays": ('[{"a":', "}]"),
    }[kind]
    step = 2 if " in " in kind else 1
    whole = opening * (depth // step) + "1" + closing * (depth // step)
    return (f"[{whole}]" if depth % step else whole).encode()


@pytest.mark.parametrize("kind", ["arrays", "objects", "arrays in objects", "objects in arrays"])
@pytest.mark.parametrize("depth", [1, 2, 3, 63, 64, 65, 128])
def test_depth_is_counted_exactly_whatever_the_brackets(kind, depth):
    body = nested(depth, kind)
    assert depth_exceeds(body, depth - 1)
    assert not depth_exceeds(body, depth)
    assert not depth_exceeds(body, depth + 1)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500,
        b"]" * 500,
        b'\\"' + b"[{" * 300,
        b"[" * 300 + b'\\"' + b"]" * 300,
        b"\\\\\\\\" + b"[" * 300,
        b"\\n\\/" + b"{[" * 300,
        "ä[".encode() * 300,
    ],
)
def test_brackets_inside_a_string_do_not_count(text):
    body = b'{"' + text + b'":["' + text + b'"]}'
    assert not depth_exceeds(body, 2)
    assert depth_exceeds(body, 1)
    assert depth_exceeds(b"[" + body + b"]", 2)


def test_a_string_that_ends_in_an_escaped_backslash_ends_there():
    assert depth_exceeds(b'["\\\\",' + b"[" * 70 + b"]" * 70 + b"]", 64)
    assert not depth_exceeds(b'["\\\\\\",' + b"[" * 70 + b"]" * 70 + b'"]', 64)


def test_siblings_do_not_add_up():
    assert not depth_exceeds(b"[" + b"[{}],[[]]," * 1000 + b"1]", 3)
    assert depth_exceeds(b"[" + b"[{}],[[]]," * 1000 + b"1]", 2)


@pytest.mark.parametrize("kind", ["arrays", "objects", "arrays in objects", "objects in arrays"])
def test_decode_takes_what_is_as_deep_as_the_limit_and_no_more(kind):
    inside = nested(9, kind).decode()
    body = request(params=f'{{"a":{inside}}}')
    assert isinstance(decode(body, max_depth=11), Request)
    with pytest.raises(WireError) as caught:
        decode(body, max_depth=10)
    assert (caught.value.code, caught.value.id) == (PARSE_ERROR, None)
    assert "deeper than 10 levels" in caught.value.message
    assert len(decode_batch(b"[" + body + b"]", max_depth=12)) == 1
    with pytest.raises(WireError):
        decode_batch(b"[" + body + b"]", max_depth=11)


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 300_000, "[" * 100_000 + "]" * 100_000])
def test_depth_without_a_limit_is_a_parse_error_too_and_no_crash(text):
    for body in (text.encode(), request(params=f'{{"a":{text}'), request(text)):
        with pytest.raises(WireError) as caught:
            decode(body, max_depth=10**7)
        assert caught.value.code == PARSE_ERROR


HOSTILE = [
    b'"' + b'\\"' * 1_000_000,
    b'"' + b"\\" * 2_000_001,
    b'"' * 2_000_000,
    b"[" * 2_000_000,
    b"[" * 1_000_000 + b"]" * 1_000_000,
    b"[]" * 1_000_000,
    b'[{"a":' * 300_000,
    b'"a[",' * 400_000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:8]))
def test_depth_is_measured_without_a_python_loop_over_the_bytes(body):
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        depth_exceeds(b"[" * 65 + body, 64)
    finally:
        sys.settrace(before)
    assert 0 < steps < 500


@pytest.mark.parametrize("tail", [b"", b"\\", b"\\\\", b'\\"' * 50, b'\\"' * 50 + b"\\", b"\n[\x00\\\n", b'x"y', b'"'])
def test_a_string_that_never_ends_is_cut_out_in_one_step_and_not_tried_again_from_every_quote(tail):
    match = jsonrpc._STRINGS.match(b'"' + tail)
    assert match is not None
    end = match.end()
    assert end == len(tail) + 1 or (b'"' + tail)[end - 1 : end] == b'"'


# Batches


def test_each_broken_member_of_a_batch_is_its_own_error():
    body = b"[" + request("1") + b', 5, {"jsonrpc":"2.0","method":"n"},' + request('"x"', params="[]") + b"]"
    first, second, third, fourth = decode_batch(body)
    assert isinstance(first, Request)
    assert isinstance(second, WireError)
    assert (second.code, second.id) == (INVALID_REQUEST, None)
    assert isinstance(third, Notification)
    assert isinstance(fourth, WireError)
    assert (fourth.code, fourth.id) == (INVALID_PARAMS, "x")


def test_a_batch_in_a_batch_is_no_message():
    (member,) = decode_batch(b"[[" + request() + b"]]")
    assert isinstance(member, WireError)
    assert member.code == INVALID_REQUEST


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", INVALID_REQUEST),
        (b" [ ] ", INVALID_REQUEST),
        (b"[1,]", PARSE_ERROR),
        (b"[1", PARSE_ERROR),
        (b"[{]", PARSE_ERROR),
        (b"[\xff]", PARSE_ERROR),
        (b"[" * 100_000, PARSE_ERROR),
        (b"{}", PARSE_ERROR),
        (b"", PARSE_ERROR),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(body, code):
    with pytest.raises(WireError) as caught:
        decode_batch(body)
    assert (caught.value.code, caught.value.id) == (code, None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"[]", True), (b" \t\r\n[", True), (b"{}", False), (b'"["', False), (b"", False), (b"  ", False)],
)
def test_a_batch_is_known_by_its_first_character(body, expected):
    assert is_batch(body) is expected


# Encoding


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode_result(1, {}), b'{"jsonrpc":"2.0","id":1,"result":{}}'),
        (encode_result("1", Raw(b'{"a": 1}')), b'{"jsonrpc":"2.0","id":"1","result":{"a": 1}}'),
        (encode_result(1, None), b'{"jsonrpc":"2.0","id":1,"result":null}'),
        (encode_error(1, -1, "no"), b'{"jsonrpc":"2.0","error":{"code":-1,"message":"no"},"id":1}'),
        (encode_error(0, -1, "no", None), b'{"jsonrpc":"2.0","error":{"code":-1,"message":"no","data":null},"id":0}'),
        (encode_error(None, -1, "no"), b'{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}'),
        (encode_notification("n"), b'{"jsonrpc":"2.0","method":"n"}'),
        (encode_notification("n", {}), b'{"jsonrpc":"2.0","method":"n","params":{}}'),
        (encode_request(1, "m"), b'{"jsonrpc":"2.0","id":1,"method":"m"}'),
        (encode_request("a", "m", {"x": 1}), b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1}}'),
    ],
)
def test_messages_are_written_on_one_line_without_nulls_for_what_is_absent(data, expected):
    assert data == expected
    assert b"\n" not in data
    decode(data)


def test_an_error_message_that_is_no_unicode_is_sent_all_the_same():
    assert msgspec.json.decode(encode_error(1, -1, "no \udcff.txt"))["error"]["message"] == "no ?.txt"
    with pytest.raises(UnicodeEncodeError):
        encode_error(1, -1, "no", "\udcff")
