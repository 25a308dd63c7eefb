"""JSON or a stream, keepalives, event ids, polling, resumption, and one reader taking over from another."""

from typing import Any

import pytest
import trio
import trio.testing

from tests.http.client import META, V2024, V2025_03, V2025_06, V2025_11, served
from tests.http.fetch import Event, Fetch
from tests.http.servers import small_server
from trio_mcp import MemoryEventStore

LOGS = {f"{META}logLevel": "debug"}


def data_of(events: list[Event]) -> list[Any]:
    """What the log messages of a stream said; the answer's id in brackets."""
    found: list[Any] = []
    for event in events:
        if event.data:
            message = event.message
            found.append([message["id"]] if "result" in message else message["params"].get("data"))
    return found


# JSON or a stream


async def test_an_answer_that_comes_first_is_json(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for ask in (session.call, web.call):
            call = await ask("wait", seconds=14.9).done()
            assert call.headers["content-type"] == "application/json"
            assert int(call.headers["content-length"]) == len(call.body)


async def test_a_notification_that_comes_first_makes_a_stream_at_once(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        talk = {"name": "talk", "arguments": {"gap": 100}}
        for ask in (lambda: session.ask("tools/call", talk), lambda: web.ask("tools/call", talk, meta=LOGS)):
            began = trio.current_time()
            call = ask()
            await call.answered()
            assert call.streams
            assert trio.current_time() == began
            await call.done()


async def test_silence_makes_a_stream_after_commit_after(autojump_clock):
    async with served(small_server(commit_after=4)) as web:
        session = await web.initialize()
        for ask in (session.call, web.call):
            began = trio.current_time()
            call = ask("wait", seconds=10)
            await call.answered()
            assert call.streams
            assert trio.current_time() == began + 4
            await call.done()
            assert trio.current_time() == began + 10
            assert call.result["content"][0]["text"] == "waited 10"


async def test_each_of_many_calls_becomes_a_stream_at_its_own_time(autojump_clock):
    async with served(small_server(commit_after=4)) as web:
        calls = []
        for _ in range(5):
            calls.append((web.call("wait", seconds=9), trio.current_time()))
            await trio.sleep(1.5)
        for call, began in calls:
            await call.done()
            assert call.streams
            assert call.events[-1].at == began + 9
        late = web.call("wait", seconds=3)
        await late.done()
        assert not late.streams


async def test_json_response_keeps_everything_json_and_drops_what_json_cannot_carry(autojump_clock):
    async with served(small_server(json_response=True)) as web:
        session = await web.initialize()
        for call in (
            session.call("talk", gap=20),
            session.call("step", progress="p", gap=20),
            session.call("poll", seconds=20),
            web.ask("tools/call", {"name": "talk", "arguments": {"gap": 20}}, meta=LOGS),
        ):
            await call.done()
            assert call.headers["content-type"] == "application/json"
            assert set(call.json) == {"jsonrpc", "id", "result"}


async def test_sse_response_makes_everything_a_stream(autojump_clock):
    async with served(small_server(json_response=False)) as web:
        session = await web.initialize()
        for call in (session.call("echo", message="x"), session.ask("no/such"), web.call("echo", message="x")):
            await call.done()
            assert (call.status, call.streams, call.complete) == (200, True, True)
            assert len(call.messages) == 1


@pytest.mark.parametrize(
    ("accept", "type"),
    [
        ("application/json", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, application/json;q=0", "text/event-stream"),
        ("application/*", "application/json"),
        ("text/*", "text/event-stream"),
        ("*/*", "application/json"),
        (None, "application/json"),
        ("Application/JSON, Text/Event-Stream", "application/json"),
    ],
)
async def test_a_reply_is_of_a_kind_that_the_client_takes(accept: str | None, type: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for call in (
            session.call("echo", message="x"),
            web.ask("tools/call", {"name": "echo", "arguments": {"message": "x"}}),
        ):
            await call.done()
        again = session.open(
            body={"jsonrpc": "2.0", "id": 1, "method": "ping"},
            headers={"accept": accept},
        )
        modern = web.ask("tools/list", headers={"accept": accept})
        assert (await again.done()).headers["content-type"] == type
        assert (await modern.done()).headers["content-type"] == type


async def test_a_client_that_takes_only_json_gets_json_from_a_tool_that_talks(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        call = session.open(
            body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "talk"}},
            headers={"accept": "application/json"},
        )
        assert (await call.done()).json["result"]["content"][0]["text"] == "talked"


async def test_a_question_that_plain_json_cannot_carry_is_an_error_and_no_hang(autojump_clock):
    async with served(small_server(json_response=True)) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        assert "error" in (await session.call("ask").done()).json


async def test_streams_are_not_to_be_cached_or_buffered_on_the_way(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        call = session.call("talk")
        modern = web.ask("tools/call", {"name": "talk", "arguments": {}}, meta=LOGS)
        for stream in (await call.done(), await modern.done(), await session.listen().answered()):
            assert stream.headers["cache-control"] == "no-cache"
            assert stream.headers["x-accel-buffering"] == "no"
            assert "content-length" not in stream.headers


async def test_the_stream_ends_with_the_answer(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for call in (session.call("talk"), web.ask("tools/call", {"name": "talk", "arguments": {}}, meta=LOGS)):
            await call.done()
            assert call.complete
            assert "result" in call.messages[-1]


# Keepalives


async def test_an_open_stream_is_kept_alive_every_15_seconds_for_half_an_hour(lane: bool, autojump_clock):
    async with served(small_server(session_idle=10_000), lane=lane) as web:
        session = await web.initialize()
        streams = [
            session.listen(),
            web.ask("subscriptions/listen", {"notifications": {"promptsListChanged": True}}),
        ]
        began = trio.current_time()
        await trio.sleep(30 * 60)
        for stream in streams:
            assert stream.comments == [began + 15 * n for n in range(1, 121)][: len(stream.comments)]
            assert len(stream.comments) >= 119


async def test_a_call_is_kept_alive_from_its_commitment_on(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for ask in (session.call, web.call):
            began = trio.current_time()
            call = await ask("wait", seconds=100).done()
            assert [at - began for at in call.comments] == [30, 45, 60, 75, 90]
            assert call.result["content"][0]["text"] == "waited 100"


async def test_only_silence_is_filled(autojump_clock):
    async with served(small_server(keepalive=10)) as web:
        session = await web.initialize()
        call = session.call("talk", times=3, gap=9)
        await call.done()
        assert call.comments == []
        call = session.call("talk", times=2, gap=19)
        began = trio.current_time()
        await call.done()
        assert [at - began for at in call.comments] == [10, 29]


# Event ids and polling


async def test_a_polling_stream_begins_with_an_id_and_the_time_to_wait(autojump_clock):
    async with served(small_server(retry=2.5)) as web:
        session = await web.initialize(V2025_11)
        for stream in (await session.call("talk").done(), await session.listen().answered()):
            await trio.testing.wait_all_tasks_blocked()
            first = stream.events[0]
            assert (first.data, first.retry) == ("", "2500")
            assert first.id


@pytest.mark.parametrize("revision", [V2024, V2025_03, V2025_06])
async def test_older_revisions_get_no_event_without_data(revision: str, autojump_clock):
    """Clients of that time take an empty event for a message and fail to parse it."""
    async with served(small_server()) as web:
        session = await web.initialize(revision)
        standing = await session.listen().answered()
        call = await session.call("talk").done()
        await trio.testing.wait_all_tasks_blocked()
        assert standing.events == []
        assert all(event.data and event.retry is None for event in call.events)
        assert all(event.id for event in call.events)


async def test_streams_of_the_per_request_era_have_no_ids_at_all(autojump_clock):
    async with served(small_server()) as web:
        call = await web.ask("tools/call", {"name": "talk", "arguments": {}}, meta=LOGS).done()
        assert all((event.id, event.retry) == (None, None) for event in call.events)


async def test_event_ids_are_unique_within_the_session(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        streams = [session.listen(), *(session.call("talk", times=5) for _ in range(5))]
        for stream in streams[1:]:
            await stream.done()
        await session.call("change").done()
        await streams[0].hears(1)
        ids = [event.id for stream in streams for event in stream.events]
        assert len(set(ids)) == len(ids) >= 32


async def test_a_tool_may_end_the_connection_and_the_client_polls_for_the_rest(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_11)
        call = await session.call("poll", id="p", seconds=5).done()
        assert call.complete
        assert call.messages == []
        assert call.events[0].retry == "1000"
        early = session.listen(call.events[0].id)
        assert await early.hears(2)
        await early.done()
        assert data_of(early.events) == ["while you were away", ["p"]]
        late = await session.listen(call.events[0].id).done()
        assert data_of(late.events) == data_of(early.events)
        assert [event.id for event in late.events if event.data] == [event.id for event in early.events if event.data]


async def test_a_client_that_polls_before_there_is_anything_waits_for_it(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_11)
        call = await session.call("poll", seconds=50).done()
        poll = session.listen(call.events[0].id)
        began = trio.current_time()
        await poll.done()
        assert trio.current_time() - began == 50
        assert len(poll.comments) == 3


@pytest.mark.parametrize("revision", [V2025_03, V2025_06])
async def test_revisions_without_polling_keep_their_connection(revision: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(revision)
        call = await session.call("poll").done()
        assert data_of(call.events)[0] == "while you were away"
        assert len(call.messages) == 2


async def test_a_per_request_call_cannot_be_polled_and_keeps_its_connection(autojump_clock):
    async with served(small_server()) as web:
        assert (await web.call("poll").done()).result["content"][0]["text"] == "polled"


# Resumption


async def test_resuming_replays_what_came_after_the_id_on_that_stream_only(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_06)
        calls = [session.call("talk", id=f"t{n}", times=3) for n in range(2)]
        for call in calls:
            await call.done()
        for call in calls:
            for position, event in enumerate(call.events):
                resumed = await session.listen(event.id).done()
                assert resumed.complete
                assert [e.id for e in resumed.events] == [e.id for e in call.events[position + 1 :]]
                assert data_of(resumed.events) == data_of(call.events[position + 1 :])


async def test_resuming_the_standing_stream_replays_its_events_and_goes_on(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        standing = session.listen()
        await standing.answered()
        await session.call("change").done()
        await standing.hears(1)
        standing.drop()
        await standing.done()
        resumed = session.listen(standing.events[0].id)
        await resumed.hears(1)
        assert resumed.events[0].id == standing.events[1].id
        await session.call("change").done()
        await resumed.hears(2)


async def test_an_event_id_leads_into_no_other_session(autojump_clock):
    async with served(small_server()) as web:
        mine, theirs = await web.initialize(V2025_06), await web.initialize(V2025_06)
        secret = await mine.call("talk", times=3).done()
        stolen = theirs.listen(secret.events[0].id)
        await stolen.answered()
        await trio.sleep(60)
        assert stolen.messages == []
        assert stolen.status == 400


@pytest.mark.parametrize(
    "id", ["x", "-", "1-", "-1", "1--1", "1-2-3", "0x1-1", "1-99", "9" * 50, "1.5-2", "²-1", "1-+1"]
)
async def test_an_event_id_that_never_was_is_400_and_the_session_goes_on(id: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.listen(id).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32600)
        assert await session.answers()


async def test_an_empty_event_id_is_the_standing_stream(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        stream = session.listen("")
        await session.call("change").done()
        await stream.hears(1)


async def test_events_are_kept_up_to_a_bound_and_the_newest_stay(autojump_clock):
    async with served(small_server(replay_events=4)) as web:
        session = await web.initialize(V2025_06)
        call = await session.call("flood", id="f", times=20).done()
        resumed = await session.listen(call.events[0].id).done()
        assert data_of(resumed.events) == ["17", "18", "19", ["f"]]


async def test_the_event_store_that_was_given_is_used_until_the_session_ends(autojump_clock):
    store = MemoryEventStore()
    async with served(small_server(), event_store=store) as web:
        session = await web.initialize()
        await session.call("talk").done()
        assert len(store) > 0
        await session.delete()
        assert len(store) == 0


async def test_plain_json_answers_are_not_kept(autojump_clock):
    store = MemoryEventStore()
    async with served(small_server(), event_store=store) as web:
        session = await web.initialize()
        for _ in range(10):
            await session.call("echo", message="x").done()
        assert len(store) == 0
        assert not web.host.sessions[session.id].streams


# Taking over


async def test_a_second_standing_stream_takes_over_from_the_first(lane: bool, autojump_clock):
    async with served(small_server(), lane=lane) as web:
        session = await web.initialize()
        first = session.listen()
        await first.answered()
        second = session.listen()
        await first.done()
        assert first.complete
        await session.call("change").done()
        await second.hears(1)
        assert first.messages == []


async def test_the_old_connection_that_dies_late_does_not_take_the_new_one_along(lane: bool, autojump_clock):
    """A phone changes networks: the old connection hangs, the client comes back, then the old one is given up."""
    async with served(small_server(keepalive=10), lane=lane) as web:
        session = await web.initialize()
        first = session.listen()
        await first.answered()
        first.stall()
        await trio.sleep(11)  # a keepalive is stuck in it
        second = session.listen()
        await second.answered()
        first.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert not second.returned
        await session.call("change").done()
        await second.hears(1)
        first.go_on()


async def test_a_call_resumed_from_a_hanging_connection_survives_the_end_of_that(lane: bool, autojump_clock):
    async with served(small_server(keepalive=10), lane=lane) as web:
        session = await web.initialize(V2025_06)
        first = session.call("talk", id="t", times=2, gap=60)
        await first.hears(1)
        first.stall()
        await trio.sleep(11)
        second = session.listen(first.events[0].id)
        await second.answered()
        first.drop()
        await second.done()
        assert data_of(second.events) == ["talk 1", ["t"]]
        first.go_on()


async def test_a_hanging_connection_that_was_replaced_ends_by_its_write_timeout(lane: bool, autojump_clock):
    async with served(small_server(keepalive=10, write_timeout=30), lane=lane) as web:
        session = await web.initialize()
        first = session.listen()
        await first.answered()
        first.stall()
        await trio.sleep(11)
        second = session.listen()
        await first.done()
        await trio.sleep(1)
        assert not second.returned
        await session.call("change").done()
        await second.hears(1)


async def test_a_client_that_was_gone_before_it_was_served_takes_over_from_nobody(autojump_clock):
    async with served(small_server(), lane=True) as web:
        session = await web.initialize()
        first = session.listen()
        await first.answered()
        ghost = session.listen(prepare=Fetch.drop)
        await ghost.done()
        assert ghost.late == []
        await session.call("change").done()
        await first.hears(1)


async def test_replayed_events_go_to_the_one_who_asked_for_them(autojump_clock):
    """The old reader is still there, and wakes while the new one's request is being read."""
    async with served(small_server()) as web:
        session = await web.initialize()
        first = session.listen()
        await session.call("change").done()
        await first.hears(1)
        before = len(first.events)
        second = session.listen(first.events[0].id, hold=True)
        await trio.testing.wait_all_tasks_blocked()
        await session.call("change").done()
        await trio.testing.wait_all_tasks_blocked()
        heard_by_first = len(first.events) - before
        second.feed(b"", last=True)
        await second.answered()
        await trio.testing.wait_all_tasks_blocked()
        assert heard_by_first == 1
        assert [event.id for event in second.events if event.data] == [event.id for event in first.events[1:]]
