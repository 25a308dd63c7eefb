"""Authorization where a server is put together: in every way of serving, with its order, its settings, its warning."""

import json
import logging
from functools import partial
from typing import Any

import pytest
import trio

from tests.auth.issuer import URL, claims, rsa_key, signed
from tests.http.client import Web, request
from tests.http.servers import small_server
from trio_mcp import Host, Server, Settings, http_app, serve_http
from trio_mcp.auth import JWTVerifier, StaticTokens

TOKEN = "a-token-that-is-long-enough-for-this"
BEARING = {"authorization": f"Bearer {TOKEN}"}


def guarded(**settings: Any) -> Server:
    server = small_server(**settings)
    server.auth = StaticTokens({TOKEN: "alice"})
    return server


async def test_the_whole_application_is_behind_it_but_for_health(autojump_clock):
    async with trio.open_nursery() as nursery:
        host = Host(guarded())
        await nursery.start(host.run)
        web = Web(http_app(host, loopback=True), host, nursery, lane=False)
        assert (await web.fetch("GET", path="/health")).status == 200
        assert (await web.fetch(body=request(1, "ping"))).status == 401
        assert (await web.fetch(body=request(1, "ping"), headers=BEARING)).status == 400
        assert (await web.fetch(body=request(1, "ping"), headers={**BEARING, "host": "evil.example"})).status == 421
        assert (await web.fetch(body=request(1, "ping"), headers={"host": "evil.example"})).status == 421
        host.stop()


async def test_a_server_as_an_asgi_application_is_guarded_too(autojump_clock):
    async with trio.open_nursery() as nursery:
        server = guarded()
        web = Web(server, Host(server), nursery, lane=False)
        assert (await web.fetch(body=request(1, "ping"))).status == 401
        assert (await web.fetch(body=request(1, "ping"), headers=BEARING)).status == 503  # past it; no lifespan was run


async def test_the_path_of_the_endpoint_is_that_of_the_metadata(autojump_clock):
    async with trio.open_nursery() as nursery:
        host = Host(guarded(authorization_servers=[URL]))
        web = Web(http_app(host, path="/here/", loopback=True), host, nursery, lane=False)
        fetch = await web.fetch("GET", path="/.well-known/oauth-protected-resource/here")
        assert fetch.json["resource"] == "http://127.0.0.1:8000/here"


@pytest.mark.parametrize(
    ("address", "auth", "warned"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
async def test_open_to_the_network_without_auth_one_line_says_how_to_protect_it(
    address: str, auth: bool, warned: bool, caplog: pytest.LogCaptureFixture
):
    server = guarded() if auth else small_server()
    with trio.fail_after(20), caplog.at_level(logging.WARNING):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_http, server, host=address, port=0))
            nursery.cancel_scope.cancel()
    said = [record.getMessage() for record in caplog.records if "protect it" in record.getMessage()]
    assert len(said) == warned
    assert all("--auth-token-env" in line and "Server(auth=" in line for line in said)


@pytest.mark.parametrize(
    "url",
    [
        *("mcp.example/mcp", "ftp://mcp.example", "https://", "https://mcp.example/#part", "https://mcp.example/?q=1"),
        *("https://user@mcp.example", 'https://mcp.example/"', "https://mcp.example/ x", "https://[::1", "https://a:b"),
    ],
)
def test_a_resource_url_that_is_none_is_refused(url: str):
    with pytest.raises(ValueError, match="resource_url must be"):
        Settings(resource_url=url)
    assert Settings(resource_url="http://mcp.example:8080/mcp").resource_url == "http://mcp.example:8080/mcp"


@pytest.mark.parametrize("url", ["auth.example", "http://auth.example", "https://", 'https://a"b.example'])
def test_an_authorization_server_without_https_is_refused(url: str):
    with pytest.raises(ValueError, match="authorization_servers must be"):
        Settings(authorization_servers=["https://good.example", url])
    assert Settings(authorization_servers=["http://127.0.0.1:9"]).authorization_servers == ("http://127.0.0.1:9",)


async def test_keys_are_fetched_over_a_real_connection():
    asked = []

    async def answer(stream: trio.SocketStream) -> None:
        asked.append(await stream.receive_some(65536))
        body = json.dumps({"keys": [rsa_key().as_dict(private=False)]}).encode()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            verifier = JWTVerifier(
                jwks_url=f"http://127.0.0.1:{port}/keys", issuer=URL, audience="us", now=lambda: 1_000.0
            )
            text = signed({**claims(), "aud": "us", "exp": 2_000})
            found = await verifier.verify(text)
            nursery.cancel_scope.cancel()
    assert found is not None
    assert found.subject == "alice"
    [head] = asked
    assert head.startswith(b"GET /keys HTTP/1.1\r\n")
    assert text.encode() not in head
