"""`SQLiteEventStore`: events and sessions that outlive their process, in one SQLite file (extra `sqlite`).

Theory of operation. `append` and its like only queue. One task writes what is queued, a transaction for all that came
while the one before was being written; another prunes. All of SQLite's work happens in apsw's own thread. What is
queued counts as stored: reading looks at the file and then at the queue, so nobody waits for the disk. When the disk
fails the queue stays as it is, bounded, and is tried again: serving goes on.

The file is this process's alone (an exclusive lock): two processes that revive one session would both answer for it. It
is written for a crash of the process, not of the machine (WAL, `synchronous=NORMAL`): after a power cut the last
moments may be missing, and the file is sound. Ids of sessions are stored as digests. It refuses to know what a record
means.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from trio_mcp.runtime.replay import Recalled, parse_event_id

_log = logging.getLogger("trio_mcp.event_store")

_APPLICATION_ID: Final = 0x74726D63  # "trmc"
_VERSION: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE session (key TEXT PRIMARY KEY, record BLOB NOT NULL, touched REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE event (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL, stream INTEGER NOT NULL, number INTEGER NOT NULL,
    at REAL NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX event_number ON event (session, number, stream, size);
CREATE INDEX event_age ON event (at, id, size);
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={_VERSION};
"""
#: One prune; each statement says what goes.
_PRUNE: Final = (
    "UPDATE session SET touched = :now WHERE key IN (SELECT value FROM json_each(:live))",
    "DELETE FROM session WHERE touched < :now - :max_age",
    "DELETE FROM event WHERE at < :now - :max_age OR session NOT IN (SELECT key FROM session)",
    """DELETE FROM event WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER newest AS place, sum(size) OVER newest AS bytes
            FROM event WINDOW newest AS (PARTITION BY session ORDER BY number DESC)
        ) WHERE place > :session_events OR (bytes > :session_bytes AND place > 1))""",
    """DELETE FROM event WHERE id IN (
        SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY at DESC, id DESC) AS bytes FROM event)
        WHERE bytes > :max_bytes)""",
)
#: How long the end waits for what is queued to be written.
_CLOSE_SECONDS: Final = 5.0
#: What other processes may hold the lock for, such as one that is just ending.
_BUSY_MILLISECONDS: Final = 2000
#: What is never pruned in time by an interval alone is pruned after so many events.
_PRUNE_EVENTS: Final = 10_000


class EventStoreError(Exception):
    """The file cannot be used as an event store; `str()` says in one line why, and what to do."""


class _Event(NamedTuple):
    place: int  # in the queue
    key: str
    stream: int
    number: int
    at: float
    data: bytes


