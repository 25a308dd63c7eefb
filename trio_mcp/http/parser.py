"""HTTP/1.1 requests out of bytes, through llhttp (RFC 9112): heads, bodies, limits and the refusal of smuggling shapes.

llhttp in its strict mode refuses two lengths, a length with chunked coding, bare LF, obs-fold, spaces before the
colon and bad chunk sizes. What it lets pass and a server must not, is refused here: no or two Host headers, chunked
coding in HTTP/1.0, other versions, other protocols (llhttp reads RTSP and ICE, too). It refuses to read or write
anything.
"""

from collections.abc import Callable
from typing import Final

import httptools

#: Names that nearly every request has, as clients spell them: one object for each, instead of a new one a request.
_NAMES: Final = {
    spelling: name
    for name in (
        *(b"host", b"accept", b"accept-encoding", b"accept-language", b"authorization", b"connection"),
        *(b"content-length", b"content-type", b"origin", b"user-agent", b"last-event-id"),
        *(b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id"),
    )
    for spelling in (name, name.title(), name.title().replace(b"Mcp-", b"MCP-"))
}
_CHECKED: Final = frozenset({b"host", b"expect", b"transfer-encoding"})


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
        headers: names in lower case; values as they came, with what whitespace may stand behind them.
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
        upgrade: the head, spelled anew, and all after it, where the last request asks for WebSocket.
        begun: part of a head has come.
    """

    def __init__(self, *, max_head: int, max_headers: int) -> None:
        self.requests: list[Request] = []
        self.refusal: Refusal | None = None
        self.upgrade: bytes | None = None
        self.begun = False
        self._max_head = max_head
        self._max_headers = max_headers
        self._parser = httptools.HttpRequestParser(self)
        self._current = Request()
        self._add_header: Callable[[tuple[bytes, bytes]], object] = self._current.headers.append
        self._in_head = False
        # The bytes that the head in hand came in, and where in them its first line can begin.
        self._came = b""
        self._line_from = 0
        # What bounds the head in hand: how many bytes it can have at most, and how many it has at least. And what
        # bounds everything in a body that is not its content: bytes since there was some.
        self._most = self._least = 0
        self._framing = 0

    def feed(self, data: bytes) -> None:
        """Take bytes in. What is wrong with them ends up in `refusal`."""
        if self.refusal is not None or self.upgrade is not None:
            return
        if self._in_head:
            self._most += len(data)
            self._least += len(data)
            self._came += data
        else:
            self._most = len(data)
            self._least = 0
            self._came = data
            self._line_from = 0
        while data:  # once, but for what comes again after an upgrade was declined
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as error:
                data = self._upgrade(data[error.args[0] :])
                continue
            except httptools.HttpParserCallbackError as error:
                cause = error.__context__
                self.refusal = cause if isinstance(cause, Refusal) else Refusal(400, "malformed request")
            except httptools.HttpParserInvalidMethodError:
                self.refusal = Refusal(501, "unknown method")
            except httptools.HttpParserError as error:
                self.refusal = Refusal(400, str(error))
            else:
                if not self._in_head:
                    self._came = b""
                if self.begun:
                    self._bound(len(data))
            return

    def close(self) -> None:
        """Let go of llhttp's parser, which holds this one; nothing can be fed any more."""
        del self._parser

    def _bound(self, size: int) -> None:
        """Refuse what would never end: a head, a trailer, an extension of a chunk."""
        if self._in_head:
            # The size of a whole head leaves out what pads it, so that padding gets as much again.
            if self._least > 2 * self._max_head:
                self.refusal = self._too_large()
            elif len(self._current.headers) > self._max_headers:
                self.refusal = self._too_many()
        elif self._current.body:
            self._framing = 0
        else:
            self._framing += size
            if self._framing > self._max_head:
                self.refusal = Refusal(431, "too much in a body that is not its content")

    def _too_large(self) -> Refusal:
        return Refusal(431, f"the request head is larger than {self._max_head} bytes")

    def _too_many(self) -> Refusal:
        return Refusal(431, f"more than {self._max_headers} header lines")

    def _upgrade(self, rest: bytes) -> bytes:
        """Take an upgrade or decline it: then read on with the bytes returned."""
        request = self.requests.pop()
        if request.method == "CONNECT":
            self.refusal = Refusal(405, "CONNECT is not served")
        elif _is_websocket(request):
            self.upgrade = _head(request) + rest
        else:
            # Any other upgrade is declined by ignoring it (RFC 9110 section 7.8): read the same again without it.
            request.headers = [header for header in request.headers if header[0] != b"upgrade"]
            self._parser = httptools.HttpRequestParser(self)
            self._came = _head(request) + rest
            self._line_from = 0
            return self._came
        return b""

    # What llhttp calls

    def on_message_begin(self) -> None:
        """A head begins."""
        request = self._current = Request()
        self._add_header = request.headers.append
        self.begun = self._in_head = True

    def on_url(self, part: bytes) -> None:
        """A piece of the target."""
        self._current.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; after the head it is a trailer, which nobody here reads."""
        self._add_header((_NAMES.get(name) or name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole: check what llhttp does not."""
        request, parser = self._current, self._parser
        headers = request.headers
        self._in_head = False
        self._framing = -self._most  # what came with the head does not count
        self._add_header = _drop
        request.method = parser.get_method().decode("ascii")
        request.version = parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        if request.version not in ("1.1", "1.0"):
            raise Refusal(505, f"HTTP/{request.version} is not served here")
        behind = self._line_from + len(request.method) + len(request.target) + 2
        if not self._came.startswith(b"HTTP/", behind):
            behind = self._find_protocol(request)
        self._line_from = behind
        if len(headers) > self._max_headers:
            raise self._too_many()
        if self._most > self._max_head and _size(request) > self._max_head:
            raise self._too_large()
        hosts = 0
        for name, value in headers:
            if name in _CHECKED:
                hosts += name == b"host"
                self._check(request, name, value.strip(b" \t").lower())
        if hosts != 1 and (hosts or request.version == "1.1"):
            raise Refusal(400, "exactly one Host header is required")
        self.requests.append(request)

    def _find_protocol(self, request: Request) -> int:
        """Where the protocol stands, if it is HTTP: llhttp does not say which one it has read."""
        line = b"%b %b HTTP/" % (request.method.encode("ascii"), request.target)
        at = self._came.find(line, self._line_from)
        if at < 0:
            raise Refusal(400, "the first line is not HTTP's")
        return at + len(line)

    @staticmethod
    def _check(request: Request, name: bytes, value: bytes) -> None:
        if name == b"transfer-encoding":
            if request.version == "1.0":
                raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
            if value != b"chunked":
                raise Refusal(501, "no transfer coding but chunked is known here")
        elif name == b"expect":
            if value != b"100-continue":
                raise Refusal(417, "only 100-continue can be expected")
            request.expects_continue = request.version == "1.1"

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._current.body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._current.complete = True
        self.begun = False


def _drop(_: object) -> None:
    return None


def _size(request: Request) -> int:
    """Bytes of a head, without what pads it."""
    return len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)


def _head(request: Request) -> bytes:
    """The head as bytes again."""
    lines = [b"%b %b HTTP/%b" % (request.method.encode("ascii"), request.target, request.version.encode("ascii"))]
    return b"\r\n".join([*lines, *(b"%b: %b" % header for header in request.headers), b"", b""])


def _is_websocket(request: Request) -> bool:
    """Whether it is a handshake that can succeed (RFC 6455 section 4.2.1); any other is an ordinary GET."""
    headers = {name: value.strip(b" \t").lower() for name, value in request.headers}
    return (
        request.method == "GET"
        and request.version == "1.1"
        and headers.get(b"upgrade") == b"websocket"
        and headers.get(b"sec-websocket-version") == b"13"
        and b"sec-websocket-key" in headers
    )
