"""The syntax of URI templates (RFC 6570, all four levels): taking one apart, and expanding it.

Owns: the grammar, expansion, and the one spelling in which URIs are compared. Refuses: matching
(`uri_template_matching`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

import attrs

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RESERVED: Final = ":/?#[]@!$&'()*+,;="
_TRIPLET: Final = re.compile(r"%([0-9A-Fa-f]{2})")
BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
SEPARATORS: Final = {"": ",", "+": ",", "#": ",", ".": ".", "/": "/", ";": ";", "?": "&", "&": "&"}
_NAMED: Final = frozenset(";?&")


class UriTemplateError(ValueError):
    """A template that cannot be parsed or matched, or a value that cannot be expanded; says where and what to do."""


class NoMatch(Exception):
    """The URI is not one of this template's."""


@attrs.frozen
class Var:
    """One variable of an expression: `{name}`, `{name*}`, `{name:limit}`."""

    name: str
    explode: bool = False
    limit: int | None = None


@attrs.frozen
class Expression:
    """What stands between braces: an operator, or none, and variables. `position`: of the brace in the template."""

    op: str
    variables: tuple[Var, ...]
    position: int


Part: TypeAlias = str | Expression


def error_at(template: str, position: int, text: str) -> UriTemplateError:
    """The error to raise where a template is wrong."""
    return UriTemplateError(f"{template!r}, position {position}: {text}")


def parse(template: str) -> Iterator[Part]:
    """The literal texts, in their canonical spelling, and the expressions. Raises: UriTemplateError."""
    at = 0
    for piece in re.split(r"(\{[^{}]*\})", template):
        if piece[:1] == "{" and piece[-1] == "}":
            yield _expression(template, at, piece[1:-1])
        elif stray := re.search(r"[{}]", piece):
            text = f"{stray[0]} without its other half; expressions do not nest, and a brace itself is %7B or %7D"
            raise error_at(template, at + stray.start(), text)
        elif broken := BROKEN.search(piece):
            raise error_at(
                template, at + broken.start(), "% begins an escape of two hex digits; the sign itself is %25"
            )
        elif piece:
            yield _literal(template, at, piece)
        at += len(piece)


def _literal(template: str, position: int, text: str) -> str:
    try:
        decode(text)
        return canonical(text)
    except (NoMatch, UnicodeError):
        raise error_at(
            template, position, f"{text!r} holds what no URI can: NUL, or bytes that are not UTF-8"
        ) from None


def _expression(template: str, position: int, text: str) -> Expression:
    op = text[0] if text and text[0] in "+#./;?&" else ""
    if text and text[0] in "=,!@|":
        raise error_at(
            template, position + 1, f"the operator {text[0]!r} is reserved; use one of + # . / ; ? &, or none"
        )
    if text == op:
        raise error_at(template, position, f"{{{text}}} names no variable; write a name, such as {{{op}id}}")
    return Expression(op, tuple(_variable(template, position, name) for name in text[len(op) :].split(",")), position)


def _variable(template: str, position: int, text: str) -> Var:
    name, colon, limit = text.partition(":")
    explode = name.endswith("*") and not colon
    name = name.removesuffix("*") if explode else name
    if not _NAME.fullmatch(name):
        raise error_at(template, position, f"{name!r} is no variable name; use letters, digits, _ and inner dots")
    if not colon:
        return Var(name, explode)
    if not re.fullmatch(r"[1-9][0-9]{0,3}", limit):
        hint = f"for a value with slashes write {{{name}*}}"
        raise error_at(template, position, f"{text!r}: after : stands a length, 1 to 9999; {hint}")
    return Var(name, limit=int(limit))


def variables_of(template: str, parts: Sequence[Part]) -> tuple[str, ...]:
    """The names of all variables in order. Raises: UriTemplateError where a name stands twice."""
    names: list[str] = []
    for part in parts:
        if isinstance(part, Expression):
            for var in part.variables:
                if var.name in names:
                    raise error_at(template, part.position, f"{var.name!r} stands twice; give each place its own name")
                names.append(var.name)
    return tuple(names)


def expand(part: Expression, values: Mapping[str, Any]) -> str:
    """The text of an expression (RFC 6570 3.2.1). Raises: UriTemplateError for a list or dict at a prefix."""
    pieces: list[str] = []
    for var in part.variables:
        value = values.get(var.name)
        if value is not None and value != [] and value != () and value != {}:
            pieces.extend(_expand_variable(part.op, var, value))
    if not pieces:
        return ""
    return ("" if part.op in ("", "+") else part.op) + SEPARATORS[part.op].join(pieces)


def _expand_variable(op: str, var: Var, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple, Mapping)):
        return [_named(op, var.name, _encode(_text(value)[: var.limit], op))]
    if var.limit is not None:
        kind = type(value).__name__
        raise UriTemplateError(f"{{{op}{var.name}:{var.limit}}} takes the start of a string, not of a {kind}")
    if isinstance(value, Mapping):
        pairs = [(_encode(_text(key), op), _encode(_text(item), op)) for key, item in value.items()]
        if var.explode:
            return [_named(op, key, item) if op in _NAMED else f"{key}={item}" for key, item in pairs]
        return [_named(op, var.name, ",".join(f"{key},{item}" for key, item in pairs))]
    items = [_encode(_text(item), op) for item in value]
    if var.explode:
        return [_named(op, var.name, item) for item in items]
    return [_named(op, var.name, ",".join(items))]


def _named(op: str, name: str, value: str) -> str:
    if op not in _NAMED:
        return value
    return f"{name}={value}" if value or op != ";" else name


def _encode(text: str, op: str) -> str:
    if op not in ("+", "#"):
        return quote(text, safe="~")
    return "".join(
        piece if _TRIPLET.fullmatch(piece) else quote(piece, safe=_RESERVED + "~")
        for piece in re.split(r"(%[0-9A-Fa-f]{2})", text)
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def decode(raw: str) -> str:
    """Percent-decode once. Raises: NoMatch for NUL, UnicodeDecodeError for what is not UTF-8."""
    text = unquote_to_bytes(raw).decode() if "%" in raw else raw
    if "\x00" in text:
        raise NoMatch
    return text


def canonical(text: str) -> str:
    """One spelling of one URI: what may not stand in a URI escaped, needless escapes undone (RFC 3986 6.2.2)."""
    text = quote(text, safe=_RESERVED + "%~")
    return _TRIPLET.sub(_triplet, text) if "%" in text else text


def _triplet(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0].upper()
