"""`Server`: what users write against. It holds registries and decorators, and knows no transport.

Whatever serves it registers an observer and hears of every change. How a server is served is decided in
`trio_mcp.serve`, which puts itself into `Server.composition`: so that `mcp.run()` and `mcp` as an ASGI application
work without this module knowing how.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Unpack, get_args, overload

import msgspec
import trio

from trio_mcp.auth.tokens import TokenVerifier
from trio_mcp.completions import RegisteredCompletion, make_completion
from trio_mcp.context import Context
from trio_mcp.exceptions import NotFoundError, RegistrationError
from trio_mcp.prompts import PromptOptions, RegisteredPrompt, make_prompt
from trio_mcp.protocol.errors import McpError, invalid_params
from trio_mcp.resources import RegisteredResource, RegisteredTemplate, ResourceOptions, make_resource
from trio_mcp.routes import OPERATIONAL_PATHS, TRANSPORT_PATHS, RegisteredRoute, RouteOptions, Routes, make_route
from trio_mcp.settings import Settings
from trio_mcp.tools import RegisteredTool, ToolOptions, make_raw_tool, make_tool
from trio_mcp.wire.base import SERVER_INFO_KEY, JsonObject
from trio_mcp.wire.content import Icon, ResourceContents
from trio_mcp.wire.lifecycle import Implementation, ServerCapabilities

F = TypeVar("F", bound=Callable[..., Any])
Item = TypeVar("Item")
Registered = TypeVar("Registered", RegisteredTool, RegisteredResource, RegisteredTemplate, RegisteredPrompt)
Lifespan = Callable[["Server"], AbstractAsyncContextManager[Any]]
OnDuplicate = Literal["error", "replace", "ignore"]


class Composition(Protocol):
    """How a server is served; `trio_mcp.serve` is it."""

    def run(self, server: "Server", transport: str, options: dict[str, Any]) -> None:
        """Serve until told to stop."""
        ...

    async def asgi(self, server: "Server", scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI scope."""
        ...


@asynccontextmanager
async def _no_lifespan(server: "Server") -> Any:
    yield None


