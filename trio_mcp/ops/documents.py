"""`Document`: a JSON document about a server, made once for each state of its lists, with ETag (RFC 9110 section 13).

Here are also those that list tools, resources and prompts, in the protocol's own words, whole and not in pages. It
refuses to decide who may read them.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from trio_mcp.http.asgi import JSON_TYPE, Exchange, Header
from trio_mcp.http.custom_route import respond_not_allowed
from trio_mcp.server import Server

READING: Final = ("GET", "HEAD")


class Document:
    """Answers GET and HEAD with what `make` gives; `make` is called again when the server's lists have changed."""

    def __init__(self, server: Server, make: Callable[[], Any]) -> None:
        self._server = server
        self._make = make
        self._made: tuple[int, bytes, bytes] | None = None

    async def __call__(self, exchange: Exchange) -> None:
        """Answer, with 304 where the client has it already."""
        if exchange.method not in READING:
            await respond_not_allowed(exchange, list(READING))
            return
        body, tag = self._current()
        headers: tuple[Header, ...] = ((b"etag", tag), (b"cache-control", b"no-cache"))
        if _has(exchange.headers.get(b"if-none-match", b""), tag):
            await exchange.respond(304, b"", headers)
        else:
            await exchange.respond(200, body, (JSON_TYPE, *headers))

    def _current(self) -> tuple[bytes, bytes]:
        changes = self._server.changes
        if self._made is None or self._made[0] != changes:
            body = msgspec.json.encode(self._make())
            self._made = changes, body, b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode("ascii")
        return self._made[1:]


def _has(if_none_match: bytes, tag: bytes) -> bool:
    """RFC 9110 section 13.1.2: any of a list, compared weakly."""
    given = [item.strip().removeprefix(b"W/") for item in if_none_match.split(b",")]
    return tag in given or given == [b"*"]


def listings(server: Server) -> dict[str, Document]:
    """`/tools`, `/resources` with the templates, and `/prompts`, by path."""

    def tools() -> Any:
        return {"tools": [tool.definition for tool in server.tools.values()]}

    def resources() -> Any:
        return {
            "resources": [resource.definition for resource in server.resources.values()],
            "resourceTemplates": [template.definition for template in server.templates.values()],
        }

    def prompts() -> Any:
        return {"prompts": [prompt.definition for prompt in server.prompts.values()]}

    makers = {"/tools": tools, "/resources": resources, "/prompts": prompts}
    return {path: Document(server, make) for path, make in makers.items()}
