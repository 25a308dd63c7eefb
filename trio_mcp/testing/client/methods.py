"""The methods of MCP by name, for the test client: parameters in, typed results out.

It refuses to know how a request is sent, and what a revision has: the server says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import msgspec
import trio

from trio_mcp.protocol.revisions import Revision
from trio_mcp.testing.client.pending import Json, OnProgress, Pending
from trio_mcp.wire.completion import CompleteResult, Completion
from trio_mcp.wire.content import ResourceContents
from trio_mcp.wire.logging import LoggingLevel
from trio_mcp.wire.prompts import GetPromptResult, Prompt
from trio_mcp.wire.resources import ReadResourceResult, Resource, ResourceTemplate
from trio_mcp.wire.tools import CallToolResult, Tool

T = TypeVar("T")


class Methods(ABC):
    """What a client can ask for. Every method raises what `request` does, and is cancelled as it is."""

    @property
    @abstractmethod
    def revision(self) -> Revision:
        """What is spoken."""

    @abstractmethod
    def begin(
        self,
        method: str,
        params: Json | None = None,
        *,
        progress: OnProgress | None = None,
        log_level: LoggingLevel | None = None,
    ) -> Pending:
        """Send a request by a task of the client."""

    @abstractmethod
    def _learn(self, tools: list[Tool]) -> None:
        """Know these tools."""

    @abstractmethod
    def _ask_for_logs(self, level: LoggingLevel) -> None:
        """Have every later request ask for log messages."""

    async def request(self, method: str, params: Json | None = None) -> Json:
        """Send a request and await its result. Cancellation: the request is cancelled at the server, too.

        Raises:
            McpError: the server answered with an error.
            ConnectionLostError: the connection ended before the answer.
            RefusedError: an HTTP status without a JSON-RPC error came.
        """
        return await self._result(self.begin(method, params))

    async def _result(self, pending: Pending) -> Json:
        try:
            return await pending.result()
        finally:
            pending.cancel_soon("whoever waited for it was cancelled")  # does nothing to one that is done

    async def call_tool(
        self,
        name: str,
        arguments: Json | None = None,
        *,
        progress: OnProgress | None = None,
        log_level: LoggingLevel | None = None,
    ) -> CallToolResult:
        """Call a tool.

        Args:
            log_level: of the messages to be sent; in the session era the session keeps it.
        """
        if log_level is not None and not self.revision.per_request:
            await self.set_log_level(log_level)
        params = {"name": name, "arguments": arguments or {}}
        pending = self.begin("tools/call", params, progress=progress, log_level=log_level)
        return msgspec.convert(await self._result(pending), CallToolResult)

    async def list_tools(self) -> list[Tool]:
        """All tools, over all pages."""
        tools = await self._pages("tools/list", "tools", Tool)
        self._learn(tools)
        return tools

    async def list_resources(self) -> list[Resource]:
        """All resources, over all pages."""
        return await self._pages("resources/list", "resources", Resource)

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """All templates, over all pages."""
        return await self._pages("resources/templates/list", "resourceTemplates", ResourceTemplate)

    async def list_prompts(self) -> list[Prompt]:
        """All prompts, over all pages."""
        return await self._pages("prompts/list", "prompts", Prompt)

    async def _pages(self, method: str, key: str, kind: type[T]) -> list[T]:
        items: list[T] = []
        params: Json | None = None
        while True:
            result = await self.request(method, params)
            items += [msgspec.convert(item, kind) for item in result[key]]
            if result.get("nextCursor") is None:
                return items
            params = {"cursor": result["nextCursor"]}

    async def read_resource(self, uri: str) -> list[ResourceContents]:
        """What a resource holds."""
        return msgspec.convert(await self.request("resources/read", {"uri": uri}), ReadResourceResult).contents

    async def get_prompt(self, name: str, arguments: Json | None = None) -> GetPromptResult:
        """The messages of a prompt."""
        params = {"name": name, "arguments": arguments or {}}
        return msgspec.convert(await self.request("prompts/get", params), GetPromptResult)

    async def complete(
        self, ref: Json, argument: str, value: str = "", *, context: Mapping[str, str] | None = None
    ) -> Completion:
        """Suggestions for an argument.

        Args:
            ref: such as `{"type": "ref/prompt", "name": "review"}`.
            context: arguments that are settled already.
        """
        params: Json = {"ref": ref, "argument": {"name": argument, "value": value}}
        if context is not None:
            params["context"] = {"arguments": dict(context)}
        return msgspec.convert(await self.request("completion/complete", params), CompleteResult).completion

    async def ping(self) -> None:
        """Ask for a sign of life; the per-request era has no such method."""
        await self.request("ping")

    async def set_log_level(self, level: LoggingLevel) -> None:
        """The log messages to be sent from now on: of the session, or of every later request."""
        if not self.revision.per_request:
            await self.request("logging/setLevel", {"level": level})
            return
        self._ask_for_logs(level)
        await trio.lowlevel.checkpoint()

    async def subscribe(self, uri: str) -> None:
        """Be told when a resource changes; the per-request era has `listen` for that."""
        await self.request("resources/subscribe", {"uri": uri})

    async def unsubscribe(self, uri: str) -> None:
        """Be told no more."""
        await self.request("resources/unsubscribe", {"uri": uri})
