"""Tools: a function, its definition and how its value becomes a result (server/tools). Refuses to know a transport."""

import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol, TypedDict

import attrs
import msgspec
import trio

from trio_mcp.context import Context
from trio_mcp.exceptions import RegistrationError, ToolError
from trio_mcp.handlers import (
    Handler,
    Place,
    describe,
    name_of,
    place_of,
    raw_parameters,
    run_function,
    scopes_of,
    tagged_meta,
)
from trio_mcp.json_schema import Validate, compile_validator, decode_object
from trio_mcp.protocol.errors import invalid_params
from trio_mcp.protocol.headers import Headers, ParamHeader, param_headers
from trio_mcp.returns import UNSTRUCTURED, ToolResult, to_builtins, to_content
from trio_mcp.schema import ArgumentsError, Fault, Output, compile_output
from trio_mcp.wire.base import UNSET, JsonObject
from trio_mcp.wire.content import Icon, TextContent
from trio_mcp.wire.tools import CallToolResult, Tool, ToolAnnotations


class ToolOptions(TypedDict, total=False):
    """What `@mcp.tool(…)` takes.

    Keys:
        name, title, description: shown to clients; the name and the description are the function's own by default.
        annotations, icons, meta: shown to clients.
        output_schema: a JSON Schema for the structured content; None (or True) infers it from the return
            annotation, False sends no structured content.
        timeout: seconds that one call may take; None: `Settings.tool_timeout`; `math.inf`: no bound.
        thread: False runs a quick plain function in the call's own task instead of a thread.
        tags: for the server's own grouping; sent in `_meta` under `tags`.
        scopes: what an access token must have for a call, where the server has `auth`.
    """

    name: str
    title: str
    description: str
    annotations: ToolAnnotations
    icons: Sequence[Icon]
    meta: JsonObject
    tags: Collection[str] | None
    output_schema: JsonObject | bool | None
    timeout: float | None
    thread: bool | None
    scopes: Collection[str] | None


class Runner(Protocol):
    """Decodes a tool's arguments and runs it; the value comes back unshaped."""

    def __call__(self, raw: msgspec.Raw, context: Context, limiter: trio.CapacityLimiter) -> Awaitable[Any]:
        """Raises `ArgumentsError` when the arguments do not fit, and whatever the function raises."""
        ...


@attrs.frozen(slots=True, eq=False)
class RegisteredTool:
    """A tool that can be called.

    Attributes:
        param_headers: parameters that a client repeats in HTTP headers (2026-07-28).
        timeout: the tool's own bound in seconds, or None.
        scopes: what an access token needs for a call.
    """

    definition: Tool
    runner: Runner
    shape: Callable[[Any], CallToolResult]
    timeout: float | None
    tags: frozenset[str]
    param_headers: tuple[ParamHeader, ...]
    place: Place
    scopes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.definition.name

    def check_headers(self, headers: Headers, arguments: msgspec.Raw) -> None:
        """Compare `Mcp-Param-*` headers with the arguments (streamable-http: Server Behavior for Custom Headers).

        Raises:
            McpError: -32020.
        """
        try:
            values = decode_object(arguments)
        except ValueError as error:
            raise invalid_params(f"Invalid params: {error}") from None
        for header in self.param_headers:
            header.check(headers, values)

    async def call(
        self, raw: msgspec.Raw, context: Context, limiter: trio.CapacityLimiter, seconds: float
    ) -> CallToolResult:
        """Run the tool under its deadline and shape its value.

        Arguments that do not fit, a `ToolError` and the deadline are results with `isError`, for the model to read.
        Cancellation: as `Handler.call`.

        Raises:
            Exception: whatever else the function raises; `runtime.dispatch` turns that into a generic message.
        """
        try:
            if seconds == math.inf:
                return self.shape(await self.runner(raw, context, limiter))
            with trio.move_on_after(seconds) as timeout_scope:
                return self.shape(await self.runner(raw, context, limiter))
        except ArgumentsError as error:
            return failure(f"Invalid arguments for {self.name}:\n{error}")
        except ToolError as error:
            return failure(str(error))
        assert timeout_scope.cancelled_caught
        return OverdueResult(content=[TextContent(f"{self.name} timed out after {seconds:g} s")], is_error=True)


