"""One connection: our own HTTP/1.1 lane (RFC 9112), with ASGI on the other side.

Theory of operation. One task a connection: it reads a head, awaits the application in itself, writes, and reads the
next. While the application works nobody reads, so a client that sends ahead waits in the kernel's buffer; that the
client hung up is told by `Hangups`, or, where there is no socket, by a task that reads ahead. One deadline, `due`,
moves: for the idle connection, the head, the body; it is off while the application works. It is a number that the
worker's patrol looks at, because to move a real deadline twice a request costs a tenth of the request.

A client that only closed its sending side still reads. To tell that from one that is gone, something harmless is
written: the first bytes of the status line that comes anyway, a comment in a stream of events. Who is gone answers
with a reset. (An interim `102` would do, too, but `http.client` takes it for the answer, and `100` breaks undici.)

Whoever must end with the client says so through the extension `trio_mcp.connection`: `on_gone(gone)`; what must run
beside the application is spawned in the connection's nursery: `spawn(function, name=)`.

It refuses HTTP/2 and WebSocket: those go to hypercorn, with the bytes read so far (`handover`).
"""

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import attrs
import trio

from trio_mcp.groups import leaves
from trio_mcp.http.asgi import CLIENT_EXTENSION, CONNECTION_EXTENSION, App, Header
from trio_mcp.http.byte_stream import ByteStream, PeerGoneError
from trio_mcp.http.hangup import Hangups
from trio_mcp.http.parser import Refusal, Request, RequestParser
from trio_mcp.http.response import Response, plain

_log = logging.getLogger("trio_mcp.connection")

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_HTTP2_PREFACE: Final = b"PRI * HTTP/2"
#: After a response to a request that was not read to its end, so much more is read before we close: else the
#: kernel would answer the rest with a reset that could overtake the response.
_LINGER_BYTES: Final = 256 * 1024
_LINGER_SECONDS: Final = 2.0
_LAST_WORDS_SECONDS: Final = 1.0


class _Hangup(Enum):
    """What the watcher told of the peer."""

    HALF = "it sends no more"
    GONE = "it does not read either"


@attrs.frozen(kw_only=True)
class Limits:
    """What one connection may take; seconds and bytes."""

    idle: float = 75
    head_time: float = 15
    body_time: float = 60
    max_head: int = 32 * 1024
    max_headers: int = 100
    http2: bool = False


class Worker(Protocol):
    """What a connection needs of its worker."""

    app: App
    limits: Limits
    hangups: Hangups
    closing: bool
    log_access: Callable[[tuple[Any, ...]], None] | None

    async def hand_over(self, connection: "Connection", data: bytes) -> None:
        """Let hypercorn go on with a connection that is not HTTP/1.1, from these bytes."""
        ...


