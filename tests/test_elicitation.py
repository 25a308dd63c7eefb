"""Elicitation forms: what may be asked, what a type asks, and that no wrong answer passes."""

import contextlib
import datetime
import enum
import json
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, Required, TypedDict, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.elicitation import MAX_FAULTS, ElicitationFault, Elicited, Form
from trio_mcp.schema import Fault

T = TypeVar("T")


def accept(content):
    return {"action": "accept", "content": content}


def form_of(**properties):
    return Form.of({"type": "object", "properties": properties, "required": list(properties)})


def read(asked, value):
    return form_of(field=asked).read(accept({"field": value})).content["field"]


def faults_of(form, answer):
    with pytest.raises(ElicitationFault) as caught:
        form.read(answer)
    assert str(caught.value) == "\n".join(f"{fault.path}: {fault.message}" for fault in caught.value.faults)
    return [(fault.path, fault.message) for fault in caught.value.faults]


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Hex(enum.Enum):
    RED = "#f00"
    DARK_BLUE = "#008"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


TITLED = [{"const": "#f00", "title": "Red"}, {"const": "#008", "title": "Dark blue"}]


@dataclass
class Address:
    street: str


@dataclass
class Contact:
    """Whom to call.

    Args:
        name: the full name
    """

    name: str
    age: Annotated[int, msgspec.Meta(ge=18, le=120)]
    score: Annotated[float, msgspec.Meta(gt=0, description="0 to 1")] = 0.5
    colour: Colour = Colour.RED
    hex: Hex | None = None
    tags: list[Literal["x", "y"]] = field(default_factory=list)
    born: datetime.date | None = None
    nick: str | None = "none"
    agreed: bool = False


# the answer's outline


def test_an_accepted_answer_gives_its_content():
    form = form_of(name={"type": "string"})
    assert form.read(accept({"name": "octocat"})) == Elicited("accept", {"name": "octocat"})


@pytest.mark.parametrize("wrap", [lambda text: text, msgspec.Raw, bytearray])
def test_an_answer_may_be_json_text(wrap):
    form = form_of(name={"type": "string"})
    assert form.read(wrap(b'{"action":"accept","content":{"name":"o"}}')) == Elicited("accept", {"name": "o"})


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_declined_and_cancelled_answers_have_no_content_whatever_they_carry(action):
    form = form_of(name={"type": "string"})
    assert form.read({"action": action}) == Elicited(action)
    assert form.read({"action": action, "content": {"name": 1}}) == Elicited(action, None)
    assert Form.of(Contact).read({"action": action, "content": None}) == Elicited(action)


