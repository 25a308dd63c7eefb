"""Resumption: events kept for clients that come back with `Last-Event-ID` (2025-11-25, basic/transports: Resumability).

An event id is `<stream>-<number>`. Ids are looked up inside one session only, and each session counts from another
number, so no id leads into another's. It refuses to decide who may come back: the session's endpoint does.
"""

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple, Protocol, runtime_checkable

from trio_mcp.runtime.outlet import Frame


class EventStore(Protocol):
    """Where events are kept. One store may serve many sessions.

    `append` is called between a change of state and the message that tells of it, so it must not wait, and must not
    raise: a store that writes to disk queues, in a task of its own. What is dropped when full is the implementation's
    choice, oldest first; it must then still replay what is left.
    """

    def append(self, session_id: str, event_id: str, data: bytes) -> None:
        """Keep one event."""
        ...

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        """Events of the same stream after `last_event_id`, oldest first."""
        ...

    def forget(self, session_id: str) -> None:
        """The session ended: drop all its events."""
        ...


class Recalled(NamedTuple):
    """What a durable store kept of a session: its record, and the number of its last event."""

    record: bytes
    number: int


@runtime_checkable
class DurableEventStore(EventStore, Protocol):
    """An event store that outlives its process, and keeps with the events what a session needs to be revived.

    `keep` and `leave` must not wait and must not raise, as `append`.
    """

    def keep(self, session_id: str, record: bytes) -> None:
        """Keep a session's record, in place of the one before."""
        ...

    def leave(self, session_id: str) -> None:
        """The process goes away, and the session rests until somebody asks for it."""
        ...

    async def recall(self, session_id: str) -> Recalled | None:
        """What was kept of a session; None where it is unknown or was forgotten."""
        ...


class _Event(NamedTuple):
    stream: int
    number: int
    data: bytes


class _Kept:
    __slots__ = ("bytes", "events")

    def __init__(self) -> None:
        self.events: deque[_Event] = deque()
        self.bytes = 0


class MemoryEventStore:
    """Events in memory, bounded for each session.

    Args:
        max_events: events kept of one session.
        max_bytes: bytes kept of one session; the newest event is kept even where it alone is larger.

    When full the oldest events of the session are dropped.
    """

    def __init__(self, *, max_events: int = 1024, max_bytes: int = 1024 * 1024) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._sessions: dict[str, _Kept] = {}

    def append(self, session_id: str, event_id: str, data: bytes) -> None:
        """Keep one event, dropping the oldest where there are too many."""
        kept = self._sessions.get(session_id)
        if kept is None:
            kept = self._sessions[session_id] = _Kept()
        stream, number = parse_event_id(event_id)
        kept.events.append(_Event(stream, number, data))
        kept.bytes += len(data)
        while len(kept.events) > self.max_events or (kept.bytes > self.max_bytes and len(kept.events) > 1):
            kept.bytes -= len(kept.events.popleft().data)

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        """Events of the same stream after `last_event_id`. Does not wait."""
        stream, after = parse_event_id(last_event_id)
        kept = self._sessions.get(session_id)
        events = kept.events if kept is not None else ()
        return [
            (f"{stream}-{event.number}", event.data)
            for event in events
            if event.stream == stream and event.number > after
        ]

    def forget(self, session_id: str) -> None:
        """Drop all events of a session."""
        self._sessions.pop(session_id, None)

    def __len__(self) -> int:
        return sum(len(kept.events) for kept in self._sessions.values())


def parse_event_id(event_id: str) -> tuple[int, int]:
    """Stream and number of an event id.

    Raises:
        ValueError: not an id of ours.
    """
    stream, dash, number = event_id.partition("-")
    if not (dash and stream.isascii() and stream.isdigit() and number.isascii() and number.isdigit()):
        raise ValueError(f"not an event id of this server: {event_id[:100]!r}")
    if len(event_id) > 40:
        raise ValueError("event id too long")
    return int(stream), int(number)


class SessionHistory:
    """The history of one session's streams: numbers events and keeps them in a store, until it is told to forget.

    Attributes:
        on_commit: called when a stream begins to be recorded.
        closed: nothing is kept any more.
    """

    __slots__ = ("_before", "_next", "_session_id", "_store", "closed", "on_commit")

    def __init__(self, store: EventStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self._before = self._next = int.from_bytes(blake2b(session_id.encode(), digest_size=5).digest(), "big")
        self.closed = False
        self.on_commit: Callable[[], None] | None = None

    @property
    def number(self) -> int:
        """That of the last event."""
        return self._next

    def go_on(self, number: int) -> None:
        """Number from here: events up to it are of the session's life before."""
        self._next = number

    def record(self, stream: int, data: bytes) -> str:
        """Keep a frame and give its id; numbers are unique within the session and rise."""
        self._next += 1
        event_id = f"{stream}-{self._next}"
        if data and not self.closed:  # a reader may still commit while its session ends
            self._store.append(self._session_id, event_id, data)
        if not data and self.on_commit is not None:
            self.on_commit()
        return event_id

    def stream_of(self, event_id: str) -> int:
        """The number of the stream that an event belongs to.

        Raises:
            ValueError: not an id that this session gave.
        """
        stream, number = parse_event_id(event_id)
        if not self._before < number <= self._next:
            raise ValueError(f"no such event in this session: {event_id}")
        return stream

    async def after(self, last_event_id: str) -> list[Frame]:
        """Frames of the same stream after an id.

        Raises:
            ValueError: not an id of this session.
        """
        self.stream_of(last_event_id)
        events = await self._store.replay(self._session_id, last_event_id)
        return [Frame(data, event_id) for event_id, data in events]

    @staticmethod
    def merged(last_event_id: str, frames: Iterable[Frame]) -> list[Frame]:
        """Recorded frames after an id, each one once, in the order of their ids."""
        _, after = parse_event_id(last_event_id)
        numbered = {parse_event_id(frame.event_id)[1]: frame for frame in frames if frame.event_id is not None}
        return [numbered[number] for number in sorted(numbered) if number > after]

    def forget(self) -> None:
        """Drop everything, and keep nothing from now on: the session ended."""
        self.closed = True
        self._store.forget(self._session_id)
