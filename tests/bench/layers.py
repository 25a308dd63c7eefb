"""Where the microseconds of one call go: the lane over bytes that are always there, layer upon layer.

    python -m tests.bench.layers

Each row adds a layer to the one before; no socket and no kernel is in it. The best of several rounds is shown, because
on a shared machine everything else is somebody else's time.
"""

import time
from typing import Any

import trio

from trio_mcp import Host, Server, http_app
from trio_mcp.http.asgi import App
from trio_mcp.http.connection import Connection, Limits
from trio_mcp.http.hangup import Hangups
from trio_mcp.http.parser import RequestParser

CALLS = 2000
ROUNDS = 7
PER_REQUEST = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"},"_meta":'
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
)
SESSION = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}'
INITIALIZE = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"layers","version":"1"}}}'
)

mcp = Server("layers")


@mcp.tool
async def echo(message: str) -> str:
    """Say it again."""
    return message


def request(body: bytes, *headers: bytes) -> bytes:
    """One POST as it comes over the wire."""
    lines = [b"POST /mcp HTTP/1.1", b"host: 127.0.0.1:8000", b"content-type: application/json"]
    lines += [b"accept: application/json, text/event-stream", *headers, b"content-length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Endless:
    """A byte stream that gives one request again and again, and takes what is written."""

    def __init__(self, data: bytes, times: int) -> None:
        self._data = data
        self._left = times

    async def read(self) -> bytes:
        """The request, as long as there are some left."""
        await trio.lowlevel.checkpoint()
        self._left -= 1
        return self._data if self._left >= 0 else b""

    async def write(self, data: bytes) -> None:
        """Take it."""

    def write_now(self, data: bytes, *, ahead: bool = False) -> bool:
        """Take it."""
        return True

    def say_end(self) -> None:
        """Nothing is at the other end."""

    def into_stream(self) -> trio.abc.Stream:
        """There is none."""
        raise RuntimeError("no stream is behind this")

    def fileno(self) -> int:
        """A number for the watcher below."""
        return 0

    def abort(self) -> None:
        """Nothing is at the other end."""

    async def aclose(self) -> None:
        """Nothing to close."""


class Unwatched(Hangups):
    """A watcher that has nothing to watch."""

    def watch(self, fd: int, connection: Any) -> bool:
        """Say that it does."""
        return True

    def forget(self, fd: int, connection: Any) -> None:
        """There is nothing to forget."""


class Bench:
    """What a connection needs of a worker."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.limits = Limits()
        self.hangups: Hangups = Unwatched()
        self.closing = False
        self.log_access: Any = None

    async def hand_over(self, connection: Connection, data: bytes) -> None:
        """Nothing is handed over here."""


async def constant(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that answers at once."""
    await receive()
    await scope["extensions"]["trio_mcp.connection"].respond(200, (), b"{}")


async def timed(app: App, data: bytes, times: int = CALLS) -> float:
    """Microseconds of one request."""
    connection = Connection(Bench(app), Endless(data, times), client=None, server=("127.0.0.1", 8000))
    began = time.perf_counter()
    await connection.run()
    return (time.perf_counter() - began) / times * 1e6


def parsing(data: bytes) -> float:
    """Microseconds to parse one request."""
    parser = RequestParser(max_head=32768, max_headers=100)
    began = time.perf_counter()
    for _ in range(CALLS):
        parser.feed(data)
        parser.requests.clear()
    return (time.perf_counter() - began) / CALLS * 1e6


async def main() -> None:
    """Measure and print."""
    host = Host(mcp)
    async with trio.open_nursery() as bench_nursery:
        await bench_nursery.start(host.run, name="run host")
        app = http_app(host, loopback=True)
        await timed(app, request(INITIALIZE), 1)
        session = next(iter(host.sessions)).encode()
        per_request = request(
            PER_REQUEST, b"mcp-protocol-version: 2026-07-28", b"mcp-method: tools/call", b"mcp-name: echo"
        )
        in_session = request(SESSION, b"mcp-session-id: " + session, b"mcp-protocol-version: 2025-11-25")
        rows = {
            "HTTP parsing": min(parsing(per_request) for _ in range(ROUNDS)),
            "+ the connection, a constant answer": min([await timed(constant, per_request) for _ in range(ROUNDS)]),
            "+ the call, per-request era": min([await timed(app, per_request) for _ in range(ROUNDS)]),
            "+ the call, session era": min([await timed(app, in_session) for _ in range(ROUNDS)]),
        }
        bench_nursery.cancel_scope.cancel("measured")
    for name, microseconds in rows.items():
        print(f"{name:38} {microseconds:6.1f} µs")


if __name__ == "__main__":
    trio.run(main)
