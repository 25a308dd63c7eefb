"""The server that foreign clients talk to: `make_server` for a test's own nursery, a script for stdio.

    python -m tests.sdk.served [FILE]

FILE gets one line when the lifespan opens and one when it has been torn down.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trio_mcp import AssistantMessage, Context, Server, TextContent, UserMessage


@attrs.frozen
class Weather:
    """What it is like outside."""

    city: str
    degrees: float


FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def make_server(diary: Path | None = None) -> Server:
    """A new server; `diary` is the file that the lifespan writes to."""
    cleaned = trio.Event()

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[None]:
        write(diary, "open\n")
        yield
        write(diary, "closed\n")

    mcp = Server("served", version="1.0", instructions="Ask away.", lifespan=lifespan)
    add_tools(mcp, cleaned)
    add_questions(mcp)
    add_the_rest(mcp)
    return mcp


def write(diary: Path | None, line: str) -> None:
    """Append a line."""
    if diary is not None:
        with diary.open("a") as file:
            file.write(line)


def add_tools(mcp: Server, cleaned: trio.Event) -> None:
    """Tools that compute, tell, hang and change."""

    @mcp.tool
    async def weather(city: str, degrees: float = 20) -> Weather:
        """Tell the weather."""
        return Weather(city, degrees)

    @mcp.tool
    def add(a: int, b: int) -> int:
        """Add two numbers, in a thread."""
        return a + b

    @mcp.tool
    async def work(ctx: Context) -> str:
        """Report progress, and log."""
        for step in (1, 2, 3):
            await ctx.report_progress(step, 3, f"step {step}")
        await ctx.info("worked", logger="work")
        return "worked"

    @mcp.tool
    async def hang(ctx: Context) -> None:
        """Begin, and never end."""
        try:
            await ctx.report_progress(1)
            await trio.sleep_forever()
        finally:
            cleaned.set()

    @mcp.tool
    async def cleaned_up() -> bool:
        """Wait until `hang` was cancelled."""
        await cleaned.wait()
        return True

    @mcp.tool
    async def grow() -> None:
        """Add a tool."""
        mcp.add_tool(lambda: "new", name="grown")

    @mcp.tool
    async def touch(uri: str, ctx: Context) -> None:
        """Say that a resource changed."""
        ctx.notify_resource_updated(uri)


def add_questions(mcp: Server) -> None:
    """Tools that ask the client."""

    @mcp.tool
    async def greet(ctx: Context) -> str:
        """Ask the user's name."""
        answer = await ctx.elicit("What is your name?", FORM)
        return f"Hello, {answer.content['name']}" if answer.action == "accept" else f"You chose to {answer.action}"

    @mcp.tool
    async def summarize(text: str, ctx: Context) -> str:
        """Ask the client's model."""
        answer = await ctx.sample(f"Summarize: {text}", max_tokens=50)
        assert isinstance(answer.content, TextContent)
        return answer.content.text

    @mcp.tool
    async def folders(ctx: Context) -> list[str]:
        """Ask for the roots."""
        return [root.uri for root in await ctx.list_roots()]


def add_the_rest(mcp: Server) -> None:
    """Resources, prompts and completions."""

    @mcp.resource("config://app", mime_type="application/json")
    async def config() -> dict[str, bool]:
        """How it is set up."""
        return {"debug": True}

    @mcp.resource("users://{id}/profile")
    async def profile(id: int) -> bytes:
        """A picture, so to speak."""
        return bytes([id])

    @mcp.prompt
    async def review(code: str, language: str = "python") -> list[object]:
        """Review code."""
        return [UserMessage(f"Review this {language}: {code}"), AssistantMessage("Gladly.")]

    @mcp.completion("review", "language")
    async def languages(value: str, arguments: dict[str, str]) -> list[str]:
        return [name for name in ("python", "perl", "c") if name.startswith(value)] + sorted(arguments)

    @mcp.completion("users://{id}/profile", "id")
    async def ids(value: str) -> list[str]:
        return [f"{value}1", f"{value}2"]


if __name__ == "__main__":
    make_server(*map(Path, sys.argv[1:])).run("stdio")
