"""A conversation with a server: one revision on one transport, from the handshake to the goodbye.

`Talk` is what the checks that hold everywhere speak through; each transport has its own kind. Session rules are those
of `protocol.session`, in the client's role. It refuses to judge: it raises what it could not read.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import attrs
import msgspec
import trio

from trio_mcp.check.findings import Fault, quoted
from trio_mcp.check.messages import Answer, answer_of, read_messages, read_object
from trio_mcp.protocol.errors import METHOD_NOT_FOUND, McpError
from trio_mcp.protocol.events import RequestReceived
from trio_mcp.protocol.methods import Direction, find_request
from trio_mcp.protocol.revisions import Revision
from trio_mcp.protocol.session import Role, SessionProtocol, State
from trio_mcp.version import __version__
from trio_mcp.wire.base import CLIENT_CAPABILITIES_KEY, CLIENT_INFO_KEY, PROTOCOL_VERSION_KEY, RequestId
from trio_mcp.wire.jsonrpc import (
    Message,
    Notification,
    Request,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
)

CLIENT: Final = {"name": "trio-mcp-check", "version": __version__}
#: Seconds that leaving a conversation may take.
GOODBYE: Final = 2.0
#: Messages that may come before the one that is waited for.
MOST_MESSAGES: Final = 10_000

Json = dict[str, Any]


@attrs.frozen
class Question:
    """A request to be sent; `id` None takes the next number."""

    method: str
    params: Json | None = None
    id: RequestId | None = None
    meta: Json = attrs.field(factory=dict)


class Talk(ABC):
    """One conversation.

    Attributes:
        opening: the answer to `initialize` or `server/discover`, once it has come.
        by_the_rules: whether requests wait for a handshake that came to an agreement.
        codes: every error code that the server used.
        notified: every notification that it sent.
    """

    transport: ClassVar[str]

    def __init__(self, revision: Revision) -> None:
        self.revision = revision
        self.protocol = SessionProtocol(Role.CLIENT)
        self.opening: Answer | None = None
        self.by_the_rules = True
        self.codes: set[int] = set()
        self.notified: list[Notification] = []
        self._next_id = 0

    # What every transport has in its own way

    @abstractmethod
    async def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Send all at once, and give their answers in the order of the questions."""

    @abstractmethod
    async def tell(self, method: str, params: Json | None = None) -> None:
        """Send a notification.

        Raises:
            Fault: it was not taken.
        """

    @abstractmethod
    async def throw(self, body: bytes) -> Answer:
        """Send bytes that are no good request; what the server says to them."""

    async def begin(self) -> None:
        """Make the connection that the conversation needs, if it needs one."""
        await trio.lowlevel.checkpoint()

    async def end(self) -> None:
        """Take leave; bounded by the caller."""
        await trio.lowlevel.checkpoint()

    def absent(self, fault: Fault) -> str | None:
        """Why a conversation that failed before any answer shows a server without this transport; None: it does not."""
        return None

    # What follows from it

    async def ask(self, method: str, params: Json | None = None, *, id: RequestId | None = None, **meta: Any) -> Answer:
        """Send one request and wait for its answer.

        Raises:
            Fault: what came is no answer to it.
        """
        [answer] = await self.ask_all([Question(method, params, id, meta)])
        return answer

    async def result(self, method: str, params: Json | None = None, **meta: Any) -> Json:
        """The result of a request.

        Raises:
            Fault: there is none.
        """
        return (await self.ask(method, params, **meta)).expect_result()

    async def open(self) -> None:
        """Begin, and shake hands as the revision does.

        Raises:
            Fault: there is no agreement; `opening` holds the answer, if there was one.
        """
        await self.begin()
        if self.revision.per_request:
            self.opening = await self.ask("server/discover")
            self.opening.expect_result()
            return
        answer = await self.ask("initialize", initialize_params(self.revision.version))
        self.opening = answer
        version = answer.expect_result().get("protocolVersion")
        if version != self.revision.version:
            raise Fault(f"initialize with {self.revision.version} was answered with {quoted(version)}")
        if self.protocol.state is not State.READY:
            self.by_the_rules = False  # what is wrong with the answer is told by the checks that look at it
        await self.tell("notifications/initialized")

    async def aclose(self) -> None:
        """End it, within `GOODBYE` seconds, also where the run is cancelled."""
        # Shielded, so that a session is not left behind; bounded by GOODBYE.
        with trio.move_on_after(GOODBYE, shield=True):
            with suppress(Fault):
                await self.end()

    # For the transports

    def encode(self, question: Question) -> tuple[RequestId, bytes]:
        """A request in the words of this revision, and its id."""
        method, id = question.method, question.id
        if self.revision.per_request:
            if id is None:
                id, self._next_id = self._next_id, self._next_id + 1
            params: Json | None = {**(question.params or {}), "_meta": self.meta(question.meta)}
        else:
            known = find_request(method, self.protocol.revision, Direction.TO_SERVER) is not None
            if self.by_the_rules and known and id is None:
                id = self.protocol.ask(method)
            else:
                if id is None:
                    id, self.protocol.next_id = self.protocol.next_id, self.protocol.next_id + 1
                self.protocol.outgoing[id] = method
            params = question.params
            if question.meta:
                params = {**(params or {}), "_meta": question.meta}
        return id, encode_request(id, method, msgspec.UNSET if params is None else params)

    def meta(self, more: Json | None = None) -> Json:
        """The metadata that every request of the per-request era carries."""
        return {
            PROTOCOL_VERSION_KEY: self.revision.version,
            CLIENT_CAPABILITIES_KEY: {},
            CLIENT_INFO_KEY: CLIENT,
            **(more or {}),
        }

    def encode_told(self, method: str, params: Json | None) -> bytes:
        """A notification."""
        return encode_notification(method, msgspec.UNSET if params is None else params)

    def take(self, message: Message) -> bytes | None:
        """Note what came, as a session does; what to answer to a request of the server, if it is one."""
        if isinstance(message, Notification):
            self.notified.append(message)
        if isinstance(message, Response) and message.error is not None:
            self.codes.add(message.error.code)
        if self.revision.per_request:
            if isinstance(message, Request):
                raise Fault(f"the server sent a request ({quoted(message.method)}), which this revision has not")
            return None
        try:
            event = self.protocol.receive(message)
        except McpError as error:
            return encode_error(message.id, error.code, error.message) if isinstance(message, Request) else None
        if not isinstance(event, RequestReceived):
            return None
        self.protocol.answer(event.id)
        if event.method.name == "ping":
            return encode_result(event.id, {})
        return encode_error(event.id, METHOD_NOT_FOUND, "this client only checks")


