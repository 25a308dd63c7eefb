"""`Tally`: what a host has done, in plain numbers: requests by method, tool and outcome, and how long they took.

Counting is on the way of every call, so it is a few additions and nothing else. The names it counts under are those of
known methods and of registered tools; a client cannot make one. It refuses to know how the numbers are shown.
"""

from bisect import bisect_left
from typing import Any, Final

import trio

from trio_mcp.protocol.methods import METHODS
from trio_mcp.server import Server

#: Upper bounds of a histogram's buckets, in seconds; what is above the last is counted in one more.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: What stands for a method or a tool that has no name of its own here.
OTHER: Final = "other"
#: Tools with a name of their own; a server that makes tools without end has the rest under `OTHER`.
MAX_TOOLS: Final = 1000


class Histogram:
    """How often a duration fell between two bounds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Row:
    """The requests of one method, or of one tool."""

    __slots__ = ("durations", "outcomes")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.durations = Histogram()

    def count(self, outcome: str) -> None:
        """One more that ended so."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Tally:
    """The counts of one host.

    Attributes:
        methods: a row for each method but `tools/call`.
        tools: the rows of `tools/call`, by tool.
        cleanups: how long cancelled calls took to end.
    """

    def __init__(self, server: Server) -> None:
        self.methods: dict[str, Row] = {}
        self.tools: dict[str, Row] = {}
        self.cleanups = Histogram()
        self._server = server

    def ended(self, call: Any, outcome: str) -> None:
        """Count a call (`runtime.call.Call`) that has just ended."""
        now = trio.current_time()
        row = self._row(call.method.name, call.params)
        row.outcomes[outcome] = row.outcomes.get(outcome, 0) + 1
        seconds = now - call.began
        durations = row.durations
        durations.counts[bisect_left(BOUNDS, seconds)] += 1
        durations.total += seconds
        if call.cancelled_at is not None:
            self.cleanups.add(now - call.cancelled_at)

    def instant(self, method: str, outcome: str = "ok") -> None:
        """Count a request that was answered without a call: at once, or refused. It has no duration."""
        self._named(method if method in METHODS else OTHER).count(outcome)

    def _row(self, method: str, params: Any) -> Row:
        if method == "tools/call":
            return self.tools.get(params.name) or self._tool(params.name)
        return self.methods.get(method) or self._named(method)

    def _named(self, method: str) -> Row:
        return self.methods.setdefault(method, Row())

    def _tool(self, name: str) -> Row:
        if name not in self._server.tools or len(self.tools) >= MAX_TOOLS:
            name = OTHER
        return self.tools.setdefault(name, Row())
