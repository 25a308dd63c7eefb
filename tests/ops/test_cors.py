"""CORS: what the page of an allowed origin may send and read, and that no other page can."""

import pytest

from tests.http.client import request
from tests.ops.edge import echoed, edge

PAGE = "http://localhost:5173"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,mcp-protocol-version,mcp-param-region,authorization",
}


@pytest.fixture(params=[True, False], ids=["our lane", "another server"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_a_page_of_an_allowed_origin_may_read_the_answer_and_its_session_headers(lane: bool, autojump_clock):
    async with edge(lane=lane) as web:
        fetch = await echoed(web, origin=PAGE)
        assert fetch.status == 200
        assert fetch.headers["access-control-allow-origin"] == PAGE
        assert fetch.headers["vary"] == "Origin"
        exposed = {name.strip().lower() for name in fetch.headers["access-control-expose-headers"].split(",")}
        assert exposed >= {"mcp-session-id", "mcp-protocol-version", "www-authenticate", "retry-after"}


async def test_it_may_read_a_stream_too(lane: bool, autojump_clock):
    async with edge(lane=lane, json_response=False) as web:
        fetch = await echoed(web, origin=PAGE)
        assert fetch.streams
        assert fetch.result["content"][0]["text"] == "hi"
        assert fetch.headers["access-control-allow-origin"] == PAGE


async def test_it_may_read_errors(lane: bool, autojump_clock):
    async with edge(lane=lane) as web:
        fetch = await web.fetch(body=request(1, "ping"), headers={"origin": PAGE})
        assert fetch.status == 400
        assert fetch.headers["access-control-allow-origin"] == PAGE


async def test_a_preflight_is_answered_at_once_and_lets_any_header_of_the_page_through(lane: bool, autojump_clock):
    async with edge(lane=lane) as web:
        fetch = await web.fetch("OPTIONS", headers=PREFLIGHT)
        assert (fetch.status, fetch.body) == (204, b"")
        assert fetch.headers["access-control-allow-origin"] == PAGE
        assert fetch.headers["access-control-allow-headers"] == PREFLIGHT["access-control-request-headers"]
        assert {"POST", "GET", "DELETE"} <= set(fetch.headers["access-control-allow-methods"].split(", "))
        assert 0 < int(fetch.headers["access-control-max-age"]) <= 86400
        assert fetch.headers["vary"] == "Origin, Access-Control-Request-Headers"
        assert "access-control-allow-credentials" not in fetch.headers


async def test_names_that_are_no_header_names_are_not_given_back(autojump_clock):
    async with edge() as web:
        fetch = await web.fetch("OPTIONS", headers={**PREFLIGHT, "access-control-request-headers": "a<script>"})
        assert fetch.status == 204
        assert "access-control-allow-headers" not in fetch.headers


async def test_options_that_is_no_preflight_is_an_ordinary_request(autojump_clock):
    async with edge() as web:
        assert (await web.fetch("OPTIONS", headers={"origin": PAGE})).status == 405


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
async def test_a_page_of_any_other_origin_gets_no_leave_and_no_answer(origin: str, lane: bool, autojump_clock):
    async with edge(lane=lane) as web:
        for fetch in (
            await echoed(web, origin=origin),
            await web.fetch("OPTIONS", headers=PREFLIGHT | {"origin": origin}),
        ):
            assert fetch.status == 403
            assert not [name for name in fetch.headers if name.startswith("access-control")]


async def test_a_request_without_an_origin_is_no_browsers_and_gets_no_such_header(lane: bool, autojump_clock):
    async with edge(lane=lane) as web:
        fetch = await echoed(web)
        assert fetch.status == 200
        assert not [name for name in fetch.headers if name.startswith(("access-control", "vary"))]


async def test_origins_are_allowed_one_by_one_on_a_public_server(autojump_clock):
    async with edge(loopback=False, allowed_origins=["https://app.example"], allowed_hosts=["mcp.example"]) as web:
        host = {"host": "mcp.example"}
        assert (await echoed(web, origin="https://app.example", **host)).headers["access-control-allow-origin"] == (
            "https://app.example"
        )
        assert (await echoed(web, origin="https://other.example", **host)).status == 403
