"""The small server that the tests of Streamable HTTP talk to; tools that wait do so on trio's clock."""

from typing import Any

import trio

from trio_mcp import Context, Server, Settings
from trio_mcp.exceptions import ToolError


class Diary:
    """What happened inside the tools: (what, when), in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, float]] = []
        self._written = trio.lowlevel.ParkingLot()

    def write(self, what: str) -> None:
        self.entries.append((what, trio.current_time()))
        self._written.unpark_all()

    async def reads(self, what: str) -> float:
        """When it happened, once it has."""
        while True:
            for entry, at in self.entries:
                if entry == what:
                    return at
            await self._written.park()

    def __contains__(self, what: str) -> bool:
        return any(entry == what for entry, _ in self.entries)


def small_server(diary: Diary | None = None, *, lifespan: Any = None, **settings: Any) -> Server:
    """Tools: echo, wait, talk, quiet_talk, flood, ask, poll, fail, stubborn; one resource, one prompt."""
    server = Server("small", version="1.0", settings=Settings(**settings), lifespan=lifespan)
    diary = diary or Diary()

    @server.tool(thread=False)
    def echo(message: str) -> str:
        return message

    @server.tool
    async def wait(seconds: float) -> str:
        diary.write("wait began")
        try:
            await trio.sleep(seconds)
            return f"waited {seconds:g}"
        finally:
            diary.write("wait ended")

    @server.tool
    async def stubborn(seconds: float) -> str:
        """Cleans up for so long."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + seconds):  # a fake of a slow clean-up
                await trio.sleep_forever()
            diary.write("stubborn ended")
        return ""

    @server.tool
    async def talk(ctx: Context, times: int = 2, gap: float = 1) -> str:
        """One log message, then silence, so often."""
        try:
            for number in range(times):
                await ctx.warning(f"talk {number}")
                await trio.sleep(gap)
            return "talked"
        finally:
            diary.write("talk ended")

    @server.tool
    async def step(ctx: Context, times: int = 2, gap: float = 1) -> str:
        for number in range(times):
            await ctx.report_progress(number, times)
            await trio.sleep(gap)
        return "stepped"

    @server.tool
    async def flood(ctx: Context, times: int = 1000) -> str:
        try:
            for number in range(times):
                await ctx.warning(f"{number}")
                diary.write(f"flooded {number}")
            return "flooded"
        finally:
            diary.write("flood ended")

    @server.tool
    async def ask(ctx: Context) -> str:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        answer = await ctx.elicit("Who are you?", schema, key="who")
        return f"{answer.action} {(answer.content or {}).get('name')}"

    @server.tool
    async def poll(ctx: Context, seconds: float = 5) -> str:
        ctx.close_stream()
        await trio.sleep(seconds)
        await ctx.warning("while you were away")
        return "polled"

    @server.tool(thread=False)
    def fail(text: str | None = None) -> str:
        if text is not None:
            raise ToolError(text)
        raise ValueError("a secret")

    @server.tool(thread=False)
    def sampled(ctx: Context) -> str:
        ctx.require(sampling=True)
        return "may sample"

    @server.tool(thread=False)
    def change(ctx: Context, uri: str | None = None) -> str:
        if uri is None:
            ctx.notify_tools_changed()
        else:
            ctx.notify_resource_updated(uri)
        return "changed"

    def routed(arguments: dict[str, Any]) -> str:
        return str(arguments.get("region"))

    properties = {"region": {"type": "string", "x-mcp-header": "Region"}, "count": {"type": "integer"}}
    server.register_tool("routed", "Named by a header.", {"type": "object", "properties": properties}, routed)

    @server.resource("config://app", mime_type="text/plain")
    async def config() -> str:
        return "on"

    @server.prompt
    async def review(code: str) -> str:
        return f"Review {code}"

    return server
