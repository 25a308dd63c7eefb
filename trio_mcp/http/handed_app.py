"""An application that hypercorn's HTTP/2 or WebSocket calls: what it hears, what it says, and how long it may wait.

Owns its inbox, the check of what it answers, the answer in its stead when the body did not come in time, and its
record in the access log. It refuses to know hypercorn: its messages are ASGI's.
"""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from trio_mcp.http.asgi import TEXT_TYPE
from trio_mcp.http.response import check_headers

_log = logging.getLogger("trio_mcp.handover")

LogAccess = Callable[[tuple[Any, ...]], None]

_LATE: Final = b"no whole request came in time (body)\n"


class Inbox:
    """Messages to one application. Full, it holds up the connection, but never for a disconnect, nor once it is closed.

    Args:
        size: messages that may wait.
        body_time: seconds for the whole body from when it is first waited for; past them the client counts as gone.

    Attributes:
        late: the body did not come in time.
    """

    def __init__(self, size: int, body_time: float) -> None:
        self.late = False
        self._size = size
        self._body_time = body_time
        self._deadline: float | None = None
        self._messages: deque[Any] = deque()
        self._end: Any = None
        self._changed = trio.lowlevel.ParkingLot()

    async def put(self, message: Any) -> None:
        """Let a message in; after the end it is dropped."""
        await trio.lowlevel.checkpoint()
        if message["type"].endswith(".disconnect"):
            self.close(message)
            return
        while self._end is None and len(self._messages) >= self._size:
            await self._changed.park()
        if self._end is None:
            self._messages.append(message)
            self._changed.unpark_all()

    @property
    def ended(self) -> bool:
        """Nothing more comes: the client is gone, or counts as gone."""
        return self._end is not None

    def close(self, end: Any) -> None:
        """Nothing more comes but `end`, again and again."""
        self._end = self._end or end
        self._changed.unpark_all()

    async def get(self) -> Any:
        """ASGI's `receive`."""
        await trio.lowlevel.checkpoint()
        if self._deadline is None and not self._messages:
            self._deadline = trio.current_time() + self._body_time
        with trio.CancelScope(deadline=self._deadline or math.inf) as body_scope:
            while not self._messages and self._end is None:
                await self._changed.park()
        if body_scope.cancelled_caught:
            self.late = True
            self.close({"type": "http.disconnect"})
        if not self._messages:
            return self._end
        message = self._messages.popleft()
        self._changed.unpark_all()
        if not message.get("more_body", False):
            self._deadline = math.inf
        return message


class HandedApp:
    """One request, or one WebSocket.

    Args:
        send: hypercorn's; None tells it that the application has ended.
        log_access: takes the record (see `ops.access_log`), or None.
    """

    def __init__(
        self, scope: Any, inbox: Inbox, send: Callable[[Any], Awaitable[None]], log_access: LogAccess | None
    ) -> None:
        self._scope = scope
        self._inbox = inbox
        self._send = send
        self._log_access = log_access
        self._status = 0
        self._size = 0

    async def run(self, app: Any) -> None:
        """Run it to its end. Raises nothing of the application's.

        Cancellation: the application is cancelled; the stream is left to its connection.
        """
        scope, began = self._scope, trio.current_time()
        try:
            try:
                await app(scope, self._inbox.get, self.send, trio.to_thread.run_sync, trio.from_thread.run)
            except Exception:
                _log.exception("the application failed on %s %s", scope["type"], scope["path"])
            if not self._status and self._inbox.late:
                await self._too_late()
            elif not self._status and not self._inbox.ended:
                self._status = 500  # hypercorn answers that on `None`
        finally:
            try:
                await self._send(None)
            finally:
                self._record(trio.current_time() - began)

    async def send(self, message: Any) -> None:
        """ASGI's `send`.

        Raises:
            ValueError: a header that `check_headers` refuses.
        """
        kind = message["type"]
        check_headers(message.get("headers", ()))
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._status = message["status"]
        elif kind == "websocket.accept":
            self._status = 101
        elif kind == "websocket.close":
            self._status = self._status or 403
        else:
            self._size += len(message.get("body") or message.get("bytes") or (message.get("text") or "").encode())
        await self._send(message)

    async def _too_late(self) -> None:
        headers = [TEXT_TYPE, (b"content-length", b"%d" % len(_LATE))]
        await self.send({"type": "http.response.start", "status": 408, "headers": headers})
        await self.send({"type": "http.response.body", "body": _LATE})

    def _record(self, took: float) -> None:
        if self._log_access is not None:
            scope = self._scope
            protocol = "websocket" if scope["type"] == "websocket" else scope["http_version"]
            facts = (scope.get("method", "GET"), scope["raw_path"], self._status, self._size, took, protocol)
            self._log_access((scope["client"], *facts))
