"""Python signatures as JSON Schema 2020-12, and values built to them: tool arguments, prompt arguments, results.

Owns: `inputSchema` and `outputSchema`, decoding with one msgspec decode on the way that works, and the list of
every fault on the way that does not. Refuses: hand-written schemas (`json_schema`), and what annotations mean
(`constraints`). Sync and pure: no trio, no I/O.

The file is long because a schema, a fault's path and a repaired value are three readings of one tree of types, and
have to agree on every kind of node in it; the section lines are where it would be cut.
"""

import collections.abc
import contextlib
import copy
import datetime
import decimal
import enum
import functools
import inspect
import math
import pathlib
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import attrs
import msgspec
import msgspec.inspect as mi

from trio_mcp import docstrings
from trio_mcp.constraints import (
    ABSENT,
    LIMITS,
    NODEFAULT,
    Choice,
    FilePath,
    SchemaError,
    Shape,
    Translator,
    arms,
    bare,
    bounded_attempts,
    build,
    closest,
    handler_of,
    hook,
    is_pydantic,
    shape,
    type_name,
)

MAX_FAULTS: Final = 100  # a hostile list of a million wrong items must not become a million lines
MAX_CHOICES: Final = 30
MAX_CHECKS: Final = 5_000  # parts tried one by one, over all; beyond them only the first fault inside a part is told
MAX_LEVELS: Final = 32  # likewise downwards: each level tries everything below it again
MAX_REPAIRED: Final = 1 << 20  # bytes: no model writes more, and a repair is a walk in Python

# What a decode can raise because of its input: TypeError is a set of unhashable items, ValueError is bad UTF-8.
_REFUSALS = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)


# ---- faults


@attrs.frozen
class Fault:
    """One thing wrong with a value. `path` begins with `$`, the value itself: `$.user.age`, `$.tags[2]`."""

    path: str
    message: str


class _FaultsError(ValueError):
    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(f"{fault.path}: {fault.message}" for fault in self.faults))


class ArgumentsError(_FaultsError):
    """Arguments that do not fit. `faults` lists every fault; the text has one a line, for a model to read."""


class OutputError(_FaultsError):
    """A returned value that does not fit the return annotation. `faults` as in `ArgumentsError`."""


_WORDS: Final = {
    "int": "an integer", "float": "a number", "str": "a string", "bool": "true or false", "array": "an array",
    "object": "an object", "null": "null", "datetime": "a date-time", "date": "a date", "time": "a time",
    "timedelta": "a duration", "uuid": "a UUID", "decimal": "a decimal number", "bytes": "base64 data",
}  # fmt: skip
_GOT: Final = {**_WORDS, "float": "a number with a fraction", "bool": "a boolean"}
_INVALID: Final = {
    "Invalid UUID": "expected a UUID",
    "Invalid RFC3339 encoded datetime": "expected a date-time, such as 2026-01-31T12:30:00Z",
    "Invalid RFC3339 encoded date": "expected a date, such as 2026-01-31",
    "Invalid RFC3339 encoded time": "expected a time, such as 12:30:00",
    "Invalid ISO8601 duration": "expected a duration, such as P1DT2H or PT30S",
    "Invalid decimal string": "expected a decimal number, such as 12.50",
    "Invalid base64 encoded string": "expected base64 data",
}
_EXPECTED_GOT = re.compile(r"^Expected `([^`]+)`, got `([^`]+)`$")
_BOUND = re.compile(r"^Expected `([^`]+)` (of length )?(>=|<=|>|<) (\S+)$")
_LENGTH = re.compile(r"^Expected `array` of (?:length )?(.+?), got (\d+)$")
_SIGNS: Final = {">=": "≥", "<=": "≤", ">": ">", "<": "<"}
_SUFFIX = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)


def _words(names: str, table: Mapping[str, str]) -> str:
    return " or ".join(table.get(name, name) for name in names.split(" | "))


def _plain_words(message: str) -> str:
    """msgspec's words in a model's words; what is not known stays as it is."""
    if message in _INVALID:
        return _INVALID[message]
    if match := _EXPECTED_GOT.match(message):
        return f"expected {_words(match[1], _WORDS)}, got {_words(match[2], _GOT)}"
    if match := _BOUND.match(message):
        subject = "must have a length" if match[2] else "must be"
        return f"{subject} {_SIGNS[match[3]]} {match[4].removesuffix('.0')}"
    if " that's a multiple of " in message:
        return f"must be a multiple of {message.rpartition(' ')[2].removesuffix('.0')}"
    if " matching regex " in message:
        return f"must match the pattern {message.partition(' matching regex ')[2]}"
    if match := _LENGTH.match(message):
        return f"must have {match[1]} items, has {match[2]}"
    return message[:1].lower() + message[1:] if message.startswith("Expected") else message


