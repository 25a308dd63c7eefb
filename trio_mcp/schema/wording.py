"""What a model is told of a value that does not fit: msgspec's words and types in plain words.

Owns: the texts. Refuses: finding out what is wrong (`faults`).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.errors import type_name
from trio_mcp.schema.tree import bare, kind_of, options, shape

MAX_CHOICES: Final = 30

_WORDS: Final = {
    "int": "an integer", "float": "a number", "str": "a string", "bool": "true or false", "array": "an array",
    "object": "an object", "null": "null", "datetime": "a date-time", "date": "a date", "time": "a time",
    "timedelta": "a duration", "uuid": "a UUID", "decimal": "a decimal number", "bytes": "base64 data",
}  # fmt: skip
_GOT: Final = {**_WORDS, "float": "a number with a fraction", "bool": "a boolean"}
_INVALID: Final = {
    "Invalid UUID": "expected a UUID",
    "Invalid RFC3339 encoded datetime": "expected a date-time, such as 1999-12-31T12:30:00Z",
    "Invalid RFC3339 encoded date": "expected a date, such as 1999-12-31",
    "Invalid RFC3339 encoded time": "expected a time, such as 12:30:00",
    "Invalid ISO8601 duration": "expected a duration, such as P1DT2H or PT30S",
    "Invalid decimal string": "expected a decimal number, such as 12.50",
    "Invalid base64 encoded string": "expected base64 data",
}
_EXPECTED_GOT: Final = re.compile(r"^Expected `([^`]+)`, got `([^`]+)`$")
_BOUND: Final = re.compile(r"^Expected `([^`]+)` (of length )?(>=|<=|>|<) (\S+)$")
_LENGTH: Final = re.compile(r"^Expected `array` of (?:length )?(.+?), got (\d+)$")
_SIGNS: Final = {">=": "≥", "<=": "≤", ">": ">", "<": "<"}


def _words(names: str, table: Mapping[str, str]) -> str:
    return " or ".join(table.get(name, name) for name in names.split(" | "))


def plain_words(message: str) -> str:
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


def one_of(values: Iterable[Any]) -> str:
    """That a value must be one of these."""
    return f"must be {_choices(values)}"


def _choices(values: Iterable[Any]) -> str:
    listed = [msgspec.json.encode(value).decode() for value in values]
    return f"one of {', '.join(listed[:MAX_CHOICES])}" + (", …" if len(listed) > MAX_CHOICES else "")


def wanted(node: mi.Type) -> str:
    """What a node takes."""
    node = bare(node)
    if (found := shape(node)) is not None:
        return f"{getattr(found.cls, '__name__', found.cls)} ({'an array' if found.array else 'an object'})"
    if isinstance(node, mi.CustomType):
        return type_name(node.cls)
    if (values := options(node)) is not None:
        return _choices(values)
    if isinstance(node, mi.CollectionType | mi.TupleType):
        return _WORDS["array"]
    name = type(node).__name__.removesuffix("Type").lower()
    return _WORDS.get({"none": "null", "dict": "object"}.get(name, name), name)


def got(value: Any) -> str:
    """What a value is."""
    name = "null" if value is None else {"{": "object", "[": "array"}.get(kind_of(value), type(value).__name__)
    return _GOT.get(name, name)
