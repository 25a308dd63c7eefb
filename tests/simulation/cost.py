"""What simulation costs: full HTTP tool calls a second of wall time, on one core.

`python -m tests.simulation.cost` prints a table, with `--write` into docs/testing.md. Figures are of one machine; what
counts is the ratio between rows.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.simulation.scenarios import V2025_11, V2026
from trio_mcp import Server
from trio_mcp.testing import Conditions, Trace, connect, simulate
from trio_mcp.testing.client import Transport

CALLS = 2000
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def make_server() -> Server:
    server = Server("cost")

    @server.tool
    async def echo(message: str) -> str:
        return message

    return server


async def calls(transport: Transport, revision: str, count: int) -> None:
    async with connect(make_server(), transport=transport, revision=revision) as client:
        for number in range(count):
            result = await client.call_tool("echo", {"message": f"{number}"})
            assert not result.is_error


def rate(transport: Transport = "http", revision: str = V2026, count: int = CALLS, **options: Any) -> float:
    """How many calls a second. Within a run the clock is virtual, so a run with many is timed against one with few."""
    few, many = (wall(partial(calls, transport, revision, number), **options) for number in (10, count + 10))
    return count / (many - few)


def wall(scenario: Callable[[], Awaitable[None]], **options: Any) -> float:
    """Seconds that a run takes, the better of two."""
    outcomes = [simulate(scenario, **options) for _ in range(2)]
    for outcome in outcomes:
        assert outcome.error is None, outcome.failure
    return min(outcome.wall for outcome in outcomes)


def main() -> None:
    slow = Conditions(latency=(0.001, 0.1), fragmentation=0.3)
    rows = [
        ("tools/call over HTTP, with a session", rate("http", V2025_11)),
        ("tools/call over HTTP, without", rate()),
        ("the same, in the order of seed 7", rate(seed=7)),
        ("the same, on a slow network that fragments", rate(conditions=slow)),
        ("the same, with a trace", rate(trace=Trace("cost", 0))),
        ("tools/call over WebSocket", rate("websocket", V2025_11)),
        ("tools/call on a stream in memory", rate("memory", V2025_11)),
        ("whole runs: server, session, call, shutdown", 1 / wall(partial(calls, "http", V2025_11, 1))),
    ]
    lines = ["| what | a second |", "|---|---:|", *(f"| {name} | {thousands(figure)} |" for name, figure in rows)]
    table = "\n".join(lines)
    print(table)
    if "--write" in sys.argv:
        before, mark, rest = PAGE.read_text(encoding="utf-8").partition("<!-- cost -->")
        end = rest.partition("<!-- end of cost -->")
        PAGE.write_text(f"{before}{mark}\n\n{table}\n\n{end[1]}{end[2]}", encoding="utf-8")


def thousands(figure: float) -> str:
    return f"{figure:,.0f}".replace(",", " ")


if __name__ == "__main__":
    main()
