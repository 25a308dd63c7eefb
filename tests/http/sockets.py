"""HTTP/1.1 over a real socket, in a few lines, for tests whose subject is the socket."""

import json
from typing import Any
from urllib.parse import urlsplit

import trio

from tests.http.client import BOTH, modern, request

INFO = {"name": "tests", "version": "1"}


class Wire:
    """One connection to a server; a response is read at the pace of the test."""

    def __init__(self, stream: trio.SocketStream, path: str, host: str) -> None:
        self.stream = stream
        self.path = path
        self.host = host
        self.status = 0
        self.headers: dict[str, str] = {}
        self._rest = b""

    @classmethod
    async def to(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(await trio.open_tcp_stream(parts.hostname, parts.port), parts.path, parts.netloc)

    async def send(self, method: str, body: Any = None, **headers: str) -> None:
        """Send a request; underscores in header names stand for dashes."""
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {self.path} HTTP/1.1", f"Host: {self.host}"]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Accept: {BOTH}", f"Content-Length: {len(payload)}"]
        elif method == "GET":
            lines += ["Accept: text/event-stream"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + payload)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            piece = await self.stream.receive_some()
            assert piece, f"closed before {mark!r}: {self._rest!r}"
            self._rest += piece
        found, _, self._rest = self._rest.partition(mark)
        return found

    async def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            piece = await self.stream.receive_some()
            assert piece, f"closed inside a body: {self._rest!r}"
            self._rest += piece
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    async def head(self) -> int:
        """The status of the next response that is not interim."""
        while True:
            first, *lines = (await self._until(b"\r\n\r\n")).decode().split("\r\n")
            self.status = int(first.split()[1])
            self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if self.status >= 200:
                return self.status

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        assert self.headers["transfer-encoding"] == "chunked", self.headers
        piece = await self._exactly(int(await self._until(b"\r\n"), 16))
        assert await self._exactly(2) == b"\r\n"
        return piece

    async def body(self) -> bytes:
        """The rest of the response."""
        if "content-length" in self.headers:
            return await self._exactly(int(self.headers["content-length"]))
        whole = b""
        while piece := await self.chunk():
            whole += piece
        return whole

    async def event(self) -> Any:
        """The next message of a stream; comments and events without data are passed over."""
        text = b""
        while True:
            piece = await self.chunk()
            assert piece, "the stream ended"
            text += piece
            *blocks, text = text.split(b"\n\n")
            found = [
                json.loads(line[6:]) for block in blocks for line in block.split(b"\n") if line[:6] == b"data: " != line
            ]
            if found:
                assert len(found) == 1
                return found[0]

    async def closed(self) -> None:
        """Until the server closes."""
        while await self.stream.receive_some():
            pass

    async def aclose(self) -> None:
        await self.stream.aclose()

    # MCP

    async def ask(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any) -> None:
        """Send a request of the per-request era."""
        body, headers = modern(method, params, id=id, meta=meta)
        await self.send("POST", body, **headers)

    async def answer(self) -> Any:
        """The next response's message, from JSON."""
        await self.head()
        return json.loads(await self.body())


async def call(url: str, tool: str, **arguments: Any) -> Any:
    """A tool's result, over a connection of its own, in the per-request era."""
    wire = await Wire.to(url)
    async with wire.stream:
        await wire.ask("tools/call", {"name": tool, "arguments": arguments})
        return (await wire.answer())["result"]


async def open_session(wire: Wire) -> str:
    """Open a session; its id."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO}
    await wire.send("POST", request(0, "initialize", params))
    message = await wire.answer()
    assert message["result"]["protocolVersion"] == "2025-11-25"
    return wire.headers["mcp-session-id"]
