"""Bearer tokens: who may pass, as whom, and what is said to those who may not (RFC 6750, RFC 9728).

A token comes in the `Authorization` header and nowhere else: never in a query, a cookie or a subprotocol. So browsers,
which cannot set headers on an EventSource or a WebSocket, use `fetch`. What passes carries `principal` and
`trio_mcp.authorization` in its scope, and the header no more: a tool cannot leak or pass on what it does not see.
It refuses to verify: a `TokenVerifier` does.
"""

import math
import re
import time
from collections.abc import Callable, Collection
from typing import Final

import msgspec
import trio

from trio_mcp.auth.remembered import Remembered
from trio_mcp.auth.resource import ProtectedResource
from trio_mcp.auth.tokens import AUTHORIZATION, TOKEN_SYNTAX, Authorization, TokenVerifier, VerifierUnavailableError
from trio_mcp.http.asgi import JSON_TYPE, App, ClientGoneError, Exchange, Header, Receive, Scope, Send
from trio_mcp.protocol.errors import FORBIDDEN, INVALID_REQUEST, UNAUTHORIZED, UNAVAILABLE
from trio_mcp.runtime.host import Host
from trio_mcp.wire.jsonrpc import encode_error

#: Characters of a token that is looked at; a longer one is not valid.
LONGEST: Final = 16 * 1024
_CREDENTIALS: Final = re.compile(r"bearer +(.+)", re.IGNORECASE | re.DOTALL)
_WEBSOCKET_RESPONSE: Final = "websocket.http.response"


class _RefusedError(Exception):
    """A request that does not pass."""

    def __init__(self, status: int, code: int, message: str, *headers: Header) -> None:
        super().__init__(message)
        self.status = status
        self.body = encode_error(None, code, message)
        self.headers = (JSON_TYPE, (b"cache-control", b"no-store"), *headers)


