"""An outlet is bounded whatever its reader does, loses nothing to a reader's change, and decides once what it is."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mcp.runtime.outlet import Outlet

FOREVER = 1_000_000


class Recorder:
    """A history that only remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[int, bytes]] = []

    def record(self, stream: int, data: bytes) -> str:
        self.events.append((stream, data))
        return f"{stream}-{len(self.events)}"


def data_of(outlet: Outlet) -> list[bytes]:
    return [frame.data for frame in outlet.take()]


async def send_many(outlet: Outlet, count: int) -> None:
    for number in range(count):
        await outlet.send(b"%d" % number)


# Backpressure


@pytest.mark.parametrize("bound", [1, 3, 16, 40])
async def test_a_sender_waits_at_the_bound_and_goes_on_when_the_reader_takes(bound, autojump_clock):
    outlet = Outlet(bound)
    total = 3 * bound + 1
    found: list[bytes] = []
    with trio.fail_after(FOREVER), outlet.reader():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_many, outlet, total)
            while len(found) < total:
                await wait_all_tasks_blocked()
                assert len(outlet) == min(bound, total - len(found))
                found += data_of(outlet)
    assert found == [b"%d" % number for number in range(total)]


async def test_many_senders_together_keep_the_bound(autojump_clock):
    outlet = Outlet(4)
    sent = 0
    with trio.fail_after(FOREVER), outlet.reader():
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(outlet.send, b"x")
            while sent < 20:
                await wait_all_tasks_blocked()
                assert 0 < len(outlet) <= 4
                sent += len(outlet.take())


async def test_with_no_reader_nobody_waits_and_the_newest_frames_stay():
    outlet = Outlet(5)
    await send_many(outlet, 100)
    assert data_of(outlet) == [b"95", b"96", b"97", b"98", b"99"]


async def test_a_sender_that_waits_goes_on_when_the_reader_goes(autojump_clock):
    outlet = Outlet(2)
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            with outlet.reader():
                nursery.start_soon(send_many, outlet, 10)
                await wait_all_tasks_blocked()
                assert len(outlet) == 2
    assert data_of(outlet) == [b"8", b"9"]


async def test_a_sender_that_waits_goes_on_when_the_client_leaves(autojump_clock):
    outlet = Outlet(2)
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            outlet.attended = True
            nursery.start_soon(send_many, outlet, 10)
            await wait_all_tasks_blocked()
            outlet.leave()
    assert len(outlet) == 2


async def test_a_sender_that_waits_adds_nothing_once_the_stream_is_closed(autojump_clock):
    outlet = Outlet(1)
    with trio.fail_after(FOREVER), outlet.reader():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_many, outlet, 5)
            await wait_all_tasks_blocked()
            outlet.close()
    assert data_of(outlet) == [b"0"]


async def test_a_sender_that_is_cancelled_while_it_waits_adds_nothing(autojump_clock):
    outlet = Outlet(1)
    with outlet.reader():
        await outlet.send(b"first")
        with trio.move_on_after(1) as scope:
            await outlet.send(b"second")
        assert scope.cancelled_caught
        assert data_of(outlet) == [b"first"]


async def test_frames_of_several_tasks_keep_the_order_of_the_calls():
    outlet = Outlet(3)
    called = []

    async def call(number: int) -> None:
        called.append(b"%d" % number)
        await outlet.send(called[-1])

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(call, number)
    assert len(called) == 100
    assert data_of(outlet) == called[-3:]


async def test_every_send_is_a_place_to_be_cancelled():
    outlet = Outlet(1000)
    await outlet.send(b"warm")
    for _ in range(20):
        with trio.CancelScope() as scope:
            scope.cancel()
            await outlet.send(b"never")
        assert scope.cancelled_caught
    assert data_of(outlet) == [b"warm"]


async def test_a_sender_in_a_tight_loop_lets_others_have_their_turn():
    outlet = Outlet(10_000)
    turns = 0
    done = False

    async def other():
        nonlocal turns
        while not done:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await send_many(outlet, 1000)
        done = True
    assert turns > 100


async def test_waiting_for_room_ends_when_there_is_room(autojump_clock):
    outlet = Outlet(1, expected=None)
    with trio.fail_after(FOREVER), outlet.reader():
        outlet.respond(b"one")
        outlet.respond(b"two")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.wait_for_room)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            outlet.take()


# Answers


async def test_equal_frames_that_wait_are_one():
    outlet = Outlet(10, expected=None)
    for _ in range(3):
        outlet.put_once(b"changed")
        outlet.put_once(b"other")
    assert data_of(outlet) == [b"changed", b"other"]
    outlet.put_once(b"changed")
    assert data_of(outlet) == [b"changed"]


async def test_the_last_answer_that_is_owed_closes_the_stream():
    outlet = Outlet(10, expected=3)
    outlet.respond(b"1")
    outlet.withdraw()
    assert not outlet.closed
    outlet.respond(b"2", -32603)
    assert outlet.closed
    assert outlet.error_code == -32603
    outlet.respond(b"3")
    outlet.put(b"late")
    await outlet.send(b"later")
    assert data_of(outlet) == [b"1", b"2"]


async def test_a_stream_without_an_end_of_its_own_is_not_closed_by_answers():
    outlet = Outlet(10, expected=None)
    outlet.respond(b"1")
    outlet.withdraw()
    assert not outlet.closed