class OverdueResult(CallToolResult):
    """A failure because the tool's time was up; on the wire it is like any other."""


def failure(text: str) -> CallToolResult:
    """A result that tells the model what went wrong."""
    return CallToolResult(content=[TextContent(text)], is_error=True)


class _TypedRunner:
    """Arguments by the function's signature, straight from the bytes."""

    __slots__ = ("_decode", "_function", "_handler", "_hidden", "_place")

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._decode = handler.arguments.decode
        self._function = handler.function
        self._hidden = handler.hidden
        self._place = handler.place

    def __call__(self, raw: msgspec.Raw, context: Context, limiter: trio.CapacityLimiter) -> Awaitable[Any]:
        kwargs = self._decode(raw)
        for name in self._hidden:
            kwargs[name] = context
        if self._place is Place.TASK:
            awaited: Awaitable[Any] = self._function(**kwargs)
            return awaited
        return run_function(self._function, self._place, kwargs, context, limiter)


class _RawRunner:
    """Arguments by a hand-written JSON Schema, as one dict."""

    __slots__ = ("_context", "_handler", "_place", "_validate")

    def __init__(self, handler: Callable[..., Any], validate: Validate, *, thread: bool | None) -> None:
        self._handler = handler
        self._validate = validate
        self._place = place_of(handler, thread=thread)
        self._context = raw_parameters(handler)

    async def __call__(self, raw: msgspec.Raw, context: Context, limiter: trio.CapacityLimiter) -> Any:
        try:
            params = decode_object(raw)
        except ValueError as error:
            raise ArgumentsError([Fault("$", str(error))]) from None
        faults = self._validate(params)
        if faults:
            raise ArgumentsError(faults)
        kwargs = {self._context[0]: params}
        if self._context[1] is not None:
            kwargs[self._context[1]] = context
        return await run_function(self._handler, self._place, kwargs, context, limiter)

    @property
    def place(self) -> Place:
        return self._place


def make_tool(function: Callable[..., Any], options: ToolOptions, *, strict: bool = False) -> RegisteredTool:
    """A tool from a typed function.

    Raises:
        RegistrationError: what cannot be served, with the function's and the parameter's name.
    """
    handler = Handler.compile(function, strict=strict, thread=options.get("thread"))
    name = options.get("name") or name_of(function)
    if name == "<lambda>":
        raise RegistrationError("a lambda has no name: give one with name=")
    output = _inferred_output(function, options)
    definition = _definition(
        name, options.get("description") or describe(function), handler.arguments.schema, output, options
    )
    return RegisteredTool(
        definition,
        _TypedRunner(handler),
        _shaper(name, output, options),
        _timeout(name, options),
        frozenset(options.get("tags") or ()),
        _headers_of(name, definition.input_schema),
        handler.place,
        scopes_of(options.get("scopes")),
    )


def make_raw_tool(
    name: str, description: str, input_schema: JsonObject, handler: Callable[..., Any], options: ToolOptions
) -> RegisteredTool:
    """A tool from a hand-written schema and a handler of one dict.

    Raises:
        RegistrationError: the schema's root is not an object, the schema is invalid, or the extra is missing.
    """
    if input_schema.get("type") != "object":
        raise RegistrationError(f'the input schema of tool {name!r} must say "type": "object" at its root')
    validate = compile_validator(input_schema, owner=f"the input schema of tool {name!r}")
    runner = _RawRunner(handler, validate, thread=options.get("thread"))
    definition = _definition(name, description, input_schema, None, options)
    return RegisteredTool(
        definition,
        runner,
        _shaper(name, None, options),
        _timeout(name, options),
        frozenset(options.get("tags") or ()),
        _headers_of(name, input_schema),
        runner.place,
        scopes_of(options.get("scopes")),
    )


