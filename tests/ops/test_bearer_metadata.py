"""Metadata of the protected resource (RFC 9728): where it is, what it says, and what a Host may put into it."""

from typing import Any

import pytest

from tests.auth.issuer import URL
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from tests.ops.guard import ALICE, META, PING, Verifier, challenge, guarded
from trio_mcp.auth import StaticTokens


@pytest.mark.parametrize("path", [META, f"{META}/mcp", f"{META}/", f"{META}/mcp/"])
async def test_metadata_is_there_for_everybody(path: str, autojump_clock):
    async with guarded(Verifier(required_scopes=frozenset({"b", "a"}))) as web:
        fetch = await web.fetch("GET", path=path, headers={"host": "mcp.example:8443"})
        assert fetch.status == 200
        assert fetch.json == {
            "resource": "http://mcp.example:8443/mcp",
            "authorization_servers": [URL],
            "scopes_supported": ["a", "b"],
            "bearer_methods_supported": ["header"],
            "resource_name": "small",
        }
        assert fetch.headers["cache-control"] == "no-store"
        assert (await web.fetch("HEAD", path=path)).body == b""
        refused = await web.fetch("POST", path=path)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_settings_say_what_it_is_called_and_where_tokens_come_from(autojump_clock):
    settings: Any = {
        "resource_url": "https://api.example/deep/mcp",
        "authorization_servers": ["https://one.example", "https://two.example/tenant"],
    }
    async with guarded(Verifier(), **settings) as web:
        for path in (META, f"{META}/mcp", f"{META}/deep/mcp"):
            fetch = await web.fetch("GET", path=path, headers={"host": "internal:8000"})
            assert fetch.json["resource"] == "https://api.example/deep/mcp"
            assert fetch.json["authorization_servers"] == ["https://one.example", "https://two.example/tenant"]
            assert "scopes_supported" not in fetch.json
            assert fetch.headers["cache-control"] == "public, max-age=3600"
        said = challenge(await web.fetch(body=PING))
        assert said["resource_metadata"] == f"https://api.example{META}/deep/mcp"


async def test_a_server_at_the_root_has_metadata_at_the_root(autojump_clock):
    async with guarded(Verifier(), path="/") as web:
        fetch = await web.fetch("GET", path=META)
        assert fetch.json["resource"] == "http://127.0.0.1:8000"
        assert challenge(await web.fetch(path="/"))["resource_metadata"] == f"http://127.0.0.1:8000{META}"


async def test_mounted_below_a_prefix_the_metadata_is_below_it_too(autojump_clock):
    def mounted(fetch: Fetch) -> None:
        fetch.scope.update(root_path="/prefix", path=f"/prefix{fetch.scope['path']}", scheme="https")

    async with guarded(Verifier()) as web:
        refused = await web.open(body=PING, prepare=mounted).done()
        assert challenge(refused)["resource_metadata"] == f"https://127.0.0.1:8000/prefix{META}/mcp"
        fetch = await web.open("GET", path=f"{META}/mcp", prepare=mounted).done()
        assert fetch.json["resource"] == "https://127.0.0.1:8000/prefix/mcp"


@pytest.mark.parametrize(
    "host",
    [
        *(
            'evil"quoted',
            "evil\\",
            "a b",
            "user@evil",
            "evil/path",
            "evil?x",
            "evil#x",
            "",
            "evil:port",
            "\xe9",
            "e" * 300,
        )
    ],
)
async def test_a_host_that_is_not_only_a_name_is_not_repeated(host: str, autojump_clock):
    async with guarded(Verifier()) as web:
        refused = await web.fetch(body=PING, headers={"host": host})
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="small"'
        assert (await web.fetch("GET", path=META, headers={"host": host})).status == 404
    two = [("host", "one.example"), ("host", "two.example")]
    async with guarded(Verifier()) as web:
        assert "metadata" not in (await web.fetch(body=PING, headers=two)).headers["www-authenticate"]


async def test_where_nobody_issues_tokens_there_is_no_metadata_to_lead_astray(autojump_clock):
    server = small_server()
    server.info.name = 'näme "quoted" \\'
    async with guarded(StaticTokens({ALICE: "alice"}), server) as web:
        refused = await web.fetch(body=PING)
        assert refused.headers["www-authenticate"] == 'Bearer realm="nme quoted "'
        assert (await web.fetch("GET", path=META)).status == 404
