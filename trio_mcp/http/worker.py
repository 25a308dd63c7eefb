"""The worker: sockets and TLS from hypercorn's configuration, our own connections, and a shutdown in our order.

hypercorn's own worker tells the application of a shutdown only after every connection has ended, so that open
streams hold it up until they are cut. Here the order is: stop accepting, drain the host (streams end with their
terminator, calls finish), let connections close, cut what is left.
"""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from trio_mcp.http.asgi import App
from trio_mcp.http.byte_stream import CHUNK, SocketBytes, StreamBytes, name_of, peer_of
from trio_mcp.http.connection import Connection, Limits
from trio_mcp.http.handover import Handover, PrefixedStream
from trio_mcp.http.hangup import Hangups

_log = logging.getLogger("trio_mcp.worker")

Drain = Callable[[], Awaitable[None]]

_HANDSHAKE_SECONDS: Final = 15.0
_BUSY_TEXT: Final = b"Too many connections: come again.\n"
_BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n\r\n%b"
) % (len(_BUSY_TEXT), _BUSY_TEXT)
#: What an accept may fail with while the listener is well. No room: it takes time until there is some again.
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: The client left already, or the network or a firewall got in between (accept(2): errors of the new socket).
_PASSING: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET"),
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


class HttpWorker:
    """Connections of one application in one process.

    Args:
        max_connections: beyond them a connection is answered 503 and closed.
        write_timeout: seconds that one chunk may take to a client.
        log_access: takes one record of each request (see `ops.access_log`), or None.

    Attributes:
        connections: those on our own lane.
        closing: connections end after the response in hand.
    """

    def __init__(
        self,
        app: App,
        config: Config,
        *,
        limits: Limits,
        max_connections: int = 10_000,
        write_timeout: float = 30,
        log_access: Callable[[tuple[Any, ...]], None] | None = None,
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
        self._listening: list[tuple[socket.socket, Any]] = []
        self._open = 0
        self._closed = trio.lowlevel.ParkingLot()
        self._context = WorkerContext(None)
        foreign: Any = app  # hypercorn spells each ASGI message out; ours are dicts
        self._wrapped_app = ASGIWrapper(foreign)

    def count(self) -> int:
        """How many connections are open, those handed over included."""
        return self._open

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Bind and listen; connections wait until `run` accepts them.

        Raises:
            OSError: the address cannot be bound, or the certificate not be read.
        """
        tls = self.config.create_ssl_context()
        sockets = self.config.create_sockets()
        pairs = [(sock, tls) for sock in sockets.secure_sockets] + [(sock, None) for sock in sockets.insecure_sockets]
        try:
            for sock, _ in pairs:
                sock.listen(self.config.backlog)
            self._listening = pairs
            yield
        finally:
            self._listening = []
            for sock, _ in pairs:
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
        urls = [_url(sock, "http" if tls is None else "https") for sock, tls in self._listening]
        async with trio.open_nursery() as worker_nursery:
            worker_nursery.start_soon(self.hangups.run, name="watch for hang-ups")
            worker_nursery.start_soon(self._patrol, name="patrol connections")
            async with trio.open_nursery() as accept_nursery:
                for (sock, tls), url in zip(self._listening, urls, strict=True):
                    accept_nursery.start_soon(
                        self._accept, sock, tls, worker_nursery, name=f"accept connections on {url}"
                    )
                task_status.started([url + url_path for url in urls])
                await shutdown.wait()
                accept_nursery.cancel_scope.cancel("the server is shutting down")
            await drain()
            self.closing = True
            for connection in tuple(self.connections):
                connection.shut()
            await self._context.terminated.set()  # what was handed over closes itself on this
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

    async def _accept(self, sock: socket.socket, tls: Any, worker_nursery: trio.Nursery) -> None:
        listener = trio.socket.from_stdlib_socket(sock)
        with listener:
            while True:
                try:
                    accepted, _ = await listener.accept()
                except OSError as error:
                    if error.errno in _SCARCE:
                        _log.warning("cannot accept a connection for now: %s", error)
                        await trio.sleep(0.1)
                    elif error.errno not in _PASSING:
                        raise
                    continue
                client = socket.socket(fileno=accepted.detach())
                self._open += 1
                worker_nursery.start_soon(self._serve, client, tls, name=f"serve connection {client.fileno()}")

    async def _serve(self, sock: socket.socket, tls: Any) -> None:
        """One connection from its first byte to its last. Raises nothing for what the client does."""
        try:
            if self._open > self._max_connections:
                if tls is None:  # in TLS nobody could read it
                    _refuse(sock)
            elif tls is None:
                stream = SocketBytes(sock, self._write_timeout)
                await self._run(Connection(self, stream, client=peer_of(sock), server=name_of(sock)))
            else:
                await self._serve_tls(sock, tls)
        except Exception:
            _log.exception("a connection failed and was closed")
        finally:
            sock.close()
            self._open -= 1
            if not self._open:
                self._closed.unpark_all()

    async def _run(self, connection: Connection) -> None:
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def _serve_tls(self, sock: socket.socket, tls: Any) -> None:
        client, server = peer_of(sock), name_of(sock)
        raw = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
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
        handover = Handover(
            self._wrapped_app,
            self.config,
            self._context,
            PrefixedStream(stream, data),
            alpn=alpn,
            tls=tls,
            client=client,
            server=server,
            write_timeout=self._write_timeout,
            body_time=self.limits.body_time,
        )
        await handover.run()


def _refuse(sock: socket.socket) -> None:
    """Say it, and take what was sent already: unread, it would turn the close into a reset, which may overtake it."""
    sock.setblocking(False)
    with suppress(OSError):
        sock.send(_BUSY)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(CHUNK)


def _url(sock: socket.socket, scheme: str) -> str:
    address, port = sock.getsockname()[:2]
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"
