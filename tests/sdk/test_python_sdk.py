"""The official Python SDK's client on trio, in each of its modes, over HTTP and stdio.

Real sockets, pipes and time, because a foreign client over them is the subject; nothing sleeps, and everything is
under `fail_after`. What the SDK itself calls deprecated is what its modes are for, so it is asked for with
`deprecated()`, which demands the warning.
"""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mcp.client.stdio
import mcp_types as types
import pytest
import trio
from mcp import MCPError
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning

from tests.sdk.served import make_server
from trio_mcp import Shutdown, serve_http
from trio_mcp.protocol.revisions import LATEST_SESSION, V2026_07_28

ROOT = Path(__file__).parents[2]
PER_REQUEST = V2026_07_28.version
MODES = ("legacy", "auto", PER_REQUEST)
PATIENCE = 15  # seconds that only a hanging test reaches

# The SDK leaves its loop over a response's events at the answer, and its HTTP library's generators to the garbage.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning"
)

deprecated = partial(pytest.warns, MCPDeprecationWarning)
Connect = Callable[..., Any]


@asynccontextmanager
async def over_http(diary: Path, **options: Any) -> AsyncIterator[Client]:
    """Served in a nursery of the test; at the end the server drains and leaves by itself."""
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, make_server(diary), port=0, shutdown=shutdown)
        [url] = await nursery.start(serve)
        async with Client(url, **options) as client:
            yield client
        shutdown.begin.set()


@asynccontextmanager
async def over_stdio(diary: Path, **options: Any) -> AsyncIterator[Client]:
    """Served by a process of its own, started and stopped by the SDK."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "tests.sdk.served", str(diary)], env=dict(os.environ), cwd=ROOT
    )
    async with Client(parameters, **options) as client:
        yield client


TRANSPORTS: dict[str, Connect] = {"http": over_http, "stdio": over_stdio}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TRANSPORTS)
def connect(request: pytest.FixtureRequest, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Connects in one mode over one transport; leaving it must have ended the server of its own accord."""
    killed: list[object] = []

    async def kill(process: Any) -> None:
        killed.append(process)
        process.kill()

    monkeypatch.setattr(mcp.client.stdio, "_terminate_process_tree", kill)

    @asynccontextmanager
    async def connected(**options: Any) -> AsyncIterator[Client]:
        diary = tmp_path / "diary"
        try:
            with trio.fail_after(PATIENCE):
                async with TRANSPORTS[request.param](diary, mode=mode, **options) as client:
                    yield client
        finally:
            assert diary.read_text() == "open\nclosed\n"
            assert killed == []

    return connected


def text_of(result: types.CallToolResult) -> str:
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def test_it_connects_and_learns_who_serves(connect, mode):
    async with connect() as client:
        modern = mode != "legacy"
        assert client.protocol_version == (PER_REQUEST if modern else LATEST_SESSION.version)
        if mode != PER_REQUEST:  # a client that adopts a version has not asked yet
            assert client.instructions == "Ask away."
            assert (client.server_info.name, client.server_info.version) == ("served", "1.0")
            assert client.server_capabilities.completions is not None
        if not modern:
            with deprecated():
                await client.send_ping()
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools][:2] == ["weather", "add"]


async def test_it_calls_tools_and_reads_structured_content_and_errors(connect):
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["weather"].description == "Tell the weather."
        assert tools["weather"].output_schema["required"] == ["city", "degrees"]
        result = await client.call_tool("weather", {"city": "Ulm", "degrees": "3.5"})
        assert result.structured_content == {"city": "Ulm", "degrees": 3.5}
        assert text_of(result) == '{"city":"Ulm","degrees":3.5}'
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
        result = await client.call_tool("add", {"a": "one"})
        assert result.is_error
        assert text_of(result).splitlines()[1:] == ["$.a: expected an integer, got a string", "$.b: missing"]
        with pytest.raises(MCPError, match="Unknown tool: gone") as caught:
            await client.call_tool("gone")
        assert caught.value.code == -32602


async def test_many_calls_at_once_get_each_its_own_answer(connect):
    async with connect() as client:
        sums: dict[int, Any] = {}

        async def add(n: int) -> None:
            sums[n] = (await client.call_tool("add", {"a": n, "b": n})).structured_content

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(add, n)
        assert sums == {n: {"result": 2 * n} for n in range(10)}


async def test_it_hears_progress_and_the_log(connect, mode):
    progress: list[Any] = []
    logged: list[Any] = []

    async def on_progress(*told: Any) -> None:
        progress.append(told)

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append((params.level, params.logger, params.data))

    async with connect(logging_callback=on_log, log_level="info") as client:
        if mode == "legacy":
            with deprecated():
                await client.set_logging_level("info")
        result = await client.call_tool("work", progress_callback=on_progress)
        assert text_of(result) == "worked"
        await client.list_tools(cache_mode="bypass")
    assert progress == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
    assert logged == [("info", "work", "worked")]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (types.ElicitResult(action="accept", content={"name": "Bo"}), "Hello, Bo"),
        (types.ElicitResult(action="decline"), "You chose to decline"),
    ],
    ids=["accept", "decline"],
)
async def test_it_is_asked_for_input(connect, answer, text):
    asked: list[Any] = []

    async def on_elicit(context: Any, params: Any) -> types.ElicitResult:
        asked.append((params.message, params.requested_schema["required"]))
        return answer

    async with connect(elicitation_callback=on_elicit) as client:
        assert text_of(await client.call_tool("greet")) == text
    assert asked == [("What is your name?", ["name"])]


