"""A bench for the HTTP lane: its worker over memory streams under a mock clock, or over real sockets.

h11 reads what the server writes, so that no answer is judged by the code that made it.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h2.events
import h11
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_mcp.http.asgi import CONNECTION_EXTENSION, App, Receive, Scope, Send
from trio_mcp.http.byte_stream import StreamBytes
from trio_mcp.http.connection import Connection, Limits
from trio_mcp.http.worker import HttpWorker, bind

CERTIFICATE = Path(__file__).parent / "certificate.pem"
KEY = Path(__file__).parent / "key.pem"
HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
PATIENCE = 10
"""Real seconds that a test over sockets may wait for one thing; it waits for no time to pass."""


def post(body: bytes, *, path: bytes = b"/", headers: bytes = b"") -> bytes:
    """The bytes of a POST."""
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n%b\r\n%b" % (path, HOST, len(body), headers, body)


class Answer:
    """A response, or what of it came before the end of the stream.

    Attributes:
        interim: the statuses of interim responses before it.
        whole: it came with its end.
    """

    def __init__(self) -> None:
        self.status = 0
        self.version = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.interim: list[int] = []
        self.whole = False

    def __getitem__(self, name: bytes) -> bytes | None:
        values = [value for header, value in self.headers if header == name]
        assert len(values) < 2, f"{name!r} comes {len(values)} times"
        return values[0] if values else None


class Peer:
    """The other side of a connection."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.rest = b""
        self.ended = False

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read(self) -> bytes:
        """What is next; empty at the end, also where that is a reset."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        if not self.ended:
            try:
                data = bytes(await self.stream.receive_some(65536))
            except trio.BrokenResourceError:
                data = b""
            self.ended = not data
            return data
        return b""

    async def answer(self, method: str = "GET") -> Answer:
        """The next response, read by h11 as a client does; it fails on anything that is not HTTP."""
        judge = h11.Connection(h11.CLIENT)
        judge.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        judge.send(h11.EndOfMessage())
        answer = Answer()
        while True:
            try:
                event = judge.next_event()
            except h11.RemoteProtocolError:
                if self.ended:  # cut short
                    return answer
                raise
            if event is h11.NEED_DATA:
                judge.receive_data(await self.read())
            elif isinstance(event, h11.InformationalResponse):
                answer.interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                answer.status, answer.version = event.status_code, event.http_version
                answer.headers = list(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.whole = True
                self.rest = judge.trailing_data[0]
                return answer
            else:
                assert isinstance(event, h11.ConnectionClosed)
                return answer

    async def until(self, words: bytes) -> bytes:
        """All bytes up to and with these words."""
        seen = b""
        while words not in seen:
            data = await self.read()
            assert data, f"the stream ended after {seen!r}"
            seen += data
        seen, words, self.rest = seen.partition(words)
        return seen + words

    async def remains(self) -> bytes:
        """Everything until the other side closes."""
        seen = b""
        while data := await self.read():
            seen += data
        return seen

    async def leave(self) -> None:
        """Close."""
        await self.stream.aclose()

    async def half_close(self) -> None:
        """Send no more, and go on reading."""
        await self.stream.send_eof()

    def reset(self) -> None:
        """Vanish with a reset."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stream.socket.close()


class Bench:
    """A worker without sockets: connections are memory streams, and a patrol walks on trio's clock."""

    def __init__(self, app: App, nursery: trio.Nursery, *, write_timeout: float, log: Any, limits: Limits) -> None:
        self.worker = HttpWorker(app, bind("127.0.0.1", 0), limits=limits, write_timeout=write_timeout, log_access=log)
        self._nursery = nursery
        self._write_timeout = write_timeout
        self._open = 0
        self._ended = trio.lowlevel.ParkingLot()
        nursery.start_soon(self.worker._patrol)

    def connect(self, pair: Callable[[], tuple[Any, Any]] = memory_stream_pair) -> Peer:
        """A new connection."""
        ours, theirs = pair()
        lane = StreamBytes(theirs, self._write_timeout)
        self._nursery.start_soon(self._run, Connection(self.worker, lane, client=None, server=None))
        return Peer(ours)

    async def _run(self, connection: Connection) -> None:
        self._open += 1
        await self.worker._run(connection)
        self._open -= 1
        self._ended.unpark_all()

    async def ended(self) -> float:
        """Once no connection is left: the time."""
        await wait_all_tasks_blocked()
        while self._open:
            await self._ended.park()
        return trio.current_time()


