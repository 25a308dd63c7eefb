"""Connections that are not HTTP/1.1: hypercorn's own HTTP/2 and WebSocket, with their faults mended from outside.

What is mended: a write is bounded, and so is the time for a body; a bad stream is reset and does not end the process;
DATA for a stream that was answered already is taken and dropped; an application always hears of a disconnect, and is
cancelled if it stays; a refused handshake ends its connection. It refuses HTTP/1.1 requests. Only this module and
`worker` know hypercorn.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import EndBody, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from trio_mcp.http.asgi import App
from trio_mcp.http.byte_stream import CHUNK
from trio_mcp.http.handed_app import HandedApp, Inbox, LogAccess
from trio_mcp.http.websocket_stream import WebSocketStream

_log = logging.getLogger("trio_mcp.handover")

#: An application that was told of a disconnect has so long to go by itself.
_LEAVE_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 1.0
_CONNECT_PROTOCOL: Final = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL


class PrefixedStream:
    """A stream that gives back bytes which were read from it already."""

    def __init__(self, stream: Any, prefix: bytes) -> None:
        self._stream = stream
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The prefix first, then the stream's own."""
        if self._prefix:
            prefix, self._prefix = self._prefix, b""
            await trio.lowlevel.checkpoint()
            return prefix
        return bytes(await self._stream.receive_some(max_bytes))


class _Apps(TaskGroup):
    """The applications of one connection.

    Args:
        body_time: seconds for the whole body of a request.
        log_access: takes a record of each; or None.
    """

    def __init__(self, body_time: float, log_access: LogAccess | None) -> None:
        super().__init__()
        self._body_time = body_time
        self._log_access = log_access

    async def spawn_app(self, app: Any, config: Config, scope: Any, send: Callable[[Any], Awaitable[None]]) -> Any:
        """Run an application for one stream; what it is to hear goes into the function returned."""
        assert self._nursery is not None
        inbox = Inbox(config.max_app_queue_size, self._body_time)
        handed = HandedApp(scope, inbox, send, self._log_access)
        self._nursery.start_soon(handed.run, app, name=f"serve {scope['type']} {scope['path']}")
        return inbox.put


class _WebSocket(H11Protocol):
    """A WebSocket on our own stream, whose connection ends when the handshake is refused."""

    async def _create_stream(self, request: Any) -> None:
        """Only handshakes come here: the parser of the lane keeps everything else."""
        self.stream = WebSocketStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        connection: Any = self.connection
        self.connection = H11WSConnection(connection)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method="GET",
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def stream_send(self, event: StreamEvent) -> None:
        """After the end of an HTTP response no WebSocket can follow."""
        await super().stream_send(event)
        if isinstance(event, EndBody):
            await self.send(Closed())


class _Http2(H2Protocol):
    """HTTP/2 in which one bad stream is one bad stream, and without WebSocket: browsers then take HTTP/1.1 for it."""

    async def initiate(self, *args: Any) -> None:
        """Begin, without the offer of RFC 8441 (extended CONNECT)."""
        offered: Any = {
            code: value for code, value in self.connection.local_settings.items() if code != _CONNECT_PROTOCOL
        }
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values=offered)
        await super().initiate(*args)

    async def _create_stream(self, request: Any) -> None:
        if (b":method", b"CONNECT") in request.headers:
            raise h2.exceptions.ProtocolError("CONNECT is not offered")
        await super()._create_stream(request)

    async def handle(self, event: Event) -> None:
        """Bytes, or the end: then nobody waits any more for the client to make room."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in tuple(self.stream_buffers.values()):
                await buffer.close()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            stream_id = getattr(event, "stream_id", None) or 0
            if isinstance(event, h2.events.DataReceived) and stream_id not in self.streams:
                self._drop(event)
                continue
            try:
                await super()._handle_events([event])
            except Exception as error:
                if not stream_id:
                    raise
                _log.debug("HTTP/2 stream %d was reset: %r", stream_id, error)
                await self._reset(stream_id)
        await self._flush()

    def _drop(self, event: h2.events.DataReceived) -> None:
        """Take the data of a stream that was answered before its end, so that the window opens again."""
        try:
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        except h2.exceptions.ProtocolError as error:
            _log.debug("HTTP/2: %r", error)

    async def _reset(self, stream_id: int) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None and getattr(stream, "app_put", None) is not None:
            await stream.handle(StreamClosed(stream_id=stream_id))
        elif stream is not None:  # no application: nobody else will ever take these away
            self.stream_buffers.pop(stream_id, None)
            with suppress(KeyError):  # priority.MissingStreamError: it is not in the tree either
                self.priority.remove_stream(stream_id)
        try:
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        except h2.exceptions.ProtocolError as error:
            _log.debug("HTTP/2: %r", error)


class Foreign:
    """What all connections have in common that are handed over by one worker."""

    def __init__(self, app: App, config: Config) -> None:
        foreign: Any = app  # hypercorn spells each ASGI message out; ours are dicts
        self._app = ASGIWrapper(foreign)
        self._config = config
        self._context = WorkerContext(None)

    async def serve(self, stream: trio.abc.Stream, data: bytes, **options: Any) -> None:
        """Serve a connection from these bytes on; options are `Handover`'s. Raises nothing for what the client does."""
        await Handover(self._app, self._config, self._context, PrefixedStream(stream, data), **options).run()

    async def end(self) -> None:
        """The worker goes away: they close themselves."""
        await self._context.terminated.set()


