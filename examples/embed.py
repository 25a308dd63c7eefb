"""A server inside a trio program: `serve_http` is one task of somebody's own nursery.

    python examples/embed.py

The program keeps control: it learns the URL when the server is ready, does its own work beside it, and says when it
is over. `Shutdown.begin` is a graceful end: no new calls, streams end properly, running calls get
`Settings.shutdown_grace` seconds. Cancelling the nursery instead is a hard end: calls are cancelled and awaited.
"""

from functools import partial

import trio

from trio_mcp import Server, Settings, Shutdown, serve_http

mcp = Server("embedded", version="1.0", settings=Settings(shutdown_grace=2))

readings = [20.0]


@mcp.tool
async def temperature() -> float:
    """The last reading, in degrees Celsius."""
    return readings[-1]


async def measure() -> None:
    """The program's own work, on the same clock and in the same thread as the server."""
    while True:
        await trio.sleep(1)
        readings.append(readings[-1] + 0.1)


async def main(
    *, port: int = 8000, seconds: float = 60, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve for a while, then end gracefully."""
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(measure, name="measure")
        async with trio.open_nursery() as serve_nursery:
            serve = partial(serve_http, mcp, port=port, shutdown=shutdown)
            [url] = await serve_nursery.start(serve, name="serve mcp")
            print(f"serving at {url} for {seconds:g} s")
            task_status.started(url)
            await trio.sleep(seconds)
            shutdown.begin.set()
        nursery.cancel_scope.cancel()
    print(f"done after {len(readings)} readings")


if __name__ == "__main__":
    trio.run(main)