async def test_its_model_and_its_roots_are_asked(connect):
    async def on_sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        [message] = params.messages
        assert isinstance(message.content, types.TextContent)
        assert params.max_tokens == 50
        content = types.TextContent(type="text", text=f"<{message.content.text}>")
        return types.CreateMessageResult(role="assistant", model="m", content=content)

    async def on_roots(context: Any) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate({"roots": [{"uri": "file:///a"}, {"uri": "file:///b"}]})

    async with connect(sampling_callback=on_sample, list_roots_callback=on_roots) as client:
        assert text_of(await client.call_tool("summarize", {"text": "x"})) == "<Summarize: x>"
        assert (await client.call_tool("folders")).structured_content == {"result": ["file:///a", "file:///b"]}
        with pytest.raises(MCPError, match="did not declare"):
            await client.call_tool("greet")


async def test_it_reads_resources_and_templates(connect, mode):
    async with connect() as client:
        [resource] = (await client.list_resources()).resources
        assert (str(resource.uri), resource.name, resource.mime_type) == ("config://app", "config", "application/json")
        [template] = (await client.list_resource_templates()).resource_templates
        assert (template.uri_template, template.name) == ("users://{id}/profile", "profile")
        [contents] = (await client.read_resource("config://app")).contents
        assert (contents.text, contents.mime_type) == ('{"debug":true}', "application/json")
        [contents] = (await client.read_resource("users://7/profile")).contents
        assert contents.blob == "Bw=="
        with pytest.raises(MCPError) as caught:
            await client.read_resource("users://nobody/profile")
        assert caught.value.code == (-32002 if mode == "legacy" else -32602)
        assert caught.value.error.data == {"uri": "users://nobody/profile"}


async def test_it_gets_prompts_and_completions(connect):
    async with connect() as client:
        [prompt] = (await client.list_prompts()).prompts
        assert [(argument.name, bool(argument.required)) for argument in prompt.arguments] == [
            ("code", True),
            ("language", False),
        ]
        got = await client.get_prompt("review", {"code": "x = 1"})
        assert [(message.role, message.content.text) for message in got.messages] == [
            ("user", "Review this python: x = 1"),
            ("assistant", "Gladly."),
        ]
        with pytest.raises(MCPError, match=r"\$\.code: missing"):
            await client.get_prompt("review")
        ref = types.PromptReference(type="ref/prompt", name="review")
        found = await client.complete(ref, {"name": "language", "value": "p"}, {"code": "x"})
        assert found.completion.values == ["python", "perl", "code"]
        template = types.ResourceTemplateReference(type="ref/resource", uri="users://{id}/profile")
        found = await client.complete(template, {"name": "id", "value": "4"})
        assert (found.completion.values, found.completion.total) == (["41", "42"], 2)


async def test_it_hears_of_changes(connect, mode):
    send, receive = trio.open_memory_channel[Any](10)

    async def on_message(message: Any) -> None:
        await send.send(message)

    async with connect(message_handler=on_message) as client:
        if mode == "legacy":
            with deprecated():
                await client.subscribe_resource("config://app")
            await client.call_tool("touch", {"uri": "users://1/profile"})
            await client.call_tool("touch", {"uri": "config://app"})
            updated = await receive.receive()
            assert isinstance(updated, types.ResourceUpdatedNotification)
            assert str(updated.params.uri) == "config://app"
            await client.call_tool("grow")
            assert isinstance(await receive.receive(), types.ToolListChangedNotification)
            with deprecated():
                await client.unsubscribe_resource("config://app")
        else:
            async with client.listen(tools_list_changed=True, resource_subscriptions=["config://app"]) as subscription:
                await client.call_tool("touch", {"uri": "users://1/profile"})
                await client.call_tool("touch", {"uri": "config://app"})
                assert await anext(subscription) == ResourceUpdated(uri="config://app")
                await client.call_tool("grow")
                assert await anext(subscription) == ToolsListChanged()
        assert "grown" in [tool.name for tool in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("grown")) == "new"


async def test_cancelling_a_call_cancels_the_tool(connect):
    async with connect() as client:
        async with trio.open_nursery() as nursery:

            async def on_progress(*told: Any) -> None:
                nursery.cancel_scope.cancel()

            nursery.start_soon(partial(client.call_tool, "hang", progress_callback=on_progress))
        assert (await client.call_tool("cleaned_up")).structured_content == {"result": True}


async def test_a_call_that_the_client_gives_up_on_is_cancelled(connect):
    async with connect() as client:
        with pytest.raises(MCPError):
            await client.call_tool("hang", read_timeout_seconds=0.2)
        assert (await client.call_tool("cleaned_up")).structured_content == {"result": True}


async def test_leaving_with_a_call_in_flight_ends_the_server_too(connect):
    begun = trio.Event()

    async def begin(*told: Any) -> None:
        begun.set()

    async def leave_in_the_middle() -> None:
        async with connect() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.call_tool, "hang", progress_callback=begin))
            await begun.wait()
            raise KeyError("the user is gone")

    with pytest.raises(ExceptionGroup) as caught:
        await leave_in_the_middle()
    assert caught.group_contains(KeyError, match="the user is gone")
