"""What lives as long as the server: a lifespan with a nursery in it.

    trio-mcp serve examples/lifespan.py

The lifespan is entered before the first request and left after the last, however the server ends. It may hold a
nursery across its `yield`: then the server can have tasks of its own beside its sessions. If such a task fails, the
server ends; if the server ends, the task is cancelled here, and its `finally` runs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from trio_mcp import Context, Server


@attrs.define
class Counter:
    """Seconds since the server began, counted by a task of the server."""

    seconds: int = 0
    running: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count until cancelled."""
        self.running = True
        task_status.started()
        try:
            while True:
                await trio.sleep(1)
                self.seconds += 1
        finally:
            self.running = False


counter = Counter()


@asynccontextmanager
async def lifespan(server: Server) -> AsyncIterator[Counter]:
    """Run the counter; what is yielded is `ctx.lifespan`."""
    async with trio.open_nursery() as lifespan_nursery:
        await lifespan_nursery.start(counter.run, name=f"count the seconds of {server.name}")
        yield counter
        lifespan_nursery.cancel_scope.cancel()


mcp = Server("lifespan", version="1.0", lifespan=lifespan)


@mcp.tool
async def uptime(ctx: Context) -> int:
    """Whole seconds since the server began."""
    found: Counter = ctx.lifespan
    return found.seconds


if __name__ == "__main__":
    mcp.run()
