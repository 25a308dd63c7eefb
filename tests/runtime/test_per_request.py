"""A per-request call carries everything with it: questions go out as the answer, and the retry runs it again."""

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.runtime.asker import CAN_ALL, NAME, Asker, accepted, greeting_server
from tests.runtime.kit import (
    Json,
    asked,
    enveloped,
    hosted,
    next_frames,
    opened,
    request,
    serving,
    texts,
    tool_call,
)
from trio_mcp import Context, McpError, ToolError
from trio_mcp.protocol.per_request import open_request
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.wire.jsonrpc import Request, decode

# Questions and answers


async def test_a_question_is_an_answer_that_wants_input_and_the_retry_gets_the_result(autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet"))
        assert await asker.input_required() == {"user": "Name?"}
        question = asker.questions["user"]
        assert question["method"] == "elicitation/create"
        assert question["params"]["requestedSchema"] == NAME
        asker.message["id"] = 2
        assert await asker.complete({"user": accepted("Ada")}) == "Hello Ada"


@pytest.mark.parametrize(
    "message",
    [
        request(1, "prompts/get", {"name": "greet"}),
        request(1, "resources/read", {"uri": "greet://it"}),
        tool_call(1, "greet"),
    ],
    ids=lambda message: message["method"],
)
async def test_tools_prompts_and_resources_may_ask(message, autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, message)
        await asker.input_required()
        result = (await asker.send({"user": accepted("Ada")}))["result"]
        assert result["resultType"] == "complete"
        assert "Ada" in json.dumps(result)


async def test_answers_of_all_rounds_are_replayed(autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "interview"))
        assert await asker.input_required() == {"elicit-1": "First?"}
        assert await asker.input_required({"elicit-1": accepted("a")}) == {"elicit-2": "Second?"}
        assert await asker.input_required({"elicit-2": accepted("b")}) == {"elicit-3": "Third?"}
        assert await asker.complete({"elicit-3": accepted("c")}) == "a b c"


async def test_a_state_can_be_used_more_than_once(autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet"))
        await asker.input_required()
        for name in ("Ada", "Grace"):
            assert await asker.complete({"user": accepted(name)}) == f"Hello {name}"


async def test_questions_of_a_nursery_go_out_in_one_answer(autojump_clock):
    server = serving()

    @server.tool
    async def gather(ctx: Context) -> str:
        found: dict[str, str] = {}

        async def elicit() -> None:
            found["name"] = str((await ctx.elicit("Name?", NAME, key="name")).content)

        async def sample() -> None:
            found["text"] = (await ctx.sample("think", key="text")).content.text  # type: ignore[union-attr]  # a text

        async def roots() -> None:
            found["root"] = (await ctx.list_roots(key="root"))[0].uri

        async with trio.open_nursery() as nursery:
            nursery.start_soon(elicit)
            nursery.start_soon(sample)
            nursery.start_soon(roots)
        return " ".join(found[key] for key in ("name", "text", "root"))

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "gather"))
        assert set(await asker.input_required()) == {"name", "text", "root"}
        thought = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hm"}}
        answers = {"name": accepted("Ada"), "text": thought, "root": {"roots": [{"uri": "file:///x"}]}}
        only_some = {key: answers[key] for key in ("name", "root")}
        assert set(await asker.input_required(only_some)) == {"text"}
        assert await asker.complete({"text": thought}) == "{'name': 'Ada'} hm file:///x"


async def test_an_answer_never_reaches_another_question_whatever_the_order_in_a_nursery(autojump_clock):
    server = serving()

    @server.tool
    async def pair(ctx: Context) -> str:
        found: dict[str, str] = {}

        async def ask(what: str) -> None:
            found[what] = (await ctx.elicit(what, NAME)).content["name"]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "left")
            nursery.start_soon(ask, "right")
        return f"{found['left']} {found['right']}"

    async with hosted(server) as host:
        for _ in range(20):
            asker = Asker(host, tool_call(1, "pair"))
            keys = {message: key for key, message in (await asker.input_required()).items()}
            assert set(keys) == {"left", "right"}
            answers = {keys[side]: accepted(side) for side in keys}
            assert await asker.complete(answers) == "left right"


