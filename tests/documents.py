"""The project's pages as programs: what stands in a fenced block is run, and what a page shows is what comes out.

How blocks are read, top to bottom, one namespace a page:

- `python`: run as a module. One that begins with a comment naming a file (`# server.py`) is that file, too.
- `text` after it that begins with the name of an error: the block raises just that.
- `text` with lines that begin with a sign: a conversation with the page's `mcp`, held in both eras unless the first
  line names a revision. `>` a request, `<` its result, `!` its error, `*` a notification of the server, `?` a
  question of the server, `=` the client's answer to it. A value `"…"` stands for any string.
- `json` after `python`: the definition of the tool that was registered last.
- `console`: commands after `$`, and what they print.

This module reads and compares; it refuses to decide which pages there are: `test_docs` does.
"""

import json
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from tests.authoring.client import ERAS, Client, connected
from trio_mcp import Server
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.wire.base import SERVER_INFO_KEY

ROOT = Path(__file__).parent.parent
ANY = "…"
SIGNS = "><!*?="
CAPABILITIES: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
#: What results of the per-request era carry besides; the pages leave it out.
STAMPS = ("resultType", "ttlMs", "cacheScope")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ERROR = re.compile(r"^\w*(Error|Exception): ")


@attrs.frozen
class Block:
    """One fenced block; `line` is where its text begins."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_error(self) -> bool:
        return self.language == "text" and _ERROR.match(self.text) is not None

    @property
    def is_conversation(self) -> bool:
        first = next((line for line in self.text.splitlines() if not line.startswith("#")), "")
        return self.language == "text" and first.startswith("> ")

    @property
    def file(self) -> str | None:
        """The file that the block is."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found and self.language == "python" else None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent = len(match[1])
        lines = [line[indent:] for line in match[3].splitlines(keepends=True)]
        found.append(Block(page, text.count("\n", 0, match.start(3)) + 1, match[2], "".join(lines)))
    return found


# Running the Python of a page


class Namespace:
    """What the blocks of one page define, as a module, so that annotations find their names."""

    def __init__(self, name: str) -> None:
        self.module = types.ModuleType(f"documentation_{name}")

    def __enter__(self) -> "Namespace":
        sys.modules[self.module.__name__] = self.module
        return self

    def __exit__(self, *error: object) -> None:
        del sys.modules[self.module.__name__]

    @property
    def server(self) -> Server:
        """The page's `mcp`."""
        server: Server = self.module.mcp
        return server

    def run(self, block: Block) -> None:
        """Run one block; tracebacks name the page and its line."""
        code = compile("\n" * (block.line - 1) + block.text, block.place.partition(":")[0], "exec", dont_inherit=True)
        exec(code, self.module.__dict__)

    def failure(self, block: Block) -> str:
        """How a block that must fail does, as the last line of its traceback begins."""
        try:
            self.run(block)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        raise AssertionError(f"{block.place} raised nothing")

    def last_tool(self) -> Any:
        """The definition that was registered last, as it goes over the wire."""
        tool = list(self.server.tools.values())[-1]
        return msgspec.json.decode(msgspec.json.encode(tool.definition))


# Conversations


@attrs.define
class Line:
    """One line of a conversation, with what continues it."""

    sign: str
    text: str

    @property
    def method(self) -> str:
        return self.text.partition(" ")[0] if self.sign in ">*?" else ""

    @property
    def value(self) -> Any:
        text = self.text.partition(" ")[2] if self.sign in ">*?" else self.text
        return json.loads(text) if text.strip() else {}


def lines_of(text: str) -> Iterator[Line]:
    """The lines of a conversation."""
    line: Line | None = None
    for raw in text.splitlines():
        if raw[:1] in SIGNS and raw[1:2] == " ":
            if line is not None:
                yield line
            line = Line(raw[0], raw[2:])
        elif line is not None:
            line.text += "\n" + raw
    if line is not None:
        yield line


def revisions_of(text: str) -> tuple[str, ...]:
    """The revisions that a conversation is held in."""
    first = text.partition("\n")[0]
    return tuple(version for version in REVISIONS if version in first) if first.startswith("#") else ERAS


class Recorder(list[Any]):
    """What a client keeps of one kind of message, noted down in the order in which all kinds came."""

    def __init__(self, sign: str, said: list[Line]) -> None:
        self._sign = sign
        self._said = said

    def append(self, message: Any) -> None:
        super().append(message)
        params = message.get("params")
        text = message["method"] + (f" {json.dumps(params, ensure_ascii=False)}" if params else "")
        self._said.append(Line(self._sign, text))


async def converse(server: Server, text: str, revision: str) -> list[Line]:
    """Hold a conversation; in place of what the page has for the server's lines stands what the server said."""
    lines = list(lines_of(text))
    said: list[Line] = []
    answers = iter([line for line in lines if line.sign == "="])

    def answer(params: Any) -> Any:
        line = next(answers)
        said.append(line)
        return line.value

    asking = dict.fromkeys(("elicitation/create", "sampling/createMessage", "roots/list"), answer)
    by_hand = any("resultType" in line.text for line in lines)
    state: str | None = None
    async with connected(server, revision, capabilities=CAPABILITIES, answers=asking, log_level="info") as client:
        client.heard, client.asked = Recorder("*", said), Recorder("?", said)
        for request, notifications in _exchanges(lines):
            said.append(request)
            params = request.value
            if params.get("requestState") == ANY:
                params["requestState"] = state
            response = await (_request_once if by_hand else Client.request)(client, request.method, params)
            state = response.get("result", {}).get("requestState")
            for method in notifications:
                await client.hear(method, notifications[method])
            said.append(_outcome(response, keep_stamps=by_hand))
    return said


async def _request_once(client: Client, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """As `Client.request`, but the page itself answers `input_required`."""
    _, receive = await client.begin(method, params)
    return await receive()


def _exchanges(lines: list[Line]) -> Iterator[tuple[Line, Counter[str]]]:
    """Each request, with the notifications that the page has up to its answer, counted from the beginning."""
    seen: Counter[str] = Counter()
    request: Line | None = None
    for line in lines:
        if line.sign == ">":
            if request is not None:
                yield request, seen.copy()
            request = line
        elif line.sign == "*":
            seen[line.method] += 1
    if request is not None:
        yield request, seen


def _outcome(response: dict[str, Any], *, keep_stamps: bool) -> Line:
    if "error" in response:
        return Line("!", json.dumps(response["error"], ensure_ascii=False))
    result = dict(response["result"])
    meta = {key: value for key, value in result.pop("_meta", {}).items() if key != SERVER_INFO_KEY}
    if not keep_stamps:
        for stamp in STAMPS:
            result.pop(stamp, None)
    return Line("<", json.dumps({**result, **({"_meta": meta} if meta else {})}, ensure_ascii=False))


def same(shown: Any, real: Any) -> bool:
    """Whether what a page shows is what came; `…` stands for any string."""
    if shown == ANY:
        return isinstance(real, str)
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(same(value, real[key]) for key, value in shown.items())
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(same, shown, real))
    return type(shown) is type(real) and bool(shown == real)


def differences(text: str, said: list[Line]) -> str:
    """What a page shows otherwise than it was; empty where all is the same."""
    shown = list(lines_of(text))
    for one, other in zip(shown, said, strict=False):
        if (one.sign, one.method) != (other.sign, other.method) or not same(one.value, other.value):
            return f"the page: {one.sign} {one.text}\n  really: {other.sign} {other.text}"
    return "" if len(shown) == len(said) else f"the page has {len(shown)} lines, really there are {len(said)}"
