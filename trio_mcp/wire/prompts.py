"""Prompts (schema: Prompt, PromptMessage, GetPromptResult)."""

from typing import Any

from msgspec import field

from trio_mcp.wire.base import CacheableResult, JsonObject, Result, Wire
from trio_mcp.wire.content import ContentBlock, Icon, Role
from trio_mcp.wire.mrtr import InputParams


class PromptArgument(Wire, kw_only=True):
    """An argument of a prompt, as `prompts/list` shows it."""

    name: str
    title: str | None = None
    description: str | None = None
    required: bool = False


class Prompt(Wire, kw_only=True):
    """A prompt as `prompts/list` shows it."""

    name: str
    title: str | None = None
    description: str | None = None
    arguments: list[PromptArgument] | None = None
    icons: list[Icon] | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class PromptMessage(Wire):
    """One message of a prompt."""

    role: Role
    content: ContentBlock


class ListPromptsResult(CacheableResult, kw_only=True):
    """One page of prompts."""

    prompts: list[Prompt]
    next_cursor: str | None = None


class GetPromptParams(InputParams, kw_only=True):
    """Parameters of `prompts/get`; values are strings by the schema, other scalars are taken as models send them."""

    name: str
    arguments: dict[str, Any] | None = None


class GetPromptResult(Result, kw_only=True):
    """The messages of a prompt."""

    messages: list[PromptMessage]
    description: str | None = None
