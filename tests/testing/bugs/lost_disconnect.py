"""A lost disconnect: the client leaves, and its call goes on for nobody, for ever.

What is wrong. In the per-request era the client's leaving is the cancellation. Here it only raises a flag, which the
writer of the reply looks at before it writes.

How it gets written. The disconnect comes as a message or as a flag (`if await request.is_disconnected(): break`), and a
loop that streams looks at it each time round. Then somebody adds a tool that waits instead of streaming: it never comes
round, and nobody looks.

What the kit sees. Every cut, once the call waits: long after the client has gone the server has not come to rest, and
what is left is that call and its connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Server, Settings
from trio_mcp.http import per_request_endpoint
from trio_mcp.testing import Client, serving


def _flagged(self: Any, reason: str) -> None:
    """The client has left: whoever writes next will see it."""
    self._call.outlet.gone = True


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """The endpoint that only raises a flag, for the time of the block."""
    if not faulty:
        yield
        return
    with patch.object(per_request_endpoint._Runner, "gone", _flagged):
        yield


def job_board() -> Server:
    """`take` waits for the job that `post` brings."""
    server = Server("job board", settings=Settings(session_idle=60, idle_timeout=20))
    posted = trio.Event()

    @server.tool
    async def take() -> str:
        await posted.wait()
        return "a job"

    @server.tool(thread=False)
    def post() -> str:
        posted.set()
        return "posted"

    return server


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with (
            serving(job_board()) as server,
            server.connect(revision="2026-07-28") as worker,
            server.connect(revision="2026-07-28") as master,
            trio.open_nursery() as scenario_nursery,
        ):
            scenario_nursery.start_soon(take_a_job, worker, name="take a job")
            await trio.sleep(5)
            await master.call_tool("post")


async def take_a_job(worker: Client) -> None:
    assert "a job" in str(await worker.call_tool("take"))


BUG = Bug(
    name="lost disconnect",
    sentence="the client leaves, and its call waits on for nobody",
    way="cut_everywhere",
    run=run,
    says="left of clients that have gone",
    begins="tools/call take 2  [on",
    ends="the server is shutting down",
    patience=3 * 3600,
)
