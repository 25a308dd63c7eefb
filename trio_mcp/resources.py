"""Resources and templates: functions behind URIs (server/resources). Refuses to know a transport."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypedDict

import attrs
import trio

from trio_mcp.context import Context
from trio_mcp.exceptions import NotFoundError, RegistrationError
from trio_mcp.handlers import Handler, describe, name_of, scopes_of, tagged_meta
from trio_mcp.returns import resource_contents
from trio_mcp.schema import ArgumentsError
from trio_mcp.uri_template import UriTemplate, UriTemplateError, shapes_of
from trio_mcp.wire.base import JsonObject
from trio_mcp.wire.content import Annotations, Icon, ResourceContents
from trio_mcp.wire.resources import Resource, ResourceTemplate


class ResourceOptions(TypedDict, total=False):
    """What `@mcp.resource(uri, …)` takes; `size` in bytes, for plain URIs only.

    `thread=False` runs a quick plain function in the call's own task. `allow_traversal` lets template variables hold
    `..`, absolute paths and encoded slashes. `scopes` is what an access token must have, where the server has `auth`.
    """

    name: str
    title: str
    description: str
    mime_type: str
    annotations: Annotations
    size: int
    icons: Sequence[Icon]
    meta: JsonObject
    tags: Collection[str] | None
    thread: bool | None
    allow_traversal: bool
    scopes: Collection[str] | None


@attrs.frozen(slots=True, eq=False)
class RegisteredResource:
    """A resource at one URI."""

    definition: Resource
    handler: Handler
    tags: frozenset[str]
    scopes: frozenset[str] = frozenset()

    async def read(self, context: Context, limiter: trio.CapacityLimiter) -> list[ResourceContents]:
        """Run the function and put its value into contents. Cancellation: as `Handler.call`."""
        value = await self.handler.call({}, context, limiter)
        return resource_contents(self.definition.uri, value, self.definition.mime_type)


@attrs.frozen(slots=True, eq=False)
class RegisteredTemplate:
    """A family of resources behind one function."""

    definition: ResourceTemplate
    template: UriTemplate
    handler: Handler
    tags: frozenset[str]
    scopes: frozenset[str] = frozenset()

    def match(self, uri: str) -> dict[str, Any] | None:
        """The variables of `uri`, or None where it is not of this family."""
        return self.template.match(uri)

    async def read(
        self, uri: str, variables: dict[str, Any], context: Context, limiter: trio.CapacityLimiter
    ) -> list[ResourceContents]:
        """Run the function with the variables of `uri`. Cancellation: as `Handler.call`.

        Raises:
            NotFoundError: the variables do not fit the function's types, so there is no such resource.
        """
        try:
            kwargs = self.handler.arguments.convert(variables)
        except ArgumentsError as error:
            raise NotFoundError(uri) from error
        value = await self.handler.call(kwargs, context, limiter)
        return resource_contents(uri, value, self.definition.mime_type)


def make_resource(
    uri: str, function: Callable[..., Any], options: ResourceOptions, *, strict: bool
) -> RegisteredResource | RegisteredTemplate:
    """A resource, or a template where `uri` holds expressions in braces.

    Raises:
        RegistrationError: the URI is not absolute, the template is malformed, or its variables and the function's
            parameters differ.
    """
    scheme, colon, _ = uri.partition(":")
    if not colon or not scheme or "{" in scheme:
        raise RegistrationError(f"{uri!r} has no scheme: a resource needs a URI such as 'config://app'")
    handler = Handler.compile(function, strict=strict, thread=options.get("thread"))
    facts: dict[str, Any] = {
        "name": options.get("name") or name_of(function),
        "title": options.get("title"),
        "description": options.get("description") or describe(function),
        "mime_type": options.get("mime_type"),
        "annotations": options.get("annotations"),
        "icons": list(options["icons"]) if options.get("icons") else None,
        "meta": tagged_meta(options.get("meta"), options.get("tags") or ()),
    }
    tags, scopes = frozenset(options.get("tags") or ()), scopes_of(options.get("scopes"))
    if "{" not in uri:
        if handler.arguments.names:
            raise RegistrationError(
                f"{name_of(function)} takes {', '.join(handler.arguments.names)}, which {uri!r} does not give:"
                f" put them in braces into the URI"
            )
        definition = Resource(uri=uri, size=options.get("size"), **facts)
        return RegisteredResource(definition, handler, tags, scopes)
    if options.get("size") is not None:
        raise RegistrationError(f"{uri!r} is a template, and its resources have no common size: leave size out")
    template = _template(uri, handler, function, options)
    return RegisteredTemplate(ResourceTemplate(uri_template=uri, **facts), template, handler, tags, scopes)


def _template(uri: str, handler: Handler, function: Callable[..., Any], options: ResourceOptions) -> UriTemplate:
    try:
        shapes = shapes_of(handler.arguments.schema.get("properties", {}))
        template = UriTemplate(uri, allow_traversal=options.get("allow_traversal", False), shapes=shapes)
    except UriTemplateError as error:
        raise RegistrationError(str(error)) from error
    lacking = sorted(set(template.variables) - set(handler.arguments.names))
    if lacking:
        raise RegistrationError(f"{name_of(function)} lacks a parameter for {', '.join(lacking)}")
    ungiven = sorted(set(handler.arguments.schema.get("required", ())) - set(template.required_variables))
    if ungiven:
        raise RegistrationError(
            f"{uri!r} does not always give {', '.join(ungiven)}, which {name_of(function)} requires: give a default"
        )
    return template
