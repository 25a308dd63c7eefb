"""One fake HTTP request and what came back, held to the rules of ASGI (3.0, HTTP) and of event streams."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from trio_mcp.http.asgi import CONNECTION_EXTENSION, App
from trio_mcp.http.byte_stream import PeerGoneError

Json = dict[str, Any]


class Lane:
    """What our own lane offers an application: a callback for a client that is gone, tasks, and bounded writes."""

    def __init__(self, nursery: trio.Nursery, fetch: "Fetch") -> None:
        self.spawn = nursery.start_soon
        self._fetch = fetch
        self.callbacks: list[Callable[[str], None]] = []
        self.gone = False
        self.told: Callable[[int], None] = lambda status: None

    def on_gone(self, cancel: Callable[[str], None]) -> None:
        if self.gone:
            cancel("the client disconnected")
        self.callbacks.append(cancel)

    def on_end(self, told: Callable[[int], None]) -> None:
        self.told = told

    async def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        await self._fetch.send({"type": "http.response.start", "status": status, "headers": headers})
        await self._fetch.send({"type": "http.response.body", "body": body})

    def whole_body(self) -> bytes | None:
        return self._fetch.take_whole()

    def tell(self) -> None:
        self.gone = True
        for cancel in self.callbacks:
            cancel("the client disconnected")


class Event:
    """One event of a stream: its fields, and when it came on trio's clock."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.id = fields.get("id")
        self.retry = fields.get("retry")
        self.name = fields.get("event")
        self.data = fields["data"]
        self.at = trio.current_time()

    @property
    def message(self) -> Any:
        return json.loads(self.data)


class Fetch:
    """One request and what came back.

    Attributes:
        complete: the response came with its end.
        returned: the application is done with the request.
        late: what the application still sent after the client had left.
        comments: when comment lines came.
        log: events and comments (None) in the order they came.
    """

    def __init__(self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: Sequence[bytes]) -> None:
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        self.lane: Lane | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.events: list[Event] = []
        self.comments: list[float] = []
        self.log: list[Event | None] = []
        self.complete = False
        self.returned = False
        self.late: list[Json] = []
        self.write_timeout = math.inf
        self._pieces = list(body)
        self._whole = True
        self._gone = trio.Event()
        self._moving = trio.Event()
        self._moving.set()
        self._changed = trio.lowlevel.ParkingLot()
        self._unread = b""

    # What the test does

    def drop(self) -> None:
        """Leave: the connection is gone."""
        self._gone.set()
        if self.lane is not None and not self.complete:
            self.lane.tell()
        self._notice()

    def stall(self) -> None:
        """Stop reading."""
        self._moving = trio.Event()

    def go_on(self) -> None:
        """Read again."""
        self._moving.set()

    def hold(self) -> "Fetch":
        """More of the body is to come, by `feed`."""
        self._whole = False
        return self

    def feed(self, piece: bytes, *, last: bool = False) -> None:
        """Send a piece of the body."""
        self._pieces.append(piece)
        self._whole = last
        self._notice()

    async def answered(self) -> "Fetch":
        """Once the head of the response is there."""
        await self._until(lambda: self.status > 0)
        return self

    async def done(self) -> "Fetch":
        """Once the application is done with it."""
        await self._until(lambda: self.returned)
        return self

    async def hears(self, count: int) -> list[Any]:
        """The messages of the stream, once there are `count`."""
        await self._until(lambda: len(self.messages) >= count)
        return self.messages

    @property
    def messages(self) -> list[Any]:
        """What came as events with data."""
        return [event.message for event in self.events if event.data]

    @property
    def json(self) -> Any:
        """The body as JSON, which it must be by its type and length."""
        assert self.headers["content-type"] == "application/json", (self.status, self.headers, self.body)
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        """The result, in JSON or as the last event."""
        message = self.messages[-1] if self.streams else self.json
        assert "result" in message, message
        return message["result"]

    @property
    def error(self) -> Json:
        """The error, in JSON or as the last event."""
        message = self.messages[-1] if self.streams else self.json
        assert "error" in message, message
        return message["error"]

    @property
    def streams(self) -> bool:
        return self.headers.get("content-type") == "text/event-stream"

    # What the application does

    async def run(self, app: App) -> None:
        if self.lane is not None:
            self.scope["extensions"] = {CONNECTION_EXTENSION: self.lane}
        try:
            await app(self.scope, self.receive, self.send)
        finally:
            self.returned = True
            if self.lane is not None:
                self.lane.told(self.status)
            self._notice()

    def take_whole(self) -> bytes | None:
        """The body, where one piece is all of it, as on the lane a body that came with its head."""
        return self._pieces.pop() if self._whole and len(self._pieces) == 1 else None

    async def receive(self) -> Json:
        await trio.lowlevel.checkpoint()
        while True:
            if self._pieces:
                piece = self._pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or not self._whole}
            if self._gone.is_set():
                return {"type": "http.disconnect"}
            await self._changed.park()

    async def send(self, message: Json) -> None:
        await trio.lowlevel.checkpoint()
        # A lane bounds its writes by itself, and says so as a broken pipe; elsewhere a write waits for ever.
        with trio.move_on_after(math.inf if self.lane is None else self.write_timeout) as write_scope:
            while not self._moving.is_set():
                await self._moving.wait()
        if write_scope.cancelled_caught and self.lane is not None:
            self.lane.tell()
            raise PeerGoneError("the client did not read")
        if self._gone.is_set():
            self.late.append(message)
            return
        assert not self.complete, f"sent after the end: {message}"
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self._take(message)
        self._notice()

    def _start(self, message: Json) -> None:
        assert self.status == 0, "a second start"
        for name, value in message["headers"]:
            assert (type(name), type(value)) == (bytes, bytes), (name, value)
            assert name == name.lower(), name
            assert name.decode() not in self.headers, f"{name!r} twice"
            self.headers[name.decode()] = value.decode()
        self.status = message["status"]

    def _take(self, message: Json) -> None:
        assert message["type"] == "http.response.body", message
        assert self.status, "a body before its start"
        piece = message.get("body", b"")
        self.body += piece
        self.complete = not message.get("more_body", False)
        if self.streams:
            self._read_events(piece)
            assert not (self.complete and self._unread), f"the stream ends inside an event: {self._unread!r}"
        elif self.complete and "content-length" in self.headers:
            assert int(self.headers["content-length"]) in (len(self.body), *self._head_only()), self.headers

    def _head_only(self) -> tuple[int, ...]:
        """A response to HEAD has the length of the body that it leaves out."""
        return (int(self.headers["content-length"]),) if self.scope["method"] == "HEAD" else ()

    def _read_events(self, piece: bytes) -> None:
        *blocks, self._unread = (self._unread + piece).split(b"\n\n")
        for block in blocks:
            lines = block.decode("utf-8").split("\n")
            if lines == [":"]:
                self.comments.append(trio.current_time())
                self.log.append(None)
                continue
            fields = dict(line.split(": ", 1) for line in lines)
            assert len(fields) == len(lines), f"a field twice: {block!r}"
            assert set(fields) <= {"id", "retry", "data", "event"}, block
            self.events.append(Event(fields))
            self.log.append(self.events[-1])

    def _notice(self) -> None:
        self._changed.unpark_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.returned, f"the application is done: {self.status} {self.body!r}"
            await self._changed.park()
