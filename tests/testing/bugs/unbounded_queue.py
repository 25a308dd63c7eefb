"""An unbounded queue: a client that does not read makes the server hold all that it does not read.

What is wrong. Whoever sends on a stream should wait while its reader is `Settings.stream_buffer` frames behind. Here
nobody waits: the queue takes whatever it is given.

How it gets written. `queue.put_nowait`, `open_memory_channel(math.inf)`, `list.append`: sending becomes sync, which is
handy, and every test passes, because every test reads. The memory is eaten months later by one phone in a tunnel.

What the kit sees. A client that stalls (`Client.stall`) fills the buffers of the network; after the step in which the
stream holds more than its bound, the run has failed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, Server, Settings
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.testing import Conditions, serving

LINES = 60


async def _always_room(self: Outlet) -> None:
    """There is always room."""
    await trio.lowlevel.checkpoint_if_cancelled()


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """The queue that never says no, for the time of the block."""
    if not faulty:
        yield
        return
    with patch.object(Outlet, "room", _always_room):
        yield


def log_reader() -> Server:
    """`follow` reports a line after the other."""
    server = Server("log reader", settings=Settings(stream_buffer=8))

    @server.tool
    async def follow(ctx: Context) -> str:
        for number in range(LINES):
            await ctx.report_progress(number, LINES, "a line of the log")
        return "that was all"

    return server


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with serving(log_reader()) as server, server.connect() as client:
            pending = client.begin("tools/call", {"name": "follow"}, progress=lambda *_: client.stall())
            await trio.sleep(10)
            pending.on_progress = None
            client.go_on()
            await pending.result()


BUG = Bug(
    name="unbounded queue",
    sentence="a stream takes frames without end while its client does not read",
    way="explore",
    run=run,
    says="a stream holds",
    begins="tools/call follow 2  [on",
    ends="0:10.000",
    options={"conditions": Conditions(buffer=1024)},
)
