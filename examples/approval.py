"""Ask the user before something is done: one code path for clients with a session and for those without.

    trio-mcp serve examples/approval.py

Where there is a session (2025-06-18, 2025-11-25), `ctx.elicit` sends a request to the client and waits. Where there
is none (2026-07-28), the call is answered with the question and runs again, from its start, when the client comes
back with the answer. So: ask first, act last. What stands before a question must be safe to run twice.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from msgspec import Meta

from trio_mcp import Context, Server, ToolAnnotations, ToolError

mcp = Server("approval", version="1.0")

balances = {"alice": 100, "bob": 20}


class Purpose(Enum):
    """Why money moves."""

    RENT = "rent"
    GIFT = "gift"
    LOAN = "loan"


@dataclass
class Approval:
    """What the user is asked. Fields are flat: clients make a form of them."""

    approved: Annotated[bool, "Do you want this transfer?"]
    purpose: Purpose = Purpose.GIFT


@mcp.tool(annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=False))
async def transfer(
    amount: Annotated[int, Meta(gt=0, description="In whole euros.")], sender: str, recipient: str, ctx: Context
) -> dict[str, int]:
    """Move money between two accounts, once the user has approved it."""
    if sender not in balances or recipient not in balances:
        raise ToolError(f"Accounts are: {', '.join(balances)}.")
    if balances[sender] < amount:
        raise ToolError(f"{sender} has only {balances[sender]} euros.")

    answer = await ctx.elicit(f"Send {amount} euros from {sender} to {recipient}?", Approval, key="approval")
    if answer.action != "accept" or not answer.content.approved:
        raise ToolError("The user did not approve the transfer. Nothing was moved.")

    balances[sender] -= amount
    balances[recipient] += amount
    await ctx.info(f"{amount} euros moved, purpose: {answer.content.purpose.value}")
    return dict(balances)


if __name__ == "__main__":
    mcp.run()