@pytest.mark.parametrize(
    ("answer", "path", "message"),
    [
        (b"", "$", "not valid JSON"),
        (b"{", "$", "not valid JSON"),
        (b'{"action": "\xff"}', "$", "not valid JSON"),
        (b"[" * 100_000, "$", "not valid JSON"),
        (None, "$", "not valid JSON"),
        (b"null", "$", "expected an object, got null"),
        (b"[]", "$", "expected an object, got an array"),
        (b'"accept"', "$", "expected an object, got a string"),
        ({}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": "accepted"}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": ["accept"]}, "$.action", "must be one of accept, decline, cancel"),
        ({"action": "accept"}, "$.content.name", "missing"),
        ({"action": "accept", "content": None}, "$.content.name", "missing"),
        ({"action": "accept", "content": []}, "$.content", "expected an object, got an array"),
        ({"action": "accept", "content": "x"}, "$.content", "expected an object, got a string"),
        ({"action": "accept", "content": {"name": None}}, "$.content.name", "expected a string, got null"),
        ({"action": "accept", "content": {"name": 12345}}, "$.content.name", "expected a string, got an integer"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, path, message):
    assert faults_of(form_of(name={"type": "string"}), answer) == [(path, message)]


def test_every_fault_of_an_answer_is_listed():
    form = form_of(
        user_name={"type": "string"},
        age={"type": "integer", "minimum": 18},
        mail={"type": "string", "format": "email", "maxLength": 5},
        colours={"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
        sure={"type": "boolean"},
    )
    answer = accept({"user_name": 12345, "age": 3, "mail": "nobody", "colours": ["a", "c", 1]})
    assert faults_of(form, answer) == [
        ("$.content.user_name", "expected a string, got an integer"),
        ("$.content.age", "must be ≥ 18"),
        ("$.content.mail", "must have a length ≤ 5"),
        ("$.content.mail", "expected a valid email"),
        ("$.content.colours", "must have 2 items or fewer"),
        ("$.content.colours[1]", "must be one of 'a', 'b'"),
        ("$.content.colours[2]", "expected a string, got an integer"),
        ("$.content.sure", "missing"),
    ]


def test_a_hostile_answer_is_told_of_a_bounded_number_of_faults():
    colours = {"type": "array", "items": {"type": "string", "enum": ["a"]}}
    assert len(faults_of(form_of(c=colours), accept({"c": [0] * 10_000}))) == MAX_FAULTS
    closed = Form.of({"type": "object", "properties": {}, "additionalProperties": False})
    assert len(faults_of(closed, accept({str(n): 1 for n in range(10_000)}))) == MAX_FAULTS


def test_fields_that_were_not_asked_for_are_dropped_or_refused_where_the_schema_is_closed():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert Form.of(schema).read(accept({"a": "1", "b": "2"})).content == {"a": "1"}
    closed = Form.of({**schema, "additionalProperties": False})
    assert faults_of(closed, accept({"a": "1", "b": "2"})) == [("$.content.b", "unknown")]


def test_defaults_are_filled_in_and_nulls_of_optional_fields_count_as_left_out():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "idle"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a"]}, "default": ["a"]},
            "note": {"type": "string"},
        },
        "required": ["name"],
    }
    form = Form.of(schema)
    assert form.requested_schema is schema
    filled = form.read(accept({"age": None, "note": None, "verified": False})).content
    expected = {"name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": False, "tags": ["a"]}
    assert filled == expected
    filled["tags"].append("changed")
    assert form.read(accept({})).content["tags"] == ["a"]
    assert faults_of(form, accept({"name": None})) == [("$.content.name", "expected a string, got null")]


def test_an_empty_form_asks_only_for_consent():
    for nothing in (None, type(None)):
        form = Form.of(nothing)
        assert form.requested_schema == {"type": "object", "properties": {}}
        assert form.read({"action": "accept"}) == Elicited("accept", None)
        assert form.read(accept({"a": 1})) == Elicited("accept", None)


def test_in_url_mode_only_the_action_is_read():
    assert Form.read_action(b'{"action":"accept"}') == Elicited("accept")
    assert Form.read_action({"action": "decline", "content": 3}) == Elicited("decline")
    with pytest.raises(ElicitationFault, match=r"\$.action: must be one of"):
        Form.read_action({"action": "yes"})
    with pytest.raises(ElicitationFault, match="not valid JSON"):
        Form.read_action(b"")


# single values


