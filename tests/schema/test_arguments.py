"""Parameters as a client sees them, their defaults, and what becomes of what a client sends."""

import pathlib
import subprocess
import sys
from typing import Annotated, Any

import annotated_types as at
import msgspec
import pytest

from tests.schema.samples import Bounded, Color, Context, F, Model, Special, Tree, User, arguments
from trio_mcp.schema import (
    ArgumentsError,
    Fault,
    SchemaError,
    compile_arguments,
)


def test_a_signature_becomes_an_object_schema() -> None:
    def search(query: str, *, limit: int = 10, flags: tuple[str, ...] = ("a",), anything, more=None) -> None:
        """Search.

        Args:
            query: What to find.
        """

    compiled = compile_arguments(search)
    assert compiled.schema == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to find."},
            "limit": {"type": "integer", "default": 10},
            "flags": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
            "anything": {},
            "more": {"default": None},
        },
        "required": ["query", "anything"],
    }
    assert compiled.names == ("query", "limit", "flags", "anything", "more")
    assert compiled.decode(b'{"query":"a","anything":[1]}') == {
        "query": "a",
        "limit": 10,
        "flags": ("a",),
        "anything": [1],
        "more": None,
    }


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b" null ", msgspec.Raw(b""), msgspec.Raw(b"{}")])
def test_no_arguments_are_an_empty_object(raw: Any) -> None:
    def f(n: int = 1) -> None: ...

    assert compile_arguments(f).decode(raw) == {"n": 1}
    assert compile_arguments(lambda: None).decode(raw) == {}
    assert compile_arguments(lambda: None).schema == {"type": "object", "properties": {}}


def test_hidden_types_are_left_out_and_reported() -> None:
    def f(a: int, ctx: Context, b: Special | None = None, c: Annotated[Context, "x"] = None) -> None: ...  # type: ignore[assignment]

    compiled = compile_arguments(f, hidden=(Context,))
    assert compiled.names == ("a",)
    assert compiled.hidden == {"ctx": Context, "b": Context, "c": Context}
    assert compiled.decode(b'{"a":1,"ctx":2}') == {"a": 1}
    assert compile_arguments(f, hidden={Context: ...}).hidden == compiled.hidden


def test_excluded_parameters_are_left_out() -> None:
    def f(a: int, *rest: Any, b: complex = 1j) -> None: ...

    assert compile_arguments(f, exclude={"b", "rest"}).names == ("a",)


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    def f(flat: list[int] = [1], deep: dict[str, list[int]] = {"a": []}, tree: Tree = Tree(1)) -> None: ...  # noqa: B006, B008  # the point of it

    compiled = compile_arguments(f)
    first = compiled.decode(b"{}")
    first["flat"].append(2)
    first["deep"]["a"].append(2)
    assert compiled.decode(b"{}") == {"flat": [1], "deep": {"a": []}, "tree": Tree(1)}
    assert compiled.schema["properties"]["deep"]["default"] == {"a": []}


def test_a_default_without_json_form_is_used_and_not_shown() -> None:
    marker = object()

    def f(
        a: Any = marker, b: float = float("nan"), c: Color = Color.RED, d: pathlib.Path = pathlib.Path("/")
    ) -> None: ...

    compiled = compile_arguments(f)
    shown = {name: prop.get("default", "absent") for name, prop in compiled.schema["properties"].items()}
    assert shown == {"a": "absent", "b": "absent", "c": "red", "d": "/"}
    assert compiled.decode(b"{}")["a"] is marker


