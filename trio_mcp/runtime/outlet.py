"""`Outlet`: the bounded frames of one stream to a client, between the tasks that fill it and the one that writes it.

Theory of operation. Senders put frames in; one reader at a time takes them out and writes them. An outlet owes
`expected` answers and closes itself when the last is in. The reader may go and another may come: then frames that
were recorded are taken from the history, so nothing is lost or doubled. Recording begins with `commit`, when the
client has been given an event id it could come back with; a reply that goes out as plain JSON is never recorded.

It refuses to write: whoever reads it does, under the scope that `reader` gives.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

import trio

_BATCH: Final = 16
_TURN: Final = 0.001


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
        bound: frames that may wait before `send` waits for the reader. With nobody to wait for, the oldest frames are
            dropped instead: recorded ones stay in the history, and for others nobody can come back.
        expected: answers owed on this stream; None: a stream without an end of its own.
        number: which stream of its session this is, for event ids.
        history: where to record frames once committed; None: this stream cannot be resumed.

    Attributes:
        attended: a connection is there, or about to be, to write what comes.
        gone: that connection's client left.
        closed: nothing more will come; the reader ends the stream once it has written what is left.
        plain: only answers were put in so far, so the reply may still be plain JSON.
        overdue: the reply has stayed uncommitted for too long.
        parted: the server ends the connection on purpose, not the stream (SEP-1699).
        error_code: the code of an answer that is an error, for the status of an uncommitted reply.
        answers_only: the reply must be plain JSON, so anything but answers is dropped.
        on_stream: called once, when it is clear that the reply is a stream.
    """

    __slots__ = (
        "_frames",
        "_room",
        "_sleeper",
        "_turn",
        "answers_only",
        "attended",
        "bound",
        "closed",
        "committed",
        "error_code",
        "expected",
        "gone",
        "history",
        "number",
        "on_stream",
        "overdue",
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
        self.attended = False
        self.gone = False
        self.closed = False
        self.committed = False
        self.plain = True
        self.overdue = False
        self.parted = False
        self.answers_only = False
        self.error_code: int | None = None
        self.on_stream: Callable[[], None] | None = None
        self.reader_scope: trio.CancelScope | None = None
        self._frames: list[Frame] = []  # a deque takes 700 bytes for each stream that stands idle
        self._sleeper: trio.lowlevel.Task | None = None
        self._turn = 0.0
        self._room: trio.lowlevel.ParkingLot | None = None

    def __len__(self) -> int:
        return len(self._frames)

    # Waking

    def _wake(self) -> None:
        """Wake the one task that waits to write."""
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    async def _sleep(self) -> None:
        assert self._sleeper is None, "an outlet has one reader"
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._woken_by_cancel)

    def _woken_by_cancel(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.unpark_all()

    # Senders

    def _put(self, data: bytes) -> None:
        event_id = None
        if self.committed and self.history is not None:
            event_id = self.history.record(self.number, data)
        self._frames.append(Frame(data, event_id))
        if self._sleeper is not None:
            self._wake()

    def pass_on(self, frame: Frame) -> None:
        """Add a frame that was recorded elsewhere."""
        self._frames.append(frame)
        self._wake()

    def _becomes_stream(self) -> None:
        begin, self.on_stream = self.on_stream, None
        if begin is not None:
            begin()

    def put(self, data: bytes) -> None:
        """Add a frame that is no answer, at once. For frames whose number is bounded elsewhere."""
        if self.closed or self.answers_only:
            return
        self.plain = False
        if not self.attended and len(self._frames) >= self.bound:
            del self._frames[0]
        self._put(data)
        self._becomes_stream()

    def put_once(self, data: bytes) -> None:
        """Add a frame unless an equal one is waiting already: for "the list changed", where one is as good as many."""
        if not any(frame.data == data for frame in self._frames):
            self.put(data)

    async def send(self, data: bytes) -> None:
        """Add a frame that is no answer: `room`, `put`, `turn`.

        Cancellation: nothing was added while there was no room; after that the frame is sent all the same.
        """
        await self.room()
        self.put(data)
        await self.turn()

    async def room(self) -> None:
        """Wait while the reader is `bound` frames behind; does not let others run where there is room already.

        Whoever puts a frame without awaiting in between keeps the bound. Cancellation: nothing happened.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while len(self._frames) >= self.bound and self.attended and not self.closed:
            if self._room is None:
                self._room = trio.lowlevel.ParkingLot()
            await self._room.park()

    async def turn(self) -> None:
        """Let others run, when some frames wait or a millisecond has passed since they last did.

        A sender in a tight loop pays a scheduler pass for a batch and not for every frame.
        """
        now = trio.current_time()
        if len(self._frames) >= min(_BATCH, self.bound) or now >= self._turn:
            self._turn = now + _TURN
            await trio.lowlevel.checkpoint()

    async def wait_for_room(self) -> None:
        """`room`, and always a checkpoint."""
        await trio.lowlevel.checkpoint()
        await self.room()

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
            self._wake()
            self._becomes_stream()

    def hurry(self) -> None:
        """The reply has been uncommitted for too long: let it be a stream, so that keepalives can be sent."""
        if not (self.committed or self.closed or self.answers_only or self.overdue):
            self.overdue = True
            self._wake()
            self._becomes_stream()

    def close(self) -> None:
        """Nothing more will come. Frames that wait are still written."""
        self.closed = True
        if self._sleeper is not None:
            self._wake()
        if self._room is not None:
            self._make_room()

    # The reader

    def leave(self, reason: str = "the client is gone") -> None:
        """The client left: whoever writes, or waits to, stops. The stream stays for a reader to come."""
        self.gone = True
        self.attended = False
        self.cut(reason)
        self._wake()
        self._make_room()

    def cut(self, reason: str) -> None:
        """Send the reader away in the middle of whatever it writes."""
        if self.reader_scope is not None:
            self.reader_scope.cancel(reason)
            self.reader_scope = None

    @contextmanager
    def reader(self) -> Iterator[trio.CancelScope]:
        """Be the one who writes this stream; a reader before is sent away.

        Yields the scope to write under: it is cancelled when another reader takes over or the client leaves.
        """
        self.cut("another reader took over")
        with trio.CancelScope() as scope:
            self.reader_scope = scope
            self.attended = True
            self.parted = self.parted and not self.committed
            self.gone = False
            try:
                yield scope
            finally:
                if self.reader_scope is scope:
                    self.reader_scope = None
                    self.attended = False
                    self._make_room()

    def commit(self) -> str | None:
        """From now on the client sees events with ids: record what waits and what comes.

        Returns the id for a first event without data, or None where the stream cannot be resumed.
        """
        self.committed = True
        if self.history is None:
            return None
        first = self.history.record(self.number, b"")
        self._frames = [
            frame if frame.event_id else Frame(frame.data, self.history.record(self.number, frame.data))
            for frame in self._frames
        ]
        return first

    def resume(self, frames: list[Frame]) -> None:
        """Put back what a client that came back has not seen, in place of what waits; its reader is about to come."""
        self.committed = True
        self.attended = True
        self._frames = list(frames)

    def take(self) -> list[Frame]:
        """All frames that wait; makes room."""
        frames, self._frames = self._frames, []
        if self._room is not None:
            self._make_room()
        return frames

    async def wait(self) -> None:
        """Wait until there is something to write, or the stream closed or parted. Cancellation: nothing happened."""
        if self._frames or self.closed or self.parted:
            await trio.lowlevel.checkpoint()
        else:
            await self._sleep()

    async def wait_decided(self) -> None:
        """Wait until the shape of the reply is clear, or the client left.

        Cancellation: nothing happened.
        """
        while self.plain and not (self.closed or self.gone or self.overdue):
            await self._sleep()
