"""What an issuer says of a token, checked: times, issuer, audience, subject, scopes (RFC 7519, RFC 9068, RFC 7662).

For JWTs and for the answers of introspection alike. It refuses to check signatures, and to read a clock: it is told
the time.
"""

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from trio_mcp.auth.tokens import AccessToken, is_scope

_LONGEST = 1024
"""Characters of a subject or a client id."""
_LATEST = 1e15
"""Seconds since the epoch that a time may be; beyond, it is no time."""


class ClaimsError(Exception):
    """The token is not valid here; the text says why in words of ours, and holds nothing of the token."""


def _closed(implies: Mapping[str, Collection[str]]) -> Mapping[str, frozenset[str]]:
    """Every scope with all that it implies, by way of others, too."""
    closed: dict[str, frozenset[str]] = {}
    for scope in implies:
        found = {scope}
        waiting = [scope]
        while waiting:
            for implied in implies.get(waiting.pop(), ()):
                if implied not in found:
                    found.add(implied)
                    waiting.append(implied)
        closed[scope] = frozenset(found)
    return closed


@attrs.frozen(kw_only=True)
class Expected:
    """What a token must say.

    Attributes:
        issuer: its `iss`; None: any.
        audiences: one of them must be among its `aud`; None: not looked at.
        leeway: seconds by which clocks may differ.
        implies: scope to the scopes that it holds as well.
    """

    issuer: str | None
    audiences: frozenset[str] | None
    leeway: float = attrs.field(validator=attrs.validators.ge(0))
    implies: Mapping[str, frozenset[str]] = attrs.field(factory=dict, converter=_closed)

    def read(self, claims: Mapping[str, Any], now: float, *, expires: bool) -> AccessToken:
        """The token that these claims describe.

        Args:
            now: seconds since the epoch.
            expires: it must say when it expires.

        Raises:
            ClaimsError: it is not valid, not valid now, or not valid here.
        """
        if "cnf" in claims:  # RFC 7800, RFC 9449: who sent it had to prove something that we cannot check
            raise ClaimsError("it is bound to a key of its sender")
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise ClaimsError("its issuer is another")
        if self.audiences is not None and self.audiences.isdisjoint(_strings(claims.get("aud"))):
            raise ClaimsError("it was issued for another audience")
        expiry = _time(claims, "exp")
        if expiry is None and expires:
            raise ClaimsError("it does not say when it expires")
        if expiry is not None and now >= expiry + self.leeway:
            raise ClaimsError("it has expired")
        begin = _time(claims, "nbf")
        if begin is not None and now < begin - self.leeway:
            raise ClaimsError("it is not valid yet")
        client = _text(claims, "client_id") or _text(claims, "azp")
        subject = _text(claims, "sub")
        if subject is None:
            if client is None:
                raise ClaimsError("it names no subject")
            subject = f"client:{client}"  # so that no client is taken for the user of the same name
        return AccessToken(
            subject,
            scopes=self._scopes(claims),
            client_id=client,
            expires_at=None if expiry is None else expiry + self.leeway,
            claims=claims,
        )

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """RFC 9068 section 2.2.3; some issuers write `scp`."""
        value = claims.get("scope", claims.get("scp"))
        listed = value.split(" ") if isinstance(value, str) else _strings(value)
        found = {scope for scope in listed if is_scope(scope)}
        return frozenset(found.union(*(self.implies.get(scope, ()) for scope in found)))


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return []


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ClaimsError(f"its {name} is malformed")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LATEST:
        raise ClaimsError(f"its {name} is malformed")
    return float(value)


def audiences_of(audience: str | Collection[str]) -> frozenset[str]:
    """One or several audiences as a set.

    Raises:
        ValueError: none.
    """
    found = frozenset([audience] if isinstance(audience, str) else audience)
    if not found or "" in found:
        raise ValueError("audience is needed: the name that tokens for this server carry in aud, such as its URL")
    return found
