"""HTTP/1.1 as a client that looks at every byte: h11 on a trio stream, a deadline on each wait, a bound on size.

It owns connections, their reuse, and TLS. It sends the headers that it is given and no others, follows no redirects,
takes no compressed answers, and refuses to know messages.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import attrs
import h11  # hypercorn brings it
import trio

from trio_mcp.check.findings import Silence, TransportFault, bounded, printable
from trio_mcp.check.place import Place
from trio_mcp.version import __version__

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes that one answer may have; more is a fault of the server."""
_PIECE: Final = 65536
_IDLE: Final = 4

HeaderMap = Mapping[str, str | None]
Dial = Callable[[], Awaitable[trio.abc.Stream]]


@attrs.frozen
class Reply:
    """A whole response; header names are lower-case, of repeated ones the first counts. `seconds` until its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float = 0

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, lower-case; empty where there is none."""
        return media_type(self.headers)


def media_type(headers: Mapping[str, str]) -> str:
    """The Content-Type without parameters, lower-case; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class Incoming:
    """A response of which the head has come."""

    def __init__(self, connection: "_Connection", head: h11.Response, timeout: float) -> None:
        self.status = head.status_code
        self.headers: dict[str, str] = {}
        for name, value in head.headers:
            self.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        self._connection = connection
        self._timeout = timeout

    async def read_some(self, within: float | None = None) -> bytes:
        """The next piece of the body, empty at its end.

        Raises:
            TransportFault: nothing came in time, the connection broke, or the body grows beyond `Web.most`.
        """
        timeout = self._timeout if within is None else within
        with bounded(timeout, "more of the answer"):
            event = await self._connection.next_event()
            return bytes(event.data) if isinstance(event, h11.Data) else b""
        raise AssertionError("bounded raises")


class Web:
    """Where one server is, and how to ask it.

    Args:
        place: the server's address.
        headers: sent with every request, unless the request says otherwise.
        timeout: seconds for each wait.
        dial: makes a stream to the server; None: TCP, with TLS where `place` says so.
        most: bytes that one answer may have.
        resend: whether a request is sent again, on a new connection, where an idle one turns out to be closed.
        usable: whether an idle connection may carry another request, by its stream.

    Resources: idle connections, until `aclose`.
    """

    def __init__(
        self,
        place: Place,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
        dial: Dial | None = None,
        most: float = MAX_BYTES,
        resend: bool = True,
        usable: Callable[[trio.abc.Stream], bool] = lambda _: True,
    ) -> None:
        self.place = place
        self.timeout = timeout
        self.most = most
        self._resend = resend
        self._usable = usable
        self._headers = dict(headers or {})
        self._dial: Dial = dial or self._dial_tcp
        self._idle: list[_Connection] = []

    async def dial(self) -> trio.abc.Stream:
        """A new stream to the server.

        Raises:
            TransportFault: there is none to be had in time.
        """
        with bounded(self.timeout, "connection"):
            return await self._dial()
        raise AssertionError("bounded raises")

    async def _dial_tcp(self) -> trio.abc.Stream:
        place = self.place
        try:
            tcp = await trio.open_tcp_stream(place.host, place.port)
        except OSError as error:
            raise TransportFault(f"cannot connect to {place.host}:{place.port}: {_reason(error)}") from None
        if not place.tls:
            return tcp
        tls = trio.SSLStream(tcp, ssl.create_default_context(), server_hostname=place.host, https_compatible=True)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(trio.aclose_forcefully, tls)
            try:
                await tls.do_handshake()
            except (trio.BrokenResourceError, ssl.SSLError, OSError) as error:
                raise TransportFault(f"TLS with {place.host} failed: {_reason(error.__cause__ or error)}") from None
            undo.pop_all()
        return tls

    def own_headers(self, given: HeaderMap | None = None) -> list[tuple[str, str]]:
        """What is sent of itself, with `given` over it; None leaves one out."""
        merged: dict[str, tuple[str, str | None]] = {}
        default = {"Host": self.place.authority, "User-Agent": f"trio-mcp-check/{__version__}"}
        for headers in (default, self._headers, given or {}):
            for name, value in headers.items():
                merged[name.lower()] = (name, value)
        return [(name, value) for name, value in merged.values() if value is not None]

    async def send(self, method: str, path: str, body: bytes = b"", headers: HeaderMap | None = None) -> Reply:
        """One request with its whole response.

        Raises:
            TransportFault: none came within `timeout`.
        """
        started = trio.current_time()
        with bounded(self.timeout, "whole answer"):
            async with self.open(method, path, body, headers) as incoming:
                pieces = []
                while piece := await incoming.read_some():
                    pieces.append(piece)
                return Reply(incoming.status, incoming.headers, b"".join(pieces), trio.current_time() - started)
        raise AssertionError("bounded raises")

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: HeaderMap | None = None,
        on_sent: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Incoming]:
        """One request and the head of its response; leaving closes the connection, unless the response was read whole.

        Args:
            on_sent: called once the request is written.

        Raises:
            TransportFault: no head came within `timeout`.
        """
        connection, incoming = await self._ask(method, path, body, headers, on_sent)
        try:
            yield incoming
        finally:
            if connection.may_be_used_again() and len(self._idle) < _IDLE:
                self._idle.append(connection)
            else:
                await connection.close()

    async def _connect(self) -> tuple["_Connection", bool]:
        """A connection, and whether it was used before."""
        while self._idle:
            connection = self._idle.pop()
            if self._usable(connection.stream):
                return connection, True
            await connection.close()
        return _Connection(await self.dial(), self.most), False

    async def _ask(
        self, method: str, path: str, body: bytes, headers: HeaderMap | None, on_sent: Callable[[], None]
    ) -> tuple["_Connection", Incoming]:
        lines = self.own_headers(headers)
        if body or method == "POST":
            lines.append(("Content-Length", str(len(body))))
        request = h11.Request(method=method, target=path, headers=lines)
        while True:
            connection, used = await self._connect()
            async with AsyncExitStack() as undo:
                undo.push_async_callback(connection.close)
                try:
                    with bounded(self.timeout, "answer"):
                        head = await connection.ask(request, body, on_sent)
                except TransportFault as fault:
                    # An idle connection may have been closed meanwhile. Silence is no sign of that.
                    if not (used and self._resend) or connection.received or isinstance(fault, Silence):
                        raise
                else:
                    undo.pop_all()
                    return connection, Incoming(connection, head, self.timeout)

    async def aclose(self) -> None:
        """Close what is idle."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