def test_a_default_of_none_allows_null() -> None:
    compiled = arguments(int, None)
    assert compiled.decode(b'{"x":null}') == {"x": None}
    assert compiled.schema["properties"]["x"] == {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    described = arguments(Annotated[int, at.Gt(2), "text"], None)
    assert described.decode(b'{"x":null}') == {"x": None}
    assert described.schema["properties"]["x"]["description"] == "text"


def test_an_unset_default_is_told_from_null() -> None:
    compiled = arguments(int | msgspec.UnsetType | None, msgspec.UNSET)
    assert compiled.decode(b"{}") == {"x": msgspec.UNSET}
    assert compiled.decode(b'{"x":null}') == {"x": None}
    assert "default" not in compiled.schema["properties"]["x"]


def test_a_pydantic_field_as_default_gives_default_factory_and_alias() -> None:
    first: Any = F(3, ge=1, alias="A")
    second: Any = F(default_factory=list)

    def f(a: int = first, b: list[int] = second, c: Annotated[int, F(default=7)] = 8) -> None: ...

    compiled = compile_arguments(f)
    assert compiled.names == ("A", "b", "c")
    assert compiled.decode(b"{}") == {"a": 3, "b": [], "c": 8}
    assert compiled.decode(b'{"A":4}')["a"] == 4
    assert compiled.schema["properties"]["b"]["default"] == []
    with pytest.raises(ArgumentsError, match=r"^\$\.A: must be ≥ 1$"):
        compiled.decode(b'{"A":0}')

    def required(a: int = F(ge=1)) -> None: ...

    assert compile_arguments(required).schema["required"] == ["a"]


def test_parameters_that_no_client_can_send_are_refused() -> None:
    def args(*a: int) -> None: ...
    def kwargs(**a: int) -> None: ...
    def positional(a: int, /) -> None: ...

    for function in (args, kwargs, positional):
        with pytest.raises(SchemaError, match=f"{function.__name__}\\(\\): parameter 'a': "):
            compile_arguments(function)


def test_names_that_cannot_be_decoded_are_refused() -> None:
    def dunder(__a: int) -> None: ...

    first: Any = F(alias="b")

    def twice(a: int = first, b: int = 1) -> None: ...

    with pytest.raises(SchemaError, match=r"parameter '__a': .* rename it"):
        compile_arguments(dunder)
    with pytest.raises(SchemaError, match="same alias"):
        compile_arguments(twice)
    with pytest.raises(SchemaError, match="no readable signature"):
        compile_arguments(dict)


def test_unknown_arguments_are_ignored_leniently_and_named_strictly() -> None:
    def f(query: str, limit: int = 1) -> None: ...

    assert compile_arguments(f).decode(b'{"query":"a","lmit":2}') == {"query": "a", "limit": 1}
    assert "additionalProperties" not in compile_arguments(f).schema
    strict = compile_arguments(f, strict=True)
    assert strict.schema["additionalProperties"] is False
    with pytest.raises(ArgumentsError) as caught:
        strict.decode(b'{"lmit":2,"query":3}')
    assert caught.value.faults == [
        Fault("$.query", "expected a string, got an integer"),
        Fault("$.lmit", "unknown; known are query, limit"),
    ]


def test_convert_takes_strings_for_scalars_even_where_strict() -> None:
    def f(n: int, tags: list[int], user: User, on: bool = False) -> None: ...

    values = {"n": "3", "tags": "[1]", "user": '{"name":"a"}', "on": "true"}
    for strict in (False, True):
        compiled = compile_arguments(f, strict=strict)
        assert compiled.convert(values) == {"n": 3, "tags": [1], "user": User("a"), "on": True}
        with pytest.raises(ArgumentsError, match=r"\$\.n: expected an integer, got a string"):
            compiled.convert({**values, "n": "x"})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"x":', "not valid JSON: Input data was truncated"),
        (b"{x:1}", "not valid JSON"),
        (b'{"x":"\xff"}', "not valid UTF-8"),
        (b'{"x":"\\ud800"}', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"y":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"[1]", "expected an object, got an array"),
        (b"3", "expected an object, got an integer"),
    ],
)
@pytest.mark.parametrize("annotation", [int, Any, Bounded, Model])
def test_input_that_is_no_object_is_a_fault_at_the_root(annotation: Any, raw: bytes, message: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        arguments(annotation).decode(raw)
    (fault,) = caught.value.faults
    assert fault.path == "$"
    assert fault.message.startswith(message)


def test_pydantic_is_not_imported_for_those_who_do_not_use_it() -> None:
    code = (
        "import sys; from trio_mcp.schema import *\n"
        "def f(a: int, b: list[str] = []) -> str: ...\n"
        "compile_arguments(f).decode(b'{\"a\":1}'); compile_output(f, unstructured=()).check('a')\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('pydantic', 'annotated_types')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
