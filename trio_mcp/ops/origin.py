"""Host and Origin: what stands between a local server and DNS rebinding (streamable-http: Security & Endpoint).

Bound to loopback, only loopback names are served unless `Settings.allowed_hosts` says otherwise. A browser's
Origin must be of an allowed host, or listed in `Settings.allowed_origins`. Requests without an Origin are no browser's.
"""

import ipaddress
import re
from collections.abc import Awaitable
from typing import Final
from urllib.parse import urlsplit

from trio_mcp.http.asgi import App, Exchange, Receive, Scope, Send, refuse_socket
from trio_mcp.http.message import respond_error
from trio_mcp.protocol.errors import INVALID_REQUEST
from trio_mcp.runtime.host import Host

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]\\]+)(?::[0-9]*)?")  # RFC 9110 section 7.2, without userinfo


def is_loopback(address: str) -> bool:
    """Whether an address or name means this machine only; an empty one and 0.0.0.0 do not."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


class OriginGuard:
    """Refuses requests for other hosts (421) and from other origins (403).

    Args:
        loopback: whether the server is bound to loopback; None asks the connection's own address.
        browsers: what serves requests that carry an Origin, once it was found to be allowed; None: `app`.
    """

    def __init__(self, app: App, host: Host, *, loopback: bool | None = None, browsers: App | None = None) -> None:
        settings = host.server.settings
        self._app = app
        self._browsers = app if browsers is None else browsers
        self._host = host
        self._loopback = loopback
        self._hosts = settings.allowed_hosts
        self._origins = settings.allowed_origins
        self._known: set[tuple[bytes, bytes, bool]] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI; what is known to be right goes on without a coroutine in between."""
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        host = origin = b""
        hosts = 0
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
                hosts += 1
            elif name == b"origin":
                origin = value
        loopback = self._on_loopback(scope) if self._loopback is None else self._loopback
        app = self._browsers if origin else self._app
        if hosts < 2 and (host, origin, loopback) in self._known:
            return app(scope, receive, send)
        if hosts > 1:  # RFC 9112 section 3.2
            refusal: tuple[int, str] | None = (400, "Bad Request: Host is sent more than once")
        else:
            refusal = self._refusal(host.decode("latin-1").strip(), origin.decode("latin-1").strip(), loopback)
        if refusal is not None:
            return self._refuse(refusal, scope, receive, send)
        if len(self._known) < 1000:
            self._known.add((host, origin, loopback))
        return app(scope, receive, send)

    async def _refuse(self, refusal: tuple[int, str], scope: Scope, receive: Receive, send: Send) -> None:
        status, message = refusal
        if scope["type"] == "websocket":
            await refuse_socket(scope, receive, send, status, message)
            return
        exchange = Exchange(scope, receive, send, self._host.server.settings)
        await respond_error(exchange, status, INVALID_REQUEST, message)

    @staticmethod
    def _on_loopback(scope: Scope) -> bool:
        """Whether this connection came over loopback."""
        server = scope.get("server")
        return server is not None and is_loopback(server[0] or "")

    def _refusal(self, host: str, origin: str, loopback: bool) -> tuple[int, str] | None:
        allowed = self._allowed_hosts(loopback)
        if allowed is not None and not _host_matches(host, allowed):
            return 421, (
                f"Misdirected Request: this server does not answer for Host {host!r}."
                f" To widen: --allowed-host NAME or Settings(allowed_hosts=[…])"
            )
        if origin and not self._origin_matches(origin, host, allowed):
            return 403, (
                f"Forbidden: Origin {origin!r} is not allowed."
                f" To widen: --allowed-origin {origin} or Settings(allowed_origins=[…])"
            )
        return None

    def _allowed_hosts(self, loopback: bool) -> tuple[str, ...] | None:
        """The host names served, or None for any."""
        if self._hosts is not None:
            return None if "*" in self._hosts else self._hosts
        return LOOPBACK_NAMES if loopback else None

    def _origin_matches(self, origin: str, host: str, allowed: tuple[str, ...] | None) -> bool:
        if self._origins is not None and ("*" in self._origins or origin in self._origins):
            return True
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            return False
        if not netloc:  # "null": a sandboxed page or a file
            return False
        return _host_matches(netloc, allowed) if allowed is not None else netloc.lower() == host.lower()


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case and without its port; None where it is malformed."""
    parts = _HOST.fullmatch(host.lower())
    return None if parts is None else parts[1]


def _host_matches(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether `host`, with or without its port, is one of the allowed."""
    host = host.lower()
    name = host_name(host)
    if name is None:
        return False
    for pattern in allowed:
        pattern = pattern.lower()
        if pattern in (host, name) or (pattern.startswith("*.") and name.endswith(pattern[1:])):
            return True
    return False
