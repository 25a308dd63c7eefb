"""The official Python SDK on uvicorn: with what its installation brings, or tuned with uvloop and httptools."""

import logging
import os
import sys
import time

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

PORT, MODE, TUNED = int(sys.argv[1]), sys.argv[2], "tuned" in sys.argv[3:]
STAMPS = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY) if "BENCH_STAMPS" in os.environ else -1

mcp = MCPServer("bench", log_level="ERROR")


def stamp(what: str) -> None:
    """Tell the load generator when something happened, on the clock that all processes share."""
    os.write(STAMPS, f"{what} {time.monotonic_ns()}\n".encode())


def many() -> None:
    """A hundred tools to list."""
    for number in range(100):

        async def tool(message: str, count: int = 1, loud: bool = False) -> str:
            return message

        mcp.add_tool(tool, name=f"tool_{number}", description=f"Do thing number {number} with a message.")


if MODE == "many":
    many()
else:

    @mcp.tool()
    async def echo(message: str) -> str:
        """Return the message."""
        return message

    @mcp.tool()
    def echo_plain(message: str) -> str:
        """Return the message, from a plain function."""
        return message

    @mcp.tool()
    async def count(n: int, ctx: Context) -> str:
        """Report progress n times."""
        for number in range(n):
            await ctx.report_progress(number + 1, n)
        return "done"

    @mcp.tool()
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
    app = mcp.streamable_http_app(json_response=MODE != "stream")
    loop, http = ("uvloop", "httptools") if TUNED else ("asyncio", "h11")
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop=loop, http=http, log_level="error", access_log=False)
