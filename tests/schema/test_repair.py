"""What models write is taken leniently where nothing else can be meant."""

from typing import Any

import pytest

from tests.schema.samples import Bounded, Level, Mixed, Model, Point, User, arguments, decode, faults

LENIENT: list[tuple[Any, Any, Any]] = [
    (int, "10", 10),
    (int, 10.0, 10),
    (bool, "true", True),
    (float, "1.5", 1.5),
    (Level, "2", Level.HIGH),
    (Mixed, "0.5", Mixed.HALF),
    (int | None, "null", None),
    (list[int], "[1,2]", [1, 2]),
    (list[int], ' ["1"] ', [1]),
    (dict[str, int], '{"a":1}', {"a": 1}),
    (Point, '{"x":1}', Point(1)),
    (list[Point], ['{"x":"1"}'], [Point(1)]),
    (list[int] | None, "[1]", [1]),
    (Bounded, '{"n":1}', Bounded(1)),
    (Model, '{"size":1}', Model(size=1)),
    (User, {"name": "a", "tags": '["b"]'}, User("a", 0, ["b"])),
]


@pytest.mark.parametrize(("annotation", "value", "result"), LENIENT, ids=str)
def test_what_models_write_is_taken_leniently_and_refused_strictly(annotation: Any, value: Any, result: Any) -> None:
    assert decode(annotation, value) == result
    if value != 10.0:  # an integral number is an integer in JSON Schema
        assert faults(annotation, value, strict=True)


def test_json_text_stays_text_where_text_is_allowed() -> None:
    assert decode(str, "[1]") == "[1]"
    assert decode(str | list[int], "[1]") == "[1]"
    assert decode(Any, "[1]") == "[1]"
    assert faults(list[int], "[1") == [("$.x", "expected an array, got a string")]


def test_all_arguments_may_be_one_json_text() -> None:
    assert arguments(int).decode(b'"{\\"x\\":1}"') == {"x": 1}
