"""A session lives as long as somebody uses it, and ends with everything in it."""

import math

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    SESSION,
    Gate,
    Json,
    cancelled,
    hosted,
    initialize,
    notification,
    read_all,
    request,
    serving,
    texts,
    the_answer,
    tool_call,
    visiting,
)
from trio_mcp.protocol.errors import UNAVAILABLE
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.replay import MemoryEventStore
from trio_mcp.runtime.session import Session

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


async def ends_at(session: Session) -> float:
    await session.ended.wait()
    return trio.current_time()


# Falling idle


async def test_a_session_ends_exactly_when_it_has_been_idle_for_long_enough(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        assert await ends_at(visitor.session) == began + 100
        assert host.find(visitor.session.key) is None
        assert not host.sessions


async def test_every_message_starts_the_idle_time_anew(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        for message in (notification("whatever"), request(1, "ping"), {"jsonrpc": "2.0", "id": 9, "result": {}}):
            await trio.sleep(99)
            visitor.post(message)
        assert await ends_at(visitor.session) == began + 3 * 99 + 100


async def test_a_running_call_keeps_its_session_alive_though_nobody_reads(autojump_clock):
    server = serving(session_idle=100)
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.call(1, "wait")
        await trio.sleep(1050)
        assert not visitor.session.ended.is_set()
        gate.opened.set()
        assert await ends_at(visitor.session) == began + 1050 + 100


async def test_a_cancelled_call_keeps_its_session_alive_while_it_cleans_up(autojump_clock):
    server = serving(session_idle=100)
    gate = Gate(server, cleanup=1000)

    @server.tool
    async def quick() -> None:
        pass

    async with hosted(server) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.call(1, "wait")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        assert "result" in await the_answer(visitor.call(1, "quick"))  # the id is free again
        assert await ends_at(visitor.session) == began + 1000 + 100
        assert gate.diary[-1] == "it ended"


async def test_an_attached_reader_keeps_its_session_alive(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host)
        began = trio.current_time()
        visitor.session.reading(+1)
        visitor.session.reading(+1)
        await trio.sleep(500)
        visitor.session.reading(-1)
        await trio.sleep(500)
        assert not visitor.session.ended.is_set()
        visitor.session.reading(-1)
        assert await ends_at(visitor.session) == began + 1000 + 100


async def test_the_session_of_a_pipe_never_falls_idle(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        session = await host.open_session(pipe=Outlet(10, expected=None))
        await trio.sleep(80_000)
        assert not session.ended.is_set()
        assert session.public_id is None
        session.end()
        await session.ended.wait()


async def test_a_session_may_be_idle_for_ever(autojump_clock):
    async with hosted(serving(session_idle=math.inf)) as host:
        visitor = await visiting(host)
        await trio.sleep(80_000)
        assert not visitor.session.ended.is_set()


async def test_a_session_that_never_shook_hands_falls_idle_too(autojump_clock):
    async with hosted(serving(session_idle=100)) as host:
        visitor = await visiting(host, initialized=False)
        began = trio.current_time()
        assert await ends_at(visitor.session) == began + 100


async def test_a_session_is_unknown_from_the_moment_it_is_told_to_end(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host)
        assert host.find(visitor.session.key) is visitor.session
        visitor.session.end()
        assert host.find(visitor.session.key) is None


# Ending


async def test_the_end_of_a_session_cancels_its_calls_and_waits_for_their_clean_up(autojump_clock):
    server = serving()
    gate = Gate(server, cleanup=3)
    async with hosted(server) as host:
        visitor, other = await visiting(host), await visiting(host)
        outlets = [visitor.call(number, "wait", name=f"call {number}") for number in range(3)]
        others = other.call(1, "wait", name="other")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await host.end_session(visitor.session, "the client ended it")
        assert trio.current_time() == began + 3
        assert sorted(gate.diary[-3:]) == ["call 0 ended", "call 1 ended", "call 2 ended"]
        assert [(await the_answer(outlet))["error"]["code"] for outlet in outlets] == [UNAVAILABLE] * 3
        assert "other ended" not in gate.diary
        gate.opened.set()
        assert texts((await the_answer(others))["result"]) == ["other"]


async def test_ending_a_session_is_bounded_by_the_time_for_clean_up(autojump_clock):
    server = serving(cleanup_timeout=2)
    Gate(server, cleanup=50)
    async with hosted(server) as host:
        visitor = await visiting(host)
        visitor.call(1, "wait")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await host.end_session(visitor.session, "the client ended it")
        assert trio.current_time() == began + 2
        assert not visitor.session.ended.is_set()


async def test_the_end_of_a_session_ends_its_streams_and_forgets_its_events(autojump_clock):
    server = serving()
    Gate(server)
    async with hosted(server) as host:
        store = host.event_store
        assert isinstance(store, MemoryEventStore)
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        for stream in (outlet, visitor.session.standing):
            stream.commit()
            stream.put(b"{}")
        late = visitor.session.open_stream()
        late.put(b"{}")
        assert len(store) == 2
        await host.end_session(visitor.session, "the client ended it")
        assert outlet.closed
        assert visitor.session.standing.closed
        assert not visitor.session.streams
        late.commit()
        assert len(store) == 0


async def test_messages_to_a_session_that_has_ended_are_refused_and_start_nothing(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        await host.end_session(visitor.session, "the client ended it")
        response = await the_answer(visitor.post(tool_call(1, "wait"), Outlet(10)))
        assert response["error"]["code"] == -32600
        assert gate.diary == []


# Cancellation


async def test_a_cancelled_call_answers_nothing_cleans_up_and_leaves_its_siblings_alone(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        first, second = visitor.call(1, "wait", name="first"), visitor.call("1", "wait", name="second")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1, reason="changed my mind"))
        await wait_all_tasks_blocked()
        assert first.closed
        assert not first.take()
        assert gate.diary[2:] == ["first cancelled", "first ended"]
        gate.opened.set()
        assert texts((await the_answer(second))["result"]) == ["second"]
        assert not visitor.session.calls


async def test_a_call_that_is_cancelled_as_it_returns_answers_nothing(autojump_clock):
    server = serving()
    letting_go = trio.Event()

    @server.tool
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await letting_go.wait()
        return "done all the same"

    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "stubborn")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        letting_go.set()
        assert await read_all(outlet) == []


@pytest.mark.parametrize("id", [77, "1", None, "init", 1])
async def test_cancelling_what_is_not_in_flight_is_ignored(id, autojump_clock):
    server = serving()
    gate = Gate(server)
    gate.opened.set()
    async with hosted(server) as host:
        visitor = await visiting(host)
        await the_answer(visitor.call(1, "wait"))
        running = visitor.call(2, "wait", name="other")
        visitor.post(cancelled(id))
        assert texts((await the_answer(running))["result"]) == ["other"]


async def test_initialize_cannot_be_cancelled(autojump_clock):
    async with hosted(serving()) as host:
        visitor = await visiting(host, initialized=False)
        outlet = visitor.post(initialize(1))
        visitor.post(cancelled(1))
        assert (await the_answer(outlet))["result"]["protocolVersion"] == SESSION
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}


async def test_an_id_may_be_used_again_while_its_cancelled_call_still_cleans_up(autojump_clock):
    server = serving()
    gate = Gate(server, cleanup=10)
    async with hosted(server) as host:
        visitor = await visiting(host)
        older = visitor.call(1, "wait", name="older")
        await wait_all_tasks_blocked()
        visitor.post(cancelled(1))
        newer = visitor.call(1, "wait", name="newer")
        await trio.sleep(11)
        assert gate.diary[-1] == "older ended"
        assert visitor.session.calls[1].outlet is newer
        gate.opened.set()
        assert await read_all(older) == []
        assert texts((await the_answer(newer))["result"]) == ["newer"]
        assert not visitor.session.calls
        assert not visitor.session.protocol.incoming


async def test_an_id_in_flight_cannot_be_used_again(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        older = visitor.call(1, "wait", name="older")
        error = (await the_answer(visitor.call(1, "wait", name="newer")))["error"]
        assert error["code"] == -32600
        gate.opened.set()
        assert texts((await the_answer(older))["result"]) == ["older"]


async def test_calls_that_clean_up_count_towards_the_bound(autojump_clock):
    server = serving(max_requests_per_session=3)
    gate = Gate(server, cleanup=10)
    async with hosted(server) as host:
        visitor = await visiting(host)
        for _ in range(3):
            visitor.call(1, "wait")
            await wait_all_tasks_blocked()
            visitor.post(cancelled(1))
        error = (await the_answer(visitor.call(1, "wait")))["error"]
        assert error["code"] == 429
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
        await trio.sleep(11)
        gate.opened.set()
        assert texts((await the_answer(visitor.call(1, "wait")))["result"]) == ["it"]


# Bounds and order


async def test_too_many_calls_in_flight_are_refused_until_some_are_answered(autojump_clock):
    server = serving(max_requests_per_session=2)
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlets = [visitor.call(number, "wait") for number in range(2)]
        assert (await the_answer(visitor.call("third", "wait")))["error"]["code"] == 429
        gate.opened.set()
        for outlet in outlets:
            await the_answer(outlet)
        assert "result" in await the_answer(visitor.call("third", "wait"))


async def test_nothing_but_initialize_and_ping_is_answered_before_the_handshake(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host, initialized=False)
        assert (await the_answer(visitor.call(1, "wait")))["error"]["code"] == -32600
        assert (await the_answer(visitor.post(request(2, "ping"))))["result"] == {}
        assert gate.diary == []
        assert "result" in await the_answer(visitor.post(initialize(3)))
        assert (await the_answer(visitor.post(initialize(4))))["error"]["code"] == -32600
