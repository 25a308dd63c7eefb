"""`GET /introspection` and `GET /introspection/events`: what lives in the server, once or as it changes.

While nobody looks, nothing is done and nothing is kept: whoever watches looks again every
`Settings.introspection_interval` and sends what is new. It refuses to change anything of what it shows.
"""

import ipaddress
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec
import trio

from trio_mcp.http.app import Endpoint
from trio_mcp.http.asgi import JSON_TYPE, Exchange, Header, Scope
from trio_mcp.http.message import respond_error
from trio_mcp.ops.nursery_tree import take
from trio_mcp.protocol.errors import INVALID_REQUEST, UNAVAILABLE
from trio_mcp.runtime.host import Host
from trio_mcp.settings import Settings
from trio_mcp.wire.sse import KEEPALIVE, encode_event

PATH: Final = "/introspection"
EVENTS_PATH: Final = "/introspection/events"
_HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_NOSNIFF: Final[tuple[Header, ...]] = _HEADERS[1:]
_ALLOW: Final[tuple[Header, ...]] = ((b"allow", b"GET, HEAD"),)


def may_introspect(scope: Scope, settings: Settings) -> bool:
    """Whether the one who asks may see everybody's sessions and calls.

    Without authentication that is who asks from this machine. A principal is not enough: seeing others needs the
    operator, whom the composition knows.
    """
    client = scope.get("client")
    if not settings.introspection or scope.get("principal") or client is None:
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


class Introspection:
    """The two endpoints of one host.

    Args:
        may: whether the one who asks may see; another than `may_introspect` where there is an operator.
    """

    def __init__(self, host: Host, *, may: Callable[[Scope, Settings], bool] = may_introspect) -> None:
        self._host = host
        self._may = may
        self._watchers = 0
        self._looked: dict[bool, tuple[float, bytes]] = {}

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """What to serve where."""
        return {PATH: self.once, EVENTS_PATH: self.watch}

    async def once(self, exchange: Exchange) -> None:
        """Answer with one snapshot; `?tasks=1` adds trio's tree of tasks."""
        if await self._allowed(exchange):
            body = msgspec.json.encode(take(self._host, base=trio.current_time(), tree=_wants_tree(exchange)))
            await exchange.respond(200, body, (JSON_TYPE, *_HEADERS))

    async def watch(self, exchange: Exchange) -> None:
        """Send a snapshot, and another whenever something changed, until the client leaves or the server goes away."""
        if not await self._allowed(exchange):
            return
        if exchange.method == "HEAD":
            await exchange.respond(200, b"", ((b"content-type", b"text/event-stream"), *_HEADERS))
            return
        if self._host.draining:
            await respond_error(exchange, 503, UNAVAILABLE, "The server is shutting down")
            return
        await exchange.read_body()
        watcher = _Watcher()
        self._watchers += 1
        self._host.subscriptions.add(watcher)
        try:
            await exchange.while_connected(watcher.scope.cancel, partial(self._stream, exchange, watcher))
        finally:
            self._host.subscriptions.remove(watcher)
            self._watchers -= 1
            if not self._watchers:
                self._looked.clear()

    async def _allowed(self, exchange: Exchange) -> bool:
        if exchange.method not in ("GET", "HEAD"):
            await respond_error(exchange, 405, INVALID_REQUEST, "Method Not Allowed", headers=_ALLOW)
            return False
        if not self._may(exchange.scope, self._host.server.settings):
            text = "Forbidden: live sessions are shown to the operator, or on this machine where there is no token"
            await respond_error(exchange, 403, INVALID_REQUEST, text, headers=_HEADERS)
            return False
        return True

    async def _stream(self, exchange: Exchange, watcher: "_Watcher") -> None:
        settings = self._host.server.settings
        tree = _wants_tree(exchange)
        with watcher.scope:
            seen, event = self._look(tree, fresh=True), self._event(tree)
            await exchange.start_stream(_NOSNIFF, event)
            silent_since = trio.current_time()
            while not watcher.leaving.is_set():
                with trio.move_on_after(settings.introspection_interval):
                    await watcher.leaving.wait()
                now, looked = trio.current_time(), self._look(tree)
                if looked != seen:
                    seen, silent_since = looked, now
                    await exchange.write(self._event(tree))
                elif now - silent_since >= settings.keepalive:
                    silent_since = now
                    await exchange.write(KEEPALIVE)
        if not exchange.gone:
            await exchange.finish()

    def _look(self, tree: bool, *, fresh: bool = False) -> bytes:
        """What there is, without what only time changes; one look serves everybody who watches."""
        now = trio.current_time()
        at, looked = self._looked.get(tree, (0.0, b""))
        if fresh or not looked or now - at >= self._host.server.settings.introspection_interval / 2:
            looked = msgspec.json.encode(take(self._host, base=0.0, tree=tree))
            self._looked[tree] = now, looked
        return looked

    def _event(self, tree: bool) -> bytes:
        snapshot = take(self._host, base=trio.current_time(), tree=tree)
        return encode_event(msgspec.json.encode(snapshot))


class _Watcher:
    """One who watches: told, as all standing streams are, when the server goes away."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.leaving = trio.Event()

    def heard(self, kind: str, uri: str | None) -> None:
        """Changes are seen at the next look."""

    def farewell(self) -> None:
        """End the stream with its terminator."""
        self.leaving.set()


def _wants_tree(exchange: Exchange) -> bool:
    query: bytes = exchange.scope.get("query_string", b"")
    return parse_qs(query.decode("latin-1")).get("tasks") == ["1"]
