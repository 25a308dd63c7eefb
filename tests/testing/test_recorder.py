"""The trace: what is written of tasks, cancellations, links and remarks, and that each event tells enough of it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from trio_mcp import Context, Server
from trio_mcp.testing import Conditions, Recipe, Trace, connect, current, note, simulate
from trio_mcp.testing.words import in_words

Event = dict[str, Any]


def trace_of(scenario: Callable[[], Awaitable[None]], seed: int = 0, **options: Any) -> list[Event]:
    trace = Trace("scenario", seed)
    simulate(scenario, seed, trace=trace, **options)
    events = [json.loads(line) for line in trace.as_json().splitlines()]
    assert events == trace.events, "all of it is plain JSON"
    return events


def of(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["kind"] == kind]


def task_named(events: list[Event], name: str) -> Event:
    [found] = [event for event in of(events, "task") if event["name"].rpartition(".")[2] == name]
    return found


async def nap() -> None:
    await trio.sleep(1)


# Tasks


def test_every_task_begins_and_every_one_of_the_scenario_ends_once():
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(nap, name=f"take nap {number}")

    events = trace_of(scenario)
    for number in range(3):
        task = task_named(events, f"take nap {number}")
        mine = [event for event in events if event["task"] == task["task"]]
        kinds = [event["kind"] for event in mine]
        assert kinds[:3] == ["task", "wake", "run"]
        assert kinds[-1] == "exit"
        assert kinds.count("exit") == 1
        assert mine[-1]["how"] == "done"
        assert mine[-1]["at"] == 1
        assert task["parent"] == task_named(events, "scenario")["task"]
    numbers = [event["task"] for event in of(events, "task")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_how_a_task_ended_is_told():
    async def fail() -> None:
        await nap()
        raise LookupError("that")

    async def scenario() -> None:
        with pytest.RaisesGroup(LookupError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, name="fail at 1")
                nursery.start_soon(trio.sleep_forever, name="sleep on")

    events = trace_of(scenario)
    hows = {}
    for name in ("fail at 1", "sleep on"):
        number = task_named(events, name)["task"]
        [end] = [event for event in of(events, "exit") if event["task"] == number]
        hows[name] = end["how"]
    assert hows == {"fail at 1": "failed: LookupError: that", "sleep on": "cancelled"}


def test_a_sleep_tells_its_deadline_and_the_clock_its_jumps():
    events = trace_of(nap)
    assert 1 in [event["deadline"] for event in of(events, "sleep")]
    assert None in [event["deadline"] for event in of(events, "sleep")]
    assert [event["to"] for event in of(events, "jump")] == [1]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_who_woke_a_task_is_told_and_tasks_woken_together_come_in_order():
    async def scenario() -> None:
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(event.wait, name=f"wait {number}")
            await trio.testing.wait_all_tasks_blocked()
            event.set()

    events = trace_of(scenario)
    main = task_named(events, "scenario")["task"]
    first = task_named(events, "wait 0")["task"]
    woken = [event["task"] for event in of(events, "wake") if event["by"] == main and event["task"] >= first]
    assert woken[-20:] == list(range(first, first + 20))


# Cancellation


def test_a_cancel_tells_whom_it_reaches_why_and_by_whom():
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="sleep on")

            async def shielded() -> None:
                with trio.CancelScope(shield=True):
                    await nap()

            nursery.start_soon(shielded, name="be shielded")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel("it is enough")

    events = trace_of(scenario)
    [cancel] = [event for event in of(events, "cancel") if event["reason"] == "it is enough"]
    sleeper, main = task_named(events, "sleep on")["task"], task_named(events, "scenario")["task"]
    assert cancel["tasks"] == sorted([sleeper, main])
    assert (cancel["by"], cancel["source"]) == (main, "explicit")


def test_a_deadline_is_told_to_have_passed():
    async def scenario() -> None:
        with trio.move_on_after(3):
            await trio.sleep_forever()

    [cancel] = [event for event in of(trace_of(scenario), "cancel") if event["source"] == "deadline"]
    assert cancel["at"] == 3
    assert cancel["by"] is None
    assert "deadline" in cancel["reason"]


def test_trios_own_cancel_is_put_back():
    before = trio.CancelScope._cancel
    trace_of(nap)
    assert trio.CancelScope._cancel is before


# Links


def conversation() -> list[Event]:
    server = Server("talks")

    @server.tool
    async def count(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "counted"

    async def scenario() -> None:
        async with connect(server) as client:
            await client.call_tool("count", progress=lambda *_: None)

    return trace_of(scenario, conditions=Conditions(latency=(0.1, 0.1)))


def test_what_is_sent_is_told_in_words_and_arrives_once():
    events = conversation()
    sent = {event["id"]: event for event in of(events, "send")}
    arrived = of(events, "arrive")
    assert len(sent) == len(of(events, "send"))
    assert sorted(event["id"] for event in arrived) == sorted(sent)
    for event in arrived:
        assert event["at"] == pytest.approx(sent[event["id"]]["at"] + 0.1)
    texts = [event["text"] for event in of(events, "send")]
    assert any("tools/call count" in text for text in texts)
    assert any("notifications/progress" in text for text in texts)
    assert any("result" in text for text in texts)
    assert {event["from"] for event in sent.values()} == {"client 1", "connection 1"}


def test_what_is_lost_is_told():
    async def scenario() -> None:
        simulation = current()
        assert simulation is not None
        simulation.network.listen("server")
        stream = await simulation.network.dial("client 1", "server")
        await stream.send_all(b"x")
        stream.reset()
        await nap()

    events = trace_of(scenario, conditions=Conditions(latency=(0.1, 0.1)))
    assert [event.get("lost") for event in of(events, "arrive")] == [True]
    assert [event["what"] for event in of(events, "link")] == ["opened by client 1", "reset by client 1"]


def test_lanes_are_clients_connections_sessions_and_the_server():
    lanes = {event["lane"] for event in of(conversation(), "task")}
    assert {"test", "server", "client 1", "connection 1"} <= lanes
    assert any(lane.startswith("session ") for lane in lanes)


# Words


def test_remarks_faults_deviations_and_the_failure_are_written():
    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(nap, name=f"take nap {number}")
        note("woke up")
        simulation = current()
        assert simulation is not None
        simulation.network.partition("a", "b")
        raise LookupError("lost")

    events = next(events for seed in range(20) if of(events := trace_of(scenario, seed), "deviation"))
    assert [event["text"] for event in of(events, "note")] == ["woke up"]
    assert of(events, "fault")[0]["text"] == "a partition between a and b"
    assert " ran before " in of(events, "deviation")[0]["text"]
    [failure] = of(events, "failure")
    assert failure["text"] == "LookupError: lost"
    assert "in scenario" in failure["traceback"]
    assert "LookupError: lost" in failure["traceback"]


def test_outside_of_a_traced_run_a_remark_is_nothing():
    note("nobody hears")

    async def scenario() -> None:
        note("nobody hears")

    assert simulate(scenario).error is None
    assert Recipe().seed == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET /mcp?x=1 HTTP/1.1\r\nLast-Event-ID: 7-3\r\n\r\n", "GET /mcp after 7-3"),
        (
            b'POST /mcp HTTP/1.1\r\n\r\n{"id":3,"method":"tools/call","params":{"name":"add"}}',
            "POST /mcp tools/call add 3",
        ),
        (b"HTTP/1.1 202 Accepted\r\n\r\n", "202"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", "200 stream"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"id":"a","result":{}}', '200 result "a"'),
        (b'data: {"method":"notifications/progress"}\n\n', "notifications/progress"),
        (b'{"id":1,"error":{}}\n{"id":2,"result":{}}\n', "error 1 result 2"),
        (b'{"id":1,"result":{}}\n' * 6, "result 1 result 1 result 1 result 1 and 2 more"),
        (b"3\r\n:\r\n\r\n", "keepalive"),
        (b"0\r\n\r\n", "end of stream"),
        (b"\x81\x05hello", "7 bytes"),
        (b"", "0 bytes"),
    ],
)
def test_bytes_are_told_in_a_few_words(data: bytes, words: str):
    assert in_words(data) == words
