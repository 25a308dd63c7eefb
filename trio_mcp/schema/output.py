"""A function's return annotation, compiled: its `outputSchema`, and structured content out of what it returned.

Owns: which annotations promise data at all, and the check of the data. Refuses: content blocks (`returns`).
"""

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Final, Union, get_args, get_origin

import attrs
import msgspec.inspect as mi

from trio_mcp.schema.describer import Describer, object_schema
from trio_mcp.schema.errors import Fault, OutputError, SchemaError
from trio_mcp.schema.faults import find_faults, pydantic_faults
from trio_mcp.schema.signatures import called, hints_of, place, reason
from trio_mcp.schema.stand_ins import REFUSALS, adapter_for, build, is_pydantic, to_builtins
from trio_mcp.schema.translator import Translator

_EXACT: Final = frozenset({str, int, bool})
_SEQUENCES: Final = frozenset(
    {list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection}
)
_OPAQUE: Final = (bytes, bytearray, memoryview)


@attrs.frozen(slots=True)
class Output:
    """A return annotation, compiled.

    Attributes:
        schema: the `outputSchema`, None where the function gives unstructured content only.
        wrapped: the value is no object, so that the structured content has to be `{"result": value}`.
    """

    schema: dict[str, Any] | None
    wrapped: bool
    _type: Any = None
    _adapter: Any = None

    def check(self, value: Any) -> Any:
        """The value as JSON builtins, not yet wrapped; None where there is no schema.

        Raises: OutputError, with every fault.
        """
        if type(value) is self._type and self._type in _EXACT:
            return value
        if self.schema is None:
            return None
        if self._adapter is not None:
            try:
                return self._adapter.dump(value)
            except ValueError as error:
                raise OutputError(pydantic_faults(self._adapter, error, "$")) from None
        try:
            plain = to_builtins(value)
        except REFUSALS as error:
            raise OutputError([Fault("$", f"cannot be written as JSON: {error}")]) from None
        try:
            build(plain, self._type, True)
        except REFUSALS as error:
            raise OutputError(find_faults(mi.type_info(self._type), plain, True, error)) from None
        return plain


def _is_unstructured(annotation: Any, unstructured: tuple[type, ...]) -> bool:
    """Whether a return annotation promises content and no data."""
    while get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    if annotation in (Any, None, type(None), object, typing.NoReturn, typing.Never, inspect.Parameter.empty):
        return True
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_is_unstructured(arm, unstructured) for arm in args if arm is not type(None))
    cls = origin or annotation
    if cls in _SEQUENCES:
        return not args or any(_is_unstructured(arg, unstructured) for arg in args if arg is not ...)
    return isinstance(cls, type) and issubclass(cls, (*unstructured, *_OPAQUE))


def _uses_pydantic(annotation: Any) -> bool:
    return is_pydantic(get_origin(annotation) or annotation) or any(_uses_pydantic(arg) for arg in get_args(annotation))


def compile_output(function: Callable[..., Any], *, unstructured: tuple[type, ...]) -> Output:
    """Compile a function's return annotation.

    Args:
        unstructured: the types of content blocks; alone, in a list, a tuple or a union they give no schema.

    Raises:
        SchemaError: the annotation has no JSON Schema; names the function.
    """
    hints, names = hints_of(function, returned=True)
    annotation = hints.get("return", Any)
    if get_origin(annotation) in (collections.abc.Awaitable, collections.abc.Coroutine):
        annotation = get_args(annotation)[-1]
    if _is_unstructured(annotation, unstructured):
        return Output(None, False)
    try:
        type_ = Translator(names).type(annotation)
        describer = Describer("serialization")
        schema = describer.root(describer.describe(mi.type_info(type_)))
        # models have to be written by pydantic, which knows their serializers and aliases
        adapter = adapter_for(annotation) if _uses_pydantic(annotation) else None
    except (TypeError, ValueError, NameError, RecursionError) as error:
        raise SchemaError(f"{called(function)}: {place('return')}: {reason(error)}") from None
    if schema.get("type") == "object":
        return Output(schema, False, type_, adapter)
    defs = schema.pop("$defs", None)
    wrapper = object_schema({"result": schema}, ["result"], closed=False)
    return Output(wrapper | ({"$defs": defs} if defs else {}), True, type_, adapter)
