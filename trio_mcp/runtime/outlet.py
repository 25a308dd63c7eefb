"""`Outlet`: the bounded frames of one stream to a client, between the tasks that fill it and the one that writes it.

Theory of operation. Senders put frames in; one reader at a time takes them out and writes them. An outlet owes
`expected` answers and closes itself when the last is in. The reader may go and another may come: then frames that
were recorded are taken from the history, so nothing is lost or doubled. Recording begins with `commit`, when the
client has been given an event id it could come back with; a reply that goes out as plain JSON is never recorded.

It refuses to write: whoever reads it does, under `writer_scope`, which ends with the outlet.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import trio


class Frame(NamedTuple):
    """One JSON-RPC message, encoded, and the event id it was recorded under."""

    data: bytes
    event_id: str | None


class History(Protocol):
    """Where a committed outlet records its frames; `runtime.replay` is it."""

    def record(self, stream: int, data: bytes) -> str:
        """Keep a frame of a stream and give its event id."""
        ...


class Outlet:
    """Frames of one stream.

    Args:
        bound: frames that may wait before `send` waits for the reader. With no reader there is nobody to wait for:
            the oldest frames that are no answers are dropped instead (recorded ones stay in the history).
        expected: answers owed on this stream; None: a stream without an end of its own.
        number: which stream of its session this is, for event ids.
        history: where to record frames once committed; None: this stream cannot be resumed.

    Attributes:
        closed: nothing more will come; the reader ends the stream once it has written what is left.
        plain: only answers were put in so far, so the reply may still be plain JSON.
        parted: the server ends the connection on purpose, not the stream (SEP-1699).
        error_code: the code of an answer that is an error, for the status of an uncommitted reply.
        answers_only: the reply must be plain JSON, so anything but answers is dropped.
    """

    __slots__ = (
        "_frames",
        "_room",
        "_wake",
        "answers_only",
        "bound",
        "closed",
        "committed",
        "error_code",
        "expected",
        "history",
        "number",
        "parted",
        "plain",
        "reader_scope",
    )

    def __init__(
        self, bound: int, *, expected: int | None = 1, number: int = 0, history: History | None = None
    ) -> None:
        self.bound = bound
        self.expected = expected
        self.number = number
        self.history = history
        self.closed = False
        self.committed = False
        self.plain = True
        self.parted = False
        self.answers_only = False
        self.error_code: int | None = None
        self.reader_scope: trio.CancelScope | None = None
        self._frames: deque[Frame] = deque()
        self._wake = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._frames)

    # Senders

    def _put(self, data: bytes) -> None:
        event_id = None
        if self.committed and self.history is not None:
            event_id = self.history.record(self.number, data)
        self._frames.append(Frame(data, event_id))
        if self._wake:
            self._wake.unpark_all()

    def put(self, data: bytes) -> None:
        """Add a frame that is no answer, at once. For frames whose number is bounded elsewhere."""
        if self.closed or self.answers_only:
            return
        self.plain = False
        if self.reader_scope is None and len(self._frames) >= self.bound:
            self._frames.popleft()
        self._put(data)

    def put_once(self, data: bytes) -> None:
        """Add a frame unless an equal one is waiting already: for "the list changed", where one is as good as many."""
        if not any(frame.data == data for frame in self._frames):
            self.put(data)

    async def send(self, data: bytes) -> None:
        """Add a frame that is no answer, waiting while the reader is `bound` frames behind.

        Cancellation: nothing was added.
        """
        await trio.lowlevel.checkpoint()
        while len(self._frames) >= self.bound and self.reader_scope is not None and not self.closed:
            await self._room.park()
        self.put(data)

    def respond(self, data: bytes, error_code: int | None = None) -> None:
        """Add an answer; the last one that is owed closes the outlet."""
        if self.closed:
            return
        self.error_code = error_code
        self._put(data)
        self._settle()

    def withdraw(self) -> None:
        """An answer that is owed will not come: the request was cancelled."""
        self._settle()

    def _settle(self) -> None:
        if self.expected is not None:
            self.expected -= 1
            if self.expected <= 0:
                self.close()

    def part(self) -> None:
        """Make the reader go away once it has written what is here; the stream stays open for another."""
        if self.history is not None and not self.closed and not self.answers_only:
            self.parted = True
            self.plain = False
            self._wake.unpark_all()

    def close(self) -> None:
        """Nothing more will come. Frames that wait are still written."""
        self.closed = True
        self._wake.unpark_all()
        self._room.unpark_all()

    # The reader

    @contextmanager
    def reader(self) -> Iterator[trio.CancelScope]:
        """Be the one who writes this stream; a reader before is sent away.

        Yields the scope to write under: it is cancelled when another reader takes over or the stream is cut.
        """
        self.cut()
        with trio.CancelScope() as scope:
            self.reader_scope = scope
            self.parted = False
            try:
                yield scope
            finally:
                if self.reader_scope is scope:
                    self.reader_scope = None
                    self._room.unpark_all()

    def cut(self) -> None:
        """Send the reader away in the middle of whatever it writes."""
        if self.reader_scope is not None:
            self.reader_scope.cancel("another reader took over, or the stream was cut")
            self.reader_scope = None

    def commit(self) -> str | None:
        """From now on the client sees events with ids: record what waits and what comes.

        Returns the id for a first event without data, or None where the stream cannot be resumed.
        """
        self.committed = True
        if self.history is None:
            return None
        first = self.history.record(self.number, b"")
        self._frames = deque(
            frame if frame.event_id else Frame(frame.data, self.history.record(self.number, frame.data))
            for frame in self._frames
        )
        return first

    def resume(self, frames: list[Frame]) -> None:
        """Put back what a client that came back has not seen, in place of what waits."""
        self.committed = True
        self._frames = deque(frames)

    def take(self) -> list[Frame]:
        """All frames that wait; makes room."""
        frames = list(self._frames)
        self._frames.clear()
        if self._room:
            self._room.unpark_all()
        return frames

    async def wait(self) -> None:
        """Wait until there is something to write, or the stream closed or parted. Cancellation: nothing happened."""
        if self._frames or self.closed or self.parted:
            await trio.lowlevel.checkpoint()
            return
        await self._wake.park()

    async def wait_decided(self) -> None:
        """Wait until it is clear whether the reply can be plain JSON: it closed, parted, or holds more than answers."""
        while self.plain and not self.closed:
            await self._wake.park()
