"""Tools with a hand-written JSON Schema: `register_tool`, its handler, its validator, and what is refused."""

import sys
from typing import Any

import pytest

from tests.authoring.client import ERAS, connected, text_of
from trio_mcp import Context, RegistrationError, Server, ToolAnnotations, ToolError
from trio_mcp.json_schema import MAX_DEPTH, MAX_SUBSCHEMAS, compile_validator, decode_object

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
        "unit": {"enum": ["C", "F"], "default": "C"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"day": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}


def open_schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize("era", ERAS)
async def test_a_handler_gets_the_arguments_as_one_dict_and_the_schema_is_shown_as_it_is(era):
    mcp = Server("s")
    got: list[Any] = []

    async def forecast(params: dict[str, Any]) -> dict[str, Any]:
        got.append(params)
        return {"sunny": True}

    made = mcp.register_tool(
        "forecast",
        "Tell the weather.",
        SCHEMA,
        forecast,
        title="Forecast",
        annotations=ToolAnnotations(read_only_hint=True),
        tags=["weather"],
        output_schema={"type": "object", "properties": {"sunny": {"type": "boolean"}}},
    )
    assert made.name == "forecast"
    async with connected(mcp, era) as client:
        tool = await client.tool("forecast")
        assert tool["inputSchema"] == SCHEMA
        assert (tool["description"], tool["title"]) == ("Tell the weather.", "Forecast")
        assert (tool["annotations"], tool["_meta"]) == ({"readOnlyHint": True}, {"tags": ["weather"]})
        result = await client.call("forecast", city="Ulm", days=[{"n": 1}])
        assert result["structuredContent"] == {"sunny": True}
    assert got == [{"city": "Ulm", "days": [{"n": 1}]}]  # no default is filled in, nothing is converted


async def with_context(params: dict[str, Any], ctx: Context) -> str:
    return f"{ctx.revision.version} {params}"


async def context_first(ctx: Context, params: dict[str, Any]) -> str:
    return f"{ctx.revision.version} {params}"


async def context_by_keyword(params: dict[str, Any], *, ctx: Context) -> str:
    return f"{ctx.revision.version} {params}"


def in_a_thread(arguments: Any, context: Context) -> str:
    return f"{context.revision.version} {arguments}"


class Handler:
    async def __call__(self, params: dict[str, Any], ctx: Context) -> str:
        return f"{ctx.revision.version} {params}"


@pytest.mark.parametrize("handler", [with_context, context_first, context_by_keyword, in_a_thread, Handler()])
async def test_a_handler_may_want_a_context(handler):
    mcp = Server("s")
    mcp.register_tool("raw", "d", {"type": "object"}, handler)
    async with connected(mcp) as client:
        assert text_of(await client.call("raw", a=1)) == f"{client.revision} {{'a': 1}}"


async def test_a_handler_may_be_a_lambda_and_its_tool_error_reaches_the_model():
    mcp = Server("s")

    async def refuse(params: dict[str, Any]) -> None:
        raise ToolError("Not today")

    mcp.register_tool("keys", "d", {"type": "object"}, lambda params: sorted(params))
    mcp.register_tool("inline", "d", {"type": "object"}, lambda params: len(params), thread=False)
    mcp.register_tool("refuse", "d", {"type": "object"}, refuse)
    async with connected(mcp) as client:
        assert text_of(await client.call("keys", b=1, a=2)) == '["a","b"]'
        assert text_of(await client.call("inline", b=1, a=2)) == "2"
        assert text_of(await client.ask("tools/call", {"name": "keys", "arguments": None})) == "[]"
        assert text_of(await client.ask("tools/call", {"name": "keys"})) == "[]"
        result = await client.call("refuse")
        assert (result["isError"], text_of(result)) == (True, "Not today")