@pytest.mark.parametrize(
    ("asked", "value", "expected"),
    [
        ({"type": "string"}, "", ""),
        ({"type": "string", "minLength": 2, "maxLength": 2}, "éé", "éé"),
        ({"type": "string", "pattern": "^[A-Z]"}, "Ab", "Ab"),
        ({"type": "string", "pattern": "b"}, "abc", "abc"),
        ({"type": "integer"}, 5, 5),
        ({"type": "integer"}, 5.0, 5),
        ({"type": "integer", "minimum": 5, "maximum": 5}, 5, 5),
        ({"type": "number"}, 5, 5),
        ({"type": "number"}, 5.5, 5.5),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, 1.5, 1.5),
        ({"type": "boolean"}, False, False),
        ({"type": "string", "enum": ["a", "b"]}, "b", "b"),
        ({"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}, "a", "a"),
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}, "a", "a"),
        ({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}, ["b", "a"], ["b", "a"]),
        ({"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}, ["a"], ["a"]),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, [], []),
        ({"type": "string", "format": "email"}, "octo.cat+1@mail.github.com", None),
        ({"type": "string", "format": "email"}, "me@localhost", None),
        ({"type": "string", "format": "uri"}, "https://a.b/c?d=e#f", None),
        ({"type": "string", "format": "uri"}, "urn:isbn:0451450523", None),
        ({"type": "string", "format": "date"}, "2024-02-29", None),
        ({"type": "string", "format": "date-time"}, "2024-02-29T23:59:59Z", None),
        ({"type": "string", "format": "date-time"}, "2024-02-29t23:59:59.123456789+05:30", None),
        ({"type": "string", "format": "phone"}, "anything", None),
    ],
)
def test_a_value_that_fits_passes(asked, value, expected):
    found = read(asked, value)
    assert found == (value if expected is None else expected)
    assert type(found) is type(value if expected is None else expected)


@pytest.mark.parametrize(
    ("asked", "value", "message"),
    [
        ({"type": "string"}, True, "expected a string, got a boolean"),
        ({"type": "string"}, ["a"], "expected a string, got an array"),
        ({"type": "string"}, {}, "expected a string, got an object"),
        ({"type": "string", "minLength": 2}, "é", "must have a length ≥ 2"),
        ({"type": "string", "pattern": "^[A-Z]"}, "ab", "must match the pattern '^[A-Z]'"),
        ({"type": "integer"}, "5", "expected an integer, got a string"),
        ({"type": "integer"}, 5.5, "expected an integer, got a number"),
        ({"type": "integer"}, True, "expected an integer, got a boolean"),
        ({"type": "integer"}, float("inf"), "expected an integer, got a number"),
        ({"type": "integer", "maximum": 4}, 5, "must be ≤ 4"),
        ({"type": "number"}, "5", "expected a number, got a string"),
        ({"type": "number"}, False, "expected a number, got a boolean"),
        ({"type": "number"}, float("nan"), "expected a number, got a number"),
        ({"type": "number", "exclusiveMinimum": 1}, 1, "must be > 1"),
        ({"type": "number", "exclusiveMaximum": 1}, 1, "must be < 1"),
        ({"type": "boolean"}, 1, "expected true or false, got an integer"),
        ({"type": "boolean"}, "true", "expected true or false, got a string"),
        ({"type": "string", "enum": ["a", "b"]}, "c", "must be one of 'a', 'b'"),
        ({"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}, "A", "must be one of 'a', 'b'"),
        ({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}, "A", "must be one of 'a'"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, "a", "expected an array, got a string"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}, "minItems": 1}, [], "must have 1 items or more"),
        ({"type": "string", "format": "email"}, "octocat", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@b@c", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a b@c.d", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@b..c", "expected a valid email"),
        ({"type": "string", "format": "email"}, "a@" + "b" * 400, "expected a valid email"),
        ({"type": "string", "format": "uri"}, "/relative", "expected a valid uri"),
        ({"type": "string", "format": "uri"}, "http://a b", "expected a valid uri"),
        ({"type": "string", "format": "date"}, "2023-02-29", "expected a valid date"),
        ({"type": "string", "format": "date"}, "20240229", "expected a valid date"),
        ({"type": "string", "format": "date"}, "2024-W01-1", "expected a valid date"),
        ({"type": "string", "format": "date"}, "2024-02-29\n", "expected a valid date"),
        ({"type": "string", "format": "date-time"}, "2024-02-29", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T23:59:59", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-30T23:59:59Z", "expected a valid date-time"),
        ({"type": "string", "format": "date-time"}, "2024-02-29T25:00:00Z", "expected a valid date-time"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(asked, value, message):
    path = "$.content.field"
    assert faults_of(form_of(field=asked), accept({"field": value})) == [(path, message)]


def test_many_options_are_not_all_recited():
    options = [f"option-{n}" for n in range(100)]
    ((_, message),) = faults_of(form_of(a={"type": "string", "enum": options}), accept({"a": "x"}))
    assert "'option-29', …" in message
    assert "option-30" not in message


# schemas as given


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "an elicitation schema is an object"),
        ({"type": "object"}, "an elicitation schema is an object"),
        ({"type": "string", "properties": {}}, "an elicitation schema is an object"),
        ({"type": "object", "properties": []}, "an elicitation schema is an object"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "required names 'a'"),
        ({"type": "object", "properties": {}, "required": "a"}, "required is a list"),
    ],
)
def test_a_schema_that_is_no_object_is_refused(schema, words):
    with pytest.raises(ValueError, match=words):
        Form.of(schema)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"type": "object", "properties": {}}, "only for flat fields: .*'object'"),
        ({"$ref": "#/$defs/A"}, "only for flat fields"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "only for flat fields"),
        ({"type": ["string", "null"]}, "leave a field that may be empty out of required"),
        ({"enum": ["a"]}, "only for flat fields"),
        ("string", "only for flat fields"),
        ({"type": "array"}, "a choice of several"),
        ({"type": "array", "items": {"type": "string"}}, "a choice of several"),
        ({"type": "array", "items": {"type": "object"}}, "a choice of several"),
        ({"type": "array", "items": {"enum": [1]}}, "options are one string or more"),
        ({"type": "string", "enum": []}, "options are one string or more"),
        ({"type": "string", "enum": "abc"}, "enum is a list of strings"),
        ({"type": "string", "oneOf": ["a"]}, "oneOf is a list of options"),
        ({"type": "string", "oneOf": [{"title": "A"}]}, "oneOf is a list of options"),
        ({"type": "array", "items": {"anyOf": {"const": "a"}}}, "anyOf is a list of options"),
        ({"type": "string", "pattern": "("}, "no regular expression"),
        ({"type": "string", "pattern": 3}, "no regular expression"),
        ({"type": "string", "minLength": "3"}, "minLength is a number, not '3'"),
        ({"type": "integer", "minimum": True}, "minimum is a number, not True"),
        ({"type": "array", "minItems": None, "items": {"enum": ["a"]}}, "minItems is a number"),
        ({"type": "string", "default": 3}, "its default does not fit: expected a string"),
        ({"type": "string", "enum": ["a"], "default": "b"}, "its default does not fit: must be one of 'a'"),
        ({"type": "integer", "maximum": 3, "default": 4}, "its default does not fit: must be ≤ 3"),
    ],
)
def test_a_field_that_no_form_can_show_is_refused_by_name(asked, words):
    with pytest.raises(ValueError, match=f"field 'field': .*{words}"):
        form_of(field=asked)


# types


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


def test_a_fault_holds_its_path_and_message():
    fault = ElicitationFault([Fault("$.content.a", "missing"), Fault("$.content.b", "unknown")])
    assert str(fault) == "$.content.a: missing\n$.content.b: unknown"
    assert isinstance(fault, ValueError)


# anything


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FORMS = [
    Form.of(Contact),
    Form.of(str | None),
    Form.of(list[Hex]),
    Form.of(None),
    form_of(a={"type": "integer"}, b={"type": "string", "format": "date-time"}),
]
names = st.sampled_from(["value", "a", "b", *Contact.__dataclass_fields__])


@given(json_values | st.dictionaries(names, json_values), st.sampled_from(FORMS))
def test_no_content_makes_reading_raise_anything_but_its_own_fault(content, form):
    with contextlib.suppress(ElicitationFault):
        assert form.read(accept(content)).action == "accept"


@given(json_values, st.sampled_from(FORMS))
def test_no_answer_makes_reading_raise_anything_but_its_own_fault(answer, form):
    with pytest.raises(ElicitationFault):
        form.read(json.dumps(answer).encode())
