"""A Python type as an elicitation form: its fields in the words of the restricted schema, and what an answer becomes.

Owns: the making of a form from a type (2025-11-25 and 2026-07-28, Requested Schema). Decisions:

- What the restricted schema cannot say (`exclusiveMinimum` of a number, a `uuid`) is left out of the form, and the
  type's own conversion still holds the answer to it.
- A type without fields (`str`, `int`, an `Enum`, `list[Literal[…]]`) is asked as the one field `value`, and unwrapped.
- An `Enum` is a plain `enum` where its values say what its names say, else `oneOf` with titles made of the names.
- `X | None` is a field that may be left out.

Refuses: types that are not flat, and answers (`elicitation`).
"""

import enum
import functools
import math
import re
import typing
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from trio_mcp.elicitation_schema import FLAT, KEYWORDS, check_form
from trio_mcp.schema import schema_of
from trio_mcp.wire.base import JsonObject

_FORMATS: Final = frozenset(("email", "uri", "date", "date-time"))


@attrs.frozen
class Target:
    """What the answer to a form becomes.

    `type` is converted to; `constants` are members that are always the same and so are not asked, `nullable` are
    asked but may be left out although the type has no default for them. `wrapped`: the type is the field `value`.
    `tuple_type`: a NamedTuple, for which `type` stands in as a struct.
    """

    type: Any
    constants: Mapping[str, Any] = {}
    nullable: frozenset[str] = frozenset()
    wrapped: bool = False
    tuple_type: Any = None


def form_of_type(type_: Any) -> tuple[JsonObject, Target]:
    """The form that asks for a type, and what its answer becomes; None asks only for the consent.

    Raises: ValueError that names the field, where the type is not flat.
    """
    if type_ is None or type_ is type(None):
        return {"type": "object", "properties": {}}, Target(type(None))
    name = getattr(type_, "__qualname__", str(type_))
    tuple_type = type_ if isinstance(type_, type) and issubclass(type_, tuple) and hasattr(type_, "_fields") else None
    try:
        if tuple_type is not None:
            type_ = _struct_of(tuple_type)
        schema = schema_of(type_)
        if isinstance(schema.get("properties"), dict):
            return _form_of_fields(schema, type_, tuple_type)
        asked, nullable = _flattened(schema, schema.get("$defs", {}), _enum_in(type_))
        form: JsonObject = {"type": "object", "properties": {"value": asked}}
        if not nullable:
            form["required"] = ["value"]
        check_form(form)
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot elicit {name}: {error}") from None
    return form, Target(type_, nullable=frozenset(["value"] if nullable else []), wrapped=True)


def _form_of_fields(schema: JsonObject, type_: Any, tuple_type: Any) -> tuple[JsonObject, Target]:
    enums = _enum_fields(tuple_type or type_)
    properties: JsonObject = {}
    constants: JsonObject = {}
    nullable: set[str] = set()
    for name, found in schema["properties"].items():
        if "const" in found:
            constants[name] = found["const"]
            continue
        try:
            properties[name], optional = _flattened(found, schema.get("$defs", {}), enums.get(name))
        except ValueError as error:
            raise ValueError(f"field {name!r}: {error}") from None
        if optional:
            nullable.add(name)
    asked = [name for name in schema.get("required", ()) if name not in constants]
    form: JsonObject = {"type": "object", "properties": properties}
    if required := [name for name in asked if name not in nullable]:
        form["required"] = required
    check_form(form)
    return form, Target(type_, constants, frozenset(asked) & nullable, tuple_type=tuple_type)


