r"""URI templates (RFC 6570, all four levels): matching a URI against one, and expanding one.

Owns: the syntax, the reading of variables out of a URI, and what a captured value may not hold.

RFC 6570 defines expansion only; matching is this module's own, in these decisions:

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
from urllib.parse import quote, unquote_to_bytes

import attrs

MAX_URI: Final = 8192
"""The longest URI that is matched, in characters."""

Value: TypeAlias = str | list[str] | dict[str, str]
Shape: TypeAlias = type[str] | type[list[str]] | type[dict[str, str]]

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_RESERVED: Final = ":/?#[]@!$&'()*+,;="
_TRIPLET: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_TOKEN: Final = re.compile(r"%[0-9A-F]{2}|.", re.DOTALL)
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SEPARATORS: Final = {"": ",", "+": ",", "#": ",", ".": ".", "/": "/", ";": ";", "?": "&", "&": "&"}
_NAMED: Final = frozenset(";?&")


class UriTemplateError(ValueError):
    """A template that cannot be parsed or matched, or a value that cannot be expanded; says where and what to do."""


@attrs.frozen
class _Var:
    name: str
    explode: bool = False
    limit: int | None = None


@attrs.frozen
class _Expression:
    op: str
    variables: tuple[_Var, ...]
    position: int


@attrs.frozen
class _Literal:
    text: str
    tokens: list[str]


@attrs.frozen
class _Slot:
    """One variable of the path or the fragment (or a run of `;` parameters), with the character before it."""

    op: str
    variables: tuple[_Var, ...]
    prefix: str
    optional: bool
    barred: frozenset[str]


@attrs.frozen
class _QueryItem:
    """One name of the query: a fixed text, or a variable."""

    key: str
    fixed: str | None = None
    var: _Var | None = None
    required: bool = False


_Part: TypeAlias = str | _Expression


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
        self._parts: Final = tuple(_parse(template))
        body, query, fragment = _sections(template, self._parts)
        self._body: Final = _atoms(template, body, fragment=False)
        self._query: Final = None if query is None else _query_items(template, query)
        self._fragment: Final = None if fragment is None else _atoms(template, fragment, fragment=True)
        self.variables: Final = _variables(template, self._parts)
        self.path_variables: Final[tuple[str, ...]] = _names(self._body)
        self.query_variables: Final[tuple[str, ...]] = tuple(item.var.name for item in self._query or () if item.var)
        self.required_variables: Final[tuple[str, ...]] = tuple(self._required())
        self._shapes: Final[dict[str, Shape]] = dict(shapes or {})

    def __repr__(self) -> str:
        return f"UriTemplate({self.template!r})"

    def match(self, uri: str) -> dict[str, Value] | None:
        """Read the variables out of `uri`, percent-decoded. None where it does not match.

        Optional variables that the URI lacks are left out. Takes O(len(uri) · len(template)) time.
        """
        if len(uri) > MAX_URI or _BROKEN.search(uri):
            return None
        try:
            rest = _canonical(uri)
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
        except (_NoMatch, UnicodeError):
            return None
        return {name: found[name] for name in self.variables if name in found}

    def expand(self, **values: Any) -> str:
        """Build the URI from strings, numbers, lists and dicts. None, `[]` and `{}` are undefined (RFC 6570 2.3).

        Raises: TypeError for a name that the template lacks; UriTemplateError for a list or dict at a prefix (`{a:3}`).
        """
        for name in values:
            if name not in self.variables:
                raise TypeError(f"{self.template} has no variable {name!r}; it has {', '.join(self.variables)}")
        return "".join(part if isinstance(part, str) else _expand(part, values) for part in self._parts)

    def _required(self) -> Iterator[str]:
        """The names that every match holds."""
        for atom in (*self._body, *(self._fragment or ())):
            if isinstance(atom, _Slot) and not atom.optional:
                yield from (var.name for var in atom.variables)
        yield from (item.var.name for item in self._query or () if item.var and item.required)

    def _read(self, atoms: Sequence["_Literal | _Slot"], text: str, found: dict[str, Value]) -> None:
        for slot, raw in _walk(atoms, text):
            if slot.op == ";":
                items = [_QueryItem(var.name, var=var) for var in slot.variables]
                texts = raw.split(";")
                if not self.allow_traversal and not all(_is_segment(_decode(text.partition("=")[2])) for text in texts):
                    raise _NoMatch
                self._read_pairs(items, texts, found)
            else:
                (var,) = slot.variables
                found[var.name] = self._value(slot.op, var, raw)

    def _read_pairs(self, items: Sequence[_QueryItem], texts: list[str], found: dict[str, Value]) -> None:
        """Read `name=value` pairs in any order; unknown names go to the exploded dict, where there is one."""
        given: dict[str, list[str]] = {}
        for text in texts:
            if text:
                key, _, value = text.partition("=")
                given.setdefault(_decode(key), []).append(value)
        known = {item.key for item in items}
        for item in items:
            values = given.get(item.key)
            if item.var is None:
                if values is None or item.fixed not in values:
                    raise _NoMatch
            elif item.var.explode and self._shapes.get(item.var.name, list) is dict:
                others = {key: _decode(values[-1]) for key, values in given.items() if key not in known}
                if others:
                    found[item.var.name] = others
            elif values is not None:
                found[item.var.name] = self._pair_value(item.var, values)
            elif item.required:
                raise _NoMatch

    def _pair_value(self, var: _Var, values: list[str]) -> Value:
        shape = self._shapes.get(var.name, list if var.explode else str)
        pieces = values if var.explode else [piece for value in values for piece in value.split(",")]
        if shape is list:
            return [_decode(piece) for piece in pieces]
        if shape is dict:
            return _pairs(pieces, exploded=False)
        if len(values) > 1:
            raise _NoMatch
        text = _decode(values[0])
        if var.limit is not None and len(text) > var.limit:
            raise _NoMatch
        return text

    def _value(self, op: str, var: _Var, raw: str) -> Value:
        wide = op == "+" or (op == "" and var.explode)
        shape = self._shapes.get(var.name, list if var.explode and not wide else str)
        pieces = raw.split(_SEPARATORS[op] if var.explode and not wide else ",")
        slashes = op == "/" and var.explode
        text = "/".join(map(_decode, pieces)) if slashes else _decode(raw)
        value: Value
        if shape is dict:
            value = _pairs(pieces, exploded=var.explode)
        elif shape is list:
            value = text.split("/") if wide and var.explode and "/" in text else [_decode(piece) for piece in pieces]
        else:
            value = text
        if op != "#" and not self.allow_traversal:
            whole = _is_path(text) if wide or slashes else _is_segment(text)
            leaves = [*map(_decode, pieces if slashes else ()), *_leaves(value)]
            if not whole or not all(map(_is_path if wide else _is_segment, leaves)):
                raise _NoMatch
        return value


def shapes_of(properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Shape]:
    """The `shapes` for parameters with these JSON Schemas: list for an array, dict for an object, str for all else.

    A union that allows a string is a string; references (`$ref`) are not followed.
    """
    return {name: _shape_of(schema) for name, schema in properties.items()}


def _shape_of(schema: Mapping[str, Any]) -> Shape:
    types = {branch.get("type") for branch in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()))}
    return str if "string" in types else list if "array" in types else dict if "object" in types else str


class _NoMatch(Exception):
    """The URI is not one of this template's."""


