"""A WebSocket client on wsproto over memory streams, in front of a whole host: virtual time rules both sides."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import wsproto
import wsproto.events as ws
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import memory_stream_pair
from wsproto.connection import ConnectionState
from wsproto.extensions import PerMessageDeflate

from tests.http.client import PATIENCE, V2025_11, modern, notification, request
from tests.http.lane_kit import Peer
from trio_mcp import Host, Server, http_app
from trio_mcp.http.handover import Handover, PrefixedStream
from trio_mcp.http.worker import bind

SERVER = ("127.0.0.1", 8000)


class Closed(Exception):
    """The WebSocket was closed; with its code and reason."""

    @property
    def code(self) -> int:
        return int(self.args[0])

    @property
    def reason(self) -> str:
        return str(self.args[1])


class Socket:
    """The client's side of one WebSocket.

    Attributes:
        pings: how many came; they are answered unless `mute`.
        status: of a handshake that was refused.
    """

    def __init__(self, peer: Peer, theirs: Any) -> None:
        self.peer = peer
        self.theirs = theirs
        self.wire = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.pings = 0
        self.mute = False
        self.status = 0
        self.body = b""
        self.subprotocol: str | None = None
        self.extensions: list[Any] = []
        self.ended = trio.Event()
        self.waiting: list[Any] = []

    async def shake(self) -> bool:
        """Await the answer to the handshake; whether it was accepted."""
        while True:
            event = await self.event()
            if isinstance(event, ws.AcceptConnection):
                self.subprotocol, self.extensions = event.subprotocol, list(event.extensions)
                return True
            if isinstance(event, ws.RejectConnection):
                self.status = event.status_code
            if isinstance(event, ws.RejectData):
                self.body += event.data
                if event.body_finished:
                    return False

    async def event(self) -> Any:
        """The next event that is not a ping."""
        while True:
            for event in self.wire.events():
                if isinstance(event, ws.Ping):
                    self.pings += 1
                    if not self.mute:
                        await self.peer.send(self.wire.send(event.response()))
                    continue
                return event
            data = await self.peer.read()
            if not data:
                raise Closed(1006, "the connection ended")
            self.wire.receive_data(data)

    async def send(self, *events: ws.Event) -> None:
        await self.peer.send(b"".join(self.wire.send(event) for event in events))

    async def say(self, message: Any) -> None:
        """Send a message, or text that is none."""
        await self.send(ws.TextMessage(data=message if isinstance(message, str) else json.dumps(message)))

    async def hear(self) -> Any:
        """The next message."""
        text = ""
        while True:
            event = await self.event()
            if isinstance(event, ws.CloseConnection):
                if self.wire.state is ConnectionState.REMOTE_CLOSING:
                    await self.send(event.response())
                raise Closed(event.code, event.reason)
            assert isinstance(event, ws.TextMessage), event
            text += event.data
            if event.message_finished:
                return json.loads(text)

    async def closed(self) -> Closed:
        """Pass over what comes until it closes; how it did."""
        while True:
            try:
                self.waiting.append(await self.hear())
            except Closed as closed:
                return closed

    async def ask(self, method: str, params: Any = None, id: Any = 1) -> Any:
        """A request of the session era, and its answer."""
        await self.say(request(id, method, params))
        return await self.hear()

    async def call(self, tool: str, *, id: Any = 1, **arguments: Any) -> None:
        """Begin a tools/call in the session era."""
        await self.say(request(id, "tools/call", {"name": tool, "arguments": arguments}))

    async def begin(self, tool: str, *, id: Any = 1, **arguments: Any) -> None:
        """Begin a tools/call in the per-request era."""
        await self.say(modern("tools/call", {"name": tool, "arguments": arguments}, id=id)[0])

    async def initialize(self, revision: str = V2025_11, capabilities: Any = None) -> Any:
        info = {"name": "tests", "version": "1"}
        params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": info}
        answer = await self.ask("initialize", params, id=0)
        await self.say(notification("notifications/initialized"))
        return answer

    async def leave(self) -> None:
        """Vanish."""
        await self.peer.leave()


class House:
    """A host behind its whole application, and the WebSockets to it."""

    def __init__(self, host: Host, nursery: trio.Nursery) -> None:
        self.host = host
        self.app = http_app(host)
        self.sockets: list[Socket] = []
        self._nursery = nursery

    async def dial(
        self,
        path: str = "/ws",
        *,
        subprotocols: tuple[str, ...] = ("mcp",),
        host: str = "127.0.0.1:8000",
        deflate: bool = False,
        data: bytes = b"",
        **headers: str,
    ) -> Socket:
        """A connection whose handshake is on its way."""
        ours, theirs = memory_stream_pair()
        socket = Socket(Peer(ours), theirs)
        handshake = socket.wire.send(
            ws.Request(
                host=host,
                target=path,
                subprotocols=list(subprotocols),
                extensions=[PerMessageDeflate()] if deflate else [],
                extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            )
        )
        app: Any = self.app
        handover = Handover(
            ASGIWrapper(app),
            bind(*SERVER),
            WorkerContext(None),
            PrefixedStream(theirs, handshake + data),
            alpn="http/1.1",
            tls=False,
            client=("127.0.0.1", 5),
            server=SERVER,
            write_timeout=self.host.server.settings.write_timeout,
            body_time=60,
        )

        async def run() -> None:
            await handover.run()
            socket.ended.set()

        self._nursery.start_soon(run)
        self.sockets.append(socket)
        return socket

    async def open(self, **options: Any) -> Socket:
        """A connection that was accepted."""
        socket = await self.dial(**options)
        assert await socket.shake(), (socket.status, socket.body)
        return socket


@asynccontextmanager
async def socketed(server: Server) -> AsyncIterator[House]:
    """Serve WebSockets; at the end every client vanishes, and nothing may be left."""
    host = Host(server)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            house = House(host, nursery)
            yield house
            for socket in house.sockets:
                await socket.leave()
                await socket.ended.wait()
            assert not host.calls
            assert not host.sessions
            assert not len(host.subscriptions)
            host.stop()
