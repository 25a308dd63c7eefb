"""What the tests of the runtime share: a host that runs, and clients that speak JSON to a session, a call or a pipe.

Everything here belongs on a mock clock: a wait that never ends becomes a failure, because virtual time runs out.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import memory_stream_pair

from trio_mcp.context import Context
from trio_mcp.protocol.errors import McpError
from trio_mcp.protocol.per_request import open_request
from trio_mcp.protocol.revisions import LATEST_SESSION, V2026_07_28
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.runtime.session import Session
from trio_mcp.server import Server
from trio_mcp.settings import Settings
from trio_mcp.transports.memory import serve_stream
from trio_mcp.wire.base import CLIENT_CAPABILITIES_KEY, LOG_LEVEL_KEY, PROTOCOL_VERSION_KEY
from trio_mcp.wire.jsonrpc import Message, Request, decode

Json = dict[str, Any]

SESSION = LATEST_SESSION.version
PER_REQUEST = V2026_07_28.version
FOREVER = 1_000_000
"""Seconds of virtual time that only a hanging test reaches."""


def serving(**settings: Any) -> Server:
    """A server without tools, with these settings."""
    return Server("s", settings=Settings(**settings))


@asynccontextmanager
async def hosted(server: Server, **options: Any) -> AsyncIterator[Host]:
    """A host that runs until the block ends."""
    host = Host(server, **options)
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            yield host
            host.stop()


# Tools


class Gate:
    """A tool that waits to be let go, and keeps a diary."""

    def __init__(self, server: Server, *, cleanup: float = 0) -> None:
        self.diary: list[str] = []
        self.opened = trio.Event()
        self._cleanup = cleanup
        server.add_tool(self.wait, name="wait")

    async def wait(self, name: str = "it") -> str:
        self.diary.append(f"{name} began")
        try:
            await self.opened.wait()
        except trio.Cancelled:
            self.diary.append(f"{name} cancelled")
            raise
        finally:
            with trio.CancelScope(shield=True):  # a clean-up that takes its time
                await trio.sleep(self._cleanup)
            self.diary.append(f"{name} ended")
        return name


def talking_server(count: int = 3, **settings: Any) -> Server:
    server = serving(**settings)

    @server.tool
    async def talk(ctx: Context) -> str:
        for number in range(count):
            await ctx.info(number)
        return "said"

    return server


# Messages


def request(id: Any, method: str, params: Mapping[str, Any] | None = None) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": dict(params or {})}


def notification(method: str, params: Mapping[str, Any] | None = None) -> Json:
    return {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}


def cancelled(id: Any, **more: Any) -> Json:
    return notification("notifications/cancelled", {"requestId": id, **more})


def initialize(id: Any = "init", revision: str = SESSION, capabilities: Json | None = None) -> Json:
    info = {"name": "tests", "version": "1"}
    params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": info}
    return request(id, "initialize", params)


def tool_call(id: Any, name: str, /, **arguments: Any) -> Json:
    return request(id, "tools/call", {"name": name, "arguments": arguments})


def enveloped(
    message: Json, *, capabilities: Json | None = None, log_level: str | None = None, token: Any = None
) -> Json:
    """A request with the metadata of the per-request era."""
    meta: Json = {PROTOCOL_VERSION_KEY: PER_REQUEST, CLIENT_CAPABILITIES_KEY: capabilities or {}}
    if log_level is not None:
        meta[LOG_LEVEL_KEY] = log_level
    if token is not None:
        meta["progressToken"] = token
    return {**message, "params": {**message["params"], "_meta": meta}}


def decoded(message: Json) -> Message:
    return decode(json.dumps(message).encode())


def texts(result: Json) -> list[str]:
    return [block["text"] for block in result["content"]]


# Reading an outlet


async def next_frames(outlet: Outlet) -> list[Any]:
    """What waits in an outlet, once there is something."""
    while not (frames := outlet.take()):
        assert not outlet.closed, "nothing more will come"
        await outlet.wait()
    return [json.loads(frame.data) for frame in frames]


async def read_all(outlet: Outlet) -> list[Any]:
    """Be the reader until the outlet closes."""
    found: list[Any] = []
    with outlet.reader():
        while True:
            found += [json.loads(frame.data) for frame in outlet.take()]
            if outlet.closed:
                return found
            await outlet.wait()
    raise AssertionError("sent away")


async def the_answer(outlet: Outlet) -> Json:
    """The only answer of an outlet, after whatever notifications."""
    *_, last = await read_all(outlet)
    return last


# Clients


class Visitor:
    """The client of one session; every request has a stream of its own, as over HTTP."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def post(self, message: Json, outlet: Outlet | None = None) -> Outlet:
        """Send a message; the outlet is where its answer goes."""
        if outlet is None:
            outlet = self.session.open_stream() if "method" in message and "id" in message else Outlet(1)
        self.session.deliver(decoded(message), outlet)
        return outlet

    def call(self, id: Any, name: str, /, **arguments: Any) -> Outlet:
        """Call a tool."""
        return self.post(tool_call(id, name, **arguments))

    def answer(self, id: Any, result: Json) -> None:
        """Answer a request of the server."""
        self.post({"jsonrpc": "2.0", "id": id, "result": result})

    def refuse(self, id: Any, code: int, message: str) -> None:
        """Answer a request of the server with an error."""
        self.post({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})


