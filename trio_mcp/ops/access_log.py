"""The access log: one record a request through the logger `trio_mcp.access`, written in batches off the hot path.

A request pays for a tuple and an append (`batched_log`). Each line carries its facts as attributes of the log record,
too, for formatters that write JSON. It refuses to log headers, bodies and session ids.
"""

import logging
from typing import Any

from trio_mcp.ops.batched_log import BatchedLog

_log = logging.getLogger("trio_mcp.access")


class AccessLog(BatchedLog[tuple[Any, ...]]):
    """Records of requests that wait to be written."""

    def take(self, record: tuple[Any, ...]) -> None:
        """Take in (client, method, target, status, bytes, seconds, protocol) of one request.

        The status is 0 where nothing was answered, the protocol a version of HTTP, or `websocket`: one record tells
        of all the conversation.
        """
        self._add(record)

    def _tell(self, record: tuple[Any, ...]) -> None:
        client, method, target, status, size, seconds, version = record
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

    def _tell_dropped(self, count: int) -> None:
        _log.warning("%d requests were not logged: more came than could be written", count)
