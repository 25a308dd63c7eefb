"""Events in SQLite. The real one works in a thread of its own, so time is virtual but moved by hand."""

import logging
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_mcp import DurableEventStore, EventStoreError, SQLiteEventStore

Open = SQLiteEventStore.open


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


async def events(store: SQLiteEventStore, session: str = "s", after: str = "1-0") -> list[tuple[str, bytes]]:
    return await store.replay(session, after)


def rows(path: Path, query: str) -> list[Any]:
    """What another program reads, once the store is closed."""
    with sqlite3.connect(path) as database:
        return database.execute(query).fetchall()


async def test_it_is_a_durable_store(path: Path):
    async with Open(path) as store:
        assert isinstance(store, DurableEventStore)


async def test_events_of_a_stream_come_back_in_order_and_no_others_do(path: Path):
    async with Open(path) as store:
        for event_id in ("1-1", "2-2", "1-3", "1-10"):
            store.append("s", event_id, event_id.encode())
        store.append("other", "1-4", b"not yours")
        for _ in range(2):  # from the queue, and from the file
            assert await events(store) == [("1-1", b"1-1"), ("1-3", b"1-3"), ("1-10", b"1-10")]
            assert await events(store, after="1-3") == [("1-10", b"1-10")]
            assert await events(store, "unknown") == []
            await store.flush()


async def test_what_is_queued_when_the_block_ends_is_there_when_it_is_opened_again(path: Path):
    async with Open(path) as store:
        store.append("s", "1-1", b"one")
        store.keep("s", b"record")
    async with Open(path) as store:
        assert await events(store) == [("1-1", b"one")]
        assert await store.recall("s") == (b"record", 1)
        assert await store.recall("unknown") is None


async def test_also_when_it_is_cancelled(path: Path):
    with trio.CancelScope() as scope:
        async with Open(path) as store:
            store.append("s", "1-1", b"one")
            scope.cancel()
            await trio.sleep_forever()
    async with Open(path) as store:
        assert await events(store) == [("1-1", b"one")]


async def test_the_newest_record_is_the_one_kept(path: Path):
    async with Open(path) as store:
        store.keep("s", b"old")
        await store.flush()
        store.keep("s", b"new")
        store.append("s", "3-7", b"x")
        assert await store.recall("s") == (b"new", 7)
        await store.flush()
        assert await store.recall("s") == (b"new", 7)


async def test_a_forgotten_session_is_gone_at_once_and_for_good(path: Path):
    async with Open(path) as store:
        store.keep("s", b"record")
        store.append("s", "1-1", b"one")
        await store.flush()
        store.forget("s")
        assert await store.recall("s") is None
    assert rows(path, "SELECT count(*) FROM session UNION ALL SELECT count(*) FROM event") == [(0,), (0,)]


async def test_ids_of_sessions_are_not_in_the_file_and_only_its_owner_may_read_it(path: Path):
    async with Open(path) as store:
        store.keep("very-secret-id", b"record")
        store.append("very-secret-id", "1-1", b"one")
        await store.flush()
        files = list(path.parent.iterdir())
        assert len(files) > 1
        for file in files:
            assert b"very-secret-id" not in file.read_bytes()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_trio_thread_does_none_of_the_work(path: Path):
    """Others run while SQLite is busy."""
    async with Open(path) as store:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            for number in range(1, 5001):
                store.append("s", f"1-{number}", b"x" * 100)
            await store.flush()
            assert ticks > 0
            nursery.cancel_scope.cancel()


# Pruning


async def pruned(clock: MockClock, store: SQLiteEventStore, seconds: float) -> None:
    await store.flush()
    clock.jump(seconds)
    await store.prune()


async def test_events_go_when_they_are_too_old(path: Path, mock_clock: MockClock):
    async with Open(path, max_age=100) as store:
        store.keep("s", b"record")
        store.append("s", "1-1", b"old")
        await pruned(mock_clock, store, 60)
        assert await events(store) == [("1-1", b"old")]
        store.append("s", "1-2", b"young")
        await pruned(mock_clock, store, 60)
        assert await events(store) == [("1-2", b"young")]


