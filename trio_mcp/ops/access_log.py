"""The access log: one record a request through the logger `trio_mcp.access`, written in batches off the hot path.

A request pays for a tuple and an append. A task makes the lines, as often as `INTERVAL`; each carries its facts as
attributes of the log record, too, for formatters that write JSON. It refuses to log headers, bodies and session ids.
"""

import logging
from collections import deque
from typing import Any, Final

import trio

_log = logging.getLogger("trio_mcp.access")

INTERVAL: Final = 0.25
BOUND: Final = 10_000


class AccessLog:
    """Records of requests that wait to be written.

    At most `BOUND` wait; when full the oldest is dropped, and how many were is told.
    """

    def __init__(self) -> None:
        self._records: deque[tuple[Any, ...]] = deque(maxlen=BOUND)
        self._taken = 0
        self._stop = trio.Event()

    def take(self, record: tuple[Any, ...]) -> None:
        """Take in (client, method, target, status, bytes, seconds, protocol) of one request.

        The status is 0 where nothing was answered, the protocol a version of HTTP, or `websocket`: one record tells
        of all the conversation.
        """
        self._taken += 1
        self._records.append(record)

    async def run(self) -> None:
        """Write what comes until `stop`. Cancellation: what waits is written."""
        try:
            while not self._stop.is_set():
                with trio.move_on_after(INTERVAL):
                    await self._stop.wait()
                self._write()
        finally:
            self._write()

    def stop(self) -> None:
        """Let `run` write what is left and return."""
        self._stop.set()

    def _write(self) -> None:
        records, self._records = self._records, deque(maxlen=BOUND)
        dropped, self._taken = self._taken - len(records), 0
        for client, method, target, status, size, seconds, version in records:
            address = client[0] if client else "-"
            path = target.partition(b"?")[0].decode("latin-1")  # a query may hold secrets
            milliseconds = round(seconds * 1000, 1)
            protocol = "WebSocket" if version == "websocket" else f"HTTP/{version}"
            _log.info(
                '%s "%s %s %s" %d %d %.1fms',
                address,
                method,
                path,
                protocol,
                status,
                size,
                milliseconds,
                extra={
                    "client": address,
                    "method": method,
                    "path": path,
                    "protocol": protocol,
                    "status": status,
                    "bytes": size,
                    "duration_ms": milliseconds,
                },
            )
        if dropped:
            _log.warning("%d requests were not logged: more came than could be written", dropped)