def _fail(template: str, position: int, text: str) -> UriTemplateError:
    return UriTemplateError(f"{template!r}, position {position}: {text}")


def _parse(template: str) -> Iterator[_Part]:
    at = 0
    for piece in re.split(r"(\{[^{}]*\})", template):
        if piece[:1] == "{" and piece[-1] == "}":
            yield _expression(template, at, piece[1:-1])
        elif stray := re.search(r"[{}]", piece):
            text = f"{stray[0]} without its other half; expressions do not nest, and a brace itself is %7B or %7D"
            raise _fail(template, at + stray.start(), text)
        elif broken := _BROKEN.search(piece):
            raise _fail(template, at + broken.start(), "% begins an escape of two hex digits; the sign itself is %25")
        elif piece:
            yield _literal(template, at, piece)
        at += len(piece)


def _literal(template: str, position: int, text: str) -> str:
    try:
        _decode(text)
        return _canonical(text)
    except (_NoMatch, UnicodeError):
        raise _fail(template, position, f"{text!r} holds what no URI can: NUL, or bytes that are not UTF-8") from None


def _expression(template: str, position: int, text: str) -> _Expression:
    op = text[0] if text and text[0] in "+#./;?&" else ""
    if text and text[0] in "=,!@|":
        raise _fail(template, position + 1, f"the operator {text[0]!r} is reserved; use one of + # . / ; ? &, or none")
    if text == op:
        raise _fail(template, position, f"{{{text}}} names no variable; write a name, such as {{{op}id}}")
    return _Expression(op, tuple(_variable(template, position, name) for name in text[len(op) :].split(",")), position)