def _member(path: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if re.fullmatch(r"[\w-]{1,100}", str(key)) else f"{path}[{str(key)[:100]!r}]"


def _one_of(values: Iterable[Any]) -> str:
    listed = [msgspec.json.encode(value).decode() for value in values]
    shown = ", ".join(listed[:MAX_CHOICES])
    return f"must be one of {shown}" + (", …" if len(listed) > MAX_CHOICES else "")


# ---- one tree of types, read for faults and for repairs

_LEAVES: Final[Mapping[type[mi.Type], Any]] = {
    mi.NoneType: None, mi.BoolType: bool, mi.IntType: int, mi.FloatType: float, mi.StrType: str,
    mi.BytesType: bytes, mi.ByteArrayType: bytearray, mi.MemoryViewType: memoryview, mi.UUIDType: uuid.UUID,
    mi.DateTimeType: datetime.datetime, mi.DateType: datetime.date, mi.TimeType: datetime.time,
    mi.TimeDeltaType: datetime.timedelta, mi.DecimalType: decimal.Decimal,
}  # fmt: skip
_COLLECTIONS: Final[Mapping[type[mi.Type], Any]] = {
    mi.ListType: list, mi.SetType: set, mi.FrozenSetType: frozenset
}  # fmt: skip


def _python_type(node: mi.Type) -> Any:
    """The annotation a node came from, so that one part of a value can be tried alone."""
    node = bare(node)
    made = _unlimited(node)
    limits = {key: limit for key in LIMITS if (limit := getattr(node, key, None)) is not None}
    return Annotated[made, msgspec.Meta(**limits)] if limits else made


def _unlimited(node: mi.Type) -> Any:
    if type(node) in _LEAVES:
        return _LEAVES[type(node)]
    if type(node) in _COLLECTIONS:
        return _COLLECTIONS[type(node)][_python_type(cast(mi.CollectionType, node).item_type)]
    match node:
        case mi.VarTupleType(item_type=item):
            return types.GenericAlias(tuple, (_python_type(item), ...))
        case mi.TupleType(item_types=items):
            return types.GenericAlias(tuple, tuple(_python_type(item) for item in items))
        case mi.DictType(key_type=key, value_type=value):
            return types.GenericAlias(dict, (_python_type(key), _python_type(value)))
        case mi.UnionType(types=alternatives):
            return cast(Any, Union)[tuple(_python_type(arm) for arm in alternatives)]
        case mi.LiteralType(values=values):
            return cast(Any, Literal)[values]
    return getattr(node, "cls", Any)


def _adapter_of(node: mi.Type) -> Any:
    """pydantic's adapter behind a node (already bare), else None."""
    handler = handler_of(node.cls) if isinstance(node, mi.CustomType) else None
    return handler if hasattr(handler, "explain") else None


def _containers(node: mi.Type) -> str:
    """How the JSON of a node (already bare) may begin: any of `[`, `{` and, for scalars, `s`."""
    if alternatives := arms(node):
        return "".join({kind for arm in alternatives for kind in _containers(bare(arm))})
    if (found := shape(node)) is not None:
        return "[" if found.array else "{"
    if isinstance(node, mi.CollectionType | mi.TupleType):
        return "["
    if isinstance(node, mi.DictType):
        return "{"
    if isinstance(node, mi.NoneType):
        return ""
    if (adapter := _adapter_of(node)) is not None:
        return {"object": "{", "array": "["}.get(adapter.kind, "s")
    return "s"


def _kind(value: Any) -> str:
    return "{" if isinstance(value, Mapping) else "[" if isinstance(value, list | tuple) else "s"


def _repaired(node: mi.Type, value: Any) -> Any:
    """The value, with JSON text parsed where only a list or an object can be meant: models write those as strings."""
    node = bare(node)
    if isinstance(value, str):
        kinds, text = _containers(node), value.strip()
        if "s" in kinds or text[:1] not in tuple(kinds):
            return value
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError):
            return value
    if _kind(value) == "s":
        return value
    return _repaired_inside(node, value)


def _may_hold(node: mi.Type) -> bool:
    return _containers(bare(node)) not in ("", "s")


def _repaired_inside(node: mi.Type, value: Any) -> Any:
    alternatives = [arm for arm in arms(node) if _kind(value) in _containers(bare(arm))]
    if alternatives:
        return _repaired(alternatives[0], value) if len(alternatives) == 1 else value
    found = shape(node)
    if isinstance(node, mi.CollectionType) and not _may_hold(node.item_type):
        return value
    if isinstance(node, mi.DictType) and not _may_hold(node.value_type):
        return value
    if isinstance(value, Mapping):
        if found is not None and not found.array:
            inner = {field.encode_name: field.type for field in found.fields}
            return {key: _repaired(inner[key], item) if key in inner else item for key, item in value.items()}
        if isinstance(node, mi.DictType):
            return {key: _repaired(node.value_type, item) for key, item in value.items()}
        return value
    return [_repaired(inner, item) for inner, item in zip(_item_types(node, found, len(value)), value, strict=True)]


def _item_types(node: mi.Type, found: Shape | None, length: int) -> list[mi.Type]:
    """The type of each item of an array that a node describes; what is surplus may be anything."""
    if isinstance(node, mi.CollectionType):
        return [node.item_type] * length
    known: list[mi.Type] = []
    if isinstance(node, mi.TupleType):
        known = list(node.item_types)
    elif found is not None and found.array:
        known = [field.type for field in found.fields]
    return (known + [mi.AnyType()] * length)[:length]


