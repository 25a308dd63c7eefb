"""A server that keeps no sessions, as each of several workers is: 2026-07-28 is served, all else is told what to do."""

from typing import Any

import pytest
import trio

from tests.http.client import MODERN, V2025_11, Web, notification, request, served
from tests.http.servers import small_server
from trio_mcp.protocol.errors import McpError
from trio_mcp.runtime.outlet import Outlet

INFO = {"name": "tests", "version": "1"}


def hello(version: Any = V2025_11) -> dict[str, Any]:
    return request(1, "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": INFO})


def bare(**settings: Any) -> Any:
    return served(small_server(sessions=False, **settings))


async def test_per_request_calls_and_listeners_are_served(autojump_clock):
    async with bare() as web:
        assert (await web.call("echo", message="hi").done()).result["content"][0]["text"] == "hi"
        stream = web.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        assert (await stream.hears(1))[0]["method"] == "notifications/subscriptions/acknowledged"


async def test_discovery_names_only_what_is_served(autojump_clock):
    async with bare() as web:
        assert (await web.ask("server/discover").done()).result["supportedVersions"] == [MODERN]
        headers = {"mcp-protocol-version": "1900-01-01"}
        meta = {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}
        fetch = await web.ask("server/discover", headers=headers, meta=meta).done()
        assert (fetch.status, fetch.error["data"]["supported"]) == (400, [MODERN])


async def test_initialize_is_told_the_revision_that_is_served_and_what_its_operator_can_do(autojump_clock):
    async with bare() as web:
        fetch = await web.open(body=hello()).done()
        assert (fetch.status, fetch.json["id"], fetch.error["code"]) == (400, 1, -32022)
        assert fetch.error["data"] == {"supported": [MODERN], "requested": V2025_11}
        assert MODERN in fetch.error["message"]
        assert "--workers 1" in fetch.error["message"]
        assert not web.host.sessions


@pytest.mark.parametrize(
    ("body", "headers", "requested"),
    [
        (hello(7), {}, "2025-03-26"),
        (hello(), {"mcp-session-id": "elsewhere"}, V2025_11),
        (request(1, "tools/list"), {}, "2025-03-26"),
        (request(1, "tools/list"), {"mcp-protocol-version": V2025_11, "mcp-session-id": "elsewhere"}, V2025_11),
        (notification("notifications/initialized"), {"mcp-session-id": "elsewhere"}, "2025-03-26"),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, {}, "2025-03-26"),
    ],
)
async def test_whatever_needs_a_session_is_told_the_same(
    body: Any, headers: dict[str, str | None], requested: str, autojump_clock
):
    async with bare() as web:
        fetch = await web.open(body=body, headers=headers).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32022)
        assert fetch.error["data"] == {"supported": [MODERN], "requested": requested}


async def test_a_batch_is_refused(autojump_clock):
    async with bare() as web:
        fetch = await web.open(body=[request(1, "tools/list")], headers={"mcp-session-id": "elsewhere"}).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32600)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_posts_are_allowed(method: str, autojump_clock):
    async with bare() as web:
        fetch = await web.open(method, headers={"mcp-session-id": "elsewhere"}).done()
        assert (fetch.status, fetch.headers["allow"]) == (405, "POST")


async def test_whoever_else_wants_a_session_of_the_host_is_refused_and_a_pipe_is_not(autojump_clock):
    async with bare() as web:
        await refused(web)
        session = await web.host.open_session(pipe=Outlet(1))
        session.end()
        await session.ended.wait()


async def refused(web: Web) -> None:
    with trio.fail_after(1), pytest.raises(McpError) as caught:
        await web.host.open_session()
    assert caught.value.code == -32022
