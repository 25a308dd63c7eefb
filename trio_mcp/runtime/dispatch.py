"""What each method does: a table from method to function, and the boundary where errors become answers.

This is one of the two places that catch `Exception`: what a user's function raises ends here, as text where
it is meant for the client, else as a generic message to the client and one traceback in the log.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from trio_mcp.exceptions import NotFoundError, PromptError, ResourceError, ToolError
from trio_mcp.groups import leaves
from trio_mcp.protocol.errors import INTERNAL_ERROR, McpError, invalid_params, legal_code, method_not_found
from trio_mcp.protocol.revisions import supported_versions
from trio_mcp.protocol.shaping import shape
from trio_mcp.runtime.call import Answer, Call
from trio_mcp.tools import OverdueResult, failure
from trio_mcp.wire.base import UNSET
from trio_mcp.wire.completion import CompleteResult, Completion
from trio_mcp.wire.jsonrpc import encode_error, encode_result
from trio_mcp.wire.lifecycle import DiscoverResult
from trio_mcp.wire.prompts import ListPromptsResult
from trio_mcp.wire.resources import ListResourcesResult, ListResourceTemplatesResult, ReadResourceResult
from trio_mcp.wire.tools import ListToolsResult

_log = logging.getLogger("trio_mcp.dispatch")


async def answer(call: Call) -> Answer:
    """Do what a request asks and encode the answer.

    Cancellation: passes through, and nothing is answered.
    """
    try:
        handler = HANDLERS.get(call.method.name) or call.own_methods.get(call.method.name)
        if handler is None:
            raise method_not_found(call.method.name)
        result = await handler(call)
        data = encode_result(call.id, finished(call, result))
        return Answer(data, None, _outcome(result) if getattr(result, "is_error", False) else "ok")
    except (Exception, SystemExit) as error:  # a function's exit() must not take the server along
        return _failed(call, error)
    except BaseExceptionGroup as group:  # of a nursery: exits, or what a clean-up raised beside Cancelled
        failures, passing = group.split((Exception, SystemExit))
        if passing is None:
            return _failed(call, group)
        if failures is not None:
            _log_failure(call, failures)
        raise passing from None


def finished(call: Call, result: Any) -> Any:
    """The result as the call's revision knows it."""
    server = call.host.server
    return shape(
        result,
        call.revision,
        stamp=server.stamp,
        ttl_ms=round(server.settings.cache_ttl * 1000) if call.method.cacheable else 0,
        cache_scope="public",
    )


def _failed(call: Call, error: BaseException) -> Answer:
    """The answer to a failure, whatever the error is made of: even its text may be no text."""
    try:
        shown = _shown(call, error)
    except Exception:
        _log.exception("the error of %s %r cannot be sent", call.method.name, call.id)
    else:
        if shown is not None:
            return shown
        _log_failure(call, error)
    return _encoded(call, McpError(INTERNAL_ERROR, f"Internal error in {call.method.name}: see the server's log"))


def _shown(call: Call, error: BaseException) -> Answer | None:
    """The answer where the error is meant for the client; None where it is not."""
    found = leaves(error)
    if call.method.name == "tools/call" and all(isinstance(leaf, trio.TooSlowError) for leaf in found):
        result = failure(f"{call.params.name} gave up: what it waited for took too long")
        return Answer(encode_result(call.id, finished(call, result)), None, "timeout")
    shown = [leaf for leaf in found if isinstance(leaf, (McpError, ToolError, ResourceError, PromptError))]
    if len(shown) < len(found):
        return None
    first = shown[0]
    if call.method.name == "tools/call" and all(isinstance(leaf, ToolError) for leaf in shown):
        result = failure("\n".join(str(leaf) for leaf in shown))
        return Answer(encode_result(call.id, finished(call, result)), None, "failed")
    if isinstance(first, McpError):
        return _encoded(call, first)
    if isinstance(first, NotFoundError):
        return _encoded(call, McpError(call.revision.resource_not_found_code, str(first), {"uri": first.uri}))
    return _encoded(call, McpError(INTERNAL_ERROR, str(first)))