class Bearer:
    """Lets requests and WebSockets pass that have a valid token; serves the metadata that says where to get one.

    A GET or a WebSocket that is still open when its token expires is ended: by itself, or cut after
    `Settings.cleanup_timeout` more.

    Args:
        path: of the MCP endpoint; None: `Settings.path`.
        now: the time, in seconds since the epoch.
    """

    def __init__(
        self,
        app: App,
        host: Host,
        verifier: TokenVerifier,
        *,
        path: str | None = None,
        open_paths: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        settings = host.server.settings
        self._app = app
        self._host = host
        self._open_paths = frozenset(open_paths)
        self._verified = Remembered(verifier, now)
        path = (path or settings.path).rstrip("/") or "/"
        self._resource = ProtectedResource.of(
            host.server.name, path, settings.resource_url, settings.authorization_servers, verifier
        )
        self._required = self._resource.scopes
        host.protected = self._resource

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] == "http":
                path: str = scope["path"].removeprefix(scope.get("root_path", ""))
                if self._resource.is_metadata(path):
                    await self._metadata(scope, receive, send)
                    return
                if path in self._open_paths:
                    await self._app(scope, receive, send)
                    return
                if scope["method"] == "OPTIONS":
                    self._refuse_preflight(scope)
            passed, authorization = await self._passed(scope)
        except _RefusedError as refused:
            await self._respond(scope, receive, send, refused)
            return
        if authorization.until == math.inf or scope.get("method", "GET") != "GET":
            await self._app(passed, receive, send)
            return
        with trio.CancelScope(deadline=authorization.until + self._host.server.settings.cleanup_timeout):
            await self._app(passed, receive, send)

    async def _passed(self, scope: Scope) -> tuple[Scope, Authorization]:
        """The scope of a request that may pass, and by what.

        Raises:
            _RefusedError: it may not.
        """
        headers: list[Header] = []
        credentials: list[bytes] = []
        for header in scope["headers"]:
            if header[0] == b"authorization":
                credentials.append(header[1])
            else:
                headers.append(header)
        authorization = self._verified.recall(credentials[0]) if len(credentials) == 1 else None
        try:
            if authorization is None:
                token = self._token(scope, credentials)
                authorization = await self._verified.verify(credentials[0], token)
        except VerifierUnavailableError as error:
            seconds = str(math.ceil(min(max(error.retry_after, 1), 3600))).encode("ascii")
            message = "Tokens cannot be verified now: try again later"
            raise _RefusedError(503, UNAVAILABLE, message, (b"retry-after", seconds)) from None
        if authorization is None:
            raise self._invalid(scope)
        access_token = authorization.access_token
        if not access_token.allows(self._required):
            message = f"Insufficient scope: this server needs {', '.join(sorted(self._required))}"
            challenge = self._resource.challenge(
                scope, error="insufficient_scope", description="The token lacks a scope", scopes=access_token.scopes
            )
            raise _RefusedError(403, FORBIDDEN, message, challenge)
        passed = {**scope, "headers": headers, "principal": access_token.subject, AUTHORIZATION: authorization}
        return passed, authorization

    def _token(self, scope: Scope, credentials: list[bytes]) -> str:
        """The token that a request brings."""
        if len(credentials) > 1:
            raise self._malformed(scope, "Authorization is sent more than once")
        text = credentials[0].decode("latin-1").strip(" \t") if credentials else ""
        # Another scheme, or nothing: who asks did not know what is needed here (RFC 6750 section 3.1).
        if not credentials or text.partition(" ")[0].lower() not in ("", "bearer"):
            message = "Unauthorized: send an access token, as in Authorization: Bearer TOKEN"
            raise _RefusedError(401, UNAUTHORIZED, message, self._resource.challenge(scope))
        found = _CREDENTIALS.fullmatch(text)
        if found is None or TOKEN_SYNTAX.fullmatch(found[1]) is None:
            raise self._malformed(scope, "Authorization must be: Bearer TOKEN")
        if len(found[1]) > LONGEST:
            raise self._invalid(scope)
        return found[1]

    def _malformed(self, scope: Scope, what: str) -> _RefusedError:
        challenge = self._resource.challenge(scope, error="invalid_request", description=what)
        return _RefusedError(400, INVALID_REQUEST, f"Bad Request: {what}", challenge)

    def _invalid(self, scope: Scope) -> _RefusedError:
        what = "The access token is not valid here, or expired"
        challenge = self._resource.challenge(scope, error="invalid_token", description=what)
        return _RefusedError(401, UNAUTHORIZED, f"Unauthorized: {what}", challenge)

    def _refuse_preflight(self, scope: Scope) -> None:
        """A preflight has no credentials, and one that came here was answered by no CORS wrapper: so it ends here."""
        if any(name == b"access-control-request-method" for name, _ in scope["headers"]):
            raise _RefusedError(403, INVALID_REQUEST, "Forbidden: this origin may not call")

    async def _metadata(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The protected resource's metadata, for everyone (RFC 9728 section 3)."""
        if scope["method"] not in ("GET", "HEAD"):
            raise _RefusedError(405, INVALID_REQUEST, "Method Not Allowed", (b"allow", b"GET, HEAD"))
        document = self._resource.metadata(scope)
        if document is None:
            raise _RefusedError(404, INVALID_REQUEST, "Not Found: no authorization server issues tokens for this one")
        caching = b"no-store" if self._resource.url is None else b"public, max-age=3600"
        headers = (JSON_TYPE, (b"cache-control", caching))
        await self._answer(scope, receive, send, 200, msgspec.json.encode(document), headers)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, refused: _RefusedError) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send, refused.status, refused.body, refused.headers)
            return
        await receive()
        if _WEBSOCKET_RESPONSE not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        start = {"type": f"{_WEBSOCKET_RESPONSE}.start", "status": refused.status, "headers": [*refused.headers]}
        await send(start)
        await send({"type": f"{_WEBSOCKET_RESPONSE}.body", "body": refused.body, "more_body": False})

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, status: int, body: bytes, headers: tuple[Header, ...]
    ) -> None:
        exchange = Exchange(scope, receive, send, self._host.server.settings)
        try:
            await exchange.respond(status, body, headers)
        except ClientGoneError:
            return
