"""The era of a posted message is decided by its body first, and only then by its headers."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from trio_mcp.protocol.inbound import carries_version, era_of, names_per_request
from trio_mcp.protocol.revisions import REVISIONS, Era
from trio_mcp.wire.jsonrpc import ErrorBody, Notification, Request, Response

KEY = "io.modelcontextprotocol/protocolVersion"
BARE = Raw(b"{}")


def with_version(version: Any = "2026-07-28") -> Raw:
    return Raw(msgspec.json.encode({"_meta": {KEY: version}}))


@pytest.mark.parametrize(
    "version",
    ["2026-07-28", "2025-11-25", "1900-01-01", "", None, 5, [], {}, True, "\N{SNOWMAN}" * 1000],
)
def test_a_body_that_names_a_version_carries_one_whatever_it_is(version):
    assert carries_version(with_version(version))


@pytest.mark.parametrize(
    "params",
    [
        b"{}",
        b'{"_meta":null}',
        b'{"_meta":{}}',
        b'{"_meta":[]}',
        b'{"_meta":"io.modelcontextprotocol/protocolVersion"}',
        b'{"_meta":{"protocolVersion":"2026-07-28"}}',
        b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}',
        b'{"arguments":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}',
        b'{"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}}',
        b"[]",
        b"null",
        b"",
        b"\xff",
        b'{"_meta":' + b"[" * 100_000,
    ],
)
def test_a_body_that_names_none_carries_none_and_nothing_breaks(params):
    assert not carries_version(Raw(params))


def test_wrong_parameters_beside_the_version_do_not_hide_it():
    assert carries_version(
        Raw(b'{"name":5,"_meta":{"progressToken":[],"io.modelcontextprotocol/protocolVersion":"x"}}')
    )


SESSION, PER_REQUEST = Era.SESSION, Era.PER_REQUEST
CALL = Request(1, "tools/call", BARE)
LATER = "2026-07-28"

# The message, its session id, its version header, and the era.
CASES: list[tuple[Any, str | None, str | None, Era]] = [
    # the body decides
    (Request(1, "tools/call", with_version()), None, None, PER_REQUEST),
    (Request(1, "tools/call", with_version()), "s", "2025-11-25", PER_REQUEST),
    (Request(1, "tools/call", with_version("2025-11-25")), "s", "2025-11-25", PER_REQUEST),
    (Request(1, "initialize", with_version()), None, None, PER_REQUEST),
    (Notification("notifications/cancelled", with_version()), None, None, PER_REQUEST),
    (Request(1, "initialize", BARE), None, None, SESSION),
    (Request(1, "initialize", BARE), None, LATER, SESSION),
    (Request(1, "initialize", BARE), "s", LATER, SESSION),
    # then the session
    (CALL, "s", None, SESSION),
    (CALL, "s", "2025-06-18", SESSION),
    (CALL, "s", "1900-01-01", SESSION),
    (CALL, "", None, SESSION),
    # then the header
    (CALL, None, LATER, PER_REQUEST),
    (CALL, "s", LATER, PER_REQUEST),
    (CALL, None, "2025-11-25", SESSION),
    (CALL, None, "1900-01-01", SESSION),
    (CALL, None, "", SESSION),
    (CALL, None, None, SESSION),
    (Notification("initialize", BARE), None, LATER, PER_REQUEST),
    (Notification("notifications/initialized", BARE), "s", "2025-11-25", SESSION),
    # responses are a session's
    (Response(1, result=BARE), "s", None, SESSION),
    (Response(1, result=BARE), None, None, SESSION),
    (Response(None, error=ErrorBody(-1, "no")), "s", LATER, SESSION),
    (Response(1, result=BARE), None, LATER, PER_REQUEST),
]


@pytest.mark.parametrize(("message", "session_id", "header", "era"), CASES)
def test_the_body_decides_then_the_session_then_the_header(message, session_id, header, era):
    assert era_of(message, session_id=session_id, version_header=header) is era


@pytest.mark.parametrize("version", [*REVISIONS, "1900-01-01", "", "2026-07-28 ", None])
def test_only_a_revision_of_the_per_request_era_is_named_as_one(version):
    assert names_per_request(version) is (version == "2026-07-28")
