"""The server of the soak: short limits, a tool that tells what the process holds, and tools to be left."""

import gc
import os
import sys

import trio

import trio_mcp.http.handover  # noqa: F401  # once in a process, at the first WebSocket: no part of what grows
from trio_mcp import Context, Server, Settings, serve_http

#: Short, so that what is left behind ends soon; small, so that one session more or less is nothing.
SETTINGS = Settings(session_idle=1, keepalive=0.5, write_timeout=1, replay_bytes=64 * 1024)

mcp = Server("soaked", version="1.0", settings=SETTINGS)


@mcp.tool
async def counts() -> dict[str, int]:
    """What this process holds now; the call itself and its connection are in it."""
    gc.collect()
    await trio.lowlevel.checkpoint()
    tasks = trio.lowlevel.current_statistics().tasks_living
    return {"tasks": tasks, "descriptors": len(os.listdir("/proc/self/fd"))}


@mcp.tool
async def echo(message: str) -> str:
    """Return the message."""
    return message


@mcp.tool
def echo_plain(message: str) -> str:
    """Return the message, from a plain function."""
    return message


@mcp.tool
async def count(n: int, ctx: Context) -> str:
    """Report progress n times, with a text that fills buffers."""
    for number in range(n):
        await ctx.report_progress(number + 1, n, "x" * 1000)
    return "done"


@mcp.tool(timeout=2)
async def wait() -> str:
    """Wait to be left. In the session era the leaving of a client cancels nothing: there the timeout ends this."""
    await trio.sleep(600)
    return "never left"


async def main() -> None:
    """Serve until killed."""
    await serve_http(mcp, port=int(sys.argv[1]))


if __name__ == "__main__":
    trio.run(main)
