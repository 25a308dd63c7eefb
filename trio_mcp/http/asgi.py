"""`Exchange`: one HTTP request and its response over ASGI, bounded in size and time.

A client that leaves is a cancellation here, not a message. It refuses to know MCP:
what a status means is the endpoints' concern.
"""

import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import trio

from trio_mcp.auth.tokens import AUTHORIZATION, Authorization
from trio_mcp.protocol.headers import Headers
from trio_mcp.settings import Settings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON_TYPE: Final[Header] = (b"content-type", b"application/json")
TEXT_TYPE: Final[Header] = (b"content-type", b"text/plain; charset=utf-8")
SSE_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


#: The ASGI extension of our own lane: an object with `on_gone(gone)`, `on_end(told)`, `spawn(function, name=)`,
#: `whole_body()` and `respond(…)`, whose writes are bounded already.
CONNECTION_EXTENSION: Final = "trio_mcp.connection"
#: What `ops.proxy` writes among a scope's extensions, for the access log outside of it: the client that a trusted proxy
#: named.
CLIENT_EXTENSION: Final = "trio_mcp.client"


class ClientGoneError(OSError):
    """The client went away, or did not read within `Settings.write_timeout`."""


class BodyTooLargeError(Exception):
    """The request's body is larger than `Settings.max_body`."""


