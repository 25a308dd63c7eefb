"""The first document's minimal server."""

from trio_mcp import Server

mcp = Server("Minimal SSE")


@mcp.tool()
def echo(message: str) -> str:
    """Echo back the message."""
    return message


@mcp.tool()
def ping() -> str:
    """Simple ping test."""
    return "pong"