async def test_a_session_ages_only_once_its_process_left_it(path: Path, mock_clock: MockClock):
    async with Open(path, max_age=100) as store:
        store.keep("s", b"record")
        for _ in range(5):
            await pruned(mock_clock, store, 60)
        assert await store.recall("s") == (b"record", 0)
        store.leave("s")
        await pruned(mock_clock, store, 60)
        assert await store.recall("s") == (b"record", 0)
        await pruned(mock_clock, store, 60)
        assert await store.recall("s") is None


async def test_the_oldest_events_of_a_session_go_when_there_are_too_many(path: Path, mock_clock: MockClock):
    async with Open(path, session_events=2) as store:
        for session in ("s", "other"):
            store.keep(session, b"record")
            for number in range(1, 4):
                store.append(session, f"1-{number}", b"x")
        await pruned(mock_clock, store, 0)
        assert [event_id for event_id, _ in await events(store)] == ["1-2", "1-3"]
        assert [event_id for event_id, _ in await events(store, "other")] == ["1-2", "1-3"]


async def test_the_oldest_events_of_a_session_go_when_they_are_too_large_but_never_the_newest(
    path: Path, mock_clock: MockClock
):
    async with Open(path, session_bytes=100) as store:
        store.keep("s", b"record")
        for number, size in ((1, 50), (2, 60), (3, 40)):
            store.append("s", f"1-{number}", b"x" * size)
        await pruned(mock_clock, store, 0)
        assert [event_id for event_id, _ in await events(store)] == ["1-2", "1-3"]
        store.append("s", "1-4", b"x" * 1000)
        await pruned(mock_clock, store, 0)
        assert [event_id for event_id, _ in await events(store)] == ["1-4"]


async def test_the_oldest_of_all_events_go_when_the_file_holds_too_much(path: Path, mock_clock: MockClock):
    async with Open(path, max_bytes=250) as store:
        for session in ("a", "b", "c"):
            store.keep(session, b"record")
            store.append(session, "1-1", b"x" * 100)
            await store.flush()
            mock_clock.jump(1)
        await pruned(mock_clock, store, 0)
        assert [len(await events(store, session)) for session in ("a", "b", "c")] == [0, 1, 1]


async def test_it_prunes_by_itself_in_intervals(path: Path, mock_clock: MockClock):
    async with Open(path, max_age=100, prune_every=30) as store:
        store.keep("s", b"record")
        store.append("s", "1-1", b"x")
        await store.flush()
        mock_clock.jump(101)
        with trio.fail_after(1000):
            while await events(store):
                await trio.lowlevel.checkpoint()


async def test_and_before_that_when_very_much_was_written(path: Path, mock_clock: MockClock):
    async with Open(path, session_events=5, max_queue=100_000) as store:
        store.keep("s", b"record")
        await store.prune()
        for number in range(1, 10_001):
            store.append("s", f"1-{number}", b"x")
        await store.flush()
        while len(await events(store)) != 5:
            await trio.lowlevel.checkpoint()


# Failing


