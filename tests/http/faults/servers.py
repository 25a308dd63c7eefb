"""Two servers for one scenario: hypercorn's own trio worker, and ours.

`Stand` is a single connection over memory streams under a mock clock, `House` is a whole server on a socket. What a
scenario sees of either is the same.
"""

import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import memory_stream_pair

from tests.http.lane_kit import PATIENCE, Peer
from trio_mcp.http.asgi import App
from trio_mcp.http.byte_stream import StreamBytes
from trio_mcp.http.connection import Connection, Limits
from trio_mcp.http.worker import HttpWorker, bind

STOCK, OURS = "stock", "ours"


class Stand:
    """One connection on virtual time.

    Attributes:
        ended: when its task ended; infinite: it has not.
    """

    def __init__(self, kind: str, peer: Peer, serve_it: Callable[[], Awaitable[None]]) -> None:
        self.kind = kind
        self.peer = peer
        self.scope = trio.CancelScope()
        self.ended = math.inf
        self._over = trio.Event()
        self._serve_it = serve_it

    async def run(self) -> None:
        with self.scope:
            await self._serve_it()
        self.ended = trio.current_time()
        self._over.set()

    async def ends(self, within: float) -> bool:
        """Whether its task ends in so many seconds."""
        with trio.move_on_after(within):
            await self._over.wait()
        return self._over.is_set()


class _FakeSocket:
    """What hypercorn asks of a socket."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 50000)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8000)


@asynccontextmanager
async def stand(kind: str, app: App, *, pair: Any = memory_stream_pair, **options: Any) -> AsyncIterator[Stand]:
    """A connection of either kind; `options` are limits: hypercorn's for the one, ours for the other.

    Use it under `autojump_clock`. What hangs is released at the end, by closing the client.
    """
    ours, theirs = pair()
    async with trio.open_nursery() as nursery:
        if kind == STOCK:
            serve_it = _stock_connection(app, theirs, options)
        else:
            write_timeout = options.pop("write_timeout", 30)
            worker = HttpWorker(app, bind("127.0.0.1", 0), limits=Limits(**options), write_timeout=write_timeout)
            nursery.start_soon(worker._patrol)
            lane = StreamBytes(theirs, write_timeout)
            serve_it = partial(worker._run, Connection(worker, lane, client=None, server=None))
        place = Stand(kind, Peer(ours), serve_it)
        nursery.start_soon(place.run)
        try:
            yield place
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(ours)


def _stock_connection(app: App, stream: Any, options: dict[str, Any]) -> Callable[[], Awaitable[None]]:
    config = _configured(options)
    stream.socket = _FakeSocket()
    foreign: Any = app
    return TCPServer(ASGIWrapper(foreign), config, WorkerContext(None), options.get("state", {}), stream).run


def _configured(options: dict[str, Any]) -> Config:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    for name, value in options.items():
        if name != "state":
            assert hasattr(config, name)
            setattr(config, name, value)
    return config


class House:
    """A whole server.

    Attributes:
        crash: what ended it; None: it runs. In a process of its own that were the end of the process.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.port = 0
        self.crash: BaseException | None = None

    async def dial(self) -> Peer:
        return Peer(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def answers(self) -> bool:
        """Whether it still serves, seen from a new connection."""
        try:
            peer = await self.dial()
        except OSError:
            return False
        try:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return (await peer.remains()).startswith(b"HTTP/1.1 200")
        except trio.BrokenResourceError:
            return False
        finally:
            await peer.leave()


@asynccontextmanager
async def house(kind: str, app: App, **options: Any) -> AsyncIterator[House]:
    """A server of either kind on a port of loopback; `options` as above. Cut at the end."""
    place = House(kind)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            if kind == STOCK:
                await nursery.start(_stock_house, place, app, options)
            else:
                await nursery.start(_our_house, place, app, options)
            yield place
            nursery.cancel_scope.cancel()


async def _stock_house(place: House, app: App, options: dict[str, Any], *, task_status: Any) -> None:
    foreign: Any = app
    started = _Started(place, task_status)
    try:
        await serve(foreign, _configured(options), mode="asgi", task_status=started)
    except Exception as error:
        place.crash = error


async def _our_house(place: House, app: App, options: dict[str, Any], *, task_status: Any) -> None:
    worker = HttpWorker(app, bind("127.0.0.1", 0), limits=Limits(http2=True, **options))
    started = _Started(place, task_status)
    with worker.listening():
        try:
            never = trio.Event()
            await worker.run(shutdown=never, drain=trio.lowlevel.checkpoint, close_timeout=1, task_status=started)
        except Exception as error:
            place.crash = error


class _Started:
    """A task status that keeps the port."""

    def __init__(self, place: House, task_status: Any) -> None:
        self._place = place
        self._task_status = task_status

    def started(self, urls: list[str] | None = None) -> None:
        assert urls is not None
        self._place.port = int(urls[0].rsplit(":", 1)[1])
        self._task_status.started()
