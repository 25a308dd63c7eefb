"""The ASGI lifespan protocol around a host, for servers that are not ours (`hypercorn -k trio module:mcp`)."""

import logging

import trio

from trio_mcp.http.asgi import Receive, Send
from trio_mcp.runtime.host import Host

_log = logging.getLogger("trio_mcp.http")


async def run_lifespan(host: Host, receive: Receive, send: Send) -> None:
    """Run `host` from startup to shutdown, drained in between.

    What the server's lifespan raises is told in one line and logged; raised only once the startup was complete.
    """
    await receive()
    stage = "startup"
    try:
        async with trio.open_nursery() as lifespan_nursery:
            await lifespan_nursery.start(host.run, name=f"run host {host.server.name}")
            stage = "shutdown"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await host.drain()
            host.stop()
    except Exception as error:
        _log.error("the lifespan failed on %s", stage, exc_info=error)
        await send({"type": f"lifespan.{stage}.failed", "message": _described(error)})
        if stage == "startup":
            return
        raise
    await send({"type": "lifespan.shutdown.complete"})


def _described(error: BaseException) -> str:
    """What went wrong in one line: the errors themselves, not the groups that nurseries make of them."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_described(member) for member in error.exceptions)
    return " ".join(f"{type(error).__name__}: {error}".split())
