"""Bearer tokens over HTTP and WebSocket: who passes, what the others are told, and what stays open to everybody."""

import logging
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.issuer import now
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from tests.ops.guard import ALICE, BOB, META, PASSED, PING, Verifier, asked, challenge, guarded, handshake
from trio_mcp import Host
from trio_mcp.auth import AccessToken, StaticTokens, VerifierUnavailableError
from trio_mcp.auth.tokens import AUTHORIZATION
from trio_mcp.ops.bearer import LONGEST, Bearer

# Who passes


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  ", "  Bearer", "Bearer   "])
async def test_a_valid_token_passes_however_its_scheme_is_written(scheme: str, autojump_clock):
    async with guarded(Verifier()) as web:
        assert (await asked(web, f"{scheme} {ALICE}")).status == PASSED
        assert (await asked(web, f"{scheme} {ALICE} ")).status == PASSED


async def test_what_passes_carries_its_principal_and_the_header_no_more(autojump_clock):
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    host = Host(small_server())
    bearer = Bearer(app, host, Verifier(), now=now)
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {ALICE}".encode()), (b"x-other", b"1")]
    fetch = Fetch("POST", "/mcp", headers, [b""])
    await bearer(fetch.scope, fetch.receive, fetch.send)
    [scope] = seen
    assert scope["principal"] == "alice"
    assert scope[AUTHORIZATION].access_token == AccessToken("alice")
    assert scope["headers"] == [(b"host", b"localhost"), (b"x-other", b"1")]
    assert ALICE not in repr(scope)
    assert fetch.scope["headers"] == headers  # what came is as it was


async def test_a_principal_that_came_from_elsewhere_is_replaced(autojump_clock):
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["principal"])

    bearer = Bearer(app, Host(small_server()), Verifier(), now=now)
    fetch = Fetch("POST", "/mcp", [(b"authorization", f"Bearer {ALICE}".encode())], [b""])
    fetch.scope["principal"] = "mallory"
    await bearer(fetch.scope, fetch.receive, fetch.send)
    assert seen == ["alice"]


async def test_a_token_is_verified_once_in_a_while(autojump_clock):
    verifier = Verifier()
    async with guarded(verifier) as web:
        for _ in range(5):
            await asked(web, f"Bearer {ALICE}")
        await asked(web, f"Bearer {BOB}")
        assert verifier.asked == [ALICE, BOB]
        await trio.sleep(60)
        await asked(web, f"Bearer {ALICE}")
        assert verifier.asked == [ALICE, BOB, ALICE]


# Who does not


async def test_without_a_token_the_challenge_has_no_error_and_says_where_to_get_one(autojump_clock):
    async with guarded(Verifier(required_scopes=frozenset({"mcp:use", "mcp:more"}))) as web:
        fetch = await web.fetch(body=PING)
        assert fetch.status == 401
        assert challenge(fetch) == {
            "scope": "mcp:more mcp:use",
            "resource_metadata": f"http://127.0.0.1:8000{META}/mcp",
        }
        assert fetch.error["code"] == 401
        assert "Bearer TOKEN" in fetch.error["message"]


@pytest.mark.parametrize("other", ["Basic dXNlcjpwYXNz", "Digest a=b", "DPoP abc", "Bearertoken", "token"])
async def test_another_scheme_is_no_credential_that_counts(other: str, autojump_clock):
    async with guarded(Verifier()) as web:
        fetch = await asked(web, other)
        assert (fetch.status, "error" in challenge(fetch)) == (401, False)


@pytest.mark.parametrize(
    "malformed",
    [
        *(
            "",
            " ",
            "Bearer",
            "Bearer ",
            "bearer    ",
            "Bearer a b",
            "Bearer a,b",
            'Bearer "a"',
            "Bearer a=b",
            "Bearer =",
        ),
        *(
            f"Bearer {ALICE}, Bearer {BOB}",
            "Bearer \xe9",
            "Bearer \x80",
            f"Bearer \t{ALICE}",
            "Bearer a;b",
            "Bearer a\x00",
        ),
    ],
)
async def test_malformed_credentials_are_400(malformed: str, autojump_clock):
    verifier = Verifier()
    async with guarded(verifier) as web:
        fetch = await asked(web, malformed)
        assert fetch.status == 400
        assert challenge(fetch)["error"] == "invalid_request"
        assert verifier.asked == []


@pytest.mark.parametrize("pair", [(ALICE, ALICE), (ALICE, "wrong"), ("wrong", ALICE)])
async def test_two_authorization_headers_are_400_whatever_they_say(pair: tuple[str, str], autojump_clock):
    async with guarded(Verifier()) as web:
        fetch = await asked(web, *(f"Bearer {token}" for token in pair))
        assert (fetch.status, challenge(fetch)["error"]) == (400, "invalid_request")


async def test_an_invalid_token_is_401_and_told_so(autojump_clock):
    async with guarded(Verifier()) as web:
        fetch = await asked(web, "Bearer wrong")
        assert fetch.status == 401
        assert challenge(fetch)["error"] == "invalid_token"
        assert challenge(fetch)["resource_metadata"].endswith(f"{META}/mcp")
        assert fetch.headers["cache-control"] == "no-store"


async def test_a_huge_token_is_refused_unlooked_at(autojump_clock):
    verifier = Verifier()
    async with guarded(verifier) as web:
        fetch = await asked(web, f"Bearer {'a' * (LONGEST + 1)}")
        assert (fetch.status, challenge(fetch)["error"]) == (401, "invalid_token")
        assert verifier.asked == []
        await asked(web, f"Bearer {'a' * LONGEST}")
        assert len(verifier.asked) == 1


