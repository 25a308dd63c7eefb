"""Stand-ins: classes that msgspec hands to its decoding hook, because it could not build their values itself.

Owns: both hooks of msgspec, and a handler for each kind of stand-in but a union (`unions`): enums of mixed values,
paths, classes whose fields carry foreign constraints, pydantic's types. Refuses: deciding what needs one
(`translator`).

A stand-in is a class only in name: msgspec calls the decoding hook for it, and the hook asks its handler.
"""

import enum
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec

from trio_mcp.schema.class_fields import ABSENT, ClassField

HANDLER: Final = "__schema_handler__"

# What a decode can raise because of its input: TypeError is a set of unhashable items, ValueError is bad UTF-8.
REFUSALS: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)


class _Anything(type):
    """msgspec checks that a hook returned an instance of the class; a stand-in takes what its handler built."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return True


def stand_in(name: str, handler: Any) -> Any:
    """A new class which msgspec gives to the hook, and whose handler the hook asks."""
    return _Anything(name, (), {HANDLER: handler})


def hook(strict: bool) -> Callable[[type, Any], Any]:
    """The `dec_hook` for one strictness."""
    return functools.partial(_construct, strict)


def _construct(strict: bool, cls: type, value: Any) -> Any:
    handler = handler_of(cls)
    if handler is None:
        raise TypeError(f"{cls.__name__} cannot be built from JSON")
    return handler.convert(value, strict)


def build(value: Any, type_: Any, strict: bool) -> Any:
    """`msgspec.convert` with the stand-ins in force. Raises: msgspec.ValidationError at the first fault."""
    return msgspec.convert(value, type_, strict=strict, dec_hook=hook(strict), str_keys=True)


def to_builtins(value: Any) -> Any:
    """`msgspec.to_builtins` with what it does not know itself. Raises: REFUSALS."""
    return msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)


def _encode(value: Any) -> Any:
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if is_pydantic(type(value)) and hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@attrs.define(eq=False)
class Choice:
    """One of a few values: an enum or a literal that msgspec refuses. Pairs of JSON value and Python value."""

    pairs: tuple[tuple[Any, Any], ...]

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: ValueError where the value is none of them."""
        for json, python in self.pairs:
            if type(json) is type(value) and json == value:
                return python
        for json, python in self.pairs:
            numbers = {type(json), type(value)} == {int, float}
            if (numbers and json == value) or (not strict and isinstance(value, str) and str(json) == value):
                return python
        raise ValueError(f"must be one of {', '.join(repr(json) for json, _ in self.pairs)}")


@attrs.define(eq=False)
class FilePath:
    """A path, as a string."""

    cls: type

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: TypeError where it is no string."""
        if not isinstance(value, str | self.cls):
            raise TypeError("expected a string (a path)")
        return self.cls(value)


@attrs.define(eq=False)
class Shadow:
    """A user's class, decoded through a struct with the translated annotations, then built by its own constructor."""

    cls: Any
    struct: Any = None
    fields: tuple[ClassField, ...] = ()

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: msgspec.ValidationError; ValueError or TypeError from the user's constructor."""
        decoded = build(value, self.struct, strict)
        values = ((field.argument, getattr(decoded, f"f{index}")) for index, field in enumerate(self.fields))
        return self.cls(**{argument: value for argument, value in values if value is not ABSENT})


def is_pydantic(cls: Any) -> bool:
    """Whether pydantic validates this class (models, pydantic dataclasses, its own special types)."""
    return isinstance(cls, type) and "pydantic" in sys.modules and hasattr(cls, "__get_pydantic_core_schema__")


@functools.lru_cache(1024)
def handler_of(cls: type) -> Any:
    """The handler of a class that msgspec leaves to the hook, or None where there is none.

    Raises: SchemaError where pydantic cannot build the class.
    """
    handler = cls.__dict__.get(HANDLER)
    if handler is not None:
        return handler
    if issubclass(cls, pathlib.PurePath):
        return FilePath(cls)
    return adapter_for(cls) if is_pydantic(cls) else None


def adapter_for(type_: Any) -> Any:
    """The handler of a type that pydantic validates. Raises: SchemaError where pydantic cannot build it."""
    # imported late: a server that never names pydantic must not pay for it, nor need it
    from trio_mcp.schema import pydantic_support

    return pydantic_support.Adapter.of(type_)
