"""JSON Schema 2020-12, written from msgspec's tree of types.

Owns: the schema of every kind of node, `$defs` and what they are called, descriptions out of docstrings, defaults.
Refuses: reading annotations (`translator`), and signatures (`arguments`).
"""

import math
import re
import typing
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, cast, get_args, get_origin

import msgspec
import msgspec.inspect as mi

from trio_mcp.schema import docstrings
from trio_mcp.schema.class_fields import NODEFAULT
from trio_mcp.schema.errors import SchemaError, type_name
from trio_mcp.schema.stand_ins import REFUSALS, FilePath, handler_of, is_pydantic, to_builtins
from trio_mcp.schema.tree import Shape, arms, options, shape

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
_LIMIT_WORDS: Final = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum", "multiple_of": "multipleOf",
    "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern",
}  # fmt: skip
_REF: Final = "#/$defs/"


class Describer:
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

    def member(self, node: mi.Type, text: str | None, default: Any, factory: Any) -> dict[str, Any]:
        """The schema of a field or a parameter, with its description and its default. Raises: as `describe`."""
        schema = self.describe(node)
        if text is not None:
            schema.setdefault("description", text)
        plain = _json_default(factory() if factory in (list, dict, set) else default)
        if plain is not NODEFAULT:
            schema["default"] = plain
        return schema

    def _describe(self, node: mi.Type) -> dict[str, Any]:
        if type(node) in _SCHEMAS:
            return self._leaf(node)
        if (found := shape(node)) is not None:
            return self._class(found)
        if alternatives := arms(node):
            return {"anyOf": [self.describe(arm) for arm in alternatives]}
        if (values := options(node)) is not None:
            return {**_enumeration(values), **(_own_doc(node.cls) if isinstance(node, mi.EnumType) else {})}
        match node:
            case mi.CollectionType() | mi.TupleType():
                return self._array(node)
            case mi.DictType():
                return self._mapping(node)
            case mi.CustomType(cls=cls):
                return self._custom(cls)
        raise SchemaError(f"{type(node).__name__.removesuffix('Type')} has no JSON form")

    @staticmethod
    def _leaf(node: mi.Type) -> dict[str, Any]:
        schema = dict(_SCHEMAS[type(node)])
        for key, word in _LIMIT_WORDS.items():
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
            text = documented.get(field.name)
            members[field.encode_name] = self.member(field.type, text, field.default, field.default_factory)
        required = [field.encode_name for field in found.fields if field.required]
        if found.array:
            bounds = {"minItems": len(required), **({"maxItems": len(members)} if found.closed else {})}
            return {**_own_doc(cls), "type": "array", "prefixItems": list(members.values()), **bounds}
        if found.tag_field is not None:
            required.insert(0, found.tag_field)
        return {**_own_doc(cls), **object_schema(members, required, closed=found.closed)}

    def _custom(self, cls: Any) -> dict[str, Any]:
        handler = handler_of(cls)
        if isinstance(handler, FilePath):
            return {"type": "string", "format": "path"}
        if handler is None:
            raise SchemaError(
                f"{type_name(cls)} has no JSON form: use a dataclass, an attrs class, a TypedDict, a pydantic model "
                "or a builtin type"
            )
        schema = self._hoisted(handler.schema(self.mode))
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


def object_schema(members: Mapping[str, Any], required: Collection[str], *, closed: bool) -> dict[str, Any]:
    """The schema of an object. `closed`: it takes no members it does not name."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(members)}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def _bounds(node: Any, of: str) -> dict[str, Any]:
    limits = {f"min{of}": node.min_length, f"max{of}": node.max_length}
    return {word: limit for word, limit in limits.items() if limit is not None}


def _enumeration(values: list[Any]) -> dict[str, Any]:
    kinds = {type(value).__name__ for value in values}
    names = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}
    kind = names.get(kinds.pop()) if len(kinds) == 1 else None
    return {"type": kind, "enum": values} if kind else {"enum": values}


def _json_default(value: Any) -> Any:
    """A default as JSON, or NODEFAULT where it has no JSON form."""
    if value is msgspec.UNSET or value is NODEFAULT:
        return NODEFAULT
    if isinstance(value, float) and not math.isfinite(value):
        return NODEFAULT
    try:
        return msgspec.json.decode(msgspec.json.encode(to_builtins(value)))  # a tuple as the list it is in JSON
    except REFUSALS:
        return NODEFAULT


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
