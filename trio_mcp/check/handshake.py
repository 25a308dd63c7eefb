"""Checks of the handshake: `initialize` of the session era, `server/discover` of 2026-07-28."""

from typing import Any

from trio_mcp.check.findings import Doubt, Fault, demand, kind, quoted
from trio_mcp.check.registry import MCP, Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import Json, initialize_params
from trio_mcp.protocol.revisions import LATEST_SESSION, REVISIONS, V2026_07_28
from trio_mcp.wire.base import SERVER_INFO_KEY

NOBODY_KNOWS = "1999-12-31"
"""A version that no server has."""


@check(
    "initialize.result",
    "basic/lifecycle: Version Negotiation",
    until=LATEST_SESSION,
)
async def initialize_result(scene: Scene) -> str | None:
    """The answer to initialize has the version that was asked for."""
    opening = scene.opening
    demand(opening.get("protocolVersion") == scene.revision.version, "the version is another one")
    _instructions(opening)
    return None


@check("initialize.server-info", "basic/lifecycle: Initialization", until=LATEST_SESSION)
async def server_info(scene: Scene) -> str | None:
    """The server has a name and a version."""
    return _implementation(scene.opening.get("serverInfo"), "serverInfo")


@check("initialize.capabilities", "basic/lifecycle: Capability Negotiation", until=LATEST_SESSION)
async def initialize_capabilities(scene: Scene) -> str | None:
    """Capabilities are objects."""
    return _capabilities(scene.opening)


@check(
    "initialize.unknown-version",
    "basic/lifecycle: Version Negotiation",
    until=LATEST_SESSION,
)
async def unknown_version(scene: Scene) -> str | None:
    """A version that nobody knows is answered with a supported one."""
    talk = scene.make()
    try:
        await talk.begin()
        answer = await talk.ask("initialize", initialize_params(NOBODY_KNOWS))
        version = answer.expect_result().get("protocolVersion")
    finally:
        await talk.aclose()
    demand(isinstance(version, str), f"protocolVersion is {kind(version)}, not a string")
    demand(version != NOBODY_KNOWS, f"{NOBODY_KNOWS} was agreed to")
    if version not in REVISIONS:
        raise Doubt(f"the answer is {quoted(version)}, which is no revision of the protocol")
    return f"answered with {version}"


@check(
    "discover.result",
    "server/discover: Response",
    since=V2026_07_28,
)
async def discover_result(scene: Scene) -> str | None:
    """The answer to server/discover names this version among those it supports."""
    versions = scene.opening.get("supportedVersions")
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        raise Fault(f"supportedVersions is {kind(versions)}, not an array of strings")
    demand(scene.revision.version in versions, f"supportedVersions are {quoted(', '.join(versions))}")
    _instructions(scene.opening)
    return None


@check("discover.capabilities", "server/discover: Response", since=V2026_07_28)
async def discover_capabilities(scene: Scene) -> str | None:
    """Capabilities are objects."""
    return _capabilities(scene.opening)


@check(
    "discover.server-info",
    "basic/index: _meta",
    level=Level.SHOULD,
    since=V2026_07_28,
)
async def stamped_server_info(scene: Scene) -> str | None:
    """Results carry serverInfo in their _meta."""
    meta = scene.opening.get("_meta")
    demand(isinstance(meta, dict), f"_meta of server/discover is {kind(meta)}, not an object")
    assert isinstance(meta, dict)
    return _implementation(meta.get(SERVER_INFO_KEY), SERVER_INFO_KEY)


@check(
    "discover.result-type",
    "basic/index: ResultType",
    since=V2026_07_28,
    on=MCP,
)
async def result_type(scene: Scene) -> str | None:
    """Results say resultType."""
    found = {"server/discover": scene.opening}
    if "tools" in scene.capabilities:
        found["tools/list"] = await scene.talk.result("tools/list")
    for method, result in found.items():
        said = result.get("resultType")
        demand(said == "complete", f"resultType of {method} is {quoted(said)}, not complete")
    return None


def _instructions(opening: Json) -> None:
    found = opening.get("instructions")
    demand(found is None or isinstance(found, str), f"instructions are {kind(found)}, not a string")


def _implementation(info: Any, name: str) -> str:
    demand(isinstance(info, dict), f"{name} is {kind(info)}, not an object")
    for key in ("name", "version"):
        demand(isinstance(info.get(key), str), f"{key} of {name} is {kind(info.get(key))}, not a string")
    return f"{quoted(info['name'])} {quoted(info['version'])}"


def _capabilities(opening: Json) -> str:
    found = opening.get("capabilities")
    if not isinstance(found, dict):
        raise Fault(f"capabilities are {kind(found)}, not an object")
    for name, value in found.items():
        demand(isinstance(value, dict), f"the capability {quoted(name)} is {kind(value)}, not an object")
    return ", ".join(sorted(found)) or "none"
