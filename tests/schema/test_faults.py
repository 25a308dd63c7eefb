"""Every fault is listed, with its path and in plain words, at a bounded cost."""

import datetime as dt
import decimal
import json
import pathlib
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import annotated_types as at
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from tests.schema.samples import (
    Bounded,
    Cat,
    Circle,
    Color,
    Dog,
    Mixed,
    Model,
    Pair,
    Square,
    Tree,
    User,
    decode,
    faults,
)
from trio_mcp.schema import (
    Arguments,
    ArgumentsError,
    Fault,
    compile_arguments,
)
from trio_mcp.schema.faults import MAX_FAULTS


def test_every_fault_is_listed_with_its_path() -> None:
    def f(
        user: User, n: Annotated[int, at.Ge(0)], tags: list[int], pair: tuple[int, str], by: dict[str, int]
    ) -> None: ...

    raw = b'{"user":{"age":"old","tags":[1,"a",null]},"n":-1,"tags":[1,"b",[]],"pair":["a",1],"by":{"a b":"c"}}'
    with pytest.raises(ArgumentsError) as caught:
        compile_arguments(f).decode(raw)
    assert str(caught.value).splitlines() == [
        "$.user.name: missing",
        "$.user.age: expected an integer, got a string",
        "$.user.tags[0]: expected a string, got an integer",
        "$.user.tags[2]: expected a string, got null",
        "$.n: must be ≥ 0",
        "$.tags[1]: expected an integer, got a string",
        "$.tags[2]: expected an integer, got an array",
        "$.pair[0]: expected an integer, got a string",
        "$.pair[1]: expected a string, got an integer",
        "$.by['a b']: expected an integer, got a string",
    ]


FAULTS: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    (int, 1.5, [("$.x", "expected an integer, got a number with a fraction")]),
    (bool, "yes", [("$.x", "expected true or false, got a string")]),
    (int | None, "a", [("$.x", "expected an integer, got a string")]),
    (int | list[int], {}, [("$.x", "expected an integer or an array, got an object")]),
    (Color, "green", [("$.x", 'must be one of "red", "blue"')]),
    (Mixed, "green", [("$.x", 'must be one of 0.5, "word"')]),
    (Literal["a"] | None, "c", [("$.x", 'must be one of "a"')]),
    (Annotated[float, Meta(lt=2)], 2.0, [("$.x", "must be < 2")]),
    (Annotated[str, Meta(max_length=1)], "ab", [("$.x", "must have a length ≤ 1")]),
    (Annotated[int, Meta(multiple_of=5)], 4, [("$.x", "must be a multiple of 5")]),
    (Annotated[str, Meta(pattern="^a$")], "b", [("$.x", "must match the pattern '^a$'")]),
    (dt.datetime, "soon", [("$.x", "expected a date-time, such as 1999-12-31T12:30:00Z")]),
    (uuid.UUID | None, "soon", [("$.x", "expected a UUID")]),
    (dt.date | Literal["now", "then"], 3, [("$.x", 'expected a date or one of "now", "then", got an integer')]),
    (list[int] | set[str] | None, "a", [("$.x", "expected an array or null, got a string")]),
    (dt.date | uuid.UUID, "soon", [("$.x", "expected a date or a UUID, got a string")]),
    (tuple[int, int], [1], [("$.x", "must have 2 items, has 1")]),
    (Pair, [], [("$.x", "must have 1 to 2 items, has 0")]),
    (pathlib.Path, 3, [("$.x", "expected a string (a path)")]),
    (dict[int, int], {"a": 1}, [("$.x.a (the key)", "expected an integer, got a string")]),
    (Circle | Square, {"type": "oval"}, [("$.x.type", 'must be one of "circle", "square"')]),
    (Circle | Square, {"radius": 1}, [("$.x.type", 'missing; must be one of "circle", "square"')]),
    (Circle | Square, {"type": "square", "side": "a"}, [("$.x.side", "expected a number, got a string")]),
    (Cat | Dog, {"bark": "loud"}, [("$.x.bark", "expected an integer, got a string")]),
    (Cat | Dog, 3, [("$.x", "expected Cat (an object) or Dog (an object), got an integer")]),
    (list[Tree], [{"value": 1, "children": [{}]}], [("$.x[0].children[0].value", "missing")]),
    (Model, {"size": 0, "child": {}}, [
        ("$.x.size", "Input should be greater than or equal to 1"), ("$.x.child.size", "missing")]),
    (Model | None, {"size": 0}, [("$.x.size", "Input should be greater than or equal to 1")]),
    (set[Any], [[1]], [("$.x", "unhashable type: 'list'")]),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "wanted"), FAULTS, ids=lambda item: str(item)[:40])
def test_a_fault_says_what_to_do(annotation: Any, value: Any, wanted: Any) -> None:
    assert faults(annotation, value) == wanted


def test_the_list_of_faults_is_bounded() -> None:
    found = faults(list[int], ["a"] * 20_000)
    assert len(found) == MAX_FAULTS
    assert found[-1] == ("$", "there are more faults than are listed")


def test_a_fault_far_inside_is_found_without_trying_every_part() -> None:
    assert faults(list[int], [1] * 20_000 + ["a"]) == [("$.x[20000]", "expected an integer, got a string")]
    value: dict[str, Any] = {"value": "a"}
    for _ in range(100):
        value = {"value": 1, "children": [value]}
    assert faults(Tree, value) == [("$.x" + ".children[0]" * 100 + ".value", "expected an integer, got a string")]


@dataclass
class Left:
    next: "Left | Right | int"


@dataclass
class Right:
    next: "Left | Right | int"


def test_a_recursive_union_cannot_be_made_to_try_for_ever() -> None:
    value: Any = "wrong"
    for _ in range(50):
        value = {"next": value}
    assert len(faults(Left | Right, value)) == 1
    assert decode(Left | Right, {"next": {"next": 1}}) == Left(Left(1))


# no verdict on how fast this machine makes the examples
STEADY = settings(suppress_health_check=[HealthCheck.too_slow])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.sampled_from(["n", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


def everything(
    a: User | None = None,
    b: Bounded | None = None,
    c: Cat | Dog | int = 1,
    d: dict[int, set[str]] | None = None,
    e: Circle | Square | None = None,
    f: tuple[int, Color] | None = None,
    g: dt.datetime | uuid.UUID | None = None,
    h: Model | None = None,
    i: Pair | None = None,
    j: Mixed | decimal.Decimal | dt.timedelta | None = None,
) -> None: ...


def attempt(compiled: Arguments, raw: bytes) -> tuple[dict[str, Any], list[Fault]]:
    try:
        return compiled.decode(raw), []
    except ArgumentsError as error:
        return {}, error.faults


COMPILED = [compile_arguments(everything), compile_arguments(everything, strict=True)]


@STEADY
@given(st.dictionaries(st.sampled_from("abcdefghijk"), JSON, max_size=4))
def test_any_json_is_either_taken_or_a_list_of_faults(values: dict[str, Any]) -> None:
    for compiled in COMPILED:
        taken, found = attempt(compiled, json.dumps(values).encode())
        assert set(taken) == set("abcdefghij") or found
        assert all(fault.path.startswith("$") and fault.message for fault in found)


@STEADY
@given(st.binary(max_size=40))
def test_any_bytes_are_either_taken_or_a_list_of_faults(raw: bytes) -> None:
    for compiled in COMPILED:
        taken, found = attempt(compiled, raw)
        assert taken or found
