"""Where functions run, how many at a time, and how long a reply may take."""

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, Client, accept, connected, text_of, unhurried
from trio_mcp import Context, Server, Settings

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


async def test_async_functions_run_in_the_loop_and_plain_ones_in_a_thread_unless_told_otherwise():
    mcp = Server("s")
    loop_thread = threading.get_ident()

    @mcp.tool
    async def asynchronous() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.tool
    def plain() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.tool(thread=True)
    def told() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.tool(thread=False)
    def inline() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.tool(thread=False)
    async def asynchronous_inline() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.resource("where://plain")
    def resource() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.resource("where://inline", thread=False)
    def inline_resource() -> bool:
        return threading.get_ident() == loop_thread

    @mcp.prompt
    def prompt() -> str:
        return str(threading.get_ident() == loop_thread)

    @mcp.prompt(thread=False)
    def inline_prompt() -> str:
        return str(threading.get_ident() == loop_thread)

    async with connected(mcp) as client:
        in_loop = {name: text_of(await client.call(name)) == "true" for name in mcp.tools}
        assert in_loop == {
            "asynchronous": True,
            "plain": False,
            "told": False,
            "inline": True,
            "asynchronous_inline": True,
        }
        assert [(await client.read_resource(uri))[0]["text"] for uri in mcp.resources] == ["false", "true"]
        prompts = [await client.ask("prompts/get", {"name": name}) for name in mcp.prompts]
        assert [prompt["messages"][0]["content"]["text"] for prompt in prompts] == ["False", "True"]


async def test_a_thread_bears_the_name_of_its_function():
    mcp = Server("s")

    @mcp.tool
    def nameable() -> str:
        return threading.current_thread().name

    async with connected(mcp) as client:
        assert "nameable" in text_of(await client.call("nameable"))


async def test_no_more_threads_run_than_the_settings_say():
    mcp = Server("s", settings=Settings(threads=2))
    running: list[int] = []
    both_run, go_on = threading.Event(), threading.Event()

    @mcp.tool
    def wait(number: int) -> int:
        running.append(number)
        if len(running) == 2:
            both_run.set()
        go_on.wait()
        return number

    async with connected(mcp) as client:
        waiting = [
            (await client.begin("tools/call", {"name": "wait", "arguments": {"number": n}}))[1] for n in range(3)
        ]
        await trio.to_thread.run_sync(both_run.wait)
        while mcp.limiter.statistics().tasks_waiting < 1:
            await trio.lowlevel.checkpoint()
        assert len(running) == 2
        go_on.set()
        assert [text_of((await receive())["result"]) for receive in waiting] == ["0", "1", "2"]
        assert mcp.limiter.borrowed_tokens == 0


# ---- timeouts, on a clock that jumps


