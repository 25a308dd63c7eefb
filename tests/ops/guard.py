"""A server behind bearer tokens, and those who ask it with and without one."""

from functools import partial
from typing import Any

import attrs
import trio

from tests.auth.issuer import URL, now
from tests.http.client import V2025_11, Session, Web, request, served
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from trio_mcp import Server
from trio_mcp.auth import AccessToken
from trio_mcp.http.asgi import App
from trio_mcp.ops.bearer import Bearer

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


async def initialized(web: Web, token: str | None) -> Any:
    """A session that is opened with a token."""
    params = {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    fetch = await web.fetch(body=request(0, "initialize", params), headers=bearing(token))
    assert fetch.status == 200, fetch.body
    session = Session(web, fetch.headers["mcp-session-id"], V2025_11)
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await session.open(body=note, headers=bearing(token)).done()).status == 202
    return session
