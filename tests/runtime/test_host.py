"""A host bounds what it holds, keeps sessions apart, drains in order and in time, and tears its lifespan down."""

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    FOREVER,
    Visitor,
    enveloped,
    hosted,
    next_frames,
    opened,
    read_all,
    request,
    serving,
    texts,
    the_answer,
    tool_call,
    visiting,
)
from trio_mcp import Context, McpError, Server, Settings
from trio_mcp.protocol.errors import UNAVAILABLE
from trio_mcp.runtime.dispatch import answer
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.replay import MemoryEventStore
from trio_mcp.runtime.subscriptions import CHANGED

Lifespan = Callable[[Server], AbstractAsyncContextManager[Any]]


class Diary(list[str]):
    """What happened, in order."""

    def lifespan(self, *, entering: float = 0, leaving: float = 0) -> Lifespan:
        @asynccontextmanager
        async def lifespan(server: Server) -> AsyncIterator[str]:
            await trio.sleep(entering)
            self.append("entered")
            yield "the lifespan's value"
            self.append("leaving")
            await trio.sleep(leaving)
            self.append("left")

        return lifespan

    def tools(self, server: Server) -> None:
        """A tool that sleeps, and then cleans up for a while, shielded."""

        @server.tool
        async def sleep(seconds: float, cleanup: float = 0) -> str:
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                self.append(f"{seconds:g} cancelled")
                with trio.CancelScope(shield=True):  # a clean-up that takes its time
                    await trio.sleep(cleanup)
                raise
            finally:
                self.append(f"{seconds:g} ended")
            return f"slept {seconds:g}"


# The lifespan


async def test_the_lifespan_surrounds_everything_and_its_value_reaches_calls(autojump_clock):
    diary = Diary()
    server = Server("s", lifespan=diary.lifespan(entering=3, leaving=2))

    @server.tool
    async def value(ctx: Context) -> str:
        diary.append("called")
        return str(ctx.lifespan)

    async with hosted(server) as host:
        assert trio.current_time() == 3
        visitor = await visiting(host)
        assert texts((await the_answer(visitor.call(1, "value")))["result"]) == ["the lifespan's value"]
        assert host.running
        host.stop()
        with pytest.raises(McpError, match="shutting down"):
            await host.open_session()
    assert diary == ["entered", "called", "leaving", "left"]
    assert not host.running
    assert trio.current_time() == 5


async def test_the_teardown_runs_when_the_host_is_cancelled_and_after_its_calls(autojump_clock):
    diary = Diary()
    server = Server("s", lifespan=diary.lifespan(leaving=2))
    diary.tools(server)
    host = Host(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100, cleanup=1))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert diary == ["entered", "100 cancelled", "100 ended", "leaving", "left"]
    assert trio.current_time() == 3
    assert visitor.session.ended.is_set()


@pytest.mark.parametrize("end", ["stopped", "cancelled"])
async def test_the_teardown_is_bounded(end, caplog, autojump_clock):
    diary = Diary()
    server = Server("s", lifespan=diary.lifespan(leaving=100), settings=Settings(cleanup_timeout=7))
    host = Host(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        if end == "stopped":
            host.stop()
        else:
            nursery.cancel_scope.cancel()
    assert trio.current_time() == 7
    assert diary == ["entered", "leaving"]
    assert "teardown did not end within 7 s" in caplog.text


async def test_a_lifespan_that_fails_on_entering_fails_the_host(autojump_clock):
    @asynccontextmanager
    async def failing(server: Server) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    host = Host(Server("s", lifespan=failing))
    with pytest.raises(OSError, match="no database"):
        await host.run()
    assert not host.running
    with pytest.raises(McpError, match="shutting down"):
        await host.open_session()


async def test_a_teardown_that_fails_fails_the_host(autojump_clock):
    @asynccontextmanager
    async def failing(server: Server) -> AsyncIterator[None]:
        yield
        raise OSError("disk full")

    host = Host(Server("s", lifespan=failing))
    host.stop()
    with pytest.raises(OSError, match="disk full"):
        await host.run()


async def test_entering_the_lifespan_can_be_cancelled(autojump_clock):
    diary = Diary()
    with trio.move_on_after(5):
        await Host(Server("s", lifespan=diary.lifespan(entering=100))).run()
    assert trio.current_time() == 5
    assert diary == []


def with_nursery(diary: Diary, task: Callable[[trio.Nursery], Any]) -> Lifespan:
    """A lifespan that holds a nursery, as lifespans on trio do."""

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as lifespan_nursery:
            lifespan_nursery.start_soon(task, lifespan_nursery)
            yield lifespan_nursery
            diary.append("leaving")
            await trio.sleep(1)
            lifespan_nursery.cancel_scope.cancel()
        diary.append("left")

    return lifespan


async def sleep_for_ever(nursery: trio.Nursery) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("end", ["stopped", "cancelled"])
async def test_a_lifespan_may_hold_a_nursery(end, autojump_clock):
    diary = Diary()
    host = Host(Server("s", lifespan=with_nursery(diary, sleep_for_ever)))
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        await visiting(host)
        if end == "stopped":
            host.stop()
        else:
            nursery.cancel_scope.cancel()
    assert diary == ["leaving", "left"]


async def test_a_background_task_of_the_lifespan_that_fails_ends_the_host_with_its_error(autojump_clock):
    async def fail(nursery: trio.Nursery) -> None:
        await trio.sleep(5)
        raise OSError("connection lost")

    diary = Diary()
    server = Server("s", lifespan=with_nursery(diary, fail))
    diary.tools(server)
    host = Host(server)

    async def use() -> None:
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100))

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="connection lost"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            nursery.start_soon(use)
    assert "100 ended" in diary
    assert trio.current_time() == 5