@asynccontextmanager
async def bench(app: App, *, write_timeout: float = 30, log: Any = None, **limits: Any) -> AsyncIterator[Bench]:
    """Connections over memory streams; use it under `autojump_clock`."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(1_000_000):
            yield Bench(app, nursery, write_timeout=write_timeout, log=log, limits=Limits(**limits))
        nursery.cancel_scope.cancel()


class Served:
    """A worker on a real socket of loopback."""

    def __init__(self, worker: HttpWorker, url: str, nursery: trio.Nursery) -> None:
        self.worker = worker
        self.url = url
        self.port = int(url.rsplit(":", 1)[1])
        self.shutdown = trio.Event()
        self.nursery = nursery

    async def dial(self) -> Peer:
        """A new connection."""
        return Peer(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def dial_tls(self, *protocols: str) -> Peer:
        """A new connection under TLS."""
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        context.set_alpn_protocols(list(protocols) or ["http/1.1"])
        raw = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(raw, context, server_hostname="localhost", https_compatible=True)
        await stream.do_handshake()
        return Peer(stream)

    async def quiet(self) -> None:
        """Once no connection is open; what waits here waits for the kernel."""
        await until(lambda: not self.worker._open)


@asynccontextmanager
async def served(
    app: App,
    *,
    tls: bool = False,
    write_timeout: float = 30,
    max_connections: int = 100,
    log: Any = None,
    sockets: list[socket.socket] | None = None,
    load: Any = None,
    **limits: Any,
) -> AsyncIterator[Served]:
    """An application on our worker, on a port of loopback. It must end by itself once told to."""
    files = {"certfile": str(CERTIFICATE), "keyfile": str(KEY)} if tls else {}
    worker = HttpWorker(
        app,
        bind("127.0.0.1", 0, **files),
        limits=Limits(**limits),
        max_connections=max_connections,
        write_timeout=write_timeout,
        log_access=log,
        sockets=sockets,
        load=load,
    )
    with trio.fail_after(PATIENCE), worker.listening():
        async with trio.open_nursery() as nursery:
            shutdown = trio.Event()
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=PATIENCE)
            (url,) = await nursery.start(run)
            house = Served(worker, url, nursery)
            house.shutdown = shutdown
            yield house
            shutdown.set()


async def until(condition: Callable[[], bool]) -> None:
    """Once it is so. The kernel tells nobody when it has passed a packet on, so this asks it again and again."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.lowlevel.checkpoint()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection: a server's and a client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return server, client


class Http2:
    """The client's side of HTTP/2, by hand."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        # It must be able to say what is wrong.
        config = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.wire = H2Connection(config)
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.terminated = False

    async def begin(self) -> "Http2":
        """Send the preface."""
        self.wire.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        await self.peer.send(self.wire.data_to_send())

    async def request(
        self,
        path: bytes | None = b"/",
        *,
        method: bytes = b"GET",
        body: bytes = b"",
        authority: bytes = b"a",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        end: bool = True,
    ) -> int:
        """Send a request; not `end`: more of the body is to come. The stream's number."""
        stream = self.wire.get_next_available_stream_id()
        pseudo = [(b":method", method), (b":authority", authority)]
        if method != b"CONNECT":
            pseudo.append((b":scheme", b"http"))
        if path is not None:
            pseudo.append((b":path", path))
        self.wire.send_headers(stream, [*pseudo, *headers], end_stream=end and not body)
        await self.flush()
        if body:
            await self.send(stream, body, end=end)
        return stream

    async def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Send a part of the body, as the windows allow."""
        while body:
            room = min(self.wire.local_flow_control_window(stream), self.wire.max_outbound_frame_size, len(body))
            if room:
                self.wire.send_data(stream, body[:room], end_stream=end and room == len(body))
                body = body[room:]
                await self.flush()
            else:
                await self.read()

    async def read(self) -> None:
        """Take in what is next."""
        data = await self.peer.read()
        assert data, "the connection ended"
        for event in self.wire.receive_data(data):
            stream = getattr(event, "stream_id", None) or 0
            if isinstance(event, h2.events.ResponseReceived):
                self.statuses[stream] = int(dict(event.headers or ())[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[stream] = self.bodies.get(stream, b"") + (event.data or b"")
                self.wire.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(stream)
            elif isinstance(event, h2.events.StreamReset):
                self.reset.add(stream)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.terminated = True
        await self.flush()

    async def answer(self, stream: int) -> tuple[int, bytes]:
        """The whole response; status 0 where the stream was reset."""
        while stream not in self.ended and stream not in self.reset:
            await self.read()
        return (0, b"") if stream in self.reset else (self.statuses[stream], self.bodies.get(stream, b""))


def descriptors() -> set[str]:
    """What the descriptors of this process are."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # the one that lists
            continue
    return found


# Applications


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, the path and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await respond(send, f"{scope['method']} {scope['path']} ".encode() + body)


async def respond(send: Send, body: bytes = b"", status: int = 200, *, length: bool = True, **headers: str) -> None:
    """Send a whole response."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if length:
        lines.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Send, *, content_type: str = "text/event-stream") -> None:
    """Begin a stream of events."""
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: begun\n\n", "more_body": True})


def app_of(serve: Callable[[Scope, Receive, Send], Awaitable[None]]) -> App:
    """An application out of a function; for readability alone."""
    return serve


class Worked:
    """An application that works until it is told to stop, or its client leaves: the way McpApp does.

    Attributes:
        began: requests whose work began.
        ended: how each ended, in order.
    """

    def __init__(self, *, body: bytes = b"done") -> None:
        self.began = 0
        self.ended: list[str] = []
        self.go_on = trio.Event()
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        reasons: list[str] = []

        def gone(reason: str) -> None:
            reasons.append(reason)
            work_scope.cancel(reason)

        with trio.CancelScope() as work_scope:
            scope["extensions"][CONNECTION_EXTENSION].on_gone(gone)
            self.began += 1
            await self.go_on.wait()
        if work_scope.cancelled_caught:
            self.ended += reasons
            return
        self.ended.append("answered")
        await scope["extensions"][CONNECTION_EXTENSION].respond(200, (), self._body)
