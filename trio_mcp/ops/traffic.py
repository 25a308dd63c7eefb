"""What of HTTP is in hand and what it came to: requests being answered, streams and WebSockets, answers by status.

A request pays for two additions. It counts what reaches the application: what the connection refuses by itself (a
malformed head, too many connections) is in no count here.
"""

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


class CountTraffic:
    """Counts what passes to the application."""

    def __init__(self, app: App, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        traffic = self._traffic
        if scope["type"] != "http":
            traffic.active += 1
            try:
                await self._app(scope, receive, send)
            finally:
                traffic.active -= 1
            return
        seen = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
        if seen is None:
            seen = _Seen(send)
            send = seen.send
        traffic.active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            traffic.active -= 1
            traffic.statuses[seen.status // 100] += 1


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
