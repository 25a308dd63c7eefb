"""Results as one revision knows them: later fields left out, later content put into words, the 2026 stamps put on.

It refuses to decide what a result says. A result belongs to one answer and is changed in place; what it holds
(definitions, content, capabilities) may belong to a registry or to a user's module, and is copied before a change.
"""

from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from trio_mcp.protocol.revisions import Revision
from trio_mcp.wire.base import UNSET, CacheableResult, JsonObject, Result
from trio_mcp.wire.content import Annotations, AudioContent, ContentBlock, EmbeddedResource, ResourceLink, TextContent
from trio_mcp.wire.lifecycle import Implementation, InitializeResult, ProgressParams
from trio_mcp.wire.prompts import GetPromptResult, ListPromptsResult
from trio_mcp.wire.resources import ListResourcesResult, ListResourceTemplatesResult, ReadResourceResult
from trio_mcp.wire.tools import CallToolResult, ListToolsResult, Tool

T = TypeVar("T", bound=Struct)


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
        if not revision.icons:
            result.content = [older_content(block, revision) for block in result.content]
    elif isinstance(result, GetPromptResult):
        if not revision.icons:
            messages = result.messages
            result.messages = [replace(each, content=older_content(each.content, revision)) for each in messages]
    elif isinstance(result, ListToolsResult):
        result.tools = [_older_tool(tool, revision) for tool in result.tools]
    elif isinstance(result, ListResourcesResult):
        result.resources = [_older_definition(item, revision) for item in result.resources]
    elif isinstance(result, ListResourceTemplatesResult):
        result.resource_templates = [_older_definition(item, revision) for item in result.resource_templates]
    elif isinstance(result, ListPromptsResult):
        result.prompts = [_older_definition(item, revision) for item in result.prompts]
    elif isinstance(result, ReadResourceResult):
        if not revision.titles:
            result.contents = [_without(contents, "meta") for contents in result.contents]
    elif isinstance(result, InitializeResult):
        result.server_info = _older_definition(result.server_info, revision)
        if not revision.completions_capability:
            result.capabilities = _without(result.capabilities, "completions")


def older_content(block: ContentBlock, revision: Revision) -> ContentBlock:
    """A block that `revision` knows: audio and links that it does not are described in words."""
    annotations = block.annotations
    if annotations is not None and not revision.titles:
        annotations = _without(annotations, "last_modified")
    if isinstance(block, ResourceLink) and not revision.resource_links:
        described = f": {block.description}" if block.description else ""
        return TextContent(f"[resource {block.name}]({block.uri}){described}", annotations=annotations)
    if isinstance(block, AudioContent) and not revision.audio:
        text = f"[audio, {block.mime_type}: this protocol version cannot carry it]"
        return TextContent(text, annotations=annotations)
    if isinstance(block, ResourceLink) and not revision.icons:
        return _without(block, "icons")
    if revision.titles:
        return block
    block = _without(block, "meta")
    if annotations is not block.annotations:
        block = replace(block, annotations=annotations)
    if isinstance(block, EmbeddedResource) and block.resource.meta is not None:
        block = replace(block, resource=_without(block.resource, "meta"))
    return block


def shape_progress(params: ProgressParams, revision: Revision) -> ProgressParams:
    """Progress without `message` where the revision has none."""
    return params if revision.progress_message else _without(params, "message")


def _older_tool(tool: Tool, revision: Revision) -> Tool:
    tool = _older_definition(tool, revision)
    if not revision.tool_annotations:
        tool = _without(tool, "annotations")
    if not revision.structured_content or (tool.output_schema or {}).get("type") != "object":
        tool = _without(tool, "output_schema")
    return tool


def _older_definition(item: T, revision: Revision) -> T:
    """A definition, or the server's description of itself, with only the fields that this revision has."""
    if not revision.icons:
        item = _without(item, "icons", "website_url")
        if isinstance(item, Implementation):  # other definitions have been described since the first revision
            item = _without(item, "description")
    if revision.titles:
        return item
    item = _without(item, "title", "meta")
    annotations, arguments = getattr(item, "annotations", None), getattr(item, "arguments", None)
    if isinstance(annotations, Annotations):
        item = replace(item, annotations=_without(annotations, "last_modified"))
    if arguments:
        item = replace(item, arguments=[_without(argument, "title") for argument in arguments])
    return item


def _without(item: T, *fields: str) -> T:
    """A copy without these fields, or `item` itself where it has none of them."""
    present = {field: None for field in fields if getattr(item, field, None) is not None}
    return replace(item, **present) if present else item
