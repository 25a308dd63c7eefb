"""`Jwks`: an issuer's published keys, fetched when they are needed and kept (RFC 7517).

Theory of operation. Keys are fresh for `ttl` and usable for `stale`. Who needs a key that is not fresh fetches,
holding the lock; others use what there is, or wait for the lock and find the work done. Between two attempts there is
a pause, longer after a success: an unknown key id must not let anybody hammer the issuer, nor must a failing issuer
be asked by every request. If nothing usable is there and the last attempt failed, nobody can say whether a token is
valid: `VerifierUnavailableError`.

It owns no task: the fetch runs in the task of a request, and if that is cancelled, the next in line takes over.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from trio_mcp.auth.tokens import VerifierUnavailableError

_log = logging.getLogger("trio_mcp.auth")

PAUSE: Final = 5.0
"""Seconds between a failed attempt and the next."""


class Jwks:
    """The keys of one issuer.

    Args:
        fetch: gives the key set's JSON; raises what `failures` lists.
        decode: makes a key set of it, with `pick(kid, algorithm)`; raises ValueError.
        ttl: seconds for which fetched keys are fresh.
        stale: seconds for which they may be used if they cannot be fetched again.
        cooldown: least seconds between two fetches.
        timeout: seconds for one fetch.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        decode: Callable[[bytes], Any],
        failures: tuple[type[Exception], ...],
        *,
        ttl: float,
        stale: float,
        cooldown: float,
        timeout: float,
    ) -> None:
        self._fetch = fetch
        self._decode = decode
        self._failures: tuple[type[Exception], ...] = (*failures, trio.TooSlowError, ValueError)
        self._ttl = ttl
        self._stale = max(ttl, stale)
        self._cooldown = cooldown
        self._timeout = timeout
        self._lock = trio.Lock()
        self._keys: Any = None
        self._fetched = -math.inf
        self._not_before = -math.inf
        self._failed = False
        self._attempts = 0

    async def find(self, kid: str | None, algorithm: str) -> Any:
        """The key for a token; None: the issuer has no such key. Cancellation: somebody else fetches.

        Raises:
            VerifierUnavailableError: the issuer cannot be asked.
        """
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        key = self._pick(kid, algorithm)
        if key is not None and (now < self._fetched + self._ttl or now < self._not_before or self._lock.locked()):
            return key
        if now >= self._not_before:
            attempts = self._attempts
            async with self._lock:
                if attempts == self._attempts:  # else who held the lock has just fetched
                    await self._refresh()
            key = self._pick(kid, algorithm)
        if key is None and self._failed:
            pause = max(1.0, self._not_before - trio.current_time())
            raise VerifierUnavailableError("the issuer's keys cannot be fetched", retry_after=pause)
        return key

    def _pick(self, kid: str | None, algorithm: str) -> Any:
        usable = self._keys is not None and trio.current_time() < self._fetched + self._stale
        return self._keys.pick(kid, algorithm) if usable else None

    async def _refresh(self) -> None:
        try:
            with trio.fail_after(self._timeout):
                keys = self._decode(await self._fetch())
        except self._failures as error:
            self._failed = True
            self._not_before = trio.current_time() + PAUSE
            _log.warning("cannot fetch the issuer's keys: %s", error if str(error) else type(error).__name__)
        else:
            self._keys, self._failed = keys, False
            self._fetched = trio.current_time()
            self._not_before = self._fetched + self._cooldown
        self._attempts += 1
