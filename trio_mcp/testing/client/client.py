"""`Client`: an MCP client for tests, in every revision and over every transport, on streams that a simulation gives it.

It speaks by the rules unless a test says otherwise (`send`), keeps a record of all that happened, and can do to its own
connections what networks do. It has no timeout of its own but for its goodbye: a test bounds its waits. It refuses to
judge the server.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
import trio

from trio_mcp.check.place import Place, parse
from trio_mcp.protocol.errors import UNSUPPORTED_PROTOCOL_VERSION, McpError
from trio_mcp.protocol.revisions import REVISIONS, Revision
from trio_mcp.testing.client.conversation import CLIENT, Conversation
from trio_mcp.testing.client.http import HttpLink
from trio_mcp.testing.client.lines import LineLink
from trio_mcp.testing.client.link import Dial, Link, Wires
from trio_mcp.testing.client.methods import Methods
from trio_mcp.testing.client.pending import (
    Asked,
    Json,
    Listening,
    OnProgress,
    Pending,
    Wanted,
)
from trio_mcp.testing.client.standing import NotificationsLink, SseLink
from trio_mcp.testing.client.websocket import SocketLink
from trio_mcp.wire.base import SERVER_INFO_KEY, RequestId
from trio_mcp.wire.lifecycle import Implementation
from trio_mcp.wire.logging import LoggingLevel
from trio_mcp.wire.tools import Tool

Transport = Literal["http", "sse", "notifications", "websocket", "memory", "stdio"]
URL: Final = "http://127.0.0.1:8000/mcp"
"""Where a client believes the server to be: its Host header and its paths."""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_SESSIONS_ONLY: Final = ("sse", "notifications")


class Client(Methods):
    """One client; `make_client` makes it, `running` connects it.

    Attributes:
        name: its tasks are named after it.
        transport: how its messages travel.
        server_info: what the server says it is; None before the handshake, and where it does not say.
        server_capabilities: what the server says it can do.
        requests: every request as it went over the wire, in order.
        streams: the ids of the events of each stream in the order in which they came; a stream that was come back to
            goes on in the same list.
        unasked: responses that answered nothing, or answered twice.
        notifications: all that came, in order.
    """

    def __init__(
        self,
        transport: str,
        talk: Conversation,
        link: Link,
        wires: Wires,
        goodbye: float,
        session_of: "Client | None" = None,
    ) -> None:
        self.name = talk.name
        self.transport = transport
        self.server_info: Implementation | None = None
        self.server_capabilities: Json = {}
        self.requests: list[Asked] = talk.requests
        self.streams: list[list[str]] = talk.streams
        self.unasked: list[Json] = talk.unasked
        self.notifications: list[Json] = talk.notifications
        self._talk = talk
        self._link = link
        self._wires = wires
        self._goodbye = goodbye
        self._session_of = session_of

    @property
    def revision(self) -> Revision:
        """What is spoken; a server may have chosen another one than was asked for."""
        return self._talk.revision

    @property
    def session_id(self) -> str | None:
        """What the server calls the session; None where it has no name. Stays when the session has ended."""
        return self._link.session_id

    # Life

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Client"]:
        """Connect and shake hands; at the end of the block say goodbye, within the virtual seconds for that, and close.

        A connection that is gone by then is no fault. Where the block raises, or is cancelled, everything is reset
        instead. Once it is left, every wait ends with `ConnectionLostError`.

        Raises:
            ConnectionLostError: there was no connection, or it ended before the handshake did.
            RefusedError, McpError: the server refused.
        """
        try:
            async with trio.open_nursery() as client_nursery:
                self._talk.enter(client_nursery)
                try:
                    await self._link.open()
                    await self._shake_hands()
                    yield self
                    with trio.move_on_after(self._goodbye):
                        await self._link.farewell()
                    self._wires.close("the client has left")
                finally:
                    self._wires.reset("the client was cut off")
                    self._talk.leave()
                    client_nursery.cancel_scope.cancel("the client has left")
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            error = group.exceptions[0]  # the nursery is our own affair
            raise error from error.__cause__

    async def _shake_hands(self) -> None:
        if self._session_of is not None:
            other = self._session_of
            self._link.join_session(other.session_id)
            self._talk.join(other._talk)
            self.server_info, self.server_capabilities = other.server_info, other.server_capabilities
            return
        if self.revision.per_request:
            result = await self.request("server/discover")
            info = (result.get("_meta") or {}).get(SERVER_INFO_KEY)
        else:
            version, capabilities = self.revision.version, self._talk.capabilities
            params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": CLIENT}
            result = await self.request("initialize", params)
            info, chosen = result.get("serverInfo"), REVISIONS.get(str(result.get("protocolVersion")))
            if chosen is None or chosen.per_request:
                said = f"initialize with {version} was answered with {result.get('protocolVersion')!r}"
                raise McpError(UNSUPPORTED_PROTOCOL_VERSION, said)
            self._talk.revision = chosen
            await self.notify("notifications/initialized")
        self.server_info = None if info is None else msgspec.convert(info, Implementation)
        self.server_capabilities = result.get("capabilities") or {}

    async def end_session(self) -> None:
        """DELETE the session, where it is one over Streamable HTTP; else nothing. The connections stay.

        Raises:
            ConnectionLostError: it is not known whether that came there.
            RefusedError, McpError: the server refused.
        """
        await self._link.end_session()

    # What is done to the connections that are open now; later ones are not concerned

    def disconnect(self) -> None:
        """Close all: a FIN on each. Whoever waits for something on them learns that it is lost."""
        self._wires.close("the client closed it")

    def abort(self) -> None:
        """Reset all: a RST on each."""
        self._wires.reset("the client reset it")

    def freeze(self) -> None:
        """Vanish from all without a word: the server sees a client that does nothing any more."""
        self._wires.freeze()

    def half_close(self) -> None:
        """Send no more on any, and go on reading."""
        self._wires.half_close()

    def stall(self) -> None:
        """Take no more bytes from any, until `go_on`: the server's writes back up."""
        self._wires.stall()

    def go_on(self) -> None:
        """Take bytes again."""
        self._wires.go_on()

    # Any request, any message

    def begin(
        self,
        method: str,
        params: Json | None = None,
        *,
        progress: OnProgress | None = None,
        log_level: LoggingLevel | None = None,
    ) -> Pending:
        """Send a request by a task of the client, and do not wait for anything.

        Args:
            progress: called with progress, total and message of each notification of it.
            log_level: the messages to be sent while it is answered; in the per-request era only.
        """
        return self._talk.begin(method, params, on_progress=progress, log_level=log_level)

    def cancel_soon(self, id: RequestId, reason: str) -> None:
        """Give the request of that id up, as `Pending.cancel_soon`; nothing happens where none is in flight."""
        self._talk.give_up(id, reason)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification; returns once it is written, over HTTP once it is taken.

        Raises:
            ConnectionLostError: it may not have come there.
            RefusedError, McpError: the server did not take it.
        """
        await self._talk.notify(method, params)

    async def send(self, message: Json | bytes) -> None:
        """Send anything as it stands, in one message of the transport; returns once it is written.

        What is answered comes by `receive`. Nothing is added to it, and it stands in no record.

        Raises:
            ConnectionLostError: the connection is gone. Over HTTP `receive` raises it, and `RefusedError`.
        """
        await self._talk.send(message)

    async def receive(self) -> Json:
        """The next message that nobody else waits for, once it is there. Cancellation: nothing was taken.

        These are answers to `send`, notifications that no `progress` and no `listen` takes, and requests of the server
        that have no answer (they are answered with -32601 all the same).

        Raises:
            ConnectionLostError: the connection of the transport, or that of a message sent by `send`, ended.
            RefusedError: a message sent by `send` was answered with a status alone.
        """
        return await self._talk.inbox.receive()

    def _learn(self, tools: list[Tool]) -> None:
        self._link.learn(tools)

    def _ask_for_logs(self, level: LoggingLevel) -> None:
        self._talk.log_level = level

    # Listening

    def listen(
        self,
        tools: bool = True,
        prompts: bool = True,
        resources: bool = True,
        uris: tuple[str, ...] | list[str] = (),
        *,
        last_event_id: str | None = None,
    ) -> AbstractAsyncContextManager[Listening]:
        """Hear of changes: an async context manager, entered once they are sure to be told.

        In the session era over Streamable HTTP it is the standing GET with all that comes on it; in the per-request era
        `subscriptions/listen`; elsewhere what comes on the one stream. In the session era `uris` are subscribed to, and
        stay so.

        Args:
            uris: of the resources whose changes are wanted.
            last_event_id: go on where another standing GET was.

        Raises on entering: as `request`.
        """
        wanted = Wanted(tools=tools, prompts=prompts, resources=resources, uris=tuple(uris))
        if self.revision.per_request:
            return self._talk.subscribe(wanted)
        return self._listen(wanted, last_event_id)

    @asynccontextmanager
    async def _listen(self, wanted: Wanted, last_event_id: str | None) -> AsyncIterator[Listening]:
        self._talk.check()
        for uri in wanted.uris:
            await self.subscribe(uri)
        async with self._link.listen(wanted, last_event_id) as listening:
            yield listening


def make_client(
    transport: Transport,
    revision: Revision,
    dial: Dial,
    *,
    headers: Mapping[str, str] = _NOTHING,
    name: str = "client 1",
    capabilities: Json | None = None,
    answers: Mapping[str, Callable[[Json], Any]] = _NOTHING,
    goodbye: float = 5,
    url: str = URL,
    session_of: "Client | None" = None,
) -> Client:
    """A client that does not run yet.

    Args:
        dial: makes a connection; it may raise OSError.
        headers: sent with every HTTP request.
        capabilities: to be declared; None: those that `answers` needs.
        answers: to the server's requests, by method a function of the params, async or not. It may raise `McpError`;
            what else it raises is a fault of the test and ends the client.
        goodbye: virtual seconds that leaving may take.
        url: of the MCP endpoint; the other transports are beside it.
        session_of: speak in the session of this client, over Streamable HTTP: without a handshake and a goodbye.

    Raises:
        ValueError: the transport does not speak that revision, or has no session that two could share.
    """
    if session_of is not None and (transport != "http" or revision.per_request):
        raise ValueError("session_of is for sessions over Streamable HTTP")
    if revision.per_request and transport in _SESSIONS_ONLY:
        raise ValueError(f"{transport} is a transport of sessions, and {revision.version} has none")
    talk = Conversation(name, revision, capabilities=capabilities, answers=answers)
    wires = Wires(dial)
    talk.link = link = _link(transport, talk, wires, url, headers)
    return Client(transport, talk, link, wires, goodbye, session_of)


def _link(transport: Transport, talk: Conversation, wires: Wires, url: str, headers: Mapping[str, str]) -> Link:
    if transport in ("memory", "stdio"):
        return LineLink(talk, wires)
    kinds: dict[str, Callable[[Conversation, Wires, Place, Mapping[str, str]], Link]] = {
        "http": HttpLink,
        "sse": SseLink,
        "notifications": NotificationsLink,
        "websocket": SocketLink,
    }
    if transport not in kinds:
        raise ValueError(f"no such transport: {transport!r}; there are {', '.join((*kinds, 'memory', 'stdio'))}")
    return kinds[transport](talk, wires, parse(url), headers)
