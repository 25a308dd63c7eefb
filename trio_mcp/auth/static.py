"""`StaticTokens`: a few tokens known beforehand, for one's own machines. It keeps their digests and never a token."""

import logging
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import trio

from trio_mcp.auth.tokens import TOKEN_SYNTAX, AccessToken

_log = logging.getLogger("trio_mcp.auth")

#: Characters below which a token can be guessed; 22 of base64 hold 128 bits.
SHORTEST: Final = 22


class StaticTokens:
    """Verifies tokens from a fixed list, in a time that does not depend on which one it is.

    A token that is short is taken, with a warning in the log.

    Args:
        tokens: token to whom it speaks for: a subject, or an `AccessToken` with scopes.

    Raises:
        ValueError: there is none, or one that no header can carry (RFC 6750 section 2.1).
    """

    def __init__(self, tokens: Mapping[str, str | AccessToken]) -> None:
        if not tokens:
            raise ValueError("StaticTokens needs at least one token")
        self._key = secrets.token_bytes(32)
        self._entries: list[tuple[bytes, AccessToken]] = []
        for token, subject in tokens.items():
            access = AccessToken(subject) if isinstance(subject, str) else subject
            if TOKEN_SYNTAX.fullmatch(token) is None:
                raise ValueError(
                    f"the token of {access.subject!r} is not one: letters, digits and -._~+/ only, and = at its end"
                )
            if len(token) < SHORTEST:
                _log.warning(
                    "the token of %r is short (%d characters) and may be guessed; make one of 43 with:"
                    " python -c 'import secrets; print(secrets.token_urlsafe())'",
                    access.subject,
                    len(token),
                )
            self._entries.append((self._digest(token), access))

    def __repr__(self) -> str:
        return f"<StaticTokens: {len(self._entries)}>"

    async def verify(self, token: str) -> AccessToken | None:
        """What the token stands for; see `TokenVerifier.verify`."""
        await trio.lowlevel.checkpoint()
        given = self._digest(token)
        found = None
        for digest, access in self._entries:  # all of them, whichever it is
            if compare_digest(digest, given):
                found = access
        return found

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()
