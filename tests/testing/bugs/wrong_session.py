"""An answer to the wrong session: two clients count their requests from 1, and the server finds streams by that number.

What is wrong. The streams that answers go out on are kept in one table for all sessions, by request id. While two
sessions have a request of the same id in flight, the second one's stream stands in the first one's place.

How it gets written. The table was in the session, and moved to the transport, to be found from there. The id of a
request looks unique, because in the log of one client it is.

What the kit sees. One client is told what the other asked. On a perfect network the two come one after the other, and
neither is slow; it takes a network on which the first is late by as much as the second is early.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Server
from trio_mcp.runtime.call import Answer
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.session import Session, SessionCall
from trio_mcp.testing import SimulatedServer, serving


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """One table of streams for all sessions, for the time of the block."""
    streams: dict[Any, Outlet] = {}
    begin, finish = SessionCall.__init__, SessionCall.finish

    def remember(call: SessionCall, session: Session, event: Any, outlet: Outlet, *rest: Any) -> None:
        begin(call, session, event, outlet, *rest)
        streams[call.id] = outlet

    def answer(call: SessionCall, outcome: Answer | None) -> None:
        call.outlet = streams.get(call.id, call.outlet)
        finish(call, outcome)

    if not faulty:
        yield
        return
    with patch.object(SessionCall, "__init__", remember), patch.object(SessionCall, "finish", answer):
        yield


def doorman() -> Server:
    """`greet` takes a moment."""
    server = Server("doorman")

    @server.tool
    async def greet(name: str) -> str:
        await trio.sleep(0.1)
        return f"good morning, {name}"

    return server


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with serving(doorman()) as server, trio.open_nursery() as scenario_nursery:
            scenario_nursery.start_soon(enter, server, "client 1", 0.0, name="enter first")
            scenario_nursery.start_soon(enter, server, "client 2", 0.3, name="enter second")


async def enter(server: SimulatedServer, name: str, at: float) -> None:
    await trio.sleep(at)
    async with server.connect(name=name) as client:
        said = (await client.call_tool("greet", {"name": name})).content[0].text  # type: ignore[union-attr]  # it is text
        assert said.endswith(name), f"{name} was told what another session asked: {said}"


BUG = Bug(
    name="wrong session",
    sentence="streams are found by request id alone: one client is told what another one asked",
    way="explore",
    run=run,
    says="was told what another session asked",
    begins="tools/call greet",
    ends="reset by client",
    ordered=True,
)
