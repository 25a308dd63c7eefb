"""`Remembered`: a verifier's answers, used again for a while, so that a request need not pay for a signature.

Credentials are known by a keyed digest, as they came: it tells nobody anything, and what is known is parsed no more.
Refusals are not remembered: a token may become valid. It refuses to know where tokens come from.
"""

import math
import secrets
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import attrs
import trio

from trio_mcp.auth.tokens import Authorization, TokenVerifier

#: Answers that are kept; one more drops the oldest.
BOUND: Final = 10_000
CACHE_TTL: Final = 60.0


@attrs.frozen
class _Entry:
    authorization: Authorization
    good_until: float


class _Asking:
    """One token being verified, and how many wait for that."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.waiting = 0


class Remembered:
    """Asks `verifier` at most once at a time about each token.

    Args:
        now: the time, in seconds since the epoch; what is remembered ages on trio's clock.
    """

    def __init__(self, verifier: TokenVerifier, now: Callable[[], float]) -> None:
        self._verifier = verifier
        self._now = now
        self._ttl: float = getattr(verifier, "cache_ttl", CACHE_TTL)
        self._key = secrets.token_bytes(32)
        self._entries: dict[bytes, _Entry] = {}
        self._asking: dict[bytes, _Asking] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, credentials: bytes) -> Authorization | None:
        """What these credentials allow, if that is remembered."""
        return self._recall(self._digest(credentials))

    async def verify(self, credentials: bytes, token: str) -> Authorization | None:
        """What the token in these credentials allows; None where it is not valid.

        Cancellation: another who asks the same goes on.

        Raises:
            VerifierUnavailableError: it cannot be told now.
        """
        digest = self._digest(credentials)
        asking = self._asking.setdefault(digest, _Asking())
        asking.waiting += 1
        try:
            async with asking.lock:
                return self._recall(digest) or await self._ask(digest, token)
        finally:
            asking.waiting -= 1
            if not asking.waiting:
                self._asking.pop(digest, None)

    def _digest(self, credentials: bytes) -> bytes:
        return blake2b(credentials, key=self._key, digest_size=32).digest()

    def _recall(self, digest: bytes) -> Authorization | None:
        entry = self._entries.get(digest)
        if entry is None:
            return None
        expires_at = entry.authorization.access_token.expires_at
        # By both clocks: trio's stands still while the machine sleeps.
        if trio.current_time() < entry.good_until and (expires_at is None or self._now() < expires_at):
            return entry.authorization
        del self._entries[digest]
        return None

    async def _ask(self, digest: bytes, token: str) -> Authorization | None:
        access_token = await self._verifier.verify(token)
        if access_token is None:
            return None
        now = trio.current_time()
        expires_at = access_token.expires_at
        until = math.inf if expires_at is None else now + expires_at - self._now()
        if until <= now:
            return None
        authorization = Authorization(access_token, until)
        if self._ttl > 0:
            if len(self._entries) >= BOUND:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = _Entry(authorization, min(until, now + self._ttl))
        return authorization
