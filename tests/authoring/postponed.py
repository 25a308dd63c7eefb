"""A module whose annotations are strings, and functions of it to register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from trio_mcp import Context, Server, ToolResult


@dataclass
class Point:
    """A place on the map."""

    x: int
    y: int = 0


async def distance(ctx: Context, place: Point, scale: Annotated[float, msgspec.Meta(gt=0)] = 1.0) -> float:
    """Tell how far a place is."""
    await ctx.info("measuring")
    return (abs(place.x) + abs(place.y)) * scale


def spelled_out(word: str) -> ToolResult:
    """Spell."""
    return ToolResult(list(word))


def greeting(name: str, ctx: Context | None = None) -> str:
    """Greet somebody."""
    assert ctx is not None
    return f"Hello, {name}"


def register_local(mcp: Server) -> None:
    """Register a function whose annotation names a class that only this function knows."""

    @dataclass
    class Local:
        size: int

    @mcp.tool
    def grown(thing: Local) -> Local:
        """Grow."""
        return Local(thing.size + 1)
