"""Elicitation forms: what a server may ask a user, and what of an answer may be believed (client/elicitation).

Owns: the restricted schema (2025-11-25 and 2026-07-28, Requested Schema: a flat object of strings, numbers, booleans
and options), its making from a Python type, and the check of the answer, which comes from outside. Decisions:

- A dict is sent as it was given. Of a type, what the restricted schema cannot say (`exclusiveMinimum` of a number, a
  `uuid`) is left out of the form, and the type's own conversion still holds the answer to it.
- A type without fields (`str`, `int`, an `Enum`, `list[Literal[…]]`) is asked as the one field `value`, and unwrapped.
- An `Enum` is a plain `enum` where its values say what its names say, else `oneOf` with titles made of the names.
- `X | None` is a field that may be left out; left out, it is its default or None. A null for a field that may be left
  out counts as left out. A default is filled in. A field that was not asked for is dropped.
- Answers are taken exactly: 12345 is no string and "5" no number; 5.0 is an integer, as in JSON Schema.

Refuses: sending, keys and rounds (`context`), nested forms, and any schema keyword the specification does not list.
"""

import datetime
import enum
import functools
import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from trio_mcp.schema import ArgumentsError, Fault, convert, schema_of
from trio_mcp.wire.base import JsonObject

Action: TypeAlias = Literal["accept", "decline", "cancel"]

MAX_FAULTS: Final = 100
"""The most faults one answer is told of: a hostile list must not become as many lines."""

