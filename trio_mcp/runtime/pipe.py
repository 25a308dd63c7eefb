"""`Pipe`: one duplex stream of messages, both eras on it: stdio, memory, WebSocket.

2026-07-28, basic/transports/stdio. The pipe's nursery owns one reader, one writer and the per-request calls; a
session, once a message of that era comes, is the host's and ends with the pipe. All messages leave through one bounded
outlet. It refuses to know where the bytes come from.
"""

import logging
from collections.abc import AsyncIterable, Awaitable, Callable

import trio

from trio_mcp.auth.tokens import Authorization
from trio_mcp.protocol.errors import INVALID_REQUEST, TOO_MANY_REQUESTS, UNAVAILABLE, McpError
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.inbound import era_of
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.per_request import open_request
from trio_mcp.protocol.revisions import Era
from trio_mcp.protocol.session import batch_fault
from trio_mcp.runtime.call import NO_HEADERS
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.outlet import Frame, Outlet
from trio_mcp.runtime.per_request import PerRequestCall
from trio_mcp.runtime.session import Session
from trio_mcp.wire.base import RequestId
from trio_mcp.wire.jsonrpc import (
    Message,
    Notification,
    Request,
    WireError,
    decode,
    decode_batch,
    encode_error,
    is_batch,
)

_log = logging.getLogger("trio_mcp.pipe")

Write = Callable[[bytes], Awaitable[None]]


