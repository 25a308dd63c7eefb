"""The third document's calculator, with what its examples of security and of errors need to be tried."""

from trio_mcp import Context, Server

mcp = Server("calculator-sse", title="MCP SSE Server")


@mcp.tool
async def add(a: float, b: float) -> float:
    """Add two numbers"""
    return a + b


@mcp.tool
async def echo(message: str) -> str:
    """Return the message."""
    return message


@mcp.tool
async def fail() -> str:
    """Fail in a way that nobody foresaw."""
    raise RuntimeError("the password is hunter2")


@mcp.tool
async def my_header(name: str, ctx: Context) -> str:
    """A header of the request."""
    return ctx.headers.get(name.lower(), "")