_SHARED: Final = frozenset(("type", "title", "description", "default"))
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": _SHARED | {"minLength", "maxLength", "pattern", "format", "enum", "enumNames", "oneOf"},
    "number": _SHARED | {"minimum", "maximum"},
    "integer": _SHARED | {"minimum", "maximum"},
    "boolean": _SHARED,
    "array": _SHARED | {"minItems", "maxItems", "items"},
}
_BOUNDS: Final = ("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_FORMATS: Final = frozenset(("email", "uri", "date", "date-time"))
_WORDS: Final = {"string": "a string", "number": "a number", "integer": "an integer", "boolean": "true or false"}
_FLAT: Final = "elicitation asks only for flat fields: string, number, integer, boolean, or string options"

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


class ElicitationFault(ValueError):
    """An answer that does not fit the form. `faults` lists every fault; the text has one a line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(f"{fault.path}: {fault.message}" for fault in self.faults))


@attrs.frozen
class Elicited:
    """What the user did. `content` only with `accept`: a dict, or an instance of the type that was asked for."""

    action: Action
    content: Any = None


@attrs.frozen
class _Target:
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


@attrs.frozen
class Form:
    """A form, and the reader of its answers. Made by `Form.of`; immutable."""

    requested_schema: JsonObject
    _target: _Target | None = None

    @classmethod
    def of(cls, schema_or_type: Any) -> "Form":
        """A form from a JSON Schema (a dict, kept as it is) or from a type; None asks only for the consent.

        Raises: ValueError that names the field, where the form is not flat or its parts do not fit together.
        """
        if schema_or_type is None or schema_or_type is type(None):
            return cls({"type": "object", "properties": {}}, _Target(type(None)))
        if not isinstance(schema_or_type, dict):
            return _form_of_type(schema_or_type)
        _check_form(schema_or_type)
        return cls(schema_or_type)

    @staticmethod
    def read_action(raw: Any) -> Elicited:
        """The action alone, of an answer in URL mode; takes what `read` takes. Raises: ElicitationFault."""
        return Elicited(_answer(raw)[0])

    def read(self, raw: Any) -> Elicited:
        """Check an ElicitResult (JSON text as bytes or `msgspec.Raw`, or a decoded dict) against the form.

        Raises: ElicitationFault with every fault.
        """
        action, content = _answer(raw)
        if action != "accept":
            return Elicited(action)
        content = {} if content is None else content
        if not isinstance(content, Mapping):
            raise ElicitationFault([Fault("$.content", f"expected an object, got {_got(content)}")])
        values = self._values(content)
        return Elicited("accept", values if self._target is None else _converted(self._target, values))

    def _values(self, content: Mapping[Any, Any]) -> dict[str, Any]:
        """The fields that were asked for, each one checked, with defaults for those left out."""
        properties: JsonObject = self.requested_schema["properties"]
        required = self.requested_schema.get("required", ())
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, asked in properties.items():
            value: Any = content.get(name)
            if value is None and (name not in required or name not in content):
                if "default" in asked:
                    values[name] = _copied(asked["default"])
                elif name in required:
                    faults.append(Fault(_path(name), "missing"))
                continue
            found = list(_faults(asked, value, _path(name)))
            values[name] = int(value) if asked["type"] == "integer" and not found else value
            faults += found
        if self.requested_schema.get("additionalProperties") is False:
            faults += [Fault(_path(str(name)[:100]), "unknown") for name in content if name not in properties]
        if faults:
            raise ElicitationFault(faults[:MAX_FAULTS])
        return values


def _answer(raw: Any) -> tuple[Action, Any]:
    if not isinstance(raw, Mapping):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            raise ElicitationFault([Fault("$", "not valid JSON")]) from None
    if not isinstance(raw, Mapping):
        raise ElicitationFault([Fault("$", f"expected an object, got {_got(raw)}")])
    action = raw.get("action")
    if action not in ("accept", "decline", "cancel"):
        raise ElicitationFault([Fault("$.action", "must be one of accept, decline, cancel")])
    return action, raw.get("content")


def _converted(target: _Target, values: dict[str, Any]) -> Any:
    if target.type is type(None):
        return None
    for name in target.nullable:
        values.setdefault(name, None)
    try:
        if target.wrapped:
            return convert(values["value"], target.type)
        built = convert({**values, **target.constants}, target.type)
    except ArgumentsError as error:
        around = "$.content.value" if target.wrapped else "$.content"
        raise ElicitationFault(Fault(around + fault.path[1:], fault.message) for fault in error.faults) from None
    if target.tuple_type is None:
        return built
    return target.tuple_type(*(getattr(built, name) for name in target.tuple_type._fields))


# ---- the check of one value


def _path(name: str) -> str:
    return f"$.content.{name}"


def _got(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "an integer", float: "a number", list: "an array", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _options(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values to choose among, in any of the forms of an enum; None where the field is free."""
    if "enum" in schema:
        return list(schema["enum"])
    titled = schema.get("oneOf", schema.get("anyOf"))
    return None if titled is None else [option["const"] for option in titled]


def _faults(asked: Mapping[str, Any], value: Any, path: str) -> Iterator[Fault]:
    kind = asked["type"]
    if kind == "array":
        yield from _list_faults(asked, value, path)
    elif not _is(kind, value):
        yield Fault(path, f"expected {_WORDS[kind]}, got {_got(value)}")
    elif kind == "string":
        yield from (Fault(path, message) for message in _string_faults(asked, value))
    elif kind != "boolean":
        yield from (Fault(path, message) for message in _number_faults(asked, value))


def _is(kind: str, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if isinstance(value, float):
        return math.isfinite(value) and (kind == "number" or value.is_integer())
    return isinstance(value, int)


def _string_faults(asked: Mapping[str, Any], value: str) -> Iterator[str]:
    options = _options(asked)
    if options is not None and value not in options:
        yield _one_of(options)
    if len(value) < asked.get("minLength", 0):
        yield f"must have a length ≥ {asked['minLength']}"
    if len(value) > asked.get("maxLength", math.inf):
        yield f"must have a length ≤ {asked['maxLength']}"
    if "pattern" in asked and not re.search(asked["pattern"], value):
        yield f"must match the pattern {asked['pattern']!r}"
    if not _has_format(asked.get("format"), value):
        yield f"expected a valid {asked['format']}"


def _one_of(options: list[Any]) -> str:
    shown = ", ".join(map(repr, options[:30]))
    return f"must be one of {shown}" + (", …" if len(options) > 30 else "")


def _has_format(format: Any, value: str) -> bool:
    try:
        match format:
            case "email":
                return len(value) <= 320 and _EMAIL.fullmatch(value) is not None
            case "uri":
                return _URI.fullmatch(value) is not None
            case "date":
                return _DATE.fullmatch(value) is not None and bool(datetime.date.fromisoformat(value))
            case "date-time":
                # The fraction may have more digits than Python reads.
                whole = _DATE_TIME.fullmatch(value)
                text = value.replace(whole[1], "") if whole and whole[1] else value
                return whole is not None and bool(datetime.datetime.fromisoformat(text.upper()))
    except ValueError:  # a date that no calendar has
        return False
    return True


def _number_faults(asked: Mapping[str, Any], value: float) -> Iterator[str]:
    if value < asked.get("minimum", -math.inf):
        yield f"must be ≥ {asked['minimum']}"
    if value > asked.get("maximum", math.inf):
        yield f"must be ≤ {asked['maximum']}"
    if "exclusiveMinimum" in asked and value <= asked["exclusiveMinimum"]:
        yield f"must be > {asked['exclusiveMinimum']}"
    if "exclusiveMaximum" in asked and value >= asked["exclusiveMaximum"]:
        yield f"must be < {asked['exclusiveMaximum']}"


def _list_faults(asked: Mapping[str, Any], value: Any, path: str) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault(path, f"expected an array, got {_got(value)}")
        return
    if len(value) < asked.get("minItems", 0):
        yield Fault(path, f"must have {asked['minItems']} items or more")
    if len(value) > asked.get("maxItems", math.inf):
        yield Fault(path, f"must have {asked['maxItems']} items or fewer")
    options = _options(asked["items"]) or []
    wrong = ((index, item) for index, item in enumerate(value) if not isinstance(item, str) or item not in options)
    for index, item in islice(wrong, MAX_FAULTS):
        message = _one_of(options) if isinstance(item, str) else f"expected a string, got {_got(item)}"
        yield Fault(f"{path}[{index}]", message)


# ---- the check of a form


def _check_form(schema: Mapping[str, Any]) -> None:
    """Whether a form is one that the specification allows. Raises: ValueError."""
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ValueError("an elicitation schema is an object: {'type': 'object', 'properties': {…}, 'required': […]}")
    for name, asked in properties.items():
        problem = _problem(asked)
        if problem is None and "default" in asked:
            faults = list(_faults(asked, asked["default"], "default"))
            problem = f"its default does not fit: {faults[0].message}" if faults else None
        if problem is not None:
            raise ValueError(f"field {name!r}: {problem}")
    required = schema.get("required", [])
    if not isinstance(required, list):
        raise ValueError(f"required is a list of field names, not {required!r}")
    for name in required:
        if name not in properties:
            raise ValueError(f"required names {name!r}, which is not among the properties")


def _problem(asked: Any) -> str | None:
    """What is wrong with one field's schema, if anything."""
    kind = asked.get("type") if isinstance(asked, dict) else None
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        hint = "; leave a field that may be empty out of required" if isinstance(kind, list) else ""
        return f"{_FLAT}; this has the type {kind!r}{hint}"
    for word in ("minItems", "maxItems") if kind == "array" else _BOUNDS:
        if word in asked and (isinstance(asked[word], bool) or not isinstance(asked[word], (int, float))):
            return f"{word} is a number, not {asked[word]!r}"
    if kind == "array":
        items = asked.get("items")
        if not isinstance(items, dict) or not ("enum" in items or "anyOf" in items or "oneOf" in items):
            return "an array is a choice of several: items needs enum, or anyOf with const and title"
        return _options_problem(items)
    if "pattern" in asked:
        try:
            re.compile(asked["pattern"])
        except (re.error, TypeError) as error:
            return f"its pattern is no regular expression that Python reads: {error}"
    return _options_problem(asked)


def _options_problem(schema: Mapping[str, Any]) -> str | None:
    for word in ("oneOf", "anyOf"):
        options = schema.get(word, [])
        if not isinstance(options, list) or not all(isinstance(item, dict) and "const" in item for item in options):
            return f"{word} is a list of options, each with const and title"
    if not isinstance(schema.get("enum", []), list):
        return "enum is a list of strings"
    found = _options(schema)
    if found is not None and not (found and all(isinstance(option, str) for option in found)):
        return f"options are one string or more, not {found!r:.100}"
    return None


# ---- a form from a type


def _form_of_type(type_: Any) -> Form:
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
        _check_form(form)
    except (ValueError, TypeError) as error:
        raise ValueError(f"cannot elicit {name}: {error}") from None
    return Form(form, _Target(type_, nullable=frozenset(["value"] if nullable else []), wrapped=True))


def _form_of_fields(schema: JsonObject, type_: Any, tuple_type: Any) -> Form:
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
    _check_form(form)
    return Form(form, _Target(type_, constants, frozenset(asked) & nullable, tuple_type=tuple_type))


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
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        raise ValueError(_FLAT + ("; ask for what is nested in a second elicit" if kind == "object" else ""))
    if "enum" in schema and kind != "string":
        raise ValueError("options are strings in a form: give the Enum or Literal string values")
    if kind == "integer":
        _close(schema)
    flat = {word: value for word, value in schema.items() if word in _KEYWORDS[kind]}
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
                raise ValueError(f"{_FLAT}; this may be of several types")
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
