"""Constraints, whichever library says them, wherever they stand; and what cannot be expressed."""

import datetime as dt
import decimal
import enum
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, cast

import annotated_types as at
import msgspec
import pydantic
import pytest
from msgspec import Meta

from tests.schema.samples import (
    Bounded,
    Capped,
    Cat,
    Context,
    Either,
    F,
    Point,
    Small,
    T,
    decode,
    faults,
    refusal,
    schema,
)

LIMITS: list[tuple[Any, dict[str, Any], Any, Any]] = [
    (Annotated[int, at.Gt(1)], {"type": "integer", "exclusiveMinimum": 1}, 2, 1),
    (Annotated[int, at.Ge(1.5)], {"type": "integer", "minimum": 2}, 2, 1),
    (Annotated[int, at.Lt(1.5)], {"type": "integer", "exclusiveMaximum": 2}, 1, 2),
    (Annotated[float, at.Lt(1)], {"type": "number", "exclusiveMaximum": 1}, 0.5, 1.0),
    (Annotated[float, at.Le(1)], {"type": "number", "maximum": 1}, 1, 1.5),
    (Annotated[int, at.Interval(ge=1, le=3)], {"type": "integer", "minimum": 1, "maximum": 3}, 3, 4),
    (Annotated[int, at.MultipleOf(3)], {"type": "integer", "multipleOf": 3}, 6, 7),
    (Annotated[str, at.MinLen(2)], {"type": "string", "minLength": 2}, "ab", "a"),
    (Annotated[str, at.Len(1, 2)], {"type": "string", "minLength": 1, "maxLength": 2}, "ab", "abc"),
    (Annotated[list[int], at.MaxLen(1)], {"type": "array", "items": {"type": "integer"}, "maxItems": 1}, [1], [1, 2]),
    (Annotated[dict[str, int], at.MinLen(1)],
     {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1}, {"a": 1}, {}),
    (Annotated[dt.datetime, at.Timezone(...)], {"type": "string", "format": "date-time"},
     "2026-01-31T00:00:00Z", "2026-01-31T00:00:00"),
    (list[Annotated[int, at.Ge(0)]], {"type": "array", "items": {"type": "integer", "minimum": 0}}, [0], [-1]),
    (Annotated[int | None, at.Ge(0)], {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}, None, -1),
    (Annotated[int | float, Meta(ge=0)],
     {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0}]}, 0.5, -0.5),
    (Annotated[int, at.Gt(1), at.Ge(5), Meta(le=9), at.Le(7)], {"type": "integer", "minimum": 5, "maximum": 7}, 7, 8),
    (Annotated[int, at.Gt(5), at.Ge(5)], {"type": "integer", "exclusiveMinimum": 5}, 6, 5),
    (Annotated[Annotated[int, Meta(ge=1)] | None, "text"],
     {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "description": "text"}, 1, 0),
    (Annotated[Small, at.Le(5)], {"type": "integer", "minimum": 1, "maximum": 5, "description": "small"}, 5, 0),
    (Annotated[Annotated[int, at.Gt(1)] | None, at.Gt(3)],
     {"anyOf": [{"type": "integer", "exclusiveMinimum": 3}, {"type": "null"}]}, 4, 3),
    (Annotated[int, at.Ge(1), at.Ge(3)], {"type": "integer", "minimum": 3}, 3, 2),
    (Capped, {"type": "integer", "maximum": 3}, 3, 4),
    (Either, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "a", []),
    (dict[Annotated[str, at.MaxLen(1)], int],
     {"type": "object", "propertyNames": {"maxLength": 1}, "additionalProperties": {"type": "integer"}},
     {"a": 1}, {"ab": 1}),
    (tuple[Annotated[int, at.Ge(1)], ...], {"type": "array", "items": {"type": "integer", "minimum": 1}}, [1], [0]),
    (pydantic.PositiveInt, {"type": "integer", "exclusiveMinimum": 0}, 1, 0),
    (pydantic.conlist(int, min_length=1), {"type": "array", "items": {"type": "integer"}, "minItems": 1}, [1], []),
    (Annotated[str, F(pattern="^a", max_length=3, title="T", examples=["a"])],
     {"type": "string", "pattern": "^a", "maxLength": 3, "title": "T", "examples": ["a"]}, "ab", "b"),
    (Annotated[int, F(json_schema_extra={"x-unit": "m"}, deprecated=True, multiple_of=2)],
     {"type": "integer", "multipleOf": 2, "x-unit": "m", "deprecated": True}, 2, 3),
    (Annotated[str, pydantic.StringConstraints(min_length=2, pattern="^b")],
     {"type": "string", "minLength": 2, "pattern": "^b"}, "bb", "b"),
    (Annotated[float, F(strict=True, gt=0)], {"type": "number", "exclusiveMinimum": 0}, 1.5, 0.0),
    (Annotated[str, Meta(pattern="(?P<a>x)y")], {"type": "string", "pattern": "(?<a>x)y"}, "xy", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "wanted", "good", "bad"), LIMITS, ids=lambda item: str(item)[:50])
@pytest.mark.parametrize("strict", [False, True])
def test_a_constraint_is_shown_and_checked(annotation: Any, wanted: Any, good: Any, bad: Any, strict: bool) -> None:
    assert schema(annotation) == wanted
    decode(annotation, good, strict=strict)
    assert len(faults(annotation, bad, strict=strict)) == 1


@dataclass
class LimitedDataclass:
    n: Annotated[int, at.Ge(1)]
    m: int = 5


class LimitedDict(TypedDict, total=False):
    n: Annotated[int, pydantic.Field(ge=1, alias="number")]
    m: int


