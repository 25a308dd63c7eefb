"""The official Python SDK as a client, on trio; it asks the user questions that a tool has.

    trio-mcp serve examples/approval.py
    python examples/client_sdk.py http://127.0.0.1:8000/mcp

Needs the SDK (`pip install mcp`). The same program works without a session (`mode="auto"` finds out that the server
speaks 2026-07-28) and within one (`mode="legacy"`).
"""

import sys

import trio
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp_types import ElicitRequestParams, ElicitResult


async def approve(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """Stand in for the user: say yes to everything."""
    print(f"asked: {params.message}")
    return ElicitResult(action="accept", content={"approved": True, "purpose": "rent"})


async def main(url: str, mode: str = "auto") -> None:
    """Move ten euros."""
    async with Client(url, mode=mode, elicitation_callback=approve) as client:
        print(f"speaking {client.protocol_version}")
        result = await client.call_tool("transfer", {"amount": 10, "sender": "alice", "recipient": "bob"})
        print(f"answered: {result.structured_content}")


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
