"""What the docs page is tried on: tools that take their time, ask, fail and take every kind of argument."""

from typing import Annotated, Any, Literal

import trio
from msgspec import Meta, Struct

from trio_mcp import Context, Server, ToolError

mcp = Server("page under test", version="1.2.3", instructions="First paragraph.\n\nSecond paragraph.")
ended: list[str] = []


class Spot(Struct):
    """A place."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    name: str | None = None


@mcp.tool(thread=False)
def echo(message: str) -> str:
    """Return the message."""
    return message


@mcp.tool(thread=False)
def every_kind(
    text: Annotated[str, Meta(min_length=2, description="At least two.")],
    count: Annotated[int, Meta(ge=1, le=9)],
    ratio: float = 0.5,
    sure: bool = False,
    colour: Literal["red", "green"] = "green",
    spots: list[Spot] | None = None,
    spot: Spot | None = None,
    anything: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what was given."""
    return {
        "text": text,
        "count": count,
        "ratio": ratio,
        "sure": sure,
        "colour": colour,
        "spots": None if spots is None else [[one.latitude, one.name] for one in spots],
        "spot": None if spot is None else [spot.latitude, spot.name],
        "anything": anything,
    }


@mcp.tool(timeout=45)
async def slow(steps: int, ctx: Context) -> str:
    """Report each step; the log says when it ended."""
    try:
        for step in range(steps):
            await ctx.report_progress(step, steps, f"step {step}")
            await ctx.warning(f"at step {step}")
            await trio.sleep(0.3)
        return "all steps"
    finally:
        ended.append("slow")


@mcp.tool(thread=False)
def how_it_ended() -> list[str]:
    """Which tools have run their finally."""
    return ended


@mcp.tool
async def ask(ctx: Context) -> str:
    """Ask twice, one after the other."""
    name = await ctx.elicit(
        "Who are you?",
        {"type": "object", "properties": {"name": {"type": "string", "minLength": 2}}, "required": ["name"]},
    )
    if name.content is None:
        return f"{name.action}"
    sure = await ctx.elicit(
        f"Sure, {name.content['name']}?", {"type": "object", "properties": {"sure": {"type": "boolean"}}}
    )
    return f"{name.content['name']} {sure.action} {sure.content}"


@mcp.tool(thread=False)
def fail() -> str:
    """Fail."""
    raise ToolError("it went wrong")


@mcp.tool(thread=False)
def hostile() -> str:
    """Text that would be markup."""
    return "<img src=x onerror=alert(1)><script>alert(2)</script>"


@mcp.tool(thread=False)
def grow() -> str:
    """Register another tool."""

    def grown() -> str:
        return "new"

    mcp.add_tool(grown)
    return "grew"


def strict(arguments: dict[str, Any]) -> str:
    return "passed"


mcp.register_tool(
    "strict",
    "The server knows more than the form does.",
    {
        "type": "object",
        "properties": {"word": {"type": "string"}, "region": {"type": "string", "x-mcp-header": "Region"}},
        "dependentRequired": {"region": ["word"]},
    },
    strict,
)


@mcp.resource("note://ünï cödé", mime_type="text/plain")
def note() -> str:
    """A note at an address that no header may hold."""
    return "the note"


@mcp.resource("log://{name}{?since}")
def log(name: str, since: str = "ever") -> str:
    """A log by name."""
    return f"{name} since {since}"


@mcp.prompt
def review(code: Annotated[str, Meta(description="What to review")]) -> str:
    """Ask for a review."""
    return f"Review {code}"


@mcp.completion("review", "code")
def complete_code(value: str) -> list[str]:
    return [word for word in ("alpha", "beta") if word.startswith(value)]
