"""In the session era a call asks its client on its own stream, and never waits or leaves a question behind for ever."""

from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    Json,
    cancelled,
    hosted,
    next_frames,
    read_all,
    request,
    serving,
    texts,
    the_answer,
    visiting,
)
from trio_mcp import Context, Server

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


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
