"""What a running function asks of its client: the user, the model, the roots, in both eras."""

from dataclasses import dataclass
from typing import Any

import pytest
import trio

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, accept, connected, text_of, unhurried
from trio_mcp import Context, CreateMessageResult, McpError, SamplingMessage, Server, Settings, TextContent, ToolError

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@dataclass
class Person:
    name: str
    age: int = 0


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"action": "accept", "content": {"name": "Bo"}}, "accept {'name': 'Bo'}"),
        ({"action": "decline"}, "decline None"),
        ({"action": "cancel"}, "cancel None"),
    ],
)
async def test_a_user_answers_a_form_or_does_not(era, answer, expected):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        elicited = await ctx.elicit("Who are you?", NAME, key="who")
        return f"{elicited.action} {elicited.content}"

    answers = {"elicitation/create": lambda params: answer}
    async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
        assert text_of(await client.call("ask")) == expected
        [asked] = client.asked
        assert asked["params"]["message"] == "Who are you?"
        assert asked["params"]["requestedSchema"] == NAME
        assert asked.get("key") == ("who" if era == PER_REQUEST else None)


@pytest.mark.parametrize("era", ERAS)
async def test_a_form_made_of_a_type_is_answered_with_an_instance(era):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        return repr((await ctx.elicit("Who?", Person)).content)

    answers = {"elicitation/create": accept(name="Bo", age=3)}
    async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
        assert text_of(await client.call("ask")) == "Person(name='Bo', age=3)"
        assert client.asked[0]["params"]["requestedSchema"]["required"] == ["name"]


async def ask_everything(ctx: Context, system: str) -> str:
    name = (await ctx.elicit("Name?", NAME)).content["name"]
    sampled = await ctx.sample(
        ["Hi", SamplingMessage("assistant", TextContent("Hello"))], max_tokens=5, system_prompt=system, temperature=0
    )
    again = await ctx.sample(TextContent("Bye"), max_tokens=6)
    roots = await ctx.list_roots()
    assert isinstance(sampled.content, TextContent)
    return f"{name} {sampled.content.text} {sampled.model} {again.role} {[root.uri for root in roots]}"


@pytest.mark.parametrize("era", ERAS)
async def test_user_model_and_roots_are_asked_in_turn(era):
    mcp = Server("s")
    mcp.add_tool(ask_everything)
    capabilities: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
    answers = {
        "elicitation/create": accept(name="Bo"),
        "sampling/createMessage": lambda params: {
            "role": "assistant",
            "content": {"type": "text", "text": f"{params['maxTokens']}"},
            "model": "m1",
        },
        "roots/list": lambda params: {"roots": [{"uri": "file:///a"}, {"uri": "file:///b", "name": "b"}]},
    }
    async with connected(mcp, era, capabilities=capabilities, answers=answers) as client:
        result = await client.call("ask_everything", system="Be kind")
        assert text_of(result) == "Bo 5 m1 assistant ['file:///a', 'file:///b']"
        assert [request["method"] for request in client.asked] == [
            "elicitation/create",
            "sampling/createMessage",
            "sampling/createMessage",
            "roots/list",
        ]
        first, second = client.asked[1]["params"], client.asked[2]["params"]
        assert first["messages"] == [
            {"role": "user", "content": {"type": "text", "text": "Hi"}},
            {"role": "assistant", "content": {"type": "text", "text": "Hello"}},
        ]
        assert (first["maxTokens"], first["systemPrompt"], first["temperature"]) == (5, "Be kind", 0)
        assert second["messages"] == [{"role": "user", "content": {"type": "text", "text": "Bye"}}]
        if era == PER_REQUEST:
            assert [request["key"] for request in client.asked] == ["elicit-1", "sample-1", "sample-2", "roots-1"]


@pytest.mark.parametrize("era", ERAS)
async def test_questions_of_one_nursery_are_asked_together(era):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        found: dict[str, str] = {}

        async def put(key: str) -> None:
            found[key] = (await ctx.elicit(f"{key}?", NAME, key=key)).content["name"]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, "one")
            nursery.start_soon(put, "two")
        return f"{found['one']} {found['two']}"

    answers = {"elicitation/create": lambda params: {"action": "accept", "content": {"name": params["message"]}}}
    async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
        if era == PER_REQUEST:
            _, receive = await client.begin("tools/call", {"name": "ask"})
            assert set((await receive())["result"]["inputRequests"]) == {"one", "two"}
        assert text_of(await client.call("ask")) == "one? two?"


async def test_what_comes_before_a_question_runs_again_where_there_is_no_session():
    mcp = Server("s")
    runs: list[str] = []

    @mcp.tool
    async def ask(ctx: Context) -> str:
        runs.append("begin")
        try:
            return (await ctx.elicit("Name?", NAME)).content["name"]
        finally:
            runs.append("end")

    for era in ERAS:
        runs.clear()
        answers = {"elicitation/create": accept(name="Bo")}
        async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
            assert text_of(await client.call("ask")) == "Bo"
        assert runs == ["begin", "end"] * (2 if era == PER_REQUEST else 1)


QUESTIONS: list[tuple[str, Any]] = [
    ("elicitation", lambda ctx: ctx.elicit("Name?", NAME)),
    ("sampling", lambda ctx: ctx.sample("Hi")),
    ("roots", lambda ctx: ctx.list_roots()),
]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("capability", "question"), QUESTIONS, ids=["elicitation", "sampling", "roots"])
async def test_a_client_that_cannot_answer_is_not_asked(era, capability, question):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> None:
        await question(ctx)

    @mcp.tool
    async def require(ctx: Context) -> None:
        ctx.require(**{capability: True})

    async with connected(mcp, era) as client:
        for name in ("ask", "require"):
            error = await client.fail("tools/call", {"name": name})
            assert error["message"] == f"This needs a client with {capability}; this one did not declare it"
            if era == PER_REQUEST:
                assert error["code"] == -32021
                assert error["data"] == {"requiredCapabilities": {capability: {}}}
            else:
                assert error["code"] == -32600
        assert client.asked == []


