"""`/openapi.json`: a document that a generator of clients can read, with the tools' own schemas in it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import jsonschema_rs
import msgspec
import pytest

from tests.http.client import Web, served
from tests.http.servers import small_server
from trio_mcp import HttpRequest, Server
from trio_mcp.ops.documents import listings
from trio_mcp.ops.openapi import document
from trio_mcp.serve import http_app

MOUNTED = ("/message", "/messages", "/sse", "/notifications", "/docs", "/metrics", "/tools", "/openapi.json", "/secret")
VERBS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


class Leaf(msgspec.Struct):
    name: str
    children: "list[Leaf]" = []


@attrs.frozen
class Found:
    total: int
    leaves: list[Leaf]


def described(server: Server | None = None, *, mounted: Any = MOUNTED) -> Any:
    """The document as it goes over the wire."""
    server = server or typed_server()
    return msgspec.json.decode(msgspec.json.encode(document(server, path="/mcp", mounted=mounted)))


def typed_server() -> Server:
    server = Server("typed", version="2.1", instructions="Grow trees.")

    @server.tool(title="Grow")
    async def grow(tree: Leaf, default: Leaf | None = None) -> Found:
        """Make a tree grow."""
        return Found(1, [tree])

    for name in ("odd name/1", "odd name?1"):
        server.register_tool(name, "Odd.", {"type": "object"}, lambda arguments: "")

    @server.route("/trees/{name}", methods=["GET", "POST"])
    async def tree(name: str, request: HttpRequest) -> str:
        """One tree.

        More of it.
        """
        return name

    return server


def walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from walk(each)


def at(document: Any, reference: str) -> Any:
    """What a reference leads to."""
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def validator(document: Any, reference: str) -> Any:
    """A validator of one component, references into the whole document included."""
    return jsonschema_rs.Draft202012Validator({**document, "$ref": reference})


# Structure (OpenAPI 3.1)


def test_the_document_has_the_structure_of_openapi():
    found = described()
    assert re.fullmatch(r"3\.1\.\d+", found["openapi"])
    assert set(found) <= {"openapi", "info", "servers", "paths", "components", "tags", "security"}
    assert found["info"] == {"title": "typed", "version": "2.1", "description": "Grow trees."}
    assert all(path.startswith("/") for path in found["paths"])
    ids = []
    for path, item in found["paths"].items():
        assert item
        assert set(item) <= VERBS
        for operation in item.values():
            ids.append(operation["operationId"])
            check_operation(path, operation)
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in found["components"]["schemas"])


def check_operation(path: str, operation: Any) -> None:
    assert set(operation) <= {"operationId", "summary", "parameters", "requestBody", "responses"}
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        assert {"name", "in", "schema"} <= set(parameter)
        assert parameter["in"] in ("path", "query", "header")
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    assert all(parameter["required"] for parameter in parameters if parameter["in"] == "path")
    assert operation["responses"]
    for status, response in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d|default", status)
        assert set(response) <= {"description", "content"}
        assert isinstance(response["description"], str)


def test_every_reference_leads_somewhere_and_every_schema_is_one():
    found = described()
    references = [
        value["$ref"] for value in walk(found) if isinstance(value, dict) and isinstance(value.get("$ref"), str)
    ]
    assert len(references) > 20
    for reference in references:
        assert isinstance(at(found, reference), dict)
    for schema in found["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


# Tools


CALL: Any = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "grow", "arguments": {"tree": {"name": "a"}}},
}


@pytest.mark.parametrize("path", ["/mcp", "/message", "/messages"])
def test_each_tool_is_a_request_of_the_operations_that_take_calls(path: str):
    post = described()["paths"][path]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert {"$ref": "#/components/schemas/grow.call"} in body
    if path == "/message":
        answers = post["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
        assert {"$ref": "#/components/schemas/grow.result"} in answers


def test_a_call_is_valid_where_its_arguments_are():
    check = validator(described(), "#/components/schemas/grow.call")
    deep = {"name": "a", "children": [{"name": "b"}]}
    assert check.is_valid(CALL)
    assert check.is_valid({**CALL, "params": {"name": "grow", "arguments": {"tree": deep, "default": deep}}})
    bad = {"name": "a", "children": [{}]}
    for params in (
        {"name": "grow"},
        {"name": "other", "arguments": {"tree": deep}},
        {"name": "grow", "arguments": {}},
        {"name": "grow", "arguments": {"tree": bad}},
        {"name": "grow", "arguments": {"tree": deep, "default": bad}},  # a parameter called like a keyword
    ):
        assert not check.is_valid({**CALL, "params": params}), params


async def test_real_calls_and_answers_are_what_the_document_says(autojump_clock):
    found = described()
    async with served(typed_server()) as web:
        session = await web.initialize()
        fetch = await session.ask("tools/call", CALL["params"]).done()
        assert validator(found, "#/components/schemas/grow.result").is_valid(fetch.json)
        fetch = await session.ask("tools/call", {"name": "nobody"}).done()
        assert validator(found, "#/components/schemas/Error").is_valid(fetch.json)
        assert not validator(found, "#/components/schemas/grow.result").is_valid(fetch.json)


def test_a_result_whose_structure_is_wrong_is_not_valid():
    check = validator(described(), "#/components/schemas/grow.result")
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "structuredContent": {"total": 1, "leaves": []}}}
    assert check.is_valid(answer)
    answer["result"] = {"content": [], "structuredContent": {"total": "one", "leaves": []}}
    assert not check.is_valid(answer)


def test_names_that_components_cannot_have_are_kept_apart():
    schemas = described()["components"]["schemas"]
    names = {
        schemas[f"{name}.call"]["properties"]["params"]["properties"]["name"]["const"]
        for name in ("odd_name_1", "odd_name_1_2")
    }
    assert names == {"odd name/1", "odd name?1"}


def test_schemas_with_an_id_of_their_own_and_data_that_looks_like_a_reference_stay_as_they_are():
    server = Server("raw")
    own = {"$id": "urn:own", "type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}
    data = {"type": "object", "properties": {"x": {"default": {"$ref": "#/$defs/x"}}}}
    server.register_tool("own", "Own.", own, lambda arguments: "")
    server.register_tool("data", "Data.", data, lambda arguments: "")
    schemas = described(server)["components"]["schemas"]
    assert schemas["own.arguments"] == own
    assert schemas["data.arguments"] == data


def test_the_tools_definitions_are_left_as_they_are():
    server = typed_server()
    before = msgspec.json.encode([tool.definition for tool in server.tools.values()])
    described(server)
    assert msgspec.json.encode([tool.definition for tool in server.tools.values()]) == before


# Paths


def test_paths_are_those_that_are_served():
    paths = described()["paths"]
    known = {"/mcp", "/message", "/messages", "/sse", "/notifications", "/docs", "/metrics", "/tools", "/openapi.json"}
    assert set(paths) == known | {"/health", "/ready", "/trees/{name}"}
    assert set(described(mounted=())["paths"]) == {"/mcp", "/health", "/ready", "/trees/{name}"}


def test_custom_routes_are_operations():
    item = described()["paths"]["/trees/{name}"]
    assert set(item) == {"get", "post"}
    assert item["get"]["summary"] == "One tree."
    assert [parameter["name"] for parameter in item["get"]["parameters"]] == ["name"]


@asynccontextmanager
async def operational(server: Server) -> AsyncIterator[Web]:
    async with served(server, wrap=lambda app, host: http_app(host, path="/here", loopback=True)) as web:
        yield web


async def test_it_is_served_and_made_again_when_tools_or_routes_change(autojump_clock):
    server = small_server()
    async with operational(server) as web:
        first = (await web.fetch("GET", path="/openapi.json")).json
        own = {"/health", "/ready", "/metrics", "/tools", "/resources", "/prompts", "/openapi.json", "/docs"} | {
            "/introspection",
            "/introspection/events",
        }
        transports = {"/sse", "/messages", "/notifications", "/message"}
        assert set(first["paths"]) == {"/here", *own, *transports}
        assert "echo.call" in first["components"]["schemas"]
        server.remove_tool("echo")
        assert "echo.call" not in (await web.fetch("GET", path="/openapi.json")).json["components"]["schemas"]
        server.add_route("/mine", lambda: "mine")
        assert "/mine" in (await web.fetch("GET", path="/openapi.json")).json["paths"]


async def test_answers_of_the_routes_are_what_the_document_says(autojump_clock):
    async with operational(small_server()) as web:
        found = (await web.fetch("GET", path="/openapi.json")).json
        for path in ("/health", "/ready", *listings(small_server())):
            schema = found["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            fetch = await web.fetch("GET", path=path)
            assert jsonschema_rs.is_valid({**found, **schema}, fetch.json), path
