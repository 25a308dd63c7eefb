"""Every number that a deployment may want to turn, with its unit. Durations are seconds on trio's clock."""

import math
from collections.abc import Sequence

import attrs

from trio_mcp.urls import is_safe_url, split_url

_positive = attrs.validators.gt(0)
_at_least_one = attrs.validators.ge(1)


def _strings(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen(kw_only=True)
class Settings:
    """Limits and durations of one server. Each is applied in one place, named here.

    Raises:
        ValueError: a duration or a limit that is not positive.
    """

    #: Bound on one tool call unless the tool has its own; None: no bound. Applied in `tools`.
    tool_timeout: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    #: A session without a stream, a call or a message for this long ends. Applied in `runtime.session`.
    session_idle: float = attrs.field(default=1800, validator=_positive)
    #: Silence after which a comment is sent on an open stream. Applied in `http.stream_response`.
    keepalive: float = attrs.field(default=15, validator=_positive)
    #: How long a reply stays uncommitted between JSON and a stream. Applied in `http.stream_response`.
    commit_after: float = attrs.field(default=15, validator=_positive)
    #: How long we await an answer of the client (elicitation, sampling, roots). Applied in `runtime.session`.
    request_timeout: float = attrs.field(default=300, validator=_positive)
    #: Calls in flight may go on this long once shutdown begins. Applied in `runtime.host`.
    shutdown_grace: float = attrs.field(default=5, validator=attrs.validators.ge(0))
    #: Calls in flight may go on this long once the input of a pipe ends. Applied in `runtime.pipe`.
    eof_grace: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    #: Cancelled work may clean up this long before we stop waiting for it. Applied in `runtime.host`.
    cleanup_timeout: float = attrs.field(default=5, validator=_positive)
    #: Bound on one write to a client; past it the client counts as gone. Applied in `http.asgi`.
    write_timeout: float = attrs.field(default=30, validator=_positive)
    #: How long a sealed `requestState` may come back. Applied in `runtime.per_request`.
    state_ttl: float = attrs.field(default=3600, validator=_positive)
    #: Sessions alive at a time; a further `initialize` is refused with 503. Applied in `runtime.host`.
    max_sessions: int = attrs.field(default=10_000, validator=_at_least_one)
    #: Calls in flight in one session, or on one pipe. Applied in `runtime.session` and `runtime.pipe`.
    max_requests_per_session: int = attrs.field(default=1000, validator=_at_least_one)
    #: Bytes of one message. Applied in `http.asgi` and `runtime.pipe`.
    max_body: int = attrs.field(default=4 * 1024 * 1024, validator=_at_least_one)
    #: Levels of nesting of one message. Applied in `wire.jsonrpc`.
    max_depth: int = attrs.field(default=64, validator=_at_least_one)
    #: Messages of one batch (2025-03-26). Applied in `http.session_endpoint` and `runtime.pipe`.
    max_batch: int = attrs.field(default=100, validator=_at_least_one)
    #: Plain functions running in threads at a time. Applied in `tools`.
    threads: int = attrs.field(default=40, validator=_at_least_one)
    #: Frames that may wait on one stream before its sender waits. Applied in `runtime.outlet`.
    stream_buffer: int = attrs.field(default=256, validator=_at_least_one)
    #: Events kept for resumption in one session, oldest dropped first. Applied in `runtime.replay`.
    replay_events: int = attrs.field(default=1024, validator=_at_least_one)
    #: Bytes kept for resumption in one session, oldest dropped first. Applied in `runtime.replay`.
    replay_bytes: int = attrs.field(default=1024 * 1024, validator=_at_least_one)
    #: What a polling client waits before it comes back. Applied in `http.stream_response`.
    retry: float = attrs.field(default=1, validator=attrs.validators.ge(0))
    #: Caching hint of lists, resources and discovery (2026-07-28), sent as `ttlMs`. Applied in `runtime.dispatch`.
    cache_ttl: float = attrs.field(default=0, validator=attrs.validators.ge(0))
    #: Connections at a time; one more is answered 503 and closed. Applied in `http.worker`.
    max_connections: int = attrs.field(default=10_000, validator=_at_least_one)
    #: Silence after which a connection between two requests is closed. Applied in `http.connection`.
    idle_timeout: float = attrs.field(default=75, validator=_positive)
    #: The head of a request must be whole this long after its first byte, else 408. Applied in `http.connection`.
    head_timeout: float = attrs.field(default=15, validator=_positive)
    #: The body of a request must be whole this long after it is asked for, else 408. Applied in `http.connection`.
    body_timeout: float = attrs.field(default=60, validator=_positive)
    #: Bytes of a request's head, else 431. Applied in `http.parser`.
    max_head: int = attrs.field(default=32 * 1024, validator=_at_least_one)
    #: Header lines of a request, else 431. Applied in `http.parser`.
    max_headers: int = attrs.field(default=100, validator=_at_least_one)
    #: Whether clients may speak HTTP/2 without TLS (with TLS they may). Applied in `http.connection`.
    http2_cleartext: bool = False
    #: Whether each request is logged, by `trio_mcp.access`. Applied in `ops.access_log`.
    access_log: bool = False
    #: Replies: None chooses per reply, True is always JSON, False always a stream. Applied in `http.stream_response`.
    json_response: bool | None = None
    #: The MCP endpoint's path. Applied in `http.app`.
    path: str = attrs.field(default="/mcp")
    #: Host names served, with or without port, `*.` in front for all below; None: loopback names when bound to
    #: loopback, else any. Applied in `ops.origin`.
    allowed_hosts: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    #: Origins served, such as `https://app.example`, `*` for any; None: those of the allowed hosts. Applied in
    #: `ops.origin`.
    allowed_origins: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)
    #: Secret for `requestState`, the same in all workers; None: a new one in every process. Applied in `runtime.host`.
    state_secret: bytes | None = attrs.field(default=None, repr=False)

    # Authorization
    #: What clients call the MCP endpoint, such as `https://mcp.example.org/mcp`; None: what each request calls it.
    #: Applied in `auth.resource`.
    resource_url: str | None = attrs.field(default=None)
    #: Where clients get tokens, told in the metadata (RFC 9728); None: what the verifier says. Applied in
    #: `auth.resource`.
    authorization_servers: tuple[str, ...] | None = attrs.field(default=None, converter=_strings)

    @resource_url.validator
    def _check_resource_url(self, attribute: object, value: str | None) -> None:
        if value is not None and (split_url(value) is None or "?" in value):
            raise ValueError(f"resource_url must be an http(s) URL without query and fragment, not {value!r}")

    @authorization_servers.validator
    def _check_authorization_servers(self, attribute: object, value: tuple[str, ...] | None) -> None:
        for url in value or ():
            if not is_safe_url(url):
                raise ValueError(f"authorization_servers must be https:// URLs (http:// only on loopback), not {url!r}")

    @path.validator
    def _check_path(self, attribute: object, value: str) -> None:
        if not value.startswith("/"):
            raise ValueError(f"path must begin with a slash, not {value!r}")

    def tool_deadline(self, timeout: float | None) -> float:
        """The bound of one call in seconds: the tool's own, else the server's, else infinite."""
        chosen = self.tool_timeout if timeout is None else timeout
        return math.inf if chosen is None else chosen
