"""Rate limits: so many requests in a span of time for each client, told by 429 (RFC 6585) and the RateLimit headers.

The limit is a bucket that refills evenly (the generic cell rate algorithm): `10/minute` lets ten requests come at once
and one more every six seconds. One number is kept for each client, and at most `MAX_CLIENTS` of them. It refuses to
count what a long stream carries: a stream is one request.
"""

import ipaddress
import math
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from trio_mcp.http.asgi import JSON_TYPE, App, Exchange, Header, Receive, Scope, Send, refuse_socket, with_headers
from trio_mcp.protocol.errors import TOO_MANY_REQUESTS
from trio_mcp.settings import Settings, parse_rate
from trio_mcp.wire.jsonrpc import encode_error

#: Clients remembered. Beyond them the one seen longest ago is forgotten, and begins with a full bucket again.
MAX_CLIENTS: Final = 10_000


@attrs.frozen
class Verdict:
    """What the limiter says of one request.

    Attributes:
        remaining: requests that may come at once after this one.
        wait: seconds until the next may come, 0 where that is now.
    """

    allowed: bool
    remaining: int
    wait: float


class Limiter:
    """Buckets of `count` requests that refill in `seconds`, by key, on trio's clock."""

    def __init__(self, count: int, seconds: float, *, max_clients: int = MAX_CLIENTS) -> None:
        self.count = count
        self.seconds = seconds
        self._step = seconds / count
        self._max_clients = max_clients
        self._full_at: dict[str, float] = {}  # when each bucket is full again; in the order of their last request

    def __len__(self) -> int:
        return len(self._full_at)

    def look(self, key: str) -> Verdict:
        """What `take` would say, without taking."""
        return self._judge(key, trio.current_time(), 0)

    def take(self, key: str) -> Verdict:
        """Take one request from a bucket, if there is one in it."""
        now = trio.current_time()
        verdict = self._judge(key, now, 1)
        if verdict.allowed:
            full_at = max(self._full_at.pop(key, now), now) + self._step
            self._full_at[key] = full_at
            self._forget(now)
        return verdict

    def _judge(self, key: str, now: float, taken: int) -> Verdict:
        missing = max(self._full_at.get(key, now) - now, 0) / self._step
        left = self.count - missing + 1e-9  # what is due by a rounding error is due
        if left < 1:
            return Verdict(False, 0, (1 - left) * self._step)
        left -= taken
        return Verdict(True, int(left), 0 if left >= 1 else (1 - left) * self._step)

    def _forget(self, now: float) -> None:
        """Drop the oldest where their bucket is full again, or where there are too many."""
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_clients:
                return
            del self._full_at[oldest]


def by_address(scope: Scope) -> str | None:
    """The client's address; of IPv6 the first 64 bits, because that much is one customer's."""
    client = scope.get("client")
    if client is None:  # a Unix socket: whoever is behind it is let through by the file's mode
        return None
    try:
        address = ipaddress.ip_address(client[0])
    except ValueError:
        return str(client[0])
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def by_principal(scope: Scope) -> str | None:
    """Who the token says it is, else the address."""
    return scope.get("principal") or by_address(scope)


class RateLimit:
    """Takes every request from its client's bucket, and answers 429 when that is empty.

    Args:
        key: whose bucket it is.
        failures_only: only answers with 401 are counted: who guesses tokens is stopped, who has one is not.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        rate: str,
        *,
        key: Callable[[Scope], str | None] = by_address,
        failures_only: bool = False,
    ) -> None:
        count, seconds = parse_rate(rate)
        self.limiter = Limiter(count, seconds)
        self._app = app
        self._settings = settings
        self._key = key
        self._failures_only = failures_only
        self._policy: Header = (b"ratelimit-policy", b'"default";q=%d;w=%d' % (count, math.ceil(seconds)))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        key = self._key(scope) if scope["type"] in ("http", "websocket") else None
        if key is None:
            return self._app(scope, receive, send)
        verdict = self.limiter.look(key) if self._failures_only else self.limiter.take(key)
        if not verdict.allowed:
            return self._refuse(scope, receive, send, verdict)
        if self._failures_only:
            return self._app(*with_headers(scope, receive, send, (), on_status=lambda status: self._count(key, status)))
        if scope["type"] == "websocket":
            return self._app(scope, receive, send)
        return self._app(*with_headers(scope, receive, send, (self._policy, _limit(verdict))))

    def _count(self, key: str, status: int) -> None:
        if status == 401:
            self.limiter.take(key)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, verdict: Verdict) -> None:
        wait = max(math.ceil(verdict.wait), 1)
        text = f"Too Many Requests: {self.limiter.count} in {self.limiter.seconds:g} s; wait {wait} s"
        if scope["type"] == "websocket":
            await refuse_socket(scope, receive, send, 429, text)
            return
        headers = (JSON_TYPE, (b"retry-after", b"%d" % wait), self._policy, _limit(verdict))
        exchange = Exchange(scope, receive, send, self._settings)
        await exchange.respond(429, encode_error(None, TOO_MANY_REQUESTS, text), headers)


def _limit(verdict: Verdict) -> Header:
    """draft-ietf-httpapi-ratelimit-headers: what is left, and in how many seconds there is more."""
    return (b"ratelimit", b'"default";r=%d;t=%d' % (verdict.remaining, math.ceil(verdict.wait)))