async def test_equal_questions_without_keys_are_numbered(autojump_clock):
    server = serving()

    @server.tool
    async def again(ctx: Context) -> str:
        return " ".join([(await ctx.elicit("Again?", NAME)).content["name"] for _ in range(3)])

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "again"))
        for number in (1, 2, 3):
            answers = {f"elicit-{number - 1}": accepted(str(number - 1))} if number > 1 else None
            assert list(await asker.input_required(answers)) == [f"elicit-{number}"]
        assert await asker.complete({"elicit-3": accepted("3")}) == "1 2 3"


async def test_a_question_whose_words_change_keeps_its_number(autojump_clock):
    server = serving()
    runs = iter(range(10))

    @server.tool
    async def changing(ctx: Context) -> str:
        first = await ctx.elicit(f"Attempt {next(runs)}?", NAME)
        second = await ctx.elicit("Sure?", NAME)
        return first.content["name"] + second.content["name"]

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "changing"))
        assert await asker.input_required() == {"elicit-1": "Attempt 0?"}
        assert await asker.input_required({"elicit-1": accepted("a")}) == {"elicit-2": "Sure?"}
        assert await asker.complete({"elicit-2": accepted("b")}) == "ab"


async def test_an_answer_of_an_earlier_round_that_a_run_did_not_come_to_is_not_asked_for_again(autojump_clock):
    server = serving()
    detours = iter([False, False, True, False])

    @server.tool
    async def winding(ctx: Context) -> str:
        if next(detours):
            await ctx.elicit("By the way?", NAME, key="detour")
        name = await ctx.elicit("Name?", NAME, key="name")
        age = await ctx.elicit("Age?", NAME, key="age")
        return f"{name.content['name']} {age.content['name']}"

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "winding"))
        assert set(await asker.input_required()) == {"name"}
        assert set(await asker.input_required({"name": accepted("Ada")})) == {"age"}
        assert set(await asker.input_required()) == {"detour"}
        assert await asker.complete({"age": accepted("36")}) == "Ada 36"


@pytest.mark.parametrize("with_state", [False, True])
async def test_answers_are_honoured_by_their_key_with_and_without_a_state(with_state, autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet"))
        if with_state:
            await asker.input_required()
        answers = {"user": accepted("Ada"), "unknown": {"action": "accept"}, "elicit-1": 7}
        assert await asker.complete(answers) == "Hello Ada"


@pytest.mark.parametrize(
    "wrong",
    [None, 7, [], {}, "accept", {"action": "maybe"}, {"action": "accept"}, accepted(7), {"content": {"name": "x"}}],
)
async def test_an_answer_that_does_not_fit_is_asked_for_again(wrong, autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet"))
        await asker.input_required()
        for _ in range(2):
            assert set(await asker.input_required({"user": wrong})) == {"user"}
        assert set(await asker.input_required({})) == {"user"}
        assert await asker.complete({"user": accepted("Ada")}) == "Hello Ada"


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_refusal_is_an_answer(action, autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "interview"))
        await asker.input_required()
        assert await asker.complete({"elicit-1": {"action": action}}) == action


async def test_the_clean_up_of_the_function_runs_in_every_round(autojump_clock):
    server = serving()
    diary: list[str] = []

    @server.tool
    async def careful(ctx: Context) -> str:
        diary.append("began")
        try:
            await ctx.elicit("Sure?", NAME, key="sure")
            await ctx.elicit("Really?", NAME, key="really")
        except trio.Cancelled:
            diary.append("cancelled")
            raise
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()
            diary.append("ended")
        return "done"

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "careful"))
        await asker.input_required()
        await asker.input_required({"sure": accepted("yes")})
        assert await asker.complete({"really": accepted("yes")}) == "done"
    assert diary == ["began", "cancelled", "ended"] * 2 + ["began", "ended"]


async def test_a_failure_beside_an_open_question_is_the_answer(autojump_clock):
    server = serving()

    @server.tool
    async def failing(ctx: Context) -> None:
        async def fail() -> None:
            raise ToolError("no")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.elicit, "Name?", NAME)
            nursery.start_soon(fail)

    async with hosted(server) as host:
        assert await Asker(host, tool_call(1, "failing")).complete() == "no"