class Pipe:
    """One connection that carries messages both ways.

    Args:
        write: sends one batch of complete messages, each with its newline.
        framed: `write` sends one message at a time, without a newline: the stream below keeps them apart.
        principal, authorization: who is at the other end, where that was asked.
        headers: of the request that the connection began with.
    """

    def __init__(
        self,
        host: Host,
        write: Write,
        *,
        framed: bool = False,
        principal: str = "",
        authorization: Authorization | None = None,
        headers: Headers = NO_HEADERS,
    ) -> None:
        self._host = host
        self._principal = principal
        self._authorization = authorization
        self._write = write
        self._framed = framed
        self._principal = principal
        self._headers = headers
        self._outlet = Outlet(host.server.settings.stream_buffer, expected=None)
        self._session: Session | None = None
        self._calls: dict[RequestId, PerRequestCall] = {}
        self._running = 0  # their tasks, those of cancelled calls included
        self._call_ended = trio.lowlevel.ParkingLot()
        self._pipe_nursery: trio.Nursery | None = None  # of run(), while it runs
        self._reading = trio.CancelScope()
        self._watching = trio.CancelScope()

    async def run(self, messages: AsyncIterable[bytes | WireError], *, stop: trio.Event | None = None) -> None:
        """Serve until the messages end or `stop` is set, then give calls `Settings.eof_grace` and cancel the rest.

        An item that is a `WireError` (a line too long) is answered as such. While the client is
        `Settings.stream_buffer` frames behind in reading, nothing more is taken from it. Cancellation: calls are
        cancelled and awaited; what waits to be written is dropped.
        """
        settings = self._host.server.settings
        try:
            async with trio.open_nursery() as pipe_nursery:
                self._pipe_nursery = pipe_nursery
                await pipe_nursery.start(self._write_all, name="write to pipe")
                if stop is not None:
                    pipe_nursery.start_soon(self._stop_reading_when, stop, name="watch for stop")
                with self._reading:
                    async for item in messages:
                        await self._outlet.wait_for_room()
                        await self._deliver(item)
                self._watching.cancel("the pipe is being closed")
                for call in tuple(self._calls.values()):
                    call.farewell()
                with trio.move_on_after(settings.eof_grace):
                    await self._finish_calls()
                for call in tuple(self._calls.values()):
                    call.cancel("the client closed the pipe")
                await self._end_session("the client closed the pipe")
                self._outlet.close()
                # Bounded: a client that does not read its answers must not hold us.
                pipe_nursery.cancel_scope.deadline = trio.current_time() + settings.cleanup_timeout
        finally:
            await self._end_session("the pipe is gone")

    async def _end_session(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end(reason)
            # Shielded for cleanup_timeout: whoever cancels a pipe may count on its calls having ended.
            with trio.move_on_after(self._host.server.settings.cleanup_timeout, shield=True):
                await session.ended.wait()

    async def _stop_reading_when(self, stop: trio.Event) -> None:
        with self._watching:
            await stop.wait()
        self._reading.cancel("the server goes away")

    async def _write_all(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what comes until the outlet closes; a broken pipe ends everything on it."""
        with self._outlet.reader():
            task_status.started()
            while True:
                frames = self._outlet.take()
                if frames:
                    try:
                        await self._write_frames(frames)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        assert self._pipe_nursery is not None
                        self._pipe_nursery.cancel_scope.cancel("the client does not read any more")
                        return
                elif self._outlet.closed:
                    return
                else:
                    await self._outlet.wait()

    async def _write_frames(self, frames: list[Frame]) -> None:
        if not self._framed:
            await self._write(b"".join(frame.data + b"\n" for frame in frames))
            return
        for frame in frames:
            await self._write(frame.data)

    async def quiet(self) -> None:
        """Wait until no call is left, of either era. Cancellation: nothing happened."""
        await trio.lowlevel.checkpoint()
        await self._finish_calls()

    async def _finish_calls(self) -> None:
        while self._running:
            await self._call_ended.park()
        if self._session is not None:
            await self._session.calls_ended()

    # Messages

    async def _deliver(self, line: bytes | WireError) -> None:
        settings = self._host.server.settings
        try:
            if isinstance(line, WireError):
                raise line
            if not line.strip():
                return
            if not is_batch(line):
                await self._deliver_one(decode(line, max_depth=settings.max_depth), self._outlet)
                return
            batch = decode_batch(line, max_depth=settings.max_depth)
        except WireError as error:
            self._outlet.respond(encode_error(error.id, error.code, error.message), error.code)
            return
        session = self._session
        fault = batch_fault(None if session is None else session.protocol.revision, len(batch), settings.max_batch)
        if fault is not None:
            self._outlet.respond(encode_error(None, INVALID_REQUEST, fault), INVALID_REQUEST)
            return
        await self._deliver_batch(batch)

    async def _deliver_batch(self, batch: list[Message | WireError]) -> None:
        expected = sum(isinstance(message, (Request, WireError)) for message in batch)
        outlet = BatchOutlet(self._outlet, expected)
        for message in batch:
            if isinstance(message, WireError):
                outlet.respond(encode_error(message.id, message.code, message.message), message.code)
            else:
                await self._deliver_one(message, outlet)

    async def _deliver_one(self, message: Message, outlet: Outlet) -> None:
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            if self._cancel(message):
                return
        elif isinstance(message, Request) and self._host.draining:  # answers that calls wait for still come in
            outlet.respond(encode_error(message.id, UNAVAILABLE, "The server is shutting down"), UNAVAILABLE)
            return
        elif isinstance(message, Request) and self._is_per_request(message):
            self._begin(message, outlet)
            return
        if self._session is None:
            if not isinstance(message, Request):
                return
            try:
                self._session = await self._host.open_session(pipe=self._outlet, principal=self._principal)
            except McpError as error:
                outlet.respond(encode_error(message.id, error.code, error.message, error.data), error.code)
                return
        self._session.deliver(message, outlet, self._headers, self._authorization)

    def _is_per_request(self, request: Request) -> bool:
        if era_of(request, session_id=None, version_header=None) is Era.PER_REQUEST:
            return True
        method = METHODS.get(request.method)
        return method is not None and method.since.per_request

    def _begin(self, request: Request, outlet: Outlet) -> None:
        try:
            if request.id in self._calls:
                raise McpError(INVALID_REQUEST, f"Request id {request.id!r} is still in flight")
            if self._running >= self._host.server.settings.max_requests_per_session:
                raise McpError(TOO_MANY_REQUESTS, f"Too many requests in flight ({self._running})")
            call = PerRequestCall(
                self._host,
                open_request(request, None),
                outlet,
                headers=self._headers,
                principal=self._principal,
                authorization=self._authorization,
            )
        except McpError as error:
            if self._host.tally is not None:
                self._host.tally.instant(request.method, "refused")
            outlet.respond(encode_error(request.id, error.code, error.message, error.data), error.code)
            return
        self._calls[request.id] = call
        self._running += 1
        self._host.call_began(call)
        assert self._pipe_nursery is not None
        self._pipe_nursery.start_soon(self._run_call, call, name=f"call {call.method.name} {call.id}")

    async def _run_call(self, call: PerRequestCall) -> None:
        try:
            await call.run(answer)
        finally:
            self._running -= 1
            if self._calls.get(call.id) is call:
                del self._calls[call.id]
            self._call_ended.unpark_all()

    def _cancel(self, notification: Notification) -> bool:
        """Cancel a per-request call; False where the id is none of ours."""
        try:
            params = METHODS["notifications/cancelled"].read(notification.params)
        except McpError as error:
            _log.debug("ignored: %s", error.message)
            return True
        call = self._calls.pop(params.request_id, None)
        if call is not None:
            call.answer_wanted = False
            call.cancel(f"the client cancelled it: {params.reason}")
        return call is not None


class BatchOutlet(Outlet):
    """Gathers the answers of one batch and hands them on as one array; everything else goes straight on."""

    def __init__(self, pipe: Outlet, expected: int) -> None:
        super().__init__(pipe.bound, expected=expected)
        self._pipe = pipe

    def put(self, data: bytes) -> None:
        """Straight on."""
        self._pipe.put(data)

    async def room(self) -> None:
        """That of the stream they go out on."""
        await self._pipe.room()

    async def turn(self) -> None:
        """That of the stream they go out on."""
        await self._pipe.turn()

    def close(self) -> None:
        """All answers are in: hand them on."""
        if not self.closed:
            super().close()
            frames = self.take()
            if frames:
                self._pipe.respond(b"[" + b",".join(frame.data for frame in frames) + b"]")
