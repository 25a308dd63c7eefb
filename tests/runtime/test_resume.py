"""A call outlives its connection: what it says waits, bounded, for the client that comes back, and for no other."""

import json
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from tests.runtime.kit import (
    Gate,
    Json,
    Visitor,
    cancelled,
    hosted,
    read_all,
    serving,
    talking_server,
    texts,
    the_answer,
    visiting,
)
from trio_mcp import Context
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.replay import MemoryEventStore

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
CAN_ALL: Json = {"elicitation": {}, "sampling": {}, "roots": {}}


# A call goes on without its connection


async def resumed(visitor: Visitor, event_id: str) -> list[Any]:
    return await read_all(await visitor.session.resume(event_id))


async def test_a_call_goes_on_without_a_reader_and_its_answer_waits_to_be_fetched(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit()
        assert first is not None
        visitor.session.drop_stream(outlet)
        await trio.sleep(1000)
        gate.opened.set()
        await wait_all_tasks_blocked()
        assert gate.diary == ["it began", "it ended"]
        assert outlet.number not in visitor.session.streams, "it lives in the history alone"
        [response] = await resumed(visitor, first)
        assert texts(response["result"]) == ["it"]


async def test_a_client_that_comes_back_early_waits_for_the_answer(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit()
        assert first is not None
        found: list[Any] = []

        async def come_back() -> None:
            found.extend(await resumed(visitor, first))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await wait_all_tasks_blocked()
            assert not found
            gate.opened.set()
        assert texts(found[0]["result"]) == ["it"]


@pytest.mark.parametrize("back", ["before the answer", "after the answer"])
async def test_a_parted_stream_is_polled_for_the_rest(back, autojump_clock):
    server = serving()
    go_on = trio.Event()

    @server.tool
    async def parting(ctx: Context) -> str:
        await ctx.info("before")
        ctx.close_stream()
        await ctx.info("between")
        await go_on.wait()
        return "done"

    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "parting")
        with outlet.reader():
            last = outlet.commit()
            await wait_all_tasks_blocked()
            assert outlet.parted
        assert last is not None
        if back == "after the answer":
            go_on.set()
            await wait_all_tasks_blocked()
        outlet = await visitor.session.resume(last)
        go_on.set()
        *messages, response = await read_all(outlet)
        assert [message["params"]["data"] for message in messages] == ["before", "between"]
        assert texts(response["result"]) == ["done"]


@pytest.mark.parametrize("revision", [name for name, r in REVISIONS.items() if not r.per_request and not r.polling])
async def test_a_stream_does_not_part_where_the_revision_has_no_polling(revision, autojump_clock):
    server = serving()

    @server.tool
    async def parting(ctx: Context) -> str:
        ctx.close_stream()
        return "done"

    async with hosted(server) as host:
        visitor = await visiting(host, revision=revision)
        outlet = visitor.call(1, "parting")
        await the_answer(outlet)
        assert not outlet.parted


async def test_nothing_is_lost_or_doubled_when_readers_change(autojump_clock):
    server = talking_server(count=30, stream_buffer=5)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        seen: list[Json] = []
        last = ""
        for _ in range(2):
            with outlet.reader():
                last = last or outlet.commit() or ""
                for _ in range(2):
                    await wait_all_tasks_blocked()
                    frames = outlet.take()
                    seen += [json.loads(frame.data) for frame in frames]
                    last = frames[-1].event_id or last
            outlet = await visitor.session.resume(last)
        seen += await read_all(outlet)
        assert [message.get("params", {}).get("data") for message in seen] == [*range(30), None]


async def test_what_the_older_reader_has_not_taken_goes_to_the_newer_alone(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        older: list[Any] = []
        ids: list[str] = []

        async def read_older() -> None:
            with outlet.reader():
                ids.append(outlet.commit() or "")
                while True:
                    await outlet.wait()
                    older.extend(json.loads(frame.data) for frame in outlet.take())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_older)
            await wait_all_tasks_blocked()
            outlet.put(b'"seen by both"')
            await wait_all_tasks_blocked()
            again = await visitor.session.resume(ids[0])
            assert again is outlet
            gate.opened.set()
            await wait_all_tasks_blocked()
            newer = await read_all(again)
        assert older == ["seen by both"]
        assert newer[0] == "seen by both"
        assert texts(newer[1]["result"]) == ["it"]


class SlowStore(MemoryEventStore):
    """Replays what it held when it was asked, a while later."""

    async def replay(self, session_id: str, last_event_id: str) -> list[tuple[str, bytes]]:
        found = await super().replay(session_id, last_event_id)
        await trio.sleep(10)
        return found


async def test_what_comes_while_a_slow_store_replays_is_not_lost(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server, event_store=SlowStore()) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "wait")
        with outlet.reader():
            first = outlet.commit() or ""
            outlet.put(b'"early"')
        found: list[Any] = []

        async def come_back() -> None:
            found.extend(await resumed(visitor, first))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            await trio.sleep(5)
            outlet.put(b'"meanwhile"')
            gate.opened.set()
        assert found[:2] == ["early", "meanwhile"]
        assert texts(found[2]["result"]) == ["it"]


