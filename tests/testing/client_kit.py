"""A server for the tests of the client, and clients of it over the real stack, on a simulated network."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from tests.http.servers import Diary, small_server
from trio_mcp import Context, Server
from trio_mcp.protocol.revisions import LATEST, LATEST_SESSION, REVISIONS, Revision
from trio_mcp.testing.client import Client, make_client
from trio_mcp.testing.network import Network
from trio_mcp.testing.server import SimulatedServer, serving
from trio_mcp.testing.streams import SimulatedStream
from trio_mcp.wire.content import TextContent
from trio_mcp.wire.jsonrpc import encode_result
from trio_mcp.wire.tools import CallToolResult

SESSION, PER_REQUEST = LATEST_SESSION, LATEST
PATIENCE = 100_000
"""Virtual seconds that only a hanging test reaches."""

#: Every transport with every revision that it speaks.
EVERYWHERE = [
    (transport, revision)
    for transport in ("http", "websocket", "memory", "stdio", "sse", "notifications")
    for revision in REVISIONS.values()
    if not (revision.per_request and transport in ("sse", "notifications"))
]
#: Every transport with one revision of each era that it speaks.
BOTH_ERAS = [(transport, revision) for transport, revision in EVERYWHERE if revision in (SESSION, PER_REQUEST)]


def named(value: object) -> str | None:
    """A revision's date as a test's id."""
    return value.version if isinstance(value, Revision) else None


def full_server(diary: Diary | None = None, **settings: Any) -> Server:
    """The small server, with tools that ask twice and ask models, pages, and completions."""
    server = small_server(diary, **settings)

    @server.tool
    async def ask_twice(ctx: Context) -> str:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        first = await ctx.elicit("One?", schema, key="one")
        second = await ctx.elicit("Two?", schema, key="two")
        return f"{(first.content or {})['name']} {(second.content or {})['name']}"

    @server.tool
    async def imagine(ctx: Context) -> str:
        answer = await ctx.sample("Say something")
        roots = await ctx.list_roots()
        assert isinstance(answer.content, TextContent)
        return f"{answer.content.text} at {roots[0].uri}"

    @server.completion("review", "code")
    async def complete_code(value: str) -> list[str]:
        return [f"{value}x", f"{value}y"]

    return server


everywhere = pytest.mark.parametrize(("transport", "revision"), EVERYWHERE, ids=named)
both_eras = pytest.mark.parametrize(("transport", "revision"), BOTH_ERAS, ids=named)

APP = "config://app"
WAIT: dict[str, Any] = {"name": "wait", "arguments": {"seconds": 50}}


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    """The parameters of a call."""
    return {"name": name, "arguments": arguments}


class House:
    """A simulated server, and clients of it that the tests make by hand."""

    def __init__(self, served: SimulatedServer) -> None:
        self.served = served
        self.streams: list[SimulatedStream] = []

    async def dial(self, where: str) -> SimulatedStream:
        stream = await self.served.network.dial("client 1", where)
        self.streams.append(stream)
        return stream

    def client(self, transport: Any = "http", revision: Revision = SESSION, **options: Any) -> Client:
        """A client that does not run yet."""
        where = self.served.name + (", its pipes" if transport in ("memory", "stdio") else "")
        return make_client(transport, revision, partial(self.dial, where), **options)

    @asynccontextmanager
    async def connected(
        self, transport: Any = "http", revision: Revision = SESSION, **options: Any
    ) -> AsyncIterator[Client]:
        """A client that has shaken hands."""
        client = self.client(transport, revision, **options)
        self.served.clients.append(client)
        async with client.running():
            yield client


@asynccontextmanager
async def housed(server: Server | None = None) -> AsyncIterator[House]:
    """A server that runs until the block ends; then nothing of it may be left, and every request is accounted for."""
    with trio.fail_after(PATIENCE):
        async with serving(server or full_server()) as served:
            yield House(served)


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def accepting(name: str) -> Callable[[Any], Mapping[str, Any]]:
    """An answer to an elicitation."""
    return lambda _: {"action": "accept", "content": {"name": name}}


def asked(client: Client, method: str) -> Any:
    """The one record of this method."""
    [found] = [one for one in client.requests if one.method == method]
    return found


class Script:
    """A server that says what a test wants: the other end of every connection of one client."""

    def __init__(self, transport: Any, revision: Revision) -> None:
        network = Network()
        self._listener = network.listen("server")
        self.client = make_client(transport, revision, partial(network.dial, "client 1", "server"))
        self.stream: SimulatedStream

    async def accept(self) -> None:
        """Take the next connection."""
        self.stream = SimulatedStream(await self._listener.accept())

    async def hear(self) -> bytes:
        """What comes next."""
        return await self.stream.receive_some()

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def welcome(self) -> None:
        """Take a connection of lines, and shake hands."""
        await self.accept()
        await self.hear()
        info = {"name": "script", "version": "1"}
        result = {"protocolVersion": SESSION.version, "capabilities": {}, "serverInfo": info}
        await self.say(encode_result(1, result) + b"\n")
        await self.hear()


def http(status: int, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A response of HTTP."""
    return b"HTTP/1.1 %d x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        kind.encode(),
        len(body),
        body,
    )
