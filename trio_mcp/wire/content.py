"""Content blocks, annotations and icons (schema: ContentBlock, Annotations, Icon, ResourceContents)."""

from typing import Any, Literal, TypeAlias

from msgspec import field

from trio_mcp.wire.base import UNSET, JsonObject, UnsetType, Wire

Role: TypeAlias = Literal["user", "assistant"]


class Icon(Wire):
    """An icon for a user interface. `src` is an https: or data: URI; `sizes` such as `["48x48"]` or `["any"]`."""

    src: str
    mime_type: str | None = None
    sizes: list[str] | None = None
    theme: Literal["light", "dark"] | None = None


class Annotations(Wire, kw_only=True):
    """Hints on content: whom it is for, how much it matters (0 to 1), when it last changed (ISO 8601)."""

    audience: list[Role] | None = None
    priority: float | None = None
    last_modified: str | None = None


class TextContent(Wire, tag_field="type", tag="text"):
    """Text for the model."""

    text: str
    annotations: Annotations | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ImageContent(Wire, tag_field="type", tag="image"):
    """An image; `data` is base64."""

    data: str
    mime_type: str
    annotations: Annotations | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class AudioContent(Wire, tag_field="type", tag="audio"):
    """Audio; `data` is base64. Since 2025-03-26."""

    data: str
    mime_type: str
    annotations: Annotations | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ResourceContents(Wire, kw_only=True):
    """The contents of one resource: exactly one of `text` and `blob` (base64) is set."""

    uri: str
    mime_type: str | None = None
    text: str | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    meta: JsonObject | None = field(default=None, name="_meta")


class EmbeddedResource(Wire, tag_field="type", tag="resource"):
    """A resource carried inside a result or a message."""

    resource: ResourceContents
    annotations: Annotations | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ResourceLink(Wire, tag_field="type", tag="resource_link"):
    """A pointer to a resource that the client may read. Since 2025-06-18."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    icons: list[Icon] | None = None
    annotations: Annotations | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ToolUseContent(Wire, tag_field="type", tag="tool_use"):
    """The model asks for a tool, inside sampling. Since 2025-11-25."""

    id: str
    name: str
    input: JsonObject
    meta: JsonObject | None = field(default=None, name="_meta")


class ToolResultContent(Wire, tag_field="type", tag="tool_result"):
    """The answer to a `ToolUseContent`, inside sampling. Since 2025-11-25."""

    tool_use_id: str
    content: "list[ContentBlock]"
    structured_content: Any = UNSET
    is_error: bool = False
    meta: JsonObject | None = field(default=None, name="_meta")


ContentBlock: TypeAlias = TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink
SamplingContent: TypeAlias = TextContent | ImageContent | AudioContent | ToolUseContent | ToolResultContent
