"""`/tools`, `/resources` and `/prompts`: the protocol's own definitions, whole, and no more often than needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest

from tests.http.client import Web, served
from tests.http.servers import small_server
from trio_mcp import Server
from trio_mcp.http.asgi import Exchange
from trio_mcp.ops.documents import Document
from trio_mcp.serve import http_app

PATHS = ["/tools", "/resources", "/prompts", "/openapi.json"]


@asynccontextmanager
async def operational(server: Server | None = None, *, lane: bool = False, **settings: Any) -> AsyncIterator[Web]:
    server = server or small_server(**settings)
    async with served(server, lane=lane, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        yield web


async def test_the_definitions_are_those_of_the_protocol(autojump_clock):
    server = small_server()

    @server.resource("notes://{day}")
    async def notes(day: str) -> str:
        return day

    async with operational(server) as web:
        listed: dict[str, Any] = {}
        for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
            listed |= (await web.ask(method).done()).result
        for path, keys in (
            ("/tools", ["tools"]),
            ("/resources", ["resources", "resourceTemplates"]),
            ("/prompts", ["prompts"]),
        ):
            fetch = await web.fetch("GET", path=path)
            assert fetch.status == 200
            assert fetch.json == {key: listed[key] for key in keys}
            assert all(fetch.json[key] for key in keys)


async def test_a_list_is_whole_where_the_protocol_would_give_pages(autojump_clock):
    server = Server("paged", page_size=1)
    for name in ("a", "b", "c"):
        server.register_tool(name, name, {"type": "object"}, lambda arguments: "")
    async with operational(server) as web:
        assert [tool["name"] for tool in (await web.fetch("GET", path="/tools")).json["tools"]] == ["a", "b", "c"]


async def test_a_tool_that_comes_or_goes_changes_list_and_tag(autojump_clock):
    server = small_server()
    async with operational(server) as web:
        tags = [(await web.fetch("GET", path="/tools")).headers["etag"]]
        server.register_tool("new", "New.", {"type": "object"}, lambda arguments: "")
        fetch = await web.fetch("GET", path="/tools")
        assert fetch.json["tools"][-1]["name"] == "new"
        tags.append(fetch.headers["etag"])
        server.remove_tool("new")
        tags.append((await web.fetch("GET", path="/tools")).headers["etag"])
    assert tags[0] == tags[2] != tags[1]


async def test_a_document_is_made_once_for_each_state_of_the_lists(autojump_clock):
    server, made = small_server(), count(1)
    document = Document(server, lambda: {"made": next(made)})
    async with served(server, wrap=lambda app, host: _only(document, server)) as web:
        bodies = [(await web.fetch("GET")).json["made"] for _ in range(3)]
        server.changed("prompts")
        assert [*bodies, (await web.fetch("GET")).json["made"]] == [1, 1, 1, 2]


def _only(document: Document, server: Server) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await document(Exchange(scope, receive, send, server.settings))

    return app


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_it_already_is_not_sent_it_again(path: str, autojump_clock, lane: bool):
    async with operational(lane=lane) as web:
        tag = (await web.fetch("GET", path=path)).headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            fetch = await web.fetch("GET", path=path, headers={"if-none-match": known})
            assert (fetch.status, fetch.body, fetch.headers["etag"]) == (304, b"", tag)
            assert "content-length" not in fetch.headers
            assert "content-type" not in fetch.headers
        for unknown in ('"other"', tag.strip('"'), ""):
            assert (await web.fetch("GET", path=path, headers={"if-none-match": unknown})).status == 200


@pytest.mark.parametrize("path", [*PATHS, "/metrics"])
async def test_head_is_answered_and_other_methods_are_not(path: str, autojump_clock):
    async with operational() as web:
        head = await web.fetch("HEAD", path=path)
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 0
        post = await web.fetch("POST", path=path)
        assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [*PATHS, "/metrics", "/health", "/ready"])
async def test_routes_that_are_switched_off_are_not_there(path: str, autojump_clock):
    async with operational(operational_routes=False) as web:
        assert (await web.fetch("GET", path=path)).status == 404
        assert (await web.call("echo", message="hi").done()).status == 200
        assert web.host.tally is None


async def test_what_is_not_found_is_told_what_there_is(autojump_clock):
    async with operational() as web:
        fetch = await web.fetch("GET", path="/nothing")
        assert fetch.status == 404
        assert fetch.body.decode().startswith("Not Found. This server has /mcp, ")
        assert fetch.body.decode().endswith(", /docs, /health, /ready\n")
    async with operational(operational_routes=False) as web:
        fetch = await web.fetch("GET", path="/nothing")
        assert b"/health" not in fetch.body
