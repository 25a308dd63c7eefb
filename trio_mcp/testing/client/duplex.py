"""Transports of the test client with one stream both ways: messages leave in the order in which they were begun.

It owns one task that writes and one that reads; when the reader ends, every wait of the client does. It refuses to know
frames: `lines` and `websocket` do.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import trio

from trio_mcp.testing.client.conversation import Conversation
from trio_mcp.testing.client.link import Link
from trio_mcp.testing.client.pending import ConnectionLostError, Listening, Pending, Wanted


@attrs.define(kw_only=True, eq=False)
class _Outgoing:
    """What waits to be written; `body` None: only told when its turn is."""

    body: bytes | None
    done: Callable[[], None]
    failed: Callable[[str], None]


class DuplexLink(Link):
    """One stream both ways. What waits to be written is unbounded: a test begins no more than it means to."""

    def __init__(self, talk: Conversation) -> None:
        super().__init__()
        self.talk = talk
        self._queue: deque[_Outgoing] = deque()
        self._came = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        self._how = ""

    @abstractmethod
    async def connect(self) -> None:
        """Make the connection.

        Raises:
            ConnectionLostError, RefusedError: there is none.
        """

    @abstractmethod
    async def write(self, body: bytes) -> None:
        """Send one message.

        Raises:
            ConnectionLostError: the connection is gone.
        """

    @abstractmethod
    async def read(self) -> bytes:
        """The next message.

        Raises:
            ConnectionLostError: the stream ended, and how.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""

    async def open(self) -> None:
        """Connect, and begin to read and to write."""
        await self.connect()
        self.talk.spawn(self._read_all, what="read")
        self.talk.spawn(self._write_all, what="write")

    async def _read_all(self) -> None:
        how = "the client closed the connection"
        try:
            while True:
                self.talk.take(await self.read())
        except ConnectionLostError as error:
            how = error.how
        finally:
            self._how = how
            self._ended.set()
            while self._queue:
                self._queue.popleft().failed(how)
            self.talk.lose(how)
        await self.close()

    async def _write_all(self) -> None:
        while True:
            while not self._queue:
                await self._came.park()
            outgoing = self._queue.popleft()
            try:
                if outgoing.body is not None:
                    await self.write(outgoing.body)
            except ConnectionLostError as error:
                outgoing.failed(error.how)
            else:
                outgoing.done()

    def _put(self, outgoing: _Outgoing) -> None:
        if self._ended.is_set():
            outgoing.failed(self._how)
        else:
            self._queue.append(outgoing)
            self._came.unpark_all()

    def ask(self, pending: Pending, body: bytes) -> None:
        """Let it be written in its turn."""
        self._put(_Outgoing(body=body, done=pending.went_out, failed=pending.lost))

    async def tell(self, body: bytes, method: str = "") -> None:
        """Write it in its turn."""
        await self._written(body)

    async def throw(self, body: bytes, request: Mapping[str, Any]) -> None:
        """Write it in its turn."""
        await self._written(body)

    async def _written(self, body: bytes | None) -> None:
        """Until it is written; None: until all before it is. Cancellation: it is written all the same.

        Raises:
            ConnectionLostError: it never will be.
        """
        settled, faults = trio.Event(), list[str]()

        def failed(how: str) -> None:
            faults.append(how)
            settled.set()

        self._put(_Outgoing(body=body, done=settled.set, failed=failed))
        await settled.wait()
        if faults:
            raise ConnectionLostError(faults[0])

    async def cancel(self, pending: Pending, reason: str) -> None:
        """By notification, in both eras."""
        await self.talk.notify_cancelled(pending, reason)

    def listen(self, wanted: Wanted, last_event_id: str | None) -> AbstractAsyncContextManager[Listening]:
        """What comes on the one stream."""
        return self.talk.hear(wanted)

    async def _wait_end(self) -> None:
        """Until the server has closed, too."""
        await self._ended.wait()
