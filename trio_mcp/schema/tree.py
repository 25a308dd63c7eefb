"""msgspec's tree of types, read so that a stand-in counts as what it stands for.

Owns: the questions that all readings of the tree share: which fields, which alternatives, which kinds of JSON, and the
way back to an annotation. Refuses: changing anything, and values.
"""

import datetime
import decimal
import types
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, cast, get_origin

import attrs
import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.metadata import LIMITS
from trio_mcp.schema.stand_ins import Choice, Shadow, handler_of

_LEAVES: Final[Mapping[type[mi.Type], Any]] = {
    mi.NoneType: None, mi.BoolType: bool, mi.IntType: int, mi.FloatType: float, mi.StrType: str,
    mi.BytesType: bytes, mi.ByteArrayType: bytearray, mi.MemoryViewType: memoryview, mi.UUIDType: uuid.UUID,
    mi.DateTimeType: datetime.datetime, mi.DateType: datetime.date, mi.TimeType: datetime.time,
    mi.TimeDeltaType: datetime.timedelta, mi.DecimalType: decimal.Decimal,
}  # fmt: skip
_COLLECTIONS: Final[Mapping[type[mi.Type], Any]] = {
    mi.ListType: list, mi.SetType: set, mi.FrozenSetType: frozenset
}  # fmt: skip


@attrs.frozen
class Shape:
    """A class with named fields, be it native to msgspec or a stand-in. `array`: its JSON form is an array."""

    cls: Any
    fields: tuple[mi.Field, ...]
    array: bool = False
    closed: bool = False
    tag_field: str | None = None
    tag: Any = None


def bare(node: mi.Type) -> mi.Type:
    """A node without the documentation around it."""
    while isinstance(node, mi.Metadata):
        node = node.type
    return node


def handler(node: mi.Type) -> Any:
    """The handler of a node (already bare) that msgspec leaves to the hook, else None."""
    return handler_of(node.cls) if isinstance(node, mi.CustomType) else None


def pydantic_adapter(node: mi.Type) -> Any:
    """pydantic's adapter behind a node (already bare), else None."""
    found = handler(node)
    return found if hasattr(found, "explain") else None


def shape(node: mi.Type) -> Shape | None:
    """The fields of a class-like node (already bare), else None."""
    if isinstance(node, mi.StructType):
        return Shape(node.cls, node.fields, node.array_like, node.forbid_unknown_fields, node.tag_field, node.tag)
    if isinstance(node, mi.TypedDictType):
        order = list(getattr(get_origin(node.cls) or node.cls, "__annotations__", ()))
        known = {name: index for index, name in enumerate(order)}
        return Shape(node.cls, tuple(sorted(node.fields, key=lambda field: known.get(field.name, -1))))
    if isinstance(node, mi.DataclassType):
        return Shape(node.cls, node.fields)
    if isinstance(node, mi.NamedTupleType):
        return Shape(node.cls, node.fields, array=True, closed=True)
    shadow = handler(node)
    if not isinstance(shadow, Shadow):
        return None
    struct = cast(mi.StructType, mi.type_info(shadow.struct))
    fields = tuple(
        mi.Field(own.name, inner.encode_name, inner.type, inner.required, default=own.default)
        for inner, own in zip(struct.fields, shadow.fields, strict=True)
    )
    return attrs.evolve(cast(Shape, shape(struct)), cls=shadow.cls, fields=fields)


def arms(node: mi.Type) -> tuple[mi.Type, ...]:
    """The alternatives of a union node (already bare), else nothing."""
    if isinstance(node, mi.UnionType):
        return tuple(inner for arm in node.types for inner in (arms(bare(arm)) or (arm,)))
    return tuple(mi.type_info(arm) for arm in getattr(handler(node), "arms", ()))


def options(node: mi.Type) -> list[Any] | None:
    """The JSON values of an enum or a literal (already bare), else None."""
    if isinstance(node, mi.EnumType):
        return [member.value for member in node.cls]
    if isinstance(node, mi.LiteralType):
        return list(node.values)
    choice = handler(node)
    return [json for json, _ in choice.pairs] if isinstance(choice, Choice) else None


def item_types(node: mi.Type, found: Shape | None, length: int) -> list[mi.Type]:
    """The type of each item of an array that a node (of that shape) describes; what is surplus may be anything."""
    if isinstance(node, mi.CollectionType):
        return [node.item_type] * length
    known: list[mi.Type] = []
    if isinstance(node, mi.TupleType):
        known = list(node.item_types)
    elif found is not None and found.array:
        known = [field.type for field in found.fields]
    return (known + [mi.AnyType()] * length)[:length]


def kind_of(value: Any) -> str:
    """How the JSON of a value begins: `[`, `{` or, for scalars, `s`."""
    return "{" if isinstance(value, Mapping) else "[" if isinstance(value, list | tuple) else "s"


def kinds_of(node: mi.Type) -> str:
    """How the JSON of a node may begin: any of `[`, `{` and, for scalars, `s`; null alone is none of them."""
    node = bare(node)
    if alternatives := arms(node):
        return "".join({kind for arm in alternatives for kind in kinds_of(arm)})
    if (found := shape(node)) is not None:
        return "[" if found.array else "{"
    if isinstance(node, mi.CollectionType | mi.TupleType):
        return "["
    if isinstance(node, mi.DictType):
        return "{"
    if isinstance(node, mi.NoneType):
        return ""
    adapter = pydantic_adapter(node)
    return {"object": "{", "array": "["}.get(adapter.kind if adapter else "", "s")


def python_type(node: mi.Type) -> Any:
    """The annotation a node came from, so that one part of a value can be tried alone."""
    node = bare(node)
    made = _unlimited(node)
    limits = {key: limit for key in LIMITS if (limit := getattr(node, key, None)) is not None}
    return Annotated[made, msgspec.Meta(**limits)] if limits else made


def _unlimited(node: mi.Type) -> Any:
    if type(node) in _LEAVES:
        return _LEAVES[type(node)]
    if type(node) in _COLLECTIONS:
        return _COLLECTIONS[type(node)][python_type(cast(mi.CollectionType, node).item_type)]
    match node:
        case mi.VarTupleType(item_type=item):
            return types.GenericAlias(tuple, (python_type(item), ...))
        case mi.TupleType(item_types=items):
            return types.GenericAlias(tuple, tuple(python_type(item) for item in items))
        case mi.DictType(key_type=key, value_type=value):
            return types.GenericAlias(dict, (python_type(key), python_type(value)))
        case mi.UnionType(types=alternatives):
            return cast(Any, Union)[tuple(python_type(arm) for arm in alternatives)]
        case mi.LiteralType(values=values):
            return cast(Any, Literal)[values]
    return getattr(node, "cls", Any)