def _variable(template: str, position: int, text: str) -> _Var:
    name, colon, limit = text.partition(":")
    explode = name.endswith("*") and not colon
    name = name.removesuffix("*") if explode else name
    if not _NAME.fullmatch(name):
        raise _fail(template, position, f"{name!r} is no variable name; use letters, digits, _ and inner dots")
    if not colon:
        return _Var(name, explode)
    if not re.fullmatch(r"[1-9][0-9]{0,3}", limit):
        hint = f"for a value with slashes write {{{name}*}}"
        raise _fail(template, position, f"{text!r}: after : stands a length, 1 to 9999; {hint}")
    return _Var(name, limit=int(limit))


def _variables(template: str, parts: Sequence[_Part]) -> tuple[str, ...]:
    names: list[str] = []
    for part in parts:
        if isinstance(part, _Expression):
            for var in part.variables:
                if var.name in names:
                    raise _fail(template, part.position, f"{var.name!r} stands twice; give each place its own name")
                names.append(var.name)
    return tuple(names)


def _sections(template: str, parts: Sequence[_Part]) -> tuple[list[_Part], list[_Part] | None, list[_Part] | None]:
    """Cut the template where its query and its fragment begin."""
    found: dict[str, list[_Part]] = {"body": []}
    now = "body"
    for part in parts:
        if isinstance(part, _Expression):
            now = _section_of(template, part, now, found)
            found.setdefault(now, []).append(part)
            continue
        text, mark, rest = part.partition("#") if now != "fragment" else (part, "", "")
        if now == "body":
            text, question, query = text.partition("?")
            found[now].append(text)
            if question:
                now = "query"
                found[now] = ["?" + query]
        else:
            found[now].append(text)
        if mark:
            now = "fragment"
            found[now] = [mark + rest]
    return found["body"], found.get("query"), found.get("fragment")


def _section_of(template: str, part: _Expression, now: str, found: Mapping[str, object]) -> str:
    if part.op == "#":
        if now == "fragment":
            raise _fail(template, part.position, "a second fragment; a URI has one #")
        return "fragment"
    if part.op in ("?", "&"):
        if now == "fragment":
            raise _fail(template, part.position, "a query cannot follow the fragment; move it before the #")
        if (part.op == "&") != ("query" in found):
            better = "&" if part.op == "?" else "?"
            raise _fail(template, part.position, f"write {{{better}…}} here: a query begins with ? and goes on with &")
        return "query"
    if now != "body" and part.op not in ("", "+"):
        raise _fail(template, part.position, f"{{{part.op}…}} belongs to the path; move it before the {now}")
    return now


def _names(atoms: Sequence["_Literal | _Slot"]) -> tuple[str, ...]:
    return tuple(var.name for atom in atoms if isinstance(atom, _Slot) for var in atom.variables)


def _atoms(template: str, parts: Sequence[_Part], *, fragment: bool) -> list[_Literal | _Slot]:
    matrix = any(isinstance(part, _Expression) and part.op == ";" for part in parts)
    atoms: list[_Literal | _Slot] = []
    for part in parts:
        if isinstance(part, str):
            if part:
                atoms.append(_Literal(part, _TOKEN.findall(part)))
            continue
        if atoms and isinstance(atoms[-1], _Slot) and part.op in ("", "+"):
            raise _fail(template, part.position, "two variables with nothing between; put a character there, such as /")
        atoms.extend(_slots(part, matrix=matrix, fragment=fragment))
    return atoms


