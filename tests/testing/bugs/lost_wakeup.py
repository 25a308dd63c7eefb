"""A lost wake-up: a job comes between the look whether there is one and the wait for one, and nobody is told.

What is wrong. `take` looks for a job, tells its client that it must wait, and only then puts up the event that it waits
on. A job that is posted in between sets the event of before.

How it gets written. Look, wait, take: there was no await between the look and the wait. The friendly message to the
client was added later, at the place where it reads best. Telling a client something hardly ever waits, so it looks like
a line that takes no time; but it lets others run.

What the kit sees. The call waits for ever: a hang, with the line where it waits. First in, first out, the job is there
before anybody looks.
"""

from collections import deque

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, Server
from trio_mcp.testing import serving

OPENS = 5.0
"""Virtual seconds at which the board opens: whoever came before is served then, as they came."""


class Board:
    """Jobs for whoever takes them."""

    def __init__(self) -> None:
        self.jobs: deque[str] = deque()
        self.posted = trio.Event()

    def post(self, job: str) -> None:
        self.jobs.append(job)
        self.posted.set()

    async def take(self, ctx: Context, faulty: bool) -> str:
        while not self.jobs:
            if faulty:
                await ctx.report_progress(0, 1, "waiting for a job")
                self.posted = trio.Event()
            else:
                self.posted = trio.Event()
                await ctx.report_progress(0, 1, "waiting for a job")
            await self.posted.wait()
        return self.jobs.popleft()


def job_board(faulty: bool) -> Server:
    """`post` brings a job, `take` waits for one."""
    server = Server("job board")
    board = Board()

    @server.tool
    async def post(job: str) -> str:
        await trio.sleep_until(OPENS)
        board.post(job)
        return "posted"

    @server.tool
    async def take(ctx: Context) -> str:
        await trio.sleep_until(OPENS)
        return await board.take(ctx, faulty)

    return server


async def run(faulty: bool) -> None:
    async with serving(job_board(faulty)) as server, server.connect(transport="websocket") as client:
        posting = client.begin("tools/call", {"name": "post", "arguments": {"job": "sweep"}})
        await client.call_tool("take")
        await posting.result()


BUG = Bug(
    name="lost wake-up",
    sentence="a job that comes between the look and the wait wakes nobody",
    way="explore",
    run=run,
    says="has not ended",
    begins="call tools/call 2",
    ends="2:00.000",
    ordered=True,
)
