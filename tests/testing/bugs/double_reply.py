"""A double reply: a timeout and a result come at the same moment, and both are sent.

What is wrong. A watchdog answers for a call that takes too long, and cancels it. A call that was cancelled has no
result, so nothing more is sent, or so it is thought. But a task that an event has woken already runs on to its next
await: a call whose work was done in that very moment has a result although it was cancelled.

How it gets written. "Cancelled means that it never returns" is true in every test, because in a test the work takes
longer than the timeout, or shorter, and never exactly as long.

What the kit sees. The client has two answers to one request. First in, first out, the watchdog comes before the oven,
because it was there first, and the call is cancelled in time; it takes the other order at exactly the deadline.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, McpError, Server
from trio_mcp.runtime import session
from trio_mcp.runtime.call import Answer
from trio_mcp.runtime.session import SessionCall
from trio_mcp.testing import serving
from trio_mcp.wire.jsonrpc import encode_error

TIMEOUT = 3.0
TOO_LATE = -32000


class WatchedCall(SessionCall):
    """A call that is answered for when it takes longer than `TIMEOUT`."""

    __slots__ = ("given_up",)

    async def run(self, answer: Callable[[Any], Awaitable[Answer]]) -> None:
        self.given_up = False
        async with trio.open_nursery() as call_nursery:
            call_nursery.start_soon(self._watch, name=f"watch over call {self.id}")
            await super().run(answer)
            call_nursery.cancel_scope.cancel("the call is answered")

    async def _watch(self) -> None:
        await trio.sleep(TIMEOUT)
        if not self.answered:
            self.given_up = True
            self.session.protocol.answer(self.id)
            self.outlet.respond(encode_error(self.id, TOO_LATE, "it took too long"), TOO_LATE)
            self.scope.cancel("it took too long")

    def finish(self, outcome: Answer | None) -> None:
        if self._is_answered_for(outcome):
            self.owed = False
        super().finish(outcome)

    def _is_answered_for(self, outcome: Answer | None) -> bool:
        return self.given_up and outcome is None


class MendedCall(WatchedCall):
    """Asks whether it was given up, and not whether it has a result."""

    __slots__ = ()

    def _is_answered_for(self, outcome: Answer | None) -> bool:
        return self.given_up


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """Calls with a watchdog, for the time of the block."""
    with patch.object(session, "SessionCall", WatchedCall if faulty else MendedCall):
        yield


def kitchen() -> Server:
    """`cook` takes as long as it is told; the oven rings."""

    def lifespan(server: Server) -> AbstractAsyncContextManager[trio.Nursery]:
        return trio.open_nursery()

    server = Server("kitchen", lifespan=lifespan)

    @server.tool
    async def cook(ctx: Context, seconds: float) -> str:
        rang = trio.Event()
        ctx.lifespan.start_soon(bake, seconds, rang, name=f"bake for call {ctx.request_id}")
        await rang.wait()
        return "it is done"

    return server


async def bake(seconds: float, rang: trio.Event) -> None:
    await trio.sleep(seconds)
    rang.set()


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with serving(kitchen()) as server, server.connect(transport="memory") as client:
            for seconds in (TIMEOUT - 1, TIMEOUT, TIMEOUT + 1):
                with suppress(McpError):  # it took too long
                    await client.call_tool("cook", {"seconds": seconds})
            await trio.sleep(1)


BUG = Bug(
    name="double reply",
    sentence="a timeout and a result in the same moment: one request is answered twice",
    way="explore",
    run=run,
    says="was answered 2 times",
    begins="tools/call cook 3  [on",
    ends="tools/call cook 4",
    ordered=True,
)
