"""Prompts: functions that make messages (server/prompts). Refuses to know a transport."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypedDict

import attrs
import trio

from trio_mcp.context import Context
from trio_mcp.exceptions import RegistrationError
from trio_mcp.handlers import Handler, describe, name_of, scopes_of, tagged_meta
from trio_mcp.protocol.errors import invalid_params
from trio_mcp.returns import prompt_messages
from trio_mcp.schema import ArgumentsError
from trio_mcp.wire.base import JsonObject
from trio_mcp.wire.content import Icon
from trio_mcp.wire.prompts import GetPromptResult, Prompt, PromptArgument


class PromptOptions(TypedDict, total=False):
    """What `@mcp.prompt(…)` takes; `thread=False` runs a quick plain function in the call's own task.

    `scopes` is what an access token must have, where the server has `auth`.
    """

    name: str
    title: str
    description: str
    icons: Sequence[Icon]
    meta: JsonObject
    tags: Collection[str] | None
    thread: bool | None
    scopes: Collection[str] | None


@attrs.frozen(slots=True, eq=False)
class RegisteredPrompt:
    """A prompt that can be got."""

    definition: Prompt
    handler: Handler
    tags: frozenset[str]
    scopes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The prompt's name."""
        return self.definition.name

    async def get(
        self, arguments: dict[str, Any] | None, context: Context, limiter: trio.CapacityLimiter
    ) -> GetPromptResult:
        """Run the function and put its value into messages. Cancellation: as `Handler.call`.

        Raises:
            McpError: -32602; arguments are missing or do not fit, each one listed.
        """
        try:
            kwargs = self.handler.arguments.convert(arguments or {})
        except ArgumentsError as error:
            raise invalid_params(f"Invalid arguments for prompt {self.name}:\n{error}") from None
        value = await self.handler.call(kwargs, context, limiter)
        return GetPromptResult(messages=prompt_messages(value), description=self.definition.description)


def make_prompt(function: Callable[..., Any], options: PromptOptions, *, strict: bool) -> RegisteredPrompt:
    """A prompt from a typed function.

    Raises:
        RegistrationError: what cannot be served, with the function's and the parameter's name.
    """
    handler = Handler.compile(function, strict=strict, thread=options.get("thread"))
    name = options.get("name") or name_of(function)
    if name == "<lambda>":
        raise RegistrationError("a lambda has no name: give one with name=")
    schema = handler.arguments.schema
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    arguments = [
        PromptArgument(
            name=argument,
            title=properties[argument].get("title"),
            description=properties[argument].get("description"),
            required=argument in required,
        )
        for argument in handler.arguments.names
    ]
    definition = Prompt(
        name=name,
        title=options.get("title"),
        description=options.get("description") or describe(function),
        arguments=arguments or None,
        icons=list(options["icons"]) if options.get("icons") else None,
        meta=tagged_meta(options.get("meta"), options.get("tags") or ()),
    )
    return RegisteredPrompt(definition, handler, frozenset(options.get("tags") or ()), scopes_of(options.get("scopes")))
