"""Checks of what servers offer: tools, resources, prompts, completion, logging, and lists over several pages.

Only lists and reads, unless a tool is known to be harmless or was named by the user.
"""

from typing import Any, Final

from trio_mcp.check.findings import Doubt, Fault, NotOffered, Skipped, demand, kind, quoted
from trio_mcp.check.registry import SESSIONS, Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.schemas import fault_in_schema, fault_in_value
from trio_mcp.check.talk import Json
from trio_mcp.protocol.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND
from trio_mcp.protocol.headers import param_headers
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_03_26, V2025_11_25, V2026_07_28

NAMES: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resources", "resourceTemplates"),
    "prompts/list": ("prompts", "prompts"),
}
NO_TOOL: Final = "trio-mcp-check-no-such-tool"
NO_PROMPT: Final = "trio-mcp-check-no-such-prompt"
NO_RESOURCE: Final = "trio-mcp-check://no/such/resource"


async def _agrees(scene: Scene, capability: str, *methods: str) -> str:
    """What a capability says and what the lists answer are the same."""
    declared = capability in scene.capabilities
    counts = []
    for method in methods:
        key = LISTS[method][1]
        if declared:
            counts.append(f"{len(await scene.listing(method, key))} {key}")
            continue
        result = (await scene.talk.ask(method)).result
        demand(not (result and result.get(key)), f"{method} has items, and the capability {capability} is not declared")
    if not declared:
        raise NotOffered(f"the capability {capability} is not declared")
    return ", ".join(counts)


@check("tools.list", "server/tools: Capabilities")
async def tools_list(scene: Scene) -> str | None:
    """Tools are declared where they are listed."""
    return await _agrees(scene, "tools", "tools/list")


@check("resources.list", "server/resources: Capabilities")
async def resources_list(scene: Scene) -> str | None:
    """Resources are declared where they are listed."""
    return await _agrees(scene, "resources", "resources/list", "resources/templates/list")


@check("prompts.list", "server/prompts: Capabilities")
async def prompts_list(scene: Scene) -> str | None:
    """Prompts are declared where they are listed."""
    return await _agrees(scene, "prompts", "prompts/list")


@check(
    "lists.cursor",
    "server/utilities/pagination: Error Handling",
    level=Level.SHOULD,
)
async def invalid_cursor(scene: Scene) -> str | None:
    """An invalid cursor is -32602."""
    asked = 0
    for method, (capability, _) in LISTS.items():
        if capability in scene.capabilities:
            (await scene.talk.ask(method, {"cursor": "trio-mcp-check-no-such-cursor"})).expect_error(INVALID_PARAMS)
            asked += 1
    if not asked:
        raise NotOffered("there are no lists")
    return None


@check(
    "lists.stable",
    "server/tools: Listing Tools",
    level=Level.SHOULD,
    since=V2026_07_28,
)
async def stable(scene: Scene) -> str | None:
    """A list has the same order each time."""
    first = [tool.get("name") for tool in await scene.tools()]
    again = [tool.get("name") for tool in await scene.listing("tools/list", "tools")]
    demand(first == again, "tools/list gave another order the second time")
    return None


@check(
    "lists.caching",
    "server/utilities/caching: Server Behavior",
    since=V2026_07_28,
)
async def caching(scene: Scene) -> str | None:
    """Lists say how long they may be kept, and by whom."""
    results = {"server/discover": scene.opening}
    for method, (capability, _) in LISTS.items():
        if capability in scene.capabilities:
            results[method] = await scene.talk.result(method)
    for method, result in results.items():
        ttl, whose = result.get("ttlMs"), result.get("cacheScope")
        good = isinstance(ttl, int) and not isinstance(ttl, bool) and ttl >= 0
        demand(good, f"ttlMs of {method} is {quoted(ttl)}, not an integer from 0")
        demand(whose in ("public", "private"), f"cacheScope of {method} is {quoted(whose)}, not public or private")
    return None


# Tools


@check("tools.schemas", "server/tools: Tool")
async def schemas(scene: Scene) -> str | None:
    """Every tool has a name and valid JSON Schemas."""
    tools = await scene.tools()
    for tool in tools:
        name = tool.get("name")
        demand(isinstance(name, str), f"a tool's name is {kind(name)}, not a string")
        schema = tool.get("inputSchema")
        demand(isinstance(schema, dict), f"inputSchema of {quoted(name)} is {kind(schema)}, not an object")
        assert isinstance(schema, dict)
        demand(schema.get("type") == "object", f"inputSchema of {quoted(name)} has no type object")
        for key in ("inputSchema", "outputSchema"):
            if key in tool:
                fault = fault_in_schema(tool[key])
                demand(not fault, f"{key} of {quoted(name)}: {fault}")
    return f"{len(tools)} tools"