class Exchange:
    """One request and its response.

    Attributes:
        headers: of the request.
        started, finished: how far the response is.
        gone: the client left before it was whole.
        reader_scope: what writes its stream, if it has one, runs under this.
    """

    __slots__ = (
        "_lane",
        "_on_gone",
        "_receive",
        "_send_message",
        "_settings",
        "_spawn",
        "finished",
        "gone",
        "headers",
        "method",
        "path",
        "reader_scope",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = Headers(scope["headers"])
        self.started = False
        self.finished = False
        self.gone = False
        self.reader_scope: trio.CancelScope | None = None
        self._on_gone: Callable[[str], None] | None = None
        self._lane: Any = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
        self._receive = receive
        self._send_message = send
        self._settings = settings
        self._spawn: Callable[..., None] | None = None

    @property
    def principal(self) -> str:
        """Whose request it is; empty where nobody was asked."""
        return self.scope.get("principal") or ""

    @property
    def authorization(self) -> Authorization | None:
        """What the request was let in by; None where no token was asked for."""
        return self.scope.get(AUTHORIZATION)

    @property
    def until(self) -> float:
        """When its token ends, on trio's clock: no stream goes on longer."""
        return math.inf if self.authorization is None else self.authorization.until

    async def _send(self, message: dict[str, Any]) -> None:
        """Send an ASGI message within the write timeout; on our own lane that bound is the lane's."""
        try:
            if self._lane is not None:
                await self._send_message(message)
                return
            with trio.move_on_after(self._settings.write_timeout) as write_scope:
                await self._send_message(message)
        except ClientGoneError:
            raise
        except OSError as error:
            raise ClientGoneError from error
        if write_scope.cancelled_caught:
            raise ClientGoneError

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            BodyTooLargeError: it is, or says that it is, larger than `Settings.max_body`.
            ClientGoneError: the client left before the end.
        """
        limit = self._settings.max_body
        if self._lane is not None:
            whole: bytes | None = self._lane.whole_body()
            if whole is not None:
                if len(whole) > limit:
                    raise BodyTooLargeError
                return whole
        declared = self.headers.text(b"content-length")
        if declared is not None and _is_above(declared, limit):
            raise BodyTooLargeError
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise BodyTooLargeError
            return body
        return await self._read_pieces(message, limit)

    async def _read_pieces(self, message: dict[str, Any], limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while message["type"] == "http.request":
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise BodyTooLargeError
            if not message.get("more_body", False):
                return b"".join(pieces)
            message = await self._receive()
        raise ClientGoneError

    def respond(self, status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> Awaitable[None]:
        """Send a whole response: await what this returns, at once.

        Raises:
            ClientGoneError: it could not be written in time.
        """
        self.started = self.finished = True
        if self._lane is not None:
            whole: Awaitable[None] = self._lane.respond(status, tuple(headers), body)
            return whole
        return self._respond_by_messages(status, body, headers)

    async def _respond_by_messages(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        sent = [*headers]
        if status not in (204, 304):  # RFC 9110 section 8.6: no length where there is no content
            sent.append((b"content-length", str(len(body)).encode("ascii")))
        if self.method == "HEAD":  # RFC 9110 section 9.3.2: the length of what GET would send, and nothing of it
            body = b""
        await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self, headers: Iterable[Header] = (), first: bytes = b"") -> None:
        """Begin a stream of events, with what is there already.

        Raises:
            ClientGoneError: it could not be written in time.
        """
        self.started = True
        start = {"type": "http.response.start", "status": 200, "headers": [*SSE_HEADERS, *headers]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": first, "more_body": True})

    async def write(self, data: bytes) -> None:
        """Write a part of a stream.

        Raises:
            ClientGoneError: it could not be written in time.
        """
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """End a stream with its terminator. Cancellation: the connection is left to the server to close."""
        if not self.finished:
            self.finished = True
            with suppress(ClientGoneError):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    # The client leaving

    async def while_connected(self, gone: Callable[[str], None], work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`; call `gone(reason)` at once if the client leaves before the response is whole.

        Call it once the body is read. A `ClientGoneError` in `work` ends it quietly. On our own lane the connection
        tells; elsewhere a task waits for `http.disconnect`, in a nursery that ends with the exchange.
        """
        self._on_gone = gone
        try:
            if self._lane is None:
                await self._while_watched(work)
                return
            self._spawn = self._lane.spawn
            self._lane.on_gone(self._left)
            try:
                await work()
            except ClientGoneError:
                self._left("the client did not read")
        finally:
            self._on_gone = None  # it holds what holds this: let it all go now, not at some collection

    async def _while_watched(self, work: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as exchange_nursery:
            self._spawn = exchange_nursery.start_soon
            exchange_nursery.start_soon(self._watch, name=f"watch for disconnect of {self.path}")
            try:
                await work()
            except ClientGoneError:
                self._left("the client did not read")
            exchange_nursery.cancel_scope.cancel("the response is complete")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self.finished:
            self._left("the client disconnected")

    def _left(self, reason: str) -> None:
        self.gone = True
        if self._on_gone is not None:
            self._on_gone(reason)

    def spawn(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a task beside the `work` of `while_connected`; that work must await its end."""
        assert self._spawn is not None
        self._spawn(function, name=name)


async def refuse_socket(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    """Refuse a WebSocket's handshake with a status and a reason; a server that cannot say them makes it a 403."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    body = text.encode() + b"\n"
    headers = [TEXT_TYPE, (b"content-length", str(len(body)).encode("ascii")), (b"connection", b"close")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _is_above(digits: str, limit: int) -> bool:
    """Whether a decimal number is above `limit`; text that is none is not, and a giant is never converted."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    digits = digits.lstrip("0")
    return len(digits) > 18 or int(digits or "0") > limit


# Wrappers


def with_headers(
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: tuple[Header, ...],
    *,
    on_status: Callable[[int], None] | None = None,
) -> tuple[Scope, Receive, Send]:
    """What a wrapper hands on so that the response gets further headers, on our own lane as elsewhere.

    Args:
        on_status: told the response's status.
    """

    async def relay(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if on_status is not None:
                on_status(message["status"])
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    extensions = scope.get("extensions", {})
    lane = extensions.get(CONNECTION_EXTENSION)
    if lane is not None:
        relayed = _RelayedLane(lane, headers, on_status)
        scope = {**scope, "extensions": {**extensions, CONNECTION_EXTENSION: relayed}}
    return scope, receive, relay


class _RelayedLane:
    """Our lane with further headers."""

    __slots__ = ("_headers", "_lane", "_on_status", "on_gone", "spawn", "whole_body")

    def __init__(self, lane: Any, headers: tuple[Header, ...], on_status: Callable[[int], None] | None) -> None:
        self._lane = lane
        self._headers = headers
        self._on_status = on_status
        self.on_gone = lane.on_gone
        self.spawn = lane.spawn
        self.whole_body = lane.whole_body

    def respond(self, status: int, headers: tuple[Header, ...], body: bytes) -> Awaitable[None]:
        if self._on_status is not None:
            self._on_status(status)
        responded: Awaitable[None] = self._lane.respond(status, (*headers, *self._headers), body)
        return responded