async def test_every_fault_is_told_with_its_path():
    mcp = Server("s")
    mcp.register_tool("forecast", "d", SCHEMA, lambda params: None)
    async with connected(mcp) as client:
        result = await client.call("forecast", days=[{"n": "one"}, {}], unit="K", more=1)
        assert result["isError"] is True
        header, *faults = text_of(result).splitlines()
        assert header == "Invalid arguments for forecast:"
        assert sorted(fault.partition(": ")[0] for fault in faults) == [
            "$",
            "$",
            "$.days[0].n",
            "$.days[1]",
            "$.unit",
        ]
        assert '$: "city" is a required property' in faults
        result = await client.ask("tools/call", {"name": "forecast", "arguments": [1]})
        assert text_of(result) == 'Invalid arguments for forecast:\n$: [1] is not of type "object"'


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, 'the input schema of tool \'raw\' must say "type": "object" at its root'),
        ({"type": "array"}, "must say"),
        (open_schema(a={"type": "strin"}), "is not a valid JSON Schema: properties.a.type: "),
        (open_schema(a={"minimum": "one"}), "is not a valid JSON Schema: properties.a.minimum: "),
        (open_schema(a={"$ref": "#/$defs/gone"}), "is not a valid JSON Schema: .*gone"),
        (open_schema(a={"$ref": "https://example.com/a.json"}), "https://example.com/a.json is not followed"),
        (open_schema(a={"$ref": "http://127.0.0.1:9/a.json"}), "is not followed: put the schema into"),
        (open_schema(a={"$ref": "file:///etc/hostname"}), "file:///etc/hostname is not followed"),
        ({"type": "object", "$schema": "https://example.com/own"}, "is not a valid JSON Schema: .*example.com/own"),
        (open_schema(**{str(n): {} for n in range(MAX_SUBSCHEMAS + 1)}), "more than 10000 parts"),
    ],
    ids=range(10),
)
def test_a_schema_that_cannot_be_served_is_refused_in_one_line(schema, message):
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=message) as caught:
        mcp.register_tool("raw", "d", schema, lambda params: None)
    assert "\n" not in str(caught.value)
    assert mcp.tools == {}


def test_a_schema_nested_without_end_is_refused():
    mcp = Server("s")
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    with pytest.raises(RegistrationError, match=f"it nests deeper than {MAX_DEPTH} levels"):
        mcp.register_tool("raw", "d", open_schema(a=deep), lambda params: None)


async def test_an_older_dialect_is_followed_where_the_schema_names_it():
    mcp = Server("s")
    schema = open_schema(pair={"type": "array", "items": [{"type": "integer"}], "additionalItems": False})
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    mcp.register_tool("raw", "d", schema, lambda params: "fits")
    async with connected(mcp) as client:
        assert text_of(await client.call("raw", pair=[1])) == "fits"
        assert (await client.call("raw", pair=[1, 2]))["isError"] is True


async def none() -> None: ...
async def two(params: dict[str, Any], more: int) -> None: ...
async def unannotated(params, ctx) -> None: ...


@pytest.mark.parametrize("handler", [none, two, unannotated])
def test_a_handler_with_other_parameters_is_refused(handler):
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=f"{handler.__name__} must take one parameter, the dict of arguments"):
        mcp.register_tool("raw", "d", {"type": "object"}, handler)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    mcp = Server("s")
    with pytest.raises(RegistrationError, match=r"input schema of tool 'raw' .*: pip install 'trio-mcp\[jsonschema\]'"):
        mcp.register_tool("raw", "d", {"type": "object"}, lambda params: None)
    with pytest.raises(RegistrationError, match=r"output schema of tool 'typed' .*: pip install"):
        mcp.tool(name="typed", output_schema={"type": "object"})(none)
    mcp.tool(none)  # typed functions do without
    assert list(mcp.tools) == ["none"]


def test_a_validator_lists_every_fault_of_a_value():
    validate = compile_validator(SCHEMA, owner="x")
    assert validate({"city": "Ulm"}) == []
    assert {fault.path for fault in validate({"city": "", "days": [{"n": 0.5}]})} == {"$.city", "$.days[0].n"}


@pytest.mark.parametrize(("raw", "value"), [(b"", {}), (b"null", {}), (b'{"a":1}', {"a": 1}), (b"[1]", [1])])
def test_absent_arguments_are_an_empty_object(raw, value):
    assert decode_object(raw) == value


@pytest.mark.parametrize("raw", [b"{", b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"[" * 100_000])
def test_json_text_that_is_broken_is_a_value_error(raw):
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own words, msgspec's
        decode_object(raw)
