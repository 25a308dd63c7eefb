"""Matching a URI against a template: what its variables may take, and dividing a URI among them in linear time.

Owns: the parts of a template as places of a URI (path, query, fragment), and refusing templates whose variables cannot
be told apart. Refuses: what a variable's text means as a value (`uri_template`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from trio_mcp.uri_template_syntax import SEPARATORS, Expression, NoMatch, Part, Var, decode, error_at

_TOKEN: Final = re.compile(r"%[0-9A-F]{2}|.", re.DOTALL)


@attrs.frozen
class Literal:
    """Fixed text, and the same as tokens: characters and escapes."""

    text: str
    tokens: list[str]


@attrs.frozen
class Slot:
    """One variable of the path or the fragment (or a run of `;` parameters), with the character before it."""

    op: str
    variables: tuple[Var, ...]
    prefix: str
    optional: bool
    barred: frozenset[str]


@attrs.frozen
class QueryItem:
    """One name of the query: a fixed text, or a variable."""

    key: str
    fixed: str | None = None
    var: Var | None = None
    required: bool = False


Atom: TypeAlias = Literal | Slot


def sections(template: str, parts: Sequence[Part]) -> tuple[list[Part], list[Part] | None, list[Part] | None]:
    """Cut the template where its query and its fragment begin."""
    found: dict[str, list[Part]] = {"body": []}
    now = "body"
    for part in parts:
        if isinstance(part, Expression):
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


def _section_of(template: str, part: Expression, now: str, found: Mapping[str, object]) -> str:
    if part.op == "#":
        if now == "fragment":
            raise error_at(template, part.position, "a second fragment; a URI has one #")
        return "fragment"
    if part.op in ("?", "&"):
        if now == "fragment":
            raise error_at(template, part.position, "a query cannot follow the fragment; move it before the #")
        if (part.op == "&") != ("query" in found):
            better = "&" if part.op == "?" else "?"
            raise error_at(
                template, part.position, f"write {{{better}…}} here: a query begins with ? and goes on with &"
            )
        return "query"
    if now != "body" and part.op not in ("", "+"):
        raise error_at(template, part.position, f"{{{part.op}…}} belongs to the path; move it before the {now}")
    return now


def atoms_of(template: str, parts: Sequence[Part], *, fragment: bool) -> list[Atom]:
    """The parts of the path, or of the fragment, as the places they take.

    Raises: UriTemplateError where nothing stands between two variables.
    """
    matrix = any(isinstance(part, Expression) and part.op == ";" for part in parts)
    atoms: list[Atom] = []
    for part in parts:
        if isinstance(part, str):
            if part:
                atoms.append(Literal(part, _TOKEN.findall(part)))
            continue
        if atoms and isinstance(atoms[-1], Slot) and part.op in ("", "+"):
            raise error_at(
                template, part.position, "two variables with nothing between; put a character there, such as /"
            )
        atoms.extend(_slots(part, matrix=matrix, fragment=fragment))
    return atoms


def _slots(part: Expression, *, matrix: bool, fragment: bool) -> list[Atom]:
    separator = SEPARATORS[part.op]
    if part.op == ";":
        return [Slot(";", part.variables, ";", True, frozenset("/?#"))]
    slots: list[Atom] = []
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
            slots.append(Literal(",", [","]))
            prefix = ""
        slots.append(Slot("#" if fragment else part.op, (var,), prefix, optional, frozenset(barred)))
    return slots


def query_items(template: str, parts: Sequence[Part]) -> list[QueryItem]:
    """The names of the query. Raises: UriTemplateError where it is not written as pairs."""
    items: list[QueryItem] = []
    pair: list[Part] = []
    for part in parts:
        if isinstance(part, Expression) and part.op in ("", "+"):
            pair.append(part)
        elif isinstance(part, Expression):
            items += [*_query_item(template, pair), *(QueryItem(var.name, var=var) for var in part.variables)]
            pair = []
        else:
            first, *others = part.removeprefix("?").split("&")
            pair += [first] if first else []
            for text in others:
                items += _query_item(template, pair)
                pair = [text] if text else []
    return items + _query_item(template, pair)


def _query_item(template: str, pair: list[Part]) -> list[QueryItem]:
    match pair:
        case []:
            return []
        case [str(text)]:
            key, _, value = text.partition("=")
            return [QueryItem(decode(key), fixed=value, required=True)]
        case [str(key), Expression(variables=(var,))] if key.find("=") == len(key) - 1:
            return [QueryItem(decode(key[:-1]), var=var, required=True)]
    position = next(piece.position for piece in pair if isinstance(piece, Expression))
    raise error_at(template, position, "a query is read as pairs; write {?name} or name={variable}, joined by &")


def walk(atoms: Sequence[Atom], text: str) -> list[tuple[Slot, str]]:
    """Divide the whole of `text` among the atoms.

    First, from the right: for each atom the places from which it and all after it reach the end. Then one pass from the
    left that only ever takes such places, so that nothing is tried twice. Raises: NoMatch.
    """
    if atoms and isinstance(atoms[0], Literal) and not text.startswith(atoms[0].text):
        raise NoMatch
    tokens: Sequence[str] = _TOKEN.findall(text) if "%" in text else text
    reach = bytearray(len(tokens)) + b"\x01"
    tables: list[tuple[bytearray, bytearray]] = [(reach, reach)]
    for atom in reversed(atoms):
        taken = _taken(atom, tokens, reach)
        optional = isinstance(atom, Slot) and atom.optional
        reach = bytearray(a | b for a, b in zip(taken, reach, strict=True)) if optional else taken
        tables.append((reach, taken))
    tables.reverse()
    if not reach[0]:
        raise NoMatch
    return _divide(atoms, tokens, tables)


def _taken(atom: Atom, tokens: Sequence[str], reach: bytearray) -> bytearray:
    """From which places this atom, present, is followed by a place in `reach`."""
    taken = bytearray(len(tokens) + 1)
    if isinstance(atom, Literal):
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
    atoms: Sequence[Atom], tokens: Sequence[str], tables: list[tuple[bytearray, bytearray]]
) -> list[tuple[Slot, str]]:
    found: list[tuple[Slot, str]] = []
    at = 0
    for index, atom in enumerate(atoms):
        if isinstance(atom, Literal):
            at += len(atom.tokens)
        elif tables[index][1][at]:
            start = at + len(atom.prefix)
            at = _end(atom, tokens, start, *tables[index + 1])
            found.append((atom, "".join(tokens[start:at])))
    return found


def _end(slot: Slot, tokens: Sequence[str], start: int, reach: bytearray, taken: bytearray) -> int:
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


def _limit(slot: Slot, tokens: Sequence[str]) -> tuple[int | None, list[int]]:
    """The most characters of the slot, and how many begin before each place; a UTF-8 continuation begins none."""
    limit = slot.variables[0].limit
    if limit is None:
        return None, []
    counts = [0]
    for token in tokens:
        counts.append(counts[-1] + (token[:2] not in ("%8", "%9", "%A", "%B")))
    return limit, counts
