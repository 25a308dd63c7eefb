"""The per-request era's rules: a request that carries all that is needed to answer it (2026-07-28, basic/index).

It refuses to remember anything from one request to the next.
"""

from contextlib import suppress
from typing import Any

import msgspec

from trio_mcp.protocol.errors import (
    UNSUPPORTED_PROTOCOL_VERSION,
    McpError,
    invalid_params,
    method_not_found,
)
from trio_mcp.protocol.headers import PROTOCOL_VERSION, Headers, check_standard, mismatch
from trio_mcp.protocol.methods import METHODS, Direction, Method, find_request
from trio_mcp.protocol.revisions import (
    PER_REQUEST_VERSIONS,
    REVISIONS,
    WITHOUT_VERSION_HEADER,
    Revision,
    supported_versions,
)
from trio_mcp.wire.base import CLIENT_CAPABILITIES_KEY, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY, UNSET, RequestId, Wire
from trio_mcp.wire.jsonrpc import Message, Request
from trio_mcp.wire.lifecycle import ClientCapabilities, RequestMeta, RequestParams
from trio_mcp.wire.logging import SEVERITY


class OpenedRequest(msgspec.Struct, gc=False):
    """A request whose envelope is in order."""

    id: RequestId
    method: Method
    params: Any
    meta: RequestMeta
    capabilities: ClientCapabilities
    revision: Revision


_BARE = METHODS["server/discover"]


def open_request(request: Request, headers: Headers | None, *, sessions: bool = True) -> OpenedRequest:
    """Check a request's metadata, its headers (HTTP only) and its parameters, in this order.

    Args:
        sessions: whether revisions that need one are spoken here, too.

    Raises:
        McpError: -32602 metadata missing or wrong, -32022 an unsupported revision, -32020 headers that do not agree,
            -32601 a method this revision does not have, -32602 wrong parameters.
    """
    method = METHODS.get(request.method)
    if method is None or method.notification:  # a notification's parameters have no such `_meta`
        method = _BARE
    fault: McpError | None = None
    try:
        params: RequestParams = method.read(request.params)
    except McpError as error:
        # Headers and version come first, so read the metadata alone and keep the fault for its turn.
        fault = error
        params = _BARE.read(request.params)
    meta = params.meta
    if meta is None or meta.protocol_version is UNSET or isinstance(meta.client_capabilities, type(UNSET)):
        missing = PROTOCOL_VERSION_KEY if meta is None or meta.protocol_version is UNSET else CLIENT_CAPABILITIES_KEY
        raise invalid_params(f"Invalid params: _meta lacks {missing}")
    version = str(meta.protocol_version)
    revision = REVISIONS.get(version)
    known = revision is not None and revision.per_request
    if headers is not None and (known or headers.text(PROTOCOL_VERSION) != version):
        name = getattr(params, method.named_by) if fault is None and method.named_by is not None else None
        check_standard(headers, version, request.method, name)
    if revision is None or not known:
        raise unsupported(version, sessions=sessions)
    row = find_request(request.method, revision, Direction.TO_SERVER)
    if row is None:
        raise method_not_found(request.method)
    if fault is not None:
        raise fault
    if meta.log_level is not None and meta.log_level not in SEVERITY:
        raise invalid_params(f"Invalid params: {LOG_LEVEL_KEY} must be one of {', '.join(SEVERITY)}")
    return OpenedRequest(request.id, row, params, meta, meta.client_capabilities, revision)


def check_notification_headers(headers: Headers, method: str) -> None:
    """Headers of a posted notification may be absent (the revision does not define them) but must not lie.

    Raises:
        McpError: -32020.
    """
    sent = headers.text(b"mcp-method")
    if sent is not None and sent != method:
        raise mismatch(f"Mcp-Method is {sent!r} but the body says {method!r}")


def unsupported(version: str, *, sessions: bool) -> McpError:
    """-32022 with the revisions that are spoken here (basic/versioning: Protocol Version Negotiation)."""
    return McpError(
        UNSUPPORTED_PROTOCOL_VERSION,
        f"Unsupported protocol version: {version}",
        {"supported": list(supported_versions(sessions=sessions)), "requested": version},
    )


class _WantedVersion(Wire):
    protocol_version: str = WITHOUT_VERSION_HEADER.version


def without_sessions(message: Message | None = None, version_header: str | None = None) -> McpError:
    """-32022 for what needs a session, where none are kept (basic/versioning: Backward Compatibility).

    Clients of that era cannot go on by themselves, so the text is for people.
    """
    requested = version_header or WITHOUT_VERSION_HEADER.version
    if isinstance(message, Request) and message.method == "initialize":
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            requested = msgspec.json.decode(message.params, type=_WantedVersion).protocol_version
    served = ", ".join(PER_REQUEST_VERSIONS)
    return McpError(
        UNSUPPORTED_PROTOCOL_VERSION,
        f"Unsupported protocol version: {requested} needs a session, and this server keeps none; it serves {served}. "
        "For sessions, let its operator run one worker (--workers 1), or a proxy with affinity before several such",
        {"supported": list(PER_REQUEST_VERSIONS), "requested": requested},
    )
