"""Every number that a deployment may want to turn, with its unit. Durations are seconds on trio's clock."""

import ipaddress
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

import attrs

from trio_mcp.urls import is_safe_url, split_url

#: What one port can serve: Streamable HTTP, HTTP+SSE of the first revision, the notifications dialect, direct replies,
#: WebSocket.
TRANSPORTS: Final = ("http", "sse", "notifications", "message", "websocket")
#: How silences of `GET /sse` are broken: by a comment, or by an event that a page can listen to.
Heartbeat = Literal["comment", "event"]
HEARTBEATS: Final[tuple[str, ...]] = get_args(Heartbeat)

_positive = attrs.validators.gt(0)
_at_least_one = attrs.validators.ge(1)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, the known ones in the order of `TRANSPORTS`."""
    if isinstance(names, str):
        raise ValueError(f"transports is a list of names: transports=[{names!r}]")
    given = dict.fromkeys(names)
    return (*(name for name in TRANSPORTS if name in given), *(name for name in given if name not in TRANSPORTS))


def _strings(value: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _networks(value: Sequence[str]) -> tuple[str, ...]:
    for text in value:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network: write 10.0.0.0/8 or 127.0.0.1") from None
    return tuple(value)


_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_RATE: Final = re.compile(r"\s*([0-9]{1,9})\s*/\s*(?:([0-9]{1,9})\s*)?([a-z]+)\s*")


def parse_rate(text: str) -> tuple[int, float]:
    """A number of requests, and the seconds they may come in: `10/minute`, `100/hour`, `5/10s`.

    Raises:
        ValueError: it is none, and how one is written.
    """
    parts = _RATE.fullmatch(text.lower())
    if parts is not None:
        word = parts[3].removesuffix("s") or "s"
        for unit, seconds in _UNITS.items():
            if word in (unit, unit[0], unit[:3]) and int(parts[1]) and int(parts[2] or 1):
                return int(parts[1]), seconds * int(parts[2] or 1)
    raise ValueError(f"{text!r} is no rate: write 10/minute, 100/hour or 5/10s")


@attrs.frozen(kw_only=True)
class Settings:
    """Limits and durations of one server. Each is applied in one place, named here.

    Raises:
        ValueError: a duration or a limit that is not positive, a transport that there is not.
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
    #: What a client that polls, or lost its stream, waits before it comes back. Applied in `http.stream_response` and
    #: `http.notifications`.
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
    # Operational routes and metrics
    #: Whether /health, /ready, /metrics, /tools, /resources, /prompts and /openapi.json are there. Applied in `serve`.
    operational_routes: bool = True
    #: Whether calls and requests are counted and /metrics shows it (extra `metrics`). Applied in `serve`.
    metrics: bool = True
    # WebSocket
    #: A WebSocket's client is asked for a sign of life so often, and cut off if none came by the next time. Applied in
    #: `http.websocket`.
    websocket_ping: float = attrs.field(default=20, validator=_positive)
    #: Secret for `requestState`, the same in all workers; None: a new one in every process. Applied in `runtime.host`.
    state_secret: bytes | None = attrs.field(default=None, repr=False)

    # Edge: proxies, HTTPS, load

    #: Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. Applied in `ops.proxy`.
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), converter=_networks)
    #: Whether what comes over plain HTTP is sent to HTTPS. Applied in `ops.https`.
    https_redirect: bool = False
    #: How long browsers must keep to HTTPS, sent over HTTPS only; None: not sent. Applied in `ops.https`.
    hsts: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    #: Requests of one client (its principal, else its address), such as `10/minute`; None: no limit. Applied in
    #: `ops.rate_limit`.
    rate_limit: str | None = attrs.field(default=None)
    #: Calls in flight over HTTP; one more is answered 503 at once. Applied in `http.app`.
    max_calls: int = attrs.field(default=10_000, validator=_at_least_one)

    @rate_limit.validator
    def _check_rate(self, attribute: object, value: str | None) -> None:
        if value is not None:
            parse_rate(value)

    # Several processes

    #: Whether sessions are kept for HTTP, which live in one process; False: only revisions that need none are served,
    #: as with `--workers` above 1. Applied in `http.app` and `runtime.host`.
    sessions: bool = True

    # Transports and dialects

    #: What is served, by name, of `TRANSPORTS`; a path that is not answers 404. Applied in `serve.http_app`.
    transports: tuple[str, ...] = attrs.field(default=TRANSPORTS, converter=_in_order)
    #: Silence after which a comment or an event is sent on a stream of `GET /sse` or `GET /notifications`. Applied in
    #: `http.http_sse` and `http.notifications`.
    sse_keepalive: float = attrs.field(default=30, validator=_positive)
    #: What breaks the silence of `GET /sse`: "comment", or "event" (`heartbeat`). Applied in `http.http_sse`.
    sse_heartbeat: Heartbeat = attrs.field(default="comment")

    @transports.validator
    def _check_transports(self, attribute: object, value: tuple[str, ...]) -> None:
        unknown = [name for name in value if name not in TRANSPORTS]
        if unknown:
            raise ValueError(f"no such transport: {', '.join(map(repr, unknown))}; there are {', '.join(TRANSPORTS)}")
        if not value:
            raise ValueError(f"transports is empty, so nothing would be served; there are {', '.join(TRANSPORTS)}")

    @sse_heartbeat.validator
    def _check_heartbeat(self, attribute: object, value: str) -> None:
        if value not in HEARTBEATS:
            raise ValueError(f"sse_heartbeat must be one of {', '.join(HEARTBEATS)}, not {value!r}")

    # Logs and hot reload

    #: Whether each finished call is logged, by `trio_mcp.calls`. Applied in `ops.call_log`.
    call_log: bool = False
    #: Calls in flight may go on this long once a file has changed, with `serve --reload`. Applied in `cli.reload`.
    reload_grace: float = attrs.field(default=1, validator=attrs.validators.ge(0))
    #: Silence of the files after which a change counts as whole, with `serve --reload`. Applied in `cli.reload`.
    reload_quiet: float = attrs.field(default=0.2, validator=attrs.validators.ge(0))

    # What people look at in a browser
    #: Whether `/docs` is served, the page to look at a server and call it. Applied in `serve`.
    docs_page: bool = True
    #: Whether `/introspection` shows live sessions and calls to who may see them. Applied in `serve`.
    introspection: bool = True
    #: Seconds between two looks of those who watch live sessions. Applied in `ops.introspection`.
    introspection_interval: float = attrs.field(default=0.25, validator=attrs.validators.gt(0))

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
