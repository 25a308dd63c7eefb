"""The built-in demo server, `trio-mcp serve` without a target: three tools to try a client with.

It owns nothing but them. It refuses to be a showcase: one of each feature is in `examples/everything.py`.
"""

from typing import Annotated, Final

import trio
from msgspec import Meta

from trio_mcp.context import Context
from trio_mcp.server import Server
from trio_mcp.version import __version__
from trio_mcp.wire.tools import ToolAnnotations

HARMLESS: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
STEP: Final = 1.0
"""Seconds between two reports of progress."""

mcp = Server(
    "trio-mcp-demo",
    version=__version__,
    title="trio_mcp demo",
    instructions="A demonstration: echo returns a message, add adds two numbers, sleep waits and reports progress.",
)


@mcp.tool(title="Echo", annotations=HARMLESS, thread=False)
def echo(message: Annotated[str, "The text to send back."]) -> str:
    """Return the message unchanged, to see that the connection works."""
    return message


@mcp.tool(title="Add", annotations=HARMLESS, thread=False)
def add(a: Annotated[int | float, "The first number."], b: Annotated[int | float, "The second number."]) -> int | float:
    """Return the sum of two numbers."""
    return a + b


@mcp.tool(title="Sleep", annotations=HARMLESS)
async def sleep(
    seconds: Annotated[float, Meta(ge=0, le=86_400, description="How long to wait, in seconds, at most a day.")],
    ctx: Context,
) -> str:
    """Wait for a number of seconds, then say so; reports progress every second to a client that asks for it.

    Cancelling the call ends the wait at once.
    """
    started = trio.current_time()
    ends = started + seconds
    while (left := ends - trio.current_time()) > 0:
        await ctx.report_progress(trio.current_time() - started, seconds, f"{left:.0f} s left")
        await trio.sleep(min(STEP, left))
    await ctx.report_progress(seconds, seconds, "done")
    return f"slept {seconds:g} s"
