"""Docstrings in the Google, NumPy and reST conventions: the prose, the parameters, what is returned.

Owns: finding the parameter and return sections. Refuses: any check against a signature; a name that the
function does not have is simply never looked up.
"""

import inspect
import re
from collections.abc import Mapping, Sequence

import attrs

_PARAMETER_TITLES = frozenset(
    {"args", "arguments", "parameters", "params", "other parameters", "keyword args", "keyword arguments", "attributes"}
)
_RETURN_TITLES = frozenset({"returns", "return", "yields"})
_GOOGLE_ITEM = re.compile(r"^\*{0,2}(\w+)\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*:\s*(.*)$")
_GOOGLE_RETURN = re.compile(r"^[\w\[\], .|]{1,60}:\s+(.+)$")
_NUMPY_ITEM = re.compile(r"^(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_FIELD = re.compile(r"^:(\w+)(?:\s+([^:]*?))?\s*:\s*(.*)$")
_FIELD_PARAMETERS = frozenset({"param", "parameter", "arg", "argument", "key", "keyword", "ivar", "var"})


@attrs.frozen
class Docstring:
    """A docstring taken apart. `text` is everything but the sections that list parameters."""

    text: str = ""
    params: Mapping[str, str] = attrs.field(factory=dict)
    returns: str | None = None


def parse(docstring: str | None) -> Docstring:
    """Take a docstring apart; what is in no known convention stays in the text, untouched."""
    if not docstring or not docstring.strip():
        return Docstring()
    lines = inspect.cleandoc(docstring).splitlines()
    params: dict[str, str] = {}
    returns: list[str] = []
    kept: list[str] = []
    index = 0
    while index < len(lines):
        taken = _numpy(lines, index, params, returns) or _google(lines, index, params, returns)
        taken = taken or _field(lines, index, params, returns)
        if taken is None:
            kept.append(lines[index])
            index += 1
            continue
        index, keep = taken
        kept += keep
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return Docstring(text, params, "\n".join(returns).strip() or None)


_Taken = tuple[int, list[str]]  # where to go on, and the lines that stay in the text


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: Sequence[str], start: int, deeper_than: int) -> int:
    """Where the indented block beginning at `start` ends; blank lines inside belong to it."""
    end = start
    for index in range(start, len(lines)):
        if lines[index].strip():
            if _indent(lines[index]) <= deeper_than:
                break
            end = index + 1
    return end


def _join(parts: Sequence[str]) -> str:
    """Wrapped lines as one; an empty line stays a paragraph."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(part.strip() for part in parts))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip())


def _google(lines: Sequence[str], index: int, params: dict[str, str], returns: list[str]) -> _Taken | None:
    line = lines[index]
    title = line.strip().removesuffix(":").lower()
    if not line.strip().endswith(":") or title not in _PARAMETER_TITLES | _RETURN_TITLES:
        return None
    end = _block(lines, index + 1, _indent(line))
    body = lines[index + 1 : end]
    if not body:
        return None
    if title in _RETURN_TITLES:
        text = _join(body)
        typed = _GOOGLE_RETURN.match(text)
        returns.append(typed[1] if typed else text)
        return end, list(lines[index:end])
    found = _items(body)
    if not found:
        return None
    params.update(found)
    return end, []


def _items(body: Sequence[str]) -> dict[str, str]:
    """The `name (type): text` entries of a Google section."""
    first = min(_indent(line) for line in body if line.strip())
    found: dict[str, list[str]] = {}
    name = None
    for line in body:
        item = _GOOGLE_ITEM.match(line.strip()) if line.strip() and _indent(line) == first else None
        if item:
            name = item[1]
            found[name] = [item[2]]
        elif name is not None:
            found[name].append(line)
    return {name: _join(parts) for name, parts in found.items()}


def _numpy(lines: Sequence[str], index: int, params: dict[str, str], returns: list[str]) -> _Taken | None:
    title = lines[index].strip().lower()
    underline = lines[index + 1].strip() if index + 1 < len(lines) else ""
    if title not in _PARAMETER_TITLES | _RETURN_TITLES or len(underline) < 3 or set(underline) != {"-"}:
        return None
    margin = _indent(lines[index])
    end = _section_end(lines, index + 2, margin)
    body = lines[index + 2 : end]
    if title in _RETURN_TITLES:
        deeper = [line for line in body if not line.strip() or _indent(line) > margin]
        returns.append(_join(deeper if any(line.strip() for line in deeper) else body))
        return end, list(lines[index:end])
    names: list[str] = []
    texts: dict[str, list[str]] = {}
    for line in body:
        item = _NUMPY_ITEM.match(line.strip()) if line.strip() and _indent(line) <= margin else None
        if item:
            names = [name.strip().lstrip("*") for name in item[1].split(",")]
            texts.update({name: [] for name in names})
        else:
            for name in names:
                texts[name].append(line)
    params.update({name: _join(parts) for name, parts in texts.items() if any(part.strip() for part in parts)})
    return end, []


def _section_end(lines: Sequence[str], start: int, margin: int) -> int:
    """A NumPy section goes to the next underlined title, or to a new paragraph that is no entry."""
    for index in range(start, len(lines)):
        line = lines[index]
        if not line.strip():
            continue
        underline = lines[index + 1].strip() if index + 1 < len(lines) else ""
        if len(underline) >= 3 and set(underline) == {"-"}:
            return index
        new_paragraph = index > start and not lines[index - 1].strip() and _indent(line) <= margin
        if new_paragraph and not _NUMPY_ITEM.match(line.strip()):
            return index
    return len(lines)


def _field(lines: Sequence[str], index: int, params: dict[str, str], returns: list[str]) -> _Taken | None:
    field = _FIELD.match(lines[index].strip())
    if field is None:
        return None
    kind, argument, text = field[1].lower(), field[2] or "", field[3]
    end = _block(lines, index + 1, _indent(lines[index]))
    if kind in _FIELD_PARAMETERS and argument.split():
        params[argument.split()[-1].lstrip("*")] = _join([text, *lines[index + 1 : end]])
        return end, []
    if kind in {"return", "returns"}:
        returns.append(_join([text, *lines[index + 1 : end]]))
        return end, list(lines[index:end])
    if kind in {"type", "rtype", "vartype"}:
        return end, []
    return None
