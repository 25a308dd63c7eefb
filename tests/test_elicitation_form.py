"""What form a Python type makes, and that its answer becomes an instance of it."""

import datetime
import enum
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, Required, TypedDict, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
import pytest

from tests.elicitation_samples import TITLED, Colour, Contact, Hex, accept, faults_of
from trio_mcp.elicitation import Elicited, Form

T = TypeVar("T")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Address:
    street: str


def test_a_dataclass_becomes_a_flat_form():
    assert Form.of(Contact).requested_schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "the full name"},
            "age": {"type": "integer", "minimum": 18, "maximum": 120},
            "score": {"type": "number", "description": "0 to 1", "default": 0.5},
            "colour": {"type": "string", "enum": ["red", "dark-blue"], "default": "red"},
            "hex": {"type": "string", "oneOf": TITLED},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "default": []},
            "born": {"type": "string", "format": "date"},
            "nick": {"type": "string", "default": "none"},
            "agreed": {"type": "boolean", "default": False},
        },
        "required": ["name", "age"],
    }


def test_an_answer_to_a_type_is_an_instance_of_it():
    form = Form.of(Contact)
    answer = form.read(
        accept({"name": "A", "age": 20.0, "hex": "#008", "tags": ["y"], "born": "2000-01-31", "more": 1})
    )
    born = datetime.date(2000, 1, 31)
    assert answer.content == Contact("A", 20, hex=Hex.DARK_BLUE, tags=["y"], born=born)
    assert form.read(accept({"name": "A", "age": 20})).content == Contact("A", 20)
    everything_null = dict.fromkeys(["score", "colour", "hex", "tags", "born", "nick", "agreed"])
    assert form.read(accept({"name": "A", "age": 20, **everything_null})).content == Contact("A", 20)


def test_an_answer_that_does_not_fit_a_type_is_refused_with_every_fault():
    answer = accept({"name": 12345, "age": "20", "colour": "green", "hex": "RED", "born": "31.1.2000", "agreed": "no"})
    assert faults_of(Form.of(Contact), answer) == [
        ("$.content.name", "expected a string, got an integer"),
        ("$.content.age", "expected an integer, got a string"),
        ("$.content.colour", "must be one of 'red', 'dark-blue'"),
        ("$.content.hex", "must be one of '#f00', '#008'"),
        ("$.content.born", "expected a valid date"),
        ("$.content.agreed", "expected true or false, got a string"),
    ]
    assert [path for path, _ in faults_of(Form.of(Contact), {"action": "accept"})] == [
        "$.content.name",
        "$.content.age",
    ]


