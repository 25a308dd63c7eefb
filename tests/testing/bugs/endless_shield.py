"""A shield without a deadline: a clean-up that waits for somebody who will never answer, and cannot be cancelled.

What is wrong. A tool gives its lease back when it ends, under a shield, so that a cancellation does not cut that short.
The shield has no deadline.

How it gets written. The lease leaked when clients cancelled, and `CancelScope(shield=True)` was the answer to be found
everywhere. The registry always answers, in every test. It does not in the one night in which everything is restarted.

What the kit sees. The server is told to go while the call runs and the registry is gone already. It never ends: not
within its bounds, and not at all. The failure shows which task waits where, and that a shield keeps it there.
"""

from contextlib import suppress

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import McpError, Server, Settings
from trio_mcp.testing import Client, ConnectionLostError, note, serving


class Registry:
    """Gives leases out, somewhere in the network.

    Attributes:
        up: it answers.
    """

    def __init__(self) -> None:
        self.up = True

    async def release(self) -> None:
        if self.up:
            await trio.sleep(0.1)
        else:
            await trio.sleep_forever()


def exporter(registry: Registry, faulty: bool) -> Server:
    """`export` holds a lease while it works."""
    server = Server("exporter", settings=Settings(shutdown_grace=2))

    @server.tool
    async def export() -> str:
        try:
            await trio.sleep(60)
            return "exported"
        finally:
            if faulty:
                with trio.CancelScope(shield=True):
                    await registry.release()
            else:
                with trio.move_on_after(1, shield=True):  # a lease that is not given back runs out by itself
                    await registry.release()

    return server


async def run(faulty: bool) -> None:
    registry = Registry()
    async with (
        serving(exporter(registry, faulty)) as server,
        trio.open_nursery() as scenario_nursery,
        server.connect() as client,
    ):
        scenario_nursery.start_soon(export, client, name="export")
        await trio.sleep(1)
        note("the registry is gone, and the server is told to go, too")
        registry.up = False
        server.begin_shutdown()
        await server.ended.wait()


async def export(client: Client) -> None:
    with suppress(ConnectionLostError, McpError):  # a server that goes away cancels what it cannot finish
        await client.call_tool("export")


BUG = Bug(
    name="endless shield",
    sentence="a clean-up under a shield without a deadline waits for who does not answer any more",
    way="explore",
    run=run,
    says="shield",
    begins="the registry is gone",
    ends="serve server  [",
)
