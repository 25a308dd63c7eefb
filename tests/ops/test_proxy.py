"""Trusted proxies: whose word is taken for who the client is, and that nobody else's is."""

from typing import Any

import pytest

from trio_mcp import Settings
from trio_mcp.ops.proxy import TrustedProxy

PROXIES = ["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"]


async def seen(peer: str | None, *headers: tuple[str, str], kind: str = "http", scheme: str = "http") -> dict[str, Any]:
    """The scope behind the wrapper."""
    found: list[dict[str, Any]] = []

    async def app(scope, receive, send):
        found.append(scope)

    async def nothing(*_):
        raise AssertionError

    scope = {
        "type": kind,
        "scheme": scheme,
        "client": None if peer is None else (peer, 40_000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    before = dict(scope)
    await TrustedProxy(app, PROXIES)(scope, nothing, nothing)
    assert scope == before, "the scope of the server is its own"
    return found[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.0.0.1", "10.9.9.9, 10.8.8.8", "10.9.9.9"),
        ("10.0.0.1", "203.0.113.7:5000", "203.0.113.7"),
        ("10.0.0.1", "[2001:db9::1]:5000", "2001:db9::1"),
        ("10.0.0.1", "2001:db9::1", "2001:db9::1"),
        ("10.0.0.1", "203.0.113.7, unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("2001:db8::5", "203.0.113.7", "203.0.113.7"),
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("not an address", "1.1.1.1", "not an address"),
    ],
)
async def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(peer: str, forwarded: str, client: str):
    scope = await seen(peer, ("x-forwarded-for", forwarded))
    assert scope["client"][0] == client


async def test_two_header_lines_are_one_list():
    scope = await seen("10.0.0.1", ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7, 10.0.0.2"))
    assert scope["client"][0] == "203.0.113.7"


@pytest.mark.parametrize(("kind", "scheme", "secure"), [("http", "http", "https"), ("websocket", "ws", "wss")])
async def test_a_trusted_proxy_says_whether_it_was_https(kind: str, scheme: str, secure: str):
    told = ("x-forwarded-proto", "HTTPS")
    assert (await seen("127.0.0.1", told, kind=kind, scheme=scheme))["scheme"] == secure
    assert (await seen("203.0.113.9", told, kind=kind, scheme=scheme))["scheme"] == scheme
    assert (await seen("127.0.0.1", ("x-forwarded-proto", "x"), kind=kind, scheme=scheme))["scheme"] == scheme


async def test_forwarded_and_forwarded_host_are_not_believed():
    headers = (
        ("forwarded", "for=1.1.1.1;proto=https;host=evil"),
        ("x-forwarded-host", "evil"),
        ("host", "mcp.example"),
    )
    scope = await seen("10.0.0.1", *headers)
    assert (scope["client"][0], scope["scheme"]) == ("10.0.0.1", "http")
    assert (b"host", b"mcp.example") in scope["headers"]


async def test_a_unix_socket_and_a_lifespan_pass_as_they_are():
    assert (await seen(None, ("x-forwarded-for", "1.1.1.1")))["client"] is None
    assert (await seen("10.0.0.1", kind="lifespan"))["client"][0] == "10.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0.0/99", "proxy.example"])
def test_what_is_no_network_is_refused(text: str):
    with pytest.raises(ValueError, match="is no address and no network"):
        Settings(trusted_proxies=[text])
