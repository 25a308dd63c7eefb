"""The connections of a test client, and what every transport of it does.

It owns the streams that a client has open, so that all of them can be cut, stalled or closed at once. It refuses to
know messages.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from trio_mcp.testing.client.pending import ConnectionLostError, Listening, Pending, Wanted
from trio_mcp.testing.streams import SimulatedStream
from trio_mcp.wire.tools import Tool

Dial = Callable[[], Awaitable[SimulatedStream]]


class Wire(trio.abc.Stream):
    """One open connection; what ends it on this side breaks it for whoever waits. Its senders take turns."""

    def __init__(self, stream: SimulatedStream, wires: "Wires") -> None:
        self.stream = stream
        self._wires = wires
        self._ended_by_us: str | None = None
        self._sending = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything.

        Raises:
            trio.BrokenResourceError: the connection is gone, whoever ended it.
        """
        try:
            async with self._sending:
                await self.stream.send_all(data)
        except trio.ClosedResourceError:
            raise trio.BrokenResourceError(self._ended_by_us or "it was closed") from None

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes next, empty at the end.

        Raises:
            trio.BrokenResourceError: the connection is gone, whoever ended it.
        """
        try:
            return await self.stream.receive_some(max_bytes)
        except trio.ClosedResourceError:
            raise trio.BrokenResourceError(self._ended_by_us or "it was closed") from None

    async def aclose(self) -> None:
        """Close."""
        self._wires.forget(self)
        await self.stream.aclose()

    def cut(self, how: str, end: Callable[[], None]) -> None:
        """End it from this side."""
        self._ended_by_us = how
        end()

    @property
    def usable(self) -> bool:
        """Whether it may carry another request: neither side has ended it, as far as that has come here."""
        return self._ended_by_us is None and self.stream.is_open and not self.stream.socket.incoming.ended


class Wires:
    """The open connections of one client, in the order in which they were made."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._open: dict[Wire, None] = {}

    async def dial(self) -> Wire:
        """A new connection.

        Raises:
            ConnectionLostError: there is none to be had.
        """
        try:
            wire = Wire(await self._dial(), self)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLostError(f"there was no connection: {error or type(error).__name__}") from None
        self._open[wire] = None
        return wire

    @staticmethod
    def usable(stream: trio.abc.Stream) -> bool:
        """Whether an idle connection may carry another request."""
        return isinstance(stream, Wire) and stream.usable

    def forget(self, wire: Wire) -> None:
        """It is closed."""
        self._open.pop(wire, None)

    def close(self, how: str) -> None:
        """FIN on all."""
        for wire in self._taken():
            wire.cut(how, wire.stream.close_now)

    def reset(self, how: str) -> None:
        """RST on all."""
        for wire in self._taken():
            wire.cut(how, wire.stream.reset)

    def freeze(self) -> None:
        """All vanish without a word."""
        for wire in self._taken():
            wire.cut("it was frozen", wire.stream.freeze)

    def half_close(self) -> None:
        """Send no more on any."""
        for wire in tuple(self._open):
            wire.stream.half_close()

    def stall(self) -> None:
        """Take no more bytes from any."""
        for wire in tuple(self._open):
            wire.stream.stall()

    def go_on(self) -> None:
        """Take bytes again from all."""
        for wire in tuple(self._open):
            wire.stream.go_on()

    def _taken(self) -> tuple[Wire, ...]:
        wires = tuple(self._open)
        self._open.clear()
        return wires


class Link(ABC):
    """How one client's messages travel; each transport has its own.

    Attributes:
        session_id: what the server calls the session; None where it has no name.
        tools: those that the server has listed, by name.
    """

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.tools: dict[str, Tool] = {}

    @abstractmethod
    async def open(self) -> None:
        """Make the connection that must be there before the first message.

        Raises:
            ConnectionLostError, RefusedError: there is none.
        """

    @abstractmethod
    def ask(self, pending: Pending, body: bytes) -> None:
        """Send a request by a task of the client, which settles it."""

    @abstractmethod
    async def tell(self, body: bytes, method: str = "") -> None:
        """Send a notification or an answer; returns once it is taken.

        Raises:
            ConnectionLostError, RefusedError: it was not.
            McpError: it was refused in the protocol's words.
        """

    @abstractmethod
    async def throw(self, body: bytes, request: Mapping[str, Any]) -> None:
        """Send anything; returns once it is written. What comes of it goes to the inbox.

        Args:
            request: what it says, as far as it is a message; empty where it is none.
        """

    @abstractmethod
    async def cancel(self, pending: Pending, reason: str) -> None:
        """Tell the server that no answer is wanted."""

    async def resume(self, pending: Pending) -> None:
        """Come back for the rest of a request's stream."""
        await trio.lowlevel.checkpoint()
        raise ConnectionLostError("this transport has nothing to come back to")

    @abstractmethod
    def listen(self, wanted: Wanted, last_event_id: str | None) -> AbstractAsyncContextManager[Listening]:
        """Hear of changes in the session era."""

    async def end_session(self) -> None:
        """End the session, where there is a way to say that."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def farewell(self) -> None:
        """Say goodbye, and await what belongs to it; bounded by the caller."""

    def join_session(self, session_id: str | None) -> None:
        """Speak in a session that another client opened, and will end."""
        raise ValueError("this transport has no session that two could share")

    def learn(self, tools: list[Tool]) -> None:
        """Know these tools: some want their arguments in headers, too."""
        self.tools.update((tool.name, tool) for tool in tools)
