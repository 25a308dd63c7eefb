r"""URI templates (RFC 6570, all four levels): matching a URI against one, and expanding one.

Owns: the values of variables in a URI, and what a captured value may not hold. The syntax and expansion are
`uri_template_syntax`'s; which text a variable gets is `uri_template_matching`'s.

RFC 6570 defines expansion only; for matching, these are our decisions:

- ``{id}`` takes at least one character and never ``/``, ``?`` or ``#``. ``{+path}`` takes anything; ``{path*}``
  takes ``/`` too, but neither ``?`` nor ``#``. A variable takes as much as it can, and leaves what a following
  optional expression needs: ``{name}{.ext}`` on ``a.tar.gz`` gives ``a.tar`` and ``gz``.
- ``{/a}``, ``{.a}``, ``{;a}``, ``{#a}``, ``{?a}`` and ``{&a}`` are optional: what is absent is left out of the match,
  so that a function's default applies.
- A query is read by name, in any order; names the template does not know are ignored, a name given twice where one
  value is asked does not match. ``?q={city}`` in a template is such a pair too, and required. ``+`` stays ``+``.
  Where the template has no query, a URI with one matches only if ``{+path}`` takes it.
- Each value is a string unless `shapes` (see `shapes_of`) asks for a list or a dict. Without it ``{path*}`` and
  ``{+path*}`` give the string with its slashes, and other exploded forms a list. As a list, ``{path*}`` splits
  at ``/``, or at ``,`` (as RFC 6570 expands a list) where it holds no ``/``.
- Values are percent-decoded once, strictly: bytes that are not UTF-8 do not match.
- A value out of the path (not the query, not the fragment) that leaves its directory does not match: a ``..``
  segment, a leading ``/`` or ``\``, a drive (``C:``), and in a single segment any ``/`` or ``\``, however it was
  encoded. NUL never matches.

A match takes time proportional to the URI's length times the template's, whatever the URI holds; there is no
backtracking. Refuses: URIs longer than `MAX_URI`, templates whose variables cannot be told apart, any file system.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from trio_mcp.uri_template_matching import Atom, QueryItem, Slot, atoms_of, query_items, sections, walk
from trio_mcp.uri_template_syntax import (
    BROKEN,
    SEPARATORS,
    NoMatch,
    UriTemplateError,
    Var,
    canonical,
    decode,
    expand,
    parse,
    variables_of,
)

__all__ = ["MAX_URI", "Shape", "UriTemplate", "UriTemplateError", "Value", "shapes_of"]

MAX_URI: Final = 8192
"""The longest URI that is matched, in characters."""

Value: TypeAlias = str | list[str] | dict[str, str]
Shape: TypeAlias = type[str] | type[list[str]] | type[dict[str, str]]

_DRIVE: Final = re.compile(r"[A-Za-z]:")


class UriTemplate:
    """A parsed template. Immutable, and safe to share between tasks and threads.

    `shapes` says which variables are wanted as `list` or `dict` instead of `str`; names that the template
    lacks are ignored. `allow_traversal` lets path values through that leave their directory.

    Raises: UriTemplateError for a template that cannot be parsed or matched.
    """

    def __init__(
        self, template: str, *, allow_traversal: bool = False, shapes: Mapping[str, Shape] | None = None
    ) -> None:
        self.template: Final = template
        self.allow_traversal: Final = allow_traversal
        self._parts: Final = tuple(parse(template))
        body, query, fragment = sections(template, self._parts)
        self._body: Final = atoms_of(template, body, fragment=False)
        self._query: Final = None if query is None else query_items(template, query)
        self._fragment: Final = None if fragment is None else atoms_of(template, fragment, fragment=True)
        self.variables: Final = variables_of(template, self._parts)
        self.path_variables: Final[tuple[str, ...]] = tuple(
            var.name for atom in self._body if isinstance(atom, Slot) for var in atom.variables
        )
        self.query_variables: Final[tuple[str, ...]] = tuple(item.var.name for item in self._query or () if item.var)
        self.required_variables: Final[tuple[str, ...]] = tuple(self._required())
        self._shapes: Final[dict[str, Shape]] = dict(shapes or {})

    def __repr__(self) -> str:
        return f"UriTemplate({self.template!r})"

    def match(self, uri: str) -> dict[str, Value] | None:
        """Read the variables out of `uri`, percent-decoded. None where it does not match.

        Optional variables that the URI lacks are left out. Takes O(len(uri) · len(template)) time.
        """
        if len(uri) > MAX_URI or BROKEN.search(uri):
            return None
        try:
            rest = canonical(uri)
            found: dict[str, Value] = {}
            if self._fragment is not None:
                rest, mark, fragment = rest.partition("#")
                self._read(self._fragment, mark + fragment, found)
            if self._query is not None:
                rest, _, query = rest.partition("?")
                if "#" in query:
                    return None
                self._read_pairs(self._query, query.split("&"), found)
            self._read(self._body, rest, found)
        except (NoMatch, UnicodeError):
            return None
        return {name: found[name] for name in self.variables if name in found}

    def expand(self, **values: Any) -> str:
        """Build the URI from strings, numbers, lists and dicts. None, `[]` and `{}` are undefined (RFC 6570 2.3).

        Raises: TypeError for a name that the template lacks; UriTemplateError for a list or dict at a prefix (`{a:3}`).
        """
        for name in values:
            if name not in self.variables:
                raise TypeError(f"{self.template} has no variable {name!r}; it has {', '.join(self.variables)}")
        return "".join(part if isinstance(part, str) else expand(part, values) for part in self._parts)

    def _required(self) -> Iterator[str]:
        """The names that every match holds."""
        for atom in (*self._body, *(self._fragment or ())):
            if isinstance(atom, Slot) and not atom.optional:
                yield from (var.name for var in atom.variables)
        yield from (item.var.name for item in self._query or () if item.var and item.required)

    def _read(self, atoms: Sequence[Atom], text: str, found: dict[str, Value]) -> None:
        for slot, raw in walk(atoms, text):
            if slot.op == ";":
                items = [QueryItem(var.name, var=var) for var in slot.variables]
                texts = raw.split(";")
                if not self.allow_traversal and not all(_is_segment(decode(text.partition("=")[2])) for text in texts):
                    raise NoMatch
                self._read_pairs(items, texts, found)
            else:
                (var,) = slot.variables
                found[var.name] = self._value(slot.op, var, raw)

    def _read_pairs(self, items: Sequence[QueryItem], texts: list[str], found: dict[str, Value]) -> None:
        """Read `name=value` pairs in any order; unknown names go to the exploded dict, where there is one."""
        given: dict[str, list[str]] = {}
        for text in texts:
            if text:
                key, _, value = text.partition("=")
                given.setdefault(decode(key), []).append(value)
        known = {item.key for item in items}
        for item in items:
            values = given.get(item.key)
            if item.var is None:
                if values is None or item.fixed not in values:
                    raise NoMatch
            elif item.var.explode and self._shapes.get(item.var.name, list) is dict:
                others = {key: decode(values[-1]) for key, values in given.items() if key not in known}
                if others:
                    found[item.var.name] = others
            elif values is not None:
                found[item.var.name] = self._pair_value(item.var, values)
            elif item.required:
                raise NoMatch

    def _pair_value(self, var: Var, values: list[str]) -> Value:
        shape = self._shapes.get(var.name, list if var.explode else str)
        pieces = values if var.explode else [piece for value in values for piece in value.split(",")]
        if shape is list:
            return [decode(piece) for piece in pieces]
        if shape is dict:
            return _pairs(pieces, exploded=False)
        if len(values) > 1:
            raise NoMatch
        text = decode(values[0])
        if var.limit is not None and len(text) > var.limit:
            raise NoMatch
        return text

    def _value(self, op: str, var: Var, raw: str) -> Value:
        wide = op == "+" or (op == "" and var.explode)
        shape = self._shapes.get(var.name, list if var.explode and not wide else str)
        pieces = raw.split(SEPARATORS[op] if var.explode and not wide else ",")
        slashes = op == "/" and var.explode
        text = "/".join(map(decode, pieces)) if slashes else decode(raw)
        value: Value
        if shape is dict:
            value = _pairs(pieces, exploded=var.explode)
        elif shape is list:
            value = text.split("/") if wide and var.explode and "/" in text else [decode(piece) for piece in pieces]
        else:
            value = text
        if op != "#" and not self.allow_traversal:
            whole = _is_path(text) if wide or slashes else _is_segment(text)
            leaves = [*map(decode, pieces if slashes else ()), *_leaves(value)]
            if not whole or not all(map(_is_path if wide else _is_segment, leaves)):
                raise NoMatch
        return value


def _pairs(pieces: list[str], *, exploded: bool) -> dict[str, str]:
    """A dict from `k=v` pieces, or from keys and values in turn (RFC 6570 2.4.2)."""
    if exploded:
        halves = [piece.partition("=") for piece in pieces]
        return {decode(key): decode(value) for key, _, value in halves}
    if len(pieces) % 2:
        raise NoMatch
    decoded = [decode(piece) for piece in pieces]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))


def _leaves(value: Value) -> list[str]:
    return [*value, *value.values()] if isinstance(value, dict) else [] if isinstance(value, str) else value


def _is_segment(value: str) -> bool:
    return "/" not in value and "\\" not in value and value != ".." and not _DRIVE.match(value)


def _is_path(value: str) -> bool:
    return value[:1] not in ("/", "\\") and ".." not in re.split(r"[/\\]", value) and not _DRIVE.match(value)


def shapes_of(properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Shape]:
    """The `shapes` for parameters with these JSON Schemas: list for an array, dict for an object, str for all else.

    A union that allows a string is a string; references (`$ref`) are not followed.
    """
    return {name: _shape_of(schema) for name, schema in properties.items()}


def _shape_of(schema: Mapping[str, Any]) -> Shape:
    types = {branch.get("type") for branch in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))}
    return str if "string" in types else list if "array" in types else dict if "object" in types else str
