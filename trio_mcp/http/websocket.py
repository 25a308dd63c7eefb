"""WebSocket: one connection is one pipe of messages, a message a text frame, both eras on it (subprotocol `mcp`).

Theory of operation. The session, if there is one, is the connection's: when the client closes or vanishes, calls are
cancelled and awaited. When the host drains, new requests are refused, calls keep their grace, and then the connection
closes with 1001. Every close has a code and a reason (RFC 6455 section 7.4). A client that gives no sign of life is
found out by pings, which need our own lane; one that does not read, by the bound on each write.

It refuses to know frames: `websocket_stream` does, or the foreign server below.
"""

import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Protocol

import trio

from trio_mcp.auth.tokens import AUTHORIZATION
from trio_mcp.http.asgi import TEXT_TYPE, App, Exchange, Receive, Scope, Send, refuse_socket
from trio_mcp.protocol.headers import Headers
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.pipe import Pipe
from trio_mcp.wire.jsonrpc import WireError

_log = logging.getLogger("trio_mcp.websocket")

PATH: Final = "/ws"
SUBPROTOCOL: Final = "mcp"
#: The ASGI extension of our own lane: what `Channel` says.
WEBSOCKET_EXTENSION: Final = "trio_mcp.websocket"

GOING_AWAY: Final = 1001
UNSUPPORTED_DATA: Final = 1003
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013

#: A close frame that cannot be written in this many seconds is not written.
_CLOSE_SECONDS: Final = 2.0


class Channel(Protocol):
    """What our own lane lets an application do beside ASGI; its writes are bounded already."""

    max_message: int
    heard: float
    busy: bool

    async def ping(self) -> None:
        """Ask the client for a sign of life."""
        ...


def websocket_app(host: Host) -> App:
    """The ASGI application for WebSockets of a host."""
    return partial(serve_websocket, host)


async def upgrade_required(exchange: Exchange) -> None:
    """Answer an ordinary request to a WebSocket's path (RFC 9110 section 15.5.22)."""
    text = f"Upgrade Required: this is a WebSocket; offer the subprotocol {SUBPROTOCOL}, or none\n"
    await exchange.respond(426, text.encode(), (TEXT_TYPE, (b"upgrade", b"websocket"), (b"connection", b"upgrade")))


async def serve_websocket(host: Host, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket from its handshake to its end.

    Cancellation: calls are cancelled and awaited; the connection is left to the server to close.
    """
    offered = _offered(scope)
    if not host.running or host.draining:
        await refuse_socket(scope, receive, send, 503, "The server does not take new connections now")
        return
    if offered and SUBPROTOCOL not in offered:
        text = f"Bad Request: of subprotocols, {SUBPROTOCOL} is spoken here; offer it, or none"
        await refuse_socket(scope, receive, send, 400, text)
        return
    if (await receive())["type"] != "websocket.connect":
        return
    await _Socket(host, scope, receive, send).run(SUBPROTOCOL if offered else None)


def _offered(scope: Scope) -> list[str]:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
    return [name for line in lines for part in line.split(",") if (name := part.strip())]


class _Socket:
    """One accepted WebSocket: its messages as an async iterator, and what ends it."""

    def __init__(self, host: Host, scope: Scope, receive: Receive, send: Send) -> None:
        self._host = host
        self._settings = host.server.settings
        self._scope = scope
        self._receive = receive
        self._send = send
        self._channel: Channel | None = scope.get("extensions", {}).get(WEBSOCKET_EXTENSION)
        self._drains = trio.Event()
        self._stop = trio.Event()
        self._work = trio.CancelScope()
        self._left = False
        self._code = GOING_AWAY
        self._reason = "the server goes away"

    async def run(self, subprotocol: str | None) -> None:
        if self._channel is not None:
            self._channel.max_message = self._settings.max_body
        self._host.subscriptions.add(self)
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
            if len(self._host.sessions) >= self._settings.max_sessions:
                self._end(TRY_AGAIN_LATER, "the server holds all the sessions it may: come again later")
            else:
                with self._work:
                    await self._serve()
        finally:
            self._host.subscriptions.remove(self)
        if not self._left:
            with trio.move_on_after(_CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": self._code, "reason": self._reason})

    async def _serve(self) -> None:
        scope = self._scope
        pipe = Pipe(
            self._host,
            self._write,
            framed=True,
            principal=scope.get("principal", ""),
            authorization=scope.get(AUTHORIZATION),
            headers=Headers(scope["headers"]),
        )
        async with trio.open_nursery() as socket_nursery:
            socket_nursery.start_soon(self._go_when_drained, pipe, name="watch for the drain")
            if self._channel is not None:
                socket_nursery.start_soon(self._keep_alive, self._channel, name="ping the client")
            await pipe.run(self, stop=self._stop)
            socket_nursery.cancel_scope.cancel("the pipe has ended")

    def _end(self, code: int, reason: str) -> None:
        """Cancel what runs and close with this code."""
        self._code, self._reason = code, reason
        self._work.cancel(reason)

    # What comes

    def __aiter__(self) -> AsyncIterator[bytes | WireError]:
        return self

    async def __anext__(self) -> bytes | WireError:
        """The next message; what is none ends the connection, and with it whoever waits here."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._left = True
                self._work.cancel("the client closed the WebSocket")
            elif message.get("text") is None:
                self._end(UNSUPPORTED_DATA, "send text frames: a message is JSON")
            else:
                data: bytes = message["text"].encode()
                if len(data) <= self._settings.max_body:
                    return data
                self._end(TOO_BIG, f"a message may have {self._settings.max_body} bytes")
            await trio.lowlevel.checkpoint()

    # What goes

    async def _write(self, data: bytes) -> None:
        """Send one message.

        Raises:
            trio.BrokenResourceError: the client did not read in time.
        """
        message = {"type": "websocket.send", "text": data.decode()}
        if self._channel is not None:
            await self._send(message)
            return
        with trio.move_on_after(self._settings.write_timeout) as write_scope:
            await self._send(message)
        if write_scope.cancelled_caught:
            raise trio.BrokenResourceError("the client did not read in time")

    async def _keep_alive(self, channel: Channel) -> None:
        while True:
            asked = trio.current_time()
            await channel.ping()
            await trio.sleep_until(asked + self._settings.websocket_ping)
            if channel.heard < asked and not channel.busy:
                self._end(INTERNAL_ERROR, "no answer to a ping")

    # The host's drain

    def heard(self, kind: str, uri: str | None) -> None:
        """Changes are the session's concern."""

    def farewell(self) -> None:
        """The host drains."""
        self._drains.set()

    async def _go_when_drained(self, pipe: Pipe) -> None:
        await self._drains.wait()
        await pipe.quiet()
        self._stop.set()
