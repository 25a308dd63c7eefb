"""trio_mcp, as its users serve it: `serve_http` with nothing tuned."""

import os
import sys
import time

import trio

from trio_mcp import Context, Server, Settings, serve_http

PORT, MODE = int(sys.argv[1]), sys.argv[2]
STAMPS = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY) if "BENCH_STAMPS" in os.environ else -1
IDLE = float(os.environ.get("BENCH_SESSION_IDLE", "1800"))

mcp = Server("bench", version="1.0", settings=Settings(session_idle=IDLE))


def stamp(what: str) -> None:
    """Tell the load generator when something happened, on the clock that all processes share."""
    os.write(STAMPS, f"{what} {time.monotonic_ns()}\n".encode())


def many() -> None:
    """A hundred tools to list."""
    for number in range(100):

        async def tool(message: str, count: int = 1, loud: bool = False) -> str:
            return message

        tool.__doc__ = f"Do thing number {number} with a message."
        mcp.add_tool(tool, name=f"tool_{number}")


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
    async def count(n: int, ctx: Context) -> str:
        """Report progress n times."""
        for number in range(n):
            await ctx.report_progress(number + 1, n)
        return "done"

    @mcp.tool
    async def wait() -> str:
        """Wait to be cancelled, and stamp when that came."""
        try:
            stamp("began")
            await trio.sleep(30)
        finally:
            stamp("ended")
        return "never cancelled"


async def main() -> None:
    """Serve until killed."""
    await serve_http(mcp, port=PORT)


if __name__ == "__main__":
    trio.run(main)
