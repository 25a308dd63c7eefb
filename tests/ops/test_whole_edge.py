"""All wrappers together, in the order that the composition gives them: who is asked first, and what stays open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from tests.http.client import Web, request, served
from tests.http.servers import small_server
from tests.ops.edge import echoed
from trio_mcp import Context
from trio_mcp.auth import StaticTokens
from trio_mcp.serve import http_app

PAGE = "http://localhost:5173"
ADA = {"authorization": "Bearer token-of-ada-0123456789"}


@asynccontextmanager
async def guarded(**settings: Any) -> AsyncIterator[Web]:
    server = small_server(**settings)
    server.auth = StaticTokens({"token-of-ada-0123456789": "ada", "token-of-bob-0123456789": "bob"})

    @server.tool
    async def whoami(ctx: Context) -> str:
        return str(ctx.principal)

    async with served(server, lane=True, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        yield web


async def test_everything_but_probes_and_the_shell_of_the_page_wants_a_token(autojump_clock):
    async with guarded() as web:
        for path in ("/health", "/ready", "/docs"):
            assert (await web.fetch("GET", path=path)).status == 200, path
        for path in (
            "/mcp",
            "/sse",
            "/notifications",
            "/tools",
            "/metrics",
            "/openapi.json",
            "/introspection",
            "/none",
        ):
            assert (await web.fetch("GET", path=path)).status == 401, path
        for path in ("/mcp", "/message", "/messages", "/mcp?session_id=x"):
            assert (await web.fetch(path=path, body=request(1, "ping"))).status == 401, path


async def test_the_shell_of_the_page_does_not_tell_whose_server_it_is(autojump_clock):
    async with guarded() as web:
        body = (await web.fetch("GET", path="/docs")).body
        assert b'"MCP server"' in body
        assert b'"name": "small"' not in body


async def test_a_page_of_another_origin_may_ask_and_may_read_why_it_was_refused(autojump_clock):
    async with guarded() as web:
        wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        preflight = await web.fetch("OPTIONS", headers={"origin": PAGE, **wanted})
        assert preflight.status == 204
        refused = await echoed(web, origin=PAGE)
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == PAGE
        assert "www-authenticate" in refused.headers
        assert (await echoed(web, origin=PAGE, **ADA)).status == 200


async def test_principals_have_a_bucket_each_whatever_address_they_share(autojump_clock):
    async with guarded(rate_limit="2/minute") as web:
        bob = {"authorization": "Bearer token-of-bob-0123456789"}
        assert [(await echoed(web, **ADA)).status for _ in range(3)] == [200, 200, 429]
        assert [(await echoed(web, **bob)).status for _ in range(3)] == [200, 200, 429]


async def test_who_guesses_tokens_is_stopped_by_address(autojump_clock):
    async with guarded(rate_limit="3/minute") as web:
        wrong = {"authorization": "Bearer wrong-wrong-wrong-wrong"}
        assert [(await echoed(web, "10.9.9.9", **wrong)).status for _ in range(4)] == [401, 401, 401, 429]
        assert (await echoed(web, "10.9.9.9", **ADA)).status == 429
        assert (await echoed(web, "10.9.9.8", **ADA)).status == 200
        await trio.sleep(60)
        assert (await echoed(web, "10.9.9.9", **ADA)).status == 200


async def test_every_transport_knows_who_asks(autojump_clock):
    async with guarded() as web:
        session = await web.fetch(
            body=request(
                0,
                "initialize",
                {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
            ),
            headers=ADA,
        )
        named = {**ADA, "mcp-session-id": session.headers["mcp-session-id"]}
        called = request(1, "tools/call", {"name": "whoami", "arguments": {}})
        assert (await web.fetch(body=called, headers=named)).result["content"][0]["text"] == "ada"
        direct = await web.fetch(path="/message", body=called, headers=ADA)
        assert direct.result["content"][0]["text"] == "ada"
        modern = await web.ask("tools/call", {"name": "whoami", "arguments": {}}, headers=ADA).done()
        assert modern.result["content"][0]["text"] == "ada"


async def test_a_session_of_any_dialect_is_unknown_to_another_principal(autojump_clock):
    async with guarded() as web:
        bob = {"authorization": "Bearer token-of-bob-0123456789"}
        for path, post in (("/sse", "/messages"), ("/notifications", "/mcp")):
            stream = await web.open("GET", path=path, headers=ADA).answered()
            await trio.testing.wait_all_tasks_blocked()
            (key,) = [one.key for one in web.host.sessions.values() if f"/{one.transport}" in (path, "/sse")]
            target = f"{post}?session_id={key}"
            assert (await web.fetch(path=target, body=request(1, "ping"), headers=bob)).status == 404
            assert (await web.fetch(path=target, body=request(1, "ping"), headers=ADA)).status == 202
            stream.drop()
            await web.host.end_session(web.host.sessions.get(key) or next(iter(web.host.sessions.values())), "done")
            await trio.testing.wait_all_tasks_blocked()


async def test_a_tool_that_needs_scopes_needs_them_in_every_dialect(autojump_clock):
    ran = []
    async with guarded() as web:

        @web.host.server.tool(scopes=["admin"])
        async def wipe() -> str:
            ran.append("wipe")
            return "wiped"

        named = request(1, "tools/call", {"name": "wipe", "arguments": {}})
        assert (await web.fetch(path="/message", body=named, headers=ADA)).status == 403
        assert (await web.ask("tools/call", {"name": "wipe", "arguments": {}}, headers=ADA).done()).status == 403
        stream = await web.open("GET", path="/notifications", headers=ADA).answered()
        (key,) = web.host.sessions
        target = f"/mcp?session_id={key}"
        assert (await web.fetch(path=target, body=request(7, "wipe", {}), headers=ADA)).status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert b'"id":7' in stream.body
        assert b"Insufficient scope" in stream.body
        assert ran == []