async def test_a_store_of_ones_own_is_used_though_it_is_empty(autojump_clock):
    store = SlowStore()
    async with hosted(serving(), event_store=store) as host:
        visitor = await visiting(host)
        visitor.session.standing.commit()
        visitor.session.standing.put(b"{}")
        assert len(store) == 1


async def test_events_of_a_session_are_bounded_by_number_and_by_bytes(autojump_clock):
    server = talking_server(count=1000, stream_buffer=5, replay_events=10, replay_bytes=500)
    async with hosted(server) as host:
        store = host.event_store
        assert isinstance(store, MemoryEventStore)
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        with outlet.reader():
            first = outlet.commit() or ""
        await wait_all_tasks_blocked()
        assert 0 < len(store) <= 10
        messages = await resumed(visitor, first)
        assert len(json.dumps(messages)) < 1000
        assert "result" in messages[-1]


async def test_ids_that_this_session_never_gave_are_refused(autojump_clock):
    server = serving()
    gate = Gate(server)
    async with hosted(server) as host:
        visitor, other = await visiting(host), await visiting(host)
        ours, theirs = visitor.call(1, "wait"), other.call(1, "wait")
        uncommitted = visitor.call(2, "wait")
        own, foreign = ours.commit() or "", theirs.commit() or ""
        number = own.partition("-")[2]
        strangers = [foreign, "nonsense", "", f"{own}1", "1-1", f"99-{number}", f"{uncommitted.number}-{number}"]
        with uncommitted.reader() as scope:
            for id in strangers:
                with pytest.raises(ValueError, match="event"):
                    await visitor.session.resume(id)
            assert not scope.cancel_called
        gate.opened.set()
        assert texts((await the_answer(uncommitted))["result"]) == ["it"]


async def test_event_ids_are_unique_over_all_streams_of_a_session(autojump_clock):
    server = talking_server()
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlets = [visitor.session.standing, visitor.call(1, "talk"), visitor.call(2, "talk")]
        ids = [outlet.commit() for outlet in outlets]
        await wait_all_tasks_blocked()
        ids += [frame.event_id for outlet in outlets for frame in outlet.take()]
        assert None not in ids
        assert len(set(ids)) == len(ids) == 3 + 2 * 4


async def test_a_call_waits_for_a_slow_reader_and_its_memory_stays_bounded(autojump_clock):
    server = talking_server(count=100, stream_buffer=4)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        seen: list[Json] = []
        with outlet.reader():
            while not outlet.closed:
                await trio.sleep(1)
                assert len(outlet) <= 4 + 1
                seen += [json.loads(frame.data) for frame in outlet.take()]
        assert [message.get("params", {}).get("data") for message in seen] == [*range(100), None]


async def test_a_call_that_waits_for_a_slow_reader_can_be_cancelled(autojump_clock):
    server = talking_server(count=100, stream_buffer=4)
    async with hosted(server) as host:
        visitor = await visiting(host)
        outlet = visitor.call(1, "talk")
        with outlet.reader():
            await wait_all_tasks_blocked()
            visitor.post(cancelled(1))
            await wait_all_tasks_blocked()
            assert outlet.closed
            assert len(outlet.take()) == 4
        assert not visitor.session.calls
