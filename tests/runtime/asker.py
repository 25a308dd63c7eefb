"""A client of the per-request era that is asked and answers, and the server that asks it."""

from typing import Any

from tests.runtime.kit import (
    Json,
    asked,
    enveloped,
    serving,
    texts,
)
from trio_mcp import Context, Server
from trio_mcp.runtime.host import Host

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


def accepted(name: Any) -> Json:
    return {"action": "accept", "content": {"name": name}}


class Asker:
    """A client that remembers what it was asked, and comes back with answers."""

    def __init__(self, host: Host, message: Json, *, principal: str = "", capabilities: Json = CAN_ALL) -> None:
        self.host = host
        self.message = enveloped(message, capabilities=capabilities)
        self.principal = principal
        self.state: Any = None
        self.questions: dict[str, Json] = {}

    async def send(self, answers: dict[str, Any] | None = None, **changes: Any) -> Json:
        """Send the request, again if it was sent before; the response."""
        params: Json = dict(self.message["params"])
        if answers is not None:
            params["inputResponses"] = answers
        if self.state is not None:
            params["requestState"] = self.state
        params |= changes
        [response] = await asked(
            self.host,
            {**self.message, "params": {k: v for k, v in params.items() if v is not None}},
            principal=self.principal,
        )
        return response

    async def input_required(self, answers: dict[str, Any] | None = None, **changes: Any) -> dict[str, str]:
        """Send, and be asked; gives the messages of the questions by key."""
        result = (await self.send(answers, **changes))["result"]
        assert result["resultType"] == "input_required", result
        self.state = result["requestState"]
        self.questions = result["inputRequests"]
        return {key: question["params"].get("message", "") for key, question in self.questions.items()}

    async def complete(self, answers: dict[str, Any] | None = None, **changes: Any) -> str:
        """Send, and get the text of the result."""
        result = (await self.send(answers, **changes))["result"]
        assert result["resultType"] == "complete", result
        assert "inputRequests" not in result
        assert "requestState" not in result
        return texts(result)[0]


def greeting_server(**settings: Any) -> Server:
    """One tool, one prompt and one resource that ask; and one tool that asks twice, one after the other."""
    server = serving(**settings)

    @server.tool
    async def greet(ctx: Context, title: str = "") -> str:
        answer = await ctx.elicit("Name?", NAME, key="user")
        return f"Hello {title}{answer.content and answer.content['name']}"

    @server.tool
    async def interview(ctx: Context) -> str:
        first = await ctx.elicit("First?", NAME)
        if first.action != "accept":
            return first.action
        second = await ctx.elicit("Second?", NAME)
        third = await ctx.elicit("Third?", NAME)
        return " ".join(str(answer.content and answer.content["name"]) for answer in (first, second, third))

    @server.prompt(name="greet")
    async def greet_prompt(ctx: Context) -> str:
        return str((await ctx.elicit("Name?", NAME, key="user")).content)

    @server.resource("greet://it")
    async def greet_resource(ctx: Context) -> str:
        return str((await ctx.elicit("Name?", NAME, key="user")).content)

    return server