async def test_a_lifespan_that_cancels_itself_ends_the_host_and_nothing_else(autojump_clock):
    async def give_up(nursery: trio.Nursery) -> None:
        await trio.sleep(5)
        nursery.cancel_scope.cancel()

    diary = Diary()
    host = Host(Server("s", lifespan=with_nursery(diary, give_up)))
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            await visiting(host)
            await trio.sleep(10)
            diary.append("went on")
    assert diary[0] == "leaving"
    assert diary[-1] == "went on"
    assert not host.running


# Sessions


async def test_no_more_sessions_are_held_than_the_settings_say(autojump_clock):
    async with hosted(serving(max_sessions=3)) as host:
        visitors = [await visiting(host) for _ in range(3)]
        with pytest.raises(McpError, match="its limit") as caught:
            await host.open_session()
        assert caught.value.code == 503
        await host.end_session(visitors[0].session, "the client ended it")
        await visiting(host)


async def test_sessions_opened_at_the_same_time_keep_the_limit(autojump_clock):
    refused = 0

    async def enter() -> None:
        nonlocal refused
        try:
            await host.open_session()
        except McpError:
            refused += 1

    async with hosted(serving(max_sessions=3)) as host:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(enter)
        assert (len(host.sessions), refused) == (3, 7)


async def test_a_session_whose_opener_is_cancelled_is_not_left_behind(autojump_clock):
    async with hosted(serving()) as host:
        with trio.CancelScope() as scope:
            scope.cancel()
            await host.open_session()
        await wait_all_tasks_blocked()
        assert not host.sessions
        assert len(host.subscriptions) == 0


async def test_session_ids_are_long_visible_and_not_guessable(autojump_clock):
    async with hosted(serving()) as host:
        ids = [(await host.open_session()).key for _ in range(50)]
        assert len(set(ids)) == 50
        assert all(len(id) * 6 >= 128 and id.isascii() and id.isprintable() and " " not in id for id in ids)
        assert len({id[:8] for id in ids}) == 50


async def test_sessions_are_opened_by_a_running_host_only():
    with pytest.raises(McpError, match="shutting down"):
        await Host(serving()).open_session()


class BrokenStore(MemoryEventStore):
    """Fails for one session."""

    broken = ""

    def append(self, session_id: str, event_id: str, data: bytes) -> None:
        if session_id == self.broken:
            raise OSError("disk full")
        super().append(session_id, event_id, data)


async def test_a_session_that_crashes_ends_alone(caplog, autojump_clock):
    server = serving()
    Diary().tools(server)
    store = BrokenStore()
    async with hosted(server, event_store=store) as host:
        crashing, other = await visiting(host), await visiting(host)
        outlets = [visitor.post(tool_call(1, "sleep", seconds=10)) for visitor in (crashing, other)]
        sibling = crashing.post(tool_call(2, "sleep", seconds=50))
        outlets[0].commit()
        store.broken = crashing.session.key
        await crashing.session.ended.wait()
        assert trio.current_time() == 10
        assert texts((await the_answer(outlets[1]))["result"]) == ["slept 10"]
        assert sibling.closed
        assert list(host.sessions.values()) == [other.session]
        assert not host.calls
    assert [record.name for record in caplog.records] == ["trio_mcp.host"]
    assert "disk full" in caplog.text


