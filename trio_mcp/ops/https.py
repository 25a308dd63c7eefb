"""HTTPS only: what comes over plain HTTP is sent to HTTPS (308), and browsers are told to stay there (RFC 6797).

It refuses to serve TLS: the worker does, or a proxy that `proxy` trusts to say so.
"""

from collections.abc import Awaitable
from typing import Final

from trio_mcp.http.asgi import TEXT_TYPE, App, Exchange, Header, Receive, Scope, Send, refuse_socket, with_headers
from trio_mcp.settings import Settings

HTTPS_PORT: Final = 443


class HttpsOnly:
    """Redirects plain requests, which a proxy tells of, and adds Strict-Transport-Security to answers over HTTPS."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._redirect = RedirectToHttps(settings)
        hsts = settings.hsts
        self._hsts: tuple[Header, ...] = (
            () if hsts is None else ((b"strict-transport-security", b"max-age=%d" % round(hsts)),)
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        if scope["type"] == "http" and scope["scheme"] == "https":
            if not self._hsts:
                return self._app(scope, receive, send)
            return self._app(*with_headers(scope, receive, send, self._hsts))
        if scope["scheme"] in ("http", "ws") and self._settings.https_redirect:
            return self._redirect(scope, receive, send)
        return self._app(scope, receive, send)


class RedirectToHttps:
    """Sends every request to HTTPS, with its method and body (308, RFC 9110 section 15.4.9).

    Args:
        port: where HTTPS is served; None: the usual one, as a proxy in front serves it.
    """

    def __init__(self, settings: Settings, *, port: int | None = None) -> None:
        self._settings = settings
        self._port = port

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI. A WebSocket is refused: its clients follow no redirect."""
        if scope["type"] == "websocket":
            return refuse_socket(scope, receive, send, 403, "This server speaks wss:// only")
        exchange = Exchange(scope, receive, send, self._settings)
        host = (exchange.headers.text(b"host") or "").strip()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if not name:
            return exchange.respond(400, b"Bad Request: no Host, so no place to send you to\n", (TEXT_TYPE,))
        where = name if self._port in (None, HTTPS_PORT) else f"{name}:{self._port}"
        query = scope["query_string"]
        target = scope["raw_path"].decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        location = f"https://{where}{target}"
        text = f"This server speaks HTTPS: {location}\n"
        return exchange.respond(308, text.encode(), (TEXT_TYPE, (b"location", location.encode("latin-1"))))