async def test_a_time_limit_of_the_tools_own_does_not_answer_the_question(autojump_clock):
    server = serving(tool_timeout=50)

    @server.tool
    async def impatient(ctx: Context) -> str:
        with trio.move_on_after(5):
            return str((await ctx.elicit("Name?", NAME, key="k")).content)
        return "gave up"

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "impatient"))
        assert set(await asker.input_required()) == {"k"}
        assert "Ada" in await asker.complete({"k": accepted("Ada")})


async def test_two_questions_with_one_key_are_the_authors_mistake_and_the_log_says_so(caplog, autojump_clock):
    server = serving()

    @server.tool
    async def twice(ctx: Context) -> None:
        await ctx.elicit("One?", NAME, key="same")
        await ctx.elicit("Two?", NAME, key="same")

    @server.tool
    async def twice_at_once(ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(lambda: ctx.elicit("One?", NAME, key="same"))

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "twice"))
        await asker.input_required()
        assert (await asker.send({"same": accepted("x")}))["error"]["code"] == -32603
        assert (await Asker(host, tool_call(1, "twice_at_once")).send())["error"]["code"] == -32603
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == 2
    assert caplog.text.count("two questions with the key 'same'") >= 2


async def test_a_completion_may_not_ask(caplog, autojump_clock):
    server = serving()

    @server.prompt
    def prompt(word: str) -> str:
        return word

    @server.completion("prompt", "word")
    async def complete(value: str, ctx: Context) -> list[str]:
        await ctx.elicit("Name?", NAME)
        return []

    async with hosted(server) as host:
        params = {"ref": {"type": "ref/prompt", "name": "prompt"}, "argument": {"name": "word", "value": ""}}
        error = (await Asker(host, request(1, "completion/complete", params)).send())["error"]
    assert error["code"] == -32603
    assert "completion/complete" in error["message"]
    assert not caplog.records


async def test_what_the_client_did_not_declare_is_refused_and_named(autojump_clock):
    server = greeting_server()

    @server.tool
    async def both(ctx: Context) -> None:
        ctx.require(sampling=True, roots=True, elicitation=True)

    async with hosted(server) as host:
        error = (await Asker(host, tool_call(1, "greet"), capabilities={}).send())["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"elicitation": {}}})
        error = (await Asker(host, tool_call(1, "both"), capabilities={"elicitation": {}}).send())["error"]
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"sampling": {}, "roots": {}}})


async def test_arguments_that_the_function_never_reads_may_be_out_of_range(autojump_clock):
    server = serving()

    @server.tool
    async def plain(ctx: Context) -> str:
        return (await ctx.elicit("Name?", NAME, key="k")).content["name"]

    async def sent(host: Host, **params: Any) -> Json:
        message = enveloped(tool_call(1, "plain", junk="JUNK"), capabilities=CAN_ALL)
        message["params"] |= params
        request = decode(json.dumps(message).encode().replace(b'"JUNK"', b"1e400"))
        assert isinstance(request, Request)
        call = PerRequestCall(host, open_request(request, None), Outlet(10))
        host.call_began(call)
        await call.run(answer)
        [frame] = call.outlet.take()
        return json.loads(frame.data)["result"]

    async with hosted(server) as host:
        result = await sent(host)
        assert result["resultType"] == "input_required"
        result = await sent(host, requestState=result["requestState"], inputResponses={"k": accepted("Ada")})
        assert texts(result) == ["Ada"]


# Progress and log


async def test_progress_needs_a_token_begins_with_zero_and_only_rises(autojump_clock):
    server = serving()

    @server.tool
    async def work(ctx: Context) -> None:
        for progress in (0, 0, 1, 0.5, 1, 2.5, float("nan"), 2):
            await ctx.report_progress(progress, 3, "going")

    async with hosted(server) as host:
        *progress, response = await asked(host, enveloped(tool_call(1, "work"), token="t"))
        assert [message["params"]["progress"] for message in progress] == [0, 1, 2.5]
        assert {message["params"]["progressToken"] for message in progress} == {"t"}
        assert response["result"]["resultType"] == "complete"
        assert len(await asked(host, enveloped(tool_call(1, "work")))) == 1
        *progress, _ = await asked(host, enveloped(tool_call(1, "work"), token=0))
        assert {message["params"]["progressToken"] for message in progress} == {0}


