"""Headers say what the body says, or the request is refused with -32020."""

import base64
from typing import Any

import pytest

from trio_mcp.protocol.errors import HEADER_MISMATCH, McpError
from trio_mcp.protocol.headers import Headers, accepts, check_standard, decode_value, is_json

VERSION = b"2026-07-28"


def wrapped(text: str | bytes) -> bytes:
    """The value between its base64 sentinels."""
    data = text.encode() if isinstance(text, str) else text
    return b"=?base64?" + base64.b64encode(data) + b"?="


def refused(*arguments: Any) -> str:
    """What `check_standard` says."""
    with pytest.raises(McpError) as caught:
        check_standard(*arguments)
    assert caught.value.code == HEADER_MISMATCH
    assert caught.value.message.startswith("Header mismatch: ")
    return caught.value.message


# The mapping


def test_values_are_trimmed_of_optional_whitespace_and_of_nothing_else():
    headers = Headers([(b"a", b" \t x y\t "), (b"b", b"\xa0x\xa0"), (b"c", b" ")])
    assert dict(headers) == {b"a": b"x y", b"b": b"\xa0x\xa0", b"c": b""}
    assert headers.text(b"a") == "x y"
    assert headers.get(b"a") == b"x y"
    assert headers.as_text() == {"a": "x y", "b": "\xa0x\xa0", "c": ""}


def test_an_absent_header_is_none_and_not_empty():
    headers = Headers([(b"a", b"")])
    assert (headers.text(b"a"), headers.text(b"b")) == ("", None)
    assert (headers.get(b"a"), headers.get(b"b"), headers.get(b"b", b"x")) == (b"", None, b"x")
    assert b"a" in headers
    assert b"b" not in headers
    assert len(headers) == 1
    with pytest.raises(KeyError):
        headers[b"b"]


def test_a_value_of_any_bytes_is_text():
    assert Headers([(b"a", bytes(range(256)))]).text(b"a") == bytes(range(256)).strip(b" \t").decode("latin-1")


def test_the_values_of_a_repeated_name_are_joined_and_the_name_is_told():
    headers = Headers([(b"accept", b"application/json "), (b"x", b"1"), (b"accept", b" text/event-stream")])
    assert headers[b"accept"] == b"application/json, text/event-stream"
    assert headers.get(b"accept") == b"application/json, text/event-stream"
    assert headers.text(b"accept") == "application/json, text/event-stream"
    assert headers.as_text()["accept"] == "application/json, text/event-stream"
    assert headers.repeated == {b"accept"}
    assert accepts(headers.get(b"accept")) == (True, True)
    assert Headers([(b"a", b"1"), (b"b", b"1")]).repeated == frozenset()


# Accept and Content-Type


@pytest.mark.parametrize(
    ("accept", "json", "sse"),
    [
        (None, True, True),
        (b"application/json, text/event-stream", True, True),
        (b"application/json,text/event-stream", True, True),
        (b"APPLICATION/JSON;q=0.1 , Text/Event-Stream;charset=utf-8", True, True),
        (b"application/json", True, False),
        (b"text/event-stream", False, True),
        (b"*/*", True, True),
        (b"application/*", True, False),
        (b"text/*", False, True),
        (b"text/html, */*;q=0.8", True, True),
        (b"text/html", False, False),
        (b"", False, False),
        (b",,", False, False),
        (b"application/jsonp", False, False),
        (b"application/json-seq, text/event-streams", False, False),
        (b"application/json;q=0, text/event-stream", False, True),
        (b"application/json;q=0.0, text/event-stream", False, True),
        (b"application/json; q=0.000; x=y, text/event-stream", False, True),
        (b"application/json;charset=utf-8;q=0", False, False),
        (b"application/json;q=0.001", True, False),
        (b"application/json;q=1.0", True, False),
        (b"application/json;q=0, */*", False, True),
        (b"*/*, text/event-stream;q=0", True, False),
        (b"*/*;q=0, application/json", True, False),
        (b"text/*;q=0, */*", True, False),
        (b"application/json;q=0, application/json", True, False),
        (b"application/json, application/json;q=0", True, False),
        (b"\xff/\x00;q=0;;", False, False),
    ],
)
def test_accept_is_read_as_the_standard_has_it(accept, json, sse):
    assert accepts(accept) == (json, sse)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/json", True),
        (b"Application/JSON ; charset=utf-8", True),
        (b"application/json-rpc", False),
        (b"application/jsonx", False),
        (b"text/plain", False),
        (b"application/json, text/plain", False),
        (b"", False),
        (None, False),
    ],
)
def test_a_body_is_json_by_its_type_alone(content_type, expected):
    assert is_json(content_type) is expected


