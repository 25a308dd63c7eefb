"""`Session`: the session era's nursery, and all that lives in it (2025-11-25, basic/lifecycle and basic/transports).

Theory of operation. The session's own task waits for the session to fall idle; the calls are tasks of its nursery.
Messages come in through `deliver`, which never waits: it asks the protocol what a message means, and answers, starts
a call or wakes one. Each POST brings an outlet; a dropped connection takes the reader off the outlet and leaves the
call alone. When the nursery ends, for whatever reason, calls are cancelled, outlets closed, events forgotten.

It refuses to know HTTP, and to look at other sessions.
"""

import logging
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import msgspec
import trio

from trio_mcp.auth.tokens import Authorization
from trio_mcp.exceptions import ToolError
from trio_mcp.protocol.errors import INVALID_REQUEST, TOO_MANY_REQUESTS, UNAVAILABLE, McpError
from trio_mcp.protocol.events import (
    CancelReceived,
    Ignored,
    InitializeReceived,
    RequestReceived,
    ResponseReceived,
)
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.session import SessionProtocol, State
from trio_mcp.protocol.shaping import shape
from trio_mcp.runtime.by_name import BY_NAME, call_by_name, read_by_name
from trio_mcp.runtime.call import NO_HEADERS, Answer, Call, Owner
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.replay import EventStore, SessionHistory
from trio_mcp.runtime.scopes import check_scopes
from trio_mcp.runtime.subscriptions import CHANGED, Subscriptions
from trio_mcp.runtime.tally import Tally
from trio_mcp.wire.base import RequestId, Result
from trio_mcp.wire.jsonrpc import (
    ErrorBody,
    Message,
    Request,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
)
from trio_mcp.wire.lifecycle import CancelledParams, InitializeResult
from trio_mcp.wire.logging import SEVERITY, LoggingLevel
from trio_mcp.wire.resources import ResourceUpdatedParams

_log = logging.getLogger("trio_mcp.session")
T = TypeVar("T")

#: What is sent to a client that never said which log messages it wants (server/utilities/logging: MAY decide).
DEFAULT_LOG_LEVEL: Final[LoggingLevel] = "info"


class SessionOwner(Owner, Protocol):
    """What a session needs of its host."""

    subscriptions: Subscriptions
    event_store: EventStore
    tally: Tally | None


class Keeper(Protocol):
    """Keeps what a session needs to be revived by another process; `runtime.revival` has it."""

    def keep(self) -> None:
        """Something of that has changed."""
        ...

    def rest(self) -> None:
        """The session's process goes away."""
        ...


class _Question:
    """A request of ours that the client has not answered yet."""

    __slots__ = ("answered", "error", "result")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.result: bytes = b""
        self.error: ErrorBody | None = None


class SessionCall(Call):
    """A call of the session era: it may ask the client while it runs, and outlives its connection."""

    own_methods = MappingProxyType({BY_NAME.name: call_by_name})

    __slots__ = ("owed", "session")

    def __init__(
        self,
        session: "Session",
        event: RequestReceived,
        outlet: Outlet,
        headers: Headers,
        authorization: Authorization | None,
    ) -> None:
        protocol = session.protocol
        super().__init__(
            session.host,
            outlet,
            event.id,
            event.method,
            event.params,
            protocol.revision,
            client_info=protocol.client_info,
            client_capabilities=protocol.client_capabilities,
            headers=headers,
            session_id=session.public_id,
            principal=session.principal,
            authorization=authorization,
        )
        self.session = session
        self.owed = True

    def wants_log(self, level: LoggingLevel) -> bool:
        """Whether the session's level lets it pass."""
        return SEVERITY[level] >= SEVERITY[self.session.log_level]

    async def ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """Send a request to the client on this call's stream and await the answer.

        Cancellation: the client is told with `notifications/cancelled`, and a late answer is ignored.

        Raises:
            McpError: the client answered with an error, or cannot be asked on this stream.
            ToolError: the answer does not fit.
            trio.TooSlowError: no answer within `Settings.request_timeout`.
        """
        return await self.session.ask(method, params, self.outlet, read)

    def finish(self, outcome: Answer | None) -> None:
        """Answer, if the session still owes it: what the server itself cut short is answered as such."""
        session = self.session
        session.call_finished(self)
        if self.owed:
            session.protocol.answer(self.id)
            data, error_code, _ = outcome or Answer(
                encode_error(self.id, UNAVAILABLE, "The session ended before this was done"), UNAVAILABLE
            )
            self.outlet.respond(data, error_code)
        else:
            self.outlet.withdraw()
        if not self.outlet.attended:
            session.drop_stream(self.outlet)


