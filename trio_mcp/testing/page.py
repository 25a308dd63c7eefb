"""The trace as a page: one HTML document that needs nothing else, to be opened from a disk or from where tests are run.

It owns how a trace gets into the page. What is seen there is the template's, and the words are `text`'s. It refuses the
trace any say in the document: it goes in as data, in a block which nothing in it can end, and the page's own policy
allows one script, one style and no request.
"""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from trio_mcp.ops.docs_page import inline_hash
from trio_mcp.testing.text import Line, Traced, plain, tell

_SLOTS: Final = re.compile("__(TITLE|POLICY|TRACE)__")


def as_page(trace: Traced) -> str:
    """The whole document: swimlanes of all tasks with a ruler of virtual time, and the trace as a list."""
    filled = {"TITLE": html.escape(plain(trace.title)), "POLICY": html.escape(_policy()), "TRACE": _data(trace)}
    # In one go: what is filled in may look like a slot.
    return _SLOTS.sub(lambda slot: filled[slot[1]], _template())


def _data(trace: Traced) -> str:
    """The trace as JSON; within a script element a "<" could end it."""
    data = {
        "title": trace.title,
        "seed": trace.seed,
        "command": trace.command,
        "events": _finite(trace.events),
        "lines": [_row(line) for line in tell(trace)],
    }
    return json.dumps(data, default=str, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _row(line: Line) -> list[Any]:
    row = [line.lane, line.depth, line.sign, line.what, int(line.minor)]
    return [*row, line.more] if line.more else row


def _finite(value: Any) -> Any:
    """A deadline may be infinite, and JSON knows no such number: it is none."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value
        case Mapping():
            return {str(key): _finite(inner) for key, inner in value.items()}
        case Sequence():
            return [_finite(inner) for inner in value]
    return value


@cache
def _template() -> str:
    return files("trio_mcp.testing").joinpath("page.html").read_text(encoding="utf-8")


@cache
def _policy() -> str:
    """The page's Content-Security-Policy: its one script and one style by their hashes, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {inline_hash(_template(), 'script')}",
            f"style-src {inline_hash(_template(), 'style')}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
