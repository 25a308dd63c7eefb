"""What a test client waits for: requests in flight, what is heard beside them, and how a wait can end.

It owns the states of one request: sent or not, then answered, refused, cancelled or lost; a lost one may still be
answered, by a stream that was resumed. It refuses to know how a message travels.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from trio_mcp.wire.base import RequestId

Json = dict[str, Any]
OnProgress = Callable[[float, float | None, str | None], None]
"""Called with progress, total and message."""
T = TypeVar("T")


class ConnectionLostError(Exception):
    """The connection ended before what was waited for came; `how` says in words how."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class RefusedError(Exception):
    """The server answered with an HTTP status and without a JSON-RPC error."""

    def __init__(self, status: int, body: bytes = b"") -> None:
        super().__init__(f"{status} {body[:200].decode('utf-8', 'replace')}".rstrip())
        self.status = status
        self.body = body


class RequestCancelledError(Exception):
    """The client itself cancelled the request; `str()` is the reason."""


@attrs.define(kw_only=True, eq=False)
class Asked:
    """One request as it went over the wire: what invariants are checked against.

    Attributes:
        sent: the whole of it was written.
        answers: how many responses came with its id.
        cancelled: the client gave it up.
        lost: the connection ended before an answer; one may have come later, on a resumed stream.
        late: how many progress notifications came after an answer.
        refused: the HTTP status that came in place of an answer.
    """

    id: RequestId
    method: str
    sent: bool = False
    answers: int = 0
    cancelled: bool = False
    lost: bool = False
    late: int = 0
    refused: int | None = None


class Inbox(Generic[T]):
    """What came and nobody has taken yet, in order. Unbounded: a test hears all that it was sent."""

    def __init__(self) -> None:
        self._items: deque[T | Exception] = deque()
        self._end: Exception | None = None
        self._came = trio.lowlevel.ParkingLot()

    def put(self, item: T | Exception) -> None:
        """Add one; an exception is raised where it is taken."""
        self._items.append(item)
        self._came.unpark_all()

    def end(self, error: Exception) -> None:
        """Nothing more comes: once all is taken, `receive` raises `error`."""
        if self._end is None:
            self._end = error
            self._came.unpark_all()

    @property
    def fault(self) -> Exception | None:
        """Why nothing more comes."""
        return self._end

    def reopen(self) -> None:
        """More may come after all."""
        self._end = None

    async def receive(self) -> T:
        """The next one, once it is there. Cancellation: nothing was taken.

        Raises:
            ConnectionLostError: nothing more can come.
        """
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._end is not None:
                raise self._end
            await self._came.park()
        item = self._items.popleft()
        if isinstance(item, Exception):
            raise item
        return item


@attrs.frozen(kw_only=True)
class Wanted:
    """Which changes are listened to."""

    tools: bool = True
    prompts: bool = True
    resources: bool = True
    uris: tuple[str, ...] = ()

    def takes(self, method: str, params: Json) -> bool:
        """Whether a notification tells of one of them."""
        if method == "notifications/resources/updated":
            return params.get("uri") in self.uris
        kinds = {"tools": self.tools, "prompts": self.prompts, "resources": self.resources}
        return any(on and method == f"notifications/{kind}/list_changed" for kind, on in kinds.items())

    def filter(self) -> Json:
        """The same in the words of `subscriptions/listen`."""
        kinds = {"tools": self.tools, "prompts": self.prompts, "resources": self.resources}
        found: Json = {f"{kind}ListChanged": True for kind, on in kinds.items() if on}
        return {**found, "resourceSubscriptions": list(self.uris)} if self.uris else found


class Listening(Inbox[Json]):
    """Notifications of one subscription or one standing stream; `receive` gives the next.

    Attributes:
        event_ids: of the stream's events, those before a resumption included.
        begun: it is known that the server tells changes from here on.
    """

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted
        self.event_ids: list[str] = []
        self.begun = trio.Event()
        self.scope = trio.CancelScope()

    @property
    def last_event_id(self) -> str | None:
        """The id to come back with; None where the stream gave none."""
        return self.event_ids[-1] if self.event_ids else None

    def end(self, error: Exception) -> None:
        """Nothing more comes."""
        super().end(error)
        self.begun.set()


class Carrier(Protocol):
    """What a request in flight needs of its client."""

    async def cancel(self, pending: "Pending", reason: str) -> None:
        """Tell the server that no answer is wanted."""

    def cancel_soon(self, pending: "Pending", reason: str) -> None:
        """The same, in a task of the client."""

    async def resume(self, pending: "Pending") -> None:
        """Come back for the rest of the stream."""


