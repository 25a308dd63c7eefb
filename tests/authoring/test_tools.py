"""Registering tools: decorators, options, names, what can be called, what is refused, and what clients hear of it."""

import functools
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from tests.authoring import postponed
from tests.authoring.client import ERAS, PER_REQUEST, SESSION, connected, text_of
from trio_mcp import Context, Icon, RegistrationError, Server, ToolAnnotations

REVISION_WITHOUT_TITLES = "2024-11-05"


async def test_a_decorator_without_parentheses_takes_name_description_and_schema_from_the_function():
    mcp = Server("s")

    @mcp.tool
    async def add(a: int, b: int = 2) -> int:
        """Add two numbers.

        Carefully.

        Args:
            a: the first one
            b: the second one

        Returns:
            Their sum.
        """
        return a + b

    async with connected(mcp) as client:
        tool = await client.tool("add")
        assert tool["description"] == "Add two numbers.\n\nCarefully.\n\nReturns:\n    Their sum."
        assert tool["inputSchema"] == {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "the first one"},
                "b": {"type": "integer", "description": "the second one", "default": 2},
            },
            "required": ["a"],
        }
        assert set(tool) == {"name", "description", "inputSchema", "outputSchema"}
        assert text_of(await client.call("add", a=1)) == "3"


async def test_a_decorator_with_empty_parentheses_is_the_same():
    mcp = Server("s")

    @mcp.tool()
    async def add(a: int) -> int:
        return a

    async with connected(mcp) as client:
        tool = await client.tool("add")
        assert "description" not in tool
        assert text_of(await client.call("add", a=1)) == "1"


async def test_a_decorated_function_stays_as_it_was():
    mcp = Server("s")

    def plain(a: int) -> int:
        return a + 1

    assert mcp.tool(plain) is plain
    assert mcp.tool(name="other")(plain) is plain
    assert plain(1) == 2


