"""The list of checks: an id, a title, the section of the specification, how binding it is, and where it applies.

A check is a small async function that is given a `Scene` and returns a note, or raises a `Finding`. This module
refuses to run them.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

import attrs

from trio_mcp.check.scene import Scene
from trio_mcp.protocol.revisions import LATEST, V2024_11_05, Revision


class Level(Enum):
    """How binding what is checked is; the value is the specification's word."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    #: Not in the specification, told all the same.
    INFO = "—"


Run = Callable[[Scene], Awaitable[str | None]]

#: Every transport on which MCP itself is spoken.
MCP: Final = ("http", "sse", "websocket", "message")
#: Those with a handshake that opens something.
SESSIONS: Final = ("http", "sse", "websocket")


@attrs.frozen
class Check:
    """One row of the report.

    Attributes:
        section: the page of the specification and the heading on it.
        transports: on which it is checked.
        since, until: of which revisions, inclusive.
        last: whether it sums up the conversation, and so comes after all others.
    """

    id: str
    title: str
    section: str
    level: Level
    transports: tuple[str, ...]
    since: Revision
    until: Revision
    last: bool
    run: Run

    def cite(self, revision: Revision) -> str:
        """The section in the words of one revision: the newest has other pages."""
        return _MOVED.get(self.section, self.section) if revision.per_request else self.section

    def applies(self, transport: str, revision: Revision) -> bool:
        """Whether it is checked in such a conversation."""
        return transport in self.transports and self.since.rank <= revision.rank <= self.until.rank


_MOVED: Final = {
    "basic/transports: Sending Messages to the Server": "basic/transports/streamable-http: Sending Messages",
    "basic/utilities/progress: Behavior Requirements": "basic/patterns/progress: Behavior Requirements",
}

CHECKS: Final[list[Check]] = []


def check(
    id: str,
    section: str,
    *,
    level: Level = Level.MUST,
    on: tuple[str, ...] = MCP,
    since: Revision = V2024_11_05,
    until: Revision = LATEST,
    last: bool = False,
) -> Callable[[Run], Run]:
    """Put a function on the list, its docstring as the title; the order of the list is that of the report."""

    def put(run: Run) -> Run:
        assert id not in {one.id for one in CHECKS}, f"two checks are called {id}"
        title = (run.__doc__ or id).strip().removesuffix(".")
        CHECKS.append(Check(id, title, section, level, on, since, until, last, run))
        return run

    return put
