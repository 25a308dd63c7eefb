"""The session era's rules: handshake and in-flight requests, for either side (2025-11-25, basic/lifecycle).

Theory of operation. A session is in one `State`. Only the steps in `_TRANSITIONS` move it; every other
step from every other state is a protocol error. Beside the state stand two sets: `incoming`, requests of the peer
that we owe an answer, and `outgoing`, requests of ours that await one. A message is judged against these
three and nothing else, so two machines wired back to back can be tested without any I/O.

It refuses to decide what an answer says, to touch a clock, and to read results other than that of `initialize`.
"""

from enum import Enum
from typing import Final

import msgspec

from trio_mcp.protocol.errors import INVALID_REQUEST, McpError, method_not_found
from trio_mcp.protocol.events import (
    CancelReceived,
    Event,
    Ignored,
    Initialized,
    InitializeReceived,
    ProgressReceived,
    RequestReceived,
    ResponseReceived,
)
from trio_mcp.protocol.methods import METHODS, Direction, find_request
from trio_mcp.protocol.revisions import LATEST_SESSION, REVISIONS, Revision, negotiate
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Message, Notification, Request, Response
from trio_mcp.wire.lifecycle import ClientCapabilities, Implementation, InitializeResult


class Role(Enum):
    """Which side of the session this machine plays; the value is the direction of what it receives."""

    SERVER = Direction.TO_SERVER
    CLIENT = Direction.TO_CLIENT


class State(Enum):
    """Where the handshake stands."""

    NEW = "before initialize"
    INITIALIZING = "initialize is being answered"
    READY = "in operation"
    CLOSED = "closed"


class Step(Enum):
    """What moves the handshake."""

    INITIALIZE = "initialize"
    ANSWERED = "initialize answered"
    REFUSED = "initialize refused"
    REVIVE = "revive"
    CLOSE = "close"


_TRANSITIONS: Final[dict[tuple[State, Step], State]] = {
    (State.NEW, Step.INITIALIZE): State.INITIALIZING,
    (State.INITIALIZING, Step.ANSWERED): State.READY,
    (State.INITIALIZING, Step.REFUSED): State.NEW,
    (State.NEW, Step.REVIVE): State.READY,
    (State.NEW, Step.CLOSE): State.CLOSED,
    (State.INITIALIZING, Step.CLOSE): State.CLOSED,
    (State.READY, Step.CLOSE): State.CLOSED,
    (State.CLOSED, Step.CLOSE): State.CLOSED,
}

#: Requests that need no session in operation (basic/lifecycle: Initialization).
_EARLY: Final = frozenset({"initialize", "ping"})
_read_answer = msgspec.json.Decoder(InitializeResult).decode


def batch_fault(revision: Revision | None, size: int, most: int) -> str | None:
    """What is wrong with a batch of `size` messages where `most` are taken (2025-03-26, basic/index: Batching).

    Args:
        revision: of the session; None: there is none, and so no batch.
    """
    if revision is None or not revision.batching:
        return "Invalid Request: batches are not part of this protocol version"
    if size > most:
        return f"Invalid Request: a batch may hold {most} messages (Settings.max_batch), and this one has {size}"
    return None


