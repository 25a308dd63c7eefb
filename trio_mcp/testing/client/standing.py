"""Transports of the test client that speak by POST and hear on a standing GET.

HTTP+SSE (2024-11-05, basic/transports: HTTP with SSE) and the notifications dialect (docs/transports.md). When the GET
ends, every wait of the client does; in the dialect it can be opened again where it was. Both are of the session era.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import trio

from trio_mcp.check.connection import HeaderMap, Incoming
from trio_mcp.check.findings import TransportFault
from trio_mcp.check.http_talk import BOTH, VERSION
from trio_mcp.check.messages import EVENT_STREAM, JSON
from trio_mcp.check.place import Place
from trio_mcp.check.stream_talk import GREETING
from trio_mcp.protocol.errors import McpError
from trio_mcp.testing.client.conversation import Conversation
from trio_mcp.testing.client.http import WebLink, expect_stream
from trio_mcp.testing.client.link import Wires
from trio_mcp.testing.client.pending import ConnectionLostError, Listening, Pending, RefusedError, Wanted
from trio_mcp.wire.sse import Decoder, Event

_QUERY: Final = "session_id"


class StandingLink(WebLink):
    """One standing GET, and POSTs beside it."""

    def __init__(self, talk: Conversation, wires: Wires, place: Place, headers: Mapping[str, str]) -> None:
        super().__init__(talk, wires, place, headers)
        self.place = place
        self.target = ""
        self.last_event_id: str | None = None
        self.ids: list[str] = []
        self._scope = trio.CancelScope()
        self._stands = False
        self._agreed = trio.Event()
        self._refused: Exception | None = None

    @property
    @abstractmethod
    def path(self) -> str:
        """Of the GET."""

    @abstractmethod
    def greeted(self, event: Event) -> bool:
        """Whether an event says where to post, and is no message; then `target` and `session_id` are set."""

    async def open(self) -> None:
        """Open the GET; returns once it is known where to post.

        Raises:
            ConnectionLostError, RefusedError: that was not said.
        """
        self._stands = True
        self._agreed, self._refused = trio.Event(), None
        self.talk.spawn(self._stand, what=f"read GET {self.path.partition('?')[0]}")
        await self._agreed.wait()
        if self._refused is not None:
            raise self._refused

    async def _stand(self) -> None:
        """Read the stream to its end, which ends every wait."""
        how = "the client closed the connection"
        self._scope = trio.CancelScope()
        headers: HeaderMap = {"Accept": EVENT_STREAM, "Last-Event-ID": self.last_event_id}
        try:
            with self._scope:
                async with self.web.open("GET", self.path, headers=headers) as incoming:
                    await expect_stream(incoming)
                    await self._read(incoming)
                    how = "the server ended the stream"
        except RefusedError as error:
            self._refused, how = error, f"the server refused the stream: {error}"
        except (TransportFault, ConnectionLostError) as error:
            how = str(error)
        finally:
            self._stands = False
            if not self._agreed.is_set():
                self._refused = self._refused or ConnectionLostError(how)
                self._agreed.set()
            self.talk.lose(how)

    async def _read(self, incoming: Incoming) -> None:
        decoder = Decoder()
        while piece := await incoming.read_some():
            for event in decoder.feed(piece):
                self.last_event_id = event.id or self.last_event_id
                if self.greeted(event):
                    self.talk.found()
                    self._agreed.set()
                    continue
                if event.id is not None:
                    self.ids.append(event.id)
                if event.data and self.is_message(event):
                    self.talk.take(event.data.encode("utf-8", "replace"))

    def is_message(self, event: Event) -> bool:
        """Whether an event carries a message."""
        return event.event == "message"

    # What goes out

    def _headers(self) -> dict[str, str | None]:
        revision = self.talk.revision
        return {
            "Content-Type": JSON,
            "Accept": BOTH,
            VERSION: revision.version if revision.version_header else None,
        }

    def ask(self, pending: Pending, body: bytes) -> None:
        """POST it, by a task; the answer comes on the GET."""
        self.talk.spawn(self._ask, pending, body, what=f"ask {pending.method} {pending.id}")

    async def _ask(self, pending: Pending, body: bytes) -> None:
        how = "the client closed the connection"
        try:
            if not pending.done:
                await self.post(self.target, body, self._headers(), pending.went_out)
        except (McpError, RefusedError) as error:
            if pending.asked.answers == 0:
                pending.asked.answers += isinstance(error, McpError)
                pending.settle(fault=error)
        except ConnectionLostError as error:
            how = error.how
            pending.lost(how)
        finally:
            if not pending.asked.sent:
                pending.lost(how)

    async def tell(self, body: bytes, method: str = "") -> None:
        """POST it."""
        await self.post(self.target, body, self._headers())

    async def throw(self, body: bytes, request: Mapping[str, Any]) -> None:
        """POST it, by a task."""
        sent = trio.Event()
        self.talk.spawn(self._throw, body, sent, what="send as it stands")
        await sent.wait()

    async def _throw(self, body: bytes, sent: trio.Event) -> None:
        try:
            await self.post(self.target, body, self._headers(), sent.set)
        except (McpError, RefusedError, ConnectionLostError) as error:
            self.talk.inbox.put(error)
        finally:
            sent.set()

    async def cancel(self, pending: Pending, reason: str) -> None:
        """By notification."""
        await self.talk.notify_cancelled(pending, reason)

    def listen(self, wanted: Wanted, last_event_id: str | None) -> AbstractAsyncContextManager[Listening]:
        """What comes on the one stream."""
        return self.talk.hear(wanted)

    async def farewell(self) -> None:
        """Close the GET."""
        self._scope.cancel("the client says goodbye")
        await trio.lowlevel.checkpoint()


class SseLink(StandingLink):
    """HTTP+SSE."""

    @property
    def path(self) -> str:
        """Of the GET."""
        return self.place.path("sse")

    def greeted(self, event: Event) -> bool:
        """The `endpoint` event."""
        if event.event != "endpoint":
            return False
        parts = urlsplit(urljoin(self.place.origin + self.path, event.data.strip()))
        self.target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.session_id = next(iter(parse_qs(parts.query).get(_QUERY, ())), None)
        return True


class NotificationsLink(StandingLink):
    """The notifications dialect."""

    @property
    def path(self) -> str:
        """Of the GET; once there is a session, of another one of it."""
        path = self.place.path("notifications")
        return path if self.session_id is None else f"{path}?{_QUERY}={self.session_id}"

    def greeted(self, event: Event) -> bool:
        """`Connected to session …`."""
        found = GREETING.fullmatch(event.data)
        if found is None:
            return False
        if self.session_id is None:
            self.session_id = found[1]
            self.target = f"{self.place.endpoint.partition('?')[0]}?{_QUERY}={self.session_id}"
            self.talk.streams.append(self.ids)
        return True

    def is_message(self, event: Event) -> bool:
        """Every other event."""
        return True

    async def resume(self, pending: Pending) -> None:
        """Open the GET again where it was, unless it stands; every request that was lost may be answered then."""
        pending.reopen()
        if not self._stands:
            await self.open()
            return
        await self._agreed.wait()
        if self._refused is not None:
            raise self._refused
