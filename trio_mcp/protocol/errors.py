"""The error that travels: a JSON-RPC error with its code (2026-07-28, basic/index: Error Codes)."""

from typing import Any, Final

from trio_mcp.wire.base import UNSET
from trio_mcp.wire.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
)

RESOURCE_NOT_FOUND: Final = -32002
HEADER_MISMATCH: Final = -32020
MISSING_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022
URL_ELICITATION_REQUIRED: Final = -32042

# Application-defined, outside the range that JSON-RPC reserves; they mirror the HTTP status that carries them.
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
TOO_MANY_REQUESTS: Final = 429
UNAVAILABLE: Final = 503


_DEFINED: Final = frozenset({HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION})


class McpError(Exception):
    """A JSON-RPC error for the peer. Raised in a tool, resource or prompt it reaches the client as it is.

    Args:
        code: an integer, one of the protocol's or one outside -32768…-32000 for your own.
        message: one sentence.
        data: any JSON-able detail; left out where it is UNSET.
    """

    def __init__(self, code: int, message: str, data: Any = UNSET) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def invalid_params(message: str, data: Any = UNSET) -> McpError:
    """-32602: the parameters do not fit the method."""
    return McpError(INVALID_PARAMS, message, data)


def method_not_found(method: str) -> McpError:
    """-32601: no such method in this revision."""
    return McpError(METHOD_NOT_FOUND, f"Method not found: {method}")


def legal_code(code: int, *, per_request: bool) -> int:
    """The code, or -32603 where the per-request era forbids it (2026-07-28, basic/index: Error Codes)."""
    reserved = -32099 <= code <= HEADER_MISMATCH and code not in _DEFINED
    return INTERNAL_ERROR if per_request and (reserved or code == RESOURCE_NOT_FOUND) else code


__all__ = [
    "FORBIDDEN",
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "MISSING_CLIENT_CAPABILITY",
    "PARSE_ERROR",
    "RESOURCE_NOT_FOUND",
    "TOO_MANY_REQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "URL_ELICITATION_REQUIRED",
    "McpError",
    "invalid_params",
    "legal_code",
    "method_not_found",
]
