"""Checks of resources, prompts, completion and logging, and what content looks like wherever it comes.

Only reads: a prompt is got, a resource is read or subscribed to for a moment.
"""

from typing import Any, Final

from trio_mcp.check.findings import Fault, NotOffered, Skipped, demand, kind, quoted
from trio_mcp.check.registry import SESSIONS, Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Json
from trio_mcp.protocol.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_03_26, V2026_07_28

NO_PROMPT: Final = "trio-mcp-check-no-such-prompt"
NO_RESOURCE: Final = "trio-mcp-check://no/such/resource"

TEXTS: Final = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
    "resource": (),
}


def check_content(content: Any, name: str) -> None:
    """Blocks of content, as tools give them."""
    if not isinstance(content, list):
        raise Fault(f"{name} is {kind(content)}, not an array")
    for block in content:
        check_block(block, name)


def check_block(block: Any, name: str) -> None:
    """One block of content."""
    if not isinstance(block, dict):
        raise Fault(f"{name} holds {kind(block)}, not an object")
    type = block.get("type")
    if not isinstance(type, str) or type not in TEXTS:
        raise Fault(f"{name} holds the type {quoted(type)}")
    for key in TEXTS[type]:
        demand(isinstance(block.get(key), str), f"{key} of a block of {name} is {kind(block.get(key))}, not a string")
    if type == "resource":
        check_contents([block.get("resource")], name)


def check_contents(contents: Any, name: str) -> None:
    """Contents of a resource."""
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
    check_contents(result.get("contents"), f"contents of {quoted(uri)}")
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
        check_block(message.get("content"), f"a message of {quoted(name)}")
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
    """The method logging/setLevel is answered."""
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
