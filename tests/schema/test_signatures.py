"""Functions of every kind are read, and annotations in the scope they were written in."""

import functools
import sys
import types
from dataclasses import dataclass
from typing import Any

from tests.schema.samples import Point, refusal
from trio_mcp.schema import (
    compile_arguments,
)


def test_methods_partials_and_callable_objects_are_read() -> None:
    class Tool:
        def method(self, a: "Point") -> None:
            """Says so.

            Args:
                a: where
            """

        def __call__(self, b: int) -> None: ...

    def f(a: int, b: int) -> None: ...

    assert compile_arguments(Tool().method).names == ("a",)
    assert compile_arguments(Tool().method).schema["properties"]["a"]["description"] == "where"
    assert compile_arguments(Tool()).schema["properties"] == {"b": {"type": "integer"}}
    assert compile_arguments(functools.partial(f, 1)).names == ("b",)


def test_a_decorated_function_shows_the_signature_it_wraps() -> None:
    def f(a: int) -> None: ...

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    assert compile_arguments(wrapper).names == ("a",)


def test_string_annotations_find_the_classes_of_the_functions_around() -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass

def register(compile):
    @dataclass
    class Inner:
        n: int

    @dataclass
    class Outer:
        inner: list[Inner]

    def tool(outer: Outer, later: Later) -> Outer: ...
    return compile(tool), Outer, Inner

class Later:
    __annotations__ = {}
"""
    module = types.ModuleType("user_module")
    sys.modules["user_module"] = module
    try:
        exec(source.replace("class Later:", "@dataclass\nclass Later:"), module.__dict__)
        compiled, outer, inner = module.register(compile_arguments)
        built = compiled.decode(b'{"outer":{"inner":[{"n":1}]},"later":{}}')["outer"]
    finally:
        del sys.modules["user_module"]
    assert built == outer([inner(1)])
    assert set(compiled.schema["$defs"]) == {"Outer", "Inner", "Later"}


def test_a_variable_of_a_closure_may_be_named_in_an_annotation() -> None:
    def make() -> Any:
        @dataclass
        class Local:
            n: int

        def tool(x: "Local") -> Any:
            return Local, late

        compiled_before_late = compile_arguments(tool)
        late = 1
        return tool, compiled_before_late, Local

    tool, before, local = make()
    for compiled in (before, compile_arguments(tool)):
        assert compiled.decode(b'{"x":{"n":1}}') == {"x": local(1)}


def test_a_class_field_that_cannot_be_resolved_is_named() -> None:
    broken: Any = dataclass(type("Broken", (), {"__annotations__": {"a": "Nowhere"}, "__module__": __name__}))
    assert "Nowhere" in refusal(broken)
    assert "Broken" in refusal(broken)


def test_a_return_annotation_that_does_not_resolve_hinders_no_arguments() -> None:
    def tool(a: int) -> Any: ...

    tool.__annotations__["return"] = "OnlyForTypeCheckers"
    assert compile_arguments(tool).names == ("a",)