async def test_a_session_that_crashes_while_the_host_stops_is_logged_and_stops_nothing_else(caplog, autojump_clock):
    diary = Diary()
    server = Server("s", lifespan=diary.lifespan())
    diary.tools(server)

    @server.tool
    async def ask(ctx: Context) -> None:
        await ctx.list_roots()

    store = BrokenStore()
    async with hosted(server, event_store=store) as host:
        visitor = await visiting(host, capabilities={"roots": {}})
        visitor.post(tool_call(1, "sleep", seconds=10))
        asking = visitor.post(tool_call(2, "ask"))
        asking.commit()
        await wait_all_tasks_blocked()
        store.broken = visitor.session.key
    assert "host" in {record.name.rpartition(".")[2] for record in caplog.records}
    assert diary[-1] == "left"


# Calls of both eras, and the drain


async def test_a_drain_refuses_new_sessions_and_ends_standing_streams_at_once(autojump_clock):
    server = serving(shutdown_grace=10)
    Diary().tools(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        slow = visitor.post(tool_call(1, "sleep", seconds=5))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.drain)
            assert await read_all(visitor.session.standing) == []
            assert trio.current_time() == 0
            with pytest.raises(McpError, match="shutting down") as caught:
                await host.open_session()
            assert caught.value.code == 503
            assert texts((await the_answer(slow))["result"]) == ["slept 5"]
        assert trio.current_time() == 5
        assert visitor.session.ended.is_set()


async def test_a_drain_lets_calls_finish_in_time_and_cancels_the_rest(caplog, autojump_clock):
    server = serving(shutdown_grace=10)
    diary = Diary()
    diary.tools(server)
    async with hosted(server) as host, trio.open_nursery() as nursery:
        visitor = await visiting(host)
        quick = visitor.post(tool_call(1, "sleep", seconds=9))
        slow = visitor.post(tool_call(2, "sleep", seconds=11, cleanup=2))
        call = opened(host, enveloped(tool_call(3, "sleep", seconds=12)))
        host.call_began(call)
        nursery.start_soon(call.run, answer)
        await host.drain()
        assert trio.current_time() == 12
        assert texts((await the_answer(quick))["result"]) == ["slept 9"]
        assert (await the_answer(slow))["error"]["code"] == UNAVAILABLE
        assert await read_all(call.outlet) == []
        assert diary[0] == "9 ended"
        assert sorted(diary[1:]) == ["11 cancelled", "11 ended", "12 cancelled", "12 ended"]
        assert not host.sessions
    assert "cancelling 2 calls" in caplog.text


async def test_a_call_in_a_shielded_clean_up_is_not_waited_for_longer_than_the_bound(caplog, autojump_clock):
    server = serving(shutdown_grace=10, cleanup_timeout=3)
    Diary().tools(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100, cleanup=1000))
        await host.drain()
        assert trio.current_time() == 13
    assert "1 calls did not clean up within 3 s" in caplog.text


async def test_without_calls_a_drain_is_over_at_once(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host)
        await host.drain()
        assert trio.current_time() == 0
        assert visitor.session.ended.is_set()
        await host.drain()


@pytest.mark.parametrize("hurried", ["before", "during", "never"])
async def test_hurry_cuts_the_grace_short(hurried, autojump_clock):
    server = serving(shutdown_grace=10)
    diary = Diary()
    diary.tools(server)
    hurry = trio.Event()
    async with hosted(server) as host, trio.open_nursery() as nursery:
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100))
        await wait_all_tasks_blocked()
        if hurried == "before":
            hurry.set()
        nursery.start_soon(host.drain, hurry)
        await trio.sleep(4)
        if hurried == "during":
            hurry.set()
        await visitor.session.ended.wait()
        assert trio.current_time() == {"before": 4, "during": 4, "never": 10}[hurried]
        assert diary == ["100 cancelled", "100 ended"]


async def test_hurry_does_not_cut_the_clean_up_short(autojump_clock):
    server = serving(shutdown_grace=10, cleanup_timeout=20)
    Diary().tools(server)
    hurry = trio.Event()
    hurry.set()
    async with hosted(server) as host:
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100, cleanup=6))
        await wait_all_tasks_blocked()
        await host.drain(hurry)
        assert trio.current_time() == 6


