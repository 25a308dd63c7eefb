"""Parameters that clients repeat in headers: checked when a tool is registered, and again at each call."""

from typing import Any

import pytest

from trio_mcp.protocol.errors import HEADER_MISMATCH, McpError
from trio_mcp.protocol.headers import Headers, ParamHeader, param_headers


def marked(label: Any = "Region", type: Any = "string", **more: Any) -> dict[str, Any]:
    """The schema of a parameter that is mirrored."""
    return {"type": type, "x-mcp-header": label, **more}


def schema(**properties: Any) -> dict[str, Any]:
    """An input schema."""
    return {"type": "object", "properties": properties}


# At registration


@pytest.mark.parametrize("type", ["string", "integer", "boolean"])
def test_a_parameter_of_a_primitive_type_may_be_mirrored(type):
    (header,) = param_headers(schema(region=marked(type=type), query={"type": "string"}))
    assert (header.label, header.header, header.path, header.type) == (
        "Region",
        b"mcp-param-region",
        ("region",),
        type,
    )


def test_a_nested_property_may_be_mirrored_when_only_properties_lead_to_it():
    nested = schema(a=schema(b=schema(c=marked("C")), d=marked("D", "integer")), e=marked("E"))
    assert {header.label: header.path for header in param_headers(nested)} == {
        "C": ("a", "b", "c"),
        "D": ("a", "d"),
        "E": ("e",),
    }


@pytest.mark.parametrize("label", ["A", "x-y_z.1", "!#$%&'*+-.^_`|~", "0"])
def test_any_header_token_is_a_name(label):
    assert param_headers(schema(a=marked(label)))[0].header == b"mcp-param-" + label.lower().encode()


@pytest.mark.parametrize(
    "label",
    [
        "",
        " ",
        "a b",
        " a",
        "a ",
        "a:b",
        "a/b",
        "a,b",
        '"a"',
        "a\r\nb",
        "a\n",
        "a\0",
        "a\x7f",
        "ä",
        "\N{KELVIN SIGN}",
        None,
        5,
        True,
        ["A"],
        {"A": 1},
    ],
)
def test_what_is_no_header_token_is_refused(label):
    with pytest.raises(ValueError, match=r"x-mcp-header of outer\.inner must be a header token"):
        param_headers(schema(outer=schema(inner=marked(label))))


@pytest.mark.parametrize("type", ["number", "array", "object", "null", ["string"], ["string", "null"], None, 5, {}])
def test_other_types_are_refused(type):
    with pytest.raises(ValueError, match="x-mcp-header of a needs a string, integer or boolean"):
        param_headers(schema(a=marked(type=type)))


def test_a_type_that_is_left_out_is_refused():
    with pytest.raises(ValueError, match="needs a string"):
        param_headers(schema(a={"x-mcp-header": "A", "enum": ["a"]}))


@pytest.mark.parametrize(("first", "second"), [("Region", "Region"), ("Region", "REGION"), ("a-B", "A-b")])
def test_a_name_that_is_used_twice_is_refused_whatever_its_case(first, second):
    with pytest.raises(ValueError, match="used twice"):
        param_headers(schema(a=marked(first), b=marked(second)))
    with pytest.raises(ValueError, match="used twice"):
        param_headers(schema(a=marked(first), b=schema(c=marked(second))))


ELSEWHERE: list[dict[str, Any]] = [
    marked(),
    schema(a={"type": "array", "items": marked()}),
    schema(a={"type": "array", "items": schema(b=marked())}),
    schema(a={"type": "array", "prefixItems": [marked()]}),
    schema(a={"type": "array", "contains": marked()}),
    schema(a={"type": "array", "unevaluatedItems": marked()}),
    schema(a={"anyOf": [marked(), {"type": "null"}]}),
    schema(a={"oneOf": [{"type": "null"}, marked()]}),
    schema(a={"allOf": [schema(b=marked())]}),
    schema(a={"not": marked()}),
    schema(a={"if": marked(), "then": {}, "else": {}}),
    schema(a={"if": {}, "then": marked()}),
    schema(a={"if": {}, "else": schema(b=marked())}),
    schema(a={"$ref": "#/$defs/A"}) | {"$defs": {"A": marked()}},
    schema(a={"$ref": "#/definitions/A"}) | {"definitions": {"A": schema(b=marked())}},
    schema() | {"anyOf": [schema(a=marked())]},
    schema() | {"additionalProperties": marked()},
    schema() | {"patternProperties": {"^a": marked()}},
    schema() | {"dependentSchemas": {"a": schema(b=marked())}},
    schema() | {"propertyNames": marked()},
    schema() | {"unevaluatedProperties": schema(a=marked())},
]