# Values and their base64 form


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        # the specification's own examples
        (b"us-west1", "us-west1"),
        (b"=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
        (b"=?base64?IHBhZGRlZCA=?=", " padded "),
        (b"=?base64?bGluZTEKbGluZTI=?=", "line1\nline2"),
        (b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", "=?base64?literal?="),
        # the edges
        (b"", ""),
        (b"a b\tc", "a b\tc"),
        (bytes(range(0x20, 0x7F)), bytes(range(0x20, 0x7F)).decode()),
        (b"=?base64??=", ""),
        (wrapped("\0\x7f\r\n"), "\0\x7f\r\n"),
        (wrapped("us-west1"), "us-west1"),
        # markers that are not exactly these are plain text
        (b"=?BASE64?QQ==?=", "=?BASE64?QQ==?="),
        (b"=?Base64?QQ==?=", "=?Base64?QQ==?="),
        (b"=?base64?=", "=?base64?="),
        (b"=?base64?QQ==", "=?base64?QQ=="),
        (b"base64?QQ==?=", "base64?QQ==?="),
        (b"x=?base64?QQ==?=", "x=?base64?QQ==?="),
        (b"=?base64?QQ==?=x", "=?base64?QQ==?=x"),
        (b"=?utf-8?B?QQ==?=", "=?utf-8?B?QQ==?="),
    ],
)
def test_a_value_is_plain_text_or_base64_between_its_markers(value, decoded):
    assert decode_value("Mcp-Name", value) == decoded


@pytest.mark.parametrize(
    "value",
    [
        b"=?base64?QQ=?=",  # padding
        b"=?base64?QQ?=",
        b"=?base64?QQ===?=",
        b"=?base64?Q?=",
        b"=?base64?QQ==QQ==?=",
        b"=?base64?=QQ=?=",
        b"=?base64?QR==?=",  # bits that no encoder sets
        b"=?base64?QUF=?=",
        b"=?base64?Q Q==?=",  # alphabet
        b"=?base64? QQ==?=",
        b"=?base64?QQ==\t?=",
        b"=?base64?__-_?=",
        b"=?base64?Q*==?=",
        b"=?base64?=?=?=",
        b"=?base64?QQ==?=?=",
        wrapped(b"\xff"),  # UTF-8
        wrapped(b"\xed\xa0\x80"),
        wrapped(b"\xc0\x80"),
        b"\x00",  # characters
        b"a\nb",
        b"a\rb",
        b"\x7f",
        b"\x0b",
        b"\xe4",
        "ä".encode(),
        b"=?base64?\xff?=",
    ],
)
def test_a_value_that_is_neither_is_refused_with_its_header(value):
    with pytest.raises(McpError, match="Mcp-Param-X holds") as caught:
        decode_value("Mcp-Param-X", value)
    assert caught.value.code == HEADER_MISMATCH


# The standard headers