class Server:
    """A Model Context Protocol server: its tools, resources, prompts and completions.

    Args:
        name, version, title, icons, website_url: shown to clients.
        instructions: how a model should use this server.
        lifespan: an async context manager taking the server, entered before the first request and left after the
            last; what it yields is `ctx.lifespan`.
        settings: limits and durations.
        auth: who may call over HTTP, by their bearer tokens; None: everybody. Pipes are not asked.
        strict: take arguments exactly, instead of `"10"` for 10 as models send them.
        page_size: how many items a list shows at once; None: all.
        on_duplicate: what a second registration of a name does: "error", "replace" or "ignore".
    """

    composition: ClassVar[Composition]

    def __init__(
        self,
        name: str,
        *,
        version: str = "0.0.0",
        instructions: str | None = None,
        title: str | None = None,
        icons: Sequence[Icon] | None = None,
        website_url: str | None = None,
        lifespan: Lifespan | None = None,
        settings: Settings | None = None,
        auth: TokenVerifier | None = None,
        strict: bool = False,
        page_size: int | None = None,
        on_duplicate: OnDuplicate = "error",
    ) -> None:
        if page_size is not None and page_size < 1:
            raise ValueError(f"page_size must be at least 1, not {page_size}")
        if on_duplicate not in get_args(OnDuplicate):
            raise ValueError(f"on_duplicate must be one of {', '.join(get_args(OnDuplicate))}, not {on_duplicate!r}")
        self.info = Implementation(
            name=name,
            version=version,
            title=title,
            icons=list(icons) if icons else None,
            website_url=website_url,
        )
        #: `_meta` of every result of the per-request era, encoded once.
        self.stamp = {SERVER_INFO_KEY: msgspec.Raw(msgspec.json.encode(self.info))}
        self.instructions = instructions
        self.settings = settings or Settings()
        self.auth = auth
        #: Whether anything that was registered asks for scopes.
        self.scoped = False
        self.strict = strict
        self.page_size = page_size
        self.lifespan: Lifespan = lifespan or _no_lifespan
        self.limiter = trio.CapacityLimiter(self.settings.threads)
        self.tools: dict[str, RegisteredTool] = {}
        self.resources: dict[str, RegisteredResource] = {}
        self.templates: dict[str, RegisteredTemplate] = {}
        self.prompts: dict[str, RegisteredPrompt] = {}
        self.completions: dict[tuple[str, str], RegisteredCompletion] = {}
        self.routes = Routes()
        #: The ASGI application of this server, where it is served as one; `composition` keeps it here.
        self.mounted: Any = None
        #: Counts changes of the lists, so that whoever keeps one knows when it is stale.
        self.changes = 0
        self._on_duplicate = on_duplicate
        self._observers: list[Callable[[str, str | None], None]] = []

    @property
    def name(self) -> str:
        """The server's name."""
        return self.info.name

    def __repr__(self) -> str:
        return (
            f"<Server {self.name!r}: {len(self.tools)} tools, {len(self.resources) + len(self.templates)} resources,"
            f" {len(self.prompts)} prompts>"
        )

    # Registration

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(self, **options: Unpack[ToolOptions]) -> Callable[[F], F]: ...

    def tool(self, *function: Any, **options: Any) -> Any:
        """Make a function a tool: `@mcp.tool` or `@mcp.tool(title="…", timeout=5)`; options as in `ToolOptions`.

        The function itself is returned and stays callable.

        Raises:
            RegistrationError: something in the signature cannot be served; names the function and the parameter.
        """
        return self._decorate(function, options, self.add_tool)

    def add_tool(self, function: Callable[..., Any], **options: Unpack[ToolOptions]) -> RegisteredTool:
        """Register a tool; clients that listen hear of it."""
        tool = make_tool(function, _known(ToolOptions, options), strict=self.strict)
        return self._register(self.tools, tool.name, tool, "tool")

    def register_tool(
        self,
        name: str,
        description: str,
        input_schema: JsonObject,
        handler: Callable[..., Any],
        **options: Any,
    ) -> RegisteredTool:
        """Register a tool with a raw JSON Schema and a handler that takes the dict of arguments.

        A parameter annotated with `Context` gets the context. Options as in `ToolOptions`, but for the name and the
        description. Needs the extra `jsonschema`.
        """
        tool = make_raw_tool(name, description, input_schema, handler, _known(ToolOptions, options))
        return self._register(self.tools, name, tool, "tool")

    def remove_tool(self, name: str) -> None:
        """Take a tool away; calls in flight go on, clients that listen hear of it.

        Raises:
            KeyError: there is no such tool.
        """
        del self.tools[name]
        self.changed("tools")

    def resource(self, uri: str, /, **options: Unpack[ResourceOptions]) -> Callable[[F], F]:
        """Make a function a resource, or a template where `uri` has variables in braces.

        Options as in `ResourceOptions`.

        Raises:
            RegistrationError: the URI or template does not fit the function.
        """
        if not isinstance(uri, str):
            raise RegistrationError('@mcp.resource needs its URI: @mcp.resource("config://app")')
        return lambda function: self._returning(function, self.add_resource(uri, function, **options))

    def add_resource(
        self, uri: str, function: Callable[..., Any], **options: Unpack[ResourceOptions]
    ) -> RegisteredResource | RegisteredTemplate:
        """Register a resource or a template; clients that listen hear of it."""
        made = make_resource(uri, function, _known(ResourceOptions, options), strict=self.strict)
        if isinstance(made, RegisteredTemplate):
            return self._register(self.templates, uri, made, "resource")
        return self._register(self.resources, uri, made, "resource")

    def remove_resource(self, uri: str) -> None:
        """Take a resource or a template away.

        Raises:
            KeyError: there is no such URI.
        """
        if self.resources.pop(uri, None) is None:
            del self.templates[uri]
        self.changed("resources")

    @overload
    def prompt(self, function: F, /) -> F: ...

    @overload
    def prompt(self, **options: Unpack[PromptOptions]) -> Callable[[F], F]: ...

    def prompt(self, *function: Any, **options: Any) -> Any:
        """Make a function a prompt: `@mcp.prompt` or `@mcp.prompt(title="…")`; options as in `PromptOptions`.

        Raises:
            RegistrationError: something in the signature cannot be served.
        """
        return self._decorate(function, options, self.add_prompt)

    def add_prompt(self, function: Callable[..., Any], **options: Unpack[PromptOptions]) -> RegisteredPrompt:
        """Register a prompt; clients that listen hear of it."""
        prompt = make_prompt(function, _known(PromptOptions, options), strict=self.strict)
        return self._register(self.prompts, prompt.name, prompt, "prompt")

    def remove_prompt(self, name: str) -> None:
        """Take a prompt away.

        Raises:
            KeyError: there is no such prompt.
        """
        del self.prompts[name]
        self.changed("prompts")

    def route(self, path: str, /, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Let a function answer HTTP requests of a path: `@mcp.route("/report/{name}", methods=["GET"])`.

        `{name}` is a segment of the path, and the parameter of that name; a parameter annotated with `HttpRequest`
        gets the request. Text, bytes, an `HttpResponse`, None (204), and what JSON can show may be returned. Options
        as in `RouteOptions`.

        Raises:
            RegistrationError: the path is taken or reserved, or does not fit the function.
        """
        return lambda function: self._returning(function, self.add_route(path, function, **options))

    def add_route(self, path: str, function: Callable[..., Any], **options: Unpack[RouteOptions]) -> RegisteredRoute:
        """Register a custom route; see `route`."""
        settings = self.settings
        reserved = {settings.path, *TRANSPORT_PATHS, *(OPERATIONAL_PATHS if settings.operational_routes else ())}
        route = make_route(path, function, _known(RouteOptions, options), reserved=reserved)
        taken = self.routes.taken(route)
        if taken and self._on_duplicate != "replace":
            if self._on_duplicate == "ignore":
                return route
            raise RegistrationError(f"there is a route {taken[0]} {route.path!r} already")
        self.routes.add(route)
        self.changes += 1
        return route

    def completion(self, ref: str, argument: str, /) -> Callable[[F], F]:
        """Suggest values for an argument of a prompt (by its name) or a variable of a template (by its URI template).

        The function takes what was typed so far and, if it wants, a dict of the arguments that are settled; it
        returns strings, best first, or a `Completion`.
        """

        def register(function: F) -> F:
            self.completions[ref, argument] = make_completion(function)
            return function

        return register

    def _decorate(self, function: tuple[Any, ...], options: Any, add: Callable[..., Any]) -> Any:
        if function:
            if isinstance(function[0], str):
                raise RegistrationError(f"give the name as an option: name={function[0]!r}")
            if len(function) > 1 or not callable(function[0]):
                raise RegistrationError(f"one function is registered at a time, and {function[0]!r} is none")
            return self._returning(function[0], add(function[0], **options))
        return lambda decorated: self._returning(decorated, add(decorated, **options))

    @staticmethod
    def _returning(function: F, registered: object) -> F:
        return function

    def _register(self, registry: dict[str, Registered], name: str, item: Registered, kind: str) -> Registered:
        if name in registry:
            if self._on_duplicate == "error":
                raise RegistrationError(
                    f"there is a {kind} {name!r} already: give this one another name, or Server(on_duplicate='replace')"
                )
            if self._on_duplicate == "ignore":
                return registry[name]
        registry[name] = item
        self.scoped = self.scoped or bool(item.scopes)
        self.changed(f"{kind}s")
        return item

    # Change

    def changed(self, kind: str) -> None:
        """Tell observers that a list changed; `kind` is tools, resources or prompts. Safe from any thread."""
        self.changes += 1
        self._tell(kind, None)

    def resource_updated(self, uri: str) -> None:
        """Tell clients that subscribed to `uri` that it changed: for changes outside a call. Safe from any thread."""
        self._tell("resource", uri)

    def _tell(self, kind: str, uri: str | None) -> None:
        for observer in tuple(self._observers):
            observer(kind, uri)

    def observe(self, observer: Callable[[str, str | None], None]) -> Callable[[], None]:
        """Call `observer(kind, uri)` at every change; returns what takes it off again."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    # What clients see

    def capabilities(self) -> ServerCapabilities:
        """What this server can do (schema: ServerCapabilities)."""
        return ServerCapabilities(
            logging={},
            completions={} if self.completions else None,
            prompts={"listChanged": True},
            resources={"subscribe": True, "listChanged": True},
            tools={"listChanged": True},
        )

    def page(self, items: dict[str, Item], cursor: str | None) -> tuple[list[Item], str | None]:
        """One page of a registry in the order of registration, and the cursor of the next (utilities/pagination).

        A cursor names the last item shown, so it stays right when items come or go behind it. The empty cursor
        is the beginning.

        Raises:
            McpError: -32602; the cursor is not ours, or its item is gone.
        """
        keys = list(items)
        start = 0
        if cursor:
            start = _position(keys, cursor) + 1
        stop = len(keys) if self.page_size is None else start + self.page_size
        page = keys[start:stop]
        following = _cursor(page[-1]) if stop < len(keys) else None
        return [items[key] for key in page], following

    async def read_resource(self, uri: str, context: Context) -> list[ResourceContents]:
        """Read a resource: the one at `uri`, else the first template that matches, in the order of registration.

        Cancellation: as `Handler.call`.

        Raises:
            NotFoundError: neither is there.
        """
        resource = self.resources.get(uri)
        if resource is not None:
            return await resource.read(context, self.limiter)
        for template in self.templates.values():
            variables = template.match(uri)
            if variables is not None:
                return await template.read(uri, variables, context, self.limiter)
        raise NotFoundError(uri)

    # Serving

    def run(self, transport: Literal["http", "stdio"] = "http", **options: Any) -> None:
        """Serve until SIGTERM or Ctrl-C: `mcp.run()`, `mcp.run(port=9000)`, `mcp.run("stdio")`.

        Options are those of `serve_http` and `serve_stdio`.
        """
        self.composition.run(self, transport, options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3, lifespan included, on trio: `hypercorn -k trio module:mcp`."""
        await self.composition.asgi(self, scope, receive, send)


def _known(kind: type, options: Any) -> Any:
    """Options of a registration, all of them known: a typo must not pass for a default."""
    known = kind.__annotations__
    unknown = [name for name in options if name not in known]
    if unknown:
        raise RegistrationError(f"unknown option {', '.join(unknown)}: there are {', '.join(known)}")
    return options


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode("ascii")


def _position(keys: list[str], cursor: str) -> int:
    try:
        return keys.index(base64.urlsafe_b64decode(cursor.encode("ascii")).decode())
    except (ValueError, binascii.Error):
        raise _bad_cursor(cursor) from None


def _bad_cursor(cursor: str) -> McpError:
    return invalid_params("Invalid params: unknown cursor; list again from the beginning", {"cursor": cursor[:200]})
