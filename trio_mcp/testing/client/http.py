"""Streamable HTTP for the test client, both eras: every message is a POST of its own (basic/transports).

It owns the headers, the two forms of a reply, the standing GET, and how a stream is come back to. No request is ever
sent twice: where a connection breaks, the request is lost, and whoever waits for it learns that.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import trio

from trio_mcp.check.connection import HeaderMap, Incoming, Web, media_type
from trio_mcp.check.findings import TransportFault
from trio_mcp.check.http_talk import SESSION, VERSION, HttpTalk, header_value
from trio_mcp.check.messages import EVENT_STREAM
from trio_mcp.check.place import Place
from trio_mcp.protocol.errors import McpError
from trio_mcp.protocol.headers import param_headers
from trio_mcp.testing.client.conversation import Conversation
from trio_mcp.testing.client.link import Link, Wires
from trio_mcp.testing.client.pending import Asked, ConnectionLostError, Listening, Pending, RefusedError, Wanted
from trio_mcp.version import __version__
from trio_mcp.wire.jsonrpc import Response, WireError, decode
from trio_mcp.wire.sse import Decoder

_AGENT: Final = f"trio-mcp-testing/{__version__}"


class WebLink(Link):
    """What every transport over HTTP has: connections that are kept alive, and POSTs."""

    def __init__(self, talk: Conversation, wires: Wires, place: Place, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.talk = talk
        self.web = Web(
            place,
            headers={"User-Agent": _AGENT, **headers},
            timeout=math.inf,
            dial=wires.dial,
            most=math.inf,
            resend=False,
            usable=wires.usable,
        )

    async def post(
        self, target: str, body: bytes, headers: HeaderMap, on_sent: Callable[[], None] = lambda: None
    ) -> None:
        """POST what has no answer of its own; as `request`."""
        await self.request("POST", target, body, headers, on_sent)

    async def request(
        self, method: str, target: str, body: bytes, headers: HeaderMap, on_sent: Callable[[], None] = lambda: None
    ) -> None:
        """Send a request and read its whole response, in which nothing is but whether it was taken.

        Raises:
            ConnectionLostError: it may not have come there.
            McpError, RefusedError: the server did not take it.
        """
        try:
            async with self.web.open(method, target, body, headers, on_sent) as incoming:
                content = await whole(incoming)
        except TransportFault as fault:
            raise ConnectionLostError(str(fault)) from None
        if incoming.status >= 400:
            raise refusal(incoming.status, content)


def refusal(status: int, body: bytes) -> Exception:
    """What a status that refuses says: the JSON-RPC error in the body, if there is one."""
    with suppress(WireError):
        message = decode(body)
        if isinstance(message, Response) and message.error is not None:
            return McpError(message.error.code, message.error.message, message.error.data)
    return RefusedError(status, body)


async def whole(incoming: Incoming) -> bytes:
    """The body of a response."""
    pieces = []
    while piece := await incoming.read_some():
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_events(
    incoming: Incoming,
    take: Callable[[bytes], None],
    ids: list[str],
    on_retry: Callable[[float], None] = lambda _: None,
) -> None:
    """Take every message of a stream of events, to its proper end, and note the ids of the events.

    Args:
        on_retry: called with the seconds after which the server wants to be come back to.

    Raises:
        TransportFault: it ended otherwise.
    """
    decoder = Decoder()
    while piece := await incoming.read_some():
        for event in decoder.feed(piece):
            if event.id is not None:
                ids.append(event.id)
            if event.retry is not None:
                on_retry(event.retry / 1000)
            if event.data:
                take(event.data.encode("utf-8", "replace"))


async def expect_stream(incoming: Incoming) -> None:
    """Go on only with a stream of events.

    Raises:
        RefusedError: it is something else.
    """
    if incoming.status != 200 or media_type(incoming.headers) != EVENT_STREAM:
        raise RefusedError(incoming.status, await whole(incoming))


class HttpLink(WebLink):
    """Streamable HTTP."""

    def __init__(self, talk: Conversation, wires: Wires, place: Place, headers: Mapping[str, str]) -> None:
        super().__init__(talk, wires, place, headers)
        self._path = place.endpoint
        self._is_over = False
        self._good = HttpTalk(self.web, talk.revision)  # it knows which headers a good POST has

    async def open(self) -> None:
        """Nothing: every request dials, where no connection is idle."""
        await trio.lowlevel.checkpoint()

    def _headers(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, str | None]:
        self._good.session_id, self._good.revision = self.session_id, self.talk.revision
        headers = self._good.headers(method, params)
        if method == "tools/call" and self.talk.revision.per_request:
            headers |= self._mirrored(params or {})
        return headers

    def _mirrored(self, params: Mapping[str, Any]) -> dict[str, str]:
        """The arguments that the tool wants in headers, too (2026-07-28, server/tools: x-mcp-header)."""
        tool = self.tools.get(str(params.get("name")))
        headers: dict[str, str] = {}
        for mirrored in () if tool is None else param_headers(tool.input_schema):
            value: Any = params.get("arguments")
            for key in mirrored.path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                text = value if isinstance(value, str) else str(value).lower()
                headers[f"Mcp-Param-{mirrored.label}"] = header_value(text)
        return headers

    def _session_headers(self, **more: str | None) -> dict[str, str | None]:
        """Those of a GET and a DELETE."""
        headers = self._headers("DELETE")
        return {SESSION: headers.get(SESSION), VERSION: headers.get(VERSION), **more}

    # Requests

    def ask(self, pending: Pending, body: bytes) -> None:
        """POST it, by a task that reads the reply to its end."""
        first = partial(self._post, pending, pending.asked, body, self._headers(pending.method, pending.params))
        self.talk.spawn(self._read, pending, first, what=f"ask {pending.method} {pending.id}")

    async def _read(
        self, pending: Pending, first: Callable[[], Awaitable[None]], begun: trio.Event | None = None
    ) -> None:
        """Read until the answer has come, coming back as often as the server parts with us."""
        mine, asked = pending.reopen(), pending.asked
        how = "the client closed the connection"
        try:
            with trio.CancelScope() as pending.scope:
                if pending.done:  # it was cancelled before it went out
                    return
                await first()
                while self._is_parted(pending, asked, mine):
                    await trio.sleep(pending.retry)
                    await self._come_back(pending, asked)
                how = "the reply ended without an answer"
        except RefusedError as error:
            if pending.reading == mine:
                pending.settle(fault=error)
        except (TransportFault, ConnectionLostError) as error:
            how = str(error)
        finally:
            if asked.answers == 0 and pending.reading == mine:
                pending.lost(how)  # of one that is done it only tells that it will not go out any more
            if begun is not None:
                begun.set()

    def _is_parted(self, pending: Pending, asked: Asked, mine: int) -> bool:
        """Whether the server closed the stream on purpose, to be come back to (SEP-1699)."""
        waits = asked.answers == 0 and not pending.done and pending.reading == mine
        return waits and self.talk.revision.polling and pending.last_event_id is not None

    async def _post(self, pending: Pending, asked: Asked, body: bytes, headers: HeaderMap) -> None:
        async with self.web.open("POST", self._path, body, headers, pending.went_out) as incoming:
            self._note_session(asked.method, incoming)
            if media_type(incoming.headers) == EVENT_STREAM:
                self.talk.streams.append(pending.event_ids)
                await self._read_reply(incoming, pending, asked)
                return
            content = await whole(incoming)
        if content:
            try:
                self.talk.take(content, asked)
            except ConnectionLostError:
                raise RefusedError(incoming.status, content) from None
        if asked.answers == 0 and not asked.cancelled:
            raise RefusedError(incoming.status, content)

    async def _read_reply(self, incoming: Incoming, pending: Pending, asked: Asked) -> None:
        def on_retry(seconds: float) -> None:
            pending.retry = seconds

        await read_events(incoming, partial(self.talk.take, asked=asked), pending.event_ids, on_retry)

    async def _come_back(self, pending: Pending, asked: Asked, begun: Callable[[], None] = lambda: None) -> None:
        headers = self._session_headers(Accept=EVENT_STREAM, **{"Last-Event-ID": pending.last_event_id})
        async with self.web.open("GET", self._path, headers=headers) as incoming:
            await expect_stream(incoming)
            begun()
            await self._read_reply(incoming, pending, asked)

    async def resume(self, pending: Pending) -> None:
        """GET what came after the last event."""
        if pending.last_event_id is None:
            await super().resume(pending)
        pending.reopen()
        begun = trio.Event()
        first = partial(self._come_back, pending, pending.asked, begun.set)
        self.talk.spawn(self._read, pending, first, begun, what=f"resume {pending.method} {pending.id}")
        await begun.wait()
        if pending.fault is not None:
            raise pending.fault

    async def cancel(self, pending: Pending, reason: str) -> None:
        """By notification; in the per-request era by closing the response."""
        if not self.talk.revision.per_request:
            await self.talk.notify_cancelled(pending, reason)
            return
        if pending.scope is not None:
            pending.scope.cancel(reason)
        await trio.lowlevel.checkpoint()

    # Everything else

    async def tell(self, body: bytes, method: str = "") -> None:
        """POST it."""
        await self.post(self._path, body, self._headers(method))

    async def throw(self, body: bytes, request: Mapping[str, Any]) -> None:
        """POST it, by a task that reads the reply to its end."""
        sent = trio.Event()
        self.talk.spawn(self._throw, body, request, sent, what="send as it stands")
        await sent.wait()

    async def _throw(self, body: bytes, request: Mapping[str, Any], sent: trio.Event) -> None:
        method = str(request.get("method", ""))
        try:
            headers = self._headers(method, request.get("params"))
            async with self.web.open("POST", self._path, body, headers, sent.set) as incoming:
                self._note_session(method, incoming)
                if media_type(incoming.headers) == EVENT_STREAM:
                    ids: list[str] = []
                    self.talk.streams.append(ids)
                    await read_events(incoming, self.talk.take, ids)
                    return
                content = await whole(incoming)
            if content or incoming.status >= 400:
                self._take_thrown(incoming.status, content)
        except (TransportFault, ConnectionLostError) as error:
            self.talk.inbox.put(ConnectionLostError(str(error)))
        finally:
            sent.set()

    def _take_thrown(self, status: int, content: bytes) -> None:
        try:
            self.talk.take(content)
        except ConnectionLostError:
            self.talk.inbox.put(RefusedError(status, content))

    def _note_session(self, method: str, incoming: Incoming) -> None:
        if method == "initialize" and self.session_id is None:
            self.session_id = incoming.headers.get(SESSION.lower())

    @asynccontextmanager
    async def listen(self, wanted: Wanted, last_event_id: str | None) -> AsyncIterator[Listening]:
        """The standing GET; with an id it goes on where that stream was."""
        listening = Listening(wanted)
        if last_event_id is not None:
            listening.event_ids = next((ids for ids in self.talk.streams if last_event_id in ids), [])
        self.talk.spawn(self._stand, listening, last_event_id, what="listen")
        try:
            await listening.begun.wait()
            if listening.fault is not None:
                raise listening.fault
            yield listening
        finally:
            listening.scope.cancel("nobody listens any more")

    async def _stand(self, listening: Listening, last_event_id: str | None) -> None:
        ids = listening.event_ids
        headers = self._session_headers(Accept=EVENT_STREAM, **{"Last-Event-ID": last_event_id})
        error: Exception = ConnectionLostError("the client closed the connection")
        try:
            with listening.scope:
                async with self.web.open("GET", self._path, headers=headers) as incoming:
                    await expect_stream(incoming)
                    if not any(known is ids for known in self.talk.streams):
                        self.talk.streams.append(ids)
                    listening.begun.set()
                    await read_events(incoming, partial(self.talk.take, listening=listening), ids)
                    error = ConnectionLostError("the server ended the stream")
        except RefusedError as refused:
            error = refused
        except (TransportFault, ConnectionLostError) as fault:
            error = ConnectionLostError(str(fault))
        finally:
            listening.end(error)

    async def end_session(self) -> None:
        """DELETE it.

        Raises:
            ConnectionLostError: it may not have come there.
            McpError, RefusedError: the server does not do it.
        """
        if self.session_id is None or self._is_over:
            await trio.lowlevel.checkpoint()
            return
        await self.request("DELETE", self._path, b"", self._session_headers())
        self._is_over = True

    def join_session(self, session_id: str | None) -> None:
        """Speak in a session that another client opened, and will end."""
        self.session_id, self._is_over = session_id, True

    async def farewell(self) -> None:
        """DELETE the session; quietly where it is gone."""
        with suppress(ConnectionLostError, McpError, RefusedError):
            await self.end_session()
