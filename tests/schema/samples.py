"""Types of every kind, and compiling, decoding and refusing a parameter of one type."""

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import annotated_types as at
import attrs
import jsonschema_rs
import msgspec
import pydantic
import pytest
from msgspec import Meta

from trio_mcp.schema import (
    Arguments,
    ArgumentsError,
    SchemaError,
    compile_arguments,
)

T = TypeVar("T")
Name = NewType("Name", str)
Small = NewType("Small", Annotated[int, Meta(ge=1, description="small")])
Either = TypeVar("Either", int, str)
Capped = TypeVar("Capped", bound=Annotated[int, at.Le(3)])


class Plain(TypedDict):
    zulu: int
    alpha: str


class Context:
    """Stands for what the server injects."""


class Special(Context):
    pass


class Image:
    """Stands for a content block."""


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    HALF = 0.5
    WORD = "word"


@dataclass
class User:
    """Somebody.

    Attributes:
        name: What they are called.
    """

    name: str
    age: Annotated[int, "in years"] = 0
    tags: list[str] = field(default_factory=list)


@attrs.define
class Point:
    x: int
    y: int = 2


class Options(TypedDict):
    depth: int
    label: NotRequired[Annotated[str, at.MinLen(2)]]


class Pair(NamedTuple):
    first: int
    second: str = "b"


class Tree(msgspec.Struct):
    value: int
    children: list["Tree"] = []


@attrs.define
class Bounded:
    n: Annotated[int, at.Interval(ge=1, lt=10)]
    inner: "list[Bounded]" = attrs.Factory(list)


@dataclass
class Cat:
    meow: int = 0


@dataclass
class Dog:
    bark: int = 0


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float


@dataclass
class Page(Generic[T]):
    items: list[T]
    total: int = 0


class Model(pydantic.BaseModel):
    size: int = pydantic.Field(ge=1)
    child: "Model | None" = None
    when: dt.datetime | None = None


NOW = dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
F = pydantic.Field


def arguments(annotation: Any, default: Any = ..., *, strict: bool = False) -> Arguments:
    """The compiled parameters of `f(x: annotation = default)`."""

    def f(x: Any) -> None: ...

    f.__annotations__["x"] = annotation
    if default is not ...:
        f.__defaults__ = (default,)
    compiled = compile_arguments(f, strict=strict)
    jsonschema_rs.meta.validate(compiled.schema)
    jsonschema_rs.Draft202012Validator(compiled.schema)
    return compiled


def schema(annotation: Any) -> dict[str, Any]:
    compiled: dict[str, Any] = arguments(annotation).schema["properties"]["x"]
    return compiled


def decode(annotation: Any, value: Any, *, strict: bool = False) -> Any:
    return arguments(annotation, strict=strict).decode(msgspec.json.encode({"x": value}))["x"]


def faults(annotation: Any, value: Any, *, strict: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(ArgumentsError) as caught:
        decode(annotation, value, strict=strict)
    return [(fault.path, fault.message) for fault in caught.value.faults]


def refusal(annotation: Any, default: Any = ...) -> str:
    with pytest.raises(SchemaError) as caught:
        arguments(annotation, default)
    text = str(caught.value)
    assert text.startswith("arguments.<locals>.f(): parameter 'x': ")
    return text
