"""The official Python SDK's `sse_client` on trio against `GET /sse` of a real server.

Real sockets and time, because a foreign client over them is the subject; nothing sleeps, and everything is under
`fail_after`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio
from mcp import MCPError
from mcp.client import Client
from mcp.client.sse import sse_client

from tests.sdk.served import make_server
from tests.sdk.test_python_sdk import PATIENCE, deprecated, text_of
from trio_mcp import Settings, Shutdown, serve_http
from trio_mcp.protocol.revisions import LATEST_SESSION

pytestmark = pytest.mark.filterwarnings(
    r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning"
)

Connect = Callable[..., Any]


@pytest.fixture(params=["legacy", "auto"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Connects; at the end the server drains and leaves by itself, its lifespan torn down."""

    @asynccontextmanager
    async def connected(settings: Settings | None = None, **options: Any) -> AsyncIterator[Client]:
        diary, shutdown = tmp_path / "diary", Shutdown()
        server = make_server(diary)
        server.settings = settings or Settings(transports=["sse"])
        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown))
                    assert url.endswith("/sse")
                    async with Client(sse_client(url), mode=request.param, **options) as client:
                        yield client
                    shutdown.begin.set()
        finally:
            assert diary.read_text() == "open\nclosed\n"

    return connected


async def test_it_connects_and_learns_who_serves(connect: Connect):
    async with connect() as client:
        assert client.protocol_version == LATEST_SESSION.version
        assert (client.server_info.name, client.instructions) == ("served", "Ask away.")
        with deprecated():
            await client.send_ping()


async def test_it_lists_calls_reads_and_completes(connect: Connect):
    async with connect() as client:
        assert [tool.name for tool in (await client.list_tools()).tools][:2] == ["weather", "add"]
        result = await client.call_tool("weather", {"city": "Ulm", "degrees": "3.5"})
        assert result.structured_content == {"city": "Ulm", "degrees": 3.5}
        assert (await client.call_tool("add", {"a": "one"})).is_error
        with pytest.raises(MCPError, match="Unknown tool: gone"):
            await client.call_tool("gone")
        [contents] = (await client.read_resource("config://app")).contents
        assert contents.text == '{"debug":true}'
        assert len((await client.get_prompt("review", {"code": "x"})).messages) == 2
        ref = types.PromptReference(type="ref/prompt", name="review")
        assert (await client.complete(ref, {"name": "language", "value": "c"})).completion.values == ["c"]


async def test_many_calls_at_once_get_each_its_own_answer(connect: Connect):
    async with connect() as client:
        sums: dict[int, Any] = {}

        async def add(n: int) -> None:
            sums[n] = (await client.call_tool("add", {"a": n, "b": n})).structured_content

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(add, n)
        assert sums == {n: {"result": 2 * n} for n in range(10)}


async def test_it_hears_progress_and_is_asked(connect: Connect):
    progress: list[Any] = []

    async def on_progress(*told: Any) -> None:
        progress.append(told)

    async def on_elicit(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Bo"})

    async with connect(elicitation_callback=on_elicit) as client:
        await client.call_tool("work", progress_callback=on_progress)
        assert text_of(await client.call_tool("greet")) == "Hello, Bo"
    assert progress == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


async def test_cancelling_a_call_cancels_the_tool(connect: Connect):
    async with connect() as client:
        async with trio.open_nursery() as nursery:

            async def on_progress(*told: Any) -> None:
                nursery.cancel_scope.cancel()

            nursery.start_soon(partial(client.call_tool, "hang", progress_callback=on_progress))
        assert (await client.call_tool("cleaned_up")).structured_content == {"result": True}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
async def test_heartbeat_events_do_not_disturb_it(connect: Connect):
    async with connect(Settings(transports=["sse"], sse_heartbeat="event", sse_keepalive=0.01)) as client:
        for n in range(5):
            assert (await client.call_tool("add", {"a": n, "b": 1})).structured_content == {"result": n + 1}


async def test_leaving_in_the_middle_of_a_call_ends_the_session_and_the_call(tmp_path: Path):
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, make_server(tmp_path / "diary"), port=0, shutdown=shutdown))
            url = url.replace("/mcp", "/sse")
            async with Client(sse_client(url), mode="legacy") as first, trio.open_nursery() as calls:

                async def leave(progress: float, total: float | None, message: str | None) -> None:
                    calls.cancel_scope.cancel()

                calls.start_soon(partial(first.call_tool, "hang", progress_callback=leave))
            async with Client(sse_client(url), mode="legacy") as second:
                assert (await second.call_tool("cleaned_up")).structured_content == {"result": True}
            shutdown.begin.set()