def _slots(part: _Expression, *, matrix: bool, fragment: bool) -> list[_Literal | _Slot]:
    separator = _SEPARATORS[part.op]
    if part.op == ";":
        return [_Slot(";", part.variables, ";", True, frozenset("/?#"))]
    slots: list[_Literal | _Slot] = []
    for index, var in enumerate(part.variables):
        several = separator if len(part.variables) > 1 and separator == "," else ""
        if part.op in ("+", "#") or fragment:
            barred = several
        else:
            barred = several + ("?#" if var.explode and part.op in ("", "/") else "/?#")
        if matrix:
            barred += ";"
        prefix = part.op if part.op in ("/", ".") else "#" if part.op == "#" and not index else several if index else ""
        optional = part.op in ("/", ".", "#")
        if prefix == "," and not optional:
            slots.append(_Literal(",", [","]))
            prefix = ""
        slots.append(_Slot("#" if fragment else part.op, (var,), prefix, optional, frozenset(barred)))
    return slots


def _query_items(template: str, parts: Sequence[_Part]) -> list[_QueryItem]:
    items: list[_QueryItem] = []
    pair: list[_Part] = []
    for part in parts:
        if isinstance(part, _Expression) and part.op in ("", "+"):
            pair.append(part)
        elif isinstance(part, _Expression):
            items += [*_query_item(template, pair), *(_QueryItem(var.name, var=var) for var in part.variables)]
            pair = []
        else:
            first, *others = part.removeprefix("?").split("&")
            pair += [first] if first else []
            for text in others:
                items += _query_item(template, pair)
                pair = [text] if text else []
    return items + _query_item(template, pair)


def _query_item(template: str, pair: list[_Part]) -> list[_QueryItem]:
    match pair:
        case []:
            return []
        case [str(text)]:
            key, _, value = text.partition("=")
            return [_QueryItem(_decode(key), fixed=value, required=True)]
        case [str(key), _Expression(variables=(var,))] if key.find("=") == len(key) - 1:
            return [_QueryItem(_decode(key[:-1]), var=var, required=True)]
    position = next(piece.position for piece in pair if isinstance(piece, _Expression))
    raise _fail(template, position, "a query is read as pairs; write {?name} or name={variable}, joined by &")


def _walk(atoms: Sequence[_Literal | _Slot], text: str) -> list[tuple[_Slot, str]]:
    """Divide the whole of `text` among the atoms.

    First, from the right: for each atom the places from which it and all after it reach the end. Then one pass from the
    left that only ever takes such places, so that nothing is tried twice. Raises: _NoMatch.
    """
    if atoms and isinstance(atoms[0], _Literal) and not text.startswith(atoms[0].text):
        raise _NoMatch
    tokens: Sequence[str] = _TOKEN.findall(text) if "%" in text else text
    reach = bytearray(len(tokens)) + b"\x01"
    tables: list[tuple[bytearray, bytearray]] = [(reach, reach)]
    for atom in reversed(atoms):
        taken = _taken(atom, tokens, reach)
        optional = isinstance(atom, _Slot) and atom.optional
        reach = bytearray(a | b for a, b in zip(taken, reach, strict=True)) if optional else taken
        tables.append((reach, taken))
    tables.reverse()
    if not reach[0]:
        raise _NoMatch
    return _divide(atoms, tokens, tables)


def _taken(atom: _Literal | _Slot, tokens: Sequence[str], reach: bytearray) -> bytearray:
    """From which places this atom, present, is followed by a place in `reach`."""
    taken = bytearray(len(tokens) + 1)
    if isinstance(atom, _Literal):
        size = len(atom.tokens)
        literal = atom.text if isinstance(tokens, str) else atom.tokens
        for i in range(len(tokens) - size + 1):
            if reach[i + size] and tokens[i : i + size] == literal:
                taken[i] = 1
        return taken
    limit, counts = _limit(atom, tokens)
    shift, nearest = len(atom.prefix), 0
    for i in range(len(tokens) - 1, -1, -1):
        if tokens[i] in atom.barred:
            nearest = 0
            continue
        if reach[i + 1]:
            nearest = i + 1
        if nearest and (limit is None or counts[nearest] - counts[i] <= limit):
            if not shift:
                taken[i] = 1
            elif i and tokens[i - 1] == atom.prefix:
                taken[i - 1] = 1
    return taken


