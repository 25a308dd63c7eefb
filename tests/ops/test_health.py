"""`GET /health` and `GET /ready`: who may ask, and what they say while the server starts, works and drains."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.http.client import Web, served
from tests.http.servers import small_server
from trio_mcp import Host
from trio_mcp.http.app import McpApp
from trio_mcp.ops.health import Health
from trio_mcp.serve import http_app

NOON = 1_800_000_000.25


@asynccontextmanager
async def healthy() -> AsyncIterator[Web]:
    async with served(small_server(), wrap=lambda app, host: Health(app, host, wall_clock=lambda: NOON)) as web:
        yield web


async def said(web: Web, path: str) -> tuple[int, str]:
    fetch = await web.fetch("GET", path=path)
    return fetch.status, fetch.json["status"] if path == "/ready" else fetch.json["state"]


async def test_health_tells_what_the_server_is_and_has_in_hand(autojump_clock):
    async with healthy() as web:
        await web.initialize()
        web.call("wait", seconds=50)
        await trio.sleep(1)
        fetch = await web.fetch("GET", path="/health")
        assert fetch.status == 200
        assert fetch.headers["cache-control"] == "no-store"
        assert fetch.json == {
            "status": "healthy",
            "state": "ready",
            "timestamp": "2027-01-15T08:00:00.250Z",
            "sessions": 1,
            "calls": 1,
            "server": "small",
            "version": "1.0",
            "uptime": 1,
        }


async def test_one_of_several_processes_says_which_it_is(autojump_clock):
    async with served(small_server(), wrap=Health, worker=3) as web:
        assert (await web.fetch("GET", path="/health")).json["worker"] == 3


async def test_active_connections_are_streams_and_calls_but_not_the_probe(autojump_clock, lane: bool):
    async with served(small_server(), lane=lane, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        assert (await web.fetch("GET", path="/health")).json["active_connections"] == 0
        session = await web.initialize()
        stream = session.listen()
        web.call("wait", seconds=50)
        await stream.answered()
        assert (await web.fetch("GET", path="/health")).json["active_connections"] == 2
        stream.drop()
        await trio.sleep(60)
        assert (await web.fetch("GET", path="/health")).json["active_connections"] == 0


async def test_a_server_that_drains_or_has_stopped_is_alive_and_not_ready(autojump_clock):
    async with healthy() as web:
        assert await said(web, "/ready") == (200, "ready")
        await web.host.drain()
        assert await said(web, "/ready") == (503, "draining")
        assert await said(web, "/health") == (200, "draining")
        web.host.stop()
        await web.host_ended()
        assert await said(web, "/ready") == (503, "stopped")
        assert await said(web, "/health") == (200, "stopped")


async def test_a_server_that_has_not_started_is_alive_and_not_ready():
    host = Host(small_server())
    async with trio.open_nursery() as nursery:
        web = Web(Health(McpApp(host), host), host, nursery, lane=False)
        assert await said(web, "/ready") == (503, "starting")
        assert await said(web, "/health") == (200, "starting")
        assert (await web.fetch("GET", path="/health")).json["uptime"] == 0


async def test_who_is_not_ready_says_when_to_come_back(autojump_clock):
    async with healthy() as web:
        assert "retry-after" not in (await web.fetch("GET", path="/ready")).headers
        await web.host.drain()
        assert (await web.fetch("GET", path="/ready")).headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_head_has_the_headers_of_get_and_no_body(path: str, autojump_clock):
    async with healthy() as web:
        get, head = await web.fetch("GET", path=path), await web.fetch("HEAD", path=path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers == get.headers


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_with_those_there_are(method: str, path: str, autojump_clock):
    async with healthy() as web:
        fetch = await web.fetch(method, path=path)
        assert (fetch.status, fetch.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/health/more", "/healthy", "/mcp/health", "/mcp/ready"])
async def test_other_paths_pass_through(path: str, autojump_clock):
    async with healthy() as web:
        assert (await web.fetch("GET", path=path)).status == 404


async def test_below_a_mount_point_the_path_counts_from_there(autojump_clock):
    async with healthy() as web:
        fetch = web.open("GET", path="/tools/health", prepare=lambda f: f.scope.update(root_path="/tools"))
        assert (await fetch.done()).status == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_a_probe_by_address_needs_no_host_that_is_allowed(path: str, autojump_clock):
    async with served(small_server(), wrap=lambda app, host: http_app(host, loopback=True)) as web:
        assert (await web.fetch("GET", path=path, headers={"host": "10.1.2.3:8000"})).status == 200
        assert (await web.fetch("GET", path="/tools", headers={"host": "10.1.2.3:8000"})).status == 421
