"""The ASGI application: the endpoint, the one fork between the eras, and the paths beside it.

Refuses to know how it is served, and which paths there are: `trio_mcp.serve` chooses.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from trio_mcp.http import per_request_endpoint, session_endpoint
from trio_mcp.http.asgi import (
    TEXT_TYPE,
    App,
    BodyTooLargeError,
    ClientGoneError,
    Exchange,
    Header,
    Receive,
    Scope,
    Send,
    refuse_socket,
)
from trio_mcp.http.message import respond_error
from trio_mcp.protocol.errors import INVALID_REQUEST, UNAVAILABLE
from trio_mcp.protocol.headers import PROTOCOL_VERSION, SESSION_ID, is_json
from trio_mcp.protocol.inbound import era_of, names_per_request
from trio_mcp.protocol.revisions import Era
from trio_mcp.runtime.host import Host
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Request, WireError, decode, decode_batch, is_batch

Endpoint = Callable[[Exchange], Awaitable[None]]
"""What answers one path: whatever its method, and only while the host runs."""

_log = logging.getLogger("trio_mcp.http")

_ALLOW = ((b"allow", b"GET, POST, DELETE"),)
_ALLOW_PER_REQUEST = ((b"allow", b"POST"),)  # that era's endpoint has no other method


class McpApp:
    """One host's MCP endpoint as an ASGI application, without lifespan: whoever serves it runs the host.

    Args:
        path: of the endpoint; None: `Settings.path`.
        endpoints: what answers other paths, by path.
        sockets: what takes WebSockets, by path.
    """

    def __init__(
        self,
        host: Host,
        *,
        path: str | None = None,
        endpoints: Mapping[str, Endpoint] | None = None,
        sockets: Mapping[str, App] | None = None,
    ) -> None:
        self.host = host
        self.path = (path or host.server.settings.path).rstrip("/") or "/"
        self.endpoints = dict(endpoints or {})
        self.sockets = dict(sockets or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request or one WebSocket."""
        if scope["type"] == "websocket":
            await self.sockets.get(_path(scope), _refuse_socket)(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.host.server.settings)
        try:
            try:
                await self._serve(exchange)
            except BodyTooLargeError:
                limit = self.host.server.settings.max_body
                text = f"Content Too Large: a message may have {limit} bytes (Settings.max_body)"
                await respond_error(exchange, 413, INVALID_REQUEST, text, headers=((b"connection", b"close"),))
        except ClientGoneError:
            _log.debug("%s %s: the client is gone", exchange.method, exchange.path)

    async def _serve(self, exchange: Exchange) -> None:
        path = _path(exchange.scope)
        if path != self.path and path not in self.endpoints:
            text = f"Not Found. The MCP endpoint is {self.path}\n"
            await exchange.respond(404, text.encode(), (TEXT_TYPE,))
        elif not self.host.running:
            await respond_error(exchange, 503, UNAVAILABLE, "The server is not running: run its lifespan")
        elif path != self.path:
            await self.endpoints[path](exchange)
        elif exchange.method == "POST":
            await self._post(exchange)
        elif exchange.method in ("GET", "DELETE"):
            version = exchange.headers.text(PROTOCOL_VERSION)
            if names_per_request(version) and SESSION_ID not in exchange.headers:
                await self._not_allowed(exchange, _ALLOW_PER_REQUEST)
            elif exchange.method == "GET" and self.host.draining:
                await self._going_away(exchange)
            elif exchange.method == "GET":
                await session_endpoint.get(self.host, exchange)
            else:
                await session_endpoint.delete(self.host, exchange)
        else:
            await self._not_allowed(exchange)

    async def _not_allowed(self, exchange: Exchange, allow: tuple[Header, ...] = _ALLOW) -> None:
        await respond_error(exchange, 405, INVALID_REQUEST, "Method Not Allowed", headers=allow)

    async def _going_away(self, exchange: Exchange, id: RequestId | None = None) -> None:
        await respond_error(exchange, 503, UNAVAILABLE, "The server is shutting down", id=id)

    async def _post(self, exchange: Exchange) -> None:
        headers, settings = exchange.headers, self.host.server.settings
        if not is_json(headers.get(b"content-type")):
            text = "Unsupported Media Type: send Content-Type: application/json"
            await respond_error(exchange, 415, INVALID_REQUEST, text)
            return
        body = await exchange.read_body()
        session_id, version = headers.text(SESSION_ID), headers.text(PROTOCOL_VERSION)
        try:
            if is_batch(body):
                messages = decode_batch(body, max_depth=settings.max_depth)
                if session_id is None or names_per_request(version):
                    raise WireError(INVALID_REQUEST, "Invalid Request: batches are not part of this protocol version")
                if self.host.draining and any(isinstance(message, Request) for message in messages):
                    await self._going_away(exchange)
                    return
                await session_endpoint.post_batch(self.host, exchange, messages)
                return
            message = decode(body, max_depth=settings.max_depth)
        except WireError as error:
            await respond_error(exchange, 400, error.code, error.message, id=error.id)
            return
        if self.host.draining and isinstance(message, Request):  # answers that running calls wait for still come in
            await self._going_away(exchange, message.id)
            return
        if era_of(message, session_id=session_id, version_header=version) is Era.PER_REQUEST:
            await per_request_endpoint.post(self.host, exchange, message)
        else:
            await session_endpoint.post(self.host, exchange, message)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).rstrip("/") or "/"


async def _refuse_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse_socket(scope, receive, send, 404, "Not Found: no WebSocket is served here")
