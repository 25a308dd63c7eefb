"""`Introspection`: tokens that only their issuer can read (RFC 7662). Refuses to keep answers: `ops.bearer` does."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
import trio

from trio_mcp.auth.claims import ClaimsError, Expected, audiences_of
from trio_mcp.auth.jwks import PAUSE
from trio_mcp.auth.jwt import import_fetch
from trio_mcp.auth.tokens import AccessToken, VerifierUnavailableError, scope_set

_log = logging.getLogger("trio_mcp.auth")

#: Questions at a time; more wait, within the timeout.
AT_ONCE: Final = 10


class Introspection:
    """Asks the issuer about every new token.

    After a failure nothing is asked for a few seconds: requests are answered 503 meanwhile.

    Args:
        url: the introspection endpoint; HTTPS, unless it is on loopback.
        client_id, client_secret: who we are to the issuer.
        audience: what names this server in `aud`. None only where the issuer calls tokens for others inactive.
        issuer: the exact `iss`, if answers have one.
        required_scopes: without all of these, a valid token is answered 403.
        implies: scope to further scopes that it holds.
        leeway: seconds by which clocks may differ.
        authorization_servers: URLs where clients get tokens.
        cache_ttl: seconds for which an answer is used again: how long a revoked token may still work.
        timeout: seconds for one question.
        now: the time, in seconds since the epoch.
        transport: an httpx2 transport in place of the network, for tests.

    Raises:
        ValueError: arguments that would not be safe.
        ImportError: the extra `auth` is not installed.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        audience: str | Collection[str] | None,
        issuer: str | None = None,
        required_scopes: str | Collection[str] = (),
        implies: Mapping[str, Collection[str]] | None = None,
        leeway: float = 30,
        authorization_servers: Collection[str] = (),
        cache_ttl: float = 60,
        timeout: float = 5,
        now: Callable[[], float] = time.time,
        transport: Any = None,
    ) -> None:
        self._expected = Expected(
            issuer=issuer,
            audiences=None if audience is None else audiences_of(audience),
            leeway=leeway,
            implies=implies or {},
        )
        self.url = url
        self.required_scopes = scope_set(required_scopes)
        self.authorization_servers = tuple(authorization_servers)
        self.cache_ttl = cache_ttl
        self._client_id = client_id
        self._client_secret = client_secret
        self._timeout = timeout
        self._now = now
        self._fetch = import_fetch(url, "the introspection URL")
        self._fetcher = self._fetch.Fetcher(url, transport)
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._failed_at: float | None = None

    def __repr__(self) -> str:
        return f"<Introspection at {self.url}>"

    async def verify(self, token: str) -> AccessToken | None:
        """What the issuer says of the token; see `TokenVerifier.verify`.

        Raises:
            VerifierUnavailableError: the issuer cannot be asked.
        """
        await self._rest()
        with trio.move_on_after(self._timeout) as queue_scope:
            await self._limiter.acquire()
        if queue_scope.cancelled_caught:
            raise _unavailable(1)
        try:
            answer = await self._ask(token)
        finally:
            self._limiter.release()
        try:
            if answer.get("active") is not True:
                raise ClaimsError("its issuer says that it is not active")
            if str(answer.get("token_type", "bearer")).lower() not in ("bearer", "access_token"):
                raise ClaimsError("it is no bearer token")
            return self._expected.read(answer, self._now(), expires=False)
        except ClaimsError as error:
            _log.debug("a token was refused: %s", error)
            return None

    async def _rest(self) -> None:
        """Refuse while the last failure is not long ago."""
        await trio.lowlevel.checkpoint()
        if self._failed_at is not None:
            rest = self._failed_at + PAUSE - trio.current_time()
            if rest > 0:
                raise _unavailable(rest)

    async def _ask(self, token: str) -> dict[str, Any]:
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            with trio.fail_after(self._timeout):
                body = await self._fetcher.post(form, self._client_id, self._client_secret)
            answer = msgspec.json.decode(body, type=dict[str, Any])
        except (self._fetch.FetchError, trio.TooSlowError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._failed_at = trio.current_time()
            _log.warning("cannot introspect tokens: %s", error if str(error) else type(error).__name__)
            raise _unavailable(PAUSE) from None
        self._failed_at = None
        return answer


def _unavailable(seconds: float) -> VerifierUnavailableError:
    return VerifierUnavailableError("the authorization server cannot be asked", retry_after=max(1.0, seconds))
