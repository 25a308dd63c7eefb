"""The schema of each type, and its definitions, descriptions and defaults."""

import datetime as dt
import decimal
import pathlib
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import annotated_types as at
import attrs
import jsonschema_rs
import msgspec
import pydantic
import pytest
from msgspec import Meta

from tests.schema.samples import (
    ID,
    NOW,
    Bounded,
    Cat,
    Circle,
    Color,
    Dog,
    Level,
    Mixed,
    Model,
    Name,
    Options,
    Page,
    Pair,
    Plain,
    Point,
    Square,
    Tree,
    User,
    arguments,
    schema,
)
from trio_mcp.schema import (
    compile_arguments,
    schema_of,
)

TYPES: list[tuple[Any, dict[str, Any], Any, Any]] = [
    (int, {"type": "integer"}, 3, 3),
    (float, {"type": "number"}, 3, 3.0),
    (str, {"type": "string"}, "a", "a"),
    (bool, {"type": "boolean"}, True, True),
    (None, {"type": "null"}, None, None),
    (Any, {}, {"a": [1]}, {"a": [1]}),
    (object, {}, [1], [1]),
    (bytes, {"type": "string", "contentEncoding": "base64"}, "aGk=", b"hi"),
    (dt.datetime, {"type": "string", "format": "date-time"}, "2026-01-31T12:30:00Z", NOW),
    (dt.date, {"type": "string", "format": "date"}, "2026-01-31", dt.date(2026, 1, 31)),
    (dt.time, {"type": "string", "format": "time"}, "12:30:00", dt.time(12, 30)),
    (dt.timedelta, {"type": "string", "format": "duration"}, "PT30S", dt.timedelta(seconds=30)),
    (uuid.UUID, {"type": "string", "format": "uuid"}, str(ID), ID),
    (decimal.Decimal, {"type": "string", "format": "decimal"}, "1.50", decimal.Decimal("1.50")),
    (pathlib.Path, {"type": "string", "format": "path"}, "a/b", pathlib.Path("a/b")),
    (Name, {"type": "string"}, "a", "a"),
    (list, {"type": "array"}, [1, "a"], [1, "a"]),
    (list[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),
    (Sequence[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),
    (Iterable[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),
    (typing.List[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),  # noqa: UP006  # users write it
    (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 2], {1, 2}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [1], (1,)),
    (
        tuple[int, str],
        {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        [1, "a"],
        (1, "a"),
    ),
    (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": 1}),
    (Mapping[str, Any], {"type": "object"}, {"a": 1}, {"a": 1}),
    (dict[int, str], {"type": "object", "additionalProperties": {"type": "string"}}, {"1": "a"}, {1: "a"}),
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
    (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "1", "1"),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, "b", "b"),
    (Literal[1, "a"], {"enum": [1, "a"]}, "a", "a"),
    (Literal[Color.RED, "x"], {"type": "string", "enum": ["red", "x"]}, "red", Color.RED),
    (Color, {"type": "string", "enum": ["red", "blue"]}, "red", Color.RED),
    (Level, {"type": "integer", "enum": [1, 2]}, 2, Level.HIGH),
    (Mixed, {"enum": [0.5, "word"]}, 0.5, Mixed.HALF),
    (pathlib.Path | int, {"anyOf": [{"type": "string", "format": "path"}, {"type": "integer"}]}, 3, 3),
    (User, {"$ref": "#/$defs/User"}, {"name": "a"}, User("a")),
    (Point, {"$ref": "#/$defs/Point"}, {"x": 1}, Point(1, 2)),
    (Options, {"$ref": "#/$defs/Options"}, {"depth": 1}, {"depth": 1}),
    (Pair, {"$ref": "#/$defs/Pair"}, [1], Pair(1, "b")),
    (Page[Point], {"$ref": "#/$defs/Page_Point"}, {"items": [{"x": 1}]}, Page([Point(1, 2)])),
    (Bounded, {"$ref": "#/$defs/Bounded"}, {"n": 1, "inner": [{"n": 2}]}, Bounded(1, [Bounded(2)])),
    (Circle | Square, {"anyOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}]},
     {"type": "square", "side": 1}, Square(1.0)),
    (Cat | Dog, {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}, {"bark": 1}, Dog(1)),
    (list[int] | tuple[str, str], {"anyOf": [
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"type": "string"}] * 2},
    ]}, ["a", "b"], ("a", "b")),
    (dt.date | uuid.UUID, {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "uuid"}]},
     str(ID), ID),
    (Model, {"$ref": "#/$defs/Model"}, {"size": 2, "child": {"size": 1}}, Model(size=2, child=Model(size=1))),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "wanted", "value", "result"), TYPES, ids=lambda item: str(item)[:40])