def _timeout(name: str, options: ToolOptions) -> float | None:
    timeout = options.get("timeout")
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise RegistrationError(f"tool {name!r}: timeout is a number of seconds above 0, not {timeout!r}")
    return timeout


def _inferred_output(function: Callable[..., Any], options: ToolOptions) -> Output | None:
    if options.get("output_schema") not in (None, True):
        return None
    try:
        output = compile_output(function, unstructured=UNSTRUCTURED)
    except TypeError as error:
        raise RegistrationError(f"{error}; or pass output_schema=False to send no structured content") from error
    return None if output.schema is None else output


def _own_schema(options: ToolOptions) -> JsonObject | None:
    schema = options.get("output_schema")
    return schema if isinstance(schema, dict) else None


def _definition(
    name: str, description: str | None, input_schema: JsonObject, output: Output | None, options: ToolOptions
) -> Tool:
    return Tool(
        name=name,
        input_schema=input_schema,
        title=options.get("title"),
        description=description or None,
        output_schema=_own_schema(options) if output is None else output.schema,
        annotations=options.get("annotations"),
        icons=list(options["icons"]) if options.get("icons") else None,
        meta=tagged_meta(options.get("meta"), options.get("tags") or ()),
    )


def _headers_of(name: str, schema: JsonObject) -> tuple[ParamHeader, ...]:
    try:
        return param_headers(schema)
    except ValueError as error:
        raise RegistrationError(f"tool {name!r}: {error}") from error


def _shaper(name: str, output: Output | None, options: ToolOptions) -> Callable[[Any], CallToolResult]:
    """How the values of this tool become results, decided once."""
    if output is not None:
        return _inferred_shaper(name, output)
    own_schema = _own_schema(options)
    if own_schema is not None:
        validate = compile_validator(own_schema, owner=f"the output schema of tool {name!r}")
        return _validated_shaper(name, validate)
    return _unstructured


def _unstructured(value: Any) -> CallToolResult:
    if isinstance(value, ToolResult):
        return _explicit(value)
    return CallToolResult(content=to_content(value))


def _explicit(value: ToolResult) -> CallToolResult:
    structured = UNSET if value.structured is UNSET else to_builtins(value.structured)
    content = to_content(value.content)
    if not content and structured is not UNSET:
        content = to_content(structured)
    return CallToolResult(content=content, structured_content=structured, is_error=value.is_error, meta=value.meta)


def _inferred_shaper(name: str, output: Output) -> Callable[[Any], CallToolResult]:
    check, wrapped = output.check, output.wrapped

    def shape(value: Any) -> CallToolResult:
        if isinstance(value, ToolResult):
            return _checked(name, _explicit(value), output)
        structured = check(value)
        structured = {"result": structured} if wrapped else structured
        return CallToolResult(content=to_content(value), structured_content=structured)

    return shape


def _checked(name: str, result: CallToolResult, output: Output) -> CallToolResult:
    """A `ToolResult` keeps the promise of the return annotation, unless it tells of an error."""
    structured = result.structured_content
    if result.is_error:
        return result
    if structured is UNSET or (
        output.wrapped and not (isinstance(structured, dict) and structured.keys() == {"result"})
    ):
        wanted = '{"result": …}' if output.wrapped else "what its return annotation says"
        raise TypeError(f"tool {name!r} returned a ToolResult whose structured content is not {wanted}")
    output.check(structured["result"] if output.wrapped else structured)
    return result


def _validated_shaper(name: str, validate: Validate) -> Callable[[Any], CallToolResult]:
    def shape(value: Any) -> CallToolResult:
        result = _explicit(value) if isinstance(value, ToolResult) else None
        if result is None:
            result = CallToolResult(content=to_content(value), structured_content=to_builtins(value))
        if result.is_error:
            return result
        faults = validate(None if result.structured_content is UNSET else result.structured_content)
        if faults:
            listed = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
            raise TypeError(f"tool {name!r} returned what its output schema does not allow: {listed}")
        return result

    return shape
