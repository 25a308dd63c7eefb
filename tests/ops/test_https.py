"""HTTPS only: what comes over plain HTTP is sent there, and browsers are told to stay."""

import pytest

from tests.http.fetch import Fetch
from tests.ops.edge import echoed, edge
from trio_mcp import Settings
from trio_mcp.ops.https import HttpsOnly


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

    async def app(scope, receive, send):
        raise AssertionError("passed on")

    fetch = Fetch("POST", "/mcp", [(b"host", host.encode())], [b""])
    await fetch.run(HttpsOnly(app, settings, port=8443))
    assert fetch.headers["location"] == f"https://{name}:8443/mcp"
    fetch = Fetch("POST", "/mcp", [(b"host", host.encode())], [b""])
    await fetch.run(HttpsOnly(app, settings, port=443))
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
    assert [message["type"] for message in sent] == ["websocket.close"]