@pytest.fixture
def jumping_clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def seconds_of(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = trio.current_time()
    return await call(), trio.current_time() - begun


@pytest.mark.parametrize("era", ERAS)
async def test_a_timeout_ends_an_async_tool_and_tells_the_model(jumping_clock, era):
    mcp = Server("s")
    cleaned = trio.Event()

    @mcp.tool(timeout=2.5)
    async def slow() -> str:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.set()
        return "never"

    async with unhurried(mcp, era) as client:
        result, took = await seconds_of(lambda: client.call("slow"))
        assert (result["isError"], text_of(result), took) == (True, "slow timed out after 2.5 s", 2.5)
        assert cleaned.is_set()


@pytest.mark.parametrize("era", ERAS)
async def test_a_timeout_bounds_the_reply_of_a_thread_that_goes_on(jumping_clock, era):
    mcp = Server("s")
    go_on, over = threading.Event(), threading.Event()

    @mcp.tool(timeout=3)
    def stuck() -> str:
        go_on.wait()
        over.set()
        return "too late"

    async with unhurried(mcp, era) as client:
        try:
            result, took = await seconds_of(lambda: client.call("stuck"))
            assert (text_of(result), took) == ("stuck timed out after 3 s", 3)
            assert not over.is_set()
            assert mcp.limiter.borrowed_tokens == 1  # its place comes back only when it ends
        finally:
            go_on.set()
        jumping_clock.autojump_threshold = math.inf
        while mcp.limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()
        assert over.is_set()
        assert text_of(await client.call("stuck")) == "too late"


async def test_waiting_for_a_thread_counts_towards_the_timeout(jumping_clock):
    mcp = Server("s", settings=Settings(threads=1))
    go_on = threading.Event()

    @mcp.tool
    def hog() -> None:
        go_on.wait()

    @mcp.tool(timeout=1)
    def starved() -> str:
        return "ran"

    async with unhurried(mcp) as client:
        try:
            _, hog_ended = await client.begin("tools/call", {"name": "hog"})
            while not mcp.limiter.borrowed_tokens:
                await trio.lowlevel.checkpoint()
            assert text_of(await client.call("starved")) == "starved timed out after 1 s"
        finally:
            go_on.set()
        await hog_ended()


async def test_the_servers_own_timeout_holds_where_a_tool_has_none(jumping_clock):
    mcp = Server("s", settings=Settings(tool_timeout=4))

    async def slow(ctx: Context) -> float:
        await trio.sleep(10)
        return 1

    mcp.add_tool(slow, name="default")
    mcp.add_tool(slow, name="longer", timeout=20)
    mcp.add_tool(slow, name="shorter", timeout=1)
    mcp.add_tool(slow, name="unbound", timeout=math.inf)
    async with unhurried(mcp) as client:
        assert text_of(await client.call("default")) == "default timed out after 4 s"
        assert text_of(await client.call("longer")) == "1"
        assert text_of(await client.call("shorter")) == "shorter timed out after 1 s"
        assert text_of(await client.call("unbound")) == "1"


async def test_a_raw_tool_has_its_timeout_too(jumping_clock):
    mcp = Server("s")

    async def handler(params: dict[str, Any]) -> None:
        await trio.sleep_forever()

    mcp.register_tool("raw", "d", {"type": "object"}, handler, timeout=2)
    async with unhurried(mcp) as client:
        assert text_of(await client.call("raw")) == "raw timed out after 2 s"


async def test_what_a_tool_itself_gives_up_on_is_no_timeout_of_ours(jumping_clock, caplog):
    mcp = Server("s")

    @mcp.tool(timeout=50)
    async def impatient() -> str:
        with trio.fail_after(1):
            await trio.sleep_forever()
        return "never"

    async with unhurried(mcp) as client:
        result = await client.call("impatient")
        assert result["isError"] is True
        assert result["content"][0]["text"] == "impatient gave up: what it waited for took too long"
        assert not caplog.records


# ---- a thread and its context


@pytest.mark.parametrize("era", ERAS)
async def test_a_thread_speaks_to_the_client_through_trio(era):
    mcp = Server("s")

    @mcp.tool
    def work(ctx: Context) -> str:
        trio.from_thread.run(ctx.report_progress, 1, 2, "half")
        trio.from_thread.run(ctx.info, "working")
        ctx.notify_tools_changed()
        return f"{ctx.revision.version}"

    async with connected(mcp, era, log_level="info") as client:
        params = {"name": "work", "_meta": {"progressToken": "t"}}
        assert text_of(await client.ask("tools/call", params)) == era
        assert client.heard_of("notifications/progress") == [
            {"progressToken": "t", "progress": 1, "total": 2, "message": "half"}
        ]
        assert [message["data"] for message in client.heard_of("notifications/message")] == ["working"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_thread_may_ask_the_client_and_none_is_left_behind(era):
    mcp = Server("s", settings=Settings(threads=1))

    @mcp.tool
    def greet(ctx: Context) -> str:
        answer = trio.from_thread.run(ctx.elicit, "Who?", NAME)
        return f"Hello, {answer.content['name']}"

    answers = {"elicitation/create": accept(name="Bo")}
    async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
        assert text_of(await client.call("greet")) == "Hello, Bo"
        assert text_of(await client.call("greet")) == "Hello, Bo"  # the one thread is free again


async def test_a_thread_that_asks_when_its_call_is_cancelled_is_let_go():
    mcp = Server("s")
    raised: list[BaseException] = []
    ended = threading.Event()

    @mcp.tool
    def greet(ctx: Context) -> str:
        try:
            for _ in range(2):  # the second time nobody listens any more from the start
                try:
                    trio.from_thread.run(ctx.elicit, "Who?", NAME)
                except RuntimeError as error:
                    raised.append(error)
        finally:
            ended.set()
        return "never"

    async with connected(mcp, SESSION, capabilities={"elicitation": {}}) as client:
        client.keep_silent = True
        id, _ = await client.begin("tools/call", {"name": "greet"})
        await client.be_asked("elicitation/create")
        await client.notify("notifications/cancelled", {"requestId": id})
        await trio.to_thread.run_sync(ended.wait)
        assert [str(error) for error in raised] == [
            "the call has ended: nobody answers elicitation/create any more"
        ] * 2
        assert await client.hear("notifications/cancelled")


async def test_cancelling_a_thread_frees_the_client_at_once():
    mcp = Server("s")
    begun, go_on = trio.Event(), threading.Event()

    @mcp.tool
    def stuck() -> str:
        trio.from_thread.run_sync(begun.set)
        go_on.wait()
        return "never"

    async with connected(mcp, PER_REQUEST) as client:
        id, _ = await client.begin("tools/call", {"name": "stuck"})
        await begun.wait()
        await client.notify("notifications/cancelled", {"requestId": id})
        await client.ask("tools/list")
        go_on.set()


async def test_one_failing_call_touches_no_other(caplog):
    mcp = Server("s")
    go_on = trio.Event()

    @mcp.tool
    async def patient() -> str:
        await go_on.wait()
        return "done"

    @mcp.tool
    async def failing() -> str:
        raise ZeroDivisionError

    client: Client
    async with connected(mcp) as client:
        _, receive = await client.begin("tools/call", {"name": "patient"})
        assert (await client.fail("tools/call", {"name": "failing"}))["code"] == -32603
        go_on.set()
        assert text_of((await receive())["result"]) == "done"
