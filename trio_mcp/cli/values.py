"""Values of `Settings` from text and TOML, each checked by its field; what is wrong names the place where it stands."""

import math
import re
from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs
import msgspec

from trio_mcp.cli.errors import CliError, one_line, told
from trio_mcp.cli.sources import Given
from trio_mcp.settings import Settings

TRUE: Final = frozenset({"true", "yes", "on", "1"})
FALSE: Final = frozenset({"false", "no", "off", "0"})
NONE: Final = frozenset({"none", "null"})


def converted(kind: Any, value: Any) -> Any:
    """A value as a field of this type holds it.

    Raises:
        ValueError: what it must be.
    """
    members = get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) is Union else (kind,)
    if NoneType in members and isinstance(value, str) and value.strip().lower() in NONE:
        return None
    kinds = [member for member in members if member is not NoneType]
    for member in kinds[:-1]:
        try:
            return _converted(member, value)
        except ValueError:
            continue
    return _converted(kinds[-1], value)


def _converted(kind: Any, value: Any) -> Any:
    if kind is bool:
        return _truth(value)
    if kind is int or kind is float:
        return _number(kind, value)
    if kind is str or kind is bytes:
        if not isinstance(value, str):
            raise ValueError("must be text")
        return value.encode() if kind is bytes else value
    if get_origin(kind) is tuple and get_args(kind) == (str, ...):
        return _texts(value)
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in get_args(kind)}
        if str(value) not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return choices[str(value)]
    return _other(kind, value)


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE | FALSE:
        raise ValueError("must be true or false")
    return text in TRUE


def _number(kind: type[int] | type[float], value: Any) -> int | float:
    # Every float of Settings is a duration.
    must = "must be a whole number" if kind is int else "must be a number of seconds"
    if isinstance(value, bool) or not isinstance(value, (str, int, kind)):
        raise ValueError(must)
    try:
        number = kind(value)
    except ValueError as error:
        raise ValueError(must) from error
    if math.isnan(number):
        raise ValueError(must)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _texts(value: Any) -> tuple[str, ...]:
    """Text with commas, or a list."""
    if isinstance(value, str):
        return tuple(stripped for part in value.split(",") if (stripped := part.strip()))
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError("must be a list of texts, or one text with commas in between")


def _other(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(member.value) for member in kind]
        if str(value) not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"cannot be: {error}") from error


def applied(settings: Settings, given: Mapping[str, Given], flags: Mapping[str, Any]) -> Settings:
    """The settings with what was given elsewhere, and with flags, which win.

    Args:
        flags: fields with their values, converted already.

    Raises:
        CliError: a value that cannot be, and where it stands.
    """
    values = {}
    for field in attrs.fields(Settings):
        one = given.get(field.name)
        if one is not None and field.name not in flags:
            try:
                values[field.name] = converted(field.type, one.value)
            except ValueError as error:
                raise one.fault(str(error)) from error
    try:
        return attrs.evolve(settings, **values, **flags)
    except ValueError as error:
        for name, value in values.items():
            _blame(given[name], value)
        raise CliError(told(error).removeprefix("ValueError: ")) from error


def _blame(given: Given, value: Any) -> None:
    """Raise if this value is wrong by itself."""
    try:
        attrs.evolve(Settings(), **{given.name: value})
    except ValueError as error:
        text = one_line(str(error))
        # attrs says "'name' must be > 0: -1"; name and value stand before it already
        found = re.fullmatch(rf"'{given.name}' (must .*): [^:]*", text)
        raise given.fault(found[1] if found else text.removeprefix(f"{given.name} ")) from error


def parse_assignment(text: str) -> Given:
    """`NAME=VALUE` as `--set` takes it.

    Raises:
        ValueError: it is not that, or there is no such setting.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is no NAME=VALUE, such as tool_timeout=30")
    if name not in {field.name for field in attrs.fields(Settings)}:
        raise ValueError(f"{name!r} is no field of Settings; trio-mcp settings shows what there is")
    return Given(name, f"--set {name}", value, "")