class _FaultFinder:
    """Finds every fault of a value: tries each part alone, and goes down only where one fails."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.faults: list[Fault] = []
        self.checks = MAX_CHECKS
        self.level = 0

    def add(self, path: str, message: str) -> None:
        self.faults.append(Fault(path, message))

    @property
    def exhausted(self) -> bool:
        """Whether enough has been told, or tried."""
        return len(self.faults) >= MAX_FAULTS or self.checks <= 0

    def check(self, node: mi.Type, value: Any, path: str) -> None:
        """List what is wrong with `value`, if anything."""
        if self.exhausted:
            return
        self.checks -= 1
        try:
            build(value, _python_type(node), self.strict)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            before = len(self.faults)
            if self.level < MAX_LEVELS:
                self.level += 1
                self._inside(bare(node), value, path)
                self.level -= 1
            if len(self.faults) == before:
                self._explain(bare(node), value, path, str(error))

    def _inside(self, node: mi.Type, value: Any, path: str) -> None:
        found = shape(node)
        if arms(node):
            self._union(node, value, path)
        elif (adapter := _adapter_of(node)) is not None:
            self._pydantic(adapter, value, path)
        elif isinstance(value, Mapping):
            if found is not None and not found.array:
                self._fields(found, value, path)
            elif isinstance(node, mi.DictType):
                for key, item in value.items():
                    if self.exhausted:
                        break
                    self.check(node.key_type, key, f"{_member(path, key)} (the key)")
                    self.check(node.value_type, item, _member(path, key))
        elif isinstance(value, list | tuple):
            for index, (inner, item) in enumerate(zip(_item_types(node, found, len(value)), value, strict=True)):
                if self.exhausted:
                    break
                self.check(inner, item, f"{path}[{index}]")

    def _fields(self, found: Shape, value: Mapping[Any, Any], path: str) -> None:
        for field in found.fields:
            if field.encode_name in value:
                self.check(field.type, value[field.encode_name], _member(path, field.encode_name))
            elif field.required:
                self.add(_member(path, field.encode_name), "missing")
        if found.closed:
            names = [field.encode_name for field in found.fields]
            for key in value:
                if key not in names and key != found.tag_field and len(self.faults) < MAX_FAULTS:
                    self.add(_member(path, key), _unknown(names))

    def _union(self, node: mi.Type, value: Any, path: str) -> None:
        """Report against the alternative that fits best; a scalar which fits none is told of all of them at once."""
        kind = _kind(value)
        fitting = [arm for arm in arms(node) if kind in _containers(bare(arm))]
        if kind == "s":
            if len(fitting) == 1 and value is not None:
                self.check(fitting[0], value, path)
            return
        if isinstance(value, Mapping) and self._tagged(fitting, value, path):
            return
        best: list[Fault] | None = None
        for index in closest(fitting, value):
            attempt = _FaultFinder(self.strict)
            attempt.checks, attempt.level = self.checks, self.level
            attempt.check(fitting[index], value, path)
            self.checks = attempt.checks
            if best is None or len(attempt.faults) < len(best):
                best = attempt.faults
        self.faults += best or []

    def _tagged(self, fitting: list[mi.Type], value: Mapping[Any, Any], path: str) -> bool:
        """Whether the alternatives are told apart by a tag; then the faults are those of the one that was meant."""
        shapes = [(shape(bare(arm)), arm) for arm in fitting]
        fields = {found.tag_field if found else None for found, _ in shapes}
        tag_field = fields.pop() if len(fields) == 1 else None
        if tag_field is None:
            return False
        tags = [found.tag for found, _ in shapes if found]
        if tag_field not in value:
            self.add(_member(path, tag_field), f"missing; {_one_of(tags)}")
        elif value[tag_field] not in tags:
            self.add(_member(path, tag_field), _one_of(tags))
        else:
            self.check(fitting[tags.index(value[tag_field])], value, path)
        return True

    def _pydantic(self, adapter: Any, value: Any, path: str) -> None:
        try:
            adapter.convert(value, self.strict)
        except ValueError as error:
            for location, message in adapter.explain(error):
                self.add(functools.reduce(_member, location, path), message)

    def _explain(self, node: mi.Type, value: Any, path: str, message: str) -> None:
        suffix = _SUFFIX.match(message)
        if suffix:
            message = suffix[1]
            path += suffix[2].removeprefix("$") if suffix[2].startswith("$") and "..." not in suffix[2] else ""
        handler = handler_of(node.cls) if isinstance(node, mi.CustomType) else None
        if message.startswith("Invalid enum value") and isinstance(node, mi.EnumType | mi.LiteralType):
            values = node.values if isinstance(node, mi.LiteralType) else [member.value for member in node.cls]
            message = _one_of(values)
        elif isinstance(handler, Choice):
            message = _one_of(json for json, _ in handler.pairs)
        elif arms(node) and _plain_words(message) == message:
            allowed = " or ".join(dict.fromkeys(_noun(arm) for arm in arms(node)))
            message = f"expected {allowed}, got {_got(value)}"
        self.add(path, _plain_words(message))


def _unknown(names: Collection[str]) -> str:
    return f"unknown; known are {', '.join(names)}" if names else "unknown; there are no arguments"


def _noun(node: mi.Type) -> str:
    """What a node wants, in words."""
    node = bare(node)
    if (found := shape(node)) is not None:
        return f"{getattr(found.cls, '__name__', found.cls)} ({'an array' if found.array else 'an object'})"
    if isinstance(node, mi.EnumType | mi.LiteralType):
        return _one_of(node.values if isinstance(node, mi.LiteralType) else [item.value for item in node.cls])[8:]
    if isinstance(node, mi.CollectionType | mi.TupleType):
        return _WORDS["array"]
    if isinstance(node, mi.CustomType):
        return type_name(node.cls)
    name = type(node).__name__.removesuffix("Type").lower()
    return _WORDS.get({"none": "null", "dict": "object"}.get(name, name), name)


def _got(value: Any) -> str:
    if value is None:
        return _GOT["null"]
    return _GOT.get({"{": "object", "[": "array"}.get(_kind(value), type(value).__name__), type(value).__name__)


def _find_faults(node: mi.Type, value: Any, strict: bool, error: Exception) -> list[Fault]:
    """Every fault of a value that was refused with `error`; never an empty list."""
    finder = _FaultFinder(strict)
    with contextlib.suppress(RecursionError), bounded_attempts():
        finder.check(node, value, "$")
    if len(finder.faults) >= MAX_FAULTS:
        finder.faults[MAX_FAULTS - 1 :] = [Fault("$", "there are more faults than are listed")]
    if finder.faults:
        return finder.faults
    return [Fault("$", "nested too deeply" if isinstance(error, RecursionError) else _plain_words(str(error)))]


# ---- the same tree, read for JSON Schema

_SCHEMAS: Final[Mapping[type[mi.Type], dict[str, Any]]] = {
    mi.AnyType: {}, mi.RawType: {}, mi.NoneType: {"type": "null"}, mi.BoolType: {"type": "boolean"},
    mi.IntType: {"type": "integer"}, mi.FloatType: {"type": "number"}, mi.StrType: {"type": "string"},
    mi.BytesType: {"type": "string", "contentEncoding": "base64"},
    mi.ByteArrayType: {"type": "string", "contentEncoding": "base64"},
    mi.MemoryViewType: {"type": "string", "contentEncoding": "base64"},
    mi.DateTimeType: {"type": "string", "format": "date-time"}, mi.DateType: {"type": "string", "format": "date"},
    mi.TimeType: {"type": "string", "format": "time"}, mi.TimeDeltaType: {"type": "string", "format": "duration"},
    mi.UUIDType: {"type": "string", "format": "uuid"}, mi.DecimalType: {"type": "string", "format": "decimal"},
}  # fmt: skip
_NUMBER_WORDS: Final = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
    "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern",
}  # fmt: skip
_REF: Final = "#/$defs/"


def _json_default(value: Any) -> Any:
    """A default as JSON, or NODEFAULT where it has no JSON form."""
    if value is msgspec.UNSET or value is NODEFAULT or value is ABSENT:
        return NODEFAULT
    try:
        if isinstance(value, float) and not math.isfinite(value):
            return NODEFAULT
        plain = msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)
        return msgspec.json.decode(msgspec.json.encode(plain))  # a tuple as the list it is in JSON
    except _REFUSALS:
        return NODEFAULT


class _Describer:
    """Writes the schemas of one root; classes go into `defs`, each once."""

    def __init__(self, mode: Literal["validation", "serialization"] = "validation") -> None:
        self.mode = mode
        self.defs: dict[str, dict[str, Any]] = {}
        self._names: dict[Any, str] = {}
        self._foreign: dict[str, Any] = {}

    def describe(self, node: mi.Type) -> dict[str, Any]:
        """The schema of a node. Raises: SchemaError where a type has no JSON form."""
        extra: dict[str, Any] = {}
        while isinstance(node, mi.Metadata):
            extra = {**(node.extra_json_schema or {}), **extra}
            node = node.type
        return {**self._describe(node), **extra}

    def _describe(self, node: mi.Type) -> dict[str, Any]:
        if type(node) in _SCHEMAS:
            return self._leaf(node)
        if (found := shape(node)) is not None:
            return self._class(found)
        if alternatives := arms(node):
            return {"anyOf": [self.describe(arm) for arm in alternatives]}
        match node:
            case mi.CollectionType() | mi.TupleType():
                return self._array(node)
            case mi.DictType():
                return self._mapping(node)
            case mi.LiteralType(values=values):
                return _enumeration(values)
            case mi.EnumType(cls=cls):
                return {**_enumeration([member.value for member in cls]), **_own_doc(cls)}
            case mi.CustomType(cls=cls):
                return self._custom(cls)
        raise SchemaError(f"{type(node).__name__.removesuffix('Type')} has no JSON form")

    @staticmethod
    def _leaf(node: mi.Type) -> dict[str, Any]:
        schema = dict(_SCHEMAS[type(node)])
        for key, word in _NUMBER_WORDS.items():
            if (limit := getattr(node, key, None)) is not None:
                # a length of bytes is one of base64 in JSON: four characters for three bytes
                schema[word] = 4 * ((limit + 2) // 3) if "contentEncoding" in schema else limit
        if "pattern" in schema:  # Python's spelling of named groups is its own
            schema["pattern"] = re.sub(r"\(\?P=(\w+)\)", r"\\k<\1>", schema["pattern"].replace("(?P<", "(?<"))
        return schema

    def _array(self, node: mi.CollectionType | mi.TupleType) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        if isinstance(node, mi.TupleType):
            schema["minItems"] = schema["maxItems"] = len(node.item_types)
            if node.item_types:
                schema["prefixItems"] = [self.describe(item) for item in node.item_types]
            return schema
        if items := self.describe(node.item_type):
            schema["items"] = items
        schema |= _bounds(node, "Items")
        if isinstance(node, mi.SetType | mi.FrozenSetType):
            schema["uniqueItems"] = True
        return schema

    def _mapping(self, node: mi.DictType) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        keys = self.describe(node.key_type)
        if keys.get("type") == "string" and len(keys) > 1:
            schema["propertyNames"] = {key: value for key, value in keys.items() if key != "type"}
        if values := self.describe(node.value_type):
            schema["additionalProperties"] = values
        return schema | _bounds(node, "Properties")

    def _class(self, found: Shape) -> dict[str, Any]:
        if found.cls not in self._names:
            name = self._free_name(_class_name(found.cls))
            self._names[found.cls] = name
            self.defs[name] = {}  # before its fields, which may refer to it
            self.defs[name] = self._class_body(found)
        return {"$ref": _REF + self._names[found.cls]}

    def _class_body(self, found: Shape) -> dict[str, Any]:
        cls = get_origin(found.cls) or found.cls
        documented = _member_docs(cls)
        members: dict[str, dict[str, Any]] = {}
        if found.tag_field is not None:
            members[found.tag_field] = {"const": found.tag}
        for field in found.fields:
            schema = self.describe(field.type)
            if field.name in documented:
                schema.setdefault("description", documented[field.name])
            default = field.default
            if field.default_factory in (list, dict, set):
                default = field.default_factory()
            if not field.required and (plain := _json_default(default)) is not NODEFAULT:
                schema["default"] = plain
            members[field.encode_name] = schema
        required = [field.encode_name for field in found.fields if field.required]
        if found.array:
            bounds = {"minItems": len(required), **({"maxItems": len(members)} if found.closed else {})}
            return {**_own_doc(cls), "type": "array", "prefixItems": list(members.values()), **bounds}
        if found.tag_field is not None:
            required.insert(0, found.tag_field)
        return {**_own_doc(cls), **_object(members, required, closed=found.closed)}

    def _custom(self, cls: Any) -> dict[str, Any]:
        handler = handler_of(cls)
        if isinstance(handler, Choice):
            return _enumeration([json for json, _ in handler.pairs])
        if isinstance(handler, FilePath):
            return {"type": "string", "format": "path"}
        if handler is None:
            raise SchemaError(
                f"{type_name(cls)} has no JSON form: use a dataclass, an attrs class, a TypedDict, a pydantic model "
                "or a builtin type"
            )
        try:
            schema = self._hoisted(handler.schema(self.mode))
        except TypeError as error:
            raise SchemaError(str(error)) from None
        if not is_pydantic(cls) or schema.get("type") != "object":
            return schema
        if cls not in self._names:
            self._names[cls] = self._free_name(_class_name(cls))
            self.defs[self._names[cls]] = schema
        return {"$ref": _REF + self._names[cls]}

    def _hoisted(self, schema: dict[str, Any]) -> dict[str, Any]:
        """pydantic's own `$defs` among ours, renamed where two mean different things by one name."""
        inner = schema.pop("$defs", {})
        renamed: dict[str, str] = {}
        for name, body in inner.items():
            if self._foreign.get(name) == body:
                continue
            free = self._free_name(name)
            self._foreign[free] = body
            self.defs[free] = {}
            renamed[_REF + name] = _REF + free
        for name, body in inner.items():
            if (new := renamed.get(_REF + name)) is not None:
                self.defs[new.removeprefix(_REF)] = _renamed(body, renamed)
        return cast(dict[str, Any], _renamed(schema, renamed))

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.defs:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def root(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema with the `$defs` it needs; a reference at the root is replaced by what it refers to."""
        while set(schema) <= {"$ref", "description", "title"} and str(schema.get("$ref")).startswith(_REF):
            name = schema["$ref"].removeprefix(_REF)
            around = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self.defs[name], **around}
            others = [schema, *(body for other, body in self.defs.items() if other != name)]
            if not _refers(others, _REF + name):
                del self.defs[name]
        return {**schema, "$defs": self.defs} if self.defs else schema


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        return {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_renamed(value, names) for value in schema]
    return names.get(schema, schema) if isinstance(schema, str) else schema


def _refers(schema: Any, reference: str) -> bool:
    if isinstance(schema, dict):
        return any(_refers(value, reference) for value in schema.values())
    return any(_refers(value, reference) for value in schema) if isinstance(schema, list) else schema == reference


def _object(members: Mapping[str, Any], required: Collection[str], *, closed: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": dict(members)}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def _bounds(node: Any, of: str) -> dict[str, Any]:
    limits = {f"min{of}": node.min_length, f"max{of}": node.max_length}
    return {word: limit for word, limit in limits.items() if limit is not None}


def _enumeration(values: Iterable[Any]) -> dict[str, Any]:
    listed = list(values)
    kinds = {type(value) for value in listed}
    names = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
    kind = names.get(kinds.pop().__name__) if len(kinds) == 1 else None
    return {"type": kind, "enum": listed} if kind else {"enum": listed}


def _class_name(cls: Any) -> str:
    origin = get_origin(cls)
    name = cls.__name__ if origin is None else f"{origin.__name__}_{'_'.join(type_name(arg) for arg in get_args(cls))}"
    return re.sub(r"[^A-Za-z0-9.\-_]", "_", name)


def _docstring(cls: Any) -> docstrings.Docstring:
    doc = cls.__dict__.get("__doc__") or ""
    generated = doc.startswith(f"{cls.__name__}(") or doc == "An enumeration."
    return docstrings.Docstring() if generated else docstrings.parse(doc)


def _own_doc(cls: Any) -> dict[str, str]:
    text = _docstring(cls).text
    return {"description": text} if text else {}


def _member_docs(cls: Any) -> dict[str, str]:
    """What is said of a class's fields: `Annotated[T, "text"]`, else the docstring."""
    documented = dict(_docstring(cls).params)
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError:
        return documented
    for name, hint in hints.items():
        if get_origin(hint) in (typing.Required, typing.NotRequired):
            hint = get_args(hint)[0]
        text = next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, str)), None)
        if text is not None:
            documented[name] = text
    return documented


