"""Completions: suggestions for the arguments of prompts and the variables of templates."""

import logging
from typing import Any

import pytest

from tests.authoring.client import ERAS, Client, connected
from trio_mcp import Completion, Context, RegistrationError, Server

CITIES = ["Paris", "Parma", "Prague"]
PROMPT = {"type": "ref/prompt", "name": "travel"}
TEMPLATE = {"type": "ref/resource", "uri": "map://{country}/{city}"}


async def travel(city: str, country: str = "") -> str:
    return city


def chart(country: str, city: str) -> str:
    return city


def travelling() -> Server:
    mcp = Server("s")
    mcp.add_prompt(travel)
    mcp.add_resource("map://{country}/{city}", chart)
    mcp.add_resource("map://all", lambda: "all", name="all")
    return mcp


async def complete(client: Client, ref: Any, name: str, value: str, **settled: str) -> Any:
    params: dict[str, Any] = {"ref": ref, "argument": {"name": name, "value": value}}
    if settled:
        params["context"] = {"arguments": settled}
    return (await client.ask("completion/complete", params))["completion"]


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_and_templates_are_completed(era):
    mcp = travelling()

    @mcp.completion("travel", "city")
    async def cities(value: str) -> list[str]:
        return [city for city in CITIES if city.startswith(value)]

    @mcp.completion("map://{country}/{city}", "country")
    def countries(value: str) -> list[str]:
        return ["Italy"]

    assert countries("x") == ["Italy"]  # still a function
    async with connected(mcp, era) as client:
        assert await complete(client, PROMPT, "city", "Pa") == {
            "values": ["Paris", "Parma"],
            "total": 2,
            "hasMore": False,
        }
        assert (await complete(client, TEMPLATE, "country", ""))["values"] == ["Italy"]
        # an argument that nobody completes
        assert await complete(client, PROMPT, "country", "x") == {"values": [], "total": 0, "hasMore": False}


async def test_a_completion_sees_what_is_settled_and_the_context():
    mcp = travelling()
    seen: list[Any] = []

    @mcp.completion("travel", "city")
    async def cities(value: str, arguments: dict[str, str], ctx: Context) -> list[str]:
        seen.append((value, arguments, ctx.client_info is not None))
        return []

    @mcp.completion("map://{country}/{city}", "city")
    async def on_map(typed: str, settled: dict[str, str]) -> list[str]:
        seen.append((typed, settled))
        return []

    async with connected(mcp) as client:
        await complete(client, PROMPT, "city", "P", country="France")
        await complete(client, PROMPT, "city", "P")
        await complete(client, TEMPLATE, "city", "", country="Italy")
    assert seen == [("P", {"country": "France"}, True), ("P", {}, True), ("", {"country": "Italy"})]


HUNDRED = [str(n) for n in range(100)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], {"values": [], "total": 0, "hasMore": False}),
        (None, {"values": [], "total": 0, "hasMore": False}),
        (("a", "b"), {"values": ["a", "b"], "total": 2, "hasMore": False}),
        ((str(n) for n in range(2)), {"values": ["0", "1"], "total": 2, "hasMore": False}),
        ([1, 2], {"values": ["1", "2"], "total": 2, "hasMore": False}),
        ("one", {"values": ["one"], "total": 1, "hasMore": False}),
        (HUNDRED, {"values": HUNDRED, "total": 100, "hasMore": False}),
        ([*HUNDRED, "100"], {"values": HUNDRED, "total": 101, "hasMore": True}),
        (Completion(values=["a"]), {"values": ["a"]}),
        (Completion(values=["a"], total=9, has_more=True), {"values": ["a"], "total": 9, "hasMore": True}),
        (Completion(values=[*HUNDRED, "100"]), {"values": HUNDRED, "total": 101, "hasMore": True}),
        (Completion(values=[*HUNDRED, "100"], total=999), {"values": HUNDRED, "total": 999, "hasMore": True}),
    ],
    ids=range(12),
)
async def test_never_more_than_a_hundred_values_go_out_and_the_total_is_told(value, expected):
    mcp = travelling()

    @mcp.completion("travel", "city")
    async def cities(typed: str) -> Any:
        return value

    async with connected(mcp) as client:
        assert await complete(client, PROMPT, "city", "") == expected


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ({"type": "ref/prompt", "name": "gone"}, "Unknown ref/prompt: gone"),
        ({"type": "ref/resource", "uri": "map://{x}"}, "Unknown ref/resource: map://{x}"),
        ({"type": "ref/prompt", "name": "map://{country}/{city}"}, "Unknown ref/prompt"),
        ({"type": "ref/prompt"}, "ref/prompt needs name"),
        ({"type": "ref/resource"}, "ref/resource needs uri"),
        ({"type": "ref/other", "name": "travel"}, "Invalid params for completion/complete"),
    ],
)
async def test_what_is_not_there_cannot_be_completed(ref, message):
    async with connected(travelling()) as client:
        params = {"ref": ref, "argument": {"name": "city", "value": ""}}
        error = await client.fail("completion/complete", params)
        assert error["code"] == -32602
        assert message in error["message"]


async def test_a_plain_resource_may_be_named_and_has_nothing_to_complete():
    async with connected(travelling()) as client:
        found = await complete(client, {"type": "ref/resource", "uri": "map://all"}, "city", "")
        assert found["values"] == []


async def test_completion_is_declared_where_there_is_one():
    mcp = travelling()
    assert mcp.capabilities().completions is None
    mcp.completion("travel", "city")(lambda value: [])
    assert mcp.capabilities().completions == {}


async def test_a_failing_completion_is_a_generic_error_and_a_traceback(caplog):
    mcp = travelling()

    @mcp.completion("travel", "city")
    async def cities(value: str) -> list[str]:
        raise RuntimeError("secret")

    async with connected(mcp) as client:
        error = await client.fail("completion/complete", {"ref": PROMPT, "argument": {"name": "city", "value": ""}})
        assert error == {"code": -32603, "message": "Internal error in completion/complete: see the server's log"}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("function", [lambda: ["a"], lambda a, b, c: []])
def test_a_function_of_other_parameters_is_refused(function):
    with pytest.raises(RegistrationError, match="must take the value typed so far and, if wanted, a dict"):
        travelling().completion("travel", "city")(function)
