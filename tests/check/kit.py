"""Servers for the checker: a whole one of ours in memory, one that is wrong in one way, one that says anything."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from trio.testing import memory_stream_pair

from tests.http.lane_kit import bench
from trio_mcp import Server, demo
from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Outcome
from trio_mcp.check.place import parse
from trio_mcp.check.runner import TRANSPORTS, Column, check_column
from trio_mcp.check.scene import Options
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.host import Host
from trio_mcp.serve import http_app

PLACE = parse("http://127.0.0.1:8000/mcp")
Json = dict[str, Any]
Message = Any


def full_server() -> Server:
    """One of everything that the checks look at."""
    server = Server("full", version="1.0", instructions="Look at me.")
    for tool in (demo.echo, demo.add, demo.sleep):
        server.add_tool(tool, annotations=demo.HARMLESS, thread=False)  # the clock would not wait for one

    @server.resource("config://app", mime_type="text/plain")
    async def config() -> str:
        return "on"

    @server.prompt
    async def review(code: str = "x") -> str:
        return f"Review {code}"

    @server.completion("review", "code")
    async def codes(value: str) -> list[str]:
        return [f"{value}1"]

    return server


def same(app: App) -> App:
    return app


@asynccontextmanager
async def in_memory(
    wrap: Callable[[App], App] = same, *, server: Server | None = None, seconds: float = 5, **headers: str
) -> AsyncIterator[Web]:
    """A server of ours behind `wrap`, reached over memory streams: use it under a clock that jumps."""
    host = Host(server or full_server())
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        async with bench(wrap(http_app(host, loopback=True))) as house:

            async def dial() -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                return house.connect().stream

            web = Web(PLACE, dial=dial, timeout=seconds, headers=headers)
            yield web
            await web.aclose()
        host.stop()


async def column_of(web: Web, transport: str = "http", version: str = "2025-11-25", **options: Any) -> Column:
    """Every check of one revision."""
    return await check_column(web, transport, REVISIONS[version], TRANSPORTS[transport][2], Options(**options))


def notes(column: Column, *outcomes: Outcome) -> dict[str, str]:
    """The notes of the rows with these outcomes, by check."""
    return {row.check.id: row.note for row in column.rows if row.outcome in outcomes}


@attrs.define
class Asked:
    """One request, as a wrong server sees and changes it before it is served."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The JSON in it, or nothing."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @property
    def method(self) -> str:
        """The JSON-RPC method, or nothing."""
        message = self.message
        return message.get("method", "") if isinstance(message, dict) else ""


@attrs.define
class Told:
    """A whole response, to be changed."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The JSON in it, or nothing."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @message.setter
    def message(self, value: Any) -> None:
        self.body = json.dumps(value).encode()


def untouched(asked: Asked) -> Told | None:
    return None


def unsaid(asked: Asked, told: Told) -> None:
    return None


def unstreamed(asked: Asked, piece: bytes) -> bytes:
    return piece


@attrs.frozen
class Wrong:
    """An application that is wrong in one way.

    Attributes:
        request: changes a request, or answers it.
        response: changes a whole response.
        stream: changes a piece of a stream.
        hold: whether streams of a POST stay open after their end.
    """

    request: Callable[[Asked], Told | None] = untouched
    response: Callable[[Asked, Told], None] = unsaid
    stream: Callable[[Asked, bytes], bytes] = unstreamed
    hold: bool = False

    def around(self, app: App) -> App:
        async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._serve(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return wrong

    async def _serve(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body)
        told = self.request(asked)
        if told is not None:
            await respond(send, told)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": asked.body, "more_body": False}

        asked.headers["content-length"] = str(len(asked.body))
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in asked.headers.items()]
        answer = Answering(self, asked, send)
        query = asked.query.encode("latin-1")
        await app({**scope, "query_string": query, "headers": lines, "extensions": {}}, replay, answer.take)


@attrs.define
class Answering:
    """The response to one request, on its way through."""

    wrong: Wrong
    asked: Asked
    send: Send
    start: Message | None = None
    streaming: bool = False
    body: bytes = b""

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            types = [value for name, value in message["headers"] if name == b"content-type"]
            self.streaming = types == [b"text/event-stream"]
            if self.streaming:
                told = self._told()
                self.wrong.response(self.asked, told)
                await self.send({**message, "headers": lines_of(told.headers)})
        elif self.streaming:
            more = message.get("more_body", False)
            if not more and self.wrong.hold and self.asked.verb == "POST":
                await self.send({**message, "more_body": True})
                await trio.sleep_forever()
            body = message.get("body", b"")
            await self.send({**message, "body": self.wrong.stream(self.asked, body) if body else b""})
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                told = self._told()
                self.wrong.response(self.asked, told)
                await respond(self.send, told)

    def _told(self) -> Told:
        assert self.start is not None
        pairs = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.start["headers"]}
        return Told(self.start["status"], pairs, self.body)


def lines_of(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def respond(send: Send, told: Told) -> None:
    headers = {**told.headers, "content-length": str(len(told.body))}
    if told.status == 204:
        headers.pop("content-length")
    await send({"type": "http.response.start", "status": told.status, "headers": lines_of(headers)})
    await send({"type": "http.response.body", "body": told.body, "more_body": False})


class Raw:
    """A peer that answers whatever comes with the same bytes, and then closes or is silent.

    Args:
        says: the bytes for one request; or for each in turn, the last one again and again.
        closes: whether it closes then.
    """

    def __init__(self, nursery: trio.Nursery, *says: bytes, closes: bool = True) -> None:
        self._nursery = nursery
        self._says = list(says)
        self._closes = closes

    async def dial(self) -> trio.abc.Stream:
        """A new connection."""
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            while await stream.receive_some(65536):
                await stream.send_all(self._says[0])
                if len(self._says) > 1:
                    self._says.pop(0)
                if self._closes:
                    break
            else:
                return
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