def test_what_a_form_cannot_say_still_binds_the_answer():
    @attrs.define
    class Order:
        id: uuid.UUID
        price: Annotated[float, annotated_types.Gt(0)]
        count: Annotated[int, annotated_types.Gt(0), annotated_types.Lt(10)] = 1

    form = Form.of(Order)
    assert form.requested_schema["properties"] == {
        "id": {"type": "string"},
        "price": {"type": "number"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
    }
    found = form.read(accept({"id": str(uuid.UUID(int=1)), "price": 2})).content
    assert found == Order(uuid.UUID(int=1), 2.0)
    faults = faults_of(form, accept({"id": "x", "price": 0}))
    assert [path for path, _ in faults] == ["$.content.id", "$.content.price"]


def test_an_attrs_class_a_struct_and_a_typed_dict_are_forms():
    @attrs.define
    class One:
        a: str

    class Two(msgspec.Struct, rename="camel"):
        first_name: str

    class Three(TypedDict, total=False):
        a: Required[int]
        b: str

    assert Form.of(One).read(accept({"a": "x"})).content == One("x")
    two = Form.of(Two)
    assert list(two.requested_schema["properties"]) == ["firstName"]
    assert two.read(accept({"firstName": "x"})).content == Two("x")
    three = Form.of(Three)
    assert three.requested_schema["required"] == ["a"]
    assert three.read(accept({"a": 1})).content == {"a": 1}


def test_a_named_tuple_is_a_form_of_its_fields():
    class Place(NamedTuple):
        name: str
        colour: Hex | None
        zoom: int = 3
        tags: list[Literal["a", "b"]] = ["a"]  # noqa: RUF012 - a NamedTuple's default, mutable on purpose

    form = Form.of(Place)
    assert form.requested_schema["required"] == ["name"]
    assert form.requested_schema["properties"]["zoom"] == {"type": "integer", "default": 3}
    assert form.requested_schema["properties"]["colour"] == {"type": "string", "oneOf": TITLED}
    assert form.read(accept({"name": "x"})).content == Place("x", None, 3, ["a"])
    found = form.read(accept({"name": "x", "colour": "#f00", "zoom": 4, "tags": ["b"]})).content
    assert found == Place("x", Hex.RED, 4, ["b"])
    assert type(found) is Place


def test_a_pydantic_model_is_a_form():
    class Model(pydantic.BaseModel):
        mail: str = pydantic.Field(min_length=3, description="Where to write")
        colour: Colour = Colour.RED
        several: list[Hex] = []
        kind: Literal["fixed"] = "fixed"
        age: int | None = None
        one: list[Literal["only"]] = []

    form = Form.of(Model)
    properties: dict[str, Any] = form.requested_schema["properties"]
    assert set(properties) == {"mail", "colour", "several", "age", "one"}
    assert properties["one"]["items"] == {"type": "string", "enum": ["only"]}
    assert properties["mail"]["minLength"] == 3
    assert properties["mail"]["description"] == "Where to write"
    assert properties["colour"]["enum"] == ["red", "dark-blue"]
    assert properties["several"]["items"] == {"anyOf": TITLED}
    assert properties["age"]["type"] == "integer"
    assert form.requested_schema["required"] == ["mail"]
    found = form.read(accept({"mail": "a@b", "several": ["#f00"]})).content
    assert found == Model(mail="a@b", several=[Hex.RED])
    assert faults_of(form, accept({"mail": "a"})) == [("$.content.mail", "must have a length ≥ 3")]


def test_an_annotated_or_generic_class_is_the_form_of_its_fields():
    class Pair(msgspec.Struct, Generic[T]):
        first: T

    assert Form.of(Annotated[Contact, "whom"]).requested_schema == Form.of(Contact).requested_schema
    assert Form.of(Pair[int]).read(accept({"first": 1})).content == Pair(1)


def test_a_tag_is_not_asked_and_is_put_back():
    class Tagged(msgspec.Struct, tag=True):
        a: str

    form = Form.of(Tagged)
    assert list(form.requested_schema["properties"]) == ["a"]
    assert form.requested_schema["required"] == ["a"]
    assert form.read(accept({"a": "x"})).content == Tagged("x")


def test_a_required_field_that_may_be_none_is_none_when_left_out():
    @dataclass
    class Maybe:
        a: str | None

    form = Form.of(Maybe)
    assert "required" not in form.requested_schema
    assert form.read({"action": "accept"}).content == Maybe(None)
    assert form.read(accept({"a": "x"})).content == Maybe("x")


@pytest.mark.parametrize(
    ("type_", "asked", "value", "expected"),
    [
        (str, {"type": "string"}, "a", "a"),
        (int, {"type": "integer"}, 3, 3),
        (float, {"type": "number"}, 3, 3.0),
        (bool, {"type": "boolean"}, True, True),
        (Colour, {"type": "string", "enum": ["red", "dark-blue"]}, "red", Colour.RED),
        (Hex, {"type": "string", "oneOf": TITLED}, "#f00", Hex.RED),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, "b", "b"),
        (
            list[Literal["a", "b"]],
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            ["b"],
            ["b"],
        ),
        (list[Hex], {"type": "array", "items": {"anyOf": TITLED}}, ["#008"], [Hex.DARK_BLUE]),
        (
            Annotated[str, msgspec.Meta(min_length=2, title="T")],
            {"type": "string", "title": "T", "minLength": 2},
            "ab",
            "ab",
        ),
        (
            datetime.datetime,
            {"type": "string", "format": "date-time"},
            "2026-01-31T12:00:00Z",
            datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
        ),
    ],
)
def test_a_type_without_fields_is_asked_as_one_value_and_unwrapped(type_, asked, value, expected):
    form = Form.of(type_)
    assert form.requested_schema == {"type": "object", "properties": {"value": asked}, "required": ["value"]}
    found = form.read(accept({"value": value}))
    assert found == Elicited("accept", expected)
    assert type(found.content) is type(expected)
    assert faults_of(form, accept({})) == [("$.content.value", "missing")]
    assert [path for path, _ in faults_of(form, accept({"value": {}}))] == ["$.content.value"]


def test_an_optional_value_may_be_left_out():
    form = Form.of(str | None)
    assert form.requested_schema == {"type": "object", "properties": {"value": {"type": "string"}}}
    assert form.read({"action": "accept"}) == Elicited("accept", None)
    assert form.read(accept({"value": "a"})) == Elicited("accept", "a")


def test_a_value_that_only_the_type_refuses_names_the_field():
    faults = faults_of(Form.of(uuid.UUID), accept({"value": "x"}))
    assert faults == [("$.content.value", "expected a UUID")]


@dataclass
class Nested:
    name: str
    address: Address


@dataclass
class Listed:
    names: list[str]


@dataclass
class Either:
    value: int | str


@dataclass
class Numbered:
    level: Level


@dataclass
class Mapped:
    values: dict[str, int]


@dataclass
class Unknown:
    socket: object


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (Nested, "cannot elicit Nested: field 'address': .*only for flat fields.*second elicit"),
        (Listed, "cannot elicit Listed: field 'names': .*a choice of several"),
        (Either, "cannot elicit Either: field 'value': .*of several types"),
        (Numbered, "cannot elicit Numbered: field 'level': options are strings"),
        (Mapped, "cannot elicit Mapped: field 'values': .*only for flat fields"),
        (Unknown, "cannot elicit Unknown: "),
        (list[int], "cannot elicit .*only for flat fields|a choice of several"),
        (dict[str, int], "cannot elicit .*only for flat fields"),
        (list[Address], "cannot elicit .*only for flat fields"),
        (Literal[1, 2], "cannot elicit .*options are strings"),
        (object(), "cannot elicit"),
        ("string", "cannot elicit"),
    ],
)
def test_a_type_that_is_not_flat_is_refused_with_the_field_and_what_to_do(type_, words):
    with pytest.raises(ValueError, match=words):
        Form.of(type_)
