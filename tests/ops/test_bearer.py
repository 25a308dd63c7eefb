"""Bearer tokens over HTTP and WebSocket: who passes, what the others are told, and what stays open to everybody."""

import logging
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.auth.issuer import EPOCH, URL, now
from tests.http.client import V2025_11, Session, Web, request, served
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from trio_mcp import Host, Server
from trio_mcp.auth import AccessToken, StaticTokens, VerifierUnavailableError
from trio_mcp.auth.tokens import AUTHORIZATION
from trio_mcp.http.asgi import App
from trio_mcp.ops.bearer import LONGEST, Bearer

ALICE = "alices-token-is-long-enough-for-this"
BOB = "bobs-token-is-long-enough-for-this-too"
META = "/.well-known/oauth-protected-resource"
PING = request(1, "ping")


@attrs.define
class Verifier:
    """Knows some tokens, and counts."""

    known: dict[str, AccessToken] = attrs.field(factory=lambda: {ALICE: AccessToken("alice"), BOB: AccessToken("bob")})
    required_scopes: frozenset[str] = frozenset()
    authorization_servers: tuple[str, ...] = (URL,)
    error: Exception | None = None
    asked: list[str] = attrs.field(factory=list)
    cache_ttl: float = 60

    async def verify(self, token: str) -> AccessToken | None:
        self.asked.append(token)
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return self.known.get(token)


def guarded(verifier: Any, server: Server | None = None, **options: Any) -> Any:
    """A server behind bearer tokens."""
    wrap = partial(Bearer, verifier=verifier, now=now)
    return served(server or small_server(**options), wrap=lambda app, host: wrap(app, host))


def bearing(token: str | None) -> dict[str, str | None]:
    return {"authorization": None if token is None else f"Bearer {token}"}


PASSED = 400  # the endpoint's own answer to a ping: no session


async def asked(web: Web, *headers: str, **options: Any) -> Fetch:
    """A request with these Authorization headers."""
    return await web.fetch(body=PING, headers=[("authorization", value) for value in headers], **options)


def challenge(fetch: Fetch) -> dict[str, str]:
    """The parameters of the challenge."""
    scheme, _, rest = fetch.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(part.rstrip('"').split('="', 1) for part in rest.split('", '))


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


# Metadata (RFC 9728)


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


# WebSocket


