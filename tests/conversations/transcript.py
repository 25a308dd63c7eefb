"""Wire transcripts: what a client says and exactly what the server must answer, readable as a conversation.

A transcript is a text file. A line that begins with `#` is a comment. `over stdio` or `over http` comes first, then,
where needed, `settings NAME=VALUE …` and `let NAME = JSON`; `$NAME` stands for that JSON from there on. Then the two
speak in turn, `C` the client and `S` the server; what belongs to a line is indented below it.

    over stdio
    C {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    S {"jsonrpc": "2.0", "id": 1, "result": {}}
    C end                               (the client closes its side; the server must close its own)

    over http                           (every exchange has a name)
    C call: POST                        (a client's usual headers are sent; give one to change it, `-` to leave it out)
        Mcp-Session-Id: <session>
        {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    S call: 200 application/json        (headers that belong to the protocol must all be written)
        Mcp-Session-Id: <session>
        {"jsonrpc": "2.0", "id": 1, "result": {}}
    S call: 200 text/event-stream
    S call: event <id> retry 1000       (an event with an id, or without; no JSON below: its data is empty)
        {"jsonrpc": "2.0", "method": "…"}
    S call: event named endpoint        (an event with a name; data that is no JSON stands as a string)
        "/messages?session_id=<session>"
    S call: comment
    S call: end                         (the stream ends with its terminator)
    C call: drop                        (the client leaves)
    C wait 5                            (seconds pass, on a clock that jumps)

`<name>` as a string of the server, or in one, is anything, and the same thing wherever it is written again; `<*>` is
any value, and as a key any further members. Nothing else is forgiven: an answer that is missing or differs fails, and
so does one that is there and not written, when the client speaks next or at the end. Time passes only where it is said
to.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

_PLACE = re.compile(r"<([a-z0-9*-]+)>")
_MACRO = re.compile(r"\$([A-Z]+)")


@attrs.frozen
class Line:
    """One thing said: by whom, in which exchange, what, and the lines below it."""

    number: int
    speaker: str
    exchange: str
    words: str
    headers: dict[str, str]
    body: str


@attrs.define
class Transcript:
    """A transcript as read."""

    over: str = ""
    settings: dict[str, Any] = attrs.field(factory=dict)
    lines: list[Line] = attrs.field(factory=list)


class TranscriptError(Exception):
    """The file is no transcript; says in which line."""


def read(path: Path) -> Transcript:
    """Read a file."""
    transcript, macros = Transcript(), dict[str, str]()
    for number, head, below in _blocks(path.read_text(encoding="utf-8")):
        first, _, rest = head.partition(" ")
        try:
            if first == "over" and rest in ("stdio", "http") and not transcript.over:
                transcript.over = rest
            elif first == "settings":
                transcript.settings |= {name: json.loads(value) for name, _, value in _pairs(rest)}
            elif first == "let":
                name, equals, text = rest.partition(" = ")
                if not equals:
                    raise TranscriptError(f"`let NAME = JSON`, not: {head}")
                macros[name] = _expanded(" ".join([text, *below]), macros)
            elif first in ("C", "S") and transcript.over:
                transcript.lines.append(_line(number, first, rest, below, macros, http=transcript.over == "http"))
            else:
                raise TranscriptError(f"unknown: {head}")
        except (TranscriptError, ValueError, KeyError) as error:
            raise TranscriptError(f"{path.name}, line {number}: {error!r}") from error
    return transcript


def _pairs(text: str) -> Iterator[tuple[str, str, str]]:
    return (pair.partition("=") for pair in text.split())


def _blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Each line with its number and the lines that are indented below it."""
    head: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] == " ":
            if head is None:
                raise TranscriptError(f"line {number} is indented below nothing")
            head[2].append(line.strip())
            continue
        if head is not None:
            yield head
        head = (number, line.rstrip(), [])
    if head is not None:
        yield head


def _line(number: int, speaker: str, words: str, below: list[str], macros: dict[str, str], *, http: bool) -> Line:
    exchange = ""
    if http and not words.startswith("wait "):
        exchange, colon, words = words.partition(": ")
        if not colon:
            raise TranscriptError("an exchange needs its name: `C name: POST`")
    headers: dict[str, str] = {}
    while http and below and (header := re.fullmatch(r"([A-Za-z-]+): ?(.*)", below[0])):
        headers[header[1].lower()] = header[2]
        below = below[1:]
    if not http and words[:1] not in ("e", "w"):
        below, words = [words, *below], ""
    return Line(number, speaker, exchange, words, headers, _expanded(" ".join(below), macros))


def _expanded(text: str, macros: dict[str, str]) -> str:
    return _MACRO.sub(lambda found: macros[found[1]], text)


def said(text: str, known: dict[str, str]) -> str:
    """What a client says, with what it has learned so far put in."""
    return _PLACE.sub(lambda found: json.dumps(known[found[1]])[1:-1], text)


def _differs_inside(expected: str, actual: str, known: dict[str, str], where: str) -> str:
    """As `differs`, of a text with placeholders in it."""
    names = _PLACE.findall(expected)
    pattern = "(.+?)".join(map(re.escape, _PLACE.split(expected)[::2]))
    found = re.fullmatch(pattern, actual)
    if found is None:
        return f"{where or 'it'} is {actual!r}, not {expected!r}"
    pairs = zip(names, found.groups(), strict=True)
    return next(filter(None, (differs(f"<{name}>", value, known, where) for name, value in pairs)), "")


def differs(expected: Any, actual: Any, known: dict[str, str], where: str = "") -> str:
    """How a value is not what was expected, or the empty string; learns what placeholders stand for."""
    if isinstance(expected, str) and (place := _PLACE.fullmatch(expected)):
        name = place[1]
        if name == "*":
            return ""
        if not isinstance(actual, str):
            return f"{where or 'it'} is {actual!r}, not a text"
        if known.setdefault(name, actual) != actual:
            return f"{where or 'it'} is {actual!r}, but <{name}> was {known[name]!r}"
        return ""
    if isinstance(expected, str) and isinstance(actual, str) and _PLACE.search(expected):
        return _differs_inside(expected, actual, known, where)
    if isinstance(expected, dict) and isinstance(actual, dict):
        more = "<*>" in expected
        missing = [key for key in expected if key not in actual and key != "<*>"]
        surplus = [key for key in actual if key not in expected and not more]
        if missing or surplus:
            return f"{where or 'it'} lacks {missing}, and has {surplus} beyond what is written"
        return next(
            filter(None, (differs(expected[k], actual[k], known, f"{where}.{k}") for k in expected if k != "<*>")), ""
        )
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{where or 'it'} has {len(actual)} members, not {len(expected)}"
        pairs = enumerate(zip(expected, actual, strict=True))
        return next(filter(None, (differs(e, a, known, f"{where}[{n}]") for n, (e, a) in pairs)), "")
    if type(expected) is not type(actual) or expected != actual:
        return f"{where or 'it'} is {actual!r}, not {expected!r}"
    return ""