class SQLiteEventStore:
    """Events and sessions in one file; made by `open`.

    What is queued to be written is bounded: beyond `max_queue` events, or four times `session_bytes`, the oldest are
    dropped, which is logged once. That happens only while the disk fails or cannot keep up.

    Attributes:
        failing: the last attempt to write failed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        database: Any,
        errors: type[Exception],
        now: Callable[[], float],
        limits: dict[str, float],
        *,
        prune_every: float,
        retry_after: float,
        max_queue: int,
    ) -> None:
        self.path = Path(path)
        self.failing = False
        self._database = database
        self._errors = errors
        self._now = now
        self._limits = limits
        self._prune_every = prune_every
        self._retry_after = retry_after
        self._max_queue = max_queue
        self._events: deque[_Event] = deque()
        self._places = 0
        self._bytes = 0
        self._records: dict[str, bytes | None] = {}  # None: forgotten
        self._live: dict[str, None] = {}
        self._written = 0  # events since the last prune
        self._dropped = False
        self._work = trio.Event()
        self._idle = trio.Event()
        self._prune_now = trio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        max_age: float = 86400,
        max_bytes: int = 256 * 1024 * 1024,
        session_events: int = 1024,
        session_bytes: int = 1024 * 1024,
        prune_every: float = 60,
        retry_after: float = 5,
        max_queue: int = 10_000,
    ) -> AsyncIterator["SQLiteEventStore"]:
        """Open a file, or make it (readable by its owner only), and keep it written and pruned until the block ends.

        Args:
            max_age: seconds after which an event goes, and a session that nobody came back to.
            max_bytes: of all events together; the oldest go.
            session_events, session_bytes: of one session; the oldest go, the newest event never.
            prune_every: seconds between two prunings; between them the bounds may be exceeded.
            retry_after: seconds after a failed write.
            max_queue: events that may wait to be written.

        What is queued at the end is written, for at most five seconds. Cancellation: as at the end.

        Raises:
            EventStoreError: apsw is not installed; the file is damaged, is something else, cannot be written, or is
                another process's.
        """
        limits = {
            "max_age": max_age,
            "max_bytes": max_bytes,
            "session_events": session_events,
            "session_bytes": session_bytes,
        }
        if min(*limits.values(), prune_every, retry_after, max_queue) <= 0:
            raise ValueError("every limit of an event store is positive")
        apsw = _import_apsw()
        database = await _opened(apsw, Path(path))
        epoch = time.time() - trio.current_time()
        store = cls(
            path,
            database,
            apsw.Error,
            lambda: epoch + trio.current_time(),
            limits,
            prune_every=prune_every,
            retry_after=retry_after,
            max_queue=max_queue,
        )
        try:
            async with trio.open_nursery() as store_nursery:
                store_nursery.start_soon(store._write_all, name=f"write events to {store.path.name}")
                store_nursery.start_soon(store._prune_all, name=f"prune events of {store.path.name}")
                yield store
                store_nursery.cancel_scope.cancel("the event store is being closed")
        finally:
            await store._write_rest()
            await _close(database)

    # The store's side of a host

    def append(self, session_id: str, event_id: str, data: bytes) -> None:
        """Queue one event; the oldest that are queued are dropped where there are too many."""
        stream, number = parse_event_id(event_id)
        self._places += 1
        self._events.append(_Event(self._places, _digest(session_id), stream, number, self._now(), data))
        self._bytes += len(data)
        self._bound_queue()
        self._work.set()

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        """Events of the same stream after `last_event_id`, oldest first. Cancellation: nothing happened."""
        key, (stream, after) = _digest(session_id), parse_event_id(last_event_id)
        found = {
            event.number: event.data
            for event in self._events
            if (event.key, event.stream) == (key, stream) and event.number > after
        }
        found.update(await self._read(_events_after, key, stream, after))
        return [(f"{stream}-{number}", found[number]) for number in sorted(found)]

    def forget(self, session_id: str) -> None:
        """Queue that the session ended: all of it goes."""
        key = _digest(session_id)
        self._live.pop(key, None)
        self._records[key] = None
        self._bound_queue()
        self._work.set()

    def keep(self, session_id: str, record: bytes) -> None:
        """Queue what a session needs to be revived."""
        key = _digest(session_id)
        self._live[key] = None
        self._records[key] = record
        self._bound_queue()
        self._work.set()

    def leave(self, session_id: str) -> None:
        """The session rests: from now on it ages."""
        self._live.pop(_digest(session_id), None)

    async def recall(self, session_id: str) -> Recalled | None:
        """What was kept of a session, or None. Cancellation: nothing happened."""
        key = _digest(session_id)
        if key in self._records and self._records[key] is None:
            await trio.lowlevel.checkpoint()
            return None
        queued = max((event.number for event in self._events if event.key == key), default=0)
        while True:
            waits = key in self._records
            rows = await self._read(_record_of, key)
            if not waits or key in self._records:
                break  # else it went from the queue to the file while we read: it may be in neither look
        record, number = rows[0] if rows else (None, 0)
        if key in self._records:
            record = self._records[key]
        return None if record is None else Recalled(bytes(record), max(number or 0, queued))

    async def flush(self) -> None:
        """Wait until what is queued is written, or the disk has refused it. Cancellation: nothing happened."""
        await trio.lowlevel.checkpoint()
        while self._events or self._records:
            self._idle = trio.Event()
            self._work.set()
            await self._idle.wait()
            if self.failing:
                return

    async def prune(self) -> None:
        """Let go at once of what is too old or too much. Cancellation: nothing happened, or all of it."""
        bindings = {**self._limits, "now": self._now(), "live": json.dumps(list(self._live))}
        self._written = 0
        try:
            await self._database.async_run(_prune, self._database, bindings)
        except self._errors as error:
            self._fails(error)

    # The queue

    def _bound_queue(self) -> None:
        most = 4 * self._limits["session_bytes"]
        while len(self._events) > self._max_queue or (self._bytes > most and len(self._events) > 1):
            self._bytes -= len(self._events.popleft().data)
            if not self._dropped:
                self._dropped = True
                _log.error("%s: events are dropped, more came than could be written", self.path)
        while len(self._records) > self._max_queue:
            del self._records[next(iter(self._records))]

    def _done(self, last: int, records: dict[str, bytes | None]) -> None:
        """Take what was written off the queue, unless it was dropped or replaced meanwhile."""
        while self._events and self._events[0].place <= last:
            self._bytes -= len(self._events.popleft().data)
        for key, record in records.items():
            if key in self._records and self._records[key] is record:
                del self._records[key]

    async def _write_all(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._events or self._records:
                if not await self._write(list(self._events), dict(self._records)):
                    self._idle.set()
                    await trio.sleep(self._retry_after)
            self._idle.set()

    async def _write(self, events: list[_Event], records: dict[str, bytes | None]) -> bool:
        try:
            await self._database.async_run(_write, self._database, events, records, self._now())
        except self._errors as error:
            self._fails(error)
            return False
        self._done(events[-1].place if events else 0, records)
        if self.failing:
            self.failing = self._dropped = False
            _log.warning("%s can be written again", self.path)
        self._written += len(events)
        if self._written >= _PRUNE_EVENTS:
            self._prune_now.set()
        return True

    def _fails(self, error: Exception) -> None:
        if not self.failing:
            self.failing = True
            text = "%s cannot be written, serving goes on and events wait in memory: %s"
            _log.error(text, self.path, error)

    async def _read(self, query: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
        try:
            rows: list[Any] = await self._database.async_run(query, self._database, *arguments)
        except self._errors as error:
            _log.error("%s cannot be read: %s", self.path, error)
            return []
        return rows

    async def _prune_all(self) -> None:
        while True:
            await self.prune()
            with trio.move_on_after(self._prune_every):
                await self._prune_now.wait()
            self._prune_now = trio.Event()

    async def _write_rest(self) -> None:
        if self._events or self._records:
            # Shielded for _CLOSE_SECONDS: what a client may come back for must be there, also after a Ctrl-C.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS):
                await self._write(list(self._events), dict(self._records))


# In SQLite's thread


def _write(database: Any, events: list[_Event], records: dict[str, bytes | None], now: float) -> None:
    rows = [(event.key, event.stream, event.number, event.at, len(event.data), event.data) for event in events]
    kept = [(key, record, now) for key, record in records.items() if record is not None]
    gone = [(key,) for key, record in records.items() if record is None]
    with database:
        insert = "INSERT OR REPLACE INTO event (session, stream, number, at, size, data) VALUES (?, ?, ?, ?, ?, ?)"
        database.executemany(insert, rows)
        database.executemany("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", kept)
        database.executemany("DELETE FROM event WHERE session = ?", gone)
        database.executemany("DELETE FROM session WHERE key = ?", gone)


def _prune(database: Any, bindings: dict[str, Any]) -> None:
    with database:
        for statement in _PRUNE:
            database.execute(statement, bindings)
    database.execute("PRAGMA incremental_vacuum").fetchall()


def _events_after(database: Any, key: str, stream: int, after: int) -> list[Any]:
    query = "SELECT number, data FROM event WHERE session = ? AND stream = ? AND number > ? ORDER BY number"
    rows: list[Any] = database.execute(query, (key, stream, after)).fetchall()
    return rows


def _record_of(database: Any, key: str) -> list[Any]:
    query = "SELECT record, (SELECT max(number) FROM event WHERE session = key) FROM session WHERE key = ?"
    rows: list[Any] = database.execute(query, (key,)).fetchall()
    return rows


def _prepare(database: Any) -> None:
    """Take the file for ourselves, see that it is sound and ours, and that it can be written."""
    database.set_busy_timeout(_BUSY_MILLISECONDS)
    pragma = database.pragma
    pragma("locking_mode", "EXCLUSIVE")
    application, version = pragma("application_id"), pragma("user_version")
    empty = not database.execute("SELECT count(*) FROM sqlite_schema").get
    if not empty and (application, version) != (_APPLICATION_ID, _VERSION):
        raise EventStoreError("it is a database, but no event store of this version; name another file")
    if empty:
        pragma("auto_vacuum", "INCREMENTAL")
    pragma("journal_mode", "WAL")
    pragma("synchronous", "NORMAL")
    if database.execute("PRAGMA quick_check(1)").get != "ok":
        raise EventStoreError("the file is damaged; move it away, and a new one is made")
    database.execute("BEGIN IMMEDIATE")
    if empty:
        database.execute(_SCHEMA)
    else:
        pragma("user_version", _VERSION)  # a write, so that a file that cannot be written is found out now
    database.execute("COMMIT")


# Opening


def _import_apsw() -> Any:
    try:
        import apsw
        import apsw.aio
    except ImportError:
        raise EventStoreError("an event store on SQLite needs apsw: pip install 'trio-mcp[sqlite]'") from None
    return apsw


async def _opened(apsw: Any, path: Path) -> Any:
    why: dict[Any, str] = {
        apsw.NotADBError: "the file is no SQLite database; name another one",
        apsw.CorruptError: "the file is damaged; move it away, and a new one is made",
        apsw.BusyError: "another process uses it; a store belongs to one process",
        apsw.CantOpenError: "it cannot be opened; its folder must exist and be writable",
        apsw.ReadOnlyError: "it cannot be written",
        apsw.FullError: "the disk is full",
    }
    database: Any = None
    ready = False
    try:
        _make_private(path)
        # Shielded for as long as SQLite takes to open: cut off here, its thread would never end.
        shield = trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS)
        with shield, apsw.aio.contextvar_set(apsw.async_controller, apsw.aio.Trio):
            database = await apsw.Connection.as_async(str(path))
        await database.async_run(_prepare, database)
        ready = True
    except (apsw.Error, OSError, EventStoreError) as error:
        kind = apsw.CantOpenError if isinstance(error, OSError) else type(error)
        text = str(error) if isinstance(error, EventStoreError) else why.get(kind, str(error))
        raise EventStoreError(f"cannot use {path} as event store: {text}") from error
    finally:
        if database is not None and not ready:
            await _close(database)
    return database


def _make_private(path: Path) -> None:
    """Make a file that only its owner may read, if there is none."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


async def _close(database: Any) -> None:
    # Shielded for as long as SQLite takes to close: its thread would keep the process alive.
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS):
        await database.aclose()


def _digest(session_id: str) -> str:
    return blake2b(session_id.encode(), digest_size=20).hexdigest()
