"""The ASGI lifespan protocol around a host, for servers that are not ours (`hypercorn -k trio module:mcp`)."""

import trio

from trio_mcp.http.asgi import Receive, Send
from trio_mcp.runtime.host import Host


async def run_lifespan(host: Host, receive: Receive, send: Send) -> None:
    """Run `host` from startup to shutdown, drained in between."""
    await receive()
    started = False
    try:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(host.run, name=f"run host {host.server.name}")
            started = True
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await host.drain()
            host.stop()
    except Exception as error:
        if started:
            raise
        await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        return
    await send({"type": "lifespan.shutdown.complete"})