@pytest.mark.parametrize("era", ERAS)
async def test_every_option_of_display_is_shown(era):
    mcp = Server("s")

    @mcp.tool(
        name="look",
        title="Look it up",
        description="What the docstring does not say.",
        annotations=ToolAnnotations(
            title="Looker", read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
        icons=[Icon("https://icons.example/look.png", mime_type="image/png", sizes=["48x48"], theme="dark")],
        meta={"owner": "team"},
        tags={"b", "a"},
    )
    async def ignored(word: str) -> None:
        """Not this."""

    async with connected(mcp, era) as client:
        assert await client.tool("look") == {
            "name": "look",
            "title": "Look it up",
            "description": "What the docstring does not say.",
            "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
            "annotations": {
                "title": "Looker",
                "readOnlyHint": True,
                "destructiveHint": False,
                "idempotentHint": True,
                "openWorldHint": False,
            },
            "icons": [
                {
                    "src": "https://icons.example/look.png",
                    "mimeType": "image/png",
                    "sizes": ["48x48"],
                    "theme": "dark",
                }
            ],
            "_meta": {"owner": "team", "tags": ["a", "b"]},
        }
        assert (await client.call("look", word="x"))["content"] == []


async def test_showing_a_tool_to_an_old_client_takes_nothing_from_what_others_see():
    mcp = Server("s")

    @mcp.tool(title="Title", meta={"k": 1}, icons=[Icon("data:,x")], annotations=ToolAnnotations(title="A"))
    async def look() -> int:
        return 1

    async with connected(mcp, REVISION_WITHOUT_TITLES) as client:
        assert set(await client.tool("look")) == {"name", "inputSchema"}
    async with connected(mcp, PER_REQUEST) as client:
        assert {"title", "_meta", "icons", "annotations", "outputSchema"} <= set(await client.tool("look"))


async def test_options_may_be_none_for_their_default():
    mcp = Server("s")
    names = ("name", "title", "description", "annotations", "icons", "meta", "tags", "output_schema")
    options: dict[str, Any] = dict.fromkeys((*names, "timeout", "thread"))

    @mcp.tool(**options)
    def same() -> int:
        """Described."""
        return 1

    async with connected(mcp) as client:
        tool = await client.tool("same")
        assert set(tool) == {"name", "description", "inputSchema", "outputSchema"}


# ---- what can be a tool


class Repeater:
    """Repeats, says the class."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def __call__(self, word: str) -> str:
        """Repeat a word.

        Args:
            word: which one
        """
        return word * self.times

    async def shout(self, word: str) -> str:
        """Shout a word."""
        return word.upper() * self.times

    @classmethod
    async def made(cls, times: int) -> int:
        return cls(times).times

    @staticmethod
    async def still(word: str) -> str:
        return word

    def unbound(self, word: str) -> str:
        return word


class Bare:
    """Only the class says what it is."""

    async def __call__(self, word: str) -> str:
        return word


async def scale(value: float, *, by: float, label: str = "scaled") -> str:
    """Scale a value."""
    return f"{label}: {value * by:g}"


async def test_callable_objects_bound_methods_class_methods_static_methods_and_partials_are_tools():
    mcp = Server("s")
    mcp.add_tool(Repeater(2))
    mcp.add_tool(Repeater(3).shout)
    mcp.add_tool(Repeater.made)
    mcp.add_tool(Repeater.still)
    mcp.add_tool(Bare())
    mcp.add_tool(functools.partial(scale, by=10))
    async with connected(mcp) as client:
        described = {tool["name"]: tool.get("description") for tool in (await client.ask("tools/list"))["tools"]}
        assert described == {
            "Repeater": "Repeat a word.",
            "shout": "Shout a word.",
            "made": None,
            "still": None,
            "Bare": "Only the class says what it is.",
            "scale": "Scale a value.",
        }
        repeater = await client.tool("Repeater")
        assert repeater["inputSchema"]["properties"] == {"word": {"type": "string", "description": "which one"}}
        assert (await client.tool("scale"))["inputSchema"]["required"] == ["value"]
        assert text_of(await client.call("Repeater", word="ab")) == "abab"
        assert text_of(await client.call("shout", word="a")) == "AAA"
        assert text_of(await client.call("made", times=4)) == "4"
        assert text_of(await client.call("still", word="w")) == "w"
        assert text_of(await client.call("scale", value=2)) == "scaled: 20"
        assert text_of(await client.call("scale", value=2, by=3, label="x")) == "x: 6"


async def test_a_plain_wrapper_of_an_async_function_is_awaited():
    mcp = Server("s")

    @functools.wraps(scale)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return scale(*args, **kwargs)

    mcp.add_tool(wrapped)
    mcp.add_tool(lambda value: scale(value, by=2), name="in_thread")
    mcp.add_tool(lambda value: scale(value, by=2), name="inline", thread=False)
    async with connected(mcp) as client:
        assert text_of(await client.call("scale", value=2, by=3)) == "scaled: 6"
        assert text_of(await client.call("in_thread", value=2)) == "scaled: 4"
        assert text_of(await client.call("inline", value=2)) == "scaled: 4"


async def test_functions_of_a_module_with_postponed_annotations_are_tools():
    mcp = Server("s")
    mcp.add_tool(postponed.distance)
    mcp.add_tool(postponed.spelled_out)
    postponed.register_local(mcp)
    async with connected(mcp) as client:
        distance = await client.tool("distance")
        assert set(distance["inputSchema"]["properties"]) == {"place", "scale"}
        assert distance["outputSchema"]["properties"]["result"] == {"type": "number"}
        assert text_of(await client.call("distance", place={"x": 3, "y": -1}, scale=2)) == "8.0"
        assert "outputSchema" not in await client.tool("spelled_out")
        assert (await client.call("grown", thing={"size": 1}))["structuredContent"] == {"size": 2}


def generator(count: int) -> Iterator[int]:
    yield count


async def async_generator(count: int) -> AsyncIterator[int]:
    yield count


class CallableGenerator:
    def __call__(self, count: int) -> Iterator[int]:
        yield count


async def asynchronous() -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lambda x: x, {}, "a lambda has no name: give one with name="),
        (generator, {}, "generator is a generator: return a list"),
        (async_generator, {}, "async_generator is a generator: return a list"),
        (CallableGenerator(), {}, "CallableGenerator is a generator: return a list"),
        (functools.partial(generator, 1), {}, "generator is a generator"),
        (asynchronous, {"thread": True}, "asynchronous is async, so it cannot run in a thread"),
        (Repeater.unbound, {}, "unbound is a method without its object: register the bound one"),
        (asynchronous, {"timeout": 0}, "tool 'asynchronous': timeout is a number of seconds above 0, not 0"),
        (asynchronous, {"timeout": -1}, "not -1"),
        (asynchronous, {"timeout": math.nan}, "not nan"),
        (asynchronous, {"timeout": "5"}, "not '5'"),
        (asynchronous, {"tags": "weather"}, r"tags are a list of strings: tags=\['weather'\]"),
        (asynchronous, {"tittle": "x"}, "unknown option tittle: there are name, title, description, annotations"),
        (asynchronous, {"tittle": "x", "tag": "x"}, "unknown option tittle, tag: "),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_the_reason(function, options, message):
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=message):
        mcp.add_tool(function, **options)
    with pytest.raises(RegistrationError, match=message):
        mcp.tool(**options)(function) if options else mcp.tool(function)
    assert mcp.tools == {}


def test_a_name_in_the_place_of_the_function_is_explained():
    mcp: Any = Server("s")
    with pytest.raises(RegistrationError, match=r"give the name as an option: name='search'$"):
        mcp.tool("search")
    with pytest.raises(RegistrationError, match=r"give the name as an option: name='review'$"):
        mcp.prompt("review")
    with pytest.raises(RegistrationError, match="one function is registered at a time, and 3 is none"):
        mcp.tool(3)
    with pytest.raises(RegistrationError, match="one function is registered at a time"):
        mcp.tool(asynchronous, scale)


# ---- later changes


@pytest.mark.parametrize("era", ERAS)
async def test_tools_come_and_go_while_clients_listen(era):
    mcp = Server("s")
    changed = "notifications/tools/list_changed"
    async with connected(mcp, era) as client:
        if era == PER_REQUEST:
            await client.begin("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            await client.hear("notifications/subscriptions/acknowledged")
        mcp.add_tool(scale, name="first")
        await client.hear(changed, 1)
        mcp.register_tool("second", "d", {"type": "object"}, lambda params: None)
        await client.hear(changed, 2)
        assert [tool["name"] for tool in (await client.ask("tools/list"))["tools"]] == ["first", "second"]
        mcp.remove_tool("first")
        await client.hear(changed, 3)
        assert [tool["name"] for tool in (await client.ask("tools/list"))["tools"]] == ["second"]
        assert (await client.fail("tools/call", {"name": "first"}))["message"] == "Unknown tool: first"
        with pytest.raises(KeyError):
            mcp.remove_tool("first")
        assert len(client.heard_of(changed)) == 3


async def test_a_change_before_the_handshake_is_not_announced():
    mcp = Server("s")
    mcp.add_tool(scale)
    async with connected(mcp) as client:
        await client.ask("tools/list")
        assert client.heard == []


async def test_tools_may_be_registered_from_a_thread():
    mcp = Server("s")

    @mcp.tool
    def grow() -> str:
        mcp.add_tool(scale)
        return "grown"

    async with connected(mcp) as client:
        await client.call("grow")
        await client.hear("notifications/tools/list_changed")
        assert text_of(await client.call("scale", value=1, by=1)) == "scaled: 1"


async def test_a_call_in_flight_outlives_its_tool():
    mcp = Server("s")
    begun, go_on = trio.Event(), trio.Event()

    @mcp.tool
    async def slow(ctx: Context) -> str:
        begun.set()
        await go_on.wait()
        return "done"

    async with connected(mcp, SESSION) as client:
        _, receive = await client.begin("tools/call", {"name": "slow"})
        await begun.wait()
        mcp.remove_tool("slow")
        go_on.set()
        assert text_of((await receive())["result"]) == "done"
