"""The transports with a standing stream: HTTP+SSE of 2024-11-05, the notifications dialect, and WebSocket.

HTTP+SSE and the dialect speak by POST and hear on a GET; a WebSocket does both on one connection.
"""

import re
from abc import abstractmethod
from contextlib import AsyncExitStack
from typing import ClassVar, Final
from urllib.parse import urljoin, urlsplit

import trio

from trio_mcp.check.connection import Reply, Web, media_type
from trio_mcp.check.findings import Fault, NotOffered, TransportFault, demand, quoted
from trio_mcp.check.http_talk import VERSION
from trio_mcp.check.messages import EVENT_STREAM, JSON, Events
from trio_mcp.check.place import BadUrlError, parse
from trio_mcp.check.talk import CLIENT, GOODBYE, DuplexTalk
from trio_mcp.check.websocket import WebSocket
from trio_mcp.protocol.revisions import Revision
from trio_mcp.wire.sse import Event

GREETING: Final = re.compile(r"Connected to session (\S+)")


class ListeningTalk(DuplexTalk):
    """Posts to `target`, and hears the messages on a GET of `path`.

    Attributes:
        first: the first event of the stream.
        posted: what the last POST was answered with.
    """

    sibling: ClassVar[str]

    def __init__(self, web: Web, revision: Revision) -> None:
        super().__init__(revision)
        self.web = web
        self.path = web.place.path(self.sibling)
        self.target = ""
        self.first: Event | None = None
        self.posted: Reply | None = None
        self.stream: Events | None = None
        self._open = AsyncExitStack()

    async def begin(self) -> None:
        """Open the stream, and read its first event.

        Raises:
            NotOffered: there is no such stream.
            Fault: the first event is not what it must be.
        """
        incoming = await self._open.enter_async_context(
            self.web.open("GET", self.path, headers={"Accept": EVENT_STREAM, "Cache-Control": "no-store"})
        )
        if incoming.status != 200 or media_type(incoming.headers) != EVENT_STREAM:
            what = media_type(incoming.headers) or "nothing"
            raise NotOffered(f"GET {self.path} was answered with {incoming.status} and {quoted(what)}")
        self.stream = Events(incoming)
        self.first = await self.stream.next()
        if self.first is None:
            raise Fault("the stream ended before its first event")
        self.target = self.find_target(self.first)

    @abstractmethod
    def find_target(self, first: Event) -> str:
        """Where to post, from the first event."""

    def absent(self, fault: Fault) -> str | None:
        """Without a stream of events there is nothing of this transport."""
        return str(fault) if self.stream is None else None

    async def write(self, body: bytes) -> None:
        """POST a message; only 2xx takes it."""
        headers: dict[str, str | None] = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENT_STREAM}"}
        if self.revision.version_header:
            headers[VERSION] = self.revision.version
        self.posted = await self.web.send("POST", self.target, body, headers)
        demand(200 <= self.posted.status < 300, f"POST {self.path_of_target} was answered with {self.posted.status}")

    @property
    def path_of_target(self) -> str:
        """Where is posted to, without what is secret in it."""
        return self.target.partition("?")[0]

    async def read(self) -> bytes | None:
        """The next event that is a message."""
        assert self.stream is not None, "begin has been called"
        while (event := await self.stream.next()) is not None:
            if event.data and self.is_message(event):
                return event.data.encode("utf-8", "replace")
        return None

    def is_message(self, event: Event) -> bool:
        """Whether an event carries a message."""
        return event.event == "message"

    async def end(self) -> None:
        """Close the stream."""
        await self._open.aclose()


class SseTalk(ListeningTalk):
    """HTTP with SSE (2024-11-05, basic/transports: HTTP with SSE)."""

    transport: ClassVar[str] = "sse"
    sibling: ClassVar[str] = "sse"

    def find_target(self, first: Event) -> str:
        """The URI of the `endpoint` event, which must be of the same origin."""
        demand(first.event == "endpoint", f"the first event is {quoted(first.event)}, not endpoint")
        own = self.web.place
        try:
            place = parse(urljoin(own.origin + self.path, first.data.strip()))
            parts = urlsplit(urljoin(own.origin + self.path, first.data.strip()))
        except (BadUrlError, ValueError):
            raise Fault(f"the endpoint event holds no URI: {quoted(first.data)}") from None
        demand(place.origin == own.origin, f"the endpoint is of another origin: {quoted(first.data)}")
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class NotificationsTalk(ListeningTalk):
    """The notifications dialect (docs/transports.md)."""

    transport: ClassVar[str] = "notifications"
    sibling: ClassVar[str] = "notifications"
    session: str = ""

    async def open(self) -> None:
        """Open the stream and initialize in the words of the dialect."""
        await self.begin()
        self.by_the_rules = False  # what it agrees on is not in the standard words
        params = {"protocol_version": self.revision.version, "client_info": CLIENT}
        self.opening = await self.ask("initialize", params)
        self.opening.expect_result()

    def find_target(self, first: Event) -> str:
        """The endpoint with the session that the greeting names."""
        found = GREETING.fullmatch(first.data)
        if found is None or not re.fullmatch(r"[\w.~-]{1,200}", found[1], re.ASCII):
            raise Fault(f'the stream begins with {quoted(first.data)}, not "Connected to session <id>"')
        self.session = found[1]
        return f"{self.web.place.endpoint.partition('?')[0]}?session_id={self.session}"

    def is_message(self, event: Event) -> bool:
        """Whatever is not another greeting."""
        return GREETING.match(event.data) is None


class SocketTalk(DuplexTalk):
    """WebSocket (docs/transports.md), in either era."""

    transport: ClassVar[str] = "websocket"

    def __init__(self, web: Web, revision: Revision) -> None:
        super().__init__(revision)
        self.web = web
        self.path = web.place.path("ws")
        self.socket: WebSocket | None = None

    async def begin(self) -> None:
        """Shake the hands of RFC 6455.

        Raises:
            NotOffered: there is no WebSocket.
        """
        self.socket = await WebSocket.open(self.web, self.path)

    def absent(self, fault: Fault) -> str | None:
        """Without a connection there is nothing of this transport."""
        return str(fault) if self.socket is None else None

    async def write(self, body: bytes) -> None:
        """One text frame."""
        assert self.socket is not None, "begin has been called"
        await self.socket.send(body.decode("utf-8", "replace"))

    async def read(self) -> bytes | None:
        """The next message."""
        assert self.socket is not None, "begin has been called"
        data = await self.socket.receive()
        if data is None and self.socket.closed is not None:
            code, reason = self.socket.closed
            raise TransportFault(f"the server closed with {code} {quoted(reason)}")
        return data

    async def end(self) -> None:
        """Close."""
        if self.socket is not None:
            await self.socket.aclose(GOODBYE)
        else:
            await trio.lowlevel.checkpoint()
