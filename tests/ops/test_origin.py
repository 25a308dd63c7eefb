"""Host and Origin: who is let in by default, what the refusal says, and how it is widened."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.http.client import Web, request, served
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from trio_mcp import Host
from trio_mcp.ops.origin import OriginGuard, is_loopback

PING = request(1, "ping")


@asynccontextmanager
async def guarded(*, loopback: bool | None = True, **settings: Any) -> AsyncIterator[Web]:
    async with served(small_server(**settings), wrap=partial(OriginGuard, loopback=loopback)) as web:
        yield web


async def asked(web: Web, host: str | None, origin: str | None = None, server: tuple[str, int] | None = None) -> Fetch:
    """A request past the guard is answered by the endpoint, which wants a session."""
    headers = {"host": host, "origin": origin}
    prepare = (lambda f: None) if server is None else (lambda f: f.scope.update(server=server))
    return await web.open(body=PING, headers=headers, prepare=prepare).done()


PASSED = 400  # the endpoint's own answer: no session


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
)
async def test_on_loopback_the_names_of_loopback_are_served(host: str, autojump_clock):
    async with guarded() as web:
        assert (await asked(web, host)).status == PASSED


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost.x"),
        *("10.0.0.1", "0.0.0.0", "[::2]", "localhost:80@evil.example", "evil.example#localhost", "", "::1", "[::1"),
    ],
)
async def test_on_loopback_any_other_host_is_421(host: str, autojump_clock):
    async with guarded() as web:
        fetch = await asked(web, host)
        assert fetch.status == 421
        assert "--allowed-host" in fetch.error["message"]
        assert "allowed_hosts" in fetch.error["message"]
        assert "id" not in fetch.json


async def test_on_loopback_a_request_without_a_host_is_421(autojump_clock):
    async with guarded() as web:
        assert (await asked(web, None)).status == 421


async def test_two_hosts_are_refused_whichever_comes_last(autojump_clock):
    """RFC 9112 section 3.2: what one hop reads as the host, the next must not read otherwise."""
    async with guarded() as web:
        for hosts in (("evil.example", "localhost"), ("localhost", "evil.example"), ("localhost", "localhost")):
            fetch = await web.fetch(body=PING, headers=[("host", host) for host in hosts])
            assert fetch.status == 400, hosts


@pytest.mark.parametrize("origin", ["http://localhost", "http://localhost:5173", "https://127.0.0.1", "http://[::1]:1"])
async def test_on_loopback_pages_of_loopback_are_served_at_any_port(origin: str, autojump_clock):
    async with guarded() as web:
        assert (await asked(web, "localhost:8000", origin)).status == PASSED


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "http://localhost.evil.example", "http://evil.example/localhost", "file://"),
        *("http://", "localhost", "http://user@evil.example", "http://evil.example:80\\@localhost", "*", "http://[::1"),
        *("http://localhost:80@evil.example", "http://localhost:x", "http:///localhost", "localhost:80"),
    ],
)
async def test_any_other_origin_is_403_and_says_how_to_widen(origin: str, autojump_clock):
    async with guarded() as web:
        fetch = await asked(web, "localhost:8000", origin)
        assert fetch.status == 403
        assert "--allowed-origin" in fetch.error["message"]
        assert "allowed_origins" in fetch.error["message"]
        assert origin in fetch.error["message"]
        assert "id" not in fetch.json


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PUT"])
async def test_every_method_is_guarded(method: str, autojump_clock):
    async with guarded() as web:
        assert (await web.fetch(method, headers={"origin": "http://evil.example"})).status == 403
        assert (await web.fetch(method, headers={"host": "evil.example"})).status == 421


async def test_a_refusal_is_not_remembered_as_a_pass_nor_a_pass_as_a_refusal(autojump_clock):
    async with guarded() as web:
        for _ in range(2):
            assert (await asked(web, "localhost", "http://evil.example")).status == 403
            assert (await asked(web, "localhost", "http://localhost")).status == PASSED
            assert (await asked(web, "evil.example")).status == 421
            assert (await asked(web, "localhost")).status == PASSED


async def test_bound_to_the_world_any_host_is_served_and_pages_of_that_host_only(autojump_clock):
    async with guarded(loopback=False) as web:
        assert (await asked(web, "mcp.example")).status == PASSED
        assert (await asked(web, "mcp.example", "https://mcp.example")).status == PASSED
        assert (await asked(web, "mcp.example", "https://evil.example")).status == 403
        assert (await asked(web, "mcp.example", "null")).status == 403


async def test_without_being_told_the_connections_own_address_decides_each_time(autojump_clock):
    """The same server may be reached over loopback and over the network: what passed there must not pass here."""
    async with guarded(loopback=None) as web:
        for _ in range(2):
            assert (await asked(web, "evil.example", server=("192.0.2.1", 80))).status == PASSED
            assert (await asked(web, "evil.example", server=("127.0.0.1", 80))).status == 421
            assert (await asked(web, "localhost", server=("::1", 80))).status == PASSED


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("mcp.example", PASSED), ("mcp.example:8443", PASSED), ("MCP.Example", PASSED)),
        *(("a.apps.example", PASSED), ("a.b.apps.example:1", PASSED), ("only.example:99", PASSED)),
        *(("apps.example", 421), ("evilapps.example", 421), ("only.example", 421), ("only.example:98", 421)),
        *(("localhost", 421),),
    ],
)
async def test_hosts_are_widened_by_name_by_name_and_port_and_by_wildcard(host: str, status: int, autojump_clock):
    async with guarded(allowed_hosts=["mcp.example", "*.apps.example", "only.example:99"]) as web:
        assert (await asked(web, host)).status == status


async def test_a_star_allows_every_host_but_not_every_origin(autojump_clock):
    async with guarded(allowed_hosts=["*"]) as web:
        assert (await asked(web, "whatever.example")).status == PASSED
        assert (await asked(web, "whatever.example", "https://evil.example")).status == 403


async def test_origins_are_widened_exactly(autojump_clock):
    async with guarded(allowed_origins=["https://app.example"]) as web:
        assert (await asked(web, "localhost", "https://app.example")).status == PASSED
        assert (await asked(web, "localhost", "http://app.example")).status == 403
        assert (await asked(web, "localhost", "https://app.example:8443")).status == 403
        assert (await asked(web, "evil.example", "https://app.example")).status == 421
    async with guarded(allowed_origins=["*"]) as web:
        assert (await asked(web, "localhost", "https://any.example")).status == PASSED


@pytest.mark.parametrize("host", ["evil.example", "localhost"])
async def test_a_websocket_is_guarded_too(host: str, autojump_clock):
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with guarded() as web:
        scope = {"type": "websocket", "path": "/mcp", "headers": [(b"host", host.encode())]}
        await web.app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_lifespan_passes_through():
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    guard = OriginGuard(app, Host(small_server()), loopback=True)
    await guard({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # nobody receives or sends
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True)),
        *(("a.localhost", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.0.2.1", False)),
        *(("mcp.example", False), ("localhost.example", False)),
    ],
)
def test_loopback_is_known_by_address_and_name(address: str, expected: bool):
    assert is_loopback(address) is expected
