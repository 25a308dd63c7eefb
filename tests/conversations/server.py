"""The server that the transcripts talk to: one of each, and nothing that differs from run to run."""

import trio

from trio_mcp import Completion, Context, Server, Settings, ToolError

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def conversing_server(settings: Settings) -> Server:
    server = Server("conversing", version="1.0", instructions="Talk to me.", settings=settings)

    @server.tool(thread=False)
    def echo(message: str) -> str:
        """Say it again."""
        return message

    @server.tool
    async def count(ctx: Context, to: int) -> str:
        """Report progress once a second."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to)
            await trio.sleep(1)
        return f"counted to {to}"

    @server.tool(name="log", output_schema=False)
    async def log_(ctx: Context) -> str:
        """Log a line at debug and one at warning."""
        await ctx.debug("a detail")
        await ctx.warning({"what": "beware"}, logger="ears")
        return "logged"

    @server.tool(output_schema=False)
    async def ask(ctx: Context) -> str:
        """Ask the user for a name."""
        answer = await ctx.elicit("Who are you?", NAME, key="who")
        return f"{answer.action}: {(answer.content or {}).get('name', 'nobody')}"

    @server.tool(output_schema=False)
    async def poll(ctx: Context) -> str:
        """Let the client come back for the answer."""
        ctx.close_stream()
        await trio.sleep(5)
        return "worth the wait"

    @server.tool(output_schema=False)
    async def change(ctx: Context) -> str:
        """Change everything there is to hear of."""
        ctx.notify_tools_changed()
        ctx.notify_resource_updated("config://app")
        return "changed"

    @server.tool(output_schema=False)
    async def fail(secret: bool) -> str:
        """Fail in words, or with a secret."""
        raise ValueError("swordfish") if secret else ToolError("It did not work")

    @server.resource("config://app", mime_type="text/plain")
    async def config() -> str:
        """The settings."""
        return "verbose=1"

    @server.resource("users://{id}/name")
    async def user(id: str) -> str:
        """A user's name."""
        return f"user {id}"

    @server.prompt
    async def review(code: str) -> str:
        """Review code."""
        return f"Review: {code}"

    @server.completion("review", "code")
    async def complete(value: str) -> Completion:
        return Completion(values=[value + "!"], total=1, has_more=False)

    return server
