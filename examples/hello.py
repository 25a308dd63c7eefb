"""The smallest server: one function.

    trio-mcp serve examples/hello.py

The name, the schema and the description of the tool come from the function.
"""

from trio_mcp import Server

mcp = Server("hello")


@mcp.tool
def greet(name: str) -> str:
    """Greet somebody by name."""
    return f"Hello, {name}!"


if __name__ == "__main__":
    mcp.run()
