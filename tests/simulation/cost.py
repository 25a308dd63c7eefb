"""What simulation costs: full HTTP tool calls a second of wall time, on one core.

`python -m tests.simulation.cost` prints a table. Figures are of one machine; the ratio between rows is what counts.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial

from tests.simulation.scenarios import V2025_11, V2026
from trio_mcp import Server
from trio_mcp.testing import Conditions, Trace, connect, simulate
from trio_mcp.testing.client import Transport

CALLS = 2000


def make_server() -> Server:
    server = Server("cost")

    @server.tool
    async def echo(message: str) -> str:
        return message

    return server


async def calls(transport: Transport, revision: str, took: list[float]) -> None:
    async with connect(make_server(), transport=transport, revision=revision) as client:
        began = time.perf_counter()
        for number in range(CALLS):
            result = await client.call_tool("echo", {"message": f"{number}"})
            assert not result.is_error
        took.append(time.perf_counter() - began)


async def sessions(took: list[float]) -> None:
    """A server, a session, one call, goodbye, shutdown: what each run of an exploration does at least."""
    began = time.perf_counter()
    async with connect(make_server()) as client:
        await client.call_tool("echo", {"message": "1"})
    took.append(time.perf_counter() - began)


def rate(scenario: Callable[[list[float]], Awaitable[None]], count: int = CALLS, **options: object) -> float:
    """How many a second."""
    took: list[float] = []
    outcome = simulate(partial(scenario, took), **options)  # type: ignore[arg-type]
    assert outcome.error is None, outcome.failure
    return count / took[0]


def main() -> None:
    rows = [
        ("tools/call, http, session", rate(partial(calls, "http", V2025_11))),
        ("tools/call, http, per request", rate(partial(calls, "http", V2026))),
        ("the same, seed 7", rate(partial(calls, "http", V2026), seed=7)),
        (
            "the same, latency and fragments",
            rate(partial(calls, "http", V2026), conditions=Conditions(latency=(0.001, 0.1), fragmentation=0.3)),
        ),
        ("the same, with a trace", rate(partial(calls, "http", V2026), trace=Trace("cost", 0))),
        ("tools/call, websocket", rate(partial(calls, "websocket", V2025_11))),
        ("tools/call, memory", rate(partial(calls, "memory", V2025_11))),
        ("whole runs: server, session, call, shutdown", rate(sessions, 1)),
    ]
    for name, figure in rows:
        print(f"{name:50s} {figure:8.0f} a second")


if __name__ == "__main__":
    main()