@pytest.fixture
def full(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A switch that fills the disk up, as SQLite sees it."""

    async def switch(store: SQLiteEventStore, *, to: bool) -> None:
        database: Any = store._database
        pages = await database.async_run(lambda: database.pragma("page_count"))
        await database.async_run(lambda: database.pragma("max_page_count", pages if to else 2**30))

    return switch


async def test_a_full_disk_is_told_once_and_serving_goes_on(
    path: Path, mock_clock: MockClock, full: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    async with Open(path, retry_after=5) as store:
        await store.flush()
        await full(store, to=True)
        for number in range(1, 4):
            store.append("s", f"1-{number}", b"x" * 50_000)
            await store.flush()
            mock_clock.jump(5)
        assert store.failing
        assert [event_id for event_id, _ in await events(store)] == ["1-1", "1-2", "1-3"], "from memory"
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "full" in caplog.text
        await full(store, to=False)
        mock_clock.jump(5)
        while store.failing:
            await trio.lowlevel.checkpoint()
        assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    async with Open(path) as store:
        assert len(await events(store)) == 3


async def test_what_waits_is_bounded_and_the_oldest_is_dropped(
    path: Path, mock_clock: MockClock, full: Any, caplog: pytest.LogCaptureFixture
):
    async with Open(path, max_queue=10, session_bytes=1_000_000) as store:
        await store.flush()
        await full(store, to=True)
        store.append("s", "1-1", b"x" * 100_000)
        await store.flush()
        for number in range(2, 31):
            store.append("s", f"1-{number}", b"x")
        assert [event_id for event_id, _ in await events(store)] == [f"1-{number}" for number in range(21, 31)]
        store.append("s", "1-31", b"x" * 5_000_000)
        assert [event_id for event_id, _ in await events(store)] == ["1-31"]
        assert sum("dropped" in record.message for record in caplog.records) == 1


async def test_an_end_with_a_full_disk_ends(path: Path, full: Any):
    with trio.fail_after(30):
        async with Open(path) as store:
            await store.flush()
            await full(store, to=True)
            store.append("s", "1-1", b"x" * 100_000)


# Opening


async def refused(path: Path) -> str:
    with pytest.raises(EventStoreError) as caught:
        async with Open(path):
            raise AssertionError("it was opened")
    text = str(caught.value)
    assert text.startswith(f"cannot use {path} as event store: ")
    assert "\n" not in text
    return text


async def test_what_is_no_database_is_refused(path: Path):
    await trio.Path(path).write_bytes(b"something else " * 1000)
    assert "no SQLite database" in await refused(path)
    assert await trio.Path(path).read_bytes() == b"something else " * 1000


async def test_another_programs_database_is_refused_and_left_alone(path: Path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    assert "no event store of this version" in await refused(path)
    assert rows(path, "SELECT name FROM sqlite_schema") == [("mine",)]


async def test_a_damaged_file_is_refused(path: Path):
    async with Open(path) as store:
        store.keep("s", b"record")
        for number in range(1, 200):
            store.append("s", f"1-{number}", b"x" * 1000)
    data = bytearray(await trio.Path(path).read_bytes())
    data[4096 * 3 : 4096 * 8] = b"\xff" * 4096 * 5
    await trio.Path(path).write_bytes(data)
    assert "damaged" in await refused(path)


async def test_a_folder_or_a_file_in_none_is_refused(tmp_path: Path):
    assert "cannot be opened" in await refused(tmp_path)
    assert "cannot be opened" in await refused(tmp_path / "missing" / "events.db")


async def test_a_second_opener_is_refused_and_the_first_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trio_mcp.runtime.sqlite_store._BUSY_MILLISECONDS", 1)
    async with Open(path) as store:
        assert "another process" in await refused(path)
        store.append("s", "1-1", b"x")
        await store.flush()
        assert not store.failing


async def test_without_apsw_it_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apsw", None)
    with pytest.raises(EventStoreError, match=r"pip install 'trio-mcp\[sqlite\]'"):
        async with Open(path):
            pass
    assert not await trio.Path(path).exists()


async def test_a_limit_that_is_not_positive_is_refused(path: Path):
    with pytest.raises(ValueError, match="positive"):
        async with Open(path, max_age=0):
            pass
    assert not await trio.Path(path).exists()


async def test_no_thread_is_left(path: Path):

    async with Open(path):
        pass
    await trio.Path(path).write_bytes(b"no database " * 1000)
    await refused(path)
    for thread in threading.enumerate():
        if "apsw" in thread.name:  # it was told to end, and does so after its last word to us
            thread.join(10)
    assert [thread.name for thread in threading.enumerate() if "apsw" in thread.name] == []