def _struct_of(tuple_type: Any) -> Any:
    """A struct with the fields of a NamedTuple, which would be an array in JSON."""
    hints = typing.get_type_hints(tuple_type, include_extras=True)
    fields: list[Any] = []
    for name in tuple_type._fields:
        field: tuple[Any, ...] = (name, hints.get(name, Any))
        if name in tuple_type._field_defaults:
            default = tuple_type._field_defaults[name]
            # msgspec takes no mutable default; a NamedTuple shares one, so that the factory may give the same again.
            immutable = type(default).__hash__ is not None
            field += (default if immutable else msgspec.field(default_factory=functools.partial(_same, default)),)
        fields.append(field)
    return msgspec.defstruct(tuple_type.__name__, fields, kw_only=True)


def _same(value: Any) -> Any:
    return value


def _flattened(found: Any, defs: Mapping[str, Any], options: type[enum.Enum] | None) -> tuple[JsonObject, bool]:
    """One field in the words of the restricted schema, and whether it may be null. Raises: ValueError."""
    schema, nullable = _resolved(found, defs)
    if "const" in schema and "enum" not in schema:
        schema["enum"] = [schema["const"]]
    kind = schema.get("type")
    if kind == "array":
        schema["items"], _ = _flattened(schema.get("items", {}), defs, None)
        if options is not None and _titles(options) is not None:
            schema["items"] = {"anyOf": _titles(options)}
    if not isinstance(kind, str) or kind not in KEYWORDS:
        raise ValueError(FLAT + ("; ask for what is nested in a second elicit" if kind == "object" else ""))
    if "enum" in schema and kind != "string":
        raise ValueError("options are strings in a form: give the Enum or Literal string values")
    if kind == "integer":
        _close(schema)
    flat = {word: value for word, value in schema.items() if word in KEYWORDS[kind]}
    if flat.get("format") not in _FORMATS:
        flat.pop("format", None)
    if flat.get("default", 0) is None:
        del flat["default"]
    if kind == "string" and options is not None and (titles := _titles(options)) is not None:
        flat.pop("enum", None)
        flat["oneOf"] = titles
    return flat, nullable


def _resolved(found: Any, defs: Mapping[str, Any]) -> tuple[JsonObject, bool]:
    """The schema itself: `$ref` followed, and null taken out of `anyOf`."""
    schema = dict(found)
    nullable = False
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            inner = defs[schema.pop("$ref").removeprefix("#/$defs/")]
        else:
            branches = [branch for branch in schema.pop("anyOf") if branch != {"type": "null"}]
            nullable = True
            if len(branches) != 1:
                raise ValueError(f"{FLAT}; this may be of several types")
            inner = branches[0]
        schema = {**inner, **schema}
    return schema, nullable


def _close(schema: JsonObject) -> None:
    """Open bounds of integers as closed ones, which the restricted schema has."""
    if (below := schema.get("exclusiveMinimum")) is not None:
        schema["minimum"] = max(schema.get("minimum", -math.inf), math.floor(below) + 1)
    if (above := schema.get("exclusiveMaximum")) is not None:
        schema["maximum"] = min(schema.get("maximum", math.inf), math.ceil(above) - 1)


def _titles(options: type[enum.Enum]) -> list[JsonObject] | None:
    """Titled options where the names say more than the values."""
    if all(_letters(member.name) == _letters(str(member.value)) for member in options):
        return None
    return [{"const": member.value, "title": _title(member.name)} for member in options]


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()


def _title(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text.capitalize() if text.isupper() else text


def _enum_fields(type_: Any) -> dict[str, type[enum.Enum]]:
    while typing.get_origin(type_) is typing.Annotated:
        type_ = type_.__origin__
    hints = typing.get_type_hints(typing.get_origin(type_) or type_, include_extras=True)
    return {name: found for name, hint in hints.items() if (found := _enum_in(hint)) is not None}


def _enum_in(hint: Any) -> type[enum.Enum] | None:
    """The Enum that an annotation is made of: alone, optional, annotated, in a list."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    inner = (hint.__origin__,) if typing.get_origin(hint) is typing.Annotated else typing.get_args(hint)
    return next((found for arg in inner if (found := _enum_in(arg)) is not None), None)