@check(
    "tools.names",
    "server/tools: Tool Names",
    level=Level.SHOULD,
    since=V2025_11_25,
)
async def names(scene: Scene) -> str | None:
    """Tools have names of 1 to 128 plain characters, each once."""
    seen = set()
    for tool in await scene.tools():
        name = tool.get("name")
        if not isinstance(name, str):
            raise Skipped("a tool has no name")
        demand(1 <= len(name) <= 128, f"{quoted(name)} has {len(name)} characters")
        demand(NAMES.issuperset(name), f"{quoted(name)} holds other characters than letters, digits, _ - .")
        demand(name not in seen, f"two tools are called {quoted(name)}")
        seen.add(name)
    return None


@check(
    "tools.headers",
    "server/tools: x-mcp-header",
    on=("http",),
    since=V2026_07_28,
)
async def mirrored_parameters(scene: Scene) -> str | None:
    """X-mcp-header names are valid."""
    found = 0
    for tool in await scene.tools():
        schema = tool.get("inputSchema")
        try:
            found += len(param_headers(schema if isinstance(schema, dict) else {}))
        except (ValueError, RecursionError) as error:
            raise Fault(f"{quoted(tool.get('name'))}: {error}") from None
    if not found:
        raise NotOffered("no tool has one")
    return f"{found} parameters"


@check("tools.unknown", "server/tools: Error Handling", level=Level.SHOULD)
async def unknown_tool(scene: Scene) -> str | None:
    """An unknown tool is the error -32602."""
    if "tools" not in scene.capabilities:
        raise NotOffered("no tools are declared")
    answer = await scene.talk.ask("tools/call", {"name": NO_TOOL, "arguments": {}})
    if answer.result is not None and answer.result.get("isError") is True:
        raise Doubt("it is a result with isError, not an error")
    answer.expect_error(INVALID_PARAMS)
    return None


@check("tools.call", "server/tools: Calling Tools")
async def call(scene: Scene) -> str | None:
    """A call gives content."""
    tool, arguments = await scene.callable_tool()
    name = str(tool.get("name"))
    result = await scene.talk.result("tools/call", {"name": name, "arguments": arguments})
    if result.get("resultType") == "input_required":
        return f"{quoted(name)} asks for input"
    _check_content(result.get("content"), f"content of {quoted(name)}")
    failed = result.get("isError", False)
    demand(isinstance(failed, bool), f"isError is {kind(failed)}, not a boolean")
    if not failed and scene.revision.structured_content and isinstance(tool.get("outputSchema"), dict):
        demand("structuredContent" in result, f"{quoted(name)} has an outputSchema, and no structuredContent came")
        fault = fault_in_value(tool["outputSchema"], result["structuredContent"])
        demand(not fault, f"structuredContent of {quoted(name)} does not fit its outputSchema: {fault}")
    return f"{quoted(name)}{' failed, and said so' if failed else ''}"


_TEXTS: Final = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
    "resource": (),
}


def _check_content(content: Any, name: str) -> None:
    if not isinstance(content, list):
        raise Fault(f"{name} is {kind(content)}, not an array")
    for block in content:
        _check_block(block, name)


def _check_block(block: Any, name: str) -> None:
    if not isinstance(block, dict):
        raise Fault(f"{name} holds {kind(block)}, not an object")
    type = block.get("type")
    if not isinstance(type, str) or type not in _TEXTS:
        raise Fault(f"{name} holds the type {quoted(type)}")
    for key in _TEXTS[type]:
        demand(isinstance(block.get(key), str), f"{key} of a block of {name} is {kind(block.get(key))}, not a string")
    if type == "resource":
        _check_contents([block.get("resource")], name)


def _check_contents(contents: Any, name: str) -> None:
    if not isinstance(contents, list):
        raise Fault(f"{name} are {kind(contents)}, not an array")
    for part in contents:
        if not isinstance(part, dict):
            raise Fault(f"{name} hold {kind(part)}, not an object")
        demand(isinstance(part.get("uri"), str), f"{name} have no uri")
        has = [key for key in ("text", "blob") if isinstance(part.get(key), str)]
        demand(len(has) == 1, f"{name} have {' and '.join(has) or 'neither text nor blob'}")


# Resources


@check("resources.read", "server/resources: Reading Resources")
async def read(scene: Scene) -> str | None:
    """A listed resource can be read."""
    resources = await scene.resources()
    for resource in resources:
        for key in ("uri", "name"):
            demand(isinstance(resource.get(key), str), f"{key} of a resource is {kind(resource.get(key))}")
    if not resources:
        raise NotOffered("there are no resources, as far as lists show")
    uri = resources[0]["uri"]
    result = await scene.talk.result("resources/read", {"uri": uri})
    if result.get("resultType") == "input_required":
        return f"{quoted(uri)} asks for input"
    _check_contents(result.get("contents"), f"contents of {quoted(uri)}")
    return quoted(uri)