def _encode(value: Any) -> Any:
    """The `enc_hook`: what msgspec cannot turn into JSON itself. Raises: TypeError."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if is_pydantic(type(value)) and hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# ---- functions


def _target(function: Callable[..., Any]) -> Any:
    """The plain function whose annotations and docstring count."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not (inspect.isfunction(inner) or inspect.ismethod(inner) or inspect.isclass(inner)):
        inner = type(inner).__call__ if hasattr(type(inner).__call__, "__code__") else inner
    return getattr(inner, "__func__", inner)


def _called(function: Callable[..., Any]) -> str:
    target = _target(function)
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


def _hints(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved annotations, and the names they were resolved with. Raises: SchemaError."""
    target = _target(function)
    names = _names_in_scope(target)
    where = _called(function)
    owner = target.__init__ if inspect.isclass(target) else target
    scope = getattr(owner, "__globals__", {})
    hints: dict[str, Any] = {}
    try:
        annotations = dict(getattr(owner, "__annotations__", {}))
    except NameError as error:  # Python 3.14 evaluates them here
        raise SchemaError(f"{where}: {error}: define the name before the function") from None
    for name, annotation in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(holder, globalns=scope, localns=names, include_extras=True)
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            raise SchemaError(
                f"{where}: {_place(name)}: the annotation {annotation!r} cannot be resolved ({error}): "
                "import or define the name where the function is defined"
            ) from None
    return hints, names


def _place(name: str) -> str:
    return "the return annotation" if name == "return" else f"parameter {name!r}"


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"{_called(function)} has no readable signature ({error}): wrap it in a function") from None


def _injected(annotation: Any, hidden: Collection[type]) -> type | None:
    """The hidden type an annotation asks for: itself, a subclass, a parametrised form, or any of these or None."""
    while get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arm for arm in get_args(annotation) if arm is not type(None)]
        return _injected(rest[0], hidden) if len(rest) == 1 else None
    cls = get_origin(annotation) or annotation
    if isinstance(cls, type):
        return next((wanted for wanted in hidden if issubclass(cls, wanted)), None)
    return None


@attrs.frozen
class _Parameter:
    """A visible parameter, translated. `wire`: what the client calls it."""

    name: str
    wire: str
    type: Any
    required: bool
    default: Any = NODEFAULT
    factory: Callable[[], Any] | None = None

    def member(self) -> tuple[str, Any, Any]:
        """Its field in the struct that the arguments are decoded into."""
        if self.required:
            return self.name, self.type, msgspec.field(name=self.wire)
        if self.factory is not None:
            return self.name, self.type, msgspec.field(default_factory=self.factory, name=self.wire)
        if isinstance(self.default, list | dict | set | bytearray):
            copied = _copier(self.default)  # one call's changes must not reach the next
            return self.name, self.type, msgspec.field(default_factory=copied, name=self.wire)
        if isinstance(self.default, msgspec.Struct):  # msgspec refuses a mutable one as a plain default
            return self.name, self.type, msgspec.field(default_factory=lambda: self.default, name=self.wire)
        return self.name, self.type, msgspec.field(default=self.default, name=self.wire)

    def describe(self, describer: _Describer, documented: Mapping[str, str]) -> dict[str, Any]:
        """Its property in the schema."""
        schema = describer.describe(mi.type_info(self.type))
        if self.name in documented:
            schema.setdefault("description", documented[self.name])
        default = self.default if self.factory not in (list, dict, set) else cast(Any, self.factory)()
        if not self.required and (plain := _json_default(default)) is not NODEFAULT:
            schema["default"] = plain
        return schema


def _copier(default: Any) -> Callable[[], Any]:
    items = default.values() if isinstance(default, dict) else default
    flat = all(isinstance(item, str | int | float | None) for item in items)
    return cast(Callable[[], Any], default.copy) if flat else functools.partial(copy.deepcopy, default)


def _parameter(given: inspect.Parameter, annotation: Any, translator: Translator) -> _Parameter:
    if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
        raise SchemaError("a client cannot send it: name each parameter, or take one dict")
    if given.kind is given.POSITIONAL_ONLY:
        raise SchemaError("it is positional-only, and arguments are given by name: remove the '/'")
    if given.name.startswith("__"):
        raise SchemaError("a name with two leading underscores cannot be decoded: rename it")
    is_field = type(given.default).__name__ == "FieldInfo" and type(given.default).__module__.startswith("pydantic")
    type_, facts = translator.field(annotation, *((given.default,) if is_field else ()))
    default = facts.default
    if not is_field and given.default is not given.empty:
        default = given.default
    if default is None and type_ is not Any:
        type_ = _optional(type_, translator)
    factory = facts.default_factory if default is NODEFAULT else None
    required = default is NODEFAULT and factory is None
    return _Parameter(given.name, facts.alias or given.name, type_, required, default, factory)


def _optional(type_: Any, translator: Translator) -> Any:
    """A default of None says that None is allowed, and clients send back the default they read in the schema."""
    outer = type_.__metadata__ if get_origin(type_) is Annotated else ()
    limited = any(getattr(item, key, None) is not None for item in outer for key in LIMITS)
    if outer and not limited:
        return Annotated[(_optional(type_.__origin__, translator), *outer)]
    if type_ is None or type_ is Any or type(None) in get_args(type_):
        return type_
    return translator.union([type_, None])


@attrs.frozen(slots=True)
class Arguments:
    """The parameters of one function, compiled.

    Attributes:
        schema: the `inputSchema`; its root is an object.
        hidden: the parameters that are injected by their type, and that type.
        names: the visible parameters in order, as a client sends them.
    """

    schema: dict[str, Any]
    hidden: Mapping[str, type]
    names: tuple[str, ...]
    _strict: bool
    _struct: Any
    _decode: Callable[[bytes | msgspec.Raw], Any]

    def decode(self, raw: bytes | msgspec.Raw) -> dict[str, Any]:
        """The keyword arguments in a JSON object; nothing at all, or `null`, is the empty object.

        Raises: ArgumentsError, with every fault, whatever the bytes are.
        """
        try:
            return msgspec.structs.asdict(self._decode(raw))
        except _REFUSALS:
            return self._decode_again(bytes(raw))

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments from Python values.

        Strings stand for any scalar even where the function is strict: prompt arguments and the variables of a URI
        template cannot arrive as anything else. Raises: ArgumentsError, with every fault.
        """
        return self._convert(dict(values), strict=False, repair=True)

    def _decode_again(self, raw: bytes) -> dict[str, Any]:
        if raw.strip() in (b"", b"null"):
            raw = b"{}"
        try:
            values = msgspec.json.decode(raw)
        except RecursionError:
            raise ArgumentsError([Fault("$", "nested too deeply")]) from None
        except UnicodeDecodeError as error:
            raise ArgumentsError([Fault("$", f"not valid UTF-8: {error.reason}")]) from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ArgumentsError([Fault("$", f"not valid JSON: {error}")]) from None
        return self._convert(values, strict=self._strict, repair=not self._strict and len(raw) <= MAX_REPAIRED)

    def _convert(self, values: Any, *, strict: bool, repair: bool) -> dict[str, Any]:
        node = mi.type_info(self._struct)
        try:
            if repair:
                values = _repaired(node, values)
            return msgspec.structs.asdict(build(values, self._struct, strict))
        except _REFUSALS as error:
            raise ArgumentsError(_find_faults(node, values, strict, error)) from None


def compile_arguments(
    function: Callable[..., Any],
    *,
    hidden: Mapping[type, Any] | tuple[type, ...] = (),
    strict: bool = False,
    exclude: Collection[str] = (),
) -> Arguments:
    """Compile a function's parameters.

    Args:
        function: a function, method, partial or callable object.
        hidden: types that the server injects; parameters of these types are left out of the schema.
        strict: refuse `"10"` for an integer, JSON text for a list, and arguments the function does not have.
        exclude: names of parameters to leave out besides; they must have defaults or be given by the caller.

    Raises:
        SchemaError: something has no JSON Schema; names the function and the parameter.
    """
    where = _called(function)
    hints, names = _hints(function)
    translator = Translator(names)
    documented = docstrings.parse(inspect.getdoc(_target(function))).params
    describer = _Describer()
    parameters: list[_Parameter] = []
    properties: dict[str, dict[str, Any]] = {}
    injected: dict[str, type] = {}
    for given in _signature(function).parameters.values():
        annotation = hints.get(given.name, Any)
        if given.name in exclude:
            continue
        if (wanted := _injected(annotation, tuple(hidden))) is not None:
            injected[given.name] = wanted
            continue
        try:
            parameter = _parameter(given, annotation, translator)
            properties[parameter.wire] = parameter.describe(describer, documented)
        except (TypeError, ValueError, NameError, RecursionError) as error:
            raise SchemaError(f"{where}: {_place(given.name)}: {error}") from None
        parameters.append(parameter)
    if len(properties) != len(parameters):
        raise SchemaError(f"{where}: two parameters have the same alias")
    required = [parameter.wire for parameter in parameters if parameter.required]
    try:
        struct = msgspec.defstruct(
            "Arguments", [item.member() for item in parameters], kw_only=True, forbid_unknown_fields=strict
        )
        decoder = msgspec.json.Decoder(struct, strict=strict, dec_hook=hook(strict))
    except (TypeError, ValueError, RuntimeError) as error:
        raise SchemaError(f"{where}: {error}") from None
    schema = describer.root(_object(properties, required, closed=strict))
    return Arguments(schema, injected, tuple(properties), strict, struct, decoder.decode)


def describe(function: Callable[..., Any]) -> str | None:
    """A function's docstring as a description: without the sections that list parameters. None where there is none."""
    return docstrings.parse(inspect.getdoc(_target(function))).text or None


def takes_context(function: Callable[..., Any], context: type) -> tuple[str, str | None]:
    """The names of a raw handler's parameters: the one for the params dict, and the one for the context, if any.

    Raises:
        SchemaError: it takes neither one parameter nor one and a context.
    """
    hints, _ = _hints(function)
    names = list(_signature(function).parameters)
    injected = [name for name in names if _injected(hints.get(name, Any), (context,)) is not None]
    rest = [name for name in names if name not in injected]
    if len(injected) == 0 and len(rest) == 2:  # handler(params, ctx) without annotations
        injected = [rest.pop()]
    if len(rest) != 1 or len(injected) > 1:
        raise SchemaError(f"{_called(function)} must take the params dict, and may take a {context.__name__}")
    return rest[0], injected[0] if injected else None


# ---- return annotations and single types

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
                found = self._adapter.explain(error)
                raise OutputError(Fault(functools.reduce(_member, at, "$"), text) for at, text in found) from None
        try:
            plain = msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)
        except _REFUSALS as error:
            raise OutputError([Fault("$", f"cannot be written as JSON: {error}")]) from None
        try:
            build(plain, self._type, True)
        except _REFUSALS as error:
            raise OutputError(_find_faults(mi.type_info(self._type), plain, True, error)) from None
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
    hints, names = _hints(function)
    annotation = hints.get("return", Any)
    if get_origin(annotation) in (collections.abc.Awaitable, collections.abc.Coroutine):
        annotation = get_args(annotation)[-1]
    if _is_unstructured(annotation, unstructured):
        return Output(None, False)
    try:
        type_ = Translator(names).type(annotation)
        describer = _Describer("serialization")
        schema = describer.root(describer.describe(mi.type_info(type_)))
        adapter = None
        if _uses_pydantic(annotation):
            # models have to be written by pydantic, which knows their serializers and aliases
            adapter = _whole_adapter(annotation)
    except (TypeError, ValueError, NameError, RecursionError) as error:
        raise SchemaError(f"{_called(function)}: {_place('return')}: {error}") from None
    if schema.get("type") == "object":
        return Output(schema, False, type_, adapter)
    defs = schema.pop("$defs", None)
    wrapper = _object({"result": schema}, ["result"], closed=False)
    return Output(wrapper | ({"$defs": defs} if defs else {}), True, type_, adapter)


