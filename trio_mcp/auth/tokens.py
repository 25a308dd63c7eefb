"""What an access token says once it is verified, and who verifies: the words that all of authorization shares.

It keeps no token: what was verified is known by its subject and scopes. It refuses to know how one is verified.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs

#: The key of an ASGI scope under which a verified request carries its `Authorization`.
AUTHORIZATION: Final = "trio_mcp.authorization"
#: The scope of whoever may look into the running server.
OPERATOR_SCOPE: Final = "trio_mcp:operator"

#: RFC 6750 section 2.1: what a bearer token is made of.
TOKEN_SYNTAX: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SCOPE_SYNTAX: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


def scope_set(scopes: str | Iterable[str]) -> frozenset[str]:
    """Scopes as a set; a string holds them separated by spaces, as on the wire.

    Raises:
        ValueError: one that cannot be a scope (RFC 6749 section 3.3).
    """
    found = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    for scope in found:
        if not is_scope(scope):
            raise ValueError(f"not a scope: {scope!r}; one is visible ASCII without spaces, quotes and backslashes")
    return found


def is_scope(value: object) -> bool:
    """Whether it can be a scope (RFC 6749 section 3.3)."""
    return isinstance(value, str) and _SCOPE_SYNTAX.fullmatch(value) is not None


def _frozen_mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


@attrs.frozen
class AccessToken:
    """What a verified access token says; the token itself is not kept.

    Attributes:
        subject: whom it speaks for, unique within this server: it owns the sessions that are opened with it.
        scopes: what it allows. A string holds several, separated by spaces.
        client_id: the OAuth client it was given to, where that is known.
        expires_at: when it stops being accepted, in seconds since the epoch; None: never.
        claims: everything that the issuer said, for your own decisions. Not shown in `repr`.
        unrestricted: it allows everything, whatever scope that needs.
    """

    subject: str = attrs.field(validator=attrs.validators.min_len(1))
    scopes: frozenset[str] = attrs.field(default=frozenset(), converter=scope_set, kw_only=True)
    client_id: str | None = attrs.field(default=None, kw_only=True)
    expires_at: float | None = attrs.field(default=None, kw_only=True)
    claims: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen_mapping, repr=False, eq=False, kw_only=True)
    unrestricted: bool = attrs.field(default=False, kw_only=True)

    def allows(self, scopes: Collection[str]) -> bool:
        """Whether it has all of these scopes."""
        return self.unrestricted or self.scopes.issuperset(scopes)


class TokenVerifier(Protocol):
    """Says what a bearer token is worth.

    Besides `verify` it may have, and `ops.bearer` asks for: `required_scopes`, without which a valid token is
    answered 403; `cache_ttl`, the seconds for which an answer may be used again (60); `authorization_servers`, the
    URLs that clients are sent to where `Settings.authorization_servers` names none.
    """

    async def verify(self, token: str) -> AccessToken | None:
        """What the token says; None where it is not valid here, for whatever reason.

        Called with tokens of any content and up to 16 KiB. Cancellation: nothing is remembered.

        Raises:
            VerifierUnavailableError: it cannot be told now; the client is answered 503 and not 401.
        """
        ...


class VerifierUnavailableError(Exception):
    """Whether a token is valid cannot be told now.

    Args:
        retry_after: seconds after which it may be tried again.
    """

    def __init__(self, message: str, *, retry_after: float = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@attrs.frozen
class Authorization:
    """What one request was let in by.

    Attributes:
        until: when the token stops being accepted, on trio's clock; infinite where it never does.
    """

    access_token: AccessToken
    until: float
