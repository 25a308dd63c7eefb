"""CORS: lets pages of the allowed origins read our answers (WHATWG Fetch, section 3.3).

Who is allowed is `origin`'s decision: what comes here carries an Origin that passed it. No credentials are allowed,
because no cookie means anything here: a token travels in the Authorization header, which the page sets itself.
"""

import re
from collections.abc import Awaitable
from typing import Final

from trio_mcp.http.asgi import App, Exchange, Header, Receive, Scope, Send, with_headers
from trio_mcp.settings import Settings

#: How long a browser may remember the answer to a preflight, in seconds; browsers cap it at two hours.
PREFLIGHT_AGE: Final = 7200
METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
#: What a page may read beside the body; without it a script cannot even learn the id of its session.
EXPOSED: Final = (
    "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, ETag, Allow"
)
_EXPOSED: Final[Header] = (b"access-control-expose-headers", EXPOSED.encode())
_VARY: Final[Header] = (b"vary", b"Origin")
_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]{1,4096}")


class Cors:
    """Answers preflights, and adds to every answer what lets the page of an allowed origin read it."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI, for requests with an Origin that is allowed."""
        if scope["type"] != "http":  # the same-origin policy does not hold for WebSockets
            return self._app(scope, receive, send)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin: Header = (b"access-control-allow-origin", headers[b"origin"])
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            exchange = Exchange(scope, receive, send, self._settings)
            return exchange.respond(204, b"", _preflight(origin, headers))
        return self._app(*with_headers(scope, receive, send, (origin, _EXPOSED, _VARY)))


def _preflight(origin: Header, headers: dict[bytes, bytes]) -> list[Header]:
    """The answer to a preflight: an allowed origin may send what headers it likes, as any other client may."""
    answer = [
        origin,
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-max-age", b"%d" % PREFLIGHT_AGE),
        (b"vary", b"Origin, Access-Control-Request-Headers"),
    ]
    wanted = headers.get(b"access-control-request-headers", b"")
    if _NAMES.fullmatch(wanted):
        answer.append((b"access-control-allow-headers", wanted))
    return answer