class SessionProtocol:
    """One session's protocol state.

    Attributes:
        state: where the handshake stands.
        revision: what was negotiated; before that the newest of the era. A client takes it from the answer; where that
            names none that is spoken here, the state is as before `initialize`.
        client_info, client_capabilities: what `initialize` said.
        incoming: ids of the peer's requests in flight, with their method.
        outgoing: ids of our requests in flight, with their method.
    """

    __slots__ = (
        "client_capabilities",
        "client_info",
        "incoming",
        "initialized",
        "next_id",
        "outgoing",
        "revision",
        "role",
        "state",
    )

    def __init__(self, role: Role = Role.SERVER) -> None:
        self.role = role
        self.state = State.NEW
        self.revision: Revision = LATEST_SESSION
        self.initialized = False
        self.client_info: Implementation | None = None
        self.client_capabilities = ClientCapabilities()
        self.incoming: dict[RequestId, str] = {}
        self.outgoing: dict[RequestId, str] = {}
        self.next_id = 1

    def _move(self, step: Step) -> None:
        try:
            self.state = _TRANSITIONS[self.state, step]
        except KeyError:
            raise McpError(INVALID_REQUEST, f"{step.value} is not possible: {self.state.value}") from None

    def receive(self, message: Message) -> Event:
        """Judge one message of the peer.

        Raises:
            McpError: the message is a request that must be answered with this error. The state is unchanged.
        """
        if isinstance(message, Request):
            return self._receive_request(message)
        if isinstance(message, Notification):
            return self._receive_notification(message)
        return self._receive_response(message)

    def _receive_request(self, request: Request) -> Event:
        name, id = request.method, request.id
        method = find_request(name, self.revision, self.role.value)
        self._demand_operation(name)
        if method is None:
            raise method_not_found(name)
        if id in self.incoming:
            raise McpError(INVALID_REQUEST, f"Request id {id!r} is still in flight")
        if name == "initialize" and self.state is not State.NEW:
            raise McpError(INVALID_REQUEST, "This session is initialized already")
        params = method.read(request.params)
        self.incoming[id] = name
        if name != "initialize":
            return RequestReceived(id, method, params)
        self._move(Step.INITIALIZE)
        self.revision = negotiate(params.protocol_version)
        self.client_info = params.client_info
        self.client_capabilities = params.capabilities
        return InitializeReceived(id, params)

    def admit(self, id: RequestId, name: str) -> None:
        """Take in a request of the peer that is no method of MCP but of a dialect: it needs no handshake.

        Raises:
            McpError: -32600; the id is in flight, or the session is closed. The state is unchanged.
        """
        if self.state is State.CLOSED:
            raise McpError(INVALID_REQUEST, f"{name} after the end of the session")
        if id in self.incoming:
            raise McpError(INVALID_REQUEST, f"Request id {id!r} is still in flight")
        self.incoming[id] = name

    def _demand_operation(self, name: str) -> None:
        if self.state is State.CLOSED:
            raise McpError(INVALID_REQUEST, f"{name} after the end of the session")
        if self.state is not State.READY and name not in _EARLY:
            raise McpError(INVALID_REQUEST, f"{name} before initialize: send initialize first")

    def _receive_notification(self, notification: Notification) -> Event:
        method = METHODS.get(notification.method)
        if method is None or not method.notification or not method.within(self.revision):
            return Ignored(f"unknown notification {notification.method}")
        if method.direction not in (self.role.value, Direction.BOTH):
            return Ignored(f"{method.name} goes the other way")
        try:
            params = method.read(notification.params)
        except McpError as error:
            return Ignored(error.message)
        if method.name == "notifications/initialized":
            if self.state is not State.READY:
                return Ignored(f"{method.name}: {self.state.value}")
            self.initialized = True
            return Initialized()
        if method.name == "notifications/cancelled":
            id = params.request_id
            if id not in self.incoming:
                return Ignored("cancellation of a request that is not in flight")
            if self.incoming[id] == "initialize":
                return Ignored("initialize cannot be cancelled")
            return CancelReceived(id, params.reason)
        if method.name == "notifications/progress":
            return ProgressReceived(params.progress_token, params)
        return Ignored(method.name)

    def _receive_response(self, response: Response) -> Event:
        if response.id is None or response.id not in self.outgoing:
            return Ignored("an answer to nothing that was asked")
        method = self.outgoing.pop(response.id)
        if method == "initialize":
            self._agree(response)
        return ResponseReceived(response.id, response.result, response.error)

    def _agree(self, response: Response) -> None:
        """Take the server's revision; one that is not spoken here is no agreement (basic/lifecycle)."""
        try:
            revision = REVISIONS.get(_read_answer(response.result or b"").protocol_version)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            revision = None
        if revision is None or revision.per_request:
            self._move(Step.REFUSED)
            return
        self._move(Step.ANSWERED)
        self.revision = revision

    def answer(self, id: RequestId, *, refused: bool = False) -> bool:
        """Note that the answer to a request of the peer goes out; False where none is owed (cancelled, closed)."""
        method = self.incoming.pop(id, None)
        if method == "initialize" and refused:
            self._move(Step.REFUSED)
            self.revision, self.client_info, self.client_capabilities = LATEST_SESSION, None, ClientCapabilities()
        elif method == "initialize":
            self._move(Step.ANSWERED)
        return method is not None

    def ask(self, method: str) -> RequestId:
        """Note that a request of ours goes out, and give its id.

        Raises:
            McpError: this revision has no such request in our direction, or the session is not in operation.
        """
        receiver = Direction.TO_CLIENT if self.role is Role.SERVER else Direction.TO_SERVER
        if find_request(method, self.revision, receiver) is None:
            raise method_not_found(method)
        self._demand_operation(method)
        if method == "initialize":
            self._move(Step.INITIALIZE)
        id = self.next_id
        self.next_id += 1
        self.outgoing[id] = method
        return id

    def abandon(self, id: RequestId) -> bool:
        """Note that we no longer await an answer; False where it came already."""
        return self.outgoing.pop(id, None) is not None

    def revive(
        self, revision: Revision, info: Implementation | None, capabilities: ClientCapabilities, next_id: int
    ) -> None:
        """Go on where another machine ended, of whose requests none is in flight any more.

        Args:
            next_id: of our requests; ids before it may still be answered by a client that is late.
        """
        self._move(Step.REVIVE)
        self.revision, self.client_info, self.client_capabilities = revision, info, capabilities
        self.initialized = True
        self.next_id = next_id

    def close(self) -> None:
        """End the session: nothing is owed or awaited any more."""
        self._move(Step.CLOSE)
        self.incoming.clear()
        self.outgoing.clear()
