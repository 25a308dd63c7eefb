"""Bytes of one connection, read and written within bounds.

Two ways, with a reason. `SocketBytes` talks to a plain TCP socket without waiting where the kernel is ready: one
scheduler pass a request instead of three, which is a third of what a call costs. `StreamBytes` is any trio stream: TLS,
and the memory streams that simulation runs over. Both write in chunks, each under a deadline; past it the peer
counts as gone. It refuses to know HTTP.
"""

import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

import trio

from trio_mcp.http.asgi import ClientGoneError

CHUNK: Final = 65536


class PeerGoneError(ClientGoneError):
    """The peer closed the connection, or did not read within the write timeout."""


class ByteStream(Protocol):
    """What a connection reads from and writes to."""

    async def read(self) -> bytes:
        """Some bytes; empty at the end, or when the peer is gone. Cancellation: nothing was read."""
        ...

    async def write(self, data: bytes) -> None:
        """Write all of `data`. Cancellation: part of it may be out. Raises `PeerGoneError`."""
        ...

    def write_now(self, data: bytes, *, ahead: bool = False) -> bool:
        """Write at once, to find out whether the peer still reads; False if it does not, or if this cannot be.

        Args:
            ahead: the next `write` begins with these very bytes, and leaves them out.

        While a write waits for the peer nothing is written: then that write finds out.
        """
        ...

    def say_end(self) -> None:
        """Tell the peer that nothing more comes, where that can be said without closing."""
        ...

    def into_stream(self) -> trio.abc.Stream:
        """The trio stream of this connection; whoever takes it closes it, and this object is done."""
        ...

    def fileno(self) -> int:
        """The descriptor to watch for hang-ups, or -1."""
        ...

    def abort(self) -> None:
        """Cut the connection at once: the peer gets a reset, and nothing waits for it."""
        ...

    async def aclose(self) -> None:
        """Close; what was written is still delivered. Waits for nobody."""
        ...


def peer_of(sock: object) -> tuple[str, int] | None:
    """The address of the other side, or None where there is none to tell (a Unix socket, a memory stream)."""
    return _address(sock, "getpeername")


def name_of(sock: object) -> tuple[str, int] | None:
    """The address of this side, or None."""
    return _address(sock, "getsockname")


def _address(sock: object, ask: str) -> tuple[str, int] | None:
    try:
        address = getattr(sock, ask)()
    except (OSError, AttributeError):
        return None
    return (address[0], address[1]) if isinstance(address, tuple) else None


def _reset(sock: socket.socket) -> None:
    """Make the next close send a reset instead of waiting for unsent bytes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class SocketBytes:
    """A plain TCP socket in non-blocking mode.

    What waits for the kernel goes through three functions of the class, so that simulation can put a kernel of its own
    under it (`testing.worker`) and everything else here is what production runs.

    Args:
        write_timeout: seconds that one chunk may take.
    """

    __slots__ = ("_ahead", "_closed", "_sock", "_waiting", "_write_timeout")

    _wait_readable = staticmethod(trio.lowlevel.wait_readable)
    _wait_writable = staticmethod(trio.lowlevel.wait_writable)
    _notify_closing = staticmethod(trio.lowlevel.notify_closing)

    def __init__(self, sock: socket.socket, write_timeout: float) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # some systems refuse it once the peer has gone
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._write_timeout = write_timeout
        self._ahead = 0
        self._waiting = False
        self._closed = False

    async def read(self) -> bytes:
        """Some bytes; empty at the end. Always waits for readiness, so it always checkpoints."""
        while True:
            try:
                await self._wait_readable(self._sock)
                return self._sock.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, ValueError, trio.ClosedResourceError):  # ValueError: `abort` has closed it
                return b""

    async def write(self, data: bytes) -> None:
        """Write all of `data`; does not checkpoint where the kernel takes it at once."""
        if self._ahead:
            data, self._ahead = data[self._ahead :], 0
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            raise PeerGoneError(str(error)) from None
        if sent < len(data):
            self._waiting = True
            try:
                await self._write_rest(memoryview(data)[sent:])
            finally:
                self._waiting = False

    async def _write_rest(self, rest: memoryview) -> None:
        while rest:
            with trio.move_on_after(self._write_timeout) as write_scope:
                await self._wait_writable(self._sock)
            if write_scope.cancelled_caught:
                self.abort()
                raise PeerGoneError(f"the client did not read for {self._write_timeout:g} s")
            try:
                rest = rest[self._sock.send(rest[:CHUNK]) :]
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise PeerGoneError(str(error)) from None

    def write_now(self, data: bytes, *, ahead: bool = False) -> bool:
        """Write at once, or nothing where the kernel's buffer is full: who is gone answers those bytes with a reset."""
        if self._waiting or self._ahead:
            return True
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if ahead:
            self._ahead = sent
        return ahead or sent == len(data)

    def say_end(self) -> None:
        """Shut our half down."""
        with suppress(OSError):  # the peer is gone
            self._sock.shutdown(socket.SHUT_WR)

    def into_stream(self) -> trio.abc.Stream:
        """The socket as a trio stream."""
        self._closed = True
        return trio.SocketStream(trio.socket.from_stdlib_socket(self._sock))

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def abort(self) -> None:
        """Reset and close."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # it was reset already
                _reset(self._sock)
            self._notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Close; the kernel delivers what was written."""
        if not self._closed:
            self._closed = True
            self._notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()


class StreamBytes:
    """Any trio stream.

    Args:
        write_timeout: seconds that one chunk may take.
    """

    __slots__ = ("_stream", "_taken", "_write_timeout")

    def __init__(self, stream: trio.abc.Stream, write_timeout: float) -> None:
        self._stream = stream
        self._taken = False
        self._write_timeout = write_timeout

    async def read(self) -> bytes:
        """Some bytes; empty at the end."""
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def write(self, data: bytes) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        for start in range(0, len(data), CHUNK):
            with trio.move_on_after(self._write_timeout) as write_scope:
                try:
                    await self._stream.send_all(view[start : start + CHUNK])
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise PeerGoneError(str(error)) from None
            if write_scope.cancelled_caught:
                raise PeerGoneError(f"the client did not read for {self._write_timeout:g} s")

    def write_now(self, data: bytes, *, ahead: bool = False) -> bool:
        """Not possible on a stream that may wait."""
        return False

    def say_end(self) -> None:
        """Not possible: TLS would have to wait, and says it when it is closed."""

    def into_stream(self) -> trio.abc.Stream:
        """The stream itself."""
        self._taken = True
        return self._stream

    def fileno(self) -> int:
        """The descriptor under TLS; -1 where there is none."""
        transport = getattr(self._stream, "transport_stream", None)
        sock = getattr(transport, "socket", None)
        return -1 if sock is None else int(sock.fileno())

    def abort(self) -> None:
        """Nothing to reset here: `aclose` is bounded."""

    async def aclose(self) -> None:
        """Close; TLS says goodbye, within a second. Cancelled, it closes all the same."""
        if not self._taken:
            with trio.move_on_after(1):
                await self._stream.aclose()