async def handshake(app: App, token: str | None, *, extension: bool, query: bytes = b"") -> list[dict[str, Any]]:
    """What a handshake brings, over `app`."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    headers = [(b"host", b"localhost:1")] + ([(b"authorization", f"Bearer {token}".encode())] if token else [])
    scope: dict[str, Any] = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/ws",
        "headers": headers,
        "query_string": query,
        "subprotocols": ["mcp", f"bearer.{ALICE}"],
        "extensions": {"websocket.http.response": {}} if extension else {},
    }
    await app(scope, receive, send)
    return sent


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


# Streams that outlive a token


def expiring(seconds: float) -> Verifier:
    return Verifier({ALICE: AccessToken("alice", expires_at=EPOCH + seconds), BOB: AccessToken("alice")})


async def test_a_standing_stream_ends_with_its_token_and_the_session_goes_on_with_another(autojump_clock):
    async with guarded(expiring(100)) as web:
        session = await initialized(web, ALICE)
        stream = session.listen(headers=bearing(ALICE))
        await stream.done()
        assert trio.current_time() == 100
        assert stream.complete  # with its terminator
        refused = await session.listen(headers=bearing(ALICE)).done()
        assert (refused.status, challenge(refused)["error"]) == (401, "invalid_token")
        back = session.listen(headers=bearing(BOB))
        await back.answered()
        assert back.status == 200
        web.host.server.changed("tools")
        await back.hears(1)


async def test_a_subscription_ends_with_its_token_and_says_so(autojump_clock):
    async with guarded(expiring(100)) as web:
        params = {"notifications": {"toolsListChanged": True}}
        fetch = await web.ask("subscriptions/listen", params, headers=bearing(ALICE)).done()
        assert trio.current_time() == 100
        assert fetch.complete
        assert fetch.result["resultType"] == "complete"


@pytest.mark.parametrize("era", ["session", "per request"])
async def test_a_call_that_began_with_a_valid_token_may_finish(era: str, autojump_clock):
    async with guarded(expiring(100)) as web:
        if era == "session":
            session = await initialized(web, ALICE)
            body = request(5, "tools/call", {"name": "wait", "arguments": {"seconds": 500}})
            fetch = session.open(body=body, headers=bearing(ALICE))
        else:
            fetch = web.ask("tools/call", {"name": "wait", "arguments": {"seconds": 500}}, headers=bearing(ALICE))
        await fetch.done()
        assert trio.current_time() == 500
        assert fetch.result["content"][0]["text"] == "waited 500"


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_does_not_end_by_itself_is_cut_a_little_later(kind: str, autojump_clock):
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    bearer = Bearer(app, Host(small_server(cleanup_timeout=5)), expiring(100), now=now)
    if kind == "websocket":
        await handshake(bearer, ALICE, extension=True)
    else:
        fetch = Fetch("GET", "/standing", [(b"authorization", f"Bearer {ALICE}".encode())], [b""])
        await bearer(fetch.scope, fetch.receive, fetch.send)
    assert ended == [105]
    with trio.move_on_after(1000):
        await handshake(bearer, BOB, extension=True)  # one that does not expire
    assert ended == [105, 1105]


# Sessions


async def initialized(web: Web, token: str | None) -> Any:
    """A session that is opened with a token."""
    params = {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    fetch = await web.fetch(body=request(0, "initialize", params), headers=bearing(token))
    assert fetch.status == 200, fetch.body
    session = Session(web, fetch.headers["mcp-session-id"], V2025_11)
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await session.open(body=note, headers=bearing(token)).done()).status == 202
    return session


async def test_a_session_belongs_to_who_opened_it_and_is_404_for_anybody_else(autojump_clock):
    async with guarded(Verifier()) as web:
        session = await initialized(web, ALICE)
        stream = session.listen(headers=bearing(ALICE))
        await stream.answered()
        web.host.server.changed("tools")
        await stream.hears(1)
        event_id = stream.events[-1].id
        body = request(7, "tools/call", {"name": "echo", "arguments": {"message": "hi"}})
        attempts = [
            session.open(body=body, headers=bearing(BOB)),
            session.open(body={"jsonrpc": "2.0", "id": 1, "result": {}}, headers=bearing(BOB)),
            session.open(body={"jsonrpc": "2.0", "method": "notifications/cancelled"}, headers=bearing(BOB)),
            session.open("GET", headers=bearing(BOB)),
            session.open("GET", headers={**bearing(BOB), "last-event-id": event_id}),
            session.open("DELETE", headers=bearing(BOB)),
        ]
        for attempt in attempts:
            assert (await attempt.done()).status == 404
        unknown = await web.fetch("DELETE", headers={**bearing(BOB), "mcp-session-id": "never-was"})
        assert unknown.body == attempts[-1].body  # nothing tells that it exists
        still = await session.open(body=body, headers=bearing(ALICE)).done()
        assert still.result["content"][0]["text"] == "hi"
        assert not stream.returned
        assert (await session.open("DELETE", headers=bearing(ALICE)).done()).status == 204


async def test_a_state_belongs_to_who_was_asked(autojump_clock):
    capable: Any = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    async with guarded(Verifier()) as web:
        ask = partial(web.ask, "tools/call", meta=capable)
        asked_for = await ask({"name": "ask", "arguments": {}}, headers=bearing(ALICE)).done()
        state = asked_for.result["requestState"]
        answers = {"who": {"action": "accept", "content": {"name": "Ada"}}}
        params = {"name": "ask", "arguments": {}, "requestState": state, "inputResponses": answers}
        assert (await ask(params, headers=bearing(BOB)).done()).error["code"] == -32602
        assert "Ada" in str((await ask(params, headers=bearing(ALICE)).done()).result)


async def test_the_lifespan_passes_through():
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Bearer(app, Host(small_server()), Verifier())({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # nobody receives or sends
    assert seen == ["lifespan"]