def _divide(
    atoms: Sequence[_Literal | _Slot], tokens: Sequence[str], tables: list[tuple[bytearray, bytearray]]
) -> list[tuple[_Slot, str]]:
    found: list[tuple[_Slot, str]] = []
    at = 0
    for index, atom in enumerate(atoms):
        if isinstance(atom, _Literal):
            at += len(atom.tokens)
        elif tables[index][1][at]:
            start = at + len(atom.prefix)
            at = _end(atom, tokens, start, *tables[index + 1])
            found.append((atom, "".join(tokens[start:at])))
    return found


def _end(slot: _Slot, tokens: Sequence[str], start: int, reach: bytearray, taken: bytearray) -> int:
    """The farthest end of the slot's value; one that leaves the next, optional atom its text comes first."""
    limit, counts = _limit(slot, tokens)
    best = preferred = 0
    for end in range(start + 1, len(tokens) + 1):
        if tokens[end - 1] in slot.barred or (limit is not None and counts[end] - counts[start] > limit):
            break
        if reach[end]:
            best = end
            preferred = end if taken[end] else preferred
    return preferred or best


def _limit(slot: _Slot, tokens: Sequence[str]) -> tuple[int | None, list[int]]:
    """The most characters of the slot, and how many begin before each place; a UTF-8 continuation begins none."""
    limit = slot.variables[0].limit
    if limit is None:
        return None, []
    counts = [0]
    for token in tokens:
        counts.append(counts[-1] + (token[:2] not in ("%8", "%9", "%A", "%B")))
    return limit, counts


def _is_segment(value: str) -> bool:
    return "/" not in value and "\\" not in value and value != ".." and not _DRIVE.match(value)


def _is_path(value: str) -> bool:
    return value[:1] not in ("/", "\\") and ".." not in re.split(r"[/\\]", value) and not _DRIVE.match(value)


def _leaves(value: Value) -> list[str]:
    return [*value, *value.values()] if isinstance(value, dict) else [] if isinstance(value, str) else value


def _pairs(pieces: list[str], *, exploded: bool) -> dict[str, str]:
    """A dict from `k=v` pieces, or from keys and values in turn (RFC 6570 2.4.2)."""
    if exploded:
        halves = [piece.partition("=") for piece in pieces]
        return {_decode(key): _decode(value) for key, _, value in halves}
    if len(pieces) % 2:
        raise _NoMatch
    decoded = [_decode(piece) for piece in pieces]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))


def _canonical(text: str) -> str:
    """One spelling of one URI: what may not stand in a URI escaped, needless escapes undone (RFC 3986 6.2.2)."""
    text = quote(text, safe=_RESERVED + "%~")
    return _TRIPLET.sub(_triplet, text) if "%" in text else text


def _triplet(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _UNRESERVED else found[0].upper()


def _decode(raw: str) -> str:
    text = unquote_to_bytes(raw).decode() if "%" in raw else raw
    if "\x00" in text:
        raise _NoMatch
    return text


def _encode(text: str, op: str) -> str:
    if op not in ("+", "#"):
        return quote(text, safe="~")
    return "".join(
        piece if _TRIPLET.fullmatch(piece) else quote(piece, safe=_RESERVED + "~")
        for piece in re.split(r"(%[0-9A-Fa-f]{2})", text)
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _expand(part: _Expression, values: Mapping[str, Any]) -> str:
    """RFC 6570 3.2.1."""
    pieces: list[str] = []
    for var in part.variables:
        value = values.get(var.name)
        if value is not None and value != [] and value != () and value != {}:
            pieces.extend(_expand_variable(part.op, var, value))
    if not pieces:
        return ""
    return ("" if part.op in ("", "+") else part.op) + _SEPARATORS[part.op].join(pieces)


def _expand_variable(op: str, var: _Var, value: Any) -> list[str]:
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
