"""MCP on a socket, as little of it as a load needs: requests as bytes, and a client that reads whole answers.

It owns what the requests look like, the same for every server. It refuses to be fast: `wrk` makes the load.
"""

import json
import socket
from typing import Any, Final

SESSION, PER_REQUEST = "session", "per-request"
_VERSIONS: Final = {SESSION: "2025-11-25", PER_REQUEST: "2026-07-28"}
_META: Final = "io.modelcontextprotocol/"
_CLIENT: Final = {"name": "bench", "version": "1.0"}
TIMEOUT: Final = 20.0


def headers(era: str, method: str, name: str | None = None) -> dict[str, str]:
    """The headers of a request, without those that a session adds."""
    found = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": _VERSIONS[era],
    }
    if era == PER_REQUEST:
        found["mcp-method"] = method
        if name is not None:
            found["mcp-name"] = name
    return found


def body(era: str, method: str, params: dict[str, Any], *, id: int = 1) -> str:
    """A JSON-RPC request."""
    if era == PER_REQUEST:
        meta = {
            f"{_META}protocolVersion": _VERSIONS[era],
            f"{_META}clientInfo": _CLIENT,
            f"{_META}clientCapabilities": {},
        }
        params = {**params, "_meta": {**params.get("_meta", {}), **meta}}
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(message, separators=(",", ":"))


def call(era: str, tool: str, arguments: dict[str, Any], **params: Any) -> tuple[dict[str, str], str]:
    """Headers and body of one `tools/call`."""
    return headers(era, "tools/call", tool), body(era, "tools/call", {"name": tool, "arguments": arguments, **params})


class Answer:
    """One whole HTTP response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def message(self) -> Any:
        """The last JSON-RPC message in it, from JSON or from events."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            data = [line[5:].strip() for line in self.body.splitlines() if line.startswith(b"data:")]
            return json.loads([line for line in data if line][-1])
        return json.loads(self.body)


class Client:
    """One connection to a server on loopback."""

    def __init__(self, port: int, *, timeout: float = TIMEOUT) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = port
        self._unread = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, headers: dict[str, str], body: str | None, *, method: str = "POST") -> None:
        """Write one request."""
        lines = [f"{method} /mcp HTTP/1.1", f"host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        data = b""
        if body is not None:
            data = body.encode()
            lines.append(f"content-length: {len(data)}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode() + data)

    def ask(self, headers: dict[str, str], body: str | None, *, method: str = "POST") -> Answer:
        """Write one request and read its whole answer."""
        self.send(headers, body, method=method)
        return self.read()

    def read(self) -> Answer:
        """Read one whole answer."""
        status, found = self.head()
        return Answer(status, found, self._body(found, status))

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of a response."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        if 100 <= status < 200:
            return self.head()
        pairs = (line.partition(":") for line in lines)
        return status, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def _body(self, headers: dict[str, str], status: int) -> bytes:
        if status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._exactly(int(headers.get("content-length", 0)))
        whole = b""
        while True:
            while b"\r\n" not in self._unread:
                self._more()
            size, _, self._unread = self._unread.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            piece = self._exactly(length + 2)
            if not length:
                return whole
            whole += piece[:-2]

    def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._more()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _more(self) -> None:
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._unread += data

    def some(self) -> bytes:
        """The next bytes, whatever they are."""
        if not self._unread:
            self._more()
        data, self._unread = self._unread, b""
        return data

    def initialize(self) -> str:
        """Open a session; returns its id."""
        params = {"protocolVersion": _VERSIONS[SESSION], "capabilities": {}, "clientInfo": _CLIENT}
        opening = headers(SESSION, "initialize")
        answer = self.ask(opening, body(SESSION, "initialize", params))
        if answer.status != 200:
            raise RuntimeError(f"initialize was answered {answer.status}: {answer.body[:200]!r}")
        session_id = answer.headers["mcp-session-id"]
        note = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
        self.ask({**opening, "mcp-session-id": session_id}, note)
        return session_id


def open_sessions(port: int, count: int) -> list[str]:
    """Open sessions that stay behind their connections."""
    ids = []
    for _ in range(count):
        with Client(port) as client:
            ids.append(client.initialize())
    return ids
