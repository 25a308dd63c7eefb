"""The restricted schema of elicitation forms (client/elicitation, Requested Schema), as dicts.

Owns: which schemas the specification allows (a flat object of strings, numbers, booleans and options), and which values
fit a field. Values are taken exactly: 12345 is no string and "5" no number; 5.0 is an integer, as in JSON Schema.
Refuses: nested forms, any keyword the specification does not list, and making a schema (`elicitation_form`).
"""

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from trio_mcp.schema import Fault
from trio_mcp.schema.faults import MAX_FAULTS

_SHARED: Final = frozenset(("type", "title", "description", "default"))
KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": _SHARED | {"minLength", "maxLength", "pattern", "format", "enum", "enumNames", "oneOf"},
    "number": _SHARED | {"minimum", "maximum"},
    "integer": _SHARED | {"minimum", "maximum"},
    "boolean": _SHARED,
    "array": _SHARED | {"minItems", "maxItems", "items"},
}
_BOUNDS: Final = ("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_WORDS: Final = {"string": "a string", "number": "a number", "integer": "an integer", "boolean": "true or false"}
FLAT: Final = "elicitation asks only for flat fields: string, number, integer, boolean, or string options"

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def check_form(schema: Mapping[str, Any]) -> None:
    """Whether a form is one that the specification allows. Raises: ValueError."""
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ValueError("an elicitation schema is an object: {'type': 'object', 'properties': {…}, 'required': […]}")
    for name, asked in properties.items():
        problem = _problem(asked)
        if problem is None and "default" in asked:
            faults = list(faults_of(asked, asked["default"], "default"))
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
    if not isinstance(kind, str) or kind not in KEYWORDS:
        hint = "; leave a field that may be empty out of required" if isinstance(kind, list) else ""
        return f"{FLAT}; this has the type {kind!r}{hint}"
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


def _options(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values to choose among, in any of the forms of an enum; None where the field is free."""
    if "enum" in schema:
        return list(schema["enum"])
    titled = schema.get("oneOf", schema.get("anyOf"))
    return None if titled is None else [option["const"] for option in titled]


def faults_of(asked: Mapping[str, Any], value: Any, path: str) -> Iterator[Fault]:
    """What is wrong with the value of one field; `asked` is the field's schema, which `check_form` has let pass."""
    kind = asked["type"]
    if kind == "array":
        yield from _list_faults(asked, value, path)
    elif not _is(kind, value):
        yield Fault(path, f"expected {_WORDS[kind]}, got {got(value)}")
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
        yield Fault(path, f"expected an array, got {got(value)}")
        return
    if len(value) < asked.get("minItems", 0):
        yield Fault(path, f"must have {asked['minItems']} items or more")
    if len(value) > asked.get("maxItems", math.inf):
        yield Fault(path, f"must have {asked['maxItems']} items or fewer")
    options = _options(asked["items"]) or []
    wrong = ((index, item) for index, item in enumerate(value) if not isinstance(item, str) or item not in options)
    for index, item in islice(wrong, MAX_FAULTS):
        message = _one_of(options) if isinstance(item, str) else f"expected a string, got {got(item)}"
        yield Fault(f"{path}[{index}]", message)


def got(value: Any) -> str:
    """What a value is, in a message."""
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "an integer", float: "a number", list: "an array", dict: "an object"}
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
