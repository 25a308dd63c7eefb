"""One type by itself: its JSON Schema, and values built to it from JSON builtins.

Owns: types that no function's signature mentions, such as those of elicitation. Refuses: nothing of its own.
"""

import functools
from collections.abc import Mapping
from typing import Any

import msgspec.inspect as mi

from trio_mcp.schema.describer import Describer
from trio_mcp.schema.errors import ArgumentsError, SchemaError, type_name
from trio_mcp.schema.faults import find_faults, surplus_faults
from trio_mcp.schema.repair import repaired
from trio_mcp.schema.signatures import reason
from trio_mcp.schema.stand_ins import REFUSALS, build
from trio_mcp.schema.translator import Translator
from trio_mcp.schema.tree import bare, shape


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
        describer = Describer()
        schema = describer.root(describer.describe(_compiled(type_)[1]))
    except (TypeError, ValueError, NameError, RecursionError) as error:
        raise SchemaError(f"{type_name(type_)}: {reason(error)}") from None
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
            value = repaired(node, value)
        built = build(value, translated, strict)
    except REFUSALS as error:
        raise ArgumentsError(find_faults(node, value, strict, error)) from None
    found = shape(bare(node))
    if strict and found is not None and isinstance(value, Mapping):
        surplus = list(surplus_faults(found, value, "$"))
        if surplus:
            raise ArgumentsError(surplus)
    return built
