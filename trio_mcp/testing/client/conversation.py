"""One client's half of the protocol, in both eras: ids, requests in flight, questions of the server, and the record.

Theory of operation. Messages come in through `take`, which never waits. A response settles the request that it answers,
and is counted there; one that answers nothing, or answers twice, is kept in `unasked`. A request of the server is
answered by a task; so is a result that asks for input, by another request. What nobody waits for goes into the inbox.
When the one connection of a transport is gone, `lose` ends every wait at once.

It refuses to know how a message travels, and to judge what a server does: it keeps it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import trio

from trio_mcp.protocol.errors import INTERNAL_ERROR, McpError
from trio_mcp.protocol.revisions import Revision
from trio_mcp.testing.client.answering import Answering, Answers
from trio_mcp.testing.client.link import Link
from trio_mcp.testing.client.pending import (
    Asked,
    ConnectionLostError,
    Inbox,
    Json,
    Listening,
    OnProgress,
    Pending,
    RefusedError,
    Wanted,
)
from trio_mcp.version import __version__
from trio_mcp.wire.base import (
    CLIENT_CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    LOG_LEVEL_KEY,
    PROTOCOL_VERSION_KEY,
    SUBSCRIPTION_ID_KEY,
    UNSET,
    RequestId,
)
from trio_mcp.wire.jsonrpc import (
    Notification,
    Request,
    Response,
    WireError,
    decode,
    encode_notification,
    encode_request,
    is_batch,
)

MAX_DEPTH: Final = 200
CLIENT: Final = {"name": "trio-mcp-testing", "version": __version__}
_OF_ONE_ROUND: Final = ("inputResponses", "requestState")

_read = msgspec.json.Decoder().decode
_read_members = msgspec.json.Decoder(list[msgspec.Raw]).decode

#: Where a client begins to count that speaks in another's session: in one session no id is used twice.
_JOINED: Final = 1_000_000


class Conversation:
    """What one client said and heard.

    Args:
        name: the client's; tasks are named after it.
        answers: to requests of the server, by method.

    Attributes:
        link: how messages travel; set before the client runs.
        revision: what is spoken; a server may have chosen another one than was asked for.
        requests, streams, unasked, notifications: the record, see `Client`.
        inbox: what nobody waits for.
    """

    def __init__(self, name: str, revision: Revision, *, capabilities: Json | None, answers: Answers) -> None:
        self.name = name
        self.revision = revision
        self._answering = Answering(answers)
        self.capabilities = self._answering.capabilities(revision) if capabilities is None else capabilities
        self.requests: list[Asked] = []
        self.streams: list[list[str]] = []
        self.unasked: list[Json] = []
        self.notifications: list[Json] = []
        self.inbox: Inbox[Json] = Inbox()
        self.log_level: str | None = None
        self.link: Link
        self._next_id = 1
        self._asked: dict[RequestId, Asked] = {}
        self._pendings: dict[RequestId, Pending] = {}
        self._listenings: dict[Listening, None] = {}
        self._raw: list[RequestId | None] = []
        self._client_nursery: trio.Nursery | None = None
        self._lost: str | None = None
        self._left = False

    # Life

    def enter(self, client_nursery: trio.Nursery) -> None:
        """Begin: tasks run in the client's nursery."""
        self._client_nursery = client_nursery

    def join(self, other: "Conversation") -> None:
        """Speak in another's session: as that one agreed, and with ids of our own."""
        self.revision = other.revision
        self._next_id = _JOINED

    def leave(self) -> None:
        """End: no task begins any more, and every wait ends."""
        self._left = True
        self.lose("the client has left")

    def spawn(self, run: Callable[..., Awaitable[None]], *args: Any, what: str) -> None:
        """Begin a task of the client; none, once it has left.

        Raises:
            RuntimeError: the client does not run yet.
        """
        client_nursery = self._check_running()
        if not self._left:
            client_nursery.start_soon(run, *args, name=f"{self.name}: {what}")

    def _check_running(self) -> trio.Nursery:
        if self._client_nursery is None:
            raise RuntimeError(f"{self.name} does not run: use it inside `async with client.running():`")
        return self._client_nursery

    def check(self) -> None:
        """Go on only where messages can be sent.

        Raises:
            RuntimeError: the client does not run yet.
            ConnectionLostError: the connection is gone, or the client has left.
        """
        self._check_running()
        if self._lost is not None:
            raise ConnectionLostError(self._lost)

    def lose(self, how: str) -> None:
        """The connection that everything comes on has ended: so does every wait."""
        self._lost = how
        for pending in tuple(self._pendings.values()):
            pending.lost(how)
        for listening in self._listenings:
            listening.end(ConnectionLostError(how))
        self.inbox.end(ConnectionLostError(how))

    def found(self) -> None:
        """That connection is there again."""
        if not self._left:
            self._lost = None
            self.inbox.reopen()

    # What goes out

    def begin(
        self,
        method: str,
        params: Json | None = None,
        *,
        on_progress: OnProgress | None = None,
        log_level: str | None = None,
        listening: Listening | None = None,
    ) -> Pending:
        """Send a request by a task of the client.

        Raises:
            RuntimeError: the client does not run yet.
        """
        self._check_running()
        level = log_level or self.log_level
        meta = {LOG_LEVEL_KEY: level} if level is not None and self.revision.per_request else {}
        pending = Pending(self, self._new(method), params, meta)
        pending.on_progress, pending.listening = on_progress, listening
        self._launch(pending)
        return pending

    def _new(self, method: str) -> Asked:
        asked = Asked(id=self._next_id, method=method)
        self._next_id += 1
        self.requests.append(asked)
        self._asked[asked.id] = asked
        return asked

    def _launch(self, pending: Pending) -> None:
        self._pendings[pending.id] = pending
        if self._lost is not None:
            pending.lost(self._lost)
        else:
            params = self._params(pending)
            self.link.ask(pending, encode_request(pending.id, pending.method, UNSET if params is None else params))

    def _params(self, pending: Pending) -> Json | None:
        given, meta = pending.params, pending.meta
        if pending.on_progress is not None:
            meta = {**meta, "progressToken": pending.id}
        if self.revision.per_request:
            meta = {**self.envelope(), **meta}
        elif not meta:
            return given
        given = given or {}
        return {**given, "_meta": {**meta, **(given.get("_meta") or {})}}

    def envelope(self) -> Json:
        """The metadata that everything carries in the per-request era."""
        version, capabilities = self.revision.version, self.capabilities
        return {PROTOCOL_VERSION_KEY: version, CLIENT_CAPABILITIES_KEY: capabilities, CLIENT_INFO_KEY: CLIENT}

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a notification; see `Link.tell`."""
        self.check()
        if self.revision.per_request:
            params = {**(params or {}), "_meta": {**self.envelope(), **((params or {}).get("_meta") or {})}}
        await self.link.tell(encode_notification(method, UNSET if params is None else params), method)

    async def send(self, message: Json | bytes) -> None:
        """Send anything, and remember which answers to it may come."""
        self.check()
        body = message if isinstance(message, bytes) else msgspec.json.encode(message)
        value: Any = None
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value = _read(body)
        for member in value if isinstance(value, list) else [value]:
            method, id = (member.get("method"), member.get("id")) if isinstance(member, dict) else (None, None)
            if id is not None or method is None:
                self._raw.append(id if isinstance(id, (str, int)) else None)
        await self.link.throw(body, value if isinstance(value, dict) else {})

    async def cancel(self, pending: Pending, reason: str) -> None:
        """Tell the server that no answer is wanted."""
        await self.link.cancel(pending, reason)

    def cancel_soon(self, pending: Pending, reason: str) -> None:
        """The same by a task; a connection that is gone is no fault."""
        if self._lost is None:
            self.spawn(self._cancel_quietly, pending, reason, what=f"cancel {pending.method} {pending.id}")

    def give_up(self, id: RequestId, reason: str) -> None:
        """Cancel the request of that id, where one is in flight, by a task."""
        pending = self._pendings.get(id)
        if pending is not None:
            pending.cancel_soon(reason)

    async def _cancel_quietly(self, pending: Pending, reason: str) -> None:
        with suppress(ConnectionLostError, RefusedError, McpError):
            await self.link.cancel(pending, reason)

    async def notify_cancelled(self, pending: Pending, reason: str) -> None:
        """`notifications/cancelled`, once the request itself is out."""
        await pending.wait_out()
        if pending.asked.sent:
            await self.notify("notifications/cancelled", {"requestId": pending.id, "reason": reason})

    async def resume(self, pending: Pending) -> None:
        """Come back for the rest of a request's stream."""
        self._pendings[pending.id] = pending
        await self.link.resume(pending)

    # What comes in

    def take(self, data: bytes, asked: Asked | None = None, listening: Listening | None = None) -> None:
        """Take one message or a batch in.

        Args:
            asked: the request in whose reply it came.
            listening: who reads the stream that it came on.

        Raises:
            ConnectionLostError: it is none; nothing that comes behind it can be relied on.
        """
        if is_batch(data):
            try:
                members = _read_members(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ConnectionLostError(f"the server sent what is no JSON: {error}") from None
            for member in members:
                self.take(bytes(member), asked, listening)
            return
        try:
            message = decode(data, max_depth=MAX_DEPTH)
            if isinstance(message, Response):
                self._response(message, data, asked)
            elif isinstance(message, Notification):
                self._notification(message, data, listening)
            else:
                self._request(message, data)
        except (WireError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConnectionLostError(f"the server sent what is no message: {error}") from None

    def _response(self, response: Response, data: bytes, came_to: Asked | None) -> None:
        id = response.id
        asked = came_to if id is None else self._asked.get(id)
        if asked is not None and asked.answers == 0:
            asked.answers = 1
            pending = self._pendings.pop(asked.id, None)
            if pending is not None:
                self._settle(pending, response)
        elif id in self._raw or (id is None and self._raw):
            self._raw.remove(id if id in self._raw else self._raw[0])
            self.inbox.put(_read(data))
        else:
            if asked is not None:
                asked.answers += 1
            self.unasked.append(_read(data))

    def _settle(self, pending: Pending, response: Response) -> None:
        error = response.error
        if error is not None:
            pending.settle(fault=McpError(error.code, error.message, error.data))
            return
        result = _read(response.result or b"null")
        if not isinstance(result, dict):
            pending.settle(fault=McpError(INTERNAL_ERROR, f"the server's result is no object: {result!r}"))
        elif self.revision.per_request and result.get("resultType") == "input_required":
            self.spawn(self._give_input, pending, result, what=f"give input to {pending.method} {pending.id}")
        else:
            pending.settle(result)

    def _notification(self, notification: Notification, data: bytes, listening: Listening | None) -> None:
        message: Json = _read(data)
        self.notifications.append(message)
        method, params = notification.method, message.get("params", {})
        if method == "notifications/progress":
            asked = self._asked.get(params.get("progressToken"))
            if asked is not None and asked.answers:
                asked.late += 1
            pending = self._of(params.get("progressToken"))
            if pending is not None and pending.on_progress is not None:
                pending.on_progress(params.get("progress", 0), params.get("total"), params.get("message"))
                return
        elif method == "notifications/cancelled" and self._answering.cancel(params.get("requestId")):
            return
        listeners = self._listeners_to(method, params) if listening is None else [listening]
        for one in listeners:
            if method == "notifications/subscriptions/acknowledged":
                one.begun.set()
            else:
                one.put(message)
        if not listeners:
            self.inbox.put(message)

    def _of(self, id: object) -> Pending | None:
        return self._pendings.get(id) if isinstance(id, (str, int)) else None

    def _listeners_to(self, method: str, params: Json) -> list[Listening]:
        pending = self._of((params.get("_meta") or {}).get(SUBSCRIPTION_ID_KEY))
        if pending is not None:
            return [] if pending.listening is None else [pending.listening]
        return [one for one in self._listenings if one.wanted.takes(method, params)]

    # Questions of the server

    def _request(self, request: Request, data: bytes) -> None:
        if not self._answering.knows(request.method):
            self.inbox.put(_read(data))
        params = _read(request.params)
        self.spawn(self._reply, request.id, request.method, params, what=f"answer {request.method} {request.id}")

    async def _reply(self, id: RequestId, method: str, params: Json) -> None:
        reply = await self._answering.reply(id, method, params)
        if reply is not None:
            with suppress(ConnectionLostError, RefusedError, McpError):  # whoever waits finds out by itself
                await self.link.tell(reply)

    async def _give_input(self, pending: Pending, result: Json) -> None:
        """Answer `input_required` with another request (2026-07-28, basic/patterns/mrtr)."""
        given: Json = {}
        self._pendings[pending.id] = pending  # it is waited for all the same
        try:
            for key, question in (result.get("inputRequests") or {}).items():
                given[key] = await self._answering.answer(question["method"], question.get("params") or {})
        except McpError as error:
            pending.settle(fault=error)
        del self._pendings[pending.id]
        if not pending.done:
            params = {name: value for name, value in (pending.params or {}).items() if name not in _OF_ONE_ROUND}
            params |= {"inputResponses": given} if given else {}
            params |= {"requestState": result["requestState"]} if "requestState" in result else {}
            pending.asks_again(self._new(pending.method), params)
            self._launch(pending)

    # Listening where there is one stream for all

    @asynccontextmanager
    async def hear(self, wanted: Wanted) -> AsyncIterator[Listening]:
        """What comes on the one stream, as far as it is wanted."""
        await trio.lowlevel.checkpoint()
        listening = Listening(wanted)
        self.check()
        self._listenings[listening] = None
        try:
            yield listening
        finally:
            del self._listenings[listening]
            listening.end(ConnectionLostError("nobody listens any more"))

    @asynccontextmanager
    async def subscribe(self, wanted: Wanted) -> AsyncIterator[Listening]:
        """`subscriptions/listen` (2026-07-28, basic/patterns/subscriptions), entered once it is acknowledged.

        Raises:
            McpError, RefusedError: it was refused.
            ConnectionLostError: the connection ended before that.
        """
        listening = Listening(wanted)
        pending = self.begin("subscriptions/listen", {"notifications": wanted.filter()}, listening=listening)
        listening.event_ids = pending.event_ids
        try:
            await listening.begun.wait()
            if pending.fault is not None:
                raise pending.fault
            yield listening
        finally:
            pending.cancel_soon("nobody listens any more")
