"""What of HTTP is in hand and what it came to: requests being answered, streams and WebSockets, answers by status.

A request pays for two additions. It counts what reaches the application: what the connection refuses by itself (a
malformed head, too many connections) is in no count here.
"""

from collections.abc import Awaitable

from trio_mcp.http.asgi import CONNECTION_EXTENSION, App, Receive, Scope, Send


class Traffic:
    """The counts.

    Attributes:
        active: requests and WebSockets in hand.
        statuses: answers by the first digit of their status; 0: the client left before there was one.
    """

    __slots__ = ("active", "statuses")

    def __init__(self) -> None:
        self.active = 0
        self.statuses = [0] * 6

    def ended(self, status: int) -> None:
        """A request is done with."""
        self.active -= 1
        self.statuses[status // 100] += 1


class CountTraffic:
    """Counts what passes to the application."""

    def __init__(self, app: App, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI; on our own lane the connection tells when a request is done with."""
        lane = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
        if lane is None or scope["type"] != "http":
            return self._count(scope, receive, send)
        self._traffic.active += 1
        lane.on_end(self._traffic.ended)
        return self._app(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        traffic = self._traffic
        traffic.active += 1
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                traffic.active -= 1
            return
        seen = _Seen(send)
        try:
            await self._app(scope, receive, seen.send)
        finally:
            traffic.ended(seen.status)


class _Seen:
    """Notes the status that passes."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            assert isinstance(status, int)
            self.status = status
        await self._send(message)