class Connection:
    """One HTTP/1.1 connection.

    Args:
        client, server: addresses for the ASGI scope.
        scheme: `http` or `https`.
    """

    __slots__ = (
        "_body_begun",
        "_callbacks",
        "_deadline",
        "_expired",
        "_gone",
        "_hangup",
        "_parser",
        "_phase",
        "_request",
        "_response",
        "_scope",
        "_template",
        "_told",
        "_whole",
        "bytes",
        "client",
        "due",
        "scheme",
        "server",
        "spawn",
        "worker",
    )

    def __init__(
        self,
        worker: Worker,
        stream: ByteStream,
        *,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        scheme: str = "http",
    ) -> None:
        self.worker = worker
        self.bytes = stream
        self.client = client
        self.server = server
        self.scheme = scheme
        self._template: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": scheme,
            "root_path": "",
            "client": client,
            "server": server,
            "extensions": {CONNECTION_EXTENSION: self},
        }
        self._parser = RequestParser(max_head=worker.limits.max_head, max_headers=worker.limits.max_headers)
        self.spawn: Callable[..., None] = _not_running
        self.due = math.inf
        self._expired = False
        self._scope = trio.CancelScope()
        self._phase = "idle"
        self._request: Request | None = None
        self._response: Response | None = None
        self._callbacks: list[Callable[[str], None]] = []
        self._gone: trio.Event | None = None
        self._hangup: _Hangup | None = None
        self._whole: trio.Event | None = None
        self._body_begun = False
        self._told: Callable[[int], None] | None = None

    def __deepcopy__(self, memo: object) -> "Connection":
        """Itself: middleware copies scopes, and a connection cannot be copied."""
        return self

    # Life

    async def run(self) -> None:
        """Serve requests until either side closes. Never raises for anything the client does.

        Cancellation: the request in hand is cancelled with it, and the connection is closed.
        """
        fd = self.bytes.fileno()
        watched = fd >= 0 and self.worker.hangups.watch(fd, self)
        try:
            async with trio.open_nursery() as connection_nursery:
                self._scope = connection_nursery.cancel_scope
                self.spawn = connection_nursery.start_soon
                try:
                    await self._serve(watched)
                except PeerGoneError as error:
                    _log.debug("%s: %s", self.client, error)
                connection_nursery.cancel_scope.cancel("the connection is closed")
            if self._expired:
                await self._timed_out()
        finally:
            if watched:
                self.worker.hangups.forget(fd, self)
            self._let_go()
            await self.bytes.aclose()

    def _let_go(self) -> None:
        """Undo the circles, so that all memory of a connection is free at once and not at some collection."""
        self._template.clear()
        self._parser.close()
        self._request = self._response = None
        self._callbacks.clear()
        self.spawn = _not_running
        self._scope = trio.CancelScope()

    def expire(self) -> None:
        """The deadline has come: end the connection. Called by the worker's patrol."""
        self._expired = True
        self._scope.cancel(f"nothing came in time ({self._phase})")

    def shut(self) -> None:
        """The worker goes away: close when idle, else after the response in hand."""
        if self._phase == "idle":
            self._scope.cancel("the server is shutting down")

    async def _serve(self, watched: bool) -> None:
        parser = self._parser
        while True:
            request = await self._next_request()
            if request is None:
                break
            self.due = math.inf
            self._phase = "request"
            response = await self._respond(request, watched)
            if not (response.complete and response.keep_alive and request.complete) or self.worker.closing:
                await self._end(request, response)
                return
            self._request = self._response = None
        if parser.upgrade is not None:
            await self._hand_over(parser.upgrade)
        elif parser.refusal is not None:
            await self._refuse(parser.refusal)

    async def _next_request(self) -> Request | None:
        """The next request whose head is whole; None where there will be none on this lane."""
        parser, limits = self._parser, self.worker.limits
        requests = parser.requests
        while not requests:
            if parser.refusal is not None or parser.upgrade is not None or self.worker.closing:
                return None
            if parser.begun:
                if self._phase != "head":
                    self._phase = "head"
                    self.due = trio.current_time() + limits.head_time
            elif self.due == math.inf:  # else it is idle already, and empty lines do not make it younger
                self._phase = "idle"
                self.due = trio.current_time() + limits.idle
            data = await self.bytes.read()
            if not data:
                return None
            if data.startswith(_HTTP2_PREFACE) and not parser.begun:
                if limits.http2:
                    await self._hand_over(data)
                else:
                    text = "HTTP/2 without TLS is switched off here"
                    await self._refuse(Refusal(505, text))
                return None
            parser.feed(data)
        return requests.pop(0)

    async def _hand_over(self, data: bytes) -> None:
        self._phase = "handed over"
        self.due = math.inf
        self.worker.hangups.forget(self.bytes.fileno(), self)
        await self.worker.hand_over(self, data)

    async def _end(self, request: Request, response: Response) -> None:
        """After the last request of this connection: see to it that the client gets an answer, and can read it."""
        parser = self._parser
        if not response.started:
            if parser.refusal is not None and not request.complete:
                await self._refuse(parser.refusal)
            elif self._hangup is not _Hangup.GONE and (self._gone is None or not self._gone.is_set()):
                _log.error("the application did not answer %s %r", request.method, request.target)
                await self._refuse(Refusal(500, "Internal Server Error"))
        elif response.complete and not (request.complete and not parser.requests and not parser.begun):
            await self._linger()

    async def _timed_out(self) -> None:
        """The deadline came: tell a client that is in the middle of a request."""
        if self._phase == "head" or (self._phase == "body" and not (self._response and self._response.started)):
            with trio.move_on_after(_LAST_WORDS_SECONDS), suppress(PeerGoneError):
                await self.bytes.write(plain(408, f"no whole request came in time ({self._phase})"))

    async def _refuse(self, refusal: Refusal) -> None:
        await self.bytes.write(plain(refusal.status, refusal.reason))
        await self._linger()

    async def _linger(self) -> None:
        """Read and drop what the client still sends, for a while, so that it can read our last response."""
        self._phase = "lingering"
        self.bytes.say_end()
        self.due = trio.current_time() + _LINGER_SECONDS
        left = _LINGER_BYTES
        while left > 0:
            data = await self.bytes.read()
            if not data:
                return
            left -= len(data)

    # One request

    async def _respond(self, request: Request, watched: bool) -> Response:
        self._request = request
        self._body_begun = False
        response = self._response = Response(self, request)
        if self._hangup is not None:  # it was told while we still read this request's head
            self.hung_up(gone=self._hangup is _Hangup.GONE)
        began = trio.current_time() if self.worker.log_access is not None else 0.0
        try:
            if watched:
                await self.worker.app(self._asgi_scope(request), self.receive, response.send)
            else:
                await self._respond_reading_ahead(request, response)
        except Exception as error:
            if all(isinstance(leaf, PeerGoneError) for leaf in leaves(error)):
                raise PeerGoneError(str(error)) from None
            # A foreign application under our lane; McpApp has its own boundaries and does not get here.
            _log.exception("the application failed on %s %r", request.method, request.target)
            if not response.started:
                response.status, response.started, response.complete = 500, True, True
                response.keep_alive = False
                await self.bytes.write(plain(500, "Internal Server Error"))
        finally:
            self._callbacks.clear()
            if self._told is not None:
                told, self._told = self._told, None
                told(response.status)
            if self.worker.log_access is not None:
                took = trio.current_time() - began
                facts = (request.method, request.target, response.status, response.size, took, request.version)
                client = self._template["extensions"].get(CLIENT_EXTENSION, self.client)
                self.worker.log_access((client, *facts))
        return response

    async def _respond_reading_ahead(self, request: Request, response: Response) -> None:
        """Await the application beside a task that reads ahead, where no watcher can tell of a hang-up."""
        self._whole = trio.Event()
        if request.complete:
            self._whole.set()
        async with trio.open_nursery() as request_nursery:
            request_nursery.start_soon(self._read_ahead, self._whole, name="read ahead")
            await self.worker.app(self._asgi_scope(request), self.receive, response.send)
            request_nursery.cancel_scope.cancel("the response is complete")

    async def _read_ahead(self, whole: trio.Event) -> None:
        """Once the body is here, read on until the end; what comes is the next requests', within one chunk."""
        await whole.wait()
        parser = self._parser
        while not parser.requests and parser.refusal is None and parser.upgrade is None:
            data = await self.bytes.read()
            if not data:
                self.hung_up(gone=True)
                return
            parser.feed(data)

    def _asgi_scope(self, request: Request) -> dict[str, Any]:
        path, _, query = request.target.partition(b"?")
        if not path.startswith(b"/") and b"://" in path:  # absolute form: the host is in it (RFC 9112 section 3.2.2)
            authority, _, path = path.split(b"://", 1)[1].partition(b"/")
            path = b"/" + path
            request.headers = [(name, authority if name == b"host" else value) for name, value in request.headers]
        decoded = unquote_to_bytes(path) if b"%" in path else path
        scope = self._template.copy()
        scope["http_version"] = request.version
        scope["method"] = request.method
        scope["path"] = decoded.decode("utf-8", "replace")
        scope["raw_path"] = path
        scope["query_string"] = query
        scope["headers"] = request.headers
        return scope

    async def receive(self) -> dict[str, Any]:
        """ASGI: the body in pieces, then, once it was read, `http.disconnect` when the client is gone."""
        request, response = self._request, self._response
        assert request is not None
        assert response is not None
        if self._body_begun and request.complete and not request.body:
            return await self._disconnected(response)
        while not request.body and not request.complete:
            if self._parser.refusal is not None:
                return {"type": "http.disconnect"}  # `_end` says why, unless the application has answered
            if request.expects_continue:
                request.expects_continue = False
                if not response.started:
                    await self.bytes.write(_CONTINUE)
            if self._phase != "body":
                self._phase = "body"
                self.due = trio.current_time() + self.worker.limits.body_time
            data = await self.bytes.read()
            if not data:
                self.hung_up(gone=True)
                return {"type": "http.disconnect"}
            self._parser.feed(data)
        if self._phase == "body" and request.complete:
            self._phase = "request"
            self.due = math.inf
            if self._hangup is not None:  # it was told while we still read
                self.hung_up(gone=self._hangup is _Hangup.GONE)
        body = request.body[0] if len(request.body) == 1 else b"".join(request.body)
        request.body.clear()
        self._body_begun = True
        if request.complete and self._whole is not None:
            self._whole.set()
        return {"type": "http.request", "body": body, "more_body": not request.complete}

    async def _disconnected(self, response: Response) -> dict[str, Any]:
        if not response.complete:
            if self._gone is None:
                self._gone = trio.Event()
            await self._gone.wait()
        return {"type": "http.disconnect"}

    def on_end(self, told: Callable[[int], None]) -> None:
        """Call `told(status)` when the application is done with the request in hand; 0: it did not answer."""
        self._told = told

    def answered(self) -> None:
        """The response is complete: nobody needs to wait in `receive` for the client to leave (ASGI: Disconnect)."""
        if self._gone is not None and not self._gone.is_set():
            self._gone.set()
            self._gone = None

    def respond(self, status: int, headers: tuple[Header, ...], body: bytes) -> Awaitable[None]:
        """A whole response in one write, without the detour over ASGI messages; for `Exchange`, which awaits it.

        Raises `PeerGoneError`. Cancellation: part of it may be out.
        """
        response = self._response
        assert response is not None
        return response.send_whole(status, headers, body)

    def whole_body(self) -> bytes | None:
        """The body of the request in hand, where all of it is here and nobody has read from it; for `Exchange`."""
        request = self._request
        assert request is not None
        if self._body_begun or not request.complete:
            return None
        self._body_begun = True
        if self._whole is not None:
            self._whole.set()
        body, request.body = request.body, []
        return body[0] if len(body) == 1 else b"".join(body)

    # Hanging up

    def on_gone(self, cancel: Callable[[str], None]) -> None:
        """Call `cancel(reason)` when the client is gone before this request's response is complete."""
        if self._gone is not None and self._gone.is_set():
            cancel("the client disconnected")
        else:
            self._callbacks.append(cancel)

    def hung_up(self, *, gone: bool) -> None:
        """The peer hung up; `gone` where it is sure that it does not read either."""
        response = self._response
        self._hangup = _Hangup.GONE if gone else _Hangup.HALF
        if self._phase != "request" or response is None or response.complete:
            return  # whoever reads finds out
        if not gone and response.probe():
            return
        if self._gone is None:
            self._gone = trio.Event()
        self._gone.set()
        for cancel in self._callbacks:
            try:
                cancel("the client disconnected")
            except Exception:  # else it would end the watcher, and with it every connection
                _log.exception("what was to end with the client failed")
                self._scope.cancel("what was to end with the client failed")
        self._callbacks.clear()


def _not_running(*_: Any, **__: Any) -> None:
    raise RuntimeError("the connection does not run")
