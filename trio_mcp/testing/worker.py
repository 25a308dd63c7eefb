"""The production worker on a simulated kernel: `HttpWorker`, `Connection` and `SocketBytes` as they are, other sockets.

What is replaced is what the kernel does: accepting, waiting until a socket is ready, and the one epoll set that tells
who hung up. It refuses to change anything above that.
"""

from collections.abc import Callable, Iterator, MutableSet
from contextlib import contextmanager
from typing import Any

import trio

# The worker imports it when the first needs it, and what hypercorn imports draws random bytes as it is: within a run,
# and only within the first, they would be the run's.
import trio_mcp.http.handover  # noqa: F401
from trio_mcp.http.asgi import App
from trio_mcp.http.byte_stream import SocketBytes
from trio_mcp.http.connection import Limits
from trio_mcp.http.hangup import Hangups, Watched
from trio_mcp.http.worker import HttpWorker, bind
from trio_mcp.testing.network import Listener
from trio_mcp.testing.sockets import SimulatedSocket
from trio_mcp.testing.streams import SimulatedStream

_KERNEL: Any = SimulatedSocket


class SimulatedBytes(SocketBytes):
    """`SocketBytes` on a simulated socket."""

    __slots__ = ()

    _wait_readable = staticmethod(_KERNEL.wait_readable)
    _wait_writable = staticmethod(_KERNEL.wait_writable)
    _notify_closing = staticmethod(_KERNEL.notify_closing)

    def into_stream(self) -> trio.abc.Stream:
        """The socket as a trio stream."""
        self._closed = True
        sock: Any = self._sock
        return SimulatedStream(sock)


class SimulatedHangups(Hangups):
    """The watcher, told by simulated sockets instead of by epoll: one task, woken once for all that happened."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: dict[int, SimulatedSocket] = {}
        self._told: dict[int, bool] = {}
        self._news = trio.lowlevel.ParkingLot()

    def know(self, sock: SimulatedSocket) -> None:
        """A socket whose number may be watched."""
        self._sockets[sock.fileno()] = sock

    def watch(self, fd: int, connection: Watched) -> bool:
        """Tell `connection` of hang-ups of `fd`."""
        sock = self._sockets[fd]
        self._watched[fd] = connection
        sock.watch = lambda gone: self._tell(fd, gone)
        gone = sock.hung_up
        if gone is not None:  # as an edge-triggered set tells at once what is so already
            self._tell(fd, gone)
        return True

    def forget(self, fd: int, connection: Watched) -> None:
        """Stop telling `connection`."""
        if self._watched.get(fd) is connection:
            del self._watched[fd]
            self._sockets[fd].watch = None

    def drop(self, number: int) -> None:
        """The socket of that number is no more."""
        self._sockets.pop(number, None)

    def _tell(self, fd: int, gone: bool) -> None:
        self._told[fd] = gone  # what happened twice before anybody looked is told once, as it is by then
        self._news.unpark_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled."""
        task_status.started()
        try:
            while True:
                while self._told:
                    fd = next(iter(self._told))
                    gone = self._told.pop(fd)
                    connection = self._watched.get(fd)
                    if connection is not None:
                        connection.hung_up(gone=gone)
                await self._news.park()
        finally:
            self._watched.clear()
            self._sockets.clear()


class _InOrder(MutableSet[Any]):
    """A set that is gone through in the order in which it was filled: that of a plain one is that of addresses."""

    def __init__(self) -> None:
        self._items: dict[Any, None] = {}

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Any) -> None:
        """Put it in."""
        self._items[value] = None

    def discard(self, value: Any) -> None:
        """Take it out."""
        self._items.pop(value, None)


class SimulatedWorker(HttpWorker):
    """`HttpWorker` whose connections come from a `Listener` of a simulated network.

    Attributes:
        taken: every socket that was accepted and has not ended.
    """

    _bytes_of = SimulatedBytes

    def __init__(
        self, app: App, listener: Callable[[], Listener], *, limits: Limits, max_connections: int, write_timeout: float
    ) -> None:
        super().__init__(
            app,
            bind("127.0.0.1", 8000),
            limits=limits,
            max_connections=max_connections,
            write_timeout=write_timeout,
        )
        self._known = SimulatedHangups()
        self.hangups = self._known
        connections: Any = _InOrder()
        self.connections = connections
        self.taken: dict[SimulatedSocket, None] = {}
        self._listen = listener

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen on the network."""
        listener: Any = self._listen()
        self._listening = [listener]
        try:
            yield
        finally:
            self._listening = []
            listener.close()

    async def _accept(self, sock: Any, worker_nursery: trio.Nursery) -> None:
        listener: Listener = sock
        try:
            while True:
                end: Any = await listener.accept()
                self._known.know(end)
                self.taken[end] = None
                self._count(+1)
                worker_nursery.start_soon(self._serve, end, name=f"serve {end.name}")
        finally:
            listener.close()

    async def _serve(self, sock: Any) -> None:
        number = sock.fileno()
        try:
            await super()._serve(sock)
        finally:
            self._known.drop(number)
            del self.taken[sock]
