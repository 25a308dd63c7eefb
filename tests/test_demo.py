"""The demo server: what `trio-mcp serve` serves where nothing is named. On a clock that jumps."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from trio_mcp.demo import mcp
from trio_mcp.runtime.host import Host
from trio_mcp.transports.memory import serve_stream

PATIENCE = 200_000
"""Seconds on the jumping clock, longer than the longest sleep."""


class Client:
    """A client in the session era over a memory stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def send(self, **message: Any) -> None:
        await self._stream.send_all(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._buffer:
                self._buffer += await self._stream.receive_some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, method: str, id: int = 1, **params: Any) -> Any:
        """The result of a request that is answered next."""
        await self.send(id=id, method=method, params=params)
        answer = await self.receive()
        assert answer["id"] == id
        return answer["result"]

    async def call(self, tool: str, **arguments: Any) -> Any:
        return await self.ask("tools/call", name=tool, arguments=arguments)


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client that has shaken hands."""
    host = Host(mcp)
    near, far = memory_stream_pair()
    async with trio.open_nursery() as test_nursery:
        await test_nursery.start(host.run)
        test_nursery.start_soon(serve_stream, host, far)
        client = Client(near)
        info = {"name": "test", "version": "1"}
        await client.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        await client.send(method="notifications/initialized")
        yield client
        await near.aclose()
        host.stop()


async def test_it_has_three_tools_that_a_model_can_read():
    async with connected() as client:
        tools = (await client.ask("tools/list"))["tools"]
    assert [tool["name"] for tool in tools] == ["echo", "add", "sleep"]
    for tool in tools:
        assert tool["description"]
        assert tool["title"]
        assert tool["annotations"]["readOnlyHint"] is True
        schema = tool["inputSchema"]
        assert schema["required"] == list(schema["properties"])
        assert all(parameter["description"] for parameter in schema["properties"].values())
    assert [list(tool["inputSchema"]["properties"]) for tool in tools] == [["message"], ["a", "b"], ["seconds"]]


@pytest.mark.parametrize("message", ["hello", "", "line\nbreak", "dürüm 🥙"])
async def test_echo_returns_the_message(message: str):
    async with connected() as client:
        result = await client.call("echo", message=message)
    assert result["content"] == [{"type": "text", "text": message}]
    assert result["structuredContent"] == {"result": message}


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [(2, 3, 5), (-2, 2, 0), (0.5, 0.25, 0.75), (1, 0.5, 1.5), ("2", "3", 5), (10**12, 1, 10**12 + 1)],
)
async def test_add_returns_the_sum(a: Any, b: Any, total: float):
    async with connected() as client:
        result = await client.call("add", a=a, b=b)
    assert result["structuredContent"] == {"result": total}
    assert result["content"] == [{"type": "text", "text": json.dumps(total)}]


async def test_what_does_not_fit_is_told_to_the_model():
    async with connected() as client:
        results = [
            await client.call("add", a=1),
            await client.call("add", a="one", b=2),
            await client.call("sleep", seconds=-1),
            await client.call("sleep", seconds=86_401),
        ]
    assert all(result["isError"] for result in results)


@pytest.mark.parametrize("seconds", [0, 0.25, 1, 2.5, 3600])
async def test_sleep_takes_as_long_as_it_says(seconds: float, autojump_clock: MockClock):
    async with connected() as client:
        began = trio.current_time()
        result = await client.call("sleep", seconds=seconds)
        assert trio.current_time() - began == pytest.approx(seconds)
    assert result["content"] == [{"type": "text", "text": f"slept {seconds:g} s"}]


async def test_sleep_reports_progress_every_second_to_who_asks(autojump_clock: MockClock):
    async with connected() as client:
        params = {"name": "sleep", "arguments": {"seconds": 2.5}, "_meta": {"progressToken": "p"}}
        await client.send(id=1, method="tools/call", params=params)
        reports = [(await client.receive())["params"] for _ in range(4)]
        assert [report["progress"] for report in reports] == pytest.approx([0, 1, 2, 2.5])
        assert {(report["progressToken"], report["total"]) for report in reports} == {("p", 2.5)}
        assert [report["message"] for report in reports] == ["2 s left", "2 s left", "0 s left", "done"]
        assert (await client.receive())["id"] == 1


async def test_a_cancelled_sleep_ends_at_once_and_answers_nothing(autojump_clock: MockClock):
    async with connected() as client:
        began = trio.current_time()
        await client.send(id=1, method="tools/call", params={"name": "sleep", "arguments": {"seconds": 86_400}})
        await client.send(method="notifications/cancelled", params={"requestId": 1})
        assert await client.ask("ping", id=2) == {}
        assert trio.current_time() == began
    assert trio.current_time() - began < 60
