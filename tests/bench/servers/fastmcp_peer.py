"""FastMCP on uvicorn with what its installation brings, without access log."""

import importlib
import logging
import os
import sys
import time
from typing import Any

import anyio
import uvicorn

# By name: the project's own environment, in which this file is checked, does not have it.
fastmcp: Any = importlib.import_module("fastmcp")
get_context: Any = importlib.import_module("fastmcp.server.dependencies").get_context

PORT, MODE = int(sys.argv[1]), sys.argv[2]
IDLE = {"session_idle_timeout": float(os.environ["BENCH_SESSION_IDLE"])} if "BENCH_SESSION_IDLE" in os.environ else {}
STAMPS = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY) if "BENCH_STAMPS" in os.environ else -1

mcp = fastmcp.FastMCP("bench")


def stamp(what: str) -> None:
    """Tell the load generator when something happened, on the clock that all processes share."""
    os.write(STAMPS, f"{what} {time.monotonic_ns()}\n".encode())


def many() -> None:
    """A hundred tools to list."""
    for number in range(100):

        async def tool(message: str, count: int = 1, loud: bool = False) -> str:
            return message

        mcp.tool(tool, name=f"tool_{number}", description=f"Do thing number {number} with a message.")


if MODE == "many":
    many()
else:

    @mcp.tool
    async def echo(message: str) -> str:
        """Return the message."""
        return message

    @mcp.tool
    def echo_plain(message: str) -> str:
        """Return the message, from a plain function."""
        return message

    @mcp.tool
    async def count(n: int) -> str:
        """Report progress n times."""
        ctx = get_context()
        for number in range(n):
            await ctx.report_progress(number + 1, n)
        return "done"

    @mcp.tool
    async def wait() -> str:
        """Wait to be cancelled, and stamp when that came."""
        try:
            stamp("began")
            await anyio.sleep(30)
        finally:
            stamp("ended")
        return "never cancelled"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    app = mcp.http_app(json_response=MODE != "stream", **IDLE)
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="asyncio", http="h11", log_level="error", access_log=False)
