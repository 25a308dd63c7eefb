"""A teardown that hangs: the lifespan waits for work to be done that was cancelled long ago.

What is wrong. The lifespan counts the calls that use its pool, and its teardown waits until the count is zero. A call
that is cancelled never counts itself out.

How it gets written. `pool.users += 1`, the work, `pool.users -= 1`. It is right as long as work either returns or was
never begun; somebody who thinks of errors adds `except Exception`, which a cancellation passes by.

What the kit sees. One call is cancelled by its client, at one place or another; much later the server is told to go,
and its teardown does not end within its time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Server, Settings
from trio_mcp.testing import serving


class Pool:
    """Counts who uses it."""

    def __init__(self) -> None:
        self.users = 0
        self.unused = trio.Event()
        self.unused.set()

    def enter(self) -> None:
        self.users += 1
        self.unused = trio.Event()

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            self.unused.set()


def database(faulty: bool) -> Server:
    """`query` uses the pool for a second."""

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[Pool]:
        yield pool
        await pool.unused.wait()

    server = Server("database", lifespan=lifespan, settings=Settings(session_idle=60, idle_timeout=20))
    pool = Pool()

    @server.tool
    async def query() -> str:
        pool.enter()
        if faulty:
            await trio.sleep(1)
            pool.leave()
            return "three rows"
        try:
            await trio.sleep(1)
            return "three rows"
        finally:
            pool.leave()

    return server


async def run(faulty: bool) -> None:
    async with serving(database(faulty)) as server, server.connect() as client:
        await client.call_tool("query")


BUG = Bug(
    name="hanging teardown",
    sentence="the lifespan waits for a call that was cancelled and never counted itself out",
    way="cancel_everywhere",
    run=run,
    says="teardown did not end",
    begins="a call of query is cancelled",
    ends="run host database  [",
    patience=3 * 3600,
    options={"tool": "query"},
)
