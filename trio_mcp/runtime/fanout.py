"""`Fanout`: one stream that any number of connections read, each at its own pace.

Theory of operation. Senders see an outlet that never fills: each frame is recorded once and handed to the outlet of
every reader. A reader that falls `bound` frames behind is dropped: it is given no more, and its connection ends once it
has written what it has. So a slow reader stalls neither the call nor the others, and loses nothing: it comes back with
the id of the last event it saw, and gets the rest from the history. Dropping its oldest frames instead would lose
answers in silence. While nobody reads, the history alone keeps what comes, within its bounds.

It refuses to write, and to know who may read.
"""

from typing import Final

import trio

from trio_mcp.runtime.outlet import Frame, Outlet
from trio_mcp.runtime.replay import SessionHistory

_BATCH: Final = 16


class Reader(Outlet):
    """What one connection writes.

    Attributes:
        after: the id of the last event before its first frame.
        seen: the id of the last event that was written for sure.
    """

    __slots__ = ("_taken", "after", "seen")

    def __init__(self, bound: int, after: str) -> None:
        super().__init__(bound, expected=None)
        self.after = self.seen = self._taken = after

    def take(self) -> list[Frame]:
        """All frames that wait. Whoever takes again has written what was taken before."""
        self.seen = self._taken
        frames = super().take()
        if frames:
            self._taken = frames[-1].event_id or self._taken
        return frames

    def holds(self, data: bytes) -> bool:
        """Whether such a frame waits."""
        return any(frame.data == data for frame in self._frames)


class Fanout(Outlet):
    """The outlet of a session whose every message goes to every connection.

    Args:
        bound: frames that may wait for one reader, beside those that are replayed to it, before it is dropped.
    """

    __slots__ = ("_away_since", "_latest", "_readers", "_record")

    def __init__(self, bound: int) -> None:
        super().__init__(bound, expected=None)
        self._readers: dict[Reader, None] = {}

    def record_in(self, history: SessionHistory) -> None:
        """Begin: events get their ids from `history`, and are replayed from it."""
        self.history = self._record = history
        self._latest = self.commit() or ""
        self._away_since = self._latest

    # Senders

    def _put(self, data: bytes) -> None:
        self._latest = self._record.record(self.number, data)
        frame = Frame(data, self._latest)
        for reader in tuple(self._readers):
            if len(reader) >= reader.bound:
                self.detach(reader)
                reader.close()
            else:
                reader.pass_on(frame)

    def put_once(self, data: bytes) -> None:
        """Add a frame unless an equal one waits for every reader already."""
        if not self._readers or not all(reader.holds(data) for reader in self._readers):
            self.put(data)

    async def turn(self) -> None:
        """Let others run where a reader has some frames waiting: it may only not have had its turn."""
        if any(len(reader) >= min(_BATCH, self.bound) for reader in self._readers):
            await trio.lowlevel.checkpoint()
        else:
            await super().turn()

    def part(self) -> None:
        """Nothing: a stream of many is not ended for the sake of one call."""

    def close(self) -> None:
        """Nothing more will come. Every reader still writes what it has."""
        super().close()
        for reader in self._readers:
            reader.close()

    # Readers

    async def attach(self, last_event_id: str | None) -> Reader:
        """A new reader, holding what came after an event: the one that is named; else, where nobody reads now, the last
        that was written to anybody; else the latest.

        Cancellation: nobody was attached.

        Raises:
            ValueError: not an event of this stream.
        """
        await trio.lowlevel.checkpoint()
        after = last_event_id or (self._latest if self._readers else self._away_since)
        if self._record.stream_of(after) != self.number:
            raise ValueError(f"no such event on this stream: {after}")
        reader = Reader(self.bound, after)
        reader.closed = self.closed
        reader.attended = True
        self._readers[reader] = None
        if after != self._latest:
            await self._replay(reader)
        return reader

    async def _replay(self, reader: Reader) -> None:
        """Put what was missed before what came meanwhile."""
        whole = False
        try:
            replayed = await self._record.after(reader.after)
            whole = True
        finally:
            if not whole:
                self.detach(reader)
        meanwhile = Outlet.take(reader)
        frames = self._record.merged(reader.after, (*replayed, *meanwhile))
        reader.bound += len(frames)
        reader.resume(frames)

    def detach(self, reader: Reader) -> None:
        """Its connection has ended, or it is dropped. The last one to go leaves a mark for who comes next."""
        if reader in self._readers:
            del self._readers[reader]
            if not self._readers:
                self._away_since = reader.seen