async def visiting(
    host: Host, *, revision: str = SESSION, capabilities: Json | None = None, initialized: bool = True
) -> Visitor:
    """A session that has shaken hands."""
    visitor = Visitor(await host.open_session())
    if initialized:
        response = await the_answer(visitor.post(initialize(revision=revision, capabilities=capabilities)))
        assert response["result"]["protocolVersion"] == revision
        visitor.post(notification("notifications/initialized"))
    return visitor


def opened(host: Host, message: Json, *, principal: str = "", bound: int = 256) -> PerRequestCall:
    """A call of the per-request era that has not begun."""
    request = decoded(message)
    assert isinstance(request, Request)
    return PerRequestCall(host, open_request(request, None), Outlet(bound), principal=principal)


async def asked(host: Host, message: Json, *, principal: str = "") -> list[Json]:
    """Everything that a request of the per-request era brings; the answer comes last."""
    try:
        call = opened(host, message, principal=principal)
    except McpError as error:  # refused before it is a call
        return [{"error": {"code": error.code, "message": error.message}}]
    host.call_began(call)
    found: list[Json] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run, answer)
        found += await read_all(call.outlet)
    return found


class Line:
    """A client at the other end of a pipe, a message a line."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self.ended = False
        self._buffer = b""

    async def send(self, *messages: Json | list[Json] | bytes) -> None:
        """Send messages; bytes go as they are."""
        for message in messages:
            await self.stream.send_all(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    async def receive(self) -> Any:
        """The next message."""
        while b"\n" not in self._buffer:
            piece = await self.stream.receive_some()
            assert piece, "the server closed the pipe"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def exchange(self, message: Json | list[Json] | bytes) -> Any:
        """Send one message, receive one."""
        await self.send(message)
        return await self.receive()

    async def rest(self) -> list[Any]:
        """Everything until the server closes."""
        while piece := await self.stream.receive_some():
            self._buffer += piece
        found, self._buffer = self._buffer.splitlines(), b""
        return [json.loads(line) for line in found]

    async def initialize(self, revision: str = SESSION, capabilities: Json | None = None) -> Json:
        """Shake hands; the result."""
        result: Json = (await self.exchange(initialize(revision=revision, capabilities=capabilities)))["result"]
        await self.send(notification("notifications/initialized"))
        return result

    async def end(self) -> None:
        """Send no more."""
        await self.stream.send_eof()


@asynccontextmanager
async def piped(host: Host) -> AsyncIterator[Line]:
    """A pipe that is served; at the end of the block its input ends, and then it must end by itself."""
    ours, theirs = memory_stream_pair()
    line = Line(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, host, theirs, line)
        yield line
        await line.end()


async def _serve(host: Host, stream: trio.abc.Stream, line: Line) -> None:
    await serve_stream(host, stream)
    line.ended = True