async def test_requirements_may_be_checked_together():
    mcp = Server("s")

    @mcp.tool
    async def require(ctx: Context) -> None:
        ctx.require()
        ctx.require(roots=True)
        ctx.require(sampling=True, elicitation=True, roots=True)

    async with connected(mcp, PER_REQUEST, capabilities={"roots": {}}) as client:
        error = await client.fail("tools/call", {"name": "require"})
        assert error["data"] == {"requiredCapabilities": {"sampling": {}, "elicitation": {}}}


async def test_sampling_with_tools_wants_its_own_capability():
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> None:
        await ctx.sample("Hi", tools=[])

    async with connected(mcp, PER_REQUEST, capabilities={"sampling": {}}) as client:
        error = await client.fail("tools/call", {"name": "ask"})
        assert error["data"] == {"requiredCapabilities": {"sampling": {"tools": {}}}}


@pytest.mark.parametrize("era", ERAS)
async def test_a_user_may_be_sent_to_a_url(era):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit_url("Sign in", "https://sign.example", elicitation_id="e1")
        await ctx.elicitation_complete("e1")
        return answer.action

    answers = {"elicitation/create": lambda params: {"action": "accept"}}
    async with connected(mcp, era, capabilities={"elicitation": {"url": {}}}, answers=answers) as client:
        assert text_of(await client.call("ask")) == "accept"
        asked = client.asked[0]["params"]
        assert (asked["mode"], asked["url"], asked["message"]) == ("url", "https://sign.example", "Sign in")
        completed = client.heard_of("notifications/elicitation/complete")
        if era == SESSION:
            assert asked["elicitationId"] == "e1"
            assert completed == [{"elicitationId": "e1"}]
        else:
            assert "elicitationId" not in asked
            assert completed == []
    async with connected(mcp, era, capabilities={"elicitation": {}}) as client:
        assert "elicitation" in (await client.fail("tools/call", {"name": "ask"}))["message"]


async def test_an_answer_that_does_not_fit_is_told_to_the_model_in_a_session_and_asked_again_without_one():
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("Name?", NAME)).content["name"]

    given = [{"name": 3}, {"name": "Bo"}]
    answers = {"elicitation/create": lambda params: {"action": "accept", "content": given.pop(0)}}
    async with connected(mcp, SESSION, capabilities={"elicitation": {}}, answers=answers) as client:
        result = await client.call("ask")
        assert result["isError"] is True
        assert "$.content.name: expected a string, got an integer" in text_of(result)
    given = [{"name": 3}, {"name": "Bo"}]
    async with connected(mcp, PER_REQUEST, capabilities={"elicitation": {}}, answers=answers) as client:
        assert text_of(await client.call("ask")) == "Bo"
        assert len(client.asked) == 2


async def test_an_unanswered_question_is_given_up_after_a_while(autojump_clock):
    mcp = Server("s", settings=Settings(request_timeout=30))

    @mcp.tool
    async def ask(ctx: Context) -> str:
        try:
            await ctx.sample("Hi")
        except trio.TooSlowError:
            raise ToolError(f"nobody answered in {trio.current_time() - begun:g} s") from None
        return "answered"

    begun = trio.current_time()
    async with unhurried(mcp, SESSION, capabilities={"sampling": {}}) as client:
        client.keep_silent = True
        assert text_of(await client.call("ask")) == "nobody answered in 30 s"
        [asked] = client.asked
        assert client.heard_of("notifications/cancelled") == [{"requestId": asked["id"]}]


async def test_a_refusal_of_the_client_is_an_error_that_a_tool_may_catch():
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> str:
        try:
            result: CreateMessageResult = await ctx.sample("Hi")
        except McpError as error:
            return f"{error.code} {error.message}"
        return result.model

    async with connected(mcp, SESSION, capabilities={"sampling": {}}) as client:
        client.refusal = {"code": -1, "message": "The user said no"}
        assert text_of(await client.call("ask")) == "-1 The user said no"


async def test_two_questions_of_one_key_are_the_authors_mistake(caplog):
    mcp = Server("s")

    @mcp.tool
    async def ask(ctx: Context) -> None:
        await ctx.elicit("Name?", NAME, key="k")
        await ctx.elicit("Name?", NAME, key="k")

    answers = {"elicitation/create": accept(name="Bo")}
    async with connected(mcp, PER_REQUEST, capabilities={"elicitation": {}}, answers=answers) as client:
        assert (await client.fail("tools/call", {"name": "ask"}))["code"] == -32603
    assert "two questions with the key 'k' in one call: give each its own key=" in caplog.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_context_that_outlives_its_call_asks_nobody(era):
    mcp = Server("s")
    kept: list[Context] = []

    @mcp.tool
    async def keep(ctx: Context) -> None:
        kept.append(ctx)

    async with connected(mcp, era, capabilities={"elicitation": {}}) as client:
        await client.call("keep")
        with pytest.raises(RuntimeError, match="the call has ended: nobody answers elicitation/create any more"):
            await kept[0].elicit("Name?", NAME)
        await kept[0].info("late")
        await client.ask("tools/list")
        assert client.heard == client.asked == []
