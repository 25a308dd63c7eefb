"""Checks of lists and of tools.

Only lists, unless a tool is known to be harmless or was named by the user.
"""

from typing import Final

from trio_mcp.check.contents import check_content
from trio_mcp.check.findings import Doubt, Fault, NotOffered, Skipped, demand, kind, quoted
from trio_mcp.check.registry import Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.schemas import fault_in_schema, fault_in_value
from trio_mcp.protocol.errors import INVALID_PARAMS
from trio_mcp.protocol.headers import param_headers
from trio_mcp.protocol.revisions import V2025_11_25, V2026_07_28

NAMES: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
LISTS: Final = {
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resources", "resourceTemplates"),
    "prompts/list": ("prompts", "prompts"),
}
NO_TOOL: Final = "trio-mcp-check-no-such-tool"


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
    "server/utilities/caching: Cacheable Results",
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
    """Parameters that are mirrored into headers are named as they may be."""
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
    check_content(result.get("content"), f"content of {quoted(name)}")
    failed = result.get("isError", False)
    demand(isinstance(failed, bool), f"isError is {kind(failed)}, not a boolean")
    if not failed and scene.revision.structured_content and isinstance(tool.get("outputSchema"), dict):
        demand("structuredContent" in result, f"{quoted(name)} has an outputSchema, and no structuredContent came")
        fault = fault_in_value(tool["outputSchema"], result["structuredContent"])
        demand(not fault, f"structuredContent of {quoted(name)} does not fit its outputSchema: {fault}")
    return f"{quoted(name)}{' failed, and said so' if failed else ''}"
