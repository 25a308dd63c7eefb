"""The worker: sockets and TLS from hypercorn's configuration, our own connections, and a shutdown in our order.

hypercorn's own worker tells the application of a shutdown only after every connection has ended, so that open
streams hold it up until they are cut. Here the order is: stop accepting, drain the host (streams end with their
terminator, calls finish), let connections close, cut what is left.
"""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, ClassVar, Final, Protocol

import trio
from hypercorn.config import Config

from trio_mcp.http.asgi import App
from trio_mcp.http.byte_stream import CHUNK, SocketBytes, StreamBytes, name_of, peer_of
from trio_mcp.http.connection import Connection, Limits
from trio_mcp.http.hangup import Hangups

_log = logging.getLogger("trio_mcp.worker")

Drain = Callable[[], Awaitable[None]]

_HANDSHAKE_SECONDS: Final = 15.0
#: What a connection may wait at most for a sibling that has fewer: so long, so often (less than a blink, more than what
#: a sibling on a busy machine needs to wake up).
_DEFERRING: Final = 0.001
_DEFERRED_MOST: Final = 4
_BUSY_TEXT: Final = b"Too many connections: come again.\n"
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n\r\n%b"
) % (len(_BUSY_TEXT), _BUSY_TEXT)
#: What an accept may fail with while the listener is well. No room: it takes time until there is some again.
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: The client left already, or the network or a firewall got in between (accept(2): errors of the new socket), or
#: another process took the connection.
_PASSING: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET"),
        *("EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"),
    )
    if hasattr(errno, name)
)


def bind(host: str, port: int, *, certfile: str | None = None, keyfile: str | None = None) -> Config:
    """hypercorn's configuration for one address; port 0 lets the system choose.

    Its access log stays off (it costs more than a call); limits are this project's own.
    """
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.certfile = certfile
    config.keyfile = keyfile
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    return config


def listen_on(host: str, port: int, *, backlog: int = 100) -> list[socket.socket]:
    """Bind and listen, for `HttpWorker(sockets=…)` in this process or in others that are given them.

    Port 0 lets the system choose; `::` takes IPv4, too, where the system has it so.

    Raises:
        OSError: the address cannot be bound; it says which, and why.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would take the port away from its owner
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
        raise
    return [sock]


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.replace("[", "").replace("]", ""), int(port)


def _prepare(sock: socket.socket) -> None:
    """What connections inherit: nothing waits for more to send, and nothing blocks."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)


class Load(Protocol):
    """What several workers on one socket know of each other (see `cli.balance`)."""

    def holds(self, connections: int) -> None:
        """Say how many connections this one has."""

    def leave(self) -> None:
        """Say that it accepts no more."""

    def defers(self) -> bool:
        """Whether another one has fewer, and should take the next."""


