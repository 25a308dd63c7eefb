"""Errors as HTTP answers: which status carries which code, in each era. Refuses to decide what is an error."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from trio_mcp.http.asgi import JSON_TYPE, Exchange, Header
from trio_mcp.protocol.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    PARSE_ERROR,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from trio_mcp.wire.base import UNSET, RequestId
from trio_mcp.wire.jsonrpc import encode_error

#: 2026-07-28, basic/transports/streamable-http: the status of an uncommitted reply; any other code is a 200.
PER_REQUEST_STATUS: Final[Mapping[int, int]] = MappingProxyType(
    {
        PARSE_ERROR: 400,
        INVALID_REQUEST: 400,
        INVALID_PARAMS: 400,
        METHOD_NOT_FOUND: 404,
        HEADER_MISMATCH: 400,
        MISSING_CLIENT_CAPABILITY: 400,
        UNSUPPORTED_PROTOCOL_VERSION: 400,
        TOO_MANY_REQUESTS: 429,
        UNAVAILABLE: 503,
    }
)
#: Before: an answer is a 200 whatever it says; only what kept the request from being taken in is not.
SESSION_STATUS: Final[Mapping[int, int]] = MappingProxyType({TOO_MANY_REQUESTS: 429, UNAVAILABLE: 503})

_RETRY: Final[tuple[Header, ...]] = ((b"retry-after", b"1"),)


def status_headers(status: int) -> tuple[Header, ...]:
    """Headers that belong to a status: when to come back."""
    return _RETRY if status in (429, 503) else ()


async def respond_error(
    exchange: Exchange,
    status: int,
    code: int,
    message: str,
    *,
    id: RequestId | None = None,
    data: Any = UNSET,
    headers: Iterable[Header] = (),
) -> None:
    """Answer with a JSON-RPC error and a status."""
    body = encode_error(id, code, message, data)
    await exchange.respond(status, body, (JSON_TYPE, *status_headers(status), *headers))
