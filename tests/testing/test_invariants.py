"""What must always hold, each invariant alone: silent where all is well, and in words where it is not."""

import gc
from typing import Any

import attrs
import pytest
import trio

from trio_mcp import Server
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.testing import (
    InvariantError,
    Network,
    answered_once,
    connect,
    events_gapless,
    living_tasks,
    memory_back,
    no_task_left,
    no_write_after_close,
    nothing_left,
    require,
    serving,
    tree_of_tasks,
    within_bounds,
)
from trio_mcp.testing.client.pending import Asked
from trio_mcp.testing.network import Link


@attrs.define
class Client:
    """What the invariants look at of a client."""

    name: str = "client 1"
    requests: list[Asked] = attrs.field(factory=list)
    unasked: list[Any] = attrs.field(factory=list)
    streams: list[list[str]] = attrs.field(factory=list)


def asked(**facts: Any) -> Client:
    return Client(requests=[Asked(id=1, method="ping", **facts)])


def test_nothing_is_required_of_nothing_and_everything_is_told_together():
    require()
    require([], [])
    with pytest.raises(InvariantError) as caught:
        require(["a"], [], ["b", "c"])
    assert caught.value.violations == ["a", "b", "c"]
    assert str(caught.value) == "a\nb\nc"


async def test_a_task_that_is_left_is_told_by_name():
    before = living_tasks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="sleep on")
        assert no_task_left(before) == ["a task is left: sleep on"]
        await trio.testing.wait_all_tasks_blocked()
        assert "sleep on" in tree_of_tasks()
        nursery.cancel_scope.cancel()
    assert no_task_left(before) == []


# Answers


@pytest.mark.parametrize(
    "facts",
    [
        {"sent": True, "answers": 1},
        {"sent": True, "cancelled": True},
        {"sent": True, "lost": True},
        {"sent": True, "lost": True, "answers": 1},
        {"sent": False},
    ],
)
def test_a_request_that_was_answered_cancelled_lost_or_never_sent_is_well(facts: dict[str, Any]):
    assert answered_once(asked(**facts)) == []


def test_a_request_without_an_answer_or_with_two_is_told():
    assert answered_once(asked(sent=True)) == ["client 1: request 1 (ping) was never answered"]
    assert answered_once(asked(sent=True, answers=2)) == ["client 1: request 1 (ping) was answered 2 times"]
    assert answered_once(asked(sent=True, answers=2, lost=True)) == ["client 1: request 1 (ping) was answered 2 times"]


def test_an_answer_to_nothing_is_told():
    assert answered_once(Client(unasked=[{"id": 9}])) == ["client 1: an answer to nothing that was asked: {'id': 9}"]


# Events


@pytest.mark.parametrize(
    "had", [[], ["7-1"], ["7-1", "7-2", "7-3"], ["7-2", "7-3"], ["7-0", "7-1"], ["1:7-1", "1:7-2"]]
)
def test_events_in_order_from_anywhere_are_well(had: list[str]):
    assert events_gapless(Client(streams=[had]), {7: ["7-1", "7-2", "7-3"]}) == []


@pytest.mark.parametrize(
    ("had", "wrong"),
    [
        (["7-1", "7-3"], "came with a gap"),
        (["7-2", "7-1"], "came with a gap"),
        (["7-1", "7-1"], "came twice"),
        (["7-1", "7-2", "7-1", "7-2", "7-3"], "came twice"),
    ],
)
def test_events_with_a_gap_out_of_order_or_twice_are_told(had: list[str], wrong: str):
    [told] = events_gapless(Client(streams=[had]), {7: ["7-1", "7-2", "7-3"]})
    assert f"client 1: events of stream 7 {wrong}" in told


def test_each_stream_is_looked_at_by_itself():
    client = Client(streams=[["7-1", "7-2"], [], ["8-1", "8-3"]])
    [told] = events_gapless(client, {7: ["7-1", "7-2"], 8: ["8-1", "8-2", "8-3"]})
    assert "stream 8" in told


# Links


async def test_who_writes_after_closing_is_told():
    link = Link(Network(), "client", "client #1", 1, "server", 8000)
    assert no_write_after_close([link]) == []
    link.server.close()
    with pytest.raises(OSError, match="descriptor"):
        link.server.send(b"x")
    assert no_write_after_close([link]) == ["connection 1 wrote to client #1 after closing it"]


# A host


async def test_what_is_left_of_a_host_is_told_and_nothing_once_it_has_ended(autojump_clock):
    server = Server("left")

    @server.tool
    async def wait() -> str:
        await trio.sleep(5)
        return "waited"

    async with serving(server) as served:
        async with connect(served) as client:
            pending = client.begin("tools/call", {"name": "wait", "arguments": {}})
            async with client.listen():
                found = nothing_left(served.host)
                await trio.sleep(1)
            assert "the lifespan has not been left" in found
            assert any("a session is left" in one or "subscriptions are left" in one for one in found)
            assert "a call is left: tools/call 2" in nothing_left(served.host)
            await pending.result()
        host = served.host
    assert nothing_left(host) == []
    assert within_bounds(host) == []


async def test_a_queue_beyond_its_bound_is_told(autojump_clock):
    async with serving(Server("queue")) as served, connect(served):
        [session] = served.host.sessions.values()
        assert within_bounds(served.host) == []
        frames: list[Any] = [None] * (session.standing.bound + 50)
        session.standing._frames += frames
        [told] = within_bounds(served.host)
        assert told.startswith(f"a stream holds {len(frames)} frames")
        session.standing._frames.clear()


def test_an_object_that_is_still_in_memory_is_told():
    gc.collect()
    gc.freeze()
    try:
        assert memory_back() == []
        kept = Outlet.__new__(Outlet)
        assert memory_back() == ["1 objects of Outlet are still in memory"]
        del kept
        assert memory_back() == []
    finally:
        gc.unfreeze()
