"""The second document's server: echo, add and sleep, and a tool registered with a handler and a schema."""

from typing import Any

import trio

from trio_mcp import Server

mcp = Server("FastMCP HTTP Server", version="1.0.0")


@mcp.tool
async def echo(message: str) -> str:
    """Echo back the text."""
    return message


@mcp.tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@mcp.tool
async def sleep(seconds: float) -> str:
    """Sleep for a time."""
    await trio.sleep(seconds)
    return f"slept {seconds:g}"


def my_tool_handler(params: dict[str, Any]) -> dict[str, Any]:
    return {"processed": params}


mcp.register_tool(
    "my_tool",
    "Description of what my tool does",
    {
        "type": "object",
        "properties": {"param1": {"type": "string", "description": "Parameter description"}},
        "required": ["param1"],
    },
    my_tool_handler,
)
