"""What a server said, read with suspicion: bytes to messages, messages to answers.

It owns the two forms of an HTTP reply (JSON, a stream of events). It refuses to judge what an answer says, only
whether it is one.
"""

from collections.abc import Iterable
from typing import Any, Final

import attrs
import msgspec

from trio_mcp.check.connection import Incoming, media_type
from trio_mcp.check.findings import Fault, kind, quoted, shown
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import (
    ErrorBody,
    Message,
    Notification,
    Request,
    Response,
    WireError,
    decode,
    decode_batch,
    is_batch,
)
from trio_mcp.wire.sse import Decoder, Event

MAX_DEPTH: Final = 200
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"

_decode_json = msgspec.json.Decoder().decode


@attrs.frozen(kw_only=True)
class Answer:
    """The answer to one request, and how it came.

    Attributes:
        result: the decoded result, an object; None where there is an error.
        status, headers: of HTTP; None and empty elsewhere.
        events: of the stream that it came on, if it did.
        notifications: what came before it.
        seconds: from the request to it.
    """

    method: str
    id: RequestId | None
    result: dict[str, Any] | None = None
    error: ErrorBody | None = None
    status: int | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    events: tuple[Event, ...] = ()
    notifications: tuple[Notification, ...] = ()
    seconds: float = 0

    @property
    def streamed(self) -> bool:
        """Whether it came on a stream of events of its own."""
        return media_type(self.headers) == EVENT_STREAM

    def expect_result(self) -> dict[str, Any]:
        """The result.

        Raises:
            Fault: it is an error.
        """
        if self.result is None:
            raise Fault(f"{self.method} was answered with {self.told()}")
        return self.result

    def expect_error(self, *codes: int) -> ErrorBody:
        """The error, of one of these codes if any are given.

        Raises:
            Fault: it is a result, or another error.
        """
        if self.error is None:
            raise Fault(f"{self.method} was answered with a result: {shown(self.result)}")
        if codes and self.error.code not in codes:
            wanted = " or ".join(map(str, codes))
            raise Fault(f"{self.method} was answered with {self.told()}, not {wanted}")
        return self.error

    def expect_status(self, *statuses: int) -> None:
        """Go on only with one of these statuses, where there are any."""
        if self.status is not None and self.status not in statuses:
            raise Fault(f"the status is {self.status}, not {' or '.join(map(str, statuses))} ({self.told()})")

    def told(self) -> str:
        """What it says, in short."""
        if self.error is None:
            return "a result"
        return f"error {self.error.code} {quoted(self.error.message)}"


def read_message(data: bytes) -> Message:
    """One message.

    Raises:
        Fault: it is none, with the reason.
    """
    try:
        return decode(data, max_depth=MAX_DEPTH)
    except WireError as error:
        raise Fault(f"no JSON-RPC message: {shown(error.message)}; it begins {quoted(data[:60])}") from None


def read_messages(data: bytes) -> list[Message]:
    """One message or a batch.

    Raises:
        Fault: something in it is none.
    """
    if not is_batch(data):
        return [read_message(data)]
    try:
        found = decode_batch(data, max_depth=MAX_DEPTH)
    except WireError as error:
        raise Fault(f"no JSON-RPC message: {shown(error.message)}") from None
    for message in found:
        if isinstance(message, WireError):
            raise Fault(f"no JSON-RPC message in the batch: {shown(message.message)}")
    return [message for message in found if not isinstance(message, WireError)]


def read_object(raw: msgspec.Raw | bytes | None, what: str) -> dict[str, Any]:
    """The value of raw JSON, which must be an object.

    Raises:
        Fault: it is not.
    """
    try:
        value = _decode_json(raw or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(f"{what} is no JSON: {shown(str(error))}") from None
    if not isinstance(value, dict):
        raise Fault(f"{what} is {kind(value)}, not an object")
    return value


def answer_of(method: str, response: Response, **facts: Any) -> Answer:
    """A response as an answer.

    Raises:
        Fault: its result is no object.
    """
    if response.error is not None:
        return Answer(method=method, id=response.id, error=response.error, **facts)
    result = read_object(response.result, f"the result of {method}")
    return Answer(method=method, id=response.id, result=result, **facts)


class Events:
    """The events of one streamed response, in order, as they come."""

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.decoder = Decoder()
        self.seen: list[Event] = []
        self._waiting: list[Event] = []

    async def next(self, within: float | None = None) -> Event | None:
        """The next one, None at the end.

        Raises:
            TransportFault: none came in time, or the stream broke.
        """
        while not self._waiting:
            piece = await self.incoming.read_some(within)
            if not piece:
                return None
            self._waiting = self.decoder.feed(piece)
        event = self._waiting.pop(0)
        self.seen.append(event)
        return event

    async def next_message(self, within: float | None = None) -> Message | None:
        """The next event with data, as a message; None at the end of the stream."""
        while (event := await self.next(within)) is not None:
            if event.data:
                return read_message(event.data.encode("utf-8", "replace"))
        return None


@attrs.define
class Received:
    """All that one reply to a POST held, up to the answers that were waited for."""

    status: int
    headers: dict[str, str]
    messages: list[Message] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    body: bytes = b""

    def responses(self) -> Iterable[Response]:
        """The answers among the messages."""
        return (message for message in self.messages if isinstance(message, Response))

    @property
    def notifications(self) -> tuple[Notification, ...]:
        """The notifications among the messages."""
        return tuple(message for message in self.messages if isinstance(message, Notification))

    @property
    def requests(self) -> list[Request]:
        """The server's own requests among the messages."""
        return [message for message in self.messages if isinstance(message, Request)]
