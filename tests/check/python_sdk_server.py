"""A server of the official Python SDK, on uvicorn, as its documentation shows: the stranger that the checks meet.

    python -m tests.check.python_sdk_server [http|sse]

It prints its port once it listens.
"""

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

mcp = MCPServer("sdk", instructions="A stranger.")


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
def echo(message: str) -> str:
    """Echo a message."""
    return message


@mcp.tool()
def change() -> str:
    """Change the world, which no check may do."""
    sys.stderr.write("the world was changed\n")
    return "changed"


@mcp.resource("config://app")
def config() -> str:
    """How it is set up."""
    return "on"


@mcp.prompt()
def review(code: str = "x = 1") -> str:
    """Review code."""
    return f"Review {code}"


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = mcp.sse_app() if sys.argv[1:] == ["sse"] else mcp.streamable_http_app()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
