"""The first document's advanced example: a store, with a resource, tools and a prompt; run as a script."""

import json
import os
from datetime import datetime

from trio_mcp import Server

mcp = Server("Advanced SSE Server")
data_store: dict[str, dict[str, str]] = {}


@mcp.resource("data://items")
def list_items() -> str:
    """List all stored items."""
    return json.dumps(data_store, indent=2)


@mcp.tool()
def store_item(key: str, value: str) -> str:
    """Store an item in memory."""
    data_store[key] = {"value": value, "timestamp": datetime.now().isoformat()}
    return f"Stored {key}"


@mcp.tool()
def get_item(key: str) -> str:
    """Retrieve an item from memory."""
    if key in data_store:
        return json.dumps(data_store[key])
    return f"Item {key} not found"


@mcp.tool()
def get_config() -> str:
    """Get configuration from environment."""
    api_key = os.getenv("API_KEY", "not-set")
    env = os.getenv("MCP_ENV", "development")
    return f"Environment: {env}, API Key: {'set' if api_key != 'not-set' else 'not set'}"


@mcp.prompt()
def data_analysis_prompt(topic: str) -> str:
    """Generate a prompt for data analysis."""
    return f"Analyze the data related to {topic} and provide insights."


if __name__ == "__main__":
    mcp.run(host="0.0.0.0", port=int(os.environ.get("PORT", "8000")))  # every address, for a container