class LimitedTuple(NamedTuple):
    n: Annotated[int, at.Ge(1)]
    m: int = 5


class LimitedStruct(msgspec.Struct, rename="camel", tag="limited"):
    my_n: Annotated[int, at.Ge(1)]
    m: int = 5


@dataclass
class LimitedPage(Generic[T]):
    items: Annotated[list[T], at.MinLen(1)]


@pytest.mark.parametrize(
    ("annotation", "good", "result", "bad", "path"),
    [
        (LimitedDataclass, {"n": "1"}, LimitedDataclass(1), {"n": 0}, "$.x.n"),
        (LimitedDict, {"number": 1}, {"n": 1}, {"number": 0}, "$.x.number"),
        (LimitedTuple, [1], LimitedTuple(1), [0], "$.x[0]"),
        (LimitedStruct, {"type": "limited", "myN": 1, "m": 2}, LimitedStruct(1, 2), {"myN": 0}, "$.x.myN"),
        (Bounded, {"n": 1, "inner": []}, Bounded(1), {"n": 1, "inner": [{"n": 0}]}, "$.x.inner[0].n"),
        (
            LimitedPage[Bounded],
            {"items": [{"n": 1}]},
            LimitedPage([Bounded(1)]),
            {"items": [{"n": 0}]},
            "$.x.items[0].n",
        ),
        (LimitedPage[Point], {"items": [{"x": 1}]}, LimitedPage([Point(1)]), {"items": [{}]}, "$.x.items[0].x"),
        (list[LimitedDataclass | None], [{"n": 1}, None], [LimitedDataclass(1), None], [{"n": 0}], "$.x[0].n"),
        (LimitedDataclass | Cat, {"meow": 1}, Cat(1), {"n": 0}, "$.x.n"),
    ],
)
def test_a_constraint_inside_a_class_is_checked(annotation: Any, good: Any, result: Any, bad: Any, path: str) -> None:
    assert decode(annotation, good) == result
    assert [found for found, _ in faults(annotation, bad)] == [path]


def test_the_constructor_of_a_class_still_rules() -> None:
    @dataclass
    class Even:
        n: Annotated[int, at.Ge(0)]

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("n must be even")

    assert decode(Even, {"n": 2}) == Even(2)
    assert faults(Even, {"n": 3}) == [("$.x", "n must be even")]


def test_pydantic_validators_run_in_an_annotation() -> None:
    shout = Annotated[str, pydantic.AfterValidator(str.upper), "loud"]
    assert decode(shout, "a") == "A"
    assert schema(shout) == {"type": "string", "description": "loud"}
    assert decode(list[shout], ["a"]) == ["A"]


def test_models_are_told_apart_in_a_union() -> None:
    class Fish(pydantic.BaseModel):
        fins: int = 0

    class Bird(pydantic.BaseModel):
        wings: int = 0

    assert decode(Fish | Bird, {"wings": 2}) == Bird(wings=2)
    assert decode(Fish | Bird | None, None) is None
    assert decode(list[Fish | int], [{"fins": 1}, 2]) == [Fish(fins=1), 2]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, at.Predicate(bool)], "Predicate"),
        (Annotated[int, at.Unit("m")], "Unit"),
        (list[Annotated[int, at.Predicate(bool)]], "Predicate"),
        (Annotated[str, at.Ge(1)], "ge=1 cannot be checked on str"),
        (Annotated[decimal.Decimal, at.Gt(0)], "gt=0 cannot be checked on Decimal"),
        (Annotated[Any, at.Gt(0)], "gt=0"),
        (Annotated[str | None, at.Gt(0)], "gt cannot be checked"),
        (Annotated[int, at.MultipleOf(1.5)], "whole number"),
        (Annotated[int, at.MultipleOf(2), at.MultipleOf(3)], "given twice"),
        (Annotated[str, F(pattern="[")], "pattern"),
        (Annotated[int, F(json_schema_extra=lambda extra: None)], "json_schema_extra"),
        (Annotated[pydantic.EmailStr, "needs a package"], "email-validator"),
        (pydantic.create_model("Far", a=(cast(Any, "Nowhere"), ...)), "Far"),
        (Annotated[Context, pydantic.AfterValidator(abs)], "pydantic cannot build"),
        (Annotated[int, Meta(ge=1), at.Gt("a")], "not supported"),
        (msgspec.msgpack.Ext, "no JSON form"),
        (Annotated[int, F(alias=None, validation_alias=pydantic.AliasChoices("a", "b"))], "alias"),
        (Annotated[int, F(default_factory=lambda data: 1)], "default_factory"),
        (list[Annotated[int, F(default=1)]], "default"),
        (Annotated[int, Meta(ge=1), pydantic.AfterValidator(abs)], "Meta"),
        (complex, "complex has no JSON form"),
        (Context, "Context has no JSON form"),
        (list[Context], "Context has no JSON form"),
        (Callable[[int], int], "Callable"),
        (Literal[b"a"], "no JSON form"),
        (enum.Enum("Odd", {"A": (1, 2)}), "no JSON form"),
        ("Nowhere", "Nowhere"),
        (types.GenericAlias(list, ("Nowhere",)), "Nowhere"),
    ],
    ids=lambda item: re.sub(" at 0x[0-9a-f]+", "", str(item)),
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused_by_name(annotation: Any, words: str) -> None:
    assert words in refusal(annotation)


def test_a_fault_in_a_class_names_its_field() -> None:
    @dataclass
    class Late:
        n: int = F(ge=1)

    odd: Any = dataclass(type("Odd", (), {"__annotations__": {"n": Annotated[int, at.Predicate(bool)]}}))
    assert "field 'n' of Odd" in refusal(odd)
    assert "Late.n" in refusal(Late)
