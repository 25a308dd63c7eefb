"""`JWTVerifier`: access tokens that are JWTs (RFC 9068). It owns what a token must say; keys and claims have files.

It refuses unsigned tokens, algorithms that were not allowed, and HMAC wherever the key is public.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from trio_mcp.auth.claims import ClaimsError, Expected, audiences_of
from trio_mcp.auth.jwks import Jwks
from trio_mcp.auth.tokens import AccessToken, scope_set
from trio_mcp.urls import is_safe_url

_log = logging.getLogger("trio_mcp.auth")

#: RFC 9068 section 4, and what issuers wrote before it.
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_OLDER_TYPES: Final = frozenset({"jwt", "application/jwt"})


class JWTVerifier:
    """Verifies JWTs of one issuer, with keys that it publishes or with one that is given.

    Keys are fetched at the first token, by one task however many wait, and again when they are old or a token names
    an unknown key. While they cannot be fetched, known ones are used for a while; then requests are answered 503.

    Args:
        jwks_url: where the issuer publishes its keys; HTTPS, unless it is on loopback.
        key: instead of that, one key: PEM, JWK, or a shared secret (then say `algorithms=["HS256"]`).
        issuer: the exact `iss`.
        audience: what names this server in `aud`, usually its URL; any of several will do.
        algorithms: allowed ones; None: all that sign with a private key. `none` never is.
        required_scopes: without all of these, a valid token is answered 403.
        implies: scope to further scopes that it holds, such as `{"admin": ["read", "write"]}`.
        leeway: seconds by which clocks may differ.
        strict_type: take only tokens of the type `at+jwt` (RFC 9068 section 4), as not every issuer writes it.
        jwks_ttl: seconds for which fetched keys are fresh; `jwks_stale`: for which they may be used at all;
            `jwks_cooldown`: least seconds between two fetches; `timeout`: of one fetch.
        cache_ttl: seconds for which a verified token is not verified again; never beyond its expiry.
        now: the time, in seconds since the epoch.
        transport: an httpx2 transport in place of the network, for tests.

    Raises:
        ValueError: arguments that do not go together, or would not be safe.
        ImportError: the extra `auth` is not installed.
    """

    def __init__(
        self,
        *,
        jwks_url: str | None = None,
        key: str | bytes | Mapping[str, Any] | None = None,
        issuer: str,
        audience: str | Collection[str],
        algorithms: Collection[str] | None = None,
        required_scopes: str | Collection[str] = (),
        implies: Mapping[str, Collection[str]] | None = None,
        leeway: float = 30,
        strict_type: bool = False,
        jwks_ttl: float = 600,
        jwks_stale: float = 3600,
        jwks_cooldown: float = 30,
        timeout: float = 5,
        cache_ttl: float = 60,
        now: Callable[[], float] = time.time,
        transport: Any = None,
    ) -> None:
        if (jwks_url is None) is (key is None):
            raise ValueError("give JWTVerifier either jwks_url or key")
        if not issuer:
            raise ValueError("issuer is needed: the exact iss of the tokens, such as https://auth.example.org")
        self._expected = Expected(issuer=issuer, audiences=audiences_of(audience), leeway=leeway, implies=implies or {})
        self.issuer = issuer
        self.required_scopes = scope_set(required_scopes)
        self.cache_ttl = cache_ttl
        #: Where clients get tokens: the issuer, where that is a URL.
        self.authorization_servers = (issuer,) if is_safe_url(issuer) else ()
        self._types = _TYPES if strict_type else _TYPES | _OLDER_TYPES
        self._typeless = not strict_type
        self._now = now
        self._jose = jose = _import_jose()
        self._key: Any = None
        self._jwks: Jwks | None = None
        if key is not None:
            try:
                self._key = jose.import_key(key)
            except jose.KeyFault as error:
                raise ValueError(str(error)) from None
        self._algorithms = jose.allowed_algorithms(
            algorithms, shared_secret=key is not None and jose.is_shared_secret(self._key)
        )
        if jwks_url is not None:
            fetch = import_fetch(jwks_url, "jwks_url")
            self._jwks = Jwks(
                fetch.Fetcher(jwks_url, transport).get,
                jose.KeySet.decode,
                (fetch.FetchError,),
                ttl=jwks_ttl,
                stale=jwks_stale,
                cooldown=jwks_cooldown,
                timeout=timeout,
            )

    def __repr__(self) -> str:
        return f"<JWTVerifier of {self.issuer}>"

    async def verify(self, token: str) -> AccessToken | None:
        """What the token says, once its signature and its claims are right; see `TokenVerifier.verify`.

        Raises:
            VerifierUnavailableError: the issuer's keys cannot be fetched.
        """
        jose = self._jose
        try:
            head = jose.read_head(token)
            if head.alg not in self._algorithms:
                raise jose.BadTokenError("its algorithm is not allowed")
            if not (self._typeless if head.typ is None else head.typ.lower() in self._types):
                raise jose.BadTokenError("it is no access token by its type")
            key = self._key if self._jwks is None else await self._jwks.find(head.kid, head.alg)
            if key is None:
                raise jose.BadTokenError("its key is unknown")
            claims = jose.verify(token, key, self._algorithms)
            return self._expected.read(claims, self._now(), expires=True)
        except (jose.BadTokenError, ClaimsError) as error:
            _log.debug("a token was refused: %s", error)
            return None


def _import_jose() -> Any:
    try:
        from trio_mcp.auth import jose
    except ImportError:
        raise _missing("JWTVerifier") from None
    return jose


def import_fetch(url: str, what: str) -> Any:
    """The module that asks authorization servers, if `url` may be asked.

    Raises:
        ValueError: it is neither HTTPS nor on loopback.
        ImportError: the extra `auth` is not installed.
    """
    if not is_safe_url(url):
        raise ValueError(f"{what} must be an https:// URL (http:// only on loopback), not {url!r}")
    try:
        from trio_mcp.auth import fetch
    except ImportError:
        raise _missing("Asking an authorization server") from None
    return fetch


def _missing(what: str) -> ImportError:
    return ImportError(f"{what} needs the extra auth: pip install 'trio-mcp[auth]'")
