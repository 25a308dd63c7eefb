"""HTTP/1.1 requests out of bytes, through llhttp (RFC 9112): heads, bodies, limits and the refusal of smuggling shapes.

llhttp in its strict mode refuses two lengths, a length with chunked coding, bare LF, obs-fold, spaces before the
colon and bad chunk sizes. What it lets pass and a server must not, is refused here: no or two Host headers, chunked
coding in HTTP/1.0, other versions. It refuses to read or write anything.
"""

import re
from collections import deque
from typing import Final

import httptools

_UPGRADE_LINE: Final = re.compile(rb"(\r\n)upgrade([ \t]*:)", re.IGNORECASE)


class Refusal(Exception):
    """Bytes that are no request we take: answered with `status`, and the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Request:
    """One request: its head, and its body as far as it has come.

    Attributes:
        target: the raw request target.
        complete: the whole body is here.
        expects_continue: the client waits for `100 Continue` before it sends the body.
    """

    __slots__ = ("body", "complete", "expects_continue", "headers", "keep_alive", "method", "target", "version")

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.complete = False
        self.keep_alive = True
        self.expects_continue = False


class RequestParser:
    """A stream of bytes to a queue of requests.

    Args:
        max_head: bytes of one head, target and header lines together.
        max_headers: header lines of one head.

    Attributes:
        requests: requests whose head is complete, in the order they came; the last may still lack its body.
        refusal: why nothing after `requests` will be read.
        upgrade: the head's own bytes and all after it, where the last request asks for WebSocket.
        begun: part of a head has come.
    """

    def __init__(self, *, max_head: int, max_headers: int) -> None:
        self.requests: deque[Request] = deque()
        self.refusal: Refusal | None = None
        self.upgrade: bytes | None = None
        self.begun = False
        self._max_head = max_head
        self._max_headers = max_headers
        self._parser = httptools.HttpRequestParser(self)
        self._current = Request()
        self._head_size = 0
        self._in_head = False
        self._hosts = 0
        self._raw = b""

    def feed(self, data: bytes) -> None:
        """Take bytes in. What is wrong with them ends up in `refusal`."""
        if self.refusal is not None or self.upgrade is not None:
            return
        if self.begun and self._in_head:
            self._raw += data
            if len(self._raw) > self._max_head:
                self.refusal = Refusal(431, f"the request head is larger than {self._max_head} bytes")
                return
        else:
            self._raw = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            self._upgrade(error.args[0])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.refusal = cause if isinstance(cause, Refusal) else Refusal(400, "malformed request")
        except httptools.HttpParserInvalidMethodError:
            self.refusal = self._refused(501 if self._raw[:1].isalpha() else 400, "unknown method")
        except httptools.HttpParserError as error:
            self.refusal = self._refused(400, str(error))

    def _refused(self, status: int, reason: str) -> Refusal:
        if self._current in self.requests and not self._current.complete:
            self._current.keep_alive = False
        return Refusal(status, reason)

    def _upgrade(self, offset: int) -> None:
        request = self._current
        wanted = next((value.lower() for name, value in request.headers if name == b"upgrade"), b"")
        if wanted == b"websocket" and request.method == "GET":
            self.requests.pop()
            self.upgrade = self._raw
        elif request.method == "CONNECT":
            self.refusal = Refusal(405, "CONNECT is not served")
        else:
            # Any other upgrade is declined by ignoring it (RFC 9110 section 7.8): read the same bytes without it.
            self.requests.pop()
            again, self._raw = _UPGRADE_LINE.sub(rb"\1x-upgrade\2", self._raw, count=1), b""
            self._parser = httptools.HttpRequestParser(self)
            self.feed(again)

    # What llhttp calls

    def on_message_begin(self) -> None:
        """A head begins."""
        self._current = Request()
        self.begun = self._in_head = True
        self._head_size = self._hosts = 0

    def on_url(self, part: bytes) -> None:
        """A piece of the target."""
        self._current.target += part
        self._count(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; after the head it is a trailer, which nobody here reads."""
        if not self._in_head:
            self._count(len(name) + len(value))
            return
        name = name.lower()
        headers = self._current.headers
        headers.append((name, value.rstrip(b" \t")))
        self._count(len(name) + len(value) + 4)
        if len(headers) > self._max_headers:
            raise Refusal(431, f"more than {self._max_headers} header lines")
        if name == b"host":
            self._hosts += 1

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._max_head:
            raise Refusal(431, f"the request head is larger than {self._max_head} bytes")

    def on_headers_complete(self) -> None:
        """The head is whole: check what llhttp does not."""
        request = self._current
        self._in_head = False
        parser = self._parser
        request.method = parser.get_method().decode("ascii")
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        if request.version not in ("1.1", "1.0"):
            raise Refusal(505, f"HTTP/{request.version} is not served here")
        if self._hosts != 1 and (self._hosts or request.version == "1.1"):
            raise Refusal(400, "exactly one Host header is required")
        for name, value in request.headers:
            if name == b"transfer-encoding" and request.version == "1.0":
                raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
            if name == b"expect":
                if value.lower() != b"100-continue":
                    raise Refusal(417, "only 100-continue can be expected")
                request.expects_continue = request.version == "1.1"
        self.requests.append(request)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._current.body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._current.complete = True
        self.begun = False
