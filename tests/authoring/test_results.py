"""What tools return and what clients get of it: content, structured content, and the schema that promises it."""

import base64
import dataclasses
import logging
import typing
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from tests.authoring.client import PER_REQUEST, SESSION, connected, text_of
from trio_mcp import (
    Annotations,
    Audio,
    AudioContent,
    EmbeddedResource,
    File,
    Image,
    ImageContent,
    RegistrationError,
    ResourceContents,
    ResourceLink,
    Server,
    TextContent,
    ToolResult,
    UserMessage,
)

PNG = b"\x89PNG\r\n\x1a\n"
WAV = b"RIFF\x00\x00\x00\x00WAVE"
GENERIC = "Internal error in tools/call: see the server's log"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def giver(annotation: Any, value: Any) -> Callable[[], Any]:
    """A tool with that return annotation and that value."""

    async def give() -> Any:
        return value

    give.__annotations__["return"] = annotation
    return give


@attrs.frozen
class Weather:
    """What it is like outside."""

    degrees: float
    sky: str = "clear"


@dataclasses.dataclass
class Place:
    name: str


class Tally(typing.TypedDict):
    count: int


class Struct(msgspec.Struct):
    count: int


class Model(pydantic.BaseModel):
    count: int


def of(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is no object."""
    return {"type": "object", "properties": {"result": schema}, "required": ["result"]}


COUNT = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
WEATHER = {
    "type": "object",
    "description": "What it is like outside.",
    "properties": {"degrees": {"type": "number"}, "sky": {"type": "string", "default": "clear"}},
    "required": ["degrees"],
}

# A row: the return annotation, the value, the output schema, the structured content, the text.
STRUCTURED: list[tuple[Any, Any, Any, Any, str]] = [
    (str, "hi", of({"type": "string"}), {"result": "hi"}, "hi"),
    (int, 3, of({"type": "integer"}), {"result": 3}, "3"),
    (float, 0.5, of({"type": "number"}), {"result": 0.5}, "0.5"),
    (bool, True, of({"type": "boolean"}), {"result": True}, "true"),
    (list[int], [1, 2], of({"type": "array", "items": {"type": "integer"}}), {"result": [1, 2]}, "[1,2]"),
    (list[str], ["a", "b"], of({"type": "array", "items": {"type": "string"}}), {"result": ["a", "b"]}, '["a","b"]'),
    (int | None, None, of({"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"result": None}, ""),
    (dict[str, int], {"a": 1}, {"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, '{"a":1}'),
    (dict, {"a": 1}, {"type": "object"}, {"a": 1}, '{"a":1}'),
    (Weather, Weather(21), WEATHER, {"degrees": 21, "sky": "clear"}, '{"degrees":21,"sky":"clear"}'),
    (Tally, {"count": 1}, COUNT, {"count": 1}, '{"count":1}'),
    (Struct, Struct(1), COUNT, {"count": 1}, '{"count":1}'),
    (Place, Place("Ulm"), ..., {"name": "Ulm"}, '{"name":"Ulm"}'),
    (Model, Model(count=1), ..., {"count": 1}, '{"count":1}'),
    (list[Weather], [Weather(1)], ..., {"result": [{"degrees": 1, "sky": "clear"}]}, '[{"degrees":1,"sky":"clear"}]'),
]


@pytest.mark.parametrize(("annotation", "value", "schema", "structured", "text"), STRUCTURED, ids=lambda x: str(x)[:24])
async def test_data_is_structured_promised_and_repeated_as_text(annotation, value, schema, structured, text):
    mcp = Server("s")

    mcp.add_tool(giver(annotation, value))

    async with connected(mcp) as client:
        promised = (await client.tool("give"))["outputSchema"]
        assert promised["type"] == "object"
        if schema is not ...:
            assert promised == schema
        result = await client.call("give")
        assert result["structuredContent"] == structured
        assert "".join(block["text"] for block in result["content"]) == text


TEXT = {"type": "text", "text": "hi"}
PICTURE = {"type": "image", "data": coded(PNG), "mimeType": "image/png"}
SOUND = {"type": "audio", "data": coded(WAV), "mimeType": "audio/wav"}
CONTENTS = {"uri": "x://y", "text": "z"}
EMBEDDED = {"type": "resource", "resource": CONTENTS}
LINK = {"type": "resource_link", "uri": "x://y", "name": "y"}
OCTETS = {"mimeType": "application/octet-stream", "blob": coded(b"\x00\x01")}
NOTES = {"uri": "attachment:///notes.md", "mimeType": "text/markdown", "text": "# Notes"}

# A row: the return annotation, the value, the content.
UNSTRUCTURED: list[tuple[Any, Any, list[dict[str, Any]]]] = [
    (None, None, []),
    (Any, "hi", [TEXT]),
    (Image, Image(PNG), [PICTURE]),
    (Audio, Audio(WAV), [SOUND]),
    (File, File("# Notes", name="notes.md"), [{"type": "resource", "resource": NOTES}]),
    (bytes, b"\x00\x01", [{"type": "resource", "resource": {"uri": "attachment:///file.bin", **OCTETS}}]),
    (TextContent, TextContent("hi"), [TEXT]),
    (ImageContent, ImageContent(coded(PNG), "image/png"), [PICTURE]),
    (AudioContent, AudioContent(coded(WAV), "audio/wav"), [SOUND]),
    (EmbeddedResource, EmbeddedResource(ResourceContents(uri="x://y", text="z")), [EMBEDDED]),
    (ResourceContents, ResourceContents(uri="x://y", text="z"), [EMBEDDED]),
    (ResourceLink, ResourceLink("x://y", "y"), [LINK]),
    (list[str | Image], ["hi", Image(PNG)], [TEXT, PICTURE]),
    (
        list[Any],
        ["hi", Image(PNG), {"a": 1}, 3],
        [TEXT, PICTURE, {"type": "text", "text": '{"a":1}'}, TEXT | {"text": "3"}],
    ),
    (tuple[TextContent, Audio], (TextContent("hi"), Audio(WAV)), [TEXT, SOUND]),
    (Image | None, None, []),
    (
        TextContent,
        TextContent("hi", annotations=Annotations(audience=["user"], priority=0.5), meta={"k": 1}),
        [TEXT | {"annotations": {"audience": ["user"], "priority": 0.5}, "_meta": {"k": 1}}],
    ),
]


@pytest.mark.parametrize(("annotation", "value", "content"), UNSTRUCTURED, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("annotated", [True, False])
async def test_content_is_content_and_promises_no_structure(annotation, value, content, annotated):
    mcp = Server("s")

    function = giver(annotation, value)
    if not annotated:
        del function.__annotations__["return"]
    mcp.add_tool(function)
    async with connected(mcp) as client:
        assert "outputSchema" not in await client.tool("give")
        result = await client.call("give")
        assert result == {"content": content}


# ---- ToolResult


async def test_a_tool_result_spells_out_all_four_fields():
    mcp = Server("s")

    @mcp.tool
    async def give() -> ToolResult:
        return ToolResult(["hi", Image(PNG)], structured={"when": Place("Ulm")}, meta={"took": 1}, is_error=True)

    async with connected(mcp) as client:
        assert await client.call("give") == {
            "content": [TEXT, PICTURE],
            "structuredContent": {"when": {"name": "Ulm"}},
            "_meta": {"took": 1},
            "isError": True,
        }


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ToolResult(), {"content": []}),
        (ToolResult("hi"), {"content": [TEXT]}),
        (ToolResult(structured={"a": 1}), {"content": [TEXT | {"text": '{"a":1}'}], "structuredContent": {"a": 1}}),
        (ToolResult("hi", is_error=True), {"content": [TEXT], "isError": True}),
    ],
)
async def test_a_tool_result_may_leave_fields_out(result, expected):
    mcp = Server("s")

    @mcp.tool
    async def give() -> ToolResult:
        return result

    async with connected(mcp) as client:
        assert await client.call("give") == expected


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Weather, ToolResult("fine", structured={"degrees": 3})),
        (Weather, ToolResult("fine", structured=Weather(3))),
        (int, ToolResult("fine", structured={"result": 3})),
        (Weather, ToolResult("fine", is_error=True)),
    ],
)
async def test_a_tool_result_that_keeps_the_promise_of_the_annotation_passes(annotation, value):
    mcp = Server("s")

    mcp.add_tool(giver(annotation, value))

    async with connected(mcp) as client:
        assert text_of(await client.call("give")) == "fine"


# ---- promises that are not kept


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (int, "three", "expected an integer, got a string"),
        (Weather, {"degrees": "hot"}, "$.degrees"),
        (Weather, None, "got null"),
        (dict[str, int], {"a": "x"}, "$.a"),
        (Model, {"count": "x"}, "$.count"),
        (Weather, ToolResult("fine"), "structured content is not what its return annotation says"),
        (Weather, ToolResult("fine", structured={"degrees": "hot"}), "$.degrees"),
        (int, ToolResult("fine", structured=3), 'is not {"result": …}'),
    ],
)
async def test_a_value_that_breaks_the_promise_is_the_servers_fault(caplog, annotation, value, told):
    mcp = Server("s")

    mcp.add_tool(giver(annotation, value))

    async with connected(mcp) as client:
        error = await client.fail("tools/call", {"name": "give"})
        assert error == {"code": -32603, "message": GENERIC}
    [record] = caplog.records
    assert told in caplog.text
    assert (record.levelno, record.name) == (logging.ERROR, "trio_mcp.dispatch")


@pytest.mark.parametrize(
    "value",
    [object(), (part for part in "ab"), {"deep": object()}],
    ids=["an object", "a generator", "an object inside"],
)
async def test_a_value_without_json_form_is_the_servers_fault(caplog, value):
    mcp = Server("s")

    @mcp.tool
    async def give() -> Any:
        return value

    async with connected(mcp) as client:
        assert (await client.fail("tools/call", {"name": "give"}))["message"] == GENERIC
    assert len(caplog.records) == 1


# ---- output_schema=


SCHEMA = {"type": "object", "properties": {"total": {"type": "integer", "minimum": 1}}, "required": ["total"]}


async def test_an_own_output_schema_is_shown_and_checked(caplog):
    mcp = Server("s")

    @mcp.tool(output_schema=SCHEMA)
    async def count(total: int) -> Any:
        return {"total": total}

    @mcp.tool(output_schema=SCHEMA)
    async def spelled(total: int) -> ToolResult:
        return ToolResult(f"{total} in all", structured={"total": total}, is_error=total < 0)

    @mcp.tool(output_schema=SCHEMA)
    async def forgotten() -> ToolResult:
        return ToolResult("nothing structured")

    async with connected(mcp) as client:
        assert (await client.tool("count"))["outputSchema"] == SCHEMA
        assert (await client.call("count", total=1))["structuredContent"] == {"total": 1}
        assert text_of(await client.call("spelled", total=2)) == "2 in all"
        assert (await client.call("spelled", total=-1))["isError"] is True  # an error need not fit
        assert caplog.records == []
        for name, arguments in (("count", {"total": 0}), ("spelled", {"total": 0}), ("forgotten", {})):
            error = await client.fail("tools/call", {"name": name, "arguments": arguments})
            assert error == {"code": -32603, "message": GENERIC}
    assert len(caplog.records) == 3
    assert "tool 'count' returned what its output schema does not allow: $.total: " in caplog.text


async def test_false_sends_no_structured_content_and_true_infers_it():
    mcp = Server("s")

    @mcp.tool(output_schema=False)
    async def without() -> Weather:
        return Weather(3)

    @mcp.tool(output_schema=True)
    async def inferred() -> int:
        return 3

    async with connected(mcp) as client:
        assert "outputSchema" not in await client.tool("without")
        assert await client.call("without") == {"content": [TEXT | {"text": '{"degrees":3,"sky":"clear"}'}]}
        assert (await client.tool("inferred"))["outputSchema"] == of({"type": "integer"})
        assert (await client.call("inferred"))["structuredContent"] == {"result": 3}


async def test_any_json_is_structured_where_the_revision_allows_it():
    mcp = Server("s")

    @mcp.tool(output_schema={"type": "array", "items": {"type": "integer"}})
    async def numbers() -> Any:
        return [1, 2]

    async with connected(mcp, PER_REQUEST) as client:
        assert (await client.tool("numbers"))["outputSchema"]["type"] == "array"
        assert (await client.call("numbers"))["structuredContent"] == [1, 2]
    async with connected(mcp, SESSION) as client:
        assert "outputSchema" not in await client.tool("numbers")
        assert await client.call("numbers") == {"content": [TEXT | {"text": "[1,2]"}]}


def test_an_output_schema_that_is_none_is_refused():
    mcp = Server("s")
    with pytest.raises(RegistrationError, match="the output schema of tool 'bad' is not a valid JSON Schema: type: "):

        @mcp.tool(output_schema={"type": "objekt"})
        async def bad() -> None: ...

    assert mcp.tools == {}


async def test_an_old_client_takes_nothing_from_values_that_their_author_keeps():
    mcp = Server("s")
    kept = TextContent("hi", meta={"k": 1})
    mcp.add_tool(giver(TextContent, kept))
    mcp.add_resource("x://y", giver(Any, [ResourceContents(uri="x://y", text="z", meta={"k": 1})]), name="y")
    mcp.add_prompt(giver(Any, UserMessage(ResourceLink("x://y", "y"))), name="ask")
    for revision in ("2024-11-05", SESSION):
        async with connected(mcp, revision) as client:
            content = (await client.call("give"))["content"]
            [contents] = await client.read_resource("x://y")
            [message] = (await client.ask("prompts/get", {"name": "ask"}))["messages"]
    assert content == [TEXT | {"_meta": {"k": 1}}]
    assert contents["_meta"] == {"k": 1}
    assert message["content"] == LINK