def initialize_params(version: str) -> Json:
    """Parameters of `initialize`."""
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}


class DuplexTalk(Talk):
    """A conversation on which messages go out, and come in on one stream, whatever they answer."""

    @abstractmethod
    async def write(self, body: bytes) -> None:
        """Send one message."""

    @abstractmethod
    async def read(self) -> bytes | None:
        """The next message, None at the end."""

    async def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Send all, then read until each has its answer."""
        started = trio.current_time()
        asked: dict[RequestId, Question] = {}
        for question in questions:
            asked_id, body = self.encode(question)
            asked[asked_id] = question
            await self.write(body)
        before = len(self.notified)
        answers: dict[RequestId, Answer] = {}
        while len(answers) < len(asked):
            for response in await self._next_responses():
                id = response.id
                if id is None or id in answers or id not in asked:
                    raise Fault(f"an answer came with the id {quoted(id)}, which was not asked for")
                seconds = trio.current_time() - started
                heard = tuple(self.notified[before:])
                answers[id] = answer_of(asked[id].method, response, seconds=seconds, notifications=heard)
        return [answers[asked_id] for asked_id in asked]

    async def tell(self, method: str, params: Json | None = None) -> None:
        """Send a notification."""
        await self.write(self.encode_told(method, params))

    async def throw(self, body: bytes) -> Answer:
        """Send bytes; the next response is the answer, whatever its id."""
        await self.write(body)
        responses = await self._next_responses()
        return answer_of("it", responses[0])

    async def _next_responses(self) -> list[Response]:
        for _ in range(MOST_MESSAGES):
            data = await self.read()
            if data is None:
                raise Fault("the stream ended before the answer")
            responses = []
            for message in read_messages(data):
                back = self.take(message)
                if back is not None:
                    await self.write(back)
                if isinstance(message, Response):
                    responses.append(message)
            if responses:
                return responses
        raise Fault(f"{MOST_MESSAGES} messages came, and no answer")


def params_of(notification: Notification) -> Json:
    """The parameters of a notification.

    Raises:
        Fault: they are no object.
    """
    return read_object(notification.params, f"the parameters of {notification.method}")
