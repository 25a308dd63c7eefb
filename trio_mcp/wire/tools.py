"""Tools (schema: Tool, CallToolRequestParams, CallToolResult)."""

from typing import Any

from msgspec import Raw, field

from trio_mcp.wire.base import UNSET, CacheableResult, JsonObject, Result, Wire
from trio_mcp.wire.content import ContentBlock, Icon
from trio_mcp.wire.mrtr import InputParams


class ToolAnnotations(Wire, kw_only=True):
    """Hints on a tool's behaviour; a client must not trust them."""

    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class Tool(Wire, kw_only=True):
    """A tool as `tools/list` shows it."""

    name: str
    input_schema: JsonObject
    title: str | None = None
    description: str | None = None
    output_schema: JsonObject | None = None
    annotations: ToolAnnotations | None = None
    icons: list[Icon] | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ListToolsResult(CacheableResult, kw_only=True):
    """One page of tools."""

    tools: list[Tool]
    next_cursor: str | None = None


class CallToolParams(InputParams, kw_only=True):
    """Parameters of `tools/call`; the arguments stay bytes until the tool's own decoder reads them."""

    name: str
    arguments: Raw = Raw(b"{}")


class CallToolResult(Result, kw_only=True):
    """What a tool answered. `structured_content` is UNSET where there is none: null is a value."""

    content: list[ContentBlock]
    structured_content: Any = UNSET
    is_error: bool = False