class Session:
    """One session.

    Args:
        public_id: what clients call it; None on a pipe, where the session is the connection.
        standing: the outlet for what belongs to no call; a pipe gives its own. What gives one has the answers of calls
            go out on it, too.
        transport: what the session came in by: a name of `settings.TRANSPORTS`, or "pipe". It is unknown to others.
        principal: who opened it, and whose alone it is; empty where nobody was asked.

    Attributes:
        calls: calls by their request id; a cancelled one stays until it has cleaned up, or its id is used again.
        running: calls whose task has not ended, all of them.
        ending: `end` was called, or the session fell idle: it takes nothing in any more.
        ended: set when nothing of the session is left.
        keeper: where the session outlives its process.
        lost: numbers of streams that a process before may have opened, and of which nothing is known.
    """

    def __init__(
        self,
        host: SessionOwner,
        key: str,
        *,
        public_id: str | None,
        standing: Outlet | None = None,
        transport: str = "http",
        principal: str = "",
    ) -> None:
        settings = host.server.settings
        self.host = host
        self.key = key
        self.public_id = public_id
        self.transport = transport
        self.answers_on_standing = standing is not None
        self.principal = principal
        self.protocol = SessionProtocol()
        self.history = SessionHistory(host.event_store, key)
        if standing is None:
            standing = Outlet(settings.stream_buffer, expected=None, history=self.history)
        self.standing = standing
        self.streams: dict[int, Outlet] = {}
        self.calls: dict[RequestId, SessionCall] = {}
        self.subscribed: frozenset[str] = frozenset()
        self.log_level: LoggingLevel = DEFAULT_LOG_LEVEL
        self.running = 0
        self.readers = 0
        self.began = self.last_active = trio.current_time()
        self.ending = False
        self.ended = trio.Event()
        self._quiet: trio.Event | None = None
        self._scope: trio.CancelScope | None = None  # that of the nursery
        self._questions: dict[RequestId, _Question] = {}
        self.keeper: Keeper | None = None
        self.lost = range(0)
        self.next_stream = 1
        self._spawn: Callable[..., None] | None = None

    # Life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until ended or idle. Started once, by the host, in its nursery.

        Cancellation: calls are cancelled and awaited, outlets closed, events forgotten.
        """
        try:
            async with trio.open_nursery() as session_nursery:
                self._scope = session_nursery.cancel_scope
                self._spawn = session_nursery.start_soon
                self.host.subscriptions.add(self)
                task_status.started()
                await self._fall_idle()
                self.end("the session was idle")
        finally:
            self.ending = True
            self._spawn = None
            self.host.subscriptions.remove(self)
            self.protocol.close()
            for outlet in (*self.streams.values(), self.standing):
                if outlet is not self.standing or self.public_id is not None:
                    outlet.close()
            self.streams.clear()
            if self.keeper is None or self.history.closed:
                self.history.forget()
            else:
                self.keeper.rest()
            self.ended.set()

    async def _fall_idle(self) -> None:
        idle = self.host.server.settings.session_idle
        while True:
            busy = self.running > 0 or self.readers > 0 or self.public_id is None
            due = (trio.current_time() if busy else self.last_active) + idle
            if due <= trio.current_time():
                return
            await trio.sleep_until(due)

    def end(self, reason: str = "the server goes away", *, for_good: bool = True) -> None:
        """End the session and everything in it; `ended` tells when that is done.

        Args:
            for_good: else a session with a keeper may be revived.
        """
        if for_good and self.keeper is not None:
            self.history.forget()  # at once, so that nobody revives it meanwhile
        self.ending = True
        for call in tuple(self.calls.values()):
            call.cancel(reason)
        if self._scope is not None:
            self._scope.cancel(reason)

    def farewell(self) -> None:
        """The server goes away: end the standing stream with its terminator; calls in flight keep theirs.

        Where the answers to calls go out on the standing stream, it ends with the session, once they are there.
        """
        if self.public_id is not None and not (self.answers_on_standing and self.running):
            self.standing.close()

    def reading(self, step: int) -> None:
        """Count connections that read one of the streams: a session that is read is not idle."""
        self.readers += step
        if not self.readers:  # until then it is not idle, whenever it was active
            self.last_active = trio.current_time()

    # Streams

    def open_stream(self, expected: int = 1) -> Outlet:
        """A new outlet for the answers of one POST."""
        number = self.next_stream
        self.next_stream += 1
        outlet = Outlet(self.host.server.settings.stream_buffer, expected=expected, number=number, history=self.history)
        self.streams[number] = outlet
        return outlet

    def drop_stream(self, outlet: Outlet) -> None:
        """Let go of an outlet that is closed, or that nobody can come back to."""
        if outlet.closed or not outlet.committed:
            self.streams.pop(outlet.number, None)

    async def resume(self, last_event_id: str) -> Outlet:
        """The stream that an event belongs to, holding what came after it.

        Raises:
            ValueError: not an event of this session.
        """
        number = self.history.stream_of(last_event_id)
        if number in self.lost:
            raise ValueError(f"the server was restarted, and nothing is known of event {last_event_id}")
        outlet = self.standing if number == 0 else self.streams.get(number)
        if outlet is None:
            outlet = Outlet(self.host.server.settings.stream_buffer, number=number, history=self.history)
            outlet.close()
        elif outlet.committed:
            outlet.cut("another reader takes over")  # before the store is read: what it took would be lost to us
        if number >= self.next_stream or not (outlet.committed or outlet.closed):
            raise ValueError(f"no such event in this session: {last_event_id}")
        replayed = await self.history.after(last_event_id)
        # A store may take its time: what came meanwhile waits in the outlet and need not be among what it gave.
        outlet.resume(self.history.merged(last_event_id, (*replayed, *outlet.take())))
        return outlet

    # Messages

    def deliver(
        self,
        message: Message,
        outlet: Outlet,
        headers: Headers = NO_HEADERS,
        authorization: Authorization | None = None,
    ) -> None:
        """Take one message in; answers go into `outlet`. Never waits.

        An answer to a request that breaks the protocol is in the outlet when this returns.
        """
        if not (self.readers or self.running):
            self.last_active = trio.current_time()
        try:
            event = self.protocol.receive(message)
        except McpError as error:
            assert isinstance(message, Request)
            self._count(message.method, "refused")
            outlet.respond(encode_error(message.id, error.code, error.message, error.data), error.code)
            return
        if isinstance(event, RequestReceived):
            self._request(event, outlet, headers, authorization)
        elif isinstance(event, InitializeReceived):
            self._initialize(event, outlet)
        elif isinstance(event, ResponseReceived):
            question = self._questions.get(event.id)
            if question is not None:
                question.result = bytes(event.result or b"")
                question.error = event.error
                question.answered.set()
        elif isinstance(event, CancelReceived):
            self._cancel(event)
        elif isinstance(event, Ignored):
            _log.debug("session %s: ignored: %s", self.key, event.why)

    def call_tool(
        self,
        request: Request,
        outlet: Outlet,
        headers: Headers = NO_HEADERS,
        authorization: Authorization | None = None,
    ) -> None:
        """Take in a request whose method is a tool's name; see `runtime.by_name`. Never waits."""
        self.last_active = trio.current_time()
        try:
            params = read_by_name(request)
            self.protocol.admit(request.id, request.method)
        except McpError as error:
            outlet.respond(encode_error(request.id, error.code, error.message, error.data), error.code)
            return
        self._request(RequestReceived(request.id, BY_NAME, params), outlet, headers, authorization)

    def _initialize(self, event: InitializeReceived, outlet: Outlet) -> None:
        server = self.host.server
        self.protocol.answer(event.id)
        result = InitializeResult(
            protocol_version=self.protocol.revision.version,
            capabilities=server.capabilities(),
            server_info=server.info,
            instructions=server.instructions,
        )
        self._count("initialize")
        outlet.respond(
            encode_result(event.id, shape(result, self.protocol.revision, stamp={}, ttl_ms=0, cache_scope=""))
        )
        if self.keeper is not None:
            self.keeper.keep()

    def _request(
        self, event: RequestReceived, outlet: Outlet, headers: Headers, authorization: Authorization | None
    ) -> None:
        try:
            check_scopes(self.host, authorization, event.method.name, event.params)
        except McpError as error:
            self.protocol.answer(event.id)
            outlet.respond(encode_error(event.id, error.code, error.message, error.data), error.code)
            return
        quick = _QUICK.get(event.method.name)
        if quick is not None:
            quick(self, event.params)
            self.protocol.answer(event.id)
            self._count(event.method.name)
            outlet.respond(encode_result(event.id, Result()))
            if self.keeper is not None and quick is not _ping:
                self.keeper.keep()
            return
        if self.running >= self.host.server.settings.max_requests_per_session or self._spawn is None:
            self.protocol.answer(event.id)
            self._count(event.method.name, "refused")
            message = f"Too many requests in flight in this session ({self.running}): await some answers first"
            outlet.respond(encode_error(event.id, TOO_MANY_REQUESTS, message), TOO_MANY_REQUESTS)
            return
        call = SessionCall(self, event, outlet, headers, authorization)
        self.calls[event.id] = call
        self.running += 1
        self.host.call_began(call)
        self._spawn(call.run, answer, name=f"call {event.method.name} {event.id}")

    def _count(self, method: str, outcome: str = "ok") -> None:
        """Count a request that no call answers."""
        if self.host.tally is not None:
            self.host.tally.instant(method, outcome)

    def _cancel(self, event: CancelReceived) -> None:
        call = self.calls.get(event.id)
        self.protocol.answer(event.id)
        if call is not None:
            call.owed = False
            call.cancel(f"the client cancelled it: {event.reason}")

    def call_finished(self, call: SessionCall) -> None:
        """A call has ended: forget it."""
        self.running -= 1
        if self.calls.get(call.id) is call:
            del self.calls[call.id]
        if not (self.readers or self.running):
            self.last_active = trio.current_time()
        if self._quiet is not None and not self.running:
            self._quiet.set()
            self._quiet = None

    async def calls_ended(self) -> None:
        """Wait until no call runs. Cancellation: nothing happened."""
        await trio.lowlevel.checkpoint()
        while self.running:
            if self._quiet is None:
                self._quiet = trio.Event()
            await self._quiet.wait()

    async def ask(self, method: str, params: Any, outlet: Outlet, read: Callable[[bytes], T]) -> T:
        """Send the client a request and await its answer; see `SessionCall.ask`."""
        if outlet.answers_only:
            raise McpError(INVALID_REQUEST, f"{method} needs a stream, and replies here are plain JSON")
        params = msgspec.Raw(msgspec.json.encode(params))  # what cannot be encoded fails here, before anything is owed
        id = self.protocol.ask(method)
        question = self._questions[id] = _Question()
        outlet.put(encode_request(id, method, params))
        try:
            with trio.fail_after(self.host.server.settings.request_timeout):
                await question.answered.wait()
        finally:
            del self._questions[id]
            if self.protocol.abandon(id):
                outlet.put(encode_notification("notifications/cancelled", CancelledParams(request_id=id)))
        if question.error is not None:
            raise McpError(question.error.code, question.error.message, question.error.data)
        try:
            return read(question.result)
        except ValueError as error:
            raise ToolError(f"The client's answer to {method} does not fit: {error}") from error

    # Changes

    def heard(self, kind: str, uri: str | None) -> None:
        """Pass a change on: lists to every client, a resource to those who subscribed to it."""
        if self.protocol.state is not State.READY:
            return
        if uri is None:
            self.standing.put_once(encode_notification(CHANGED[kind]))
        elif uri in self.subscribed:
            self.standing.put_once(encode_notification(CHANGED[kind], ResourceUpdatedParams(uri=uri)))


def _set_level(session: Session, params: Any) -> None:
    session.log_level = params.level


def _subscribe(session: Session, params: Any) -> None:
    session.subscribed |= {params.uri}


def _unsubscribe(session: Session, params: Any) -> None:
    session.subscribed -= {params.uri}


def _ping(session: Session, params: Any) -> None:
    return None


#: Methods that only change the session, answered at once with an empty result.
_QUICK: Final[dict[str, Callable[[Session, Any], None]]] = {
    "ping": _ping,
    "logging/setLevel": _set_level,
    "resources/subscribe": _subscribe,
    "resources/unsubscribe": _unsubscribe,
}