class Handover(TCPServer):
    """A connection on hypercorn's machinery that ends alone, whatever happens on it.

    Args:
        alpn: `h2`, or `http/1.1` for WebSocket.
        write_timeout: seconds that one chunk may take; past it the connection is cut.
        body_time: seconds for the whole body of a request.
        log_access: takes a record of each request and WebSocket (see `ops.access_log`), or None.
    """

    def __init__(
        self,
        app: Any,
        config: Config,
        context: Any,
        stream: Any,
        *,
        alpn: str,
        tls: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        write_timeout: float,
        body_time: float,
        log_access: LogAccess | None = None,
    ) -> None:
        super().__init__(app, config, context, ConnectionState({}), stream)
        self._alpn = alpn
        self._tls = tls
        self._client = client
        self._server = server
        self._write_timeout = write_timeout
        self._body_time = body_time
        self._log_access = log_access
        self._scope = trio.CancelScope()
        self._left = False

    async def run(self) -> None:
        """Serve until either side closes. Raises nothing for what the client does; closes the stream."""
        try:
            with self._scope:
                async with _Apps(self._body_time, self._log_access) as task_group:
                    self._task_group = task_group
                    self.protocol = self._make_protocol(task_group)
                    await self.protocol.initiate()
                    await self.idle_task.restart(task_group, self._idle_timeout)
                    await self._read_data()
                    self._left = True
                    await self.idle_task.stop()
                    self._scope.deadline = trio.current_time() + _LEAVE_SECONDS
        except Exception as error:
            _log.warning("a connection failed and was closed: %r", error)
        finally:
            self._let_go()
            await trio.aclose_forcefully(self.stream)

    def _let_go(self) -> None:
        """Undo hypercorn's circles, so that all memory of a connection is free at once and not at some collection."""
        wrapper: Any = self.__dict__.pop("protocol", None)
        if wrapper is not None:
            inner = wrapper.protocol
            if isinstance(inner, _WebSocket):
                inner.stream = None
            else:
                inner.streams.clear()
                inner.stream_buffers.clear()
            wrapper.protocol = None

    def _make_protocol(self, task_group: TaskGroup) -> ProtocolWrapper:
        parts: dict[str, Any] = {
            "app": self.app,
            "config": self.config,
            "context": self.context,
            "task_group": task_group,
            "ssl": self._tls,
            "client": self._client,
            "server": self._server,
            "send": self.protocol_send,
        }
        protocol = ProtocolWrapper(state=ConnectionState({}), alpn_protocol="http/1.1", **parts)
        kind: Any = _Http2 if self._alpn == "h2" else _WebSocket
        protocol.protocol = kind(connection_state=ConnectionState({}), **parts)
        return protocol

    async def protocol_send(self, event: Event) -> None:
        """Write in bounded chunks, close in bounded time; everything else is hypercorn's."""
        if isinstance(event, Closed):
            with trio.move_on_after(_GOODBYE_SECONDS):
                await self._close()
            await self.protocol.handle(Closed())
            return
        if not isinstance(event, RawData):
            if not (self._left and isinstance(event, Updated)):  # else a timer would hold the connection up
                await super().protocol_send(event)
            return
        view = memoryview(event.data)
        async with self.send_lock:
            for start in range(0, len(event.data), CHUNK):
                with trio.move_on_after(self._write_timeout) as write_scope:
                    try:
                        await self.stream.send_all(view[start : start + CHUNK])
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        await self.protocol.handle(Closed())
                        return
                if write_scope.cancelled_caught:
                    self._scope.cancel("the client did not read in time")
                    return

    async def _initiate_server_close(self) -> None:
        """It was idle too long, or the worker goes away. Called under a shield, so it must not wait for the client."""
        await self.protocol.handle(Closed())
        self._scope.cancel("it was idle")
