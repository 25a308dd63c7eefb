"""A state is the client's to carry and nobody's to alter, move or keep (2026-07-28, basic/patterns/mrtr)."""

import trio

from tests.runtime.asker import NAME, Asker, accepted, greeting_server
from tests.runtime.kit import (
    hosted,
    request,
    serving,
    tool_call,
)
from trio_mcp import Context

# The state


async def test_a_state_that_was_altered_anywhere_is_refused(autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet"))
        await asker.input_required()
        good = asker.state
        places = range(0, len(good), 7)
        altered = [good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :] for place in places]
        for bad in [*altered, "", good[:-4], good + "=", good + "AAAA", good + "\n", " " + good, "é" + good, good * 2]:
            error = (await asker.send({"user": accepted("Ada")}, requestState=bad))["error"]
            assert error["code"] == -32602, bad
            assert "requestState" in error["message"]
        assert await asker.complete({"user": accepted("Ada")}) == "Hello Ada"


async def test_a_state_belongs_to_its_request(autojump_clock):
    async with hosted(greeting_server()) as host:
        asker = Asker(host, tool_call(1, "greet", title="Dr "), principal="ada")
        await asker.input_required()
        own = {"arguments": {"title": "Dr "}}
        for name, changed, principal in (
            ("another tool", {"name": "interview"}, "ada"),
            ("other arguments", {"arguments": {"title": "Mr "}}, "ada"),
            ("no arguments", {"arguments": {}}, "ada"),
            ("another user", own, "mallory"),
            ("no user", own, ""),
        ):
            asker.principal = principal
            response = await asker.send({"user": accepted("Ada")}, **changed)
            assert response.get("error", {}).get("code") == -32602, name
        asker.principal = "ada"
        assert await asker.complete({"user": accepted("Ada")}) == "Hello Dr Ada"


async def test_a_state_belongs_to_its_method(autojump_clock):
    async with hosted(greeting_server()) as host:
        tool = Asker(host, tool_call(1, "greet"))
        await tool.input_required()
        prompt = Asker(host, request(1, "prompts/get", {"name": "greet", "arguments": {}}))
        prompt.state = tool.state
        assert (await prompt.send({"user": accepted("Ada")}))["error"]["code"] == -32602


async def test_a_state_of_another_server_is_refused(autojump_clock):
    async with hosted(greeting_server()) as host, hosted(greeting_server()) as other:
        asker = Asker(host, tool_call(1, "greet"))
        await asker.input_required()
        asker.host = other
        assert (await asker.send({"user": accepted("Ada")}))["error"]["code"] == -32602


async def test_a_state_opens_at_every_worker_that_shares_the_secret(autojump_clock):
    secret = b"s" * 32
    async with (
        hosted(greeting_server(state_secret=secret)) as host,
        hosted(greeting_server(state_secret=secret)) as other,
    ):
        asker = Asker(host, tool_call(1, "interview"))
        await asker.input_required()
        await asker.input_required({"elicit-1": accepted("a")})
        asker.host = other
        await asker.input_required({"elicit-2": accepted("b")})
        assert await asker.complete({"elicit-3": accepted("c")}) == "a b c"


async def test_arguments_in_another_order_are_the_same_arguments(autojump_clock):
    server = serving()

    @server.tool
    async def two(ctx: Context, a: int, b: dict[str, int]) -> str:
        return (await ctx.elicit("Name?", NAME, key="k")).content["name"]

    async with hosted(server) as host:
        asker = Asker(host, tool_call(1, "two", a=1, b={"x": 1, "y": 2}))
        await asker.input_required()
        assert await asker.complete({"k": accepted("Ada")}, arguments={"b": {"y": 2, "x": 1}, "a": 1}) == "Ada"


async def test_a_state_expires_with_the_clock(autojump_clock):
    async with hosted(greeting_server(state_ttl=60)) as host:
        asker = Asker(host, tool_call(1, "greet"))
        await asker.input_required()
        await trio.sleep(59)
        assert await asker.complete({"user": accepted("Ada")}) == "Hello Ada"
        await trio.sleep(1)
        assert (await asker.send({"user": accepted("Ada")}))["error"]["code"] == -32602


async def test_each_round_has_its_own_time(autojump_clock):
    async with hosted(greeting_server(state_ttl=60)) as host:
        asker = Asker(host, tool_call(1, "interview"))
        await asker.input_required()
        await trio.sleep(50)
        await asker.input_required({"elicit-1": accepted("a")})
        await trio.sleep(50)
        await asker.input_required({"elicit-2": accepted("b")})
        await trio.sleep(50)
        assert await asker.complete({"elicit-3": accepted("c")}) == "a b c"
