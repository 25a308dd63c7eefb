"""Handshake, discovery, capabilities and per-request metadata (2025-11-25 basic/lifecycle; 2026-07-28 basic/index)."""

from msgspec import field

from trio_mcp.wire.base import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    PROTOCOL_VERSION_KEY,
    UNSET,
    CacheableResult,
    JsonObject,
    ProgressToken,
    RequestId,
    Result,
    UnsetType,
    Wire,
)
from trio_mcp.wire.content import Icon


class Implementation(Wire, kw_only=True):
    """The name and version of a program; self-reported, for display and logs only."""

    name: str
    version: str
    title: str | None = None
    description: str | None = None
    icons: list[Icon] | None = None
    website_url: str | None = None


class ClientCapabilities(Wire, kw_only=True):
    """What a client says it can do. An absent key means it cannot; an empty object means it can."""

    experimental: JsonObject | None = None
    roots: JsonObject | None = None
    sampling: JsonObject | None = None
    elicitation: JsonObject | None = None
    tasks: JsonObject | None = None
    extensions: JsonObject | None = None


class ServerCapabilities(Wire, kw_only=True):
    """What this server says it can do."""

    experimental: JsonObject | None = None
    logging: JsonObject | None = None
    completions: JsonObject | None = None
    prompts: JsonObject | None = None
    resources: JsonObject | None = None
    tools: JsonObject | None = None
    extensions: JsonObject | None = None


class RequestMeta(Wire, kw_only=True):
    """`_meta` of a request: the progress token of any revision, and the per-request fields of 2026-07-28."""

    progress_token: ProgressToken | None = None
    protocol_version: str | UnsetType = field(default=UNSET, name=PROTOCOL_VERSION_KEY)
    client_info: Implementation | None = field(default=None, name=CLIENT_INFO_KEY)
    client_capabilities: ClientCapabilities | UnsetType = field(default=UNSET, name=CLIENT_CAPABILITIES_KEY)
    log_level: str | None = field(default=None, name=LOG_LEVEL_KEY)
    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None


class RequestParams(Wire, kw_only=True):
    """What the parameters of every request may carry."""

    meta: RequestMeta | None = field(default=None, name="_meta")


class PaginatedParams(RequestParams, kw_only=True):
    """Parameters of a list; the empty string is a valid cursor (server/utilities/pagination)."""

    cursor: str | None = None


class InitializeParams(RequestParams, kw_only=True):
    """Parameters of `initialize`."""

    protocol_version: str
    capabilities: ClientCapabilities
    client_info: Implementation


class InitializeResult(Result, kw_only=True):
    """The server's half of the handshake."""

    protocol_version: str
    capabilities: ServerCapabilities
    server_info: Implementation
    instructions: str | None = None


class DiscoverResult(CacheableResult, kw_only=True):
    """The answer to `server/discover`; `capabilities` stands even where it is empty."""

    supported_versions: list[str]
    capabilities: ServerCapabilities
    instructions: str | None = None


class CancelledParams(Wire, kw_only=True):
    """Parameters of `notifications/cancelled`."""

    request_id: RequestId | None = None
    reason: str | None = None


class ProgressParams(Wire, kw_only=True):
    """Parameters of `notifications/progress`; `progress` increases with each one."""

    progress_token: ProgressToken
    progress: float
    total: float | None = None
    message: str | None = None
