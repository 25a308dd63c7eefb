"""What `Settings.transports` switches on and off, and what is said of a path that is not there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio.testing

from tests.http.client import V2025_11, Web, request, served
from tests.http.servers import small_server
from trio_mcp import Settings
from trio_mcp.serve import main_path, mcp_app
from trio_mcp.settings import TRANSPORTS

INITIALIZE = request(
    0, "initialize", {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
)
#: A request that each transport takes, and nothing else here.
FIRST: dict[str, tuple[str, str, Any]] = {
    "http": ("POST", "/mcp", INITIALIZE),
    "sse": ("GET", "/sse", b""),
    "notifications": ("GET", "/notifications", b""),
    "message": ("POST", "/message", INITIALIZE),
}


@asynccontextmanager
async def serving(*transports: str, **settings: Any) -> AsyncIterator[Web]:
    server = small_server(
        **settings, transports=transports or TRANSPORTS, operational_routes=False, docs_page=False, introspection=False
    )
    async with served(server, wrap=lambda app, host: mcp_app(host)) as web:
        yield web


async def status(web: Web, method: str, path: str, body: Any) -> int:
    return (await web.open(method, body, path=path).answered()).status


async def test_all_are_served_on_one_port_unless_it_is_said_otherwise(autojump_clock):
    async with serving() as web:
        for method, path, body in FIRST.values():
            assert await status(web, method, path, body) == 200


@pytest.mark.parametrize("only", list(FIRST))
async def test_one_alone_is_served_and_the_paths_of_the_others_are_404(only: str, autojump_clock):
    async with serving(only) as web:
        for name, (method, path, body) in FIRST.items():
            if name == only:
                assert await status(web, method, path, body) == 200
            elif (only, path) != ("notifications", "/mcp"):
                assert await status(web, method, path, body) == 404


async def test_a_path_that_is_not_served_is_404_and_the_text_lists_those_that_are(autojump_clock):
    async with serving("http", "message") as web:
        fetch = await web.fetch("GET", path="/sse")
        assert (fetch.status, fetch.headers["content-type"]) == (404, "text/plain; charset=utf-8")
        assert fetch.body == b"Not Found. This server has /mcp, /message\n"
    async with serving("sse", "notifications", path="/here") as web:
        fetch = web.open("GET", path="/below/x", prepare=lambda f: f.scope.update(root_path="/below"))
        assert b"has /below/sse, /below/messages, /below/notifications, /below/here\n" in (await fetch.done()).body


async def test_without_streamable_http_a_post_must_be_of_a_notifications_session(autojump_clock):
    async with serving("notifications") as web:
        fetch = await web.fetch(body=INITIALIZE)
        assert fetch.status == 400
        assert "GET /notifications" in fetch.error["message"]
        assert (await web.fetch("GET")).status == 405
        assert (await web.fetch("DELETE", headers={"mcp-session-id": "x"})).status == 405
        stream = web.open("GET", path="/notifications")
        await trio.testing.wait_all_tasks_blocked()
        id = stream.events[0].data.rpartition(" ")[2]
        assert (await web.fetch(path=f"/mcp?session_id={id}", body=request(1, "ping"))).status == 202


async def test_without_the_notifications_dialect_a_query_means_nothing(autojump_clock):
    async with serving("http") as web:
        assert (await web.fetch(path="/mcp?session_id=x", body=INITIALIZE)).status == 200


async def test_the_endpoint_of_streamable_http_wins_its_path(autojump_clock):
    async with serving(path="/message") as web:
        assert "mcp-session-id" in (await web.fetch(path="/message", body=INITIALIZE)).headers


def test_the_setting_keeps_one_order_whatever_it_is_made_from():
    assert Settings().transports == TRANSPORTS
    assert Settings(transports={"sse", "http"}).transports == ("http", "sse")
    assert Settings(transports=["message", "sse", "message"]).transports == ("sse", "message")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["http", "smtp"], "no such transport: 'smtp'; there are http, sse, notifications, message, websocket"),
        ([], "transports is empty"),
        ("http", r"transports=\['http'\]"),
    ],
)
def test_a_transport_that_is_not_there_is_refused_and_those_that_are_named(given: Any, text: str):
    with pytest.raises(ValueError, match=text):
        Settings(transports=given)


def test_a_heartbeat_that_is_not_there_is_refused():
    never: Any = "never"
    with pytest.raises(ValueError, match="sse_heartbeat must be one of comment, event, not 'never'"):
        Settings(sse_heartbeat=never)


@pytest.mark.parametrize(
    ("transports", "path"),
    [
        (TRANSPORTS, "/here"),
        (["sse", "message"], "/sse"),
        (["notifications"], "/notifications"),
        (["message"], "/message"),
    ],
)
def test_people_are_told_a_path_that_is_served(transports: Any, path: str):
    assert main_path(Settings(transports=transports), "/here") == path
