"""A late progress: a notification of how far a call is, behind the call's result.

What is wrong. A ticker outside of the call reports its progress. It looks whether the call is done, then waits until
there is room for the frame, and sends it: what was true before the wait need not be true after it.

How it gets written. The ticker looks at `done`, so its author thinks of it. The writer of the transport waits before
each frame, so its author thinks of slow clients. Each is right by itself; the one who waits would have to look again.

What the kit sees. A notification about a request that has its answer (basic/utilities/progress: Behavior Requirements).
It takes the ticker to look right before the call ends: they must wake in the same moment, the ticker first.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, Server
from trio_mcp.runtime.call import Call
from trio_mcp.testing import serving
from trio_mcp.wire.jsonrpc import encode_notification


async def _notify(self: Call, method: str, params: Any, admit: Callable[[], bool] | None = None) -> None:
    """`Call.notify`, which looks before it waits."""
    if admit is None or admit():
        await self.outlet.wait_for_room()
        self.outlet.put(encode_notification(method, params))


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """The writer that does not look again, for the time of the block."""
    if not faulty:
        yield
        return
    with patch.object(Call, "notify", _notify):
        yield


def bakery() -> Server:
    """`bake` takes three seconds, and a ticker of the house tells each of them."""

    def lifespan(server: Server) -> AbstractAsyncContextManager[trio.Nursery]:
        return trio.open_nursery()

    server = Server("bakery", lifespan=lifespan)

    @server.tool
    async def bake(ctx: Context) -> str:
        done = trio.Event()
        ctx.lifespan.start_soon(tick, ctx, done, name=f"tick for {ctx.request_id}")
        await trio.sleep(3)
        done.set()
        return "baked"

    return server


async def tick(ctx: Context, done: trio.Event) -> None:
    seconds = 0
    while True:
        await trio.sleep(1)
        if done.is_set():
            return
        seconds += 1
        await ctx.report_progress(seconds, 3)


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with serving(bakery()) as server, server.connect(transport="stdio") as client:
            heard: list[float] = []
            await client.call_tool("bake", progress=lambda progress, *_: heard.append(progress))
            in_time = len(heard)
            await trio.sleep(5)
            late = client.notifications[in_time:]
            assert not late, f"progress came behind the result: {late[0]['params']['progress']:g} of 3"


BUG = Bug(
    name="late progress",
    sentence="progress of a call is sent behind the call's result",
    way="explore",
    run=run,
    says="progress came behind the result",
    begins="call tools/call 2",
    ends="reset by client",
    ordered=True,
)
