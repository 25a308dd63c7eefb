"""A session lives as long as somebody uses it, its calls outlive their connections, and each call ends for itself."""

import json
import logging
import math
import threading
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    SESSION,
    Json,
    Visitor,
    cancelled,
    hosted,
    initialize,
    next_frames,
    notification,
    read_all,
    request,
    serving,
    texts,
    the_answer,
    tool_call,
    visiting,
)
from trio_mcp import Context, McpError, ResourceError, Server, ToolError
from trio_mcp.protocol.errors import UNAVAILABLE
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.replay import MemoryEventStore
from trio_mcp.runtime.session import Session

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


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


async def ends_at(session: Session) -> float:
    await session.ended.wait()
    return trio.current_time()


# Falling idle


async def test_a_session_ends_exactly_when_it_has_been_idle_for_long_enough(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        assert await ends_at(visitor.session) == began + 100
        assert host.find(visitor.session.key) is None
        assert not host.sessions


async def test_every_message_starts_the_idle_time_anew(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        for message in (notification("whatever"), request(1, "ping"), {"jsonrpc": "2.0", "id": 9, "result": {}}):
            await trio.sleep(99)
            visitor.post(message)
        assert await ends_at(visitor.session) == began + 3 * 99 + 100


async def test_a_running_call_keeps_its_session_alive_though_nobody_reads(autojump_clock):
    server = serving(session_idle=100)
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.call(1, "wait")
        await trio.sleep(1050)
        assert not visitor.session.ended.is_set()
        gate.opened.set()
        assert await ends_at(visitor.session) == began + 1050 + 100


async def test_a_cancelled_call_keeps_its_session_alive_while_it_cleans_up(autojump_clock):
    server = serving(session_idle=100)
    gate = Gate(server, cleanup=1000)
    async with hosted(server) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.call(1, "wait")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        assert await ends_at(visitor.session) == began + 1000 + 100
        assert gate.diary[-1] == "it ended"


async def test_an_attached_reader_keeps_its_session_alive(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.session.reading(+1)
        visitor.session.reading(+1)
        await trio.sleep(500)
        visitor.session.reading(-1)
        await trio.sleep(500)
        assert not visitor.session.ended.is_set()
        visitor.session.reading(-1)
        assert await ends_at(visitor.session) == began + 1000 + 100


async def test_the_session_of_a_pipe_never_falls_idle(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        session = await host.open_session(pipe=Outlet(10, expected=None))
        await trio.sleep(80_000)
        assert not session.ended.is_set()
        assert session.public_id is None
        session.end()
        await session.ended.wait()


async def test_a_session_may_be_idle_for_ever(autojump_clock):
    async with hosted(serving(session_idle=math.inf)) as host:
        visitor = await visiting(host)
        await trio.sleep(80_000)
        assert not visitor.session.ended.is_set()


async def test_a_session_that_never_shook_hands_falls_idle_too(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host, initialized=False)
        began = trio.current_time()
        assert await ends_at(visitor.session) == began + 100


async def test_a_session_is_unknown_from_the_moment_it_is_told_to_end(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host)
        assert host.find(visitor.session.key) is visitor.session
        visitor.session.end()
        assert host.find(visitor.session.key) is None


# Ending


async def test_the_end_of_a_session_cancels_its_calls_and_waits_for_their_clean_up(autojump_clock):
    server = serving()
    gate = Gate(server, cleanup=3)
    async with hosted(server) as host:
        visitor, other = await visiting(host), await visiting(host)
        outlets = [visitor.call(number, "wait", name=f"call {number}") for number in range(3)]
        others = other.call(1, "wait", name="other")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await host.end_session(visitor.session, "the client ended it")
        assert trio.current_time() == began + 3
        assert sorted(gate.diary[-3:]) == ["call 0 ended", "call 1 ended", "call 2 ended"]
        assert [(await the_answer(outlet))["error"]["code"] for outlet in outlets] == [UNAVAILABLE] * 3
        assert "other ended" not in gate.diary
        gate.opened.set()
        assert texts((await the_answer(others))["result"]) == ["other"]


async def test_ending_a_session_is_bounded_by_the_time_for_clean_up(autojump_clock):
    server = serving(cleanup_timeout=2)
    Gate(server, cleanup=50)
    async with hosted(server) as host:
        visitor = await visiting(host)
        visitor.call(1, "wait")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await host.end_session(visitor.session, "the client ended it")
        assert trio.current_time() == began + 2
        assert not visitor.session.ended.is_set()


async def test_the_end_of_a_session_ends_its_streams_and_forgets_its_events(autojump_clock):
    server = serving()
    Gate(server)
    async with hosted(server) as host:
        store = host.event_store
        assert isinstance(store, MemoryEventStore)
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        outlet.commit()
        visitor.session.standing.commit()
        assert len(store) == 2
        await host.end_session(visitor.session, "the client ended it")
        assert outlet.closed
        assert visitor.session.standing.closed
        assert not visitor.session.streams
        outlet.commit()
        assert len(store) == 0


async def test_messages_to_a_session_that_has_ended_are_refused_and_start_nothing(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        await host.end_session(visitor.session, "the client ended it")
        response = await the_answer(visitor.post(tool_call(1, "wait"), Outlet(10)))
        assert response["error"]["code"] == -32600
        assert gate.diary == []


# Cancellation


async def test_a_cancelled_call_answers_nothing_cleans_up_and_leaves_its_siblings_alone(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        first, second = visitor.call(1, "wait", name="first"), visitor.call("1", "wait", name="second")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1, reason="changed my mind"))
        await wait_all_tasks_blocked()
        assert first.closed
        assert not first.take()
        assert gate.diary[2:] == ["first cancelled", "first ended"]
        gate.opened.set()
        assert texts((await the_answer(second))["result"]) == ["second"]
        assert not visitor.session.calls


async def test_a_call_that_is_cancelled_as_it_returns_answers_nothing(autojump_clock):
    server = serving()
    letting_go = trio.Event()

    @server.tool
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await letting_go.wait()
        return "done all the same"

    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "stubborn")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        letting_go.set()
        assert await read_all(outlet) == []


@pytest.mark.parametrize("id", [77, "1", None, "init", 1])
async def test_cancelling_what_is_not_in_flight_is_ignored(id, autojump_clock):
    server = serving()
    gate = Gate(server)
    gate.opened.set()
    async with hosted(server) as host:
        visitor = await visiting(host)
        await the_answer(visitor.call(1, "wait"))
        running = visitor.call(2, "wait", name="other")
        visitor.post(cancelled(id))
        assert texts((await the_answer(running))["result"]) == ["other"]


async def test_initialize_cannot_be_cancelled(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host, initialized=False)
        outlet = visitor.post(initialize(1))
        visitor.post(cancelled(1))
        assert (await the_answer(outlet))["result"]["protocolVersion"] == SESSION
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}


async def test_an_id_may_be_used_again_while_its_cancelled_call_still_cleans_up(autojump_clock):
    server = serving()
    gate = Gate(server, cleanup=10)
    async with hosted(server) as host:
        visitor = await visiting(host)
        older = visitor.call(1, "wait", name="older")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        newer = visitor.call(1, "wait", name="newer")
        await trio.sleep(11)
        assert gate.diary[-1] == "older ended"
        assert visitor.session.calls[1].outlet is newer
        gate.opened.set()
        assert await read_all(older) == []
        assert texts((await the_answer(newer))["result"]) == ["newer"]
        assert not visitor.session.calls
        assert not visitor.session.protocol.incoming


async def test_an_id_in_flight_cannot_be_used_again(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        older = visitor.call(1, "wait", name="older")
        error = (await the_answer(visitor.call(1, "wait", name="newer")))["error"]
        assert error["code"] == -32600
        gate.opened.set()
        assert texts((await the_answer(older))["result"]) == ["older"]


async def test_calls_that_clean_up_count_towards_the_bound(autojump_clock):
    server = serving(max_requests_per_session=3)
    gate = Gate(server, cleanup=10)
    async with hosted(server) as host:
        visitor = await visiting(host)
        for _ in range(3):
            visitor.call(1, "wait")
            await wait_all_tasks_blocked()
            visitor.post(cancelled(1))
        error = (await the_answer(visitor.call(1, "wait")))["error"]
        assert error["code"] == 429
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
        await trio.sleep(11)
        gate.opened.set()
        assert texts((await the_answer(visitor.call(1, "wait")))["result"]) == ["it"]


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


@pytest.fixture
def traceback_count(caplog):
    caplog.set_level(logging.DEBUG, "trio_mcp")
    return lambda: sum(record.exc_info is not None for record in caplog.records)


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


# Asking the client


def asking_server(**settings: Any) -> Server:
    server = serving(**settings)

    @server.tool
    async def greet(ctx: Context) -> str:
        answer = await ctx.elicit("Name?", NAME)
        return f"{answer.action} {answer.content}"

    @server.tool
    async def think(ctx: Context) -> str:
        content = (await ctx.sample("think")).content
        return content.text  # type: ignore[union-attr]  # the test's client answers with a text

    @server.tool
    async def places(ctx: Context) -> list[str]:
        return [root.uri for root in await ctx.list_roots()]

    return server


@pytest.mark.parametrize(
    ("tool", "method", "answer", "expected"),
    [
        ("greet", "elicitation/create", {"action": "accept", "content": {"name": "Ada"}}, "accept {'name': 'Ada'}"),
        (
            "think",
            "sampling/createMessage",
            {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hm"}},
            "hm",
        ),
        ("places", "roots/list", {"roots": [{"uri": "file:///home"}]}, "file:///home"),
    ],
)
async def test_a_question_goes_out_on_the_calls_own_stream_and_its_answer_comes_back(
    tool, method, answer, expected, autojump_clock
):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, tool)
        with outlet.reader():
            [question] = await next_frames(outlet)
        assert question["method"] == method
        visitor.answer(question["id"], answer)
        assert expected in texts((await the_answer(outlet))["result"])[0]


@pytest.mark.parametrize("tool", ["greet", "think", "places"])
async def test_a_question_is_given_up_after_its_time_and_a_late_answer_is_ignored(
    tool, traceback_count, autojump_clock
):
    async with hosted(asking_server(request_timeout=40)) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        began = trio.current_time()
        question, told, response = await read_all(visitor.call(1, tool))
        assert trio.current_time() == began + 40
        assert told["method"] == "notifications/cancelled"
        assert told["params"]["requestId"] == question["id"]
        assert response["result"]["isError"] is True
        assert "took too long" in texts(response["result"])[0]
        visitor.answer(question["id"], {"action": "accept", "content": {"name": "late"}})
        assert not visitor.session.protocol.outgoing
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
    assert traceback_count() == 0


async def test_a_cancelled_call_takes_its_question_back(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, "greet")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        question, told = await read_all(outlet)
        assert told["params"]["requestId"] == question["id"]
        assert not visitor.session.protocol.outgoing


async def test_an_answered_question_is_not_taken_back(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, "greet")
        await wait_all_tasks_blocked()
        visitor.answer(1, {"action": "decline"})
        visitor.answer(1, {"action": "accept", "content": {"name": "second thoughts"}})
        question, response = await read_all(outlet)
        assert texts(response["result"]) == ["decline None"]
        assert "method" in question


async def test_an_answer_of_one_session_reaches_no_other(autojump_clock):
    async with hosted(asking_server(request_timeout=40)) as host:
        ours, theirs = [await visiting(host, capabilities=CAN_ALL) for _ in range(2)]
        outlet = ours.call(1, "greet")
        await wait_all_tasks_blocked()
        theirs.answer(1, {"action": "accept", "content": {"name": "Mallory"}})
        assert (await the_answer(outlet))["result"]["isError"] is True


async def test_a_refusal_of_the_client_reaches_it_again_as_the_tools_error(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, "think")
        await wait_all_tasks_blocked()
        visitor.refuse(1, -1, "the user said no")
        assert (await the_answer(outlet))["error"] == {"code": -1, "message": "the user said no"}


async def test_an_answer_that_does_not_fit_is_the_tools_error(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, "greet")
        await wait_all_tasks_blocked()
        visitor.answer(1, {"action": "accept", "content": {"name": 7}})
        result = (await the_answer(outlet))["result"]
        assert result["isError"] is True
        assert "does not fit" in texts(result)[0]


async def test_what_the_client_did_not_declare_is_not_asked(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host)
        [response] = await read_all(visitor.call(1, "think"))
        assert response["error"]["code"] == -32600
        assert "sampling" in response["error"]["message"]


async def test_a_question_that_cannot_be_encoded_leaves_nothing_behind(autojump_clock):
    server = serving()

    @server.tool
    async def odd(ctx: Context) -> str:
        await ctx.sample("x", metadata=object())
        return "never"

    async with hosted(server) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        [response] = await read_all(visitor.call(1, "odd"))
        assert response["error"]["code"] == -32603
        assert not visitor.session.protocol.outgoing


async def test_the_end_of_a_session_ends_its_questions(autojump_clock):
    async with hosted(asking_server()) as host:
        visitor = await visiting(host, capabilities=CAN_ALL)
        outlet = visitor.call(1, "greet")
        await wait_all_tasks_blocked()
        await host.end_session(visitor.session, "the client ended it")
        assert outlet.closed
        assert not visitor.session.calls


# Progress and log


def talking_server(count: int = 3, **settings: Any) -> Server:
    server = serving(**settings)

    @server.tool
    async def talk(ctx: Context) -> str:
        for number in range(count):
            await ctx.info(number)
        return "said"

    return server


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


# A call goes on without its connection


async def resumed(visitor: Visitor, event_id: str) -> list[Any]:
    return await read_all(await visitor.session.resume(event_id))


async def test_a_call_goes_on_without_a_reader_and_its_answer_waits_to_be_fetched(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit()
        assert first is not None
        visitor.session.drop_stream(outlet)
        await trio.sleep(1000)
        gate.opened.set()
        await wait_all_tasks_blocked()
        assert gate.diary == ["it began", "it ended"]
        assert outlet.number not in visitor.session.streams, "it lives in the history alone"
        [response] = await resumed(visitor, first)
        assert texts(response["result"]) == ["it"]


async def test_a_client_that_comes_back_early_waits_for_the_answer(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit()
        assert first is not None
        found: list[Any] = []

        async def come_back() -> None:
            found.extend(await resumed(visitor, first))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await wait_all_tasks_blocked()
            assert not found
            gate.opened.set()
        assert texts(found[0]["result"]) == ["it"]


@pytest.mark.parametrize("back", ["before the answer", "after the answer"])
async def test_a_parted_stream_is_polled_for_the_rest(back, autojump_clock):
    server = serving()
    go_on = trio.Event()

    @server.tool
    async def parting(ctx: Context) -> str:
        await ctx.info("before")
        ctx.close_stream()
        await ctx.info("between")
        await go_on.wait()
        return "done"

    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "parting")
        with outlet.reader():
            last = outlet.commit()
            await wait_all_tasks_blocked()
            assert outlet.parted
        assert last is not None
        if back == "after the answer":
            go_on.set()
            await wait_all_tasks_blocked()
        outlet = await visitor.session.resume(last)
        go_on.set()
        *messages, response = await read_all(outlet)
        assert [message["params"]["data"] for message in messages] == ["before", "between"]
        assert texts(response["result"]) == ["done"]


@pytest.mark.parametrize("revision", [name for name, r in REVISIONS.items() if not r.per_request and not r.polling])
async def test_a_stream_does_not_part_where_the_revision_has_no_polling(revision, autojump_clock):
    server = serving()

    @server.tool
    async def parting(ctx: Context) -> str:
        ctx.close_stream()
        return "done"

    async with hosted(server) as host:
        visitor = await visiting(host, revision=revision)
        outlet = visitor.call(1, "parting")
        await the_answer(outlet)
        assert not outlet.parted


async def test_nothing_is_lost_or_doubled_when_readers_change(autojump_clock):
    server = talking_server(count=30, stream_buffer=5)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        seen: list[Json] = []
        last = ""
        for _ in range(2):
            with outlet.reader():
                last = last or outlet.commit() or ""
                for _ in range(2):
                    await wait_all_tasks_blocked()
                    frames = outlet.take()
                    seen += [json.loads(frame.data) for frame in frames]
                    last = frames[-1].event_id or last
            outlet = await visitor.session.resume(last)
        seen += await read_all(outlet)
        assert [message.get("params", {}).get("data") for message in seen] == [*range(30), None]


async def test_what_the_older_reader_has_not_taken_goes_to_the_newer_alone(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        older: list[Any] = []
        ids: list[str] = []

        async def read_older() -> None:
            with outlet.reader():
                ids.append(outlet.commit() or "")
                while True:
                    await outlet.wait()
                    older.extend(json.loads(frame.data) for frame in outlet.take())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_older)
            await wait_all_tasks_blocked()
            outlet.put(b'"seen by both"')
            await wait_all_tasks_blocked()
            again = await visitor.session.resume(ids[0])
            assert again is outlet
            gate.opened.set()
            await wait_all_tasks_blocked()
            newer = await read_all(again)
        assert older == ["seen by both"]
        assert newer[0] == "seen by both"
        assert texts(newer[1]["result"]) == ["it"]


class SlowStore(MemoryEventStore):
    """Replays what it held when it was asked, a while later."""

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        found = await super().replay(session_id, last_event_id)
        await trio.sleep(10)
        return found


async def test_what_comes_while_a_slow_store_replays_is_not_lost(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server, event_store=SlowStore()) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit() or ""
            outlet.put(b'"early"')
        found: list[Any] = []

        async def come_back() -> None:
            found.extend(await resumed(visitor, first))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await trio.sleep(5)
            outlet.put(b'"meanwhile"')
            gate.opened.set()
        assert found[:2] == ["early", "meanwhile"]
        assert texts(found[2]["result"]) == ["it"]


async def test_a_store_of_ones_own_is_used_though_it_is_empty(autojump_clock):
    store = SlowStore()
    async with hosted(serving(), event_store=store) as host:
        visitor = await visiting(host)
        visitor.session.standing.commit()
        assert len(store) == 1


async def test_events_of_a_session_are_bounded_by_number_and_by_bytes(autojump_clock):
    server = talking_server(count=1000, stream_buffer=5, replay_events=10, replay_bytes=500)
    async with hosted(server) as host:
        store = host.event_store
        assert isinstance(store, MemoryEventStore)
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        with outlet.reader():
            first = outlet.commit() or ""
        await wait_all_tasks_blocked()
        assert 0 < len(store) <= 10
        messages = await resumed(visitor, first)
        assert len(json.dumps(messages)) < 1000
        assert "result" in messages[-1]


async def test_ids_that_this_session_never_gave_are_refused(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor, other = await visiting(host), await visiting(host)
        ours, theirs = visitor.call(1, "wait"), other.call(1, "wait")
        uncommitted = visitor.call(2, "wait")
        own, foreign = ours.commit() or "", theirs.commit() or ""
        number = own.partition("-")[2]
        strangers = [foreign, "nonsense", "", f"{own}1", "1-1", f"99-{number}", f"{uncommitted.number}-{number}"]
        with uncommitted.reader() as scope:
            for id in strangers:
                with pytest.raises(ValueError, match="event"):
                    await visitor.session.resume(id)
            assert not scope.cancel_called
        gate.opened.set()
        assert texts((await the_answer(uncommitted))["result"]) == ["it"]


async def test_event_ids_are_unique_over_all_streams_of_a_session(autojump_clock):
    server = talking_server()
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlets = [visitor.session.standing, visitor.call(1, "talk"), visitor.call(2, "talk")]
        ids = [outlet.commit() for outlet in outlets]
        await wait_all_tasks_blocked()
        ids += [frame.event_id for outlet in outlets for frame in outlet.take()]
        assert None not in ids
        assert len(set(ids)) == len(ids) == 3 + 2 * 4


async def test_a_call_waits_for_a_slow_reader_and_its_memory_stays_bounded(autojump_clock):
    server = talking_server(count=100, stream_buffer=4)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        seen: list[Json] = []
        with outlet.reader():
            while not outlet.closed:
                await trio.sleep(1)
                assert len(outlet) <= 4 + 1
                seen += [json.loads(frame.data) for frame in outlet.take()]
        assert [message.get("params", {}).get("data") for message in seen] == [*range(100), None]


async def test_a_call_that_waits_for_a_slow_reader_can_be_cancelled(autojump_clock):
    server = talking_server(count=100, stream_buffer=4)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        with outlet.reader():
            await wait_all_tasks_blocked()
            visitor.post(cancelled(1))
            await wait_all_tasks_blocked()
            assert outlet.closed
            assert len(outlet.take()) == 4
        assert not visitor.session.calls


# Bounds and order


async def test_too_many_calls_in_flight_are_refused_until_some_are_answered(autojump_clock):
    server = serving(max_requests_per_session=2)
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlets = [visitor.call(number, "wait") for number in range(2)]
        assert (await the_answer(visitor.call("third", "wait")))["error"]["code"] == 429
        gate.opened.set()
        for outlet in outlets:
            await the_answer(outlet)
        assert "result" in await the_answer(visitor.call("third", "wait"))


async def test_nothing_but_initialize_and_ping_is_answered_before_the_handshake(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host, initialized=False)
        assert (await the_answer(visitor.call(1, "wait")))["error"]["code"] == -32600
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
        assert gate.diary == []
        assert "result" in await the_answer(visitor.post(initialize(3)))
        assert (await the_answer(visitor.post(initialize(4))))["error"]["code"] == -32600
