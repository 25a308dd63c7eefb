"""Tools called by their own names: the method is the name, the params are the arguments, the result is the value.

A habit of the notifications dialect (docs/transports.md). What fails is a JSON-RPC error, for there is no `isError`. It
refuses to decide which names are tools and which are methods: the dialect does.
"""

from typing import Any, Final

import msgspec
import trio

from trio_mcp.protocol.errors import INTERNAL_ERROR, McpError, invalid_params, method_not_found
from trio_mcp.protocol.methods import Method
from trio_mcp.runtime.call import Call
from trio_mcp.runtime.scopes import CALL_BY_NAME
from trio_mcp.schema import ArgumentsError
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.content import TextContent
from trio_mcp.wire.jsonrpc import Request
from trio_mcp.wire.tools import CallToolParams

#: No method that a client can name: it stands for all tools called by their names.
BY_NAME: Final = Method(name=CALL_BY_NAME, params=CallToolParams)

_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_by_name(request: Request) -> CallToolParams:
    """The parameters of `tools/call` that a request by name stands for; `_meta` is no argument.

    Raises:
        McpError: -32602; `_meta` is malformed.
    """
    if b'"_meta"' not in bytes(request.params):
        return CallToolParams(name=request.method, arguments=request.params)
    try:
        arguments = _read_members(request.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_params(f"Invalid params for {request.method}: {error}") from None
    standard: dict[str, Any] = {"name": request.method}
    if "_meta" in arguments:
        standard["_meta"] = arguments.pop("_meta")
    standard["arguments"] = arguments
    params: CallToolParams = BY_NAME.read(msgspec.Raw(msgspec.json.encode(standard)))
    return params


async def call_by_name(call: Call) -> Any:
    """The tool's structured value as its output schema says; the whole result where it has none.

    Cancellation: as `Handler.call`.

    Raises:
        McpError: -32602 for arguments that do not fit, -32603 with the tool's own words for a failure.
        Exception: whatever else the function raises; `runtime.dispatch` turns that into a generic message.
    """
    server, params = call.host.server, call.params
    tool = server.tools.get(params.name)
    if tool is None:  # removed since it was taken in
        raise method_not_found(params.name)
    seconds = server.settings.tool_deadline(tool.timeout)
    try:
        with trio.move_on_after(seconds) as timeout_scope:
            result = tool.shape(await tool.runner(params.arguments, call.context, server.limiter))
    except ArgumentsError as error:
        raise invalid_params(f"Invalid params for {params.name}: {error}") from None
    except trio.TooSlowError:
        raise McpError(INTERNAL_ERROR, f"{params.name} gave up: what it waited for took too long") from None
    if timeout_scope.cancelled_caught:
        raise McpError(INTERNAL_ERROR, f"{params.name} timed out after {seconds:g} s")
    if result.is_error:
        words = [block.text for block in result.content if isinstance(block, TextContent)]
        raise McpError(INTERNAL_ERROR, "\n".join(words) or f"{params.name} failed")
    if result.structured_content is not UNSET:
        return result.structured_content
    return result
