"""One stream read by many: each at its own pace, none at the cost of another, and nothing lost to who comes back."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mcp.runtime.fanout import Fanout, Reader
from trio_mcp.runtime.replay import MemoryEventStore, SessionHistory

FOREVER = 1_000_000


def fanout(bound: int = 4, store: MemoryEventStore | None = None) -> Fanout:
    if store is None:
        store = MemoryEventStore(max_events=100, max_bytes=10_000)
    found = Fanout(bound)
    found.record_in(SessionHistory(store, "session"))
    return found


def data_of(reader: Reader) -> list[bytes]:
    return [frame.data for frame in reader.take()]


class SlowStore(MemoryEventStore):
    """One that takes a second to read, as a disk would."""

    def __init__(self) -> None:
        super().__init__(max_events=100, max_bytes=10_000)

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        found = await super().replay(session_id, last_event_id)
        await trio.sleep(1)
        return found


async def test_every_reader_gets_every_frame_under_one_id():
    stream = fanout()
    readers = [await stream.attach(None) for _ in range(3)]
    stream.put(b"notification")
    stream.respond(b"answer")
    frames = [reader.take() for reader in readers]
    assert [frame.data for frame in frames[0]] == [b"notification", b"answer"]
    assert frames[0] == frames[1] == frames[2]
    assert len({frame.event_id for frame in frames[0]}) == 2


async def test_a_reader_that_falls_behind_is_dropped_and_the_others_and_the_sender_go_on(autojump_clock):
    stream = fanout(bound=3)
    slow, quick = await stream.attach(None), await stream.attach(None)
    found = []
    with trio.fail_after(FOREVER):
        for number in range(10):
            await stream.send(b"%d" % number)
            found += data_of(quick)
    assert found == [b"%d" % number for number in range(10)]
    assert slow.closed
    assert data_of(slow) == [b"0", b"1", b"2"]
    assert not quick.closed


async def test_a_reader_that_was_dropped_gets_the_rest_when_it_comes_back_with_its_last_id():
    stream = fanout(bound=3)
    slow, _ = await stream.attach(None), await stream.attach(None)
    for number in range(5):
        stream.respond(b"%d" % number)
    last = slow.take()[-1].event_id
    assert data_of(await stream.attach(last)) == [b"3", b"4"]


async def test_what_came_while_nobody_read_goes_to_the_next_one_who_does_and_to_no_later_one():
    stream = fanout()
    first = await stream.attach(None)
    stream.respond(b"seen")
    data_of(first)
    data_of(first)  # takes again: what was taken before was written
    stream.detach(first)
    stream.respond(b"missed")
    assert data_of(await stream.attach(None)) == [b"missed"]
    assert data_of(await stream.attach(None)) == []


async def test_what_was_taken_but_perhaps_not_written_is_given_again():
    stream = fanout()
    first = await stream.attach(None)
    stream.respond(b"in the middle of a write")
    assert data_of(first) == [b"in the middle of a write"]
    stream.detach(first)
    assert data_of(await stream.attach(None)) == [b"in the middle of a write"]


async def test_the_first_reader_gets_what_came_before_it():
    stream = fanout()
    stream.respond(b"early")
    assert data_of(await stream.attach(None)) == [b"early"]


async def test_a_replay_larger_than_the_bound_does_not_count_against_its_reader():
    stream = fanout(bound=2)
    for number in range(10):
        stream.respond(b"%d" % number)
    reader = await stream.attach(None)
    stream.respond(b"new")
    assert not reader.closed
    assert data_of(reader) == [*(b"%d" % number for number in range(10)), b"new"]


async def test_what_comes_while_the_store_is_read_follows_the_replay_once(autojump_clock):
    stream = fanout(store=SlowStore())
    stream.respond(b"before")
    readers: list[Reader] = []

    async def attach() -> None:
        readers.append(await stream.attach(None))

    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attach)
            await wait_all_tasks_blocked()
            stream.respond(b"meanwhile")
    assert data_of(readers[0]) == [b"before", b"meanwhile"]


async def test_a_reader_that_is_cancelled_while_the_store_is_read_is_forgotten(autojump_clock):
    stream = fanout(store=SlowStore())
    stream.respond(b"missed")
    with trio.move_on_after(0.5) as scope:
        await stream.attach(None)
    assert scope.cancelled_caught
    with trio.fail_after(FOREVER):
        assert data_of(await stream.attach(None)) == [b"missed"]


@pytest.mark.parametrize("event_id", ["nonsense", "0-1", "1-5"])
async def test_an_id_that_this_stream_never_gave_is_refused(event_id: str):
    with pytest.raises(ValueError, match="event"):
        await fanout().attach(event_id)


async def test_closing_ends_every_reader_after_what_waits():
    stream = fanout()
    readers = [await stream.attach(None) for _ in range(2)]
    stream.respond(b"last")
    stream.close()
    stream.put(b"too late")
    assert [data_of(reader) for reader in readers] == [[b"last"], [b"last"]]
    assert all(reader.closed for reader in readers)
    assert (await stream.attach(None)).closed


async def test_one_news_that_waits_for_all_is_not_told_twice_but_again_to_who_has_read_it():
    stream = fanout()
    first, second = await stream.attach(None), await stream.attach(None)
    stream.put_once(b"the list changed")
    stream.put_once(b"the list changed")
    assert data_of(first) == [b"the list changed"]
    stream.put_once(b"the list changed")
    assert data_of(first) == [b"the list changed"]
    assert data_of(second) == [b"the list changed"] * 2


async def test_a_sender_in_a_tight_loop_lets_a_reader_that_keeps_up_have_its_turn(autojump_clock):
    stream = fanout(bound=32)
    reader = await stream.attach(None)
    found: list[bytes] = []

    async def read() -> None:
        while len(found) < 1000:
            await reader.wait()
            found.extend(data_of(reader))
            assert not reader.closed

    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for number in range(1000):
                await stream.send(b"%d" % number)
    assert found == [b"%d" % number for number in range(1000)]


async def test_a_call_cannot_end_the_stream_of_all():
    stream = fanout()
    reader = await stream.attach(None)
    stream.part()
    stream.respond(b"still here")
    assert not reader.parted
    assert data_of(reader) == [b"still here"]