@pytest.mark.parametrize(
    ("level", "expected"),
    [(None, []), ("error", ["error"]), ("info", ["info", "warning", "error"]), ("emergency", [])],
)
async def test_log_messages_come_only_where_asked_for_and_from_that_level_upwards(level, expected, autojump_clock):
    server = serving()

    @server.tool
    async def talk(ctx: Context) -> None:
        for name in ("debug", "info", "warning", "error"):
            await ctx.log(name, name)

    async with hosted(server) as host:
        *messages, _ = await asked(host, enveloped(tool_call(1, "talk"), log_level=level))
        assert [message["params"]["level"] for message in messages] == expected


async def test_nothing_follows_the_answer(autojump_clock):
    server = serving()
    left: list[Context] = []

    @server.tool
    async def leave(ctx: Context) -> str:
        left.append(ctx)
        return "gone"

    async with hosted(server) as host:
        call = opened(host, enveloped(tool_call(1, "leave"), token="t", log_level="debug", capabilities=CAN_ALL))
        host.call_began(call)
        await call.run(answer)
        await left[0].report_progress(1)
        await left[0].info("late")
        assert call.outlet.closed
        assert len(call.outlet.take()) == 1
        with pytest.raises(RuntimeError, match="ended"):
            await left[0].elicit("Name?", NAME)


async def test_notifications_wait_for_a_slow_reader(autojump_clock):
    server = serving()

    @server.tool
    async def talk(ctx: Context) -> None:
        for number in range(100):
            await ctx.report_progress(number)

    async with hosted(server) as host:
        call = opened(host, enveloped(tool_call(1, "talk"), token="t"), bound=4)
        host.call_began(call)
        seen: list[Json] = []
        async with trio.open_nursery() as nursery:
            with call.outlet.reader():
                nursery.start_soon(call.run, answer)
                while not call.outlet.closed:
                    await trio.sleep(1)
                    assert len(call.outlet) <= 5
                    seen += await next_frames(call.outlet)
        assert [message.get("params", {}).get("progress") for message in seen] == [*range(100), None]


# Cancellation


async def test_a_cancelled_call_answers_nothing_and_cleans_up(caplog, autojump_clock):
    server = serving()
    diary: list[str] = []

    @server.tool
    async def wait() -> None:
        try:
            await trio.sleep_forever()
        finally:
            diary.append("ended")

    caplog.set_level(logging.INFO)
    async with hosted(server) as host:
        call = opened(host, enveloped(tool_call(1, "wait")))
        host.call_began(call)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run, answer)
            await wait_all_tasks_blocked()
            call.cancel("the client is gone")
        assert diary == ["ended"]
        assert call.outlet.closed
        assert not call.outlet.take()
        assert not host.calls
    assert not caplog.records


async def test_a_nursery_that_fails_while_it_is_cancelled_hurts_only_its_call(caplog, autojump_clock):
    server = serving()

    async def clumsy_body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    @server.tool
    async def clumsy() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clumsy_body)
            nursery.start_soon(trio.sleep_forever)

    async with hosted(server) as host:
        call = opened(host, enveloped(tool_call(1, "clumsy")))
        host.call_began(call)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run, answer)
            await wait_all_tasks_blocked()
            call.cancel("the client is gone")
        assert not call.outlet.take()
    assert [record.name for record in caplog.records] == ["trio_mcp.dispatch"]


async def test_a_question_that_cannot_be_encoded_is_the_calls_own_failure(caplog, autojump_clock):
    server = serving()

    @server.tool
    async def odd(ctx: Context) -> None:
        await ctx.sample("x", metadata=object())

    async with hosted(server) as host:
        assert (await Asker(host, tool_call(1, "odd")).send())["error"]["code"] == -32603
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_an_error_of_ones_own_keeps_to_the_codes_of_the_era(autojump_clock):
    server = serving()

    @server.tool
    async def coded(code: int) -> None:
        raise McpError(code, "own")

    async with hosted(server) as host:
        for code, expected in ((-5, -5), (-32602, -32602), (-32002, -32603), (-32042, -32603), (-32050, -32603)):
            assert (await Asker(host, tool_call(1, "coded", code=code)).send())["error"]["code"] == expected