class Pending:
    """A request that was begun.

    Attributes:
        asked: what went over the wire; a retry of the per-request era is another request with another id.
        params: of the request, without what the client adds.
        meta: what the client adds to `_meta` beside what the revision demands.
        event_ids: of the events of its stream, in order, resumptions included.
        retry: virtual seconds after which the stream is come back to, as the server said.
        reading: counts who reads the stream: only the last reader's end is the request's.
    """

    def __init__(self, carrier: Carrier, asked: Asked, params: Json | None, meta: Json) -> None:
        self.asked = asked
        self.params = params
        self.meta = meta
        self.on_progress: OnProgress | None = None
        self.listening: Listening | None = None
        self.event_ids: list[str] = []
        self.retry = 1.0
        self.reading = 0
        self.scope: trio.CancelScope | None = None
        self._carrier = carrier
        self._gone_out = trio.Event()
        self._ended = trio.Event()
        self._result: Json | None = None
        self._fault: Exception | None = None

    @property
    def id(self) -> RequestId:
        """The JSON-RPC id; in the per-request era that of the last retry."""
        return self.asked.id

    @property
    def method(self) -> str:
        """The method that was asked for."""
        return self.asked.method

    @property
    def done(self) -> bool:
        """Whether `result` does not wait."""
        return self._ended.is_set()

    @property
    def fault(self) -> Exception | None:
        """What `result` raises."""
        return self._fault

    @property
    def last_event_id(self) -> str | None:
        """The id to come back with; None where the stream gave none."""
        return self.event_ids[-1] if self.event_ids else None

    async def result(self) -> Json:
        """The result, once it is there. Cancellation: the request goes on.

        Raises:
            McpError: the server answered with an error.
            ConnectionLostError: the connection ended before the answer.
            RefusedError: an HTTP status without a JSON-RPC error came.
            RequestCancelledError: this client cancelled it.
        """
        await self._ended.wait()
        if self._fault is not None:
            raise self._fault
        assert self._result is not None, "it ends with one of the two"
        return self._result

    async def cancel(self, reason: str = "it is not needed any more") -> None:
        """Give the request up: `result` raises, and the server is told once the request is out.

        In the session era and on pipes by `notifications/cancelled`, in the per-request era over HTTP by closing the
        response. Nothing happens to one that is done. Cancellation: the server may not have been told.

        Raises:
            ConnectionLostError: the server could not be told.
            RefusedError: the server did not take the notification.
        """
        await trio.lowlevel.checkpoint()
        if self._give_up(reason):
            await self._carrier.cancel(self, reason)

    def cancel_soon(self, reason: str) -> None:
        """The same, by a task of the client; a connection that is gone is no fault."""
        if self._give_up(reason):
            self._carrier.cancel_soon(self, reason)

    def _give_up(self, reason: str) -> bool:
        if self.done:
            return False
        self.asked.cancelled = True
        self.settle(fault=RequestCancelledError(reason))
        return True

    async def resume(self) -> None:
        """Come back with the last event id for the rest of the stream; returns once the server has agreed.

        The result then arrives here. Another reader of the stream is sent away by the server. Nothing happens where
        the answer is there. Only in the session era over HTTP, and in the notifications dialect. Cancellation: the
        stream is read all the same.

        Raises:
            ConnectionLostError: there is nothing to come back to, or the connection ended again.
            RefusedError: the server does not know the stream any more.
        """
        await trio.lowlevel.checkpoint()
        if not (self.asked.answers or self.asked.cancelled):
            await self._carrier.resume(self)

    # For the transports

    def went_out(self) -> None:
        """The request was written."""
        self.asked.sent = True
        self._gone_out.set()

    async def wait_out(self) -> None:
        """Until the request was written, or never will be. Cancellation: nothing happened."""
        await self._gone_out.wait()

    def settle(self, result: Json | None = None, fault: Exception | None = None) -> None:
        """Note the outcome, if there is none yet. An answer counts even after a loss."""
        if not self.done or isinstance(self._fault, ConnectionLostError):
            if isinstance(fault, RefusedError):
                self.asked.refused = fault.status
            self._result, self._fault = result, fault
            self._ended.set()
            if self.listening is not None:
                self.listening.end(fault or ConnectionLostError("the server ended the subscription"))

    def lost(self, how: str) -> None:
        """The connection ended; without effect where there is an outcome."""
        self._gone_out.set()
        if not self.done:
            self.asked.lost = True
            self.settle(fault=ConnectionLostError(how))

    def reopen(self) -> int:
        """Another reads; wait for the answer again, where it was lost. The number of the new reader."""
        self.reading += 1
        if isinstance(self._fault, ConnectionLostError):
            self._fault = None
            self._ended = trio.Event()
        return self.reading

    def asks_again(self, asked: Asked, params: Json) -> None:
        """It goes on as another request."""
        self.asked, self.params = asked, params
        self._gone_out = trio.Event()
