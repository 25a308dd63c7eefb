"""An MCP server under hypercorn's own trio worker (`hypercorn -k trio module:mcp`): what works there, and what not.

What docs/serving.md says of it is played here, next to what our own worker does.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.middleware import ProxyFixMiddleware
from hypercorn.trio import serve

from tests.http.client import MODERN, V2025_11, modern, notification, request
from tests.http.faults.servers import OURS, STOCK
from tests.http.lane_kit import PATIENCE, Answer, Peer, until
from trio_mcp import Server, Shutdown, serve_http

BOTH = pytest.mark.parametrize("kind", [pytest.param(STOCK, marks=pytest.mark.stock), OURS])


class Calls:
    """What became of the calls of `wait`."""

    def __init__(self) -> None:
        self.began = 0
        self.ended: list[str] = []
        self.go_on = trio.Event()


def small_server(calls: Calls) -> Server:
    mcp = Server("small", version="1.0")

    @mcp.tool(thread=False)
    def echo(message: str) -> str:
        return message

    @mcp.tool
    async def wait() -> str:
        calls.began += 1
        try:
            await calls.go_on.wait()
        except trio.Cancelled:
            calls.ended.append("cancelled")
            raise
        calls.ended.append("done")
        return "waited"

    return mcp


class Place:
    """One server of either kind; `shutdown` tells it to go."""

    def __init__(self) -> None:
        self.port = 0
        self.shutdown = trio.Event()

    async def dial(self) -> Peer:
        return Peer(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def ask(self, body: Any, **headers: str) -> Answer:
        """One request on a connection of its own."""
        peer = await self.dial()
        await peer.send(posted(body, headers))
        answer = await peer.answer()
        await peer.leave()
        return answer


def posted(body: Any, headers: dict[str, str], method: str = "POST") -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items()).encode()
    return b"%b /mcp HTTP/1.1\r\nhost: localhost\r\n%bcontent-length: %d\r\n\r\n%b" % (
        method.encode(),
        lines,
        len(data),
        data,
    )


def called(tool: str, **arguments: Any) -> tuple[Any, dict[str, str]]:
    """A per-request call."""
    body, headers = modern("tools/call", {"name": tool, "arguments": arguments})
    return body, dict(headers)


@asynccontextmanager
async def placed(kind: str, server: Server, *, app: Any = None) -> AsyncIterator[Place]:
    place = Place()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            if kind == STOCK:
                config = Config()
                config.bind, config.accesslog, config.errorlog = ["127.0.0.1:0"], None, None
                config.graceful_timeout = 0.2
                run = partial(serve, app or server, config, mode="asgi", shutdown_trigger=place.shutdown.wait)
            else:
                shutdown = Shutdown(begin=place.shutdown)
                run = partial(serve_http, server, port=0, shutdown=shutdown)
            (url,) = await nursery.start(run)
            place.port = int(url.removesuffix("/mcp").rsplit(":", 1)[1])
            yield place
            place.shutdown.set()


async def begun(place: Place) -> dict[str, str]:
    """The headers of a new session."""
    info = {"name": "tests", "version": "1"}
    params = {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": info}
    answer = await place.ask(request(0, "initialize", params))
    headers = {
        "mcp-session-id": (answer[b"mcp-session-id"] or b"").decode(),
        "mcp-protocol-version": V2025_11,
    }
    assert (await place.ask(notification("notifications/initialized"), **headers)).status == 202
    return headers


@BOTH
async def test_calls_of_both_eras_are_answered(kind: str):
    async with placed(kind, small_server(Calls())) as place:
        headers = await begun(place)
        call = request(1, "tools/call", {"name": "echo", "arguments": {"message": "x"}})
        assert json.loads((await place.ask(call, **headers)).body)["result"]["content"][0]["text"] == "x"
        body, modern_headers = called("echo", message="x")
        assert modern_headers["mcp-protocol-version"] == MODERN
        assert json.loads((await place.ask(body, **modern_headers)).body)["result"]["content"][0]["text"] == "x"


@BOTH
async def test_a_client_that_leaves_cancels_its_call(kind: str):
    calls = Calls()
    async with placed(kind, small_server(calls)) as place:
        body, headers = called("wait")
        peer = await place.dial()
        await peer.send(posted(body, headers))
        await until(lambda: calls.began == 1)
        await peer.leave()
        await until(lambda: calls.ended == ["cancelled"])


@BOTH
async def test_a_client_that_sends_no_more_is_gone_for_the_stock_worker_and_gets_its_answer_from_ours(kind: str):
    calls = Calls()
    async with placed(kind, small_server(calls)) as place:
        body, headers = called("wait")
        peer = await place.dial()
        await peer.send(posted(body, headers))
        await until(lambda: calls.began == 1)
        await peer.half_close()
        if kind == STOCK:
            await until(lambda: calls.ended == ["cancelled"])
        else:
            calls.go_on.set()
            assert b"waited" in (await peer.answer()).body
            assert calls.ended == ["done"]
        await peer.leave()


@BOTH
async def test_shutdown_cuts_a_stream_on_the_stock_worker_and_ends_it_properly_on_ours(kind: str):
    async with placed(kind, small_server(Calls())) as place:
        headers = await begun(place)
        peer = await place.dial()
        await peer.send(posted(None, headers, "GET"))
        head = await peer.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        place.shutdown.set()
        end = await peer.remains()
        assert end.endswith(b"0\r\n\r\n") is (kind == OURS)
        await peer.leave()


@pytest.mark.stock
async def test_the_middleware_for_proxies_works_around_an_mcp_server():
    server = small_server(Calls())
    foreign: Any = server
    async with placed(STOCK, server, app=ProxyFixMiddleware(foreign)) as place:
        body, headers = called("echo", message="x")
        answer = await place.ask(body, **headers, x_forwarded_for="192.0.2.1")
        assert answer.status == 200
