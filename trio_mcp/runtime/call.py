"""`Call`: one request being answered, in a task of its own, under a scope of its own.

A call is answered once or, when it is cancelled, not at all. What differs between the eras stands in its two
subclasses, beside the session and the per-request runner. It refuses to know what methods do: `dispatch` does, and
is handed in.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

import trio

from trio_mcp.auth.resource import ProtectedResource
from trio_mcp.auth.tokens import Authorization
from trio_mcp.context import Context
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.methods import Method
from trio_mcp.protocol.revisions import Revision
from trio_mcp.protocol.shaping import shape_progress
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.scopes import check_resource
from trio_mcp.server import Server
from trio_mcp.wire.base import ProgressToken, RequestId
from trio_mcp.wire.content import ResourceContents
from trio_mcp.wire.jsonrpc import encode_notification
from trio_mcp.wire.lifecycle import ClientCapabilities, Implementation, ProgressParams
from trio_mcp.wire.logging import LoggingLevel

T = TypeVar("T")
NO_HEADERS: Final = Headers(())


class Answer(NamedTuple):
    """An encoded response, the code where it is an error, and what it counts as.

    `outcome` is one of `runtime.tally`: `ok`, `failed` (a tool's result with `isError`), `timeout`, `error`, …
    """

    data: bytes
    error_code: int | None = None
    outcome: str = "ok"


class Owner(Protocol):
    """What a call needs of the host it runs in; `runtime.host.Host` is it."""

    server: Server
    lifespan: Any
    call_watchers: Sequence[Callable[["Call", Answer | None], None]]
    protected: ProtectedResource | None

    def call_began(self, call: "Call") -> None:
        """A call is about to run; told before its task is scheduled, so that a drain cannot overlook it."""
        ...

    def call_ended(self, call: "Call", outcome: str) -> None:
        """A call has ended, answered or not; `outcome` is that of its answer, or "cancelled"."""
        ...

    def publish(self, kind: str, uri: str | None = None) -> None:
        """Tell everyone who listens of a change."""
        ...


class Call(ABC):
    """One request being answered.

    Attributes:
        principal: whose request it is; empty where nobody was asked.
        authorization: what the request was let in by; None where no token was asked for.
        began: when it was taken in, on trio's clock.
        scope: everything the call does happens under it; cancelling it, with a reason, ends the call.
        cancelled_at: when it was told to end without an answer, on trio's clock; None: it was not.
        answered: the answer is out; nothing more may be sent for it.
        own_methods: what only this era's calls can do, beside `dispatch.HANDLERS`.
    """

    own_methods: ClassVar[Mapping[str, Callable[[Any], Awaitable[Any]]]] = MappingProxyType({})

    __slots__ = (
        "_headers",
        "answered",
        "authorization",
        "began",
        "cancelled_at",
        "client_capabilities",
        "client_info",
        "context",
        "host",
        "id",
        "method",
        "outlet",
        "params",
        "principal",
        "progress_token",
        "revision",
        "scope",
        "session_id",
    )

    def __init__(
        self,
        host: Owner,
        outlet: Outlet,
        id: RequestId,
        method: Method,
        params: Any,
        revision: Revision,
        *,
        client_info: Implementation | None,
        client_capabilities: ClientCapabilities,
        headers: Headers = NO_HEADERS,
        session_id: str | None = None,
        principal: str = "",
        authorization: Authorization | None = None,
    ) -> None:
        self.host = host
        self.outlet = outlet
        self.id = id
        self.method = method
        self.params = params
        self.revision = revision
        self.client_info = client_info
        self.client_capabilities = client_capabilities
        self._headers = headers
        self.began = trio.current_time()
        self.session_id = session_id
        self.principal = principal
        self.authorization = authorization
        self.scope = trio.CancelScope()
        self.cancelled_at: float | None = None
        self.answered = False
        meta = params.meta
        self.progress_token: ProgressToken | None = None if meta is None else meta.progress_token
        self.context: Context

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers of the request as text."""
        return self._headers.as_text()

    @property
    def lifespan(self) -> Any:
        """What the server's lifespan yielded."""
        return self.host.lifespan

    async def run(self, answer: Callable[["Call"], Awaitable[Answer]]) -> None:
        """Work the answer out and put it into the outlet, exactly once. Whoever starts it has told the host.

        Cancellation: the outlet is told that no answer will come; nothing else is left behind.
        """
        outcome: Answer | None = None
        self.context = Context(self)
        try:
            with self.scope:
                outcome = await answer(self)
            if outcome is None:
                outcome = self.unanswered()
        finally:
            self.answered = True
            del self.context  # call and context hold each other: let both go now, not at some collection
            for watch in self.host.call_watchers:
                watch(self, outcome)
            self.host.call_ended(self, "cancelled" if outcome is None else outcome.outcome)
            self.finish(outcome)

    def cancel(self, reason: str) -> None:
        """End the call without an answer."""
        if self.cancelled_at is None:
            self.cancelled_at = trio.current_time()
        self.scope.cancel(reason)

    def unanswered(self) -> Answer | None:
        """What to answer when the scope was cancelled: nothing, unless the era knows better."""
        return None

    @abstractmethod
    def finish(self, outcome: Answer | None) -> None:
        """Put the answer into the outlet, or tell it that none will come. Does not wait."""

    @abstractmethod
    def wants_log(self, level: LoggingLevel) -> bool:
        """Whether the client asked for log messages of this level."""

    @abstractmethod
    async def ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """Get an answer of the client."""

    async def notify(self, method: str, params: Any, admit: Callable[[], bool] | None = None) -> None:
        """Send a notification on this call's own stream, once there is room, unless `admit` says no by then.

        Cancellation: as `Outlet.send`.
        """
        if isinstance(params, ProgressParams):
            params = shape_progress(params, self.revision)
        frame = encode_notification(method, params)
        outlet = self.outlet
        await outlet.room()
        if admit is None or admit():
            outlet.put(frame)
            await outlet.turn()

    async def read_resource(self, uri: str) -> list[ResourceContents]:
        """Read a resource of the same server, if the caller may."""
        check_resource(self.host, self.authorization, uri)
        return await self.host.server.read_resource(uri, self.context)

    def publish(self, kind: str, uri: str | None = None) -> None:
        """Tell everyone who listens of a change."""
        self.host.publish(kind, uri)

    def close_stream(self) -> None:
        """End the connection of this call's stream, where its revision lets the client come back."""
        if self.revision.polling:
            self.outlet.part()
