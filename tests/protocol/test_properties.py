"""Whatever a peer sends, headers, requests and seals end in their own error or in nothing wrong at all."""

import base64
import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from trio_mcp.protocol.errors import HEADER_MISMATCH, McpError
from trio_mcp.protocol.headers import (
    Headers,
    ParamHeader,
    accepts,
    check_standard,
    decode_value,
    is_json,
    param_headers,
)
from trio_mcp.protocol.inbound import carries_version, era_of
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.per_request import OpenedRequest, check_notification_headers, open_request
from trio_mcp.protocol.seal import Sealer, SealError
from trio_mcp.wire.jsonrpc import Notification, Request, encode_error

VERSION, CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
BASE64 = st.text(st.sampled_from(string.ascii_letters + string.digits + "+/=-_ ?"), max_size=12)
VALUES = (
    st.binary(max_size=20)
    | BASE64.map(lambda text: f"=?base64?{text}?=".encode())
    | st.binary(max_size=12).map(lambda data: b"=?base64?" + base64.b64encode(data) + b"?=")
    | st.integers().map(lambda number: str(number).encode())
    | st.sampled_from([b"2026-07-28", b"2025-11-25", b"tools/call", b"echo", b"true", b"42.0", b"9" * 5000])
)
NAMES = st.sampled_from([b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-x", b"accept"])
HEADERS = st.lists(st.tuples(NAMES | st.binary(max_size=8), VALUES), max_size=8).map(Headers)
METHOD_NAMES = st.sampled_from([*METHODS]) | UNICODE
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(10**4000)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | UNICODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=8,
)
META = st.fixed_dictionaries(
    {},
    optional={
        VERSION: st.sampled_from(["2026-07-28", "2025-11-25", "x"]) | JSON,
        CAPABILITIES: st.just({}) | st.dictionaries(st.sampled_from(["sampling", "roots", "x"]), JSON) | JSON,
        "io.modelcontextprotocol/clientInfo": st.just({"name": "c", "version": "1"}) | JSON,
        "io.modelcontextprotocol/logLevel": st.just("info") | JSON,
        "progressToken": JSON,
    },
)
FIELDS = (
    "name",
    "uri",
    "arguments",
    "cursor",
    "ref",
    "argument",
    "level",
    "notifications",
    "requestId",
    "requestState",
)
PARAMS = st.fixed_dictionaries(
    {}, optional={"_meta": META | JSON, **dict.fromkeys(FIELDS, st.sampled_from(["echo", "info", {}, 1]) | JSON)}
)


def judged(check: Any, *arguments: Any) -> Any:
    """What the check gives, or the error it raised; any other error is a fault of ours."""
    try:
        return check(*arguments)
    except McpError as error:
        encode_error(1, error.code, error.message, error.data)  # and what is wrong can be told
        return error


# Headers


@given(HEADERS)
def test_any_headers_can_be_read(headers):
    assert len(headers.as_text()) == len(headers) == len(dict(headers))
    for name in headers:
        assert headers.text(name) == headers[name].decode("latin-1") == headers.as_text()[name.decode("latin-1")]
        assert headers[name] == headers[name].strip(b" \t")
    assert headers.repeated <= set(headers)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"*/*", b"text/*", b";q=0", b",", b";", b" "])).map(b"".join))
def test_any_accept_header_and_content_type_has_a_meaning(value):
    json, sse = accepts(value)
    assert {json, sse, is_json(value)} <= {True, False}


@given(VALUES)
def test_any_value_is_decoded_or_refused(value):
    outcome = judged(decode_value, "Mcp-Name", value)
    if isinstance(outcome, McpError):
        assert outcome.code == HEADER_MISMATCH
    elif outcome != value.decode("latin-1"):
        assert b"=?base64?" + base64.b64encode(outcome.encode()) + b"?=" == value


@given(UNICODE)
def test_any_text_survives_its_base64_form(text):
    assert decode_value("Mcp-Name", b"=?base64?" + base64.b64encode(text.encode()) + b"?=") == text


@given(HEADERS, UNICODE | st.just("2026-07-28"), METHOD_NAMES, UNICODE | st.none() | st.just("echo"))
def test_any_headers_agree_with_a_body_or_are_a_mismatch(headers, version, method, name):
    outcome = judged(check_standard, headers, version, method, name)
    if outcome is None:
        assert headers.text(b"mcp-protocol-version") == version
        assert headers.text(b"mcp-method") == method
    else:
        assert outcome.code == HEADER_MISMATCH
    outcome = judged(check_notification_headers, headers, method)
    assert outcome is None or outcome.code == HEADER_MISMATCH


PATHS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map(tuple)
ARGUMENTS = st.recursive(
    JSON | st.just(42), lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner), max_leaves=6
)


