"""`SimulatedStream`: one end of a simulated link as a trio stream, and what a test does to it.

It refuses to be cleverer than a socket stream of trio's: what one of those raises, this one raises.
"""

import socket
from operator import index

import trio
from trio._util import ConflictDetector

from trio_mcp.testing.sockets import SimulatedSocket


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a link, as a trio stream.

    It cannot be written by two tasks at a time, as any stream of trio's.
    """

    def __init__(self, sock: SimulatedSocket) -> None:
        self.socket = sock
        self._stalled: trio.Event | None = None
        self._sending = ConflictDetector("another task is sending")

    def _check(self) -> None:
        if self.socket.frozen:
            raise trio.BrokenResourceError("the connection was frozen")
        if self.socket.closed:
            raise trio.ClosedResourceError("the connection was closed here")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Cancellation: part of it may be out.

        Raises:
            trio.BrokenResourceError: the other side is gone.
            trio.ClosedResourceError: this side was closed.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check()
            if self.socket.half_closed:
                raise trio.ClosedResourceError("nothing can be sent after the end of sending")
            view = memoryview(data)
            while view:
                self._check()
                try:
                    view = view[self.socket.send(view) :]
                except BlockingIOError:
                    await self.socket.wait_writable()
                except OSError as error:
                    raise trio.BrokenResourceError(error.strerror or "broken") from error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        with self._sending:
            self._check()
            await self.socket.wait_writable()

    async def send_eof(self) -> None:
        """Send no more, and go on reading."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check()
            self.half_close()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What comes next, empty at the end. Cancellation: nothing was read.

        Raises:
            trio.BrokenResourceError: the connection was reset.
            trio.ClosedResourceError: this side was closed.
        """
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        most = max_bytes or 65536
        while True:
            self._check()
            if self._stalled is not None:
                await self._stalled.wait()
                continue
            await self.socket.wait_readable()
            self._check()
            if self._stalled is not None:
                continue
            try:
                return self.socket.recv(most)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(error.strerror or "broken") from error

    async def aclose(self) -> None:
        """Close. Waits for nobody."""
        self.close_now()
        await trio.lowlevel.checkpoint()

    def close_now(self) -> None:
        """Close: a FIN, or a reset where something is unread."""
        if not self.socket.frozen:
            self.socket.close()
        self._wake()

    def half_close(self) -> None:
        """Send no more, and go on reading."""
        if not (self.socket.closed or self.socket.was_reset or self.socket.frozen):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset."""
        if not self.socket.frozen:
            self.socket.reset()
        self._wake()

    def freeze(self) -> None:
        """Vanish without a word; every wait on this side ends with `trio.BrokenResourceError`."""
        self.socket.freeze()
        self._wake()

    def stall(self) -> None:
        """Take no more bytes: they wait in the buffers, and once those are full the sender waits."""
        if self._stalled is None:
            self._stalled = trio.Event()

    def go_on(self) -> None:
        """Read again."""
        self._wake()

    def _wake(self) -> None:
        if self._stalled is not None:
            self._stalled.set()
            self._stalled = None

    @property
    def is_open(self) -> bool:
        """Whether this side can still do anything with it."""
        return self.socket.is_open
