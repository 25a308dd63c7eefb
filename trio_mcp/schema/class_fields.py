"""The fields of a user's class, whichever library made it, and the struct that stands in for it.

Owns: reading msgspec structs, dataclasses, attrs classes, named tuples and typed dicts alike. Refuses: what the
annotations of the fields mean (`translator`).
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast, get_origin

import attrs
import msgspec

NODEFAULT: Final = msgspec.NODEFAULT
ABSENT: Final[Any] = object()  # what a stand-in's field holds when the client left it out
_MARKS: Final = ("__struct_config__", "__dataclass_fields__", "__attrs_attrs__")


@attrs.frozen
class ClassField:
    """One field of a user's class: its Python name, its JSON name, the argument of the constructor, its annotation."""

    name: str
    wire: str
    argument: str
    annotation: Any
    required: bool = True
    default: Any = NODEFAULT


def has_fields(cls: type) -> bool:
    """Whether `class_fields` can read the class."""
    if any(hasattr(cls, mark) for mark in _MARKS):
        return True
    return (issubclass(cls, tuple) and hasattr(cls, "_fields")) or (issubclass(cls, dict) and hasattr(cls, "__total__"))


def class_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    """The fields in order; `hints` are the resolved annotations of the class."""
    if hasattr(cls, "__struct_config__"):
        return _of_struct(cls, hints)
    if hasattr(cls, "__dataclass_fields__"):
        return _of_dataclass(cls, hints)
    if hasattr(cls, "__attrs_attrs__"):
        return _of_attrs_class(cls, hints)
    return _of_named_tuple(cls, hints) if issubclass(cls, tuple) else _of_typed_dict(cls, hints)


def _of_struct(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    for field in msgspec.structs.fields(cls):
        default = NODEFAULT if field.default is msgspec.UNSET else field.default
        yield ClassField(field.name, field.encode_name, field.name, hints[field.name], field.required, default)


def _of_dataclass(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    for field in dataclasses.fields(cls):
        if field.init:
            default = field.default if field.default is not dataclasses.MISSING else NODEFAULT
            required = default is NODEFAULT and field.default_factory is dataclasses.MISSING
            yield ClassField(field.name, field.name, field.name, hints[field.name], required, default)


def _of_attrs_class(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    for field in cls.__attrs_attrs__:
        if field.init:
            given = field.default is not attrs.NOTHING
            plain = given and not isinstance(field.default, cast(type, attrs.Factory))
            default = field.default if plain else NODEFAULT
            yield ClassField(field.name, field.name, field.alias, hints.get(field.name, Any), not given, default)


def _of_named_tuple(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    for name in cls._fields:
        default = cls._field_defaults.get(name, NODEFAULT)
        yield ClassField(name, name, name, hints.get(name, Any), default is NODEFAULT, default)


def _of_typed_dict(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    for name, hint in hints.items():
        origin = get_origin(hint)
        required = origin is typing.Required or (name in cls.__required_keys__ and origin is not typing.NotRequired)
        yield ClassField(name, name, name, hint, required)


def struct_for(cls: Any, fields: tuple[ClassField, ...], translated: list[Any]) -> Any:
    """The struct behind a stand-in. What the client leaves out stays ABSENT, so that the class's own defaults apply."""
    members = []
    for index, (field, type_) in enumerate(zip(fields, translated, strict=True)):
        default = {} if field.required else {"default": ABSENT}
        members.append((f"f{index}", type_, msgspec.field(name=field.wire, **default)))
    options: dict[str, Any] = {}
    if (config := getattr(cls, "__struct_config__", None)) is not None:
        options = {"forbid_unknown_fields": config.forbid_unknown_fields, "array_like": config.array_like}
        if config.tag_field is not None:
            options |= {"tag": config.tag, "tag_field": config.tag_field}
    elif issubclass(cls, tuple):
        options = {"array_like": True, "forbid_unknown_fields": True}
    # keyword-only where required fields may follow optional ones, which an array's order could not bear
    return msgspec.defstruct(cls.__name__, members, kw_only=not options.get("array_like"), **options)