def standard(*, version: bytes = VERSION, method: bytes = b"tools/call", name: bytes | None = b"echo") -> Headers:
    raw = [(b"host", b"x"), (b"mcp-protocol-version", version), (b"mcp-method", method)]
    return Headers(raw if name is None else [*raw, (b"mcp-name", name)])


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (standard(), "echo"),
        (standard(name=b"\t echo "), "echo"),
        (standard(version=b" 2026-07-28\t", method=b" tools/call "), "echo"),
        (standard(name=wrapped("echo")), "echo"),
        (standard(name=wrapped("Größe 😀")), "Größe 😀"),
        (standard(name=wrapped(" padded ")), " padded "),
        (standard(name=b"file:///projects/a b.json?x=1#y"), "file:///projects/a b.json?x=1#y"),
        (standard(name=b""), ""),
        (standard(name=None), None),
        (standard(name=b"not asked for"), None),
    ],
)
def test_headers_that_say_what_the_body_says_pass(headers, name):
    check_standard(headers, "2026-07-28", "tools/call", name)


@pytest.mark.parametrize(
    ("headers", "name", "said"),
    [
        (Headers([]), "echo", "MCP-Protocol-Version is missing"),
        (Headers([(b"mcp-protocol-version", VERSION)]), "echo", "Mcp-Method is missing"),
        (standard(name=None), "echo", "Mcp-Name is missing"),
        (standard(version=b"2025-11-25"), "echo", "MCP-Protocol-Version is '2025-11-25'"),
        (standard(version=b"2026-07-28;x"), "echo", "MCP-Protocol-Version is"),
        (standard(version=b""), "echo", "MCP-Protocol-Version is ''"),
        (standard(version=wrapped("2026-07-28")), "echo", "MCP-Protocol-Version is"),
        (standard(method=b"Tools/Call"), "echo", "Mcp-Method is 'Tools/Call' but the body says 'tools/call'"),
        (standard(method=b"tools/list"), "echo", "Mcp-Method is"),
        (standard(method=wrapped("tools/call")), "echo", "Mcp-Method is"),
        (standard(method=b"\xff"), "echo", "Mcp-Method is"),
        (standard(name=b"Echo"), "echo", "Mcp-Name is 'Echo' but the body says 'echo'"),
        (standard(name=b""), "echo", "Mcp-Name is"),
        (standard(name=b"echo"), "", "Mcp-Name is"),
        (standard(name=b" padded "), " padded ", "Mcp-Name is"),
        (standard(name=wrapped("echo ")), "echo", "Mcp-Name is"),
        (standard(name=wrapped("echo")), wrapped("echo").decode(), "Mcp-Name is"),
        (standard(name=b"=?base64?QQ=?="), "A", "Mcp-Name holds"),
        (standard(name="Größe".encode()), "Größe", "Mcp-Name holds characters"),
        (standard(name="Größe".encode("latin-1")), "Größe", "Mcp-Name holds characters"),
    ],
)
def test_headers_that_say_something_else_are_named(headers, name, said):
    assert said in refused(headers, "2026-07-28", "tools/call", name)


@pytest.mark.parametrize(("version", "method"), [("Größe", "tools/call"), ("2026-07-28", "Größe")])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_version_or_a_method_that_is_not_ascii_is_no_header_value(version, method, encoding):
    headers = standard(version=version.encode(encoding), method=method.encode(encoding))
    assert " is " in refused(headers, version, method, "echo")


@pytest.mark.parametrize("name", ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"])
@pytest.mark.parametrize("same", [True, False])
def test_a_standard_header_comes_once_even_where_the_second_says_the_same(name, same):
    values = {"MCP-Protocol-Version": VERSION, "Mcp-Method": b"tools/call", "Mcp-Name": b"echo"}
    raw = [(key.lower().encode(), value) for key, value in values.items()]
    for headers in (
        Headers([*raw, (name.lower().encode(), values[name] if same else b"other")]),
        Headers([(name.lower().encode(), values[name] if same else b"other"), *raw]),
    ):
        assert f"{name} is sent more than once" in refused(headers, "2026-07-28", "tools/call", "echo")


def test_other_headers_may_come_twice():
    headers = Headers([(b"cookie", b"a"), (b"cookie", b"b"), *((key, standard()[key]) for key in standard())])
    check_standard(headers, "2026-07-28", "tools/call", "echo")
