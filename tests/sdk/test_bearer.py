"""The official Python SDK's client with a bearer token, over real sockets, in each of its modes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import pytest
import trio
from mcp import MCPError
from mcp.client import Client
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    handle_protected_resource_response,
)
from mcp.client.streamable_http import streamable_http_client

from trio_mcp import Context, Server, Settings, Shutdown, serve_http
from trio_mcp.auth import AccessToken, StaticTokens
from trio_mcp.protocol.revisions import V2026_07_28

TOKEN = "a-token-that-is-long-enough-for-this"
PATIENCE = 15

# The SDK leaves its loop over a response's events at the answer, and its HTTP library's generators to the garbage.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning"
)


def make_server() -> Server:
    tokens = StaticTokens({TOKEN: AccessToken("alice", scopes=["mcp:use", "read"])})
    tokens.required_scopes = frozenset({"mcp:use"})  # type: ignore[attr-defined]  # what a verifier may have besides
    server = Server("guarded", auth=tokens, settings=Settings(authorization_servers=["https://auth.example"]))

    @server.tool(scopes=["read"])
    async def whoami(ctx: Context) -> str:
        return f"you are {ctx.principal}"

    return server


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    shutdown = Shutdown()
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(partial(serve_http, make_server(), port=0, shutdown=shutdown))
        yield url
        shutdown.begin.set()


@pytest.mark.parametrize("mode", ["legacy", "auto", V2026_07_28.version])
async def test_with_its_token_it_calls_as_its_principal(mode: str):
    with trio.fail_after(PATIENCE):
        async with (
            serving() as url,
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            assert [tool.name for tool in (await client.list_tools()).tools] == ["whoami"]
            result = await client.call_tool("whoami", {})
            assert "you are alice" in str(result.content)


async def test_without_one_it_does_not_connect():
    connected = False
    with trio.fail_after(PATIENCE):
        async with serving() as url:
            with pytest.raises(BaseExceptionGroup) as caught:
                async with Client(url, mode="legacy"):
                    connected = True
    assert not connected
    assert caught.group_contains(MCPError)


async def test_it_reads_our_challenge_and_our_metadata():
    """What the SDK's OAuth flow begins with."""
    with trio.fail_after(PATIENCE):
        async with serving() as url, httpx2.AsyncClient() as http:
            refused = await http.post(url, json={})
            assert refused.status_code == 401
            assert extract_scope_from_www_auth(refused) == "mcp:use"
            metadata_url = extract_resource_metadata_from_www_auth(refused)
            candidates = build_protected_resource_metadata_discovery_urls(metadata_url, url)
            assert metadata_url == candidates[0]
            for candidate in candidates:
                found = await handle_protected_resource_response(await http.get(candidate))
                assert found is not None
                assert str(found.resource) == url
                assert [str(server) for server in found.authorization_servers] == ["https://auth.example"]
                assert found.scopes_supported == ["mcp:use"]
