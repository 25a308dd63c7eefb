"""`GET /health`: 200 while the server takes work, 503 while it starts or drains. Needs no Host check and no token."""

from collections.abc import Awaitable
from typing import Final

import msgspec

from trio_mcp.http.asgi import JSON_TYPE, App, Exchange, Receive, Scope, Send
from trio_mcp.runtime.host import Host

PATH: Final = "/health"


class Health:
    """Answers `/health` and passes everything else on."""

    def __init__(self, app: App, host: Host) -> None:
        self._app = app
        self._host = host

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or _path(scope) != PATH:
            return self._app(scope, receive, send)
        return self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = self._host
        healthy = host.running and not host.draining
        body: dict[str, str | int] = {
            "status": "healthy" if healthy else "unavailable",
            "server": host.server.name,
            "version": host.server.info.version,
            "sessions": len(host.sessions),
            "calls": len(host.calls),
        }
        if host.worker is not None:
            body["worker"] = host.worker
        exchange = Exchange(scope, receive, send, host.server.settings)
        headers = (JSON_TYPE, (b"cache-control", b"no-store"))
        await exchange.respond(200 if healthy else 503, msgspec.json.encode(body), headers)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
