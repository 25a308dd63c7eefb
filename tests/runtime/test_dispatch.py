"""A call ends for itself: in time, with what may be shown, and without taking anything along."""

import json
import threading
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    Gate,
    Json,
    cancelled,
    hosted,
    read_all,
    request,
    serving,
    texts,
    the_answer,
    visiting,
)
from trio_mcp import Context, McpError, ResourceError, ToolError

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


# Timeouts of tools


@pytest.mark.parametrize(("own", "servers"), [(7, None), (None, 7), (7, 3), (7, 1000)])
async def test_a_timeout_bounds_an_async_tool_and_runs_its_clean_up(own, servers, autojump_clock):
    server = serving(tool_timeout=servers)
    diary: list[str] = []

    @server.tool(timeout=own)
    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            diary.append("cleaned up")

    async with hosted(server) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        result = (await the_answer(visitor.call(1, "slow")))["result"]
        assert trio.current_time() == began + 7
        assert result["isError"] is True
        assert texts(result) == ["slow timed out after 7 s"]
        assert diary == ["cleaned up"]


async def test_a_timeout_bounds_the_reply_though_the_thread_goes_on(mock_clock):
    server = serving(tool_timeout=7)
    began, let_go, gone = threading.Event(), threading.Event(), threading.Event()

    @server.tool
    def slow() -> None:
        began.set()
        let_go.wait(60)
        gone.set()

    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "slow")
        try:
            await trio.to_thread.run_sync(began.wait, 60)
            mock_clock.jump(6.9)
            await wait_all_tasks_blocked()
            assert not outlet.closed
            mock_clock.jump(0.1)
            result = (await the_answer(outlet))["result"]
            assert texts(result) == ["slow timed out after 7 s"]
            assert not gone.is_set()
        finally:
            let_go.set()
        await trio.to_thread.run_sync(gone.wait, 60)
        while server.limiter.borrowed_tokens:
            await trio.lowlevel.checkpoint()


# Errors


