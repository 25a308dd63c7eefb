"""What a check is given: a conversation, ways to begin others, and what the server has, listed once.

It owns the choice of what may be called: nothing that could change anything, unless somebody said so.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Fault, Skipped, demand, kind
from trio_mcp.check.http_talk import HttpTalk
from trio_mcp.check.talk import Json, Talk
from trio_mcp.protocol.revisions import Revision

MAX_PAGES: Final = 50
"""Pages of a list that are followed."""

#: Of our demo, and of many others: what they do is known, and harmless.
KNOWN: Final[dict[str, Json]] = {"echo": {"message": "trio-mcp check"}, "add": {"a": 2, "b": 3}}


@attrs.frozen
class Options:
    """What the user said.

    Attributes:
        tool, arguments: a call to be made whatever it does; None: only what is known to be harmless.
        origin: an Origin that the server must refuse.
        loopback: whether the server is on this machine, where it is clear what a foreign Origin is.
    """

    tool: str | None = None
    arguments: Json = attrs.field(factory=dict)
    origin: str = "http://evil.example"
    #: Names of tools that said in some revision that they only read; the oldest has no way to say so.
    read_only: set[str] = attrs.field(factory=set)
    loopback: bool = True


class Scene:
    """One conversation, and what is known of its server.

    Args:
        make: makes a conversation like this one, not yet opened.
    """

    def __init__(self, web: Web, make: Callable[[], Talk], options: Options) -> None:
        self.web = web
        self.options = options
        self.make = make
        self.talk = make()
        self._lists: dict[str, list[Json] | None] = {}

    @property
    def revision(self) -> Revision:
        """The revision that is spoken."""
        return self.talk.revision

    @property
    def http(self) -> HttpTalk:
        """The conversation, where it is over Streamable HTTP or the like."""
        assert isinstance(self.talk, HttpTalk), "the check is only for HTTP"
        return self.talk

    @property
    def opening(self) -> Json:
        """The result of the handshake.

        Raises:
            Skipped: there is none.
        """
        opening = self.talk.opening
        if opening is None or opening.result is None:
            raise Skipped("there was no handshake")
        return opening.result

    @property
    def capabilities(self) -> Json:
        """What the server says it can do, empty where it says so in no readable form."""
        found = self.opening.get("capabilities")
        return found if isinstance(found, dict) else {}

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Talk]:
        """A second conversation like this, opened, and ended afterwards.

        Raises:
            Fault: it cannot be opened.
        """
        talk = self.make()
        try:
            await talk.open()
            yield talk
        finally:
            await talk.aclose()

    async def renew(self) -> None:
        """Begin anew, for whoever comes after a check that failed.

        Raises:
            Fault: the server does not take part.
        """
        old, self.talk = self.talk, self.make()
        self.talk.codes, self.talk.notified = old.codes, old.notified
        await old.aclose()
        await self.talk.open()

    # What the server has

    async def listing(self, method: str, key: str) -> list[Json]:
        """All items of a list, over its pages.

        Raises:
            Fault: it is no list of objects, or has no end.
        """
        self._lists[key] = None
        items: list[Json] = []
        cursors: set[str] = set()
        params: Json | None = None
        for _ in range(MAX_PAGES):
            result = await self.talk.result(method, params)
            found = result.get(key)
            demand(isinstance(found, list), f"{key} of {method} is {kind(found)}, not an array")
            assert isinstance(found, list)
            demand(all(isinstance(item, dict) for item in found), f"{key} of {method} holds what is no object")
            items += found
            cursor = result.get("nextCursor")
            if cursor is None:
                self._lists[key] = items
                return items
            demand(isinstance(cursor, str), f"nextCursor of {method} is {kind(cursor)}, not a string")
            demand(cursor not in cursors, f"{method} gave the same nextCursor twice: the list has no end")
            cursors.add(cursor)
            params = {"cursor": cursor}
        raise Fault(f"{method} has more than {MAX_PAGES} pages")

    async def have(self, capability: str, method: str, key: str) -> list[Json]:
        """The items of a list, asked for once.

        Raises:
            Skipped: the capability is not declared, or the list could not be read, which is told elsewhere.
        """
        if capability not in self.capabilities:
            raise Skipped(f"no {capability} are declared")
        if key not in self._lists:
            try:
                await self.listing(method, key)
            except Fault as fault:
                raise Skipped(f"{method} failed") from fault
        found = self._lists[key]
        if found is None:
            raise Skipped(f"{method} failed")
        return found

    async def tools(self) -> list[Json]:
        """The tools."""
        tools = await self.have("tools", "tools/list", "tools")
        self.options.read_only.update(tool["name"] for tool in tools if _only_reads(tool))
        return tools

    async def resources(self) -> list[Json]:
        """The resources."""
        return await self.have("resources", "resources/list", "resources")

    async def prompts(self) -> list[Json]:
        """The prompts."""
        return await self.have("prompts", "prompts/list", "prompts")

    async def tool(self, name: str) -> Json | None:
        """A tool by its name."""
        return next((tool for tool in await self.tools() if tool.get("name") == name), None)

    async def callable_tool(self) -> tuple[Json, Json]:
        """A tool that may be called, and the arguments to call it with.

        Raises:
            Skipped: there is none of which it is known that it changes nothing.
        """
        tools = await self.tools()
        if self.options.tool is not None:
            for tool in tools:
                if tool.get("name") == self.options.tool:
                    return tool, self.options.arguments
            raise Skipped(f"there is no tool {self.options.tool}")
        for tool in tools:
            arguments = _harmless_arguments(tool, self.options.read_only)
            if arguments is not None:
                return tool, arguments
        raise Skipped("no tool is known to be harmless: name one with --tool")

    async def sleeper(self) -> str:
        """The name of a tool that takes `seconds` and changes nothing.

        Raises:
            Skipped: there is none.
        """
        for tool in await self.tools():
            if tool.get("name") == "sleep" in self.options.read_only and _required(tool) == {"seconds"}:
                return "sleep"
        raise Skipped("needs a read-only tool sleep(seconds), as the demo has one")


def _only_reads(tool: Json) -> bool:
    annotations = tool.get("annotations")
    reads = isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
    return reads and isinstance(tool.get("name"), str)


def _required(tool: Json) -> set[Any]:
    schema = tool.get("inputSchema")
    required = schema.get("required", []) if isinstance(schema, dict) else []
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _harmless_arguments(tool: Json, read_only: set[str]) -> Json | None:
    """Arguments for a tool that may be called unasked, or None."""
    name, required = tool.get("name"), _required(tool)
    known = KNOWN.get(name) if isinstance(name, str) else None
    if known is not None and required == set(known):
        return known
    return {} if isinstance(name, str) and name in read_only and not required else None