async def test_a_drain_that_may_be_hurried_is_over_when_the_calls_are(autojump_clock):
    server = serving(shutdown_grace=10)
    Diary().tools(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=1))
        await host.drain(trio.Event())
        assert trio.current_time() == 1


async def test_a_drain_after_the_host_was_stopped_still_ends(autojump_clock):
    server = serving(shutdown_grace=10)
    Diary().tools(server)
    async with trio.open_nursery() as nursery:
        async with hosted(server) as host:
            call = opened(host, enveloped(tool_call(3, "sleep", seconds=100)))
            host.call_began(call)
            nursery.start_soon(call.run, answer)
        await host.drain(trio.Event())
        assert trio.current_time() == 10
        assert not host.calls


async def test_calls_of_a_crowd_are_all_counted_in_and_out(autojump_clock):
    server = serving()
    Diary().tools(server)
    async with hosted(server) as host:
        visitors = [await visiting(host) for _ in range(10)]
        outlets = [
            visitor.post(tool_call(number, "sleep", seconds=number)) for visitor in visitors for number in range(10)
        ]
        assert len(host.calls) == 100
        for outlet in outlets:
            await the_answer(outlet)
        assert not host.calls


# Uncommitted replies


async def test_replies_that_stay_uncommitted_become_streams_each_at_its_own_time(autojump_clock):
    server = serving(commit_after=15)
    Diary().tools(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        turned: list[tuple[int, float]] = []
        for number in range(3):
            outlet = visitor.post(tool_call(number, "sleep", seconds=100))
            outlet.on_stream = lambda number=number: turned.append((number, trio.current_time()))
            await trio.sleep(4)
        await trio.sleep(50)
        assert turned == [(0, 15), (1, 19), (2, 23)]


# Publishing


async def test_changes_may_be_published_from_any_thread():  # on the real clock: threads take real time
    server = serving()
    async with hosted(server) as host:
        visitor = await visiting(host)

        def work() -> None:
            server.add_tool(lambda: None, name="from a thread of trio's")
            host.publish("prompts")

        await trio.to_thread.run_sync(work)
        stranger = threading.Thread(target=host.publish, args=("resources",))
        stranger.start()
        await trio.to_thread.run_sync(stranger.join)
        with trio.fail_after(60):
            heard: list[str] = []
            while len(heard) < 3:
                heard += [message["method"] for message in await next_frames(visitor.session.standing)]
        assert sorted(heard) == sorted(CHANGED[kind] for kind in ("tools", "prompts", "resources"))


def test_publishing_without_a_run_or_after_it_does_nothing():
    server = serving()
    host = Host(server)
    host.publish("tools")

    async def run_and_stop() -> None:
        host.stop()
        await host.run()

    trio.run(run_and_stop)
    host.publish("tools")
    server.add_tool(lambda: None, name="late")


async def test_a_host_that_ended_no_longer_observes_its_server(autojump_clock):
    server = serving()
    async with hosted(server):
        pass
    async with hosted(server) as host:
        visitor = await visiting(host)
        server.add_tool(lambda: None, name="late")
        assert len(visitor.session.standing.take()) == 1


async def test_tools_come_and_go_while_they_are_called(autojump_clock):
    server = serving()
    diary = Diary()
    diary.tools(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.post(tool_call(1, "sleep", seconds=5))
        await wait_all_tasks_blocked()
        server.remove_tool("sleep")
        assert (await the_answer(visitor.post(tool_call(2, "sleep", seconds=5))))["error"]["code"] == -32602
        assert (await the_answer(visitor.post(request(3, "tools/list"))))["result"]["tools"] == []
        assert texts((await the_answer(outlet))["result"]) == ["slept 5"]


async def test_the_wall_time_follows_the_clock_of_the_run(autojump_clock):
    async with hosted(serving()) as host:
        before = host.wall_time()
        await trio.sleep(1000)
        assert host.wall_time() == before + 1000


async def test_stopping_cancels_what_is_left(caplog, autojump_clock):
    caplog.set_level(logging.INFO)
    server = serving()
    diary = Diary()
    diary.tools(server)
    async with hosted(server) as host:
        visitor: Visitor = await visiting(host)
        visitor.post(tool_call(1, "sleep", seconds=100))
        await wait_all_tasks_blocked()
    assert diary == ["100 cancelled", "100 ended"]
    assert not host.sessions
    assert not caplog.records
