"""JSON Schemas of a stranger: whether one is valid, and whether a value fits it.

With the extra `jsonschema` by its validator, bounded and without fetching anything; else only what can be seen without
one: the types of the keywords that matter most.
"""

from importlib.util import find_spec
from typing import Any, Final

from trio_mcp.check.findings import kind, printable, quoted
from trio_mcp.exceptions import RegistrationError
from trio_mcp.json_schema import compile_validator

TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
OBJECTS: Final = ("properties", "patternProperties", "$defs")
ARRAYS: Final = ("required", "allOf", "anyOf", "oneOf", "enum")


def has_validator() -> bool:
    """Whether the extra is installed."""
    return find_spec("jsonschema_rs") is not None


def fault_in_schema(schema: Any, *, validator: bool | None = None) -> str:
    """What is wrong with a schema, or nothing; `validator` None uses it where it is installed."""
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, dict):
        return f"it is {kind(schema)}, not an object"
    if has_validator() if validator is None else validator:
        try:
            compile_validator(schema, owner="it")
        except (RegistrationError, RecursionError) as error:
            return printable(str(error).removeprefix("it "))
        return ""
    return _plain_fault(schema, 0)


def _plain_fault(schema: Any, depth: int) -> str:
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, dict) or depth > 64:
        return f"a schema in it is {kind(schema)}" if depth <= 64 else "it nests deeper than 64 levels"
    types = schema.get("type", [])
    for type in types if isinstance(types, list) else [types]:
        if not isinstance(type, str) or type not in TYPES:
            return f"{quoted(type)} is no type"
    for keys, wanted in ((OBJECTS, dict), (ARRAYS, list)):
        for key in keys:
            if not isinstance(schema.get(key, wanted()), wanted):
                return f"{key} is {kind(schema[key])}"
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return next((fault for one in inner if (fault := _plain_fault(one, depth + 1))), "")


def fault_in_value(schema: Any, value: Any) -> str:
    """How a value does not fit a schema, or nothing; without the extra only whether it is an object if it must be."""
    if not isinstance(schema, dict):
        return ""
    if not has_validator():
        missing = schema.get("type") == "object" and not isinstance(value, dict)
        return f"it is {kind(value)}, not an object" if missing else ""
    try:
        faults = compile_validator(schema, owner="it")(value)
    except (RegistrationError, RecursionError):
        return ""  # told where schemas are checked
    return "; ".join(f"{fault.path}: {printable(fault.message)}" for fault in faults[:2])