class _Connection:
    """One stream and the state of HTTP on it."""

    def __init__(self, stream: trio.abc.Stream, most: float) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._most = most
        self._in_body = self._ended = False
        self.received = 0

    async def ask(self, request: h11.Request, body: bytes, on_sent: Callable[[], None]) -> h11.Response:
        self.received = 0
        self._in_body = False
        data = self._http.send(request) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        with suppress(trio.BrokenResourceError):  # it may have answered before it closed: read on
            await self.stream.send_all(data)
            on_sent()
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                self._in_body = True
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise TransportFault("the connection was closed before an answer")

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
                if event is not h11.NEED_DATA:
                    assert not isinstance(event, type) or event is h11.PAUSED
                    return event
                data = await self.stream.receive_some(_PIECE)
                self._ended = not data
                self.received += len(data)
                self._http.receive_data(bytes(data))
            except h11.RemoteProtocolError as error:
                if not self.received:
                    raise TransportFault("the connection was closed before an answer") from None
                if self._in_body and self._ended:
                    raise TransportFault("the connection was closed in the middle of the answer") from None
                raise TransportFault(f"the answer is no valid HTTP/1.1: {printable(str(error))}") from None
            except (trio.BrokenResourceError, OSError) as error:
                raise TransportFault(f"the connection broke: {_reason(error.__cause__ or error)}") from None
            if self.received > self._most:
                raise TransportFault(f"the answer is longer than {self._most / 1024 / 1024:g} MiB")

    def may_be_used_again(self) -> bool:
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def close(self) -> None:
        await trio.aclose_forcefully(self.stream)


def _reason(error: BaseException) -> str:
    """Why, in words; of several addresses that were tried, the first."""
    while isinstance(error, BaseExceptionGroup) or isinstance(error.__cause__, BaseExceptionGroup):
        group = error if isinstance(error, BaseExceptionGroup) else error.__cause__
        assert isinstance(group, BaseExceptionGroup), "the loop's condition says so"
        error = group.exceptions[0]
    if isinstance(error, OSError) and error.errno and not isinstance(error, (ssl.SSLError, socket.gaierror)):
        return printable(os.strerror(error.errno))  # trio puts words of its own in front of the system's
    if isinstance(error, socket.gaierror) and error.strerror:
        return printable(error.strerror)
    return printable(str(error) or type(error).__name__)
