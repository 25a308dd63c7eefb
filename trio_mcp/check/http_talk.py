"""Streamable HTTP as a client, both eras: every message is a POST of its own (basic/transports).

It owns the headers and the two forms of a reply. `post` sends anything at all, for the checks of what must be refused.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

import msgspec
import trio

from trio_mcp.check.connection import HeaderMap, Web, media_type
from trio_mcp.check.findings import Fault, TransportFault, demand, quoted
from trio_mcp.check.messages import (
    EVENT_STREAM,
    JSON,
    Answer,
    Events,
    Received,
    answer_of,
    read_messages,
)
from trio_mcp.check.talk import MOST_MESSAGES, Json, Question, Talk
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.revisions import Revision
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import Response, encode_notification

BOTH: Final = f"{JSON}, {EVENT_STREAM}"
SESSION: Final = "Mcp-Session-Id"
VERSION: Final = "MCP-Protocol-Version"
METHOD: Final = "Mcp-Method"
NAME: Final = "Mcp-Name"


class HttpTalk(Talk):
    """A conversation over Streamable HTTP.

    Attributes:
        session_id: what `initialize` gave, or None.
        last_stream: the last streamed reply to a request, if there was one; its events may be resumed from.
    """

    transport: ClassVar[str] = "http"

    def __init__(self, web: Web, revision: Revision, path: str | None = None) -> None:
        super().__init__(revision)
        self.web = web
        self.path = web.place.endpoint if path is None else path
        self.session_id: str | None = None
        self.last_stream: Answer | None = None
        self._last_status: int | None = None

    def absent(self, fault: Fault) -> str | None:
        """Some statuses say that there is nothing; to a request with its own metadata, every refusal does."""
        status = self._last_status
        if status in (401, 403):
            return f"the server wants authorization: it answered {status} (--token-env, --header)"
        if status in (404, 405, 410) or (self.revision.per_request and status is not None and status >= 400):
            return f"POST {self.path.partition('?')[0]} was answered with {status}"
        return None

    def headers(self, method: str = "", params: Mapping[str, object] | None = None) -> dict[str, str | None]:
        """The headers of a good POST of this method."""
        headers: dict[str, str | None] = {"Content-Type": JSON, "Accept": BOTH}
        if self.session_id is not None:
            headers[SESSION] = self.session_id
        if self.revision.per_request:
            headers |= {VERSION: self.revision.version, METHOD: method}
            row = METHODS.get(method)
            name = (params or {}).get(row.named_by) if row is not None and row.named_by else None
            if isinstance(name, str):
                headers[NAME] = header_value(name)
        elif self.revision.version_header and method != "initialize":
            headers[VERSION] = self.revision.version
        return headers

    async def post(self, body: bytes, headers: HeaderMap, expected: Sequence[RequestId] = ()) -> Received:
        """POST anything; a stream is read until the expected answers have come, or to its end."""
        async with self.web.open("POST", self.path, body, headers) as incoming:
            received = Received(incoming.status, incoming.headers)
            if media_type(incoming.headers) == EVENT_STREAM:
                stream = Events(incoming)
                await self._read_stream(stream, received, set(expected))
            else:
                pieces = []
                while piece := await incoming.read_some():
                    pieces.append(piece)
                received.body = b"".join(pieces)
        return received

    async def _read_stream(self, stream: Events, received: Received, missing: set[RequestId]) -> None:
        wait_for_all = not missing
        for _ in range(MOST_MESSAGES):
            event = await stream.next()
            received.events = stream.seen
            if event is None:
                return
            if not event.data:
                continue
            for message in read_messages(event.data.encode("utf-8", "replace")):
                received.messages.append(message)
                await self._take(received, len(received.messages) - 1)
                if isinstance(message, Response) and message.id is not None:
                    missing.discard(message.id)
            if not missing and not wait_for_all:
                return
        raise Fault(f"{MOST_MESSAGES} events came, and no answer")

    async def _take(self, received: Received, index: int) -> None:
        """Note a message; a request of the server is answered with a POST of its own."""
        back = self.take(received.messages[index])
        if back is not None:
            await self.web.send("POST", self.path, back, self.headers())

    async def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Send all at once, a connection each."""
        if len(questions) == 1:
            return [await self._ask_one(questions[0])]
        answers: dict[int, Answer] = {}
        faults: list[Fault] = []
        async with trio.open_nursery() as asking_nursery:
            for number, question in enumerate(questions):
                ask = partial(self._ask_into, answers, faults, number, question)
                asking_nursery.start_soon(ask, name=f"ask {question.method} {number}")
        if faults:
            raise faults[0]
        return [answers[number] for number in range(len(questions))]

    async def _ask_into(self, answers: dict[int, Answer], faults: list[Fault], number: int, question: Question) -> None:
        try:
            answers[number] = await self._ask_one(question)
        except Fault as fault:
            faults.append(fault)

    async def _ask_one(self, question: Question) -> Answer:
        id, body = self.encode(question)
        return await self.ask_encoded(question.method, id, body, self.headers(question.method, question.params))

    async def ask_encoded(self, method: str, id: RequestId, body: bytes, headers: HeaderMap) -> Answer:
        """POST one request as it stands; its answer.

        Raises:
            Fault: none came that is one.
        """
        started = trio.current_time()
        self._last_status = None
        received = await self.post(body, headers, [id])
        self._last_status = received.status
        response = self._response_to(method, id, received)
        if method == "initialize" and response.error is None:
            self.session_id = received.headers.get(SESSION.lower())
        answer = answer_of(
            method,
            response,
            status=received.status,
            headers=received.headers,
            events=tuple(received.events),
            notifications=received.notifications,
            seconds=trio.current_time() - started,
        )
        if answer.events:
            self.last_stream = answer
        return answer

    def _response_to(self, method: str, id: RequestId, received: Received) -> Response:
        if not received.events and media_type(received.headers) != EVENT_STREAM:
            if not received.body:
                raise TransportFault(f"{method} was answered with {received.status} and no body")
            try:
                received.messages = read_messages(received.body)
            except Fault as fault:
                raise Fault(f"{method} was answered with {received.status}: {fault}") from None
            for message in received.messages:
                self.take(message)
        for response in received.responses():
            if response.id == id:  # an id is never a boolean, so they are of one type
                return response
            # An error whose request could not be read has no id (JSON-RPC 2.0 section 5).
            if response.id is None and response.error is not None and received.status >= 400:
                return response
            raise Fault(f"{method} with the id {quoted(id)} was answered with the id {quoted(response.id)}")
        raise Fault(f"the stream of {method} ended without an answer")

    async def tell(self, method: str, params: Json | None = None) -> None:
        """POST a notification; 2xx takes it."""
        reply = await self.web.send("POST", self.path, self.encode_told(method, params), self.headers(method, params))
        demand(200 <= reply.status < 300, f"{method} was answered with {reply.status}, not 202")

    async def throw(self, body: bytes) -> Answer:
        """POST bytes; whatever is said."""
        received = await self.post(body, self.headers("ping"))
        if not received.messages and received.body:
            received.messages = read_messages(received.body)
        for response in received.responses():
            self.take(response)
            return answer_of("it", response, status=received.status, headers=received.headers)
        return Answer(method="it", id=None, status=received.status, headers=received.headers)

    def encode_told(self, method: str, params: Json | None) -> bytes:
        """A notification, in the per-request era with its metadata."""
        if self.revision.per_request:
            return encode_notification(method, {**(params or {}), "_meta": self.meta()})
        return super().encode_told(method, params)

    async def end(self) -> None:
        """DELETE the session, if there is one."""
        if self.session_id is not None:
            headers = {name: value for name, value in self.headers("DELETE").items() if name in (SESSION, VERSION)}
            await self.web.send("DELETE", self.path, headers=headers)


class DirectTalk(HttpTalk):
    """`POST /message`: a request and its answer, and nothing that is remembered."""

    transport: ClassVar[str] = "message"

    def __init__(self, web: Web, revision: Revision) -> None:
        super().__init__(web, revision, web.place.path("message"))

    def headers(self, method: str = "", params: Mapping[str, object] | None = None) -> dict[str, str | None]:
        """The same for every method: which revision is meant is never known from before."""
        return {"Content-Type": JSON, "Accept": JSON, VERSION: self.revision.version}

    def absent(self, fault: Fault) -> str | None:
        """The path is no part of MCP, so whatever else is there is not this."""
        return super().absent(fault) or str(fault)

    async def end(self) -> None:
        """Nothing was opened."""
        await trio.lowlevel.checkpoint()


def header_value(text: str) -> str:
    """A name as a header may carry it (2026-07-28, basic/transports/streamable-http: Value Encoding)."""
    plain = text.isascii() and text.isprintable() and text == text.strip() and text
    if plain and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    encoded = msgspec.to_builtins(text.encode("utf-8", "replace"))
    return f"=?base64?{encoded}?="
