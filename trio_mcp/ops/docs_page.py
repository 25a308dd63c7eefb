"""`GET /docs`: the page on which people look at a server and call it, one file without outside resources.

The page says nothing that needs a token: it fetches everything from the MCP endpoint as any client does. It owns how
the page is served: its policy, its tag, and the few facts that are put into it. It refuses to know MCP.
"""

import base64
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

from trio_mcp.http.asgi import Exchange, Header
from trio_mcp.http.message import respond_error
from trio_mcp.ops.introspection import EVENTS_PATH
from trio_mcp.protocol.errors import INVALID_REQUEST
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.host import Host
from trio_mcp.version import __version__

PATH: Final = "/docs"
_SLOT: Final = "__FACTS__"
_TYPE: Final[Header] = (b"content-type", b"text/html; charset=utf-8")
_ALLOW: Final[tuple[Header, ...]] = ((b"allow", b"GET, HEAD"),)


class DocsPage:
    """The page of one host.

    Args:
        path: of the MCP endpoint; None: `Settings.path`.
    """

    def __init__(self, host: Host, *, path: str | None = None) -> None:
        settings, guarded = host.server.settings, host.server.auth is not None
        self._facts = {
            "endpoint": (path or settings.path).rstrip("/") or "/",
            "page": PATH,
            "introspection": EVENTS_PATH if settings.introspection else None,
            "revision": next(version for version, revision in REVISIONS.items() if revision.per_request),
            "name": "MCP server" if guarded else host.server.info.title or host.server.name,
            "version": "" if guarded else host.server.info.version,
            "trio_mcp": __version__,
        }
        self._made: tuple[bytes, tuple[Header, ...]] | None = None

    async def respond(self, exchange: Exchange) -> None:
        """Serve the page, or 304 to who has it already."""
        if exchange.method not in ("GET", "HEAD"):
            await respond_error(exchange, 405, INVALID_REQUEST, "Method Not Allowed", headers=_ALLOW)
            return
        if self._made is None:
            self._made = _made(self._facts)
        body, headers = self._made
        known = exchange.headers.get(b"if-none-match", b"")
        if dict(headers)[b"etag"] in {tag.strip().removeprefix(b"W/") for tag in known.split(b",")} or known == b"*":
            await exchange.respond(304, b"", headers)
        else:
            await exchange.respond(200, body, (_TYPE, *headers))


def _made(facts: dict[str, Any]) -> tuple[bytes, tuple[Header, ...]]:
    """The page with its facts in it, and its headers but the type."""
    # In a data block a "<" could end it, whatever the server's name is.
    inside = json.dumps(facts).replace("<", "\\u003c")
    body = _template().replace(_SLOT, inside).encode()
    tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
    return body, (
        (b"etag", tag),
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", policy().encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
    )


@cache
def _template() -> str:
    return files("trio_mcp.ops").joinpath("docs.html").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The page's Content-Security-Policy: its own script and style by their hashes, its own origin, nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {inline_hash(_template(), 'script')}",
            f"style-src {inline_hash(_template(), 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "media-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def inline_hash(page: str, element: str) -> str:
    """The hash of a page's one inline script or style, as CSP 3 writes it."""
    [content] = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