def _outcome(result: Any) -> str:
    """What a tool's result with `isError` counts as."""
    return "timeout" if isinstance(result, OverdueResult) else "failed"


def _log_failure(call: Call, error: BaseException) -> None:
    facts = {"method": call.method.name, "request_id": call.id}
    if call.session_id is not None:
        facts["session"] = call.session_id[:8]
    if call.method.name == "tools/call":
        facts["tool"] = call.params.name
    _log.error("%s %r failed", call.method.name, call.id, exc_info=error, extra=facts)


def _encoded(call: Call, error: McpError) -> Answer:
    code = legal_code(error.code, per_request=call.revision.per_request)
    try:
        data = encode_error(call.id, code, error.message, error.data)
    except (TypeError, ValueError, RecursionError):
        _log.exception("the data of an error is not JSON-able")
        data = encode_error(call.id, code, error.message, UNSET)
    return Answer(data, code, "error")


# Methods


async def _discover(call: Call) -> DiscoverResult:
    server = call.host.server
    return DiscoverResult(
        supported_versions=list(supported_versions(sessions=server.settings.sessions)),
        capabilities=server.capabilities(),
        instructions=server.instructions,
    )


async def _list_tools(call: Call) -> ListToolsResult:
    server = call.host.server
    page, following = server.page(server.tools, call.params.cursor)
    return ListToolsResult(tools=[tool.definition for tool in page], next_cursor=following)


async def _list_resources(call: Call) -> ListResourcesResult:
    server = call.host.server
    page, following = server.page(server.resources, call.params.cursor)
    return ListResourcesResult(resources=[item.definition for item in page], next_cursor=following)


async def _list_templates(call: Call) -> ListResourceTemplatesResult:
    server = call.host.server
    page, following = server.page(server.templates, call.params.cursor)
    return ListResourceTemplatesResult(resource_templates=[item.definition for item in page], next_cursor=following)


async def _list_prompts(call: Call) -> ListPromptsResult:
    server = call.host.server
    page, following = server.page(server.prompts, call.params.cursor)
    return ListPromptsResult(prompts=[item.definition for item in page], next_cursor=following)


def _call_tool(call: Call) -> Awaitable[Any]:
    server, params = call.host.server, call.params
    tool = server.tools.get(params.name)
    if tool is None:
        raise invalid_params(f"Unknown tool: {params.name}")
    return tool.call(params.arguments, call.context, server.limiter, server.settings.tool_deadline(tool.timeout))


async def _read_resource(call: Call) -> ReadResourceResult:
    return ReadResourceResult(contents=await call.read_resource(call.params.uri))


async def _get_prompt(call: Call) -> Any:
    server, params = call.host.server, call.params
    prompt = server.prompts.get(params.name)
    if prompt is None:
        raise invalid_params(f"Unknown prompt: {params.name}")
    return await prompt.get(params.arguments, call.context, server.limiter)


async def _complete(call: Call) -> CompleteResult:
    server, params = call.host.server, call.params
    ref = params.ref.name if params.ref.type == "ref/prompt" else params.ref.uri
    if ref is None:
        raise invalid_params(
            f"Invalid params: {params.ref.type} needs {'name' if params.ref.type == 'ref/prompt' else 'uri'}"
        )
    known = server.prompts if params.ref.type == "ref/prompt" else {**server.templates, **server.resources}
    if ref not in known:
        raise invalid_params(f"Unknown {params.ref.type}: {ref}")
    registered = server.completions.get((ref, params.argument.name))
    if registered is None:
        return CompleteResult(completion=Completion(values=[], total=0, has_more=False))
    return CompleteResult(completion=await registered.complete(params, call.context, server.limiter))


Handler = Callable[[Call], Awaitable[Any]]

#: Methods that mean the same in both eras; `session` and `per_request` add their own.
HANDLERS: Final[dict[str, Handler]] = {
    "server/discover": _discover,
    "tools/list": _list_tools,
    "tools/call": _call_tool,
    "resources/list": _list_resources,
    "resources/templates/list": _list_templates,
    "resources/read": _read_resource,
    "prompts/list": _list_prompts,
    "prompts/get": _get_prompt,
    "completion/complete": _complete,
}
