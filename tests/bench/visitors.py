"""The clients of the soak: good ones, and all the ways to be a bad one.

It owns their manners. Each is one connection, bounded in time; those that ask for an answer check it.
"""

import random
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from tests.bench import wire

PATIENCE: Final = 10.0
_SMUGGLED: Final = (
    b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /mcp HTTP/1.1\r\nhost : x\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n",
    b"GET /mcp HTTP/1.1\nhost: x\n\n",
    b"GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nbig: " + b"x" * 40_000 + b"\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"many: x\r\n" * 200 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    b"GET /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
)


class Visit:
    """One connection of one visitor."""

    def __init__(self, stream: trio.SocketStream, port: int, chance: random.Random) -> None:
        self.stream = stream
        self.chance = chance
        self._port = port
        self._unread = b""

    async def send(self, headers: dict[str, str], body: str, *, part: float = 1.0) -> None:
        """Write a POST, or the first part of it."""
        data = body.encode()
        lines = ["POST /mcp HTTP/1.1", f"host: 127.0.0.1:{self._port}", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        whole = "\r\n".join([*lines, "", ""]).encode() + data
        await self.stream.send_all(whole[: max(1, int(len(whole) * part))])

    async def call(self, era: str, tool: str, session_id: str | None = None, *, part: float = 1.0, id: int = 1) -> None:
        """Write a call of a tool, or the first part of it."""
        arguments: dict[str, dict[str, object]] = {"count": {"n": 3000}, "wait": {}}
        meta = {"_meta": {"progressToken": id}} if tool == "count" else {}
        params = {"name": tool, "arguments": arguments.get(tool, {"message": f"hello {id}"}), **meta}
        headers = wire.headers(era, "tools/call", tool)
        if session_id is not None:
            headers["mcp-session-id"] = session_id
        await self.send(headers, wire.body(era, "tools/call", params, id=id), part=part)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of a response; interim ones are passed over."""
        while b"\r\n\r\n" not in self._unread:
            await self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        if status < 200:
            return await self.head()
        return status, dict(line.lower().split(": ", 1) for line in lines)

    async def answer(self, text: bytes = b"") -> dict[str, str]:
        """Read a whole JSON response, and hold it to 2xx and a text."""
        status, headers = await self.head()
        size = int(headers.get("content-length", 0))
        while len(self._unread) < size:
            await self._more()
        body, self._unread = self._unread[:size], self._unread[size:]
        assert 200 <= status < 300, (status, body)
        assert text in body, body
        return headers

    async def initialize(self) -> str:
        """Open a session."""
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "v", "version": "1"}}
        headers = wire.headers(wire.SESSION, "initialize")
        await self.send(headers, wire.body(wire.SESSION, "initialize", params))
        session_id = (await self._original()).strip()
        await self.send(
            {**headers, "mcp-session-id": session_id}, '{"jsonrpc":"2.0","method":"notifications/initialized"}'
        )
        await self.answer()
        return session_id

    async def _original(self) -> str:
        while b"\r\n\r\n" not in self._unread:
            await self._more()
        head = self._unread.partition(b"\r\n\r\n")[0].decode("latin-1")
        found = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("mcp-session-id"))
        await self.answer(b"serverInfo")
        return found

    async def bare(self, method: str, session_id: str) -> None:
        """Write a GET or a DELETE of a session."""
        text = f"{method} /mcp HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\naccept: text/event-stream\r\n"
        await self.stream.send_all(f"{text}mcp-session-id: {session_id}\r\n\r\n".encode())

    async def _more(self) -> None:
        data = bytes(await self.stream.receive_some(65536))
        if not data:
            raise AssertionError(f"the server closed the connection after {self._unread[:200]!r}")
        self._unread += data

    async def linger(self) -> None:
        """Stay a little while."""
        await trio.sleep(self.chance.random() * 0.3)

    def reset(self) -> None:
        """Let the close be a reset."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# The good ones: what they are answered is checked


async def session(visit: Visit) -> None:
    """A whole session, ended as it should be."""
    session_id = await visit.initialize()
    for id in range(2, 6):
        await visit.call(wire.SESSION, visit.chance.choice(("echo", "echo_plain")), session_id, id=id)
        await visit.answer(f"hello {id}".encode())
    await visit.bare("DELETE", session_id)
    await visit.answer()


async def per_request(visit: Visit) -> None:
    """Some calls of the per-request era, and an idle while."""
    for id in range(1, 4):
        await visit.call(wire.PER_REQUEST, "echo", id=id)
        await visit.answer(f"hello {id}".encode())
    await visit.linger()


async def half_close(visit: Visit) -> None:
    """A client that closes its sending side and still reads."""
    await visit.call(wire.PER_REQUEST, "echo", id=7)
    await visit.stream.send_eof()
    await visit.answer(b"hello 7")


async def in_pieces(visit: Visit) -> None:
    """A request that comes in two pieces, with time between."""
    headers, body = wire.call(wire.PER_REQUEST, "echo", {"message": "slow"})
    text = "\r\n".join([f"{name}: {value}" for name, value in headers.items()])
    whole = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n{text}\r\n\r\n{body}".encode()
    cut = visit.chance.randrange(1, len(whole))
    await visit.stream.send_all(whole[:cut])
    await visit.linger()
    await visit.stream.send_all(whole[cut:])
    await visit.answer(b"slow")


# The others


async def come_and_go(visit: Visit) -> None:
    """Nothing at all."""


async def come_and_reset(visit: Visit) -> None:
    """Nothing, and a reset."""
    visit.reset()


async def stall(visit: Visit) -> None:
    """Part of a request, then silence, then gone."""
    await visit.call(wire.PER_REQUEST, "echo", part=visit.chance.random())
    await visit.linger()


async def stall_and_reset(visit: Visit) -> None:
    """Part of a request, then a reset."""
    await stall(visit)
    visit.reset()


async def garbage(visit: Visit) -> None:
    """Bytes that mean nothing."""
    await visit.stream.send_all(visit.chance.randbytes(visit.chance.randrange(1, 4000)))
    with trio.move_on_after(0.3):
        await visit.stream.receive_some()


async def smuggle(visit: Visit) -> None:
    """A shape that must be refused, or a protocol that is spoken to nobody here."""
    await visit.stream.send_all(visit.chance.choice(_SMUGGLED))
    with trio.move_on_after(0.3):
        while await visit.stream.receive_some():
            pass


async def leave_call(visit: Visit) -> None:
    """Leave in the middle of a call of the per-request era, by a close, a reset, or a half-close and a close."""
    await visit.call(wire.PER_REQUEST, "wait")
    await visit.linger()
    manner = visit.chance.randrange(3)
    if manner == 0:
        visit.reset()
    elif manner == 1:
        await visit.stream.send_eof()
        await visit.linger()


async def leave_session(visit: Visit) -> None:
    """Leave a session and a call in it for ever."""
    session_id = await visit.initialize()
    await visit.call(wire.SESSION, "wait", session_id, id=2)
    await visit.linger()


async def leave_stream(visit: Visit) -> None:
    """Open the standing stream and vanish."""
    session_id = await visit.initialize()
    await visit.bare("GET", session_id)
    status, _ = await visit.head()
    assert status == 200
    await visit.linger()
    if visit.chance.random() < 0.5:
        visit.reset()


async def stop_reading(visit: Visit) -> None:
    """Ask for megabytes of progress, read none of it, and leave."""
    era = visit.chance.choice((wire.SESSION, wire.PER_REQUEST))
    session_id = await visit.initialize() if era == wire.SESSION else None
    await visit.call(era, "count", session_id, id=9)
    await visit.linger()


async def pipeline(visit: Visit) -> None:
    """Five requests at once, one answer read."""
    for id in range(1, 6):
        await visit.call(wire.PER_REQUEST, "echo", id=id)
    await visit.answer(b"hello 1")


GOOD: Final = (session, per_request, half_close, in_pieces)
BAD: Final = (
    come_and_go,
    come_and_reset,
    stall,
    stall_and_reset,
    garbage,
    smuggle,
    leave_call,
    leave_session,
    leave_stream,
    stop_reading,
    pipeline,
)


async def pay(port: int, manner: Callable[[Visit], Awaitable[None]], chance: random.Random) -> str | None:
    """One visit. Returns what was wrong with the server's side of it, or None."""
    try:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            try:
                await manner(Visit(stream, port, chance))
            except (trio.BrokenResourceError, OSError) as error:
                if manner in GOOD:
                    return f"{manner.__name__}: {error!r}"
            finally:
                with suppress(OSError):
                    stream.socket.close()
    except (AssertionError, trio.TooSlowError, OSError) as error:
        return f"{manner.__name__}: {error!r}"
    return None
