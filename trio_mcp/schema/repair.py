"""JSON text in place of the list or object that was asked for: models write those as strings.

Owns: parsing it where nothing else can be meant. Refuses: every other repair; scalars are msgspec's lenient mode's.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.tree import arms, bare, item_types, kind_of, kinds_of, shape


def repaired(node: mi.Type, value: Any) -> Any:
    """The value, with JSON text parsed where only a list or an object can be meant."""
    node = bare(node)
    if isinstance(value, str):
        kinds, text = kinds_of(node), value.strip()
        if "s" in kinds or text[:1] not in tuple(kinds):
            return value
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, ValueError):
            return value
    return value if kind_of(value) == "s" else _repaired_inside(node, value)


def _repaired_inside(node: mi.Type, value: Any) -> Any:
    alternatives = [arm for arm in arms(node) if kind_of(value) in kinds_of(arm)]
    if alternatives:
        return repaired(alternatives[0], value) if len(alternatives) == 1 else value
    if isinstance(node, mi.CollectionType) and not _may_hold(node.item_type):
        return value
    if isinstance(node, mi.DictType) and not _may_hold(node.value_type):
        return value
    found = shape(node)
    if not isinstance(value, Mapping):
        return [repaired(inner, item) for inner, item in zip(item_types(node, found, len(value)), value, strict=True)]
    if isinstance(node, mi.DictType):
        return {key: repaired(node.value_type, item) for key, item in value.items()}
    if found is None or found.array:
        return value
    inner = {field.encode_name: field.type for field in found.fields}
    return {key: repaired(inner[key], item) if key in inner else item for key, item in value.items()}


def _may_hold(node: mi.Type) -> bool:
    """Whether anything in the node could want a repair; long lists of scalars are not walked."""
    return kinds_of(node) not in ("", "s")