async def raise_in_nursery(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(fail, error)


async def outcome_of(body: Any, *, method: str = "tools/call") -> tuple[Json, Json]:
    """What a client gets of a tool (or resource, prompt) that does `body`, and what a sibling call gets."""
    server = serving()

    @server.tool
    async def failing() -> None:
        await body()

    @server.resource("failing://it")
    async def resource() -> None:
        await body()

    @server.prompt(name="failing")
    async def prompt() -> None:
        await body()

    gate = Gate(server)
    params: Json = {"name": "failing"}
    if method == "resources/read":
        params = {"uri": "failing://it"}
    async with hosted(server) as host:
        visitor = await visiting(host)
        sibling = visitor.call("sibling", "wait")
        response = await the_answer(visitor.post(request(1, method, params)))
        gate.opened.set()
        other = await the_answer(sibling)
        assert not visitor.session.ended.is_set()
        return response, other


async def failing_with(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "errors",
    [
        (ValueError("secret detail"),),
        (ValueError("secret detail"), ToolError("shown")),
        (SystemExit(3),),
        (SystemExit("secret detail"), ValueError("secret detail")),
    ],
)
@pytest.mark.parametrize("in_nursery", [False, True])
async def test_an_unknown_failure_is_a_generic_message_and_one_traceback(
    errors, in_nursery, traceback_count, autojump_clock
):
    if in_nursery:
        body = partial(raise_in_nursery, *errors)
    elif len(errors) == 1:
        body = partial(failing_with, errors[0])
    else:
        body = partial(failing_with, BaseExceptionGroup("several", errors))
    response, sibling = await outcome_of(body)
    assert response["error"]["code"] == -32603
    assert "secret" not in json.dumps(response)
    assert texts(sibling["result"]) == ["it"]
    assert traceback_count() == 1


@pytest.mark.parametrize("method", ["resources/read", "prompts/get"])
async def test_resources_and_prompts_fail_the_same_way(method, traceback_count, autojump_clock):
    response, sibling = await outcome_of(partial(failing_with, KeyError("secret")), method=method)
    assert response["error"]["code"] == -32603
    assert "secret" not in json.dumps(response)
    assert texts(sibling["result"]) == ["it"]
    assert traceback_count() == 1


async def test_a_plain_function_that_exits_does_not_take_the_server_along(traceback_count):
    server = serving()

    @server.tool
    def leaving() -> None:
        raise SystemExit(1)

    async with hosted(server) as host:
        visitor = await visiting(host)
        assert (await the_answer(visitor.call(1, "leaving")))["error"]["code"] == -32603
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
    assert traceback_count() == 1


async def test_tool_errors_of_a_nursery_are_shown_together(traceback_count, autojump_clock):
    body = partial(raise_in_nursery, ToolError("no bread"), ExceptionGroup("deeper", [ToolError("no butter")]))
    response, _ = await outcome_of(body)
    assert response["result"]["isError"] is True
    assert sorted(texts(response["result"])[0].splitlines()) == ["no bread", "no butter"]
    assert traceback_count() == 0


@pytest.mark.parametrize(
    ("error", "method", "expected"),
    [
        (McpError(-5, "own", {"a": 1}), "tools/call", {"code": -5, "message": "own", "data": {"a": 1}}),
        (ResourceError("no paper"), "resources/read", {"code": -32603, "message": "no paper"}),
        (ToolError("wrong kind"), "prompts/get", {"code": -32603, "message": "wrong kind"}),
    ],
)
@pytest.mark.parametrize("in_nursery", [False, True])
async def test_errors_meant_for_the_client_reach_it(error, method, expected, in_nursery, autojump_clock):
    body = partial(raise_in_nursery if in_nursery else failing_with, error)
    response, _ = await outcome_of(body, method=method)
    assert response["error"] == expected


async def endless() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ToolError("\ud800"), -32603),
        (ExceptionGroup("one", [ToolError("\ud800")]), -32603),
        (ResourceError("\ud800"), -32603),
        (McpError(-5, "\ud800"), -5),
        (McpError(-5, "own", object()), -5),
        (McpError(-5, "own", "\ud800"), -5),
        (McpError("five", "own"), -32603),  # type: ignore[arg-type]  # what an author may get wrong
    ],
    ids=str,
)
async def test_an_error_that_cannot_be_sent_is_one_all_the_same(error, expected, autojump_clock):
    response, sibling = await outcome_of(partial(failing_with, error))
    assert response["error"]["code"] == expected
    assert texts(sibling["result"]) == ["it"]


async def test_an_error_with_endless_data_is_sent_without_it(autojump_clock):
    response, _ = await outcome_of(partial(failing_with, McpError(-5, "own", await endless())))
    assert response["error"] == {"code": -5, "message": "own"}


@pytest.mark.parametrize("in_nursery", [False, True])
async def test_a_clean_up_that_fails_after_a_cancellation_is_logged_and_hurts_nobody(
    in_nursery, traceback_count, autojump_clock
):
    server = serving()
    gate = Gate(server)

    async def clumsy_body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    @server.tool
    async def clumsy() -> None:
        if not in_nursery:
            await clumsy_body()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clumsy_body)
            nursery.start_soon(trio.sleep_forever)

    async with hosted(server) as host:
        visitor = await visiting(host)
        sibling = visitor.call("sibling", "wait")
        outlet = visitor.call(1, "clumsy")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        assert await read_all(outlet) == []
        gate.opened.set()
        assert texts((await the_answer(sibling))["result"]) == ["it"]
    assert traceback_count() == 1


# Progress and log


async def test_log_messages_pass_from_the_sessions_level_upwards(autojump_clock):
    server = serving()

    @server.tool
    async def shout(ctx: Context) -> None:
        for level in ("debug", "info", "warning", "error"):
            await ctx.log(level, level)

    async with hosted(server) as host:
        visitor = await visiting(host)

        async def heard(id: int) -> list[str]:
            *messages, _ = await read_all(visitor.call(id, "shout"))
            return [message["params"]["level"] for message in messages]

        assert await heard(1) == ["info", "warning", "error"]
        visitor.post(request(2, "logging/setLevel", {"level": "error"}))
        assert await heard(3) == ["error"]
        visitor.post(request(4, "logging/setLevel", {"level": "debug"}))
        assert await heard(5) == ["debug", "info", "warning", "error"]
