"""`Context`: what a running function knows of its request, tells the client, and asks of it, in both eras."""

import math
from typing import Any

import pytest
import trio

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, connected, text_of, unhurried
from trio_mcp import Context, Server, TextContent


@pytest.mark.parametrize("era", ERAS)
async def test_a_context_knows_its_request_and_its_client(mock_clock, era):
    mcp = Server("s")
    seen: dict[str, Any] = {}

    @mcp.tool(timeout=100)
    async def look(ctx: Context) -> None:
        seen.update(
            request_id=ctx.request_id,
            session_id=ctx.session_id,
            version=ctx.revision.version,
            per_request=ctx.revision.per_request,
            client=ctx.client_info and ctx.client_info.name,
            sampling=ctx.client_capabilities.sampling,
            roots=ctx.client_capabilities.roots,
            headers=dict(ctx.headers),
            lifespan=ctx.lifespan,
            scope=type(ctx.scope),
            left=ctx.deadline - trio.current_time(),
        )

    async with unhurried(mcp, era, capabilities={"sampling": {"tools": {}}}) as client:
        id, receive = await client.begin("tools/call", {"name": "look"})
        await receive()
        assert seen == {
            "request_id": id,
            "session_id": None,  # a pipe is its own session
            "version": era,
            "per_request": era == PER_REQUEST,
            "client": "tests",
            "sampling": {"tools": {}},
            "roots": None,
            "headers": {},
            "lifespan": None,
            "scope": trio.CancelScope,
            "left": 100,
        }


async def test_what_a_context_knows_cannot_be_set():
    mcp = Server("s")

    @mcp.tool
    async def meddle(ctx: Context) -> list[str]:
        refused = []
        for name in ("request_id", "session_id", "revision", "client_info", "headers", "lifespan", "scope", "deadline"):
            try:
                setattr(ctx, name, None)
            except AttributeError:
                refused.append(name)
        return refused

    async with connected(mcp) as client:
        assert len((await client.call("meddle"))["structuredContent"]["result"]) == 8


async def test_without_a_timeout_the_deadline_is_infinite_and_a_thread_has_none():
    mcp = Server("s")

    @mcp.tool
    async def unbound(ctx: Context) -> bool:
        return ctx.deadline == math.inf

    @mcp.tool
    def in_thread(ctx: Context) -> str:
        with pytest.raises(RuntimeError):
            print(ctx.deadline)
        return "none"

    async with unhurried(mcp) as client:
        assert text_of(await client.call("unbound")) == "true"
        assert text_of(await client.call("in_thread")) == "none"


@pytest.mark.parametrize("era", ERAS)
async def test_the_scope_is_cancelled_with_the_call(era):
    mcp = Server("s")
    begun, ended = trio.Event(), trio.Event()

    @mcp.tool
    async def wait(ctx: Context) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            assert ctx.scope.cancel_called
            ended.set()

    async with connected(mcp, era) as client:
        id, _ = await client.begin("tools/call", {"name": "wait"})
        await begun.wait()
        await client.notify("notifications/cancelled", {"requestId": id, "reason": "bored"})
        await ended.wait()


# ---- telling


@pytest.mark.parametrize("era", ERAS)
async def test_progress_goes_out_only_with_a_token_only_upwards_and_not_after_the_answer(era):
    mcp = Server("s")
    kept: list[Context] = []

    @mcp.tool
    async def work(ctx: Context) -> None:
        kept.append(ctx)
        for step in (1, 2, 2, 1.5, 3):
            await ctx.report_progress(step, 4, f"step {step}")
        await ctx.report_progress(4)
        await ctx.report_progress(math.nan)

    async with connected(mcp, era) as client:
        await client.call("work")
        assert client.heard == []
        for token in ("t", 7):
            client.heard.clear()
            await client.ask("tools/call", {"name": "work", "_meta": {"progressToken": token}})
            await kept[-1].report_progress(9)
            await client.ask("tools/list")
            assert client.heard_of("notifications/progress") == [
                *({"progressToken": token, "progress": n, "total": 4, "message": f"step {n}"} for n in (1, 2, 3)),
                {"progressToken": token, "progress": 4},
            ]


