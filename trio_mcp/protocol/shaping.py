"""Results as one revision knows them: later fields left out, later content put into words, the 2026 stamps put on.

It refuses to decide what a result says. Structs passed in are changed in place: each belongs to one answer.
"""

from typing import Any

from trio_mcp.protocol.revisions import Revision
from trio_mcp.wire.base import UNSET, CacheableResult, JsonObject, Result
from trio_mcp.wire.content import AudioContent, ContentBlock, ResourceLink, TextContent
from trio_mcp.wire.lifecycle import InitializeResult, ProgressParams
from trio_mcp.wire.prompts import GetPromptResult, ListPromptsResult
from trio_mcp.wire.resources import ListResourcesResult, ListResourceTemplatesResult, ReadResourceResult
from trio_mcp.wire.tools import CallToolResult, ListToolsResult, Tool


def shape(result: Any, revision: Revision, *, stamp: JsonObject, ttl_ms: int, cache_scope: str) -> Any:
    """Fit a result to a revision.

    Args:
        stamp: `_meta` that every result of the per-request era carries (the server's name).
        ttl_ms, cache_scope: caching hints for results that have none of their own.
    """
    if not isinstance(result, Result):
        return result
    if revision.result_type:
        _stamp(result, stamp, ttl_ms, cache_scope)
    else:
        result.result_type = None
        if isinstance(result, CacheableResult):
            result.ttl_ms = result.cache_scope = None
    if not revision.any_structured:
        _shape_for_session(result, revision)
    return result


def _stamp(result: Result, stamp: JsonObject, ttl_ms: int, cache_scope: str) -> None:
    if result.result_type is None:
        result.result_type = "complete"
    result.meta = stamp if result.meta is None else {**stamp, **result.meta}
    if isinstance(result, CacheableResult):
        if result.ttl_ms is None:
            result.ttl_ms = ttl_ms
        if result.cache_scope is None:
            result.cache_scope = cache_scope


def _shape_for_session(result: Result, revision: Revision) -> None:
    if isinstance(result, CallToolResult):
        if not revision.structured_content or not isinstance(result.structured_content, dict):
            result.structured_content = UNSET
        if not revision.resource_links:
            result.content = [older_content(block, revision) for block in result.content]
    elif isinstance(result, GetPromptResult):
        if not revision.resource_links:
            for message in result.messages:
                message.content = older_content(message.content, revision)
    elif isinstance(result, ListToolsResult):
        result.tools = [_older_tool(tool, revision) for tool in result.tools]
    elif isinstance(result, (ListResourcesResult, ListResourceTemplatesResult, ListPromptsResult)):
        for field in ("resources", "resource_templates", "prompts"):
            for item in getattr(result, field, ()):
                _drop_display(item, revision)
    elif isinstance(result, ReadResourceResult):
        if not revision.titles:
            for contents in result.contents:
                contents.meta = None
    elif isinstance(result, InitializeResult):
        _drop_display(result.server_info, revision)
        if not revision.icons:
            result.server_info.website_url = result.server_info.description = None
        if not revision.completions_capability:
            result.capabilities.completions = None


def older_content(block: ContentBlock, revision: Revision) -> ContentBlock:
    """A block that `revision` knows: audio and links that it does not are described in words."""
    if isinstance(block, ResourceLink) and not revision.resource_links:
        described = f": {block.description}" if block.description else ""
        return TextContent(f"[resource {block.name}]({block.uri}){described}", annotations=block.annotations)
    if isinstance(block, AudioContent) and not revision.audio:
        return TextContent(f"[audio, {block.mime_type}: this protocol version cannot carry it]")
    if not revision.titles and block.meta is not None:
        block.meta = None
    return block


def shape_progress(params: ProgressParams, revision: Revision) -> ProgressParams:
    """Progress without `message` where the revision has none."""
    if not revision.progress_message:
        params.message = None
    return params


def _older_tool(tool: Tool, revision: Revision) -> Tool:
    _drop_display(tool, revision)
    if not revision.tool_annotations:
        tool.annotations = None
    if not revision.structured_content or (tool.output_schema or {}).get("type") != "object":
        tool.output_schema = None
    return tool


def _drop_display(item: Any, revision: Revision) -> None:
    """Take off a definition what this revision has no field for. Definitions are copied for each list."""
    if not revision.icons:
        item.icons = None
    if not revision.titles:
        item.title = None
        if hasattr(item, "meta"):
            item.meta = None
        for argument in getattr(item, "arguments", None) or ():
            argument.title = None
