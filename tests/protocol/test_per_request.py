"""A request of the per-request era carries all that is needed, in order, or is refused for the first thing wrong."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from trio_mcp.protocol.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    McpError,
    legal_code,
)
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.per_request import check_notification_headers, open_request
from trio_mcp.wire.jsonrpc import Request

PREFIX = "io.modelcontextprotocol/"
VERSION, CAPABILITIES = f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"
META: dict[str, Any] = {VERSION: "2026-07-28", CAPABILITIES: {}}
OURS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]


def request(method: str = "tools/call", meta: Any = META, **params: Any) -> Request:
    if method == "tools/call":
        params = {"name": "echo", **params}
    return Request(7, method, Raw(msgspec.json.encode({**params, "_meta": meta})))


def headers(
    version: str | None = "2026-07-28", method: str | None = "tools/call", name: str | None = "echo"
) -> Headers:
    sent = {"mcp-protocol-version": version, "mcp-method": method, "mcp-name": name}
    return Headers([(key.encode(), value.encode()) for key, value in sent.items() if value is not None])


def refused(request: Request, headers: Headers | None = None) -> McpError:
    with pytest.raises(McpError) as caught:
        open_request(request, headers)
    return caught.value


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in META.items() if name != key}


# What passes


@pytest.mark.parametrize("sent", [None, headers()], ids=["on a pipe", "over HTTP"])
def test_a_request_in_order_is_opened(sent):
    meta = {
        **META,
        CAPABILITIES: {"elicitation": {"form": {}}},
        f"{PREFIX}clientInfo": {"name": "c", "version": "1"},
        f"{PREFIX}logLevel": "info",
        "progressToken": 0,
        "traceparent": "00-a-b-01",
    }
    opened = open_request(request(meta=meta, arguments={"a": 1}), sent)
    assert (opened.id, opened.method, opened.revision.version) == (7, METHODS["tools/call"], "2026-07-28")
    assert opened.params.name == "echo"
    assert bytes(opened.params.arguments) == b'{"a":1}'
    assert opened.capabilities.elicitation == {"form": {}}
    assert opened.meta.client_info is not None
    assert opened.meta.client_info.name == "c"
    assert (opened.meta.log_level, opened.meta.progress_token, opened.meta.traceparent) == ("info", 0, "00-a-b-01")


def test_the_clients_name_is_not_demanded():
    assert open_request(request(), None).meta.client_info is None


def test_a_method_without_a_name_needs_no_name_header():
    opened = open_request(request("tools/list"), headers(method="tools/list", name=None))
    assert opened.method is METHODS["tools/list"]
    open_request(request("tools/list"), headers(method="tools/list", name="whatever"))


@pytest.mark.parametrize(("method", "key"), [("resources/read", "uri"), ("prompts/get", "name")])
def test_the_name_header_repeats_the_name_or_the_uri(method, key):
    call = request(method, **{key: "a:b"})
    open_request(call, headers(method=method, name="a:b"))
    open_request(call, headers(method=method, name="=?base64?YTpi?="))
    assert refused(call, headers(method=method, name="a:c")).code == HEADER_MISMATCH
    assert refused(call, headers(method=method, name=None)).code == HEADER_MISMATCH


# Metadata


@pytest.mark.parametrize("sent", [None, headers(), Headers([])], ids=["on a pipe", "over HTTP", "without headers"])
@pytest.mark.parametrize(
    ("meta", "missing"),
    [
        (None, VERSION),
        ({}, VERSION),
        ({"progressToken": 1}, VERSION),
        (without(VERSION), VERSION),
        (without(CAPABILITIES), CAPABILITIES),
        ({VERSION: "1900-01-01"}, CAPABILITIES),
    ],
)
def test_metadata_that_is_missing_is_named(meta, missing, sent):
    error = refused(request(meta=meta), sent)
    assert error.code == INVALID_PARAMS
    assert missing in error.message


@pytest.mark.parametrize(
    "meta",
    [
        [],
        "x",
        5,
        {**META, VERSION: None},
        {**META, VERSION: 20260728},
        {**META, VERSION: ["2026-07-28"]},
        {**META, CAPABILITIES: None},
        {**META, CAPABILITIES: []},
        {**META, CAPABILITIES: True},
        {**META, CAPABILITIES: {"sampling": True}},
        {**META, CAPABILITIES: {"elicitation": []}},
        {**META, f"{PREFIX}clientInfo": "c"},
        {**META, f"{PREFIX}clientInfo": {"name": "c"}},
        {**META, f"{PREFIX}logLevel": 5},
        {**META, f"{PREFIX}logLevel": "verbose"},
        {**META, f"{PREFIX}logLevel": "INFO"},
        {**META, f"{PREFIX}logLevel": ""},
        {**META, "progressToken": 1.5},
        {**META, "progressToken": []},
        {**META, "traceparent": 5},
    ],
)
@pytest.mark.parametrize("sent", [None, headers()], ids=["on a pipe", "over HTTP"])
def test_metadata_of_a_wrong_kind_is_refused(meta, sent):
    assert refused(request(meta=meta), sent).code == INVALID_PARAMS


# Versions


@pytest.mark.parametrize("version", ["1900-01-01", "2099-01-01", "", "2025-11-25", "2024-11-05", "2026-07-28 ", "Ä"])
def test_a_version_that_needs_no_handshake_nowhere_is_refused_with_ours(version):
    error = refused(request(meta={**META, VERSION: version}))
    assert error.code == UNSUPPORTED_PROTOCOL_VERSION
    assert error.data == {"supported": OURS, "requested": version}


@pytest.mark.parametrize("version", ["1900-01-01", "2025-11-25"])
def test_over_http_an_unsupported_version_is_told_before_headers_that_it_may_not_have(version):
    call = request(meta={**META, VERSION: version})
    assert refused(call, headers(version, None, None)).code == UNSUPPORTED_PROTOCOL_VERSION
    assert refused(call, headers(version)).code == UNSUPPORTED_PROTOCOL_VERSION
    for other in (None, "2026-07-28", f"{version}x"):
        assert refused(call, headers(other)).code == HEADER_MISMATCH
    twice = Headers([(b"mcp-protocol-version", version.encode())] * 2)
    assert refused(call, twice).code == HEADER_MISMATCH


# Headers, methods, parameters


@pytest.mark.parametrize(
    "sent",
    [
        Headers([]),
        headers(version=None),
        headers(version="2025-11-25"),
        headers(method=None),
        headers(method="tools/list"),
        headers(name=None),
        headers(name="other"),
        headers(name="=?base64?QQ=?="),
    ],
)
def test_headers_that_do_not_agree_are_refused(sent):
    assert refused(request(), sent).code == HEADER_MISMATCH


GONE = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"]
OTHER_WAY = ["sampling/createMessage", "roots/list", "elicitation/create"]
NO_REQUESTS = [name for name, row in METHODS.items() if row.notification]


@pytest.mark.parametrize("method", [*GONE, *OTHER_WAY, *NO_REQUESTS, "", "unknown", "tools/call ", "tools", "x" * 9999])
@pytest.mark.parametrize(
    "params", [{}, {"level": 5}, {"uri": []}, {"requestId": []}, {"name": "x", "notifications": {}, "progressToken": 1}]
)
def test_a_method_that_this_revision_has_not_is_not_found_whatever_its_parameters(method, params):
    call = request(method, **params)
    error = refused(call)
    assert (error.code, error.message) == (METHOD_NOT_FOUND, f"Method not found: {method}")
    if method == method.strip() and method.isprintable():
        assert refused(call, headers(method=method, name=None)).code == METHOD_NOT_FOUND


@pytest.mark.parametrize("method", ["unknown", "initialize", "notifications/cancelled"])
def test_headers_are_judged_before_the_method(method):
    assert refused(request(method), headers(method="tools/list", name=None)).code == HEADER_MISMATCH


@pytest.mark.parametrize(
    "params",
    [{"name": 5}, {"name": None}, {"name": "echo", "inputResponses": []}, {"name": "echo", "requestState": 5}],
)
def test_parameters_are_judged_last(params):
    call = request(**params)
    error = refused(call)
    assert error.code == INVALID_PARAMS
    assert "Invalid params for tools/call" in error.message
    assert refused(call, headers()).code == INVALID_PARAMS
    assert refused(call, headers(method="tools/list")).code == HEADER_MISMATCH
    unsupported = request(meta={**META, VERSION: "1900-01-01"}, **params)
    assert refused(unsupported).code == UNSUPPORTED_PROTOCOL_VERSION


def test_nothing_is_remembered_from_one_request_to_the_next():
    open_request(request(), headers())
    assert refused(request(meta=None), headers()).code == INVALID_PARAMS
    assert open_request(request(meta={**META, CAPABILITIES: {"roots": {}}}), None).capabilities.roots == {}
    assert open_request(request(), None).capabilities.roots is None


# Notifications, batches, codes


def test_headers_of_a_notification_may_be_absent_but_must_not_lie():
    check_notification_headers(Headers([]), "notifications/cancelled")
    check_notification_headers(headers(method="notifications/cancelled"), "notifications/cancelled")
    for sent in (
        headers(method="tools/call"),
        headers(method=""),
        Headers([(b"mcp-method", b"notifications/cancelled")] * 2),
    ):
        with pytest.raises(McpError) as caught:
            check_notification_headers(sent, "notifications/cancelled")
        assert caught.value.code == HEADER_MISMATCH


@pytest.mark.parametrize(
    ("code", "legal"),
    [
        *((code, True) for code in (-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022, 429, 503, 0, -1)),
        *((code, False) for code in (-32002, -32042, -32023, -32099, -32050)),
        *((code, True) for code in (-32001, -32019, -32100)),
    ],
)
def test_codes_that_the_newest_revision_reserves_become_internal_errors_there(code, legal):
    assert legal_code(code, per_request=True) == (code if legal else -32603)
    assert legal_code(code, per_request=False) == code
