"""HTTPS only: what comes over plain HTTP is sent there, and browsers are told to stay."""

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.http.fetch import Fetch
from tests.http.servers import small_server
from tests.http.sockets import Wire
from tests.ops.edge import echoed, edge
from trio_mcp import Settings, Shutdown, serve_http
from trio_mcp.ops.https import HttpsOnly, RedirectToHttps

TESTS = Path(__file__).parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=[True, False], ids=["our lane", "another server"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_plain_http_is_sent_to_https_with_its_path_and_query(lane: bool, autojump_clock):
    async with edge(lane=lane, loopback=False, https_redirect=True) as web:

        def prepare(fetch: Fetch) -> None:
            fetch.scope |= {"raw_path": b"/mcp%2F", "query_string": b"a=1&b=%20"}

        fetch = await web.open("GET", headers={"host": "mcp.example:8080"}, prepare=prepare).done()
        assert fetch.status == 308
        assert fetch.headers["location"] == "https://mcp.example/mcp%2F?a=1&b=%20"


@pytest.mark.parametrize(("host", "name"), [("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a.example", "a.example")])
async def test_the_name_is_kept_and_the_port_is_that_of_https(host: str, name: str, autojump_clock):
    settings = Settings(https_redirect=True)

    fetch = Fetch("POST", "/mcp", [(b"host", host.encode())], [b""])
    await fetch.run(RedirectToHttps(settings, port=8443))
    assert fetch.headers["location"] == f"https://{name}:8443/mcp"
    fetch = Fetch("POST", "/mcp", [(b"host", host.encode())], [b""])
    await fetch.run(RedirectToHttps(settings, port=443))
    assert fetch.headers["location"] == f"https://{name}/mcp"


async def test_without_a_host_there_is_no_place_to_send_to(autojump_clock):
    async def app(scope, receive, send):
        raise AssertionError("passed on")

    fetch = Fetch("GET", "/", [], [b""])
    await fetch.run(HttpsOnly(app, Settings(https_redirect=True)))
    assert fetch.status == 400


async def test_https_is_served_and_told_to_last(lane: bool, autojump_clock):
    async with edge(lane=lane, https_redirect=True, hsts=31_536_000) as web:
        fetch = await echoed(web, scheme="https")
        assert fetch.status == 200
        assert fetch.headers["strict-transport-security"] == "max-age=31536000"


async def test_over_plain_http_nothing_is_told_to_last(autojump_clock):
    async with edge(hsts=60) as web:
        fetch = await echoed(web)
        assert fetch.status == 200
        assert "strict-transport-security" not in fetch.headers


async def test_a_proxy_that_is_trusted_may_say_that_it_was_https(autojump_clock):
    async with edge(https_redirect=True, trusted_proxies=["10.0.0.0/8"]) as web:
        assert (await echoed(web, "10.1.2.3", x_forwarded_proto="https")).status == 200
        assert (await echoed(web, "10.1.2.3", x_forwarded_proto="http")).status == 308
        assert (await echoed(web, "192.0.2.1", x_forwarded_proto="https")).status == 308


async def test_a_plain_websocket_is_refused(autojump_clock):
    sent = []

    async def app(scope, receive, send):
        raise AssertionError("passed on")

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "scheme": "ws", "headers": []}
    await HttpsOnly(app, Settings(https_redirect=True))(scope, receive, send)
    assert "websocket.close" in {message["type"] for message in sent}


async def test_health_is_answered_over_plain_http_too_because_probes_come_as_they_can(autojump_clock):
    async with edge(https_redirect=True) as web:
        assert (await web.fetch("GET", path="/health")).status == 200
        assert (await web.fetch("GET", path="/ready")).status == 200


async def test_a_plain_port_beside_the_https_one_sends_clients_there():
    certfile, keyfile = (str(TESTS / "http" / f"{name}.pem") for name in ("certificate", "key"))
    redirect_port = free_port()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            shutdown = Shutdown()
            serve = partial(serve_http, small_server(), port=0, certfile=certfile, keyfile=keyfile, shutdown=shutdown)
            [url] = await nursery.start(partial(serve, redirect_port=redirect_port))
            plain = await Wire.to(f"http://127.0.0.1:{redirect_port}/mcp")
            async with plain.stream:
                await plain.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
                assert await plain.head() == 308
                assert plain.headers["location"] == url
            evil = await Wire.to(f"http://127.0.0.1:{redirect_port}/mcp")
            async with evil.stream:
                evil.host = "evil.example"
                await evil.send("GET")
                assert await evil.head() == 421
            shutdown.begin.set()


async def test_a_plain_port_without_a_certificate_is_refused():
    with pytest.raises(ValueError, match="needs certfile"):
        await serve_http(small_server(), port=0, redirect_port=8080)
