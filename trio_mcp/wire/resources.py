"""Resources (schema: Resource, ResourceTemplate, ReadResourceResult)."""

from msgspec import field

from trio_mcp.wire.base import CacheableResult, JsonObject, Wire
from trio_mcp.wire.content import Annotations, Icon, ResourceContents
from trio_mcp.wire.lifecycle import RequestParams
from trio_mcp.wire.mrtr import InputParams


class Resource(Wire, kw_only=True):
    """A resource as `resources/list` shows it; `size` in bytes."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    annotations: Annotations | None = None
    size: int | None = None
    icons: list[Icon] | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ResourceTemplate(Wire, kw_only=True):
    """A family of resources with an RFC 6570 template."""

    uri_template: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    annotations: Annotations | None = None
    icons: list[Icon] | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ListResourcesResult(CacheableResult, kw_only=True):
    """One page of resources."""

    resources: list[Resource]
    next_cursor: str | None = None


class ListResourceTemplatesResult(CacheableResult, kw_only=True):
    """One page of templates."""

    resource_templates: list[ResourceTemplate]
    next_cursor: str | None = None


class ReadResourceParams(InputParams, kw_only=True):
    """Parameters of `resources/read`."""

    uri: str


class ReadResourceResult(CacheableResult, kw_only=True):
    """What a resource holds."""

    contents: list[ResourceContents]


class SubscribeParams(RequestParams, kw_only=True):
    """Parameters of `resources/subscribe` and `resources/unsubscribe` (until 2025-11-25)."""

    uri: str


class ResourceUpdatedParams(Wire, kw_only=True):
    """Parameters of `notifications/resources/updated`."""

    uri: str
    meta: JsonObject | None = field(default=None, name="_meta")
