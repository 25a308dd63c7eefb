"""The ASGI application: the endpoint, the one fork between the eras, and the paths beside it.

Refuses to know how it is served, and which paths there are: `trio_mcp.serve` chooses.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from trio_mcp.exceptions import RegistrationError
from trio_mcp.http import custom_route, per_request_endpoint, session_endpoint
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
from trio_mcp.protocol.per_request import without_sessions
from trio_mcp.protocol.revisions import Era
from trio_mcp.protocol.session import batch_fault
from trio_mcp.runtime.host import Host
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Message, Request, WireError, decode, decode_batch, is_batch

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
        divert: whether a POST to the endpoint is another dialect's, and what answers it then.
        streamable: whether there is the endpoint; else its path may be one of `endpoints`, or nothing.
        named: paths that others answer in front of this, for the text of a 404.

    Raises:
        RegistrationError: a custom route has one of these paths.
    """

    def __init__(
        self,
        host: Host,
        *,
        path: str | None = None,
        endpoints: Mapping[str, Endpoint] | None = None,
        sockets: Mapping[str, App] | None = None,
        divert: tuple[Callable[[Exchange], bool], Endpoint] | None = None,
        streamable: bool = True,
        named: Iterable[str] = (),
    ) -> None:
        self.host = host
        self.path = ((path or host.server.settings.path).rstrip("/") or "/") if streamable else ""
        self.endpoints = dict(endpoints or {})
        self.sockets = dict(sockets or {})
        self._divert = divert
        self.named = tuple(named)
        for route in host.server.routes:
            if route.path in (self.path, *self.endpoints, *self.named):
                raise RegistrationError(f"the custom route {route.path!r} is served by the server itself")

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

    def _serve(self, exchange: Exchange) -> Awaitable[None]:
        """What answers; no coroutine of its own, because every request comes through here."""
        path = exchange.path
        if path != self.path:
            path = _path(exchange.scope)
        is_ours = path == self.path or path in self.endpoints
        custom = None if is_ours else self.host.server.routes.find(path)
        if not is_ours and custom is None:
            return self._not_found(exchange)
        if not self.host.running:
            return respond_error(exchange, 503, UNAVAILABLE, "The server is not running: run its lifespan")
        if custom is not None:
            return custom_route.respond(self.host, exchange, path, *custom)
        if path != self.path:
            return self.endpoints[path](exchange)
        if exchange.method != "POST":
            return self._other(exchange)
        if self._divert is not None and self._divert[0](exchange):
            return self._divert[1](exchange)
        return self._post(exchange)

    async def _other(self, exchange: Exchange) -> None:
        if exchange.method in ("GET", "DELETE"):
            version = exchange.headers.text(PROTOCOL_VERSION)
            if not self.host.server.settings.sessions or (
                names_per_request(version) and SESSION_ID not in exchange.headers
            ):
                await self._not_allowed(exchange, _ALLOW_PER_REQUEST)
            elif exchange.method == "GET" and self.host.draining:
                await self._going_away(exchange)
            elif exchange.method == "GET":
                await session_endpoint.get(self.host, exchange)
            else:
                await session_endpoint.delete(self.host, exchange)
        else:
            await self._not_allowed(exchange, _ALLOW if self.host.server.settings.sessions else _ALLOW_PER_REQUEST)

    async def _not_found(self, exchange: Exchange) -> None:
        root = exchange.scope.get("root_path", "")
        paths = dict.fromkeys(path for path in (self.path, *self.endpoints, *self.sockets, *self.named) if path)
        text = f"Not Found. This server has {', '.join(root + path for path in paths)}\n"
        await exchange.respond(404, text.encode(), (TEXT_TYPE,))

    async def _not_allowed(self, exchange: Exchange, allow: tuple[Header, ...]) -> None:
        await respond_error(exchange, 405, INVALID_REQUEST, "Method Not Allowed", headers=allow)

    async def _going_away(self, exchange: Exchange, id: RequestId | None = None) -> None:
        await respond_error(exchange, 503, UNAVAILABLE, "The server is shutting down", id=id)

    async def _without_sessions(self, exchange: Exchange, message: Message) -> None:
        error = without_sessions(message, exchange.headers.text(PROTOCOL_VERSION))
        id = message.id if isinstance(message, Request) else None
        await respond_error(exchange, 400, error.code, error.message, id=id, data=error.data)

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
                if session_id is None or names_per_request(version) or not settings.sessions:
                    raise WireError(INVALID_REQUEST, str(batch_fault(None, len(messages), 0)))
                if self.host.draining and any(isinstance(message, Request) for message in messages):
                    await self._going_away(exchange)
                    return
                await session_endpoint.post_batch(self.host, exchange, messages)
                return
            message = decode(body, max_depth=settings.max_depth)
        except WireError as error:
            await respond_error(exchange, 400, error.code, error.message, id=error.id)
            return
        if isinstance(message, Request):  # answers that running calls wait for come in whatever there is
            if self.host.draining:
                await self._going_away(exchange, message.id)
                return
            if len(self.host.calls) >= settings.max_calls:
                text = f"The server is busy: {settings.max_calls} calls are in flight (Settings.max_calls)"
                await respond_error(exchange, 503, UNAVAILABLE, text, id=message.id)
                return
        if era_of(message, session_id=session_id, version_header=version) is Era.PER_REQUEST:
            await per_request_endpoint.post(self.host, exchange, message)
        elif not settings.sessions:
            await self._without_sessions(exchange, message)
        else:
            await session_endpoint.post(self.host, exchange, message)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).rstrip("/") or "/"


async def _refuse_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse_socket(scope, receive, send, 404, "Not Found: no WebSocket is served here")
