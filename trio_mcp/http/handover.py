"""Connections that are not HTTP/1.1: hypercorn's own HTTP/2 and WebSocket, with their faults mended from outside.

What is mended: a write is bounded, a bad stream is reset and does not end the process, DATA for a stream that was
answered already is taken and dropped. Only this module and `worker` know
hypercorn.
"""

import logging
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState

from trio_mcp.http.byte_stream import CHUNK

_log = logging.getLogger("trio_mcp.handover")


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


class _Http2(H2Protocol):
    """HTTP/2 in which one bad stream is one bad stream."""

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
        self.streams.pop(stream_id, None)
        try:
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        except h2.exceptions.ProtocolError as error:
            _log.debug("HTTP/2: %r", error)


class Handover(TCPServer):
    """A connection on hypercorn's machinery that ends alone, whatever happens on it.

    Args:
        alpn: `h2`, or `http/1.1` for WebSocket.
        write_timeout: seconds that one chunk may take; past it the connection is cut.
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
    ) -> None:
        super().__init__(app, config, context, ConnectionState({}), stream)
        self._alpn = alpn
        self._tls = tls
        self._client = client
        self._server = server
        self._write_timeout = write_timeout
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve until either side closes. Raises nothing for what the client does; closes the stream."""
        try:
            with self._scope:
                async with TaskGroup() as task_group:
                    self._task_group = task_group
                    self.protocol = self._make_protocol(task_group)
                    await self.protocol.initiate()
                    await self.idle_task.restart(task_group, self._idle_timeout)
                    await self._read_data()
        except Exception as error:
            _log.warning("a connection failed and was closed: %r", error)
        finally:
            await trio.aclose_forcefully(self.stream)

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
        if self._alpn == "h2":
            protocol.protocol = _Http2(connection_state=ConnectionState({}), **parts)
        return protocol

    async def protocol_send(self, event: Event) -> None:
        """Write in bounded chunks; everything else is hypercorn's."""
        if not isinstance(event, RawData):
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
