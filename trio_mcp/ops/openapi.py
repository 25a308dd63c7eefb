"""`GET /openapi.json`: what is served over HTTP, as OpenAPI 3.1.

OpenAPI knows a path and a method only once, and here every tool is called by a POST to one path. So the requests of
that operation are `anyOf` one schema for each tool (`echo.call`, with the tool's own `inputSchema`) and any other
request; the answers likewise. `POST /message` answers directly and is the one to try; on the MCP endpoint the same call
belongs to a session, or carries its own metadata. Paths of their own would be a second way to call, and to secure.

It refuses to say who may call: that depends on how the server is run.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from trio_mcp.handlers import describe, name_of
from trio_mcp.ops.health import OPEN_PATHS
from trio_mcp.routes import METHODS, RegisteredRoute
from trio_mcp.server import Server
from trio_mcp.wire.base import JsonObject
from trio_mcp.wire.tools import Tool

PATH: Final = "/openapi.json"
_VERSION: Final = "3.1.1"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
#: Keywords whose values are data: what looks like a reference in them is none.
_DATA: Final = frozenset({"const", "enum", "default", "example", "examples"})

#: Keywords below which keys are names, not keywords.
_NAMING: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})

_OBJECT: Final[JsonObject] = {"type": "object"}
_ID: Final[JsonObject] = {"type": ["string", "integer"]}
_RPC: Final[JsonObject] = {"const": "2.0"}
_LIST: Final[JsonObject] = {"type": "array", "items": {"type": "object"}}
_COUNT: Final[JsonObject] = {"type": "integer", "minimum": 0}


def _object(properties: JsonObject, required: Iterable[str] = (), **more: Any) -> JsonObject:
    return {"type": "object", "properties": properties, "required": sorted(required), **more}


_SCHEMAS: Final[dict[str, JsonObject]] = {
    "Request": _object(
        {"jsonrpc": _RPC, "id": _ID, "method": {"type": "string"}, "params": _OBJECT}, ("jsonrpc", "id", "method")
    ),
    "Notification": _object(
        {"jsonrpc": _RPC, "method": {"type": "string"}, "params": _OBJECT},
        ("jsonrpc", "method"),
        **{"not": {"required": ["id"]}},
    ),
    "Result": _object({"jsonrpc": _RPC, "id": _ID, "result": _OBJECT}, ("jsonrpc", "id", "result")),
    "Error": _object(
        {
            "jsonrpc": _RPC,
            "id": {"type": ["string", "integer", "null"]},
            "error": _object(
                {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {}}, ("code", "message")
            ),
        },
        ("jsonrpc", "error"),
    ),
    "ToolResult": _object({"content": _LIST, "structuredContent": {}, "isError": {"type": "boolean"}}, ("content",)),
    "Health": _object(
        {
            "status": {"const": "healthy"},
            "state": {"enum": ["starting", "ready", "draining", "stopped"]},
            "timestamp": {"type": "string", "format": "date-time"},
            "active_connections": _COUNT,
            "sessions": _COUNT,
            "calls": _COUNT,
            "server": {"type": "string"},
            "version": {"type": "string"},
            "uptime": {"type": "number", "minimum": 0},
            "worker": _COUNT,
        },
        ("status", "state", "timestamp", "sessions", "calls", "server", "version", "uptime"),
    ),
    "Ready": _object({"status": {"enum": ["starting", "ready", "draining", "stopped"]}}, ("status",)),
}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(text: str, *content: str, schema: JsonObject | None = None) -> JsonObject:
    """A response; with `schema`, of its JSON."""
    media: JsonObject = {kind: {} for kind in content}
    if schema is not None:
        media[_JSON] = {"schema": schema}
    return {"description": text, "content": media} if media else {"description": text}


def _operation(id: str, summary: str, responses: JsonObject, **more: Any) -> JsonObject:
    return {"operationId": id, "summary": summary, "responses": responses, **more}


def _parameter(name: str, where: str, *, required: bool = False, text: str = "") -> JsonObject:
    said = {"description": text} if text else {}
    return {"name": name, "in": where, "required": required, "schema": {"type": "string"}, **said}


_STREAM: Final = _answer("a stream of events", _EVENTS)
_SESSION: Final = _parameter("Mcp-Session-Id", "header", text="the session, as initialize named it")


def _get(id: str, summary: str, **responses: Any) -> JsonObject:
    return {"get": _operation(id, summary, {name.removeprefix("_"): each for name, each in responses.items()})}


#: What the server's own paths answer, but for those where tools are called.
_OWN: Final[dict[str, JsonObject]] = {
    "/health": _get("health", "Whether the process works", _200=_answer("it does", schema=_ref("Health"))),
    "/ready": _get(
        "ready",
        "Whether new work is taken",
        _200=_answer("it is", schema=_ref("Ready")),
        _503=_answer("it is not", schema=_ref("Ready")),
    ),
    "/metrics": _get(
        "metrics",
        "Metrics for Prometheus",
        _200=_answer("metrics", "text/plain"),
        _501=_answer("an extra is missing", "text/plain"),
    ),
    "/tools": _get("tools", "All tools", _200=_answer("definitions", schema=_object({"tools": _LIST}, ["tools"]))),
    "/resources": _get(
        "resources",
        "All resources and templates",
        _200=_answer("definitions", schema=_object({"resources": _LIST, "resourceTemplates": _LIST}, ["resources"])),
    ),
    "/prompts": _get(
        "prompts", "All prompts", _200=_answer("definitions", schema=_object({"prompts": _LIST}, ["prompts"]))
    ),
    PATH: _get("openapi", "This document", _200=_answer("OpenAPI", schema=_OBJECT)),
    "/docs": _get("docs", "A page that lists and calls tools", _200=_answer("the page", "text/html")),
    "/introspection": _get(
        "introspection",
        "What the server does now",
        _200=_answer("sessions, calls and their deadlines", schema=_OBJECT),
        _403=_answer("it is for the operator", schema=_ref("Error")),
    ),
    "/introspection/events": _get(
        "introspection_events", "The same at every change", _200=_STREAM, _403=_answer("refused", schema=_ref("Error"))
    ),
    "/sse": _get("sse", "Open a session of HTTP with SSE", _200=_STREAM),
    "/notifications": _get("notifications", "Open a session of the notifications dialect", _200=_STREAM),
}


def document(server: Server, *, path: str, mounted: Collection[str]) -> JsonObject:
    """The description of a server's HTTP surface.

    Args:
        path: of the MCP endpoint.
        mounted: the other paths that are served, `/health` and `/ready` understood; those that are not known here
            are left out.
    """
    schemas = {**_SCHEMAS}
    calls, results = _tools(server, schemas)
    paths: JsonObject = {path: _endpoint(calls, results)}
    if "/message" in mounted:
        paths["/message"] = {"post": _posted("message", "Call a tool, and have the answer at once", calls, results)}
    if "/messages" in mounted:
        parameter = _parameter("session_id", "query", required=True, text="from the stream's first event")
        sent = _posted("messages", "Send a message of an SSE session", calls, None, parameters=[parameter])
        paths["/messages"] = {"post": sent}
    paths |= {known: _OWN[known] for known in _OWN if known in mounted or known in OPEN_PATHS}
    for route in server.routes:
        paths.setdefault(route.path, {}).update(_custom(route))
    info = {"title": server.info.title or server.name, "version": server.info.version}
    if server.instructions:
        info["description"] = server.instructions
    return {"openapi": _VERSION, "info": info, "paths": paths, "components": {"schemas": schemas}}


def _endpoint(calls: list[JsonObject], results: list[JsonObject]) -> JsonObject:
    post = _posted("mcp_post", "Send a message", calls, results, parameters=[_SESSION])
    post["responses"]["200"]["content"][_EVENTS] = {}
    return {
        "post": post,
        "get": _operation("mcp_get", "Open a session's stream", {"200": _STREAM}, parameters=[_SESSION]),
        "delete": _operation("mcp_delete", "End a session", {"204": _answer("it ended")}, parameters=[_SESSION]),
    }


def _posted(
    id: str, summary: str, calls: list[JsonObject], results: list[JsonObject] | None, **more: Any
) -> JsonObject:
    """An operation that takes a message; with `results` it answers with one of them."""
    message = {"anyOf": [*calls, _ref("Request"), _ref("Notification")]}
    answers: JsonObject = {"202": _answer("taken in")}
    if results is not None:
        answers["200"] = _answer("the answer", schema={"anyOf": [*results, _ref("Result"), _ref("Error")]})
    answers["default"] = _answer("what is wrong", schema=_ref("Error"))
    body = {"required": True, "content": {_JSON: {"schema": message}}}
    return _operation(id, summary, answers, requestBody=body, **more)


def _custom(route: RegisteredRoute) -> JsonObject:
    """The operations of a custom route."""
    names = [_parameter(name, "path", required=True) for name in route.names]
    found: JsonObject = {}
    for method in METHODS:
        if method in route.methods and not (method == "HEAD" and "GET" in route.methods):
            id = f"{name_of(route.function)}_{method.lower()}_{_NOT_IN_A_NAME.sub('_', route.path)}"
            summary = (describe(route.function) or name_of(route.function)).partition("\n")[0]
            more = {"parameters": names} if names else {}
            found[method.lower()] = _operation(id, summary, {"default": _answer("the answer")}, **more)
    return found


# Tools


def _tools(server: Server, schemas: dict[str, JsonObject]) -> tuple[list[JsonObject], list[JsonObject]]:
    """Put what calls of each tool look like into `schemas`; references to the calls, and to their results."""
    calls: list[JsonObject] = []
    results: list[JsonObject] = []
    for tool in server.tools.values():
        name = _free(tool.name, schemas)
        schemas.update(_of_tool(name, tool.definition))
        calls.append(_ref(f"{name}.call"))
        results.append(_ref(f"{name}.result"))
    return calls, results


def _free(name: str, schemas: Mapping[str, Any]) -> str:
    """A name of a component for a tool: two names may differ in what components cannot be called."""
    name = free = _NOT_IN_A_NAME.sub("_", name)
    number = 1
    while f"{free}.call" in schemas:
        number += 1
        free = f"{name}_{number}"
    return free


def _of_tool(name: str, tool: Tool) -> dict[str, JsonObject]:
    found = {f"{name}.arguments": _placed(tool.input_schema, f"{name}.arguments")}
    params = _object({"name": {"const": tool.name}, "arguments": _ref(f"{name}.arguments")}, ["name"])
    if tool.input_schema.get("required"):
        params["required"] = ["name", "arguments"]
    said = {"description": tool.description} if tool.description else {}
    members: JsonObject = {"jsonrpc": _RPC, "id": _ID, "method": {"const": "tools/call"}, "params": params}
    found[f"{name}.call"] = _object(members, members, title=tool.title or tool.name, **said)
    result = _ref("ToolResult")
    if tool.output_schema is not None:
        found[f"{name}.output"] = _placed(tool.output_schema, f"{name}.output")
        result = {"allOf": [result, _object({"structuredContent": _ref(f"{name}.output")})]}
    answer: JsonObject = {"jsonrpc": _RPC, "id": _ID, "result": result}
    found[f"{name}.result"] = _object(answer, answer)
    return found


def _placed(schema: JsonObject, name: str) -> JsonObject:
    """A schema as a component: its references to itself (`#/$defs/…`) lead there from the whole document."""
    if "$id" in schema:  # then they are relative to that, wherever it stands
        return schema
    moved: JsonObject = _map_references(schema, lambda ref: f"#/components/schemas/{name}{ref[1:]}")
    return moved


def _map_references(value: Any, move: Callable[[str], str]) -> Any:
    """`value`, a schema or a list of them, with its references moved."""
    if isinstance(value, list):
        return [_map_references(each, move) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, each in value.items():
        if key == "$ref" and isinstance(each, str) and each.startswith("#"):
            each = move(each)
        elif key in _NAMING and isinstance(each, dict):
            each = {name: _map_references(schema, move) for name, schema in each.items()}
        elif key not in _DATA:
            each = _map_references(each, move)
        found[key] = each
    return found
