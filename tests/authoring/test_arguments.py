"""Arguments as models send them: what fits, what does not, and what a signature cannot promise."""

import datetime
import decimal
import enum
import pathlib
import threading
import typing
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types
import attrs
import msgspec
import pydantic
import pytest

from tests.authoring.client import ERAS, connected, text_of
from trio_mcp import Context, RegistrationError, Server


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Size:
    width: int
    height: int = 1


@dataclass
class Person:
    name: str
    age: int


class Filter(typing.TypedDict, total=False):
    tag: typing.Required[str]
    limit: int


class Pair(NamedTuple):
    left: int
    right: int


class Model(pydantic.BaseModel):
    code: int = pydantic.Field(ge=1)


# A row: the annotation, what the client sends, what the function gets.
FITTING: list[tuple[Any, Any, Any]] = [
    (int, 3, 3),
    (float, 3, 3.0),
    (str, "ü", "ü"),
    (bool, True, True),
    (list[int], [1, 2], [1, 2]),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (set[str], ["a", "a"], {"a"}),
    (tuple[int, str], [1, "a"], (1, "a")),
    (int | None, None, None),
    (int | str, "a", "a"),
    (Literal["a", "b"], "b", "b"),
    (Colour, "blue", Colour.BLUE),
    (Size, {"width": 2}, Size(2)),
    (Person, {"name": "Bo", "age": 3}, Person("Bo", 3)),
    (Filter, {"tag": "t"}, {"tag": "t"}),
    (Pair, [1, 2], Pair(1, 2)),
    (Model, {"code": 1}, Model(code=1)),
    (list[Person], [{"name": "Bo", "age": 3}], [Person("Bo", 3)]),
    (datetime.date, "1999-12-31", datetime.date(1999, 12, 31)),
    (datetime.timedelta, "PT30S", datetime.timedelta(seconds=30)),
    (uuid.UUID, "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
    (decimal.Decimal, "1.50", decimal.Decimal("1.50")),
    (pathlib.Path, "a/b", pathlib.Path("a/b")),
    (bytes, "AQI=", b"\x01\x02"),
    (Annotated[int, msgspec.Meta(ge=3)], 3, 3),
    (Annotated[str, annotated_types.MinLen(2)], "ab", "ab"),
    (Annotated[int, pydantic.Field(gt=2)], 3, 3),
    (Any, {"x": [None]}, {"x": [None]}),
]


@pytest.mark.parametrize(("annotation", "sent", "got"), FITTING, ids=lambda value: str(value)[:30])
async def test_a_function_gets_what_its_annotation_says(annotation, sent, got):
    mcp = Server("s")
    received: list[Any] = []

    async def take(value: Any) -> None:
        received.append(value)

    take.__annotations__["value"] = annotation
    mcp.add_tool(take)

    async with connected(mcp) as client:
        result = await client.call("take", value=sent)
        assert "isError" not in result, text_of(result)
    assert received == [got]
    assert type(received[0]) is type(got)


async def test_lenient_servers_take_what_models_write_and_strict_ones_do_not():
    lenient, strict = Server("lenient"), Server("strict", strict=True)
    for mcp in (lenient, strict):

        @mcp.tool
        async def take(
            number: int, ratio: float = 0, sure: bool = False, tags: list[int] | None = None
        ) -> dict[str, Any]:
            return {"number": number, "ratio": ratio, "sure": sure, "tags": tags}

    sent = {"number": "10", "ratio": "0.5", "sure": "true", "tags": "[1, 2]", "more": 1}
    async with connected(lenient) as client:
        taken = (await client.call("take", **sent))["structuredContent"]
        assert taken == {"number": 10, "ratio": 0.5, "sure": True, "tags": [1, 2]}
    async with connected(strict) as client:
        assert (await client.tool("take"))["inputSchema"]["additionalProperties"] is False
        result = await client.call("take", **sent)
        assert result["isError"] is True
        assert text_of(result).splitlines() == [
            "Invalid arguments for take:",
            "$.number: expected an integer, got a string",
            "$.ratio: expected a number, got a string",
            "$.sure: expected true or false, got a string",
            "$.tags: expected an array or null, got a string",
            "$.more: unknown; known are number, ratio, sure, tags",
        ]
        assert (await client.call("take", number=1, tags=[1]))["structuredContent"]["tags"] == [1]


@pytest.mark.parametrize("era", ERAS)
async def test_every_fault_is_told_with_its_path_and_the_function_does_not_run(era):
    mcp = Server("s")
    ran = False

    @mcp.tool
    async def enrol(people: list[Person], colour: Colour, size: Annotated[int, msgspec.Meta(ge=1)], note: str) -> None:
        nonlocal ran
        ran = True

    async with connected(mcp, era) as client:
        people = [{"name": "Bo", "age": "old"}, {"age": 3}]
        result = await client.call("enrol", people=people, colour="green", size=0)
        assert result["isError"] is True
        assert text_of(result).splitlines() == [
            "Invalid arguments for enrol:",
            "$.people[0].age: expected an integer, got a string",
            "$.people[1].name: missing",
            '$.colour: must be one of "red", "blue"',
            "$.size: must be ≥ 1",
            "$.note: missing",
        ]
    assert not ran


@pytest.mark.parametrize("arguments", [None, {}])
async def test_no_arguments_and_null_are_the_empty_object(arguments):
    mcp = Server("s")

    @mcp.tool
    async def count(start: int = 3) -> int:
        return start

    async with connected(mcp) as client:
        assert text_of(await client.ask("tools/call", {"name": "count", "arguments": arguments})) == "3"
        assert text_of(await client.ask("tools/call", {"name": "count"})) == "3"


@pytest.mark.parametrize(("arguments", "given"), [([1], "an array"), ("x", "a string"), (3, "an integer")])
async def test_arguments_that_are_no_object_are_a_fault_for_the_model(arguments, given):
    mcp = Server("s")

    @mcp.tool
    async def count(start: int = 3) -> int:
        return start

    async with connected(mcp) as client:
        result = await client.ask("tools/call", {"name": "count", "arguments": arguments})
        assert result["isError"] is True
        assert text_of(result) == f"Invalid arguments for count:\n$: expected an object, got {given}"


async def test_a_mutable_default_is_new_in_every_call():
    mcp = Server("s")

    @mcp.tool
    async def gather(item: str, into: list[str] = []) -> list[str]:  # noqa: B006  # what users write all the same
        into.append(item)
        return into

    async with connected(mcp) as client:
        for _ in range(2):
            assert (await client.call("gather", item="a"))["structuredContent"] == {"result": ["a"]}


# ---- Context in a signature

SPOKEN = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def first(ctx: Context, a: int) -> str:
    return f"{ctx.revision.version} {a}"


async def last(a: int, ctx: Context) -> str:
    return f"{ctx.revision.version} {a}"


async def keyword_only(a: int, *, ctx: Context) -> str:
    return f"{ctx.revision.version} {a}"


async def optional(a: int, ctx: Context | None = None) -> str:
    assert ctx is not None
    return f"{ctx.revision.version} {a}"


async def annotated(a: int, ctx: Annotated[Context, "ours"]) -> str:
    return f"{ctx.revision.version} {a}"


async def quoted(a: int, ctx: "Context") -> str:
    return f"{ctx.revision.version} {a}"


async def twice(ctx: Context, a: int, context: Context) -> str:
    assert ctx is context
    return f"{ctx.revision.version} {a}"


def plain(a: int, ctx: Context) -> str:
    return f"{ctx.revision.version} {a}"


@pytest.mark.parametrize("function", [first, last, keyword_only, optional, annotated, quoted, twice, plain])
async def test_a_context_may_stand_anywhere_and_is_hidden(function):
    mcp = Server("s")
    mcp.add_tool(function)
    async with connected(mcp) as client:
        assert (await client.tool(function.__name__))["inputSchema"] == SPOKEN
        assert text_of(await client.call(function.__name__, a=1)) == f"{client.revision} 1"
        # A client cannot put something in its place.
        assert text_of(await client.call(function.__name__, a=1, ctx="mine", context=2)) == f"{client.revision} 1"


async def test_a_parameter_that_is_only_called_ctx_is_an_argument_like_any_other():
    mcp = Server("s")

    @mcp.tool
    async def take(ctx: str) -> str:
        return ctx

    async with connected(mcp) as client:
        assert text_of(await client.call("take", ctx="mine")) == "mine"


# ---- what cannot be expressed


def variadic(*numbers: int) -> None: ...
def keywords(**options: int) -> None: ...
def positional_only(number: int, /) -> None: ...
def unknown_name(number: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821  # what the test is about
def no_form(lock: threading.Lock) -> None: ...
def callback(then: Callable[[], None]) -> None: ...
def wrong_limit(word: Annotated[str, msgspec.Meta(ge=3)]) -> None: ...
def unspeakable(predicate: Annotated[int, annotated_types.Predicate(lambda value: value > 1)]) -> None: ...
def hidden_name(__secret: int) -> None: ...
def no_return_form() -> threading.Thread: ...  # type: ignore[empty-body]  # only its signature is read


NOT_EXPRESSIBLE: list[tuple[Callable[..., Any], str]] = [
    (variadic, "numbers"),
    (keywords, "options"),
    (positional_only, "number"),
    (unknown_name, "number"),
    (no_form, "lock"),
    (callback, "then"),
    (wrong_limit, "word"),
    (unspeakable, "predicate"),
    (hidden_name, "secret"),
]


@pytest.mark.parametrize(
    ("function", "parameter"), NOT_EXPRESSIBLE, ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.parametrize("kind", ["tool", "prompt"])
def test_what_cannot_be_expressed_is_refused_with_function_and_parameter(kind, function, parameter):
    mcp = Server("s")
    with pytest.raises(RegistrationError) as caught:
        getattr(mcp, kind)(function)
    assert str(caught.value).startswith(f"{function.__name__}(): parameter '")
    assert parameter in str(caught.value)
    assert not mcp.tools
    assert not mcp.prompts


def test_a_return_annotation_without_json_form_is_refused_with_the_way_out():
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=r"no_return_form\(\): the return annotation: .*output_schema=False"):
        mcp.tool(no_return_form)
    mcp.tool(output_schema=False)(no_return_form)
    assert list(mcp.tools) == ["no_return_form"]
