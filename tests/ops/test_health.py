"""`GET /health`: who may ask, and what it says while the server starts, works and drains."""

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


@asynccontextmanager
async def healthy() -> AsyncIterator[Web]:
    async with served(small_server(), wrap=Health) as web:
        yield web


async def test_a_server_that_takes_work_is_200(autojump_clock):
    async with healthy() as web:
        await web.initialize()
        web.call("wait", seconds=50)
        await trio.sleep(1)
        fetch = await web.fetch("GET", path="/health")
        assert fetch.status == 200
        assert fetch.headers["cache-control"] == "no-store"
        assert fetch.json == {"status": "healthy", "server": "small", "version": "1.0", "sessions": 1, "calls": 1}


async def test_one_of_several_processes_says_which_it_is(autojump_clock):
    async with served(small_server(), wrap=Health, worker=3) as web:
        assert (await web.fetch("GET", path="/health")).json["worker"] == 3


async def test_a_server_that_drains_or_has_stopped_is_503(autojump_clock):
    async with healthy() as web:
        await web.host.drain()
        fetch = await web.fetch("GET", path="/health")
        assert (fetch.status, fetch.json["status"]) == (503, "unavailable")
        web.host.stop()
        await web.host_ended()
        assert (await web.fetch("GET", path="/health")).status == 503


async def test_a_server_that_has_not_started_is_503():
    host = Host(small_server())
    async with trio.open_nursery() as nursery:
        web = Web(Health(McpApp(host), host), host, nursery, lane=False)
        assert (await web.fetch("GET", path="/health")).status == 503


async def test_head_has_the_headers_of_get_and_no_body(autojump_clock):
    async with healthy() as web:
        get, head = await web.fetch("GET", path="/health"), await web.fetch("HEAD", path="/health")
        assert (head.status, head.body) == (200, b"")
        assert head.headers == get.headers


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_other_methods_are_not_answered_as_health(method: str, autojump_clock):
    async with healthy() as web:
        assert (await web.fetch(method, path="/health")).status == 404


@pytest.mark.parametrize("path", ["/", "/health/more", "/healthy", "/mcp/health"])
async def test_other_paths_pass_through(path: str, autojump_clock):
    async with healthy() as web:
        assert (await web.fetch("GET", path=path)).status == 404


async def test_below_a_mount_point_the_path_counts_from_there(autojump_clock):
    async with healthy() as web:
        fetch = web.open("GET", path="/tools/health", prepare=lambda f: f.scope.update(root_path="/tools"))
        assert (await fetch.done()).status == 200


async def test_a_probe_by_address_needs_no_host_that_is_allowed(autojump_clock):
    async with served(small_server(), wrap=lambda app, host: http_app(host, loopback=True)) as web:
        assert (await web.fetch("GET", path="/health", headers={"host": "10.1.2.3:8000"})).status == 200
        assert (await web.fetch("GET", path="/mcp", headers={"host": "10.1.2.3:8000"})).status == 421