@pytest.mark.parametrize("strict", [False, True])
def test_a_type_has_its_schema_and_builds_its_value(
    annotation: Any, wanted: Any, value: Any, result: Any, strict: bool
) -> None:
    compiled = arguments(annotation, strict=strict)
    assert compiled.schema["properties"]["x"] == wanted
    built = compiled.decode(msgspec.json.encode({"x": value}))["x"]
    assert built == result
    assert type(built) is type(result)
    jsonschema_rs.validate(compiled.schema, {"x": value})


@pytest.mark.parametrize(
    ("annotation", "definition"),
    [
        (
            User,
            {
                "description": "Somebody.",
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "What they are called."},
                    "age": {"type": "integer", "description": "in years", "default": 0},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["name"],
            },
        ),
        (
            Options,
            {
                "type": "object",
                "properties": {"depth": {"type": "integer"}, "label": {"type": "string", "minLength": 2}},
                "required": ["depth"],
            },
        ),
        (
            Pair,
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string", "default": "b"}],
                "minItems": 1,
                "maxItems": 2,
            },
        ),
        (
            Tree,
            {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "default": []},
                },
                "required": ["value"],
            },
        ),
        (
            Bounded,
            {
                "type": "object",
                "properties": {
                    "n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
                    "inner": {"type": "array", "items": {"$ref": "#/$defs/Bounded"}},
                },
                "required": ["n"],
            },
        ),
        (
            Circle,
            {
                "type": "object",
                "properties": {"type": {"const": "circle"}, "radius": {"type": "number"}},
                "required": ["type", "radius"],
            },
        ),
    ],
)
def test_a_class_stands_once_in_the_definitions(annotation: Any, definition: Any) -> None:
    found = arguments(dict[str, annotation]).schema["$defs"]
    found[annotation.__name__]["properties" if "properties" in definition else "prefixItems"]
    if annotation is User:
        assert found["User"]["properties"]["tags"].pop("default") == []
    assert found == {annotation.__name__: definition}


def test_two_classes_of_one_name_keep_two_definitions() -> None:
    other = attrs.make_class("User", {"id": attrs.field(type=int)})

    def f(a: User, b: other, c: User) -> None: ...  # type: ignore[valid-type]  # made at run time

    compiled = compile_arguments(f).schema
    assert [compiled["properties"][name]["$ref"] for name in "abc"] == [
        "#/$defs/User",
        "#/$defs/User_2",
        "#/$defs/User",
    ]
    assert set(compiled["$defs"]["User_2"]["properties"]) == {"id"}


def test_members_of_a_typed_dict_keep_their_order() -> None:
    assert list(schema_of(Plain)["properties"]) == ["zulu", "alpha"]


def test_an_annotation_goes_before_the_docstring() -> None:
    def f(
        a: Annotated[int, "one"],
        b: Annotated[int, Meta(description="two")],
        c: Annotated[int, pydantic.Field(description="three")],
        d: Annotated[int, at.doc("four")],
        e: int,
        g: Annotated[User, "six"],
        h: list[Annotated[int, "inside"]],
        i: int = pydantic.Field(1, description="nine"),
    ) -> None:
        """Do.

        Args:
            a: no
            b: no
            c: no
            d: no
            e: five
            g: no
            h: seven
            i: no
        """

    properties = compile_arguments(f).schema["properties"]
    texts = [prop["description"] for prop in properties.values()]
    assert texts == ["one", "two", "three", "four", "five", "six", "seven", "nine"]
    assert properties["g"]["$ref"] == "#/$defs/User"
    assert properties["h"]["items"] == {"type": "integer", "description": "inside"}


def test_extra_json_schema_reaches_the_property() -> None:
    region = Annotated[str, Meta(extra_json_schema={"x-mcp-header": "Region"}), "where"]
    assert schema(region) == {"type": "string", "x-mcp-header": "Region", "description": "where"}


def test_the_definitions_of_models_are_hoisted_and_renamed_where_they_collide() -> None:
    def models(kind: Any) -> Any:
        leaf = pydantic.create_model("Leaf", value=(kind, ...))
        return pydantic.create_model("Owner", leaf=(leaf, ...))

    first, second = models(int), models(str)

    def f(a: first, b: second, c: first) -> None: ...  # type: ignore[valid-type]  # made at run time

    compiled = compile_arguments(f)
    jsonschema_rs.meta.validate(compiled.schema)
    validator = jsonschema_rs.Draft202012Validator(compiled.schema)
    assert validator.is_valid({"a": {"leaf": {"value": 1}}, "b": {"leaf": {"value": "s"}}, "c": {"leaf": {"value": 1}}})
    assert not validator.is_valid(
        {"a": {"leaf": {"value": "s"}}, "b": {"leaf": {"value": "s"}}, "c": {"leaf": {"value": 1}}}
    )
    assert not validator.is_valid(
        {"a": {"leaf": {"value": 1}}, "b": {"leaf": {"value": 1}}, "c": {"leaf": {"value": 1}}}
    )