def _whole_adapter(annotation: Any) -> Any:
    # imported late: only a server that uses pydantic has it
    from trio_mcp import pydantic_support

    return pydantic_support.Adapter.of(annotation)


@functools.lru_cache(256)
def _compiled(type_: Any) -> tuple[Any, mi.Type]:
    translated = Translator().type(type_)
    return translated, mi.type_info(translated)


def schema_of(type_: Any, *, strict: bool = False) -> dict[str, Any]:
    """The JSON Schema of one type. `strict`: an object takes no members it does not name.

    Raises:
        SchemaError: the type has no JSON Schema.
    """
    try:
        describer = _Describer()
        schema = describer.root(describer.describe(_compiled(type_)[1]))
    except (TypeError, ValueError, NameError, RecursionError) as error:
        raise SchemaError(f"{type_name(type_)}: {error}") from None
    if strict and "properties" in schema:
        schema["additionalProperties"] = False
    return schema


def convert(value: Any, type_: Any, *, strict: bool = False) -> Any:
    """Build a value of a type from JSON builtins.

    Raises:
        ArgumentsError: it does not fit; lists every fault.
        SchemaError: the type has no JSON form.
    """
    translated, node = _compiled(type_)
    try:
        if not strict:
            value = _repaired(node, value)
        built = build(value, translated, strict)
    except _REFUSALS as error:
        raise ArgumentsError(_find_faults(node, value, strict, error)) from None
    found = shape(bare(node))
    if strict and found is not None and isinstance(value, Mapping):
        names = [field.encode_name for field in found.fields]
        surplus = [Fault(_member("$", key), _unknown(names)) for key in value if key not in (*names, found.tag_field)]
        if surplus:
            raise ArgumentsError(surplus)
    return built