async def log_all(ctx: Context) -> None:
    await ctx.debug("d")
    await ctx.info({"i": 1})
    await ctx.warning("w", logger="own")
    await ctx.error("e")
    await ctx.log("notice", TextContent("n"), logger="own")
    await ctx.log("emergency", None)


LOGGED = [
    {"level": "debug", "data": "d"},
    {"level": "info", "data": {"i": 1}},
    {"level": "warning", "data": "w", "logger": "own"},
    {"level": "error", "data": "e"},
    {"level": "notice", "data": {"type": "text", "text": "n"}, "logger": "own"},
    {"level": "emergency", "data": None},
]


async def test_a_session_hears_the_log_from_info_upwards_until_it_says_else():
    mcp = Server("s")
    mcp.add_tool(log_all)
    async with connected(mcp) as client:
        await client.call("log_all")
        assert client.heard_of("notifications/message") == LOGGED[1:]
        for level, expected in (("debug", LOGGED), ("warning", [LOGGED[2], LOGGED[3], LOGGED[5]])):
            client.heard.clear()
            await client.ask("logging/setLevel", {"level": level})
            await client.call("log_all")
            assert client.heard_of("notifications/message") == expected


@pytest.mark.parametrize(("level", "expected"), [(None, []), ("debug", LOGGED), ("error", [LOGGED[3], LOGGED[5]])])
async def test_a_request_hears_the_log_only_when_it_asks(level, expected):
    mcp = Server("s")
    mcp.add_tool(log_all)
    async with connected(mcp, PER_REQUEST, log_level=level) as client:
        await client.call("log_all")
        assert client.heard_of("notifications/message") == expected


async def test_an_unknown_level_is_the_authors_mistake():
    mcp = Server("s")

    @mcp.tool
    async def log(ctx: Context) -> str:
        with pytest.raises(ValueError, match=r"log level must be one of debug, info, .*, not 'loud'"):
            await ctx.log("loud", "x")  # type: ignore[arg-type]  # what the test is about
        return "refused"

    async with connected(mcp) as client:
        assert text_of(await client.call("log")) == "refused"


async def test_a_context_announces_changes_to_sessions():
    mcp = Server("s")

    @mcp.tool
    async def announce(ctx: Context) -> None:
        ctx.notify_tools_changed()
        ctx.notify_prompts_changed()
        ctx.notify_resources_changed()
        ctx.close_stream()  # without effect on a pipe

    async with connected(mcp) as client:
        await client.call("announce")
        assert [message["method"] for message in client.heard] == [
            "notifications/tools/list_changed",
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        ]


# ---- reading


@pytest.mark.parametrize(("era", "code"), [(SESSION, -32002), (PER_REQUEST, -32602)])
async def test_a_tool_may_read_resources_of_its_server(era, code):
    mcp = Server("s")

    @mcp.resource("y://{n}")
    async def item(n: int, ctx: Context) -> str:
        return f"{n} {ctx.request_id}"

    @mcp.tool
    async def read(uri: str, ctx: Context) -> str:
        [contents] = await ctx.read_resource(uri)
        return f"{contents.uri} {contents.text} {ctx.request_id}"

    async with connected(mcp, era) as client:
        id, receive = await client.begin("tools/call", {"name": "read", "arguments": {"uri": "y://1"}})
        assert text_of((await receive())["result"]) == f"y://1 1 {id} {id}"
        error = await client.fail("tools/call", {"name": "read", "arguments": {"uri": "z://1"}})
        assert error == {"code": code, "message": "Resource not found: z://1", "data": {"uri": "z://1"}}