@pytest.mark.parametrize("bad", ELSEWHERE)
def test_an_annotation_that_properties_alone_do_not_lead_to_is_refused(bad):
    with pytest.raises(ValueError, match="properties"):
        param_headers(bad)
    good = schema(z=marked("Z"))
    with pytest.raises(ValueError, match="properties"):
        param_headers({**bad, "properties": bad.get("properties", {}) | good["properties"]})


@pytest.mark.parametrize(
    "fine",
    [
        {},
        {"type": "object"},
        {"properties": None},
        {"properties": {"a": True}},
        schema(**{"x-mcp-header": {"type": "string"}}),
        schema(**{"x-mcp-header": schema(**{"x-mcp-header": {"type": "number"}})}),
        schema(properties={"type": "string"}, items={"type": "string"}),
        schema(a={"default": {"x-mcp-header": "A"}}),
        schema(a={"const": {"x-mcp-header": "A"}}),
        schema(a={"enum": [{"x-mcp-header": "A"}]}),
        schema(a={"examples": [{"x-mcp-header": "A"}]}),
        schema(a={"type": "string"}) | {"required": ["x-mcp-header"]},
        {"$defs": {"x-mcp-header": {"type": "string"}}},
        {"definitions": {"x-mcp-header": {"type": "string"}}},
        {"patternProperties": {"x-mcp-header": {"type": "string"}}},
        {"dependentSchemas": {"x-mcp-header": {"type": "object"}}},
        {"dependentRequired": {"x-mcp-header": ["a"]}},
        {"dependencies": {"x-mcp-header": ["a"]}},
    ],
)
def test_a_name_or_a_value_that_looks_like_the_keyword_is_none(fine):
    assert param_headers(fine) == ()


def test_properties_named_like_keywords_lead_as_others_do():
    odd = schema(items=schema(properties=marked("A")), anyOf=marked("B"), **{"x-mcp-header": marked("C")})
    assert {header.label: header.path for header in param_headers(odd)} == {
        "A": ("items", "properties"),
        "B": ("anyOf",),
        "C": ("x-mcp-header",),
    }


# At a call

TEXT = ParamHeader("Region", ("region",), "string")
NUMBER = ParamHeader("Count", ("a", "count"), "integer")
FLAG = ParamHeader("Flag", ("flag",), "boolean")


def sent(header: ParamHeader, *values: bytes) -> Headers:
    return Headers([(b"accept", b"*/*"), *((header.header, value) for value in values)])


@pytest.mark.parametrize(
    ("header", "value", "arguments"),
    [
        (TEXT, b"us-west1", {"region": "us-west1"}),
        (TEXT, b" us-west1\t", {"region": "us-west1"}),
        (TEXT, b"", {"region": ""}),
        (TEXT, b"=?base64?SGVsbG8sIOS4lueVjA==?=", {"region": "Hello, 世界"}),
        (TEXT, b"=?base64?IHBhZGRlZCA=?=", {"region": " padded "}),
        (TEXT, b"=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", {"region": "=?base64?literal?="}),
        (TEXT, b"a, b", {"region": "a, b"}),
        (NUMBER, b"42", {"a": {"count": 42}}),
        (NUMBER, b"42.0", {"a": {"count": 42}}),
        (NUMBER, b"42.", {"a": {"count": 42}}),
        (NUMBER, b"+42", {"a": {"count": 42}}),
        (NUMBER, b"042", {"a": {"count": 42}}),
        (NUMBER, b"42", {"a": {"count": 42.0}}),
        (NUMBER, b"-7", {"a": {"count": -7}}),
        (NUMBER, b"-0", {"a": {"count": 0}}),
        (NUMBER, b"0", {"a": {"count": 0}}),
        (NUMBER, b"9007199254740991", {"a": {"count": 2**53 - 1}}),
        (NUMBER, b"=?base64?NDI=?=", {"a": {"count": 42}}),
        (FLAG, b"true", {"flag": True}),
        (FLAG, b"false", {"flag": False}),
    ],
)
def test_a_header_that_says_what_the_body_says_passes(header, value, arguments):
    header.check(sent(header, value), arguments)


