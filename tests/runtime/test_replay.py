"""Events are kept for one session each, bounded, and an id leads nowhere but to what this session gave it for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_mcp.runtime.outlet import Frame
from trio_mcp.runtime.replay import MemoryEventStore, SessionHistory, parse_event_id


def number_of(event_id: str) -> int:
    return parse_event_id(event_id)[1]


async def test_the_oldest_events_go_when_there_are_too_many():
    store = MemoryEventStore(max_events=3, max_bytes=1000)
    for number in range(1, 6):
        store.append("s", f"1-{number}", b"%d" % number)
    assert await store.replay("s", "1-0") == [("1-3", b"3"), ("1-4", b"4"), ("1-5", b"5")]
    assert len(store) == 3


async def test_the_oldest_events_go_when_they_are_too_large_together():
    store = MemoryEventStore(max_events=1000, max_bytes=10)
    for number in range(1, 6):
        store.append("s", f"1-{number}", b"1234")
    assert [id for id, _ in await store.replay("s", "1-0")] == ["1-4", "1-5"]


async def test_the_newest_event_is_kept_however_large():
    store = MemoryEventStore(max_events=1000, max_bytes=10)
    store.append("s", "1-1", b"small")
    store.append("s", "1-2", b"x" * 1000)
    assert [id for id, _ in await store.replay("s", "1-0")] == ["1-2"]
    store.append("s", "1-3", b"small")
    assert [id for id, _ in await store.replay("s", "1-0")] == ["1-3"]


async def test_events_without_data_are_bounded_by_their_count():
    store = MemoryEventStore(max_events=5, max_bytes=10)
    for number in range(1, 100):
        store.append("s", f"1-{number}", b"")
    assert len(store) == 5


async def test_a_busy_session_costs_no_other_its_events():
    store = MemoryEventStore(max_events=2, max_bytes=10)
    store.append("quiet", "1-1", b"here")
    for number in range(1, 100):
        store.append("busy", f"1-{number}", b"noise")
    assert await store.replay("quiet", "1-0") == [("1-1", b"here")]
    store.forget("busy")
    store.forget("unknown")
    assert len(store) == 1
    assert await store.replay("busy", "1-0") == []


async def test_only_the_same_stream_is_replayed():
    store = MemoryEventStore()
    for id in ("1-1", "2-2", "1-3", "0-4", "1-5"):
        store.append("s", id, id.encode())
    assert [id for id, _ in await store.replay("s", "1-1")] == ["1-3", "1-5"]


@pytest.mark.parametrize(
    "id",
    [
        *("", "-", "1", "1-", "-1", "a-1", "1-b", "1--1", "+1-1", "1-1 ", " 1-1", "1_0-1", "1.0-1", "1-1-1", "٣-1"),
        *("²-1", "9" * 5000 + "-1", "1-" + "9" * 5000, "\x00-\x00", "1-1\n"),
    ],
)
def test_what_is_no_event_id_is_refused(id):
    with pytest.raises(ValueError, match="event id"):
        parse_event_id(id)


@given(st.text())
def test_any_text_is_an_event_id_or_is_refused(text):
    try:
        stream, number = parse_event_id(text)
    except ValueError:
        return
    assert stream >= 0
    assert number >= 0


async def test_ids_are_unique_in_a_session_and_rise_over_all_its_streams():
    history = SessionHistory(MemoryEventStore(), "s")
    numbers = [number_of(history.record(stream, b"x")) for stream in (0, 1, 0, 2, 1)]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


async def test_a_client_that_comes_back_gets_what_followed_and_no_empty_events():
    history = SessionHistory(MemoryEventStore(), "s")
    first = history.record(1, b"")
    second = history.record(1, b"two")
    third = history.record(1, b"three")
    assert await history.after(first) == [Frame(b"two", second), Frame(b"three", third)]
    assert await history.after(third) == []


async def test_an_id_that_was_never_given_is_refused():
    history = SessionHistory(MemoryEventStore(), "s")
    last = number_of(history.record(1, b"x"))
    for id in (f"1-{last + 1}", f"1-{last - 1}", "1-0", "1-1", "nonsense"):
        with pytest.raises(ValueError, match="event"):
            await history.after(id)


async def test_an_id_of_another_session_is_refused_even_of_the_same_stream_and_place():
    store = MemoryEventStore()
    ours, theirs = SessionHistory(store, "ours"), SessionHistory(store, "theirs")
    for _ in range(50):
        ours.record(1, b"mine")
    id = theirs.record(1, b"secret")
    with pytest.raises(ValueError, match="no such event"):
        await ours.after(id)


async def test_once_a_session_is_forgotten_nothing_of_it_is_kept_any_more():
    store = MemoryEventStore()
    history = SessionHistory(store, "s")
    history.record(1, b"x")
    history.forget()
    assert len(store) == 0
    assert history.record(1, b"a reader that still writes")
    assert len(store) == 0


async def test_what_waits_and_what_was_replayed_are_put_together_once_each_and_in_order():
    frames = [Frame(b"4", "1-4"), Frame(b"5", "1-5"), Frame(b"3", "1-3"), Frame(b"4", "1-4"), Frame(b"2", "1-2")]
    assert [frame.data for frame in SessionHistory.merged("1-2", frames)] == [b"3", b"4", b"5"]
    assert SessionHistory.merged("1-5", [Frame(b"never recorded", None)]) == []
