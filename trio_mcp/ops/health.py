"""`GET /health` and `GET /ready`, for whoever restarts a process and for whoever sends it requests.

`/health` is liveness: 200 whenever the process can answer, also while it starts and drains. An orchestrator restarts
what fails it, and a restart would cut the very calls that a drain lets finish. `/ready` is readiness: 200 while new
work is taken, else 503, so that a balancer looks elsewhere. Neither needs a Host check or a token, and neither says
more than counts.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import trio

from trio_mcp.http.asgi import JSON_TYPE, App, Exchange, Header, Receive, Scope, Send
from trio_mcp.http.custom_route import respond_not_allowed
from trio_mcp.runtime.host import Host

HEALTH: Final = "/health"
READY: Final = "/ready"
OPEN_PATHS: Final = (HEALTH, READY)
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")


class Health:
    """Answers `/health` and `/ready` and passes everything else on.

    Args:
        active: how many connections have something in hand; None: it is not known, and not told.
        wall_clock: seconds since the epoch, for `timestamp`.
    """

    def __init__(
        self,
        app: App,
        host: Host,
        *,
        active: Callable[[], int] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._host = host
        self._active = active
        self._wall_clock = wall_clock

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        path = scope["path"] if scope["type"] == "http" else ""
        if not path.endswith(OPEN_PATHS) or (path := _path(scope)) not in OPEN_PATHS:
            return self._app(scope, receive, send)
        return self._answer(path, Exchange(scope, receive, send, self._host.server.settings))

    async def _answer(self, path: str, exchange: Exchange) -> None:
        if exchange.method not in ("GET", "HEAD"):
            await respond_not_allowed(exchange, ["GET", "HEAD"])
        elif path == HEALTH:
            await exchange.respond(200, msgspec.json.encode(self._health()), (JSON_TYPE, _NO_STORE))
        else:
            state = state_of(self._host)
            headers = (JSON_TYPE, _NO_STORE) if state == "ready" else (JSON_TYPE, _NO_STORE, (b"retry-after", b"1"))
            await exchange.respond(200 if state == "ready" else 503, msgspec.json.encode({"status": state}), headers)

    def _health(self) -> dict[str, Any]:
        host = self._host
        now = datetime.fromtimestamp(self._wall_clock(), UTC).isoformat(timespec="milliseconds")
        active = {} if self._active is None else {"active_connections": self._active()}
        worker = {} if host.worker is None else {"worker": host.worker}
        return {
            "status": "healthy",
            "state": state_of(host),
            "timestamp": now.replace("+00:00", "Z"),
            **active,
            "sessions": len(host.sessions),
            "calls": len(host.calls),
            "server": host.server.name,
            "version": host.server.info.version,
            "uptime": 0 if host.began is None else round(trio.current_time() - host.began, 3),
            **worker,
        }


def state_of(host: Host) -> str:
    """starting, ready, draining or stopped."""
    if host.running:
        return "draining" if host.draining else "ready"
    return "stopped" if host.draining else "starting"


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