@pytest.mark.parametrize(
    ("header", "value", "arguments"),
    [
        (TEXT, b"us-west1", {"region": "us-west2"}),
        (TEXT, b"US-WEST1", {"region": "us-west1"}),
        (TEXT, b"", {"region": "x"}),
        (TEXT, b"x", {"region": ""}),
        (TEXT, b"x", {"region": ["x"]}),
        (TEXT, b"x", {"region": {"x": 1}}),
        (TEXT, b"padded", {"region": " padded "}),
        (TEXT, b"=?base64?QQ==?=", {"region": "=?base64?QQ==?="}),
        (NUMBER, b"42", {"a": {"count": 43}}),
        (NUMBER, b"42.5", {"a": {"count": 42}}),
        (NUMBER, b"42", {"a": {"count": 42.5}}),
        (NUMBER, b"42.5", {"a": {"count": 42.5}}),
        (NUMBER, b"42e0", {"a": {"count": 42}}),
        (NUMBER, b"0x2a", {"a": {"count": 42}}),
        (NUMBER, b"4_2", {"a": {"count": 42}}),
        (NUMBER, b"4 2", {"a": {"count": 42}}),
        (NUMBER, b"--42", {"a": {"count": -42}}),
        (NUMBER, b"9007199254740993", {"a": {"count": 2**53}}),
        (NUMBER, b"", {"a": {"count": 0}}),
        (NUMBER, b".0", {"a": {"count": 0}}),
        (NUMBER, b"inf", {"a": {"count": 0}}),
        (NUMBER, b"=?base64?2aTZog==?=", {"a": {"count": 42}}),  # Arabic-Indic digits
        (NUMBER, b"9" * 5000, {"a": {"count": 42}}),
        (NUMBER, b"0" * 5000, {"a": {"count": 0}}),
        (NUMBER, b"1", {"a": {"count": True}}),
        (NUMBER, b"42, 42", {"a": {"count": 42}}),
        (FLAG, b"True", {"flag": True}),
        (FLAG, b"1", {"flag": True}),
        (FLAG, b"0", {"flag": False}),
        (FLAG, b"", {"flag": False}),
        (FLAG, b"false", {"flag": True}),
    ],
)
def test_a_header_that_says_something_else_is_refused(header, value, arguments):
    with pytest.raises(McpError, match=f"Mcp-Param-{header.label} is ") as caught:
        header.check(sent(header, value), arguments)
    assert caught.value.code == HEADER_MISMATCH


@pytest.mark.parametrize("value", [b"\xff", b"a\nb", b"=?base64?QQ=?=", b"=?base64?/w==?="])
def test_a_header_that_cannot_be_read_is_refused(value):
    with pytest.raises(McpError, match="Mcp-Param-Region holds") as caught:
        TEXT.check(sent(TEXT, value), {"region": "a"})
    assert caught.value.code == HEADER_MISMATCH


@pytest.mark.parametrize("arguments", [{"region": "x"}, {"region": ""}, {"region": False}, {"region": 0}])
def test_a_value_in_the_body_demands_the_header(arguments):
    with pytest.raises(McpError, match="Mcp-Param-Region is missing"):
        TEXT.check(sent(TEXT), arguments)


@pytest.mark.parametrize("arguments", [{}, {"region": None}, {"Region": "x"}, [], None, "region", 5])
def test_null_and_absent_expect_no_header(arguments):
    TEXT.check(sent(TEXT), arguments)
    with pytest.raises(McpError, match="Mcp-Param-Region is sent but the body has no value for region"):
        TEXT.check(sent(TEXT, b"x"), arguments)


@pytest.mark.parametrize("arguments", [{}, {"a": None}, {"a": {}}, {"a": [1]}, {"a": "count"}, {"a": {"count": None}}])
def test_a_nested_value_is_looked_for_at_its_exact_path(arguments):
    NUMBER.check(sent(NUMBER), arguments)
    with pytest.raises(McpError, match=r"no value for a\.count"):
        NUMBER.check(sent(NUMBER, b"1"), arguments)


def test_a_header_that_comes_twice_is_refused_even_where_both_agree():
    for arguments in ({"region": "x"}, {"region": "x, x"}, {}):
        with pytest.raises(McpError, match="Mcp-Param-Region is sent more than once"):
            TEXT.check(sent(TEXT, b"x", b"x"), arguments)