async def test_where_only_answers_may_go_out_all_else_is_dropped():
    outlet = Outlet(10)
    outlet.answers_only = True
    outlet.put(b"progress")
    outlet.put_once(b"changed")
    await outlet.send(b"message")
    outlet.respond(b"answer")
    assert data_of(outlet) == [b"answer"]
    assert outlet.plain


# Readers


async def read_on(outlet: Outlet, found: list[bytes], ended: list[str], name: str) -> None:
    with outlet.reader() as scope:
        while not outlet.closed:
            found += data_of(outlet)
            await outlet.wait()
        found += data_of(outlet)
    ended.append(f"{name} {'sent away' if scope.cancelled_caught else 'done'}")


async def test_a_newer_reader_takes_over_and_the_older_one_is_sent_away(autojump_clock):
    outlet = Outlet(10)
    older: list[bytes] = []
    newer: list[bytes] = []
    ended: list[str] = []
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on, outlet, older, ended, "older")
            await wait_all_tasks_blocked()
            outlet.put(b"1")
            await wait_all_tasks_blocked()
            nursery.start_soon(read_on, outlet, newer, ended, "newer")
            await wait_all_tasks_blocked()
            assert outlet.attended
            outlet.put(b"2")
            await wait_all_tasks_blocked()
            outlet.respond(b"3")
    assert (older, newer) == ([b"1"], [b"2", b"3"])
    assert ended == ["older sent away", "newer done"]
    assert not outlet.attended


async def test_a_reader_that_was_sent_away_does_not_take_the_newer_one_along(autojump_clock):
    outlet = Outlet(1)
    left = trio.Event()

    async def slow_to_leave():
        with outlet.reader():
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(10, shield=True):
                    await left.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow_to_leave)
        await wait_all_tasks_blocked()
        with outlet.reader() as scope:
            left.set()
            await wait_all_tasks_blocked()
            assert outlet.reader_scope is scope
            assert outlet.attended


async def test_a_client_that_leaves_sends_its_reader_away(autojump_clock):
    outlet = Outlet(1)
    ended: list[str] = []
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on, outlet, [], ended, "it")
            await wait_all_tasks_blocked()
            outlet.leave("hung up")
    assert ended == ["it sent away"]
    assert outlet.gone
    assert not outlet.closed


@pytest.mark.parametrize("cause", ["put", "respond", "close", "part", "leave"])
async def test_whatever_happens_wakes_the_reader(cause, autojump_clock):
    outlet = Outlet(10, expected=2, history=Recorder())
    woken = trio.Event()

    async def reader():
        with outlet.reader():
            try:
                await outlet.wait()
            finally:
                woken.set()

    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            assert not woken.is_set()
            getattr(outlet, cause)(*([b"x"] if cause in ("put", "respond") else []))
            await woken.wait()


@pytest.mark.parametrize("cause", ["put", "close", "part"])
async def test_waiting_is_over_at_once_where_something_is_there_already(cause, autojump_clock):
    outlet = Outlet(10, history=Recorder())
    with trio.fail_after(FOREVER), outlet.reader():
        getattr(outlet, cause)(*([b"x"] if cause == "put" else []))
        await outlet.wait()


# What the reply becomes


@pytest.mark.parametrize(
    ("cause", "plain"),
    [("put", False), ("respond", True), ("withdraw", True), ("part", False), ("hurry", True), ("leave", True)],
)
async def test_the_shape_of_a_reply_is_decided_once_something_happens(cause, plain, autojump_clock):
    outlet = Outlet(10, history=Recorder())
    begun: list[str] = []
    outlet.on_stream = lambda: begun.append("stream")
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.wait_decided)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            for _ in range(2):
                getattr(outlet, cause)(*([b"x"] if cause in ("put", "respond") else []))
    assert outlet.plain is plain
    assert begun == (["stream"] if cause in ("put", "part", "hurry") else [])


@pytest.mark.parametrize("state", ["committed", "closed", "answers_only"])
async def test_a_reply_that_is_decided_cannot_be_hurried(state):
    outlet = Outlet(10)
    setattr(outlet, state, True)
    outlet.hurry()
    assert not outlet.overdue


async def test_a_stream_that_cannot_be_resumed_does_not_part():
    outlets = [Outlet(10), Outlet(10, history=Recorder()), Outlet(10, history=Recorder())]
    outlets[1].answers_only = True
    outlets[2].close()
    for outlet in outlets:
        outlet.part()
        assert not outlet.parted


async def test_parting_before_the_reader_came_is_not_forgotten_and_parts_only_once():
    outlet = Outlet(10, history=Recorder())
    outlet.part()
    with outlet.reader():
        assert outlet.parted
        outlet.commit()
    with outlet.reader():
        assert not outlet.parted


async def test_nothing_is_recorded_before_the_client_can_come_back():
    recorder = Recorder()
    outlet = Outlet(10, number=7, history=recorder)
    outlet.put(b"before")
    assert recorder.events == []
    first = outlet.commit()
    assert first == "7-1"
    outlet.respond(b"after")
    assert recorder.events == [(7, b""), (7, b"before"), (7, b"after")]
    assert [frame.event_id for frame in outlet.take()] == ["7-2", "7-3"]


async def test_a_stream_without_a_history_commits_without_an_id():
    outlet = Outlet(10)
    assert outlet.commit() is None
    outlet.respond(b"x")
    assert [frame.event_id for frame in outlet.take()] == [None]
