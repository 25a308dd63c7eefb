"""Return annotations: which have a schema, and what is checked."""

import datetime as dt
import pathlib
import typing
from collections.abc import Awaitable
from typing import Annotated, Any

import annotated_types as at
import jsonschema_rs
import msgspec
import pydantic
import pytest

from tests.schema.samples import (
    NOW,
    Bounded,
    Cat,
    Circle,
    Color,
    Context,
    Dog,
    Image,
    Mixed,
    Model,
    Options,
    Pair,
    Point,
    Tree,
    User,
)
from trio_mcp.schema import (
    OutputError,
    SchemaError,
    compile_output,
)


def output(annotation: Any) -> Any:
    def f() -> None: ...

    f.__annotations__["return"] = annotation
    compiled = compile_output(f, unstructured=(Image,))
    if compiled.schema is not None:
        jsonschema_rs.meta.validate(compiled.schema)
        assert compiled.schema["type"] == "object"
    return compiled


class Sub(Image):
    pass


@pytest.mark.parametrize(
    "annotation",
    [None, Any, object, bytes, Image, Sub, list[Image], tuple[str, Image], str | Image, list[str | Image], Image | None,
     list, list[Any], typing.NoReturn, Annotated[Image, "x"], list[bytes]],
    ids=str,
)  # fmt: skip
def test_content_has_no_output_schema(annotation: Any) -> None:
    compiled = output(annotation)
    assert compiled.schema is None
    assert not compiled.wrapped
    assert compiled.check(object()) is None


def test_no_annotation_has_no_output_schema() -> None:
    assert compile_output(lambda: 1, unstructured=()).schema is None


OUTPUTS: list[tuple[Any, Any, Any, Any]] = [
    # annotation, value, its JSON, a value that is refused
    (str, "a", "a", 1),
    (int, 1, 1, "1"),
    (bool, True, True, 1),
    (float, 1, 1, "1"),
    (Annotated[int, at.Ge(1)], 1, 1, 0),
    (int | None, None, None, "a"),
    (list[int], [1], [1], ["a"]),
    (list[Point], [Point(1)], [{"x": 1, "y": 2}], [Point("a")]),  # type: ignore[arg-type]  # wrong on purpose
    (dt.datetime, NOW, "2026-01-31T12:30:00Z", "soon"),
    (pathlib.Path, pathlib.Path("/a"), "/a", 3),
    (Color, Color.RED, "red", "green"),
    (Mixed, Mixed.HALF, 0.5, 0.25),
    (Pair, Pair(1), [1, "b"], Pair("a")),  # type: ignore[arg-type]  # wrong on purpose
    (Cat | Dog, Dog(1), {"bark": 1}, Dog("a")),  # type: ignore[arg-type]  # wrong on purpose
    (list[Model], [Model(size=1)], [{"size": 1, "child": None, "when": None}], [{"size": 0}]),
]
OBJECTS: list[tuple[Any, Any, Any, Any]] = [
    (dict[str, int], {"a": 1}, {"a": 1}, {"a": "b"}),
    (dict[str, Any], {"a": NOW}, {"a": "2026-01-31T12:30:00Z"}, []),
    (dict[int, str], {1: "a"}, {"1": "a"}, {"a": "a"}),
    (dict[str, Any], {"a": Model(size=1)}, {"a": {"size": 1, "child": None, "when": None}}, 1),
    (Awaitable[Point], Point(1), {"x": 1, "y": 2}, {}),
    (Point, Point(1), {"x": 1, "y": 2}, Point("a")),  # type: ignore[arg-type]  # wrong on purpose
    (Point, {"x": 1, "y": 2}, {"x": 1, "y": 2}, {"y": 1}),
    (Options, {"depth": 1}, {"depth": 1}, {"depth": 1, "label": "a"}),
    (Bounded, Bounded(1), {"n": 1, "inner": []}, Bounded(0)),
    (Tree, Tree(1, [Tree(2)]), {"value": 1, "children": [{"value": 2, "children": []}]}, Tree(1, [Tree("a")])),  # type: ignore[arg-type]  # wrong on purpose
    (Circle, Circle(1.0), {"type": "circle", "radius": 1.0}, {"type": "square", "radius": 1.0}),
    (Model, Model(size=1), {"size": 1, "child": None, "when": None}, {"size": 0}),
    (Model, {"size": 1, "when": NOW}, {"size": 1, "child": None, "when": "2026-01-31T12:30:00Z"}, 3),
]


@pytest.mark.parametrize(
    ("annotation", "value", "wanted", "bad", "wrapped"),
    [(*row, True) for row in OUTPUTS] + [(*row, False) for row in OBJECTS],
    ids=lambda item: str(item)[:40],
)
def test_a_result_is_checked_and_becomes_json(
    annotation: Any, value: Any, wanted: Any, bad: Any, wrapped: bool
) -> None:
    compiled = output(annotation)
    assert compiled.wrapped is wrapped
    checked = msgspec.json.decode(msgspec.json.encode(compiled.check(value)))
    assert checked == wanted
    jsonschema_rs.validate(compiled.schema, {"result": checked} if wrapped else checked)
    with pytest.raises(OutputError) as caught:
        compiled.check(bad)
    assert caught.value.faults


def test_the_faults_of_a_result_have_paths() -> None:
    with pytest.raises(OutputError, match=r"^\$\.tags\[1\]: expected a string, got an integer$"):
        output(User).check(User("a", 1, ["a", 2]))  # type: ignore[list-item]  # wrong on purpose
    with pytest.raises(OutputError, match=r"^\$: cannot be written as JSON: "):
        output(dict[str, Any]).check({"a": object()})
    with pytest.raises(OutputError, match=r"^\$\[0\]\.size: "):
        output(list[Model]).check([{"size": 0}])


def test_a_wrapped_schema_keeps_its_definitions_at_the_root() -> None:
    compiled = output(list[Tree])
    assert compiled.schema["properties"] == {"result": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}
    assert set(compiled.schema["$defs"]) == {"Tree"}


def test_an_object_stands_at_the_root_and_only_recursion_keeps_its_definition() -> None:
    assert output(Point).schema == {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 2}},
        "required": ["x"],
    }
    assert set(output(Tree).schema["$defs"]) == {"Tree"}
    assert output(Tree).schema["type"] == "object"


def test_pydantic_writes_its_own_results() -> None:
    class Aliased(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        inner_size: int = pydantic.Field(serialization_alias="innerSize")

        @pydantic.computed_field  # type: ignore[prop-decorator]  # pydantic's documented spelling
        @property
        def double(self) -> int:
            return self.inner_size * 2

    compiled = output(Aliased)
    assert compiled.check(Aliased(inner_size=1)) == {"innerSize": 1, "double": 2}
    assert set(compiled.schema["properties"]) == {"innerSize", "double"}


def test_a_return_annotation_without_json_form_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match=r"f\(\): the return annotation: Context has no JSON form"):
        output(Context)
    with pytest.raises(SchemaError, match=r"the return annotation: the annotation 'Nowhere' cannot be resolved"):
        output("Nowhere")
