"""What an application over HTTP/2 or WebSocket hears: in which order, how much of it, and for how long."""

from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_mcp.http.handed_app import Inbox

GONE = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_after_the_end_nothing_comes_but_the_end(autojump_clock):
    inbox = Inbox(2, 60)
    await inbox.put(piece(b"a"))
    await inbox.put(GONE)
    await inbox.put(piece(b"b"))
    await inbox.put({"type": "websocket.disconnect", "code": 1000})
    assert [await inbox.get() for _ in range(3)] == [piece(b"a"), GONE, GONE]
    assert not inbox.late


async def test_a_full_inbox_holds_up_who_fills_it_but_not_the_end(autojump_clock):
    inbox, put = Inbox(2, 60), []

    async def fill() -> None:
        for number in range(5):
            await inbox.put(piece(b"%d" % number))
            put.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await wait_all_tasks_blocked()
        assert put == [0, 1]
        await inbox.get()
        await wait_all_tasks_blocked()
        assert put == [0, 1, 2]
        await inbox.put(GONE)
    assert put == [0, 1, 2, 3, 4]
    assert [await inbox.get() for _ in range(3)] == [piece(b"1"), piece(b"2"), GONE]


async def test_the_time_for_a_body_begins_when_it_is_first_waited_for_and_is_for_all_of_it(autojump_clock):
    inbox = Inbox(2, 60)
    await inbox.put(piece(b"a"))
    await trio.sleep(100)
    await inbox.get()
    await trio.sleep(100)

    async def trickle() -> None:
        for _ in range(10):
            await trio.sleep(20)
            await inbox.put(piece(b"b"))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        while (await inbox.get()) != GONE:
            pass
        assert (trio.current_time() - began, inbox.late, inbox.ended) == (60, True, True)


async def test_a_whole_body_ends_the_time_for_it(autojump_clock):
    inbox = Inbox(2, 60)

    async def send() -> None:
        await trio.sleep(50)
        await inbox.put(piece(b"a", more=False))
        await trio.sleep(500)
        await inbox.put(GONE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert await inbox.get() == piece(b"a", more=False)
        assert await inbox.get() == GONE
    assert not inbox.late