class HttpWorker:
    """Connections of one application in one process.

    Args:
        max_connections: beyond them a connection is answered 503 and closed.
        write_timeout: seconds that one chunk may take to a client.
        log_access: takes one record of each request (see `ops.access_log`), or None.
        sockets: accept from these, which listen already and are closed at the end, instead of binding what `config`
            says.
        load: where workers that share `sockets` say how many connections they have, so that each gets its part.

    Attributes:
        connections: those on our own lane.
        closing: connections end after the response in hand.
    """

    _bytes_of: ClassVar[type[SocketBytes]] = SocketBytes

    def __init__(
        self,
        app: App,
        config: Config,
        *,
        limits: Limits,
        max_connections: int = 10_000,
        write_timeout: float = 30,
        log_access: Callable[[tuple[Any, ...]], None] | None = None,
        sockets: Sequence[socket.socket] | None = None,
        load: Load | None = None,
    ) -> None:
        self.app = app
        self.config = config
        self.limits = limits
        self.hangups = Hangups()
        self.closing = False
        self.log_access = log_access
        self.connections: set[Connection] = set()
        self._max_connections = max_connections
        self._write_timeout = write_timeout
        self._sockets = sockets
        self._load = load
        self._listening: list[socket.socket] = []
        self._tls: Any = None
        self._open = 0
        self._closed = trio.lowlevel.ParkingLot()
        self._foreign: Any = None

    def count(self) -> int:
        """How many connections are open, those handed over included."""
        return self._open

    @property
    def port(self) -> int | None:
        """The port of the first socket, inside `listening`; None for a Unix socket."""
        address = self._listening[0].getsockname()
        return int(address[1]) if isinstance(address, tuple) else None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Bind and listen, or take the sockets that were given; connections wait until `run` accepts them.

        Raises:
            OSError: the address cannot be bound, or the certificate not be read.
        """
        listening = list(self._sockets or ())
        try:
            self._tls = self.config.create_ssl_context()
            if self._sockets is None:
                for address in self.config.bind:
                    listening += listen_on(*_parts(address), backlog=self.config.backlog)
            for sock in listening:
                _prepare(sock)
            self._listening = listening
            yield
        finally:
            self._listening = []
            for sock in listening:
                sock.close()

    async def run(
        self,
        *,
        shutdown: trio.Event,
        drain: Drain,
        close_timeout: float,
        url_path: str = "",
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `shutdown` is set; then stop accepting, `drain`, and close connections within `close_timeout` s.

        Reports the addresses it serves, as URLs with `url_path`, once it accepts.

        Cancellation: connections are cut at once; `drain` is not run.

        Runs inside `listening`.
        """
        urls = [_url(sock, "http" if self._tls is None else "https") for sock in self._listening]
        async with trio.open_nursery() as worker_nursery:
            await worker_nursery.start(self.hangups.run, name="watch for hang-ups")
            worker_nursery.start_soon(self._patrol, name="patrol connections")
            async with trio.open_nursery() as accept_nursery:
                for sock, url in zip(self._listening, urls, strict=True):
                    accept_nursery.start_soon(self._accept, sock, worker_nursery, name=f"accept connections on {url}")
                self._count(0)
                task_status.started([url + url_path for url in urls])
                await shutdown.wait()
                if self._load is not None:
                    self._load.leave()
                accept_nursery.cancel_scope.cancel("the server is shutting down")
            await drain()
            self.closing = True
            for connection in tuple(self.connections):
                connection.shut()
            if self._foreign is not None:
                await self._foreign.end()
            with trio.move_on_after(close_timeout):
                while self._open:
                    await self._closed.park()
            worker_nursery.cancel_scope.cancel("the server has shut down")

    async def _patrol(self) -> None:
        """End connections whose deadline has passed; late by at most a tenth of the shortest limit."""
        limits = self.limits
        interval = min(limits.idle, limits.head_time, limits.body_time) / 10
        while True:
            await trio.sleep(interval)
            now = trio.current_time()
            for connection in tuple(self.connections):
                if connection.due <= now:
                    connection.expire()

    async def _accept(self, sock: socket.socket, worker_nursery: trio.Nursery) -> None:
        listener = trio.socket.from_stdlib_socket(sock)
        with listener:
            while True:
                try:
                    client = await self._next(listener, sock)
                except OSError as error:
                    if error.errno in _SCARCE:
                        _log.warning("cannot accept a connection for now: %s", error)
                        await trio.sleep(0.1)
                    elif error.errno not in _PASSING:
                        raise
                    continue
                self._count(+1)
                worker_nursery.start_soon(self._serve, client, name=f"serve connection {client.fileno()}")

    async def _next(self, listener: trio.socket.SocketType, sock: socket.socket) -> socket.socket:
        if self._load is None:
            accepted, _ = await listener.accept()
            return socket.socket(fileno=accepted.detach())
        await _wait_for_turn(sock, self._load)
        client, _ = sock.accept()  # does not block: EAGAIN where a sibling was faster
        return client

    def _count(self, change: int) -> None:
        self._open += change
        if self._load is not None:
            self._load.holds(self._open)

    async def _serve(self, sock: socket.socket) -> None:
        """One connection from its first byte to its last. Raises nothing for what the client does."""
        try:
            if self._open > self._max_connections:
                if self._tls is None:  # in TLS nobody could read it
                    _refuse(sock)
            elif self._tls is None:
                stream = self._bytes_of(sock, self._write_timeout)
                await self._run(Connection(self, stream, client=peer_of(sock), server=name_of(sock)))
            else:
                await self._serve_tls(sock)
        except Exception:
            _log.exception("a connection failed and was closed")
        finally:
            sock.close()
            self._count(-1)
            if not self._open:
                self._closed.unpark_all()

    async def _run(self, connection: Connection) -> None:
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _serve_tls(self, sock: socket.socket) -> None:
        client, server = peer_of(sock), name_of(sock)
        raw = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        stream = trio.SSLStream(raw, self._tls, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(_HANDSHAKE_SECONDS):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            _log.debug("%s: TLS handshake failed: %r", client, error)
            await trio.aclose_forcefully(stream)
            return
        if stream.selected_alpn_protocol() == "h2":
            await self._hand_to_hypercorn(stream, b"", "h2", True, client, server)
            return
        lane = StreamBytes(stream, self._write_timeout)
        await self._run(Connection(self, lane, client=client, server=server, scheme="https"))

    async def hand_over(self, connection: Connection, data: bytes) -> None:
        """Let hypercorn go on with a connection that asked for WebSocket or speaks HTTP/2."""
        alpn = "h2" if data.startswith(b"PRI ") else "http/1.1"
        stream = connection.bytes.into_stream()
        tls = connection.scheme == "https"
        await self._hand_to_hypercorn(stream, data, alpn, tls, connection.client, connection.server)

    async def _hand_to_hypercorn(
        self,
        stream: trio.abc.Stream,
        data: bytes,
        alpn: str,
        tls: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
    ) -> None:
        if self._foreign is None:
            # Not imported before: hypercorn's HTTP/2 and WebSocket are a tenth of the memory of a server, and many need
            # neither. Not in a thread either: the first who comes waits some 50 ms, and a mock clock stays true.
            self._foreign = import_module("trio_mcp.http.handover").Foreign(self.app, self.config)
            if self.closing:
                await self._foreign.end()
        await self._foreign.serve(
            stream,
            data,
            alpn=alpn,
            tls=tls,
            client=client,
            server=server,
            write_timeout=self._write_timeout,
            body_time=self.limits.body_time,
            log_access=self.log_access,
        )


async def _wait_for_turn(sock: socket.socket, load: Load) -> None:
    """Wait for a connection, and a moment more while it should be a sibling's."""
    await trio.lowlevel.wait_readable(sock)
    for _ in range(_DEFERRED_MOST):
        if not load.defers():
            break
        await trio.sleep(_DEFERRING)


def _refuse(sock: socket.socket) -> None:
    """Say it, and take what was sent already: unread, it would turn the close into a reset, which may overtake it."""
    sock.setblocking(False)
    with suppress(OSError):
        sock.send(_BUSY)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(CHUNK)


def _url(sock: socket.socket, scheme: str) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return f"{scheme}+unix://{name}"
    address, port = name[:2]
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"
