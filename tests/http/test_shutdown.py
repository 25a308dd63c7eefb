"""The drain over HTTP: streams end at once with their terminator, calls finish in their grace, no new work is taken."""

import pytest
import trio
import trio.testing

from tests.http.client import META, V2025_03, V2025_06, Web, notification, request, served
from tests.http.servers import Diary, small_server

LOGS = {f"{META}logLevel": "debug"}
INFO = {"name": "tests", "version": "1"}


async def drained(web: Web) -> float:
    """How long the drain took."""
    began = trio.current_time()
    await web.host.drain()
    return trio.current_time() - began


async def test_open_streams_end_at_once_with_their_terminator(lane: bool, autojump_clock):
    async with served(small_server(shutdown_grace=5), lane=lane) as web:
        session = await web.initialize()
        standing = session.listen()
        listening = web.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="l")
        call = session.call("wait", seconds=3)
        await standing.answered()
        await listening.hears(1)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await standing.done()
            await listening.done()
            assert trio.current_time() == began
            assert standing.complete
            assert listening.complete
            last = listening.messages[-1]
            assert last["id"] == "l"
            assert last["result"]["_meta"][f"{META}subscriptionId"] == "l"
            assert last["result"]["resultType"] == "complete"
            await call.done()
            assert call.result["content"][0]["text"] == "waited 3"


async def test_an_idle_server_drains_at_once(autojump_clock):
    async with served(small_server()) as web:
        await web.initialize()
        assert await drained(web) == 0


async def test_calls_of_both_eras_finish_within_the_grace(lane: bool, autojump_clock):
    async with served(small_server(shutdown_grace=5), lane=lane) as web:
        session = await web.initialize()
        calls = [
            session.call("wait", seconds=4),
            web.call("wait", seconds=3),
            session.call("talk", times=2, gap=2),
            web.ask("tools/call", {"name": "talk", "arguments": {}}, meta=LOGS),
        ]
        await trio.testing.wait_all_tasks_blocked()
        assert await drained(web) == 4
        for call in calls:
            await call.done()
            assert call.complete
            assert call.result["content"][0]["text"].startswith(("waited", "talked"))


async def test_calls_that_do_not_finish_are_cancelled_and_their_finally_runs(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, shutdown_grace=5), lane=lane) as web:
        session = await web.initialize(V2025_06)
        calls = [
            session.call("wait", seconds=100),
            session.call("talk", times=100),
            web.ask("tools/call", {"name": "talk", "arguments": {"times": 100}}, meta=LOGS),
        ]
        await trio.testing.wait_all_tasks_blocked()
        assert await drained(web) == 5
        assert sorted(entry for entry, _ in diary.entries) == ["talk ended", "talk ended", "wait began", "wait ended"]
        for call in calls:
            await call.done()
            assert call.complete


async def test_a_per_request_call_that_was_cut_is_told_to_come_back(lane: bool, autojump_clock):
    async with served(small_server(shutdown_grace=5), lane=lane) as web:
        call = web.call("wait", seconds=100)
        await trio.testing.wait_all_tasks_blocked()
        await web.host.drain()
        await call.done()
        assert (call.status, call.json["id"]) == (503, 1)
        assert call.headers["retry-after"].isdigit()


async def test_a_hurried_drain_waits_for_nothing_but_clean_up(autojump_clock):
    diary = Diary()
    async with served(small_server(diary, shutdown_grace=5)) as web:
        web.call("stubborn", seconds=2)
        await trio.testing.wait_all_tasks_blocked()
        hurry = trio.Event()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain, hurry)
            await trio.sleep(1)
            hurry.set()
        assert trio.current_time() - began == 3
        assert "stubborn ended" in diary


async def test_clean_up_is_awaited_no_longer_than_its_bound(autojump_clock, caplog):
    diary = Diary()
    async with served(small_server(diary, shutdown_grace=1, cleanup_timeout=2)) as web:
        web.call("stubborn", seconds=60)
        await trio.testing.wait_all_tasks_blocked()
        assert await drained(web) == 3
        assert "stubborn ended" not in diary
        await diary.reads("stubborn ended")
    assert "did not clean up" in caplog.text


async def test_new_requests_are_503_while_draining(autojump_clock):
    async with served(small_server(shutdown_grace=50)) as web:
        session = await web.initialize(V2025_03)
        running = session.call("wait", seconds=20)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.testing.wait_all_tasks_blocked()
            info = {"protocolVersion": V2025_03, "capabilities": {}, "clientInfo": INFO}
            refused = [
                await session.call("echo", id="late", message="x").done(),
                await web.ask("tools/list", id="late").done(),
                await web.fetch(body=request("late", "initialize", info)),
            ]
            for fetch in refused:
                assert fetch.status == 503
                assert fetch.headers["retry-after"].isdigit()
                assert fetch.json["id"] == "late"
            batch = [request(1, "tools/call", {"name": "echo", "arguments": {"message": "x"}})]
            assert (await session.open(body=batch).done()).status == 503
            assert (await session.listen().done()).status == 503
            assert (await running.done()).status == 200


async def test_answers_that_running_calls_wait_for_are_still_taken_in_while_draining(autojump_clock):
    async with served(small_server(shutdown_grace=50)) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        call = session.call("ask")
        asked = (await call.hears(1))[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.sleep(10)
            answer = {"action": "accept", "content": {"name": "Ada"}}
            assert (await session.respond(asked["id"], answer)).status == 202
            assert (await call.done()).result["content"][0]["text"] == "accept Ada"


async def test_a_batch_of_answers_alone_is_taken_in_while_draining(autojump_clock):
    async with served(small_server(shutdown_grace=50)) as web:
        session = await web.initialize(V2025_03)
        call = session.call("wait", id="w", seconds=20)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.testing.wait_all_tasks_blocked()
            batch = [
                notification("notifications/cancelled", {"requestId": "w"}),
                {"jsonrpc": "2.0", "id": 1, "result": {}},
            ]
            assert (await session.open(body=batch).done()).status == 202
            await call.done()


async def test_a_call_may_be_cancelled_and_a_session_ended_while_draining(autojump_clock):
    diary = Diary()
    async with served(small_server(diary, shutdown_grace=50)) as web:
        session = await web.initialize()
        call = session.call("wait", id="w", seconds=40)
        await diary.reads("wait began")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.sleep(1)
            assert (await session.delete()).status == 204
            await call.done()
        assert trio.current_time() - began == 1
        assert "wait ended" in diary


@pytest.mark.parametrize("stalls", [False, True])
async def test_a_stream_whose_client_does_not_read_holds_no_drain_up_beyond_the_write_timeout(
    stalls: bool, lane: bool, autojump_clock
):
    async with served(small_server(shutdown_grace=5, write_timeout=3, cleanup_timeout=5), lane=lane) as web:
        session = await web.initialize()
        standing = session.listen()
        await standing.answered()
        if stalls:
            standing.stall()
        assert await drained(web) == 0
        await standing.done()
        assert standing.complete is not stalls
