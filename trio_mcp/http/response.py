"""One HTTP/1.1 response, written as ASGI sends it (RFC 9112): head and first piece of the body in one write.

It refuses to decide when a connection ends: it says whether it may go on, in `keep_alive`.
"""

import functools
import itertools
import math
import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Protocol

import trio

from trio_mcp.http.asgi import Header
from trio_mcp.http.byte_stream import ByteStream
from trio_mcp.http.parser import Request
from trio_mcp.protocol.headers import SESSION_ID

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
_CLOSE: Final = b"connection: close\r\n"
_BEGINNING: Final = b"HTTP/1.1 "  # of every response
_COMMENT_CHUNK: Final = b"3\r\n:\n\n\r\n"
_FORBIDDEN: Final = re.compile(rb"[\r\n\0]")
_SPLITS: Final = "a header of the response holds CR, LF or NUL"


def check_headers(headers: Iterable[Header]) -> None:
    """Refuse what would split the response (RFC 9110 section 5.5).

    Raises:
        ValueError: a name or a value holds CR, LF or NUL.
    """
    if _FORBIDDEN.search(b"".join(itertools.chain.from_iterable(headers))):
        raise ValueError(_SPLITS)


class Closing(Protocol):
    """A worker that may be shutting down."""

    closing: bool


class Owner(Protocol):
    """What a response needs of its connection."""

    bytes: ByteStream

    @property
    def worker(self) -> Closing:
        """The connection's worker."""
        ...

    def answered(self) -> None:
        """The response is complete."""
        ...


class Response:
    """The response to one request, written as ASGI sends it: head and first piece of the body in one write."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_head",
        "_length",
        "_request",
        "complete",
        "events",
        "keep_alive",
        "size",
        "started",
        "status",
    )

    def __init__(self, connection: Owner, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._head = b""
        self._chunked = False
        self._length: int | None = None
        self.status = 0
        self.size = 0
        self.started = False
        self.complete = False
        self.events = False
        self.keep_alive = request.keep_alive

    async def send_whole(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """Head and body at once. Raises `PeerGoneError`, and `ValueError` for headers that `check_headers` refuses."""
        line = b""
        if headers and headers[-1][0] == SESSION_ID:  # each session's is another: the cache would hold nothing else
            name, value = headers[-1]
            if _FORBIDDEN.search(value):
                raise ValueError(_SPLITS)
            headers, line = headers[:-1], b"%b: %b\r\n" % (name, value)
        head, may_go_on = _whole_head(status, headers)
        head += line
        self.status = status
        self.size = len(body)
        self.started = self.complete = True
        request = self._request
        if not may_go_on:
            self.keep_alive = False
        elif not (
            self.keep_alive and request.complete and request.version == "1.1" and not self._connection.worker.closing
        ):
            self.keep_alive = False
            head += _CLOSE
        length = b"" if status in (204, 304) else b"content-length: %d\r\n" % len(body)
        date = _date_line()
        await self._connection.bytes.write(head + length + date + (b"" if request.method == "HEAD" else body))

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI. Raises `PeerGoneError` when the client is gone, `ValueError` for headers that `check_headers` refuses.

        Cancellation: the response may be cut short.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._head = self._make_head(self.status, message["headers"])
            return
        if message["type"] != "http.response.body" or self.complete:
            raise RuntimeError(f"{message['type']} is not expected here")
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        self.size += len(body)
        if self._request.method == "HEAD" or self.status in (204, 304):
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        if not self.started:
            if not self._head:
                raise RuntimeError("a body before the start of the response")
            self.started = True
            body = self._head + body
        if not more:
            self.complete = True
            if self._length is not None and self._length != self.size:
                self.keep_alive = False  # the client cannot tell any more where the next response begins
        if body:
            await self._connection.bytes.write(body)
        if not more:
            self._connection.answered()  # last, because whom it wakes may cancel us

    def _make_head(self, status: int, headers: list[Header]) -> bytes:
        check_headers(headers)
        length = no_body = status in (204, 304) or status < 200
        closing = False
        request = self._request
        self.keep_alive = self.keep_alive and request.complete and not self._connection.worker.closing
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                length = True
                if not no_body and request.method != "HEAD":
                    self._length = int(value)
            elif name == b"content-type":
                self.events = value == b"text/event-stream"
            elif name == b"connection" and value.lower() == b"close":
                closing = True
        if not length and not no_body:
            if request.version == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(_CLOSE)
        elif request.version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(_date_line())
        return b"".join(lines)

    def probe(self) -> bool:
        """Write something harmless to find out whether the client still reads; False where nothing can be written."""
        write_now = self._connection.bytes.write_now
        if not self.started:
            return write_now(_BEGINNING, ahead=True)
        return self.events and self._chunked and write_now(_COMMENT_CHUNK)


@functools.lru_cache(maxsize=1024)
def _whole_head(status: int, headers: tuple[Header, ...]) -> tuple[bytes, bool]:
    """Status line and headers, and whether the connection may go on. Responses repeat them, so they are made once."""
    check_headers(headers)
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    lines += [b"%b: %b\r\n" % header for header in headers]
    return b"".join(lines), (b"connection", b"close") not in headers


_date: tuple[float, bytes] = (-math.inf, b"")


def _date_line() -> bytes:
    """The Date header and the end of the head; made anew once a second."""
    global _date
    now = trio.current_time()
    if now - _date[0] >= 1 or now < _date[0]:
        _date = now, f"date: {formatdate(usegmt=True)}\r\n\r\n".encode("ascii")
    return _date[1]


def plain(status: int, text: str) -> bytes:
    """A whole response in words, after which the connection closes."""
    body = text.encode() + b"\n"
    head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
    return (_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status) + head + _date_line() + body