async def _unknown_resource(scene: Scene, code: int) -> str | None:
    if "resources" not in scene.capabilities:
        raise NotOffered("no resources are declared")
    answer = await scene.talk.ask("resources/read", {"uri": NO_RESOURCE})
    demand(answer.error is not None, "it was answered with a result")
    answer.expect_error(code)
    return None


@check(
    "resources.unknown",
    "server/resources: Error Handling",
    level=Level.SHOULD,
    until=LATEST_SESSION,
)
async def unknown_resource(scene: Scene) -> str | None:
    """An unknown resource is the error -32002."""
    return await _unknown_resource(scene, RESOURCE_NOT_FOUND)


@check(
    "resources.unknown-params",
    "server/resources: Error Handling",
    since=V2026_07_28,
)
async def unknown_resource_params(scene: Scene) -> str | None:
    """An unknown resource is the error -32602."""
    return await _unknown_resource(scene, INVALID_PARAMS)


@check(
    "resources.subscribe",
    "server/resources: Subscriptions",
    on=SESSIONS,
    until=LATEST_SESSION,
)
async def subscribe(scene: Scene) -> str | None:
    """A resource can be subscribed to."""
    declared = scene.capabilities.get("resources")
    if not isinstance(declared, dict) or declared.get("subscribe") is not True:
        raise NotOffered("resources.subscribe is not declared")
    resources = await scene.resources()
    if not resources or not isinstance(resources[0].get("uri"), str):
        raise Skipped("there is no resource")
    for method in ("resources/subscribe", "resources/unsubscribe"):
        await scene.talk.result(method, {"uri": resources[0]["uri"]})
    return None


# Prompts, completion, logging


@check("prompts.get", "server/prompts: Getting a Prompt")
async def get_prompt(scene: Scene) -> str | None:
    """A listed prompt gives messages."""
    prompts = await scene.prompts()
    plain = [prompt for prompt in prompts if not any(one.get("required") for one in _arguments(prompt))]
    if not prompts:
        raise NotOffered("there are no prompts")
    if not plain:
        raise Skipped("every prompt has required arguments")
    name = plain[0].get("name")
    result = await scene.talk.result("prompts/get", {"name": name})
    if result.get("resultType") == "input_required":
        return f"{quoted(name)} asks for input"
    messages = result.get("messages")
    if not isinstance(messages, list):
        raise Fault(f"messages of {quoted(name)} are {kind(messages)}, not an array")
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise Fault(f"a message of {quoted(name)} has no role of user or assistant")
        _check_block(message.get("content"), f"a message of {quoted(name)}")
    return quoted(name)


def _arguments(prompt: Json) -> list[Json]:
    arguments = prompt.get("arguments")
    found = arguments if isinstance(arguments, list) else []
    return [argument for argument in found if isinstance(argument, dict)]


@check("prompts.unknown", "server/prompts: Error Handling", level=Level.SHOULD)
async def unknown_prompt(scene: Scene) -> str | None:
    """An unknown prompt is the error -32602."""
    if "prompts" not in scene.capabilities:
        raise NotOffered("no prompts are declared")
    (await scene.talk.ask("prompts/get", {"name": NO_PROMPT})).expect_error(INVALID_PARAMS)
    return None


@check(
    "completion",
    "server/utilities/completion: Requesting Completions",
    since=V2025_03_26,
)
async def completion(scene: Scene) -> str | None:
    """An argument of a prompt is completed."""
    if "completions" not in scene.capabilities:
        raise NotOffered("the capability completions is not declared")
    for prompt in await scene.prompts():
        for argument in _arguments(prompt):
            asked = {
                "ref": {"type": "ref/prompt", "name": prompt.get("name")},
                "argument": {"name": argument.get("name"), "value": ""},
            }
            result = await scene.talk.result("completion/complete", asked)
            return _completed(result.get("completion"))
    raise Skipped("no prompt has an argument")


def _completed(found: Any) -> str:
    values = found.get("values") if isinstance(found, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Fault(f"completion.values are {kind(values)}, not an array of strings")
    demand(len(values) <= 100, f"there are {len(values)} values, and 100 is the most")
    return f"{len(values)} values"


@check(
    "logging.level",
    "server/utilities/logging: Setting Log Level",
    on=SESSIONS,
    until=LATEST_SESSION,
)
async def set_level(scene: Scene) -> str | None:
    """Logging/setLevel is answered."""
    if "logging" not in scene.capabilities:
        raise NotOffered("the capability logging is not declared")
    await scene.talk.result("logging/setLevel", {"level": "emergency"})
    return None


@check(
    "logging.invalid-level",
    "server/utilities/logging: Error Handling",
    level=Level.SHOULD,
    on=SESSIONS,
    until=LATEST_SESSION,
)
async def invalid_level(scene: Scene) -> str | None:
    """An unknown log level is -32602."""
    if "logging" not in scene.capabilities:
        raise NotOffered("the capability logging is not declared")
    (await scene.talk.ask("logging/setLevel", {"level": "shouting"})).expect_error(INVALID_PARAMS)
    return None
