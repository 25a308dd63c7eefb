"""WebSocket as a client: wsproto on a trio stream, text frames in and out, bounded in time and in bytes.

It refuses to know messages, and answers pings by itself.
"""

from contextlib import AsyncExitStack, suppress
from typing import Final

import trio
from wsproto import ConnectionType, WSConnection  # hypercorn brings it
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Fault, NotOffered, TransportFault, bounded, printable

SUBPROTOCOL: Final = "mcp"
_PIECE: Final = 65536
_OWN: Final = frozenset({"host", "connection", "upgrade", "content-type", "accept"})


class UpgradeRefused(NotOffered):
    """The server answered the handshake with another status."""

    def __init__(self, path: str, status: int) -> None:
        super().__init__(f"GET {path} with Upgrade: websocket was answered with {status}")
        self.status = status


class WebSocket:
    """One connection; `open` makes it.

    Attributes:
        subprotocol: what the server chose.
        closed: the code and the reason of the server's close frame, once it has come.
    """

    def __init__(self, stream: trio.abc.Stream, timeout: float, most: float) -> None:
        self.subprotocol: str | None = None
        self.closed: tuple[int, str] | None = None
        self._stream = stream
        self._timeout = timeout
        self._most = most
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._text: list[str] = []
        self._bytes = 0

    @classmethod
    async def open(cls, web: Web, path: str) -> "WebSocket":
        """Connect and shake hands.

        Raises:
            UpgradeRefused: the server answers something else than a WebSocket.
            TransportFault: nothing that can be read came in time.
        """
        socket = cls(await web.dial(), web.timeout, web.most)
        headers = [(name.encode(), value.encode()) for name, value in web.own_headers() if name.lower() not in _OWN]
        request = Request(web.place.authority, path, subprotocols=[SUBPROTOCOL], extra_headers=headers)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(trio.aclose_forcefully, socket._stream)
            await socket._write(request)
            with bounded(web.timeout, "answer to the handshake"):
                event = await socket._next_event()
            if isinstance(event, RejectConnection):
                raise UpgradeRefused(path, event.status_code)
            if not isinstance(event, AcceptConnection):
                raise TransportFault("the handshake was not answered")
            undo.pop_all()
        socket.subprotocol = event.subprotocol
        return socket

    async def send(self, text: str) -> None:
        """Send one text message."""
        await self._write(TextMessage(text))

    async def send_event(self, event: Event) -> None:
        """Send any frame."""
        await self._write(event)

    async def receive(self, within: float | None = None) -> bytes | None:
        """The next text message, None once the server has closed.

        Raises:
            Fault: a binary message.
            TransportFault: nothing came in time, the connection broke, or it is no WebSocket.
        """
        with bounded(self._timeout if within is None else within, "message"):
            while True:
                event = await self._next_event()
                if isinstance(event, TextMessage):
                    self._text.append(event.data)
                    if event.message_finished:
                        text, self._text = "".join(self._text), []
                        return text.encode("utf-8", "replace")
                elif isinstance(event, Ping):
                    await self._write(event.response())
                elif isinstance(event, CloseConnection):
                    self.closed = int(event.code), printable(event.reason or "")
                    return None
                elif type(event).__name__ == "BytesMessage":
                    raise Fault("the server sent a binary message: messages are text")
        raise AssertionError("bounded raises")

    async def _write(self, event: Event) -> None:
        try:
            data = self._frames.send(event)
            with bounded(self._timeout, "room to write"):
                await self._stream.send_all(data)
        except LocalProtocolError:
            raise TransportFault("the connection is closed already") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise TransportFault("the connection broke") from None

    async def _next_event(self) -> Event:
        while not self._events:
            try:
                data = await self._stream.receive_some(_PIECE)
                self._bytes += len(data)
                if self._bytes > self._most:
                    raise TransportFault(f"the server sent more than {self._most / 1024 / 1024:g} MiB")
                self._frames.receive_data(bytes(data) or None)
                self._events = list(self._frames.events())
            except (RemoteProtocolError, LocalProtocolError) as error:
                raise TransportFault(f"the answer is no WebSocket: {printable(str(error))}") from None
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                raise TransportFault("the connection broke") from None
            if not data and not self._events:
                raise TransportFault("the connection was closed without a close frame")
        return self._events.pop(0)

    async def aclose(self, within: float) -> None:
        """Say goodbye, and close whatever comes."""
        with trio.move_on_after(within):
            with suppress(Fault):
                await self._write(CloseConnection(1000))
            await self._stream.aclose()
        await trio.aclose_forcefully(self._stream)