@given(PATHS, st.lists(VALUES, max_size=2), ARGUMENTS)
def test_any_arguments_agree_with_their_header_or_are_a_mismatch(path, values, arguments):
    header = ParamHeader("X", path, "integer")
    outcome = judged(header.check, Headers([(b"mcp-param-x", value) for value in values]), arguments)
    assert outcome is None or outcome.code == HEADER_MISMATCH
    assert outcome is not None or len(values) <= 1


@given(st.integers(-(2**53) + 1, 2**53 - 1), st.sampled_from(["{}", "{}.0", "{}.", "{}.000"]))
def test_every_safe_integer_equals_its_decimal_forms(number, form):
    header = ParamHeader("X", ("a",), "integer")
    header.check(Headers([(b"mcp-param-x", form.format(number).encode())]), {"a": number})
    for other in (number + 1, -number if number else 1):
        with pytest.raises(McpError):
            header.check(Headers([(b"mcp-param-x", form.format(number).encode())]), {"a": other})


KEYWORDS = ["properties", "items", "anyOf", "$defs", "x-mcp-header", "type", "const", "definitions", "required", "a"]
SCHEMAS = st.recursive(
    st.sampled_from(["string", "integer", "number", "A", "B", "", "a b", None, 5, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=15,
).filter(lambda value: isinstance(value, dict))


@given(SCHEMAS)
def test_any_schema_is_taken_or_refused_at_registration(schema):
    try:
        found = param_headers(schema)
    except ValueError:
        return
    labels = [header.label.lower() for header in found]
    assert len(set(labels)) == len(labels)
    for header in found:
        place = schema
        for key in header.path:
            place = place["properties"][key]
        assert place["x-mcp-header"] == header.label
        assert place["type"] in ("string", "integer", "boolean")


# Requests


@given(METHOD_NAMES, PARAMS, HEADERS | st.none())
@example("notifications/cancelled", {"_meta": {VERSION: "2026-07-28", CAPABILITIES: {}}}, None)
@example("notifications/subscriptions/acknowledged", {"_meta": {}, "notifications": {}}, None)
def test_any_request_is_opened_or_refused(method, params, headers):
    outcome = judged(open_request, Request(1, method, Raw(msgspec.json.encode(params))), headers)
    if isinstance(outcome, OpenedRequest):
        assert outcome.method is METHODS[method]
        assert outcome.revision.version == params["_meta"][VERSION] == "2026-07-28"
        assert headers is None or headers.text(b"mcp-method") == method


LOOSE = st.binary(max_size=40) | PARAMS.map(lambda value: json.dumps(value).encode()[:-1]) | st.just(b'{"a":"\\ud800"}')


@given(METHOD_NAMES, LOOSE, HEADERS | st.none())
def test_any_bytes_for_parameters_are_refused(method, params, headers):
    judged(open_request, Request(1, method, Raw(params)), headers)
    if method in METHODS:
        judged(METHODS[method].read, Raw(params))


@given(METHOD_NAMES, PARAMS.map(msgspec.json.encode) | LOOSE, UNICODE | st.none(), UNICODE | st.none())
def test_any_message_belongs_to_an_era(method, params, session_id, header):
    for message in (Request(1, method, Raw(params)), Notification(method, Raw(params))):
        era = era_of(message, session_id=session_id, version_header=header)
        assert era.value == "per-request" or not carries_version(message.params)


# Seals

SEALER = Sealer(bytes(range(32)))
ALPHABET = string.ascii_letters + string.digits + "-_="
TIMES = st.floats(0, 1e12)


def opened(text: str, context: bytes, now: float) -> bytes | None:
    try:
        return SEALER.open(text, context=context, now=now)
    except SealError:
        return None


@given(st.binary(max_size=200), st.binary(max_size=20), TIMES, TIMES)
def test_a_seal_opens_with_its_context_exactly_until_its_time(payload, context, expires, now):
    text = SEALER.seal(payload, context=context, expires=expires)
    assert opened(text, context, now) == (payload if now < expires else None)


@given(st.binary(max_size=40), st.binary(max_size=8), st.data())
def test_a_seal_that_was_altered_anywhere_does_not_open(payload, context, data):
    text = SEALER.seal(payload, context=context, expires=1.0)
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(ALPHABET) | st.characters())
    altered = [
        text[:at],
        text[at + 1 :],
        text[:at] + text[at + 1 :],
        text[:at] + letter + text[at:],
        text + letter,
        text[:at] + letter + text[at + 1 :],
        text.swapcase(),
    ]
    assert [other for other in altered if other != text and opened(other, context, 0.0) is not None] == []


@given(st.binary(max_size=40), st.binary(max_size=8), st.binary(max_size=8))
def test_a_seal_does_not_open_in_another_context(payload, context, other):
    text = SEALER.seal(payload, context=context, expires=1.0)
    assert (opened(text, other, 0.0) == payload) is (context == other)


@given(st.text(max_size=80) | st.text(st.sampled_from(ALPHABET), max_size=120))
def test_any_text_that_was_not_sealed_does_not_open(text):
    assert opened(text, b"", 0.0) is None