@pytest.mark.parametrize("where", ["query", "cookie", "body", "x-header"])
async def test_a_token_anywhere_else_does_not_count(where: str, autojump_clock):
    async with guarded(Verifier()) as web:
        headers = {"cookie": f"access_token={ALICE}"} if where == "cookie" else {"x-access-token": ALICE}
        query = f"access_token={ALICE}&token={ALICE}".encode()
        fetch = await web.open(
            body={**PING, "access_token": ALICE},
            headers=headers,
            prepare=lambda fetch: fetch.scope.update(query_string=query),
        ).done()
        assert (fetch.status, "error" in challenge(fetch)) == (401, False)


async def test_a_valid_token_without_the_scopes_that_everything_needs_is_403(autojump_clock):
    known = {
        ALICE: AccessToken("alice", scopes="mcp:use extra"),
        BOB: AccessToken("bob", scopes="extra"),
    }
    async with guarded(Verifier(known, required_scopes=frozenset({"mcp:use"}))) as web:
        assert (await asked(web, f"Bearer {ALICE}")).status == PASSED
        fetch = await asked(web, f"Bearer {BOB}")
        assert fetch.status == 403
        said = challenge(fetch)
        assert (said["error"], said["scope"]) == ("insufficient_scope", "extra mcp:use")
        assert said["resource_metadata"].endswith(META + "/mcp")


@pytest.mark.parametrize(("seconds", "header"), [(5, "5"), (0.1, "1"), (-3, "1"), (4.2, "5"), (1e9, "3600")])
async def test_when_nobody_can_tell_it_is_503_and_when_to_come_back(seconds: float, header: str, autojump_clock):
    verifier = Verifier(error=VerifierUnavailableError("the secret host db-7 is down", retry_after=seconds))
    async with guarded(verifier) as web:
        fetch = await asked(web, f"Bearer {ALICE}")
        assert fetch.status == 503
        assert fetch.headers["retry-after"] == header
        assert "www-authenticate" not in fetch.headers
        assert b"db-7" not in fetch.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/mcp"), ("DELETE", "/mcp"), ("PUT", "/mcp"), ("OPTIONS", "/mcp"), ("HEAD", "/mcp"), ("GET", "/")),
        *(("GET", "/tools"), ("GET", "/docs"), ("GET", "/metrics"), ("POST", "/message"), ("GET", "/nothing")),
        *(("GET", f"{META}x"), ("GET", f"{META}/other"), ("GET", f"/x{META}"), ("GET", "/.well-known/")),
        *(("GET", f"{META}/mcp/../../mcp"), ("GET", "//mcp"), ("GET", "/health/../mcp")),
    ],
)
async def test_everything_is_behind_it(method: str, path: str, autojump_clock):
    async with guarded(Verifier()) as web:
        assert (await web.fetch(method, path=path)).status == 401


async def test_a_preflight_that_no_cors_wrapper_answered_gets_no_further(autojump_clock):
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    host = Host(small_server())
    fetch = Fetch("OPTIONS", "/tools", [(b"access-control-request-method", b"GET"), (b"origin", b"http://x")], [b""])
    await Bearer(app, host, Verifier())(fetch.scope, fetch.receive, fetch.send)
    assert (fetch.status, reached) == (403, [])
    assert not any(name.startswith("access-control") for name in fetch.headers)


async def test_refusals_tell_nothing_of_what_is_inside(caplog: pytest.LogCaptureFixture, autojump_clock):
    with caplog.at_level(logging.DEBUG):
        async with guarded(StaticTokens({ALICE: "alice", BOB: "bob"})) as web:
            fetches = [
                await asked(web, f"Bearer {ALICE[:-1]}"),
                await asked(web, f"Bearer {ALICE} x"),
                await asked(web),
            ]
    said = " ".join(f"{fetch.headers} {fetch.body!r}" for fetch in fetches) + caplog.text
    for secret in (ALICE[:-1], BOB, "alice", "bob", "StaticTokens", "Traceback"):
        assert secret not in said, secret


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"Bearer " + tail))
def test_no_header_raises(value: bytes):
    async def ask() -> None:
        async with guarded(Verifier({})) as web:
            fetch = await asked(web, value.decode("latin-1"))
            assert fetch.status in (400, 401)
            assert fetch.headers["www-authenticate"].isascii()

    trio.run(ask)


# WebSocket


async def accepting(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept", "principal": scope["principal"]})


async def test_a_websocket_passes_with_a_token_in_its_handshake(autojump_clock):
    bearer = Bearer(accepting, Host(small_server()), Verifier(), now=now)
    assert await handshake(bearer, ALICE, extension=True) == [{"type": "websocket.accept", "principal": "alice"}]


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_websocket_without_one_is_refused_with_401_where_the_server_can(token: str | None, autojump_clock):
    bearer = Bearer(accepting, Host(small_server()), Verifier(), now=now)
    start, body = await handshake(bearer, token, extension=True, query=f"access_token={ALICE}".encode())
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert dict(start["headers"])[b"www-authenticate"].endswith(b'"http://localhost:1' + META.encode() + b'/mcp"')
    assert (body["type"], body["more_body"]) == ("websocket.http.response.body", False)
    assert await handshake(bearer, token, extension=False) == [{"type": "websocket.close", "code": 1008}]


async def test_the_lifespan_passes_through():
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Bearer(app, Host(small_server()), Verifier())({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # nobody receives or sends
    assert seen == ["lifespan"]
