"""What a function says of itself: its parameters, its annotations resolved, its name.

Owns: finding them behind partials, wrappers, methods and callable objects, and the scope in which a string
annotation is read. Refuses: what the annotations mean (`translator`).
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection
from typing import Annotated, Any, Union, get_args, get_origin

from trio_mcp.schema.errors import SchemaError


def target_of(function: Callable[..., Any]) -> Any:
    """The plain function whose annotations and docstring count."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not (inspect.isfunction(inner) or inspect.ismethod(inner) or inspect.isclass(inner)):
        inner = type(inner).__call__ if hasattr(type(inner).__call__, "__code__") else inner
    return getattr(inner, "__func__", inner)


def called(function: Callable[..., Any]) -> str:
    """A function in a message."""
    target = target_of(function)
    return f"{getattr(target, '__qualname__', target)}()"


def _names_in_scope(target: Any) -> dict[str, Any]:
    """What an annotation may name besides globals: variables of the functions around, as far as they can be seen.

    A closure holds only the variables its body uses; those which only an annotation names are in the frame of the
    enclosing function, which at the time of a decorator is still on the stack.
    """
    names: dict[str, Any] = {}
    parts = getattr(target, "__qualname__", "").split(".<locals>")
    enclosing = {".<locals>".join(parts[:count]) for count in range(1, len(parts))}
    frame = sys._getframe(1) if enclosing else None
    while frame is not None:
        if frame.f_code.co_qualname in enclosing and frame.f_globals is getattr(target, "__globals__", None):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    if inspect.isfunction(target):
        for name, cell in zip(target.__code__.co_freevars, target.__closure__ or (), strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
    return names


def hints_of(function: Callable[..., Any], *, returned: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved annotations, and the names they were resolved with. Raises: SchemaError.

    Either that of the return value or those of the parameters: one that nobody asks for need not resolve.
    """
    target = target_of(function)
    names = _names_in_scope(target)
    where = called(function)
    owner = target.__init__ if inspect.isclass(target) else target
    scope = getattr(owner, "__globals__", {})
    hints: dict[str, Any] = {}
    try:
        annotations = dict(getattr(owner, "__annotations__", {}))
    except NameError as error:  # Python 3.14 evaluates them here
        raise SchemaError(f"{where}: {error}: define the name before the function") from None
    for name, annotation in annotations.items():
        if (name == "return") is not returned:
            continue
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(holder, globalns=scope, localns=names, include_extras=True)
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            raise SchemaError(
                f"{where}: {place(name)}: the annotation {annotation!r} cannot be resolved ({error}): "
                "import or define the name where the function is defined"
            ) from None
    return hints, names


def place(name: str) -> str:
    """A parameter, or the return annotation, in a message."""
    return "the return annotation" if name == "return" else f"parameter {name!r}"


def reason(error: Exception) -> str:
    """Why a type has no JSON Schema, in a message."""
    if isinstance(error, RecursionError):
        return "the type contains itself without end: give the part that repeats a class of its own"
    return str(error)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The parameters. Raises: SchemaError where they cannot be told."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"{called(function)} has no readable signature ({error}): wrap it in a function") from None


def injected(annotation: Any, hidden: Collection[type]) -> type | None:
    """The hidden type an annotation asks for: itself, a subclass, a parametrised form, or any of these or None."""
    while get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arm for arm in get_args(annotation) if arm is not type(None)]
        return injected(rest[0], hidden) if len(rest) == 1 else None
    cls = get_origin(annotation) or annotation
    if isinstance(cls, type):
        return next((wanted for wanted in hidden if issubclass(cls, wanted)), None)
    return None
