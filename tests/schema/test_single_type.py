"""One type by itself."""

import pytest

from tests.schema.samples import Point
from trio_mcp.schema import (
    ArgumentsError,
    SchemaError,
    convert,
    schema_of,
)


def test_schema_of_and_convert_serve_a_type() -> None:
    assert schema_of(Point)["required"] == ["x"]
    assert "additionalProperties" not in schema_of(Point)
    assert schema_of(Point, strict=True)["additionalProperties"] is False
    assert convert({"x": "1", "z": 1}, Point) == Point(1)
    assert convert("[1]", list[int]) == [1]
    with pytest.raises(ArgumentsError, match=r"^\$\.x: expected an integer, got a string$"):
        convert({"x": "1"}, Point, strict=True)
    with pytest.raises(ArgumentsError, match=r"^\$\.z: unknown; known are x, y$"):
        convert({"x": 1, "z": 1}, Point, strict=True)
    with pytest.raises(SchemaError, match="complex"):
        schema_of(complex)
