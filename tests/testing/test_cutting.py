"""Cutting: at every step while somebody is connected, in each way; cancelling: at every step of a tool."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from trio_mcp import Context, Server, Settings
from trio_mcp.testing import (
    Client,
    ConnectionLostError,
    RequestCancelledError,
    SimulationFailure,
    cancel_everywhere,
    connect,
    current,
    cut_everywhere,
    replay,
    serving,
    simulate,
)
from trio_mcp.testing.cuts import apply_cut
from trio_mcp.testing.network import Network
from trio_mcp.testing.recipe import Cut

NOWHERE: dict[str, Any] = {"failures": None}


def waiting(seconds: float = 1) -> tuple[Server, list[str]]:
    """A server whose one tool waits, and what it saw."""
    seen: list[str] = []
    brief = Settings(session_idle=60, idle_timeout=20, head_timeout=20, body_timeout=20)
    server = Server("waiting", settings=brief)

    @server.tool
    async def wait(ctx: Context) -> str:
        seen.append("begun")
        try:
            await ctx.report_progress(1)
            await trio.sleep(seconds)
            seen.append("waited")
        finally:
            seen.append("left")
        return "waited"

    return server, seen


async def alone() -> None:
    """One connection, one byte each way, by hand: few enough steps to count."""
    simulation = current()
    assert simulation is not None
    network: Network = simulation.network
    listener = network.listen("server")

    async def serve() -> None:
        server = await listener.accept()
        await server.wait_readable()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client = await network.dial("client 1", "server")
        try:
            await client.send_all(b"x")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLostError("it was cut") from None
        finally:
            await client.aclose()


def test_every_step_is_cut_at_which_the_client_is_connected():
    connected: list[int] = []

    def count(simulation: Any) -> None:
        simulation.on_step(lambda step: connected.append(step) if simulation.network.links else None)

    assert simulate(alone, prepare=count).error is None
    # By hand: the step that dialled ends in the checkpoint of `send_all`; beside it runs the server, in `accept`; the
    # next step sends and closes.
    assert len(connected) >= 2
    closed = next(step for step in connected if step > connected[0])
    steps: list[Cut] = []

    def note(simulation: Any, cut: Cut) -> None:
        steps.append(cut)
        apply_cut(simulation, cut)

    report = cut_everywhere(alone, **NOWHERE)
    assert report.checkpoints == len(range(connected[0], closed + 1))
    assert report.cuts == 3 * report.checkpoints
    assert report.runs == 1 + report.cuts


@pytest.mark.parametrize(("kind", "told"), [("close", b""), ("abort", "reset"), ("stall", "nothing")])
def test_each_kind_does_to_the_server_what_it_says(kind: Any, told: Any):
    seen: list[Any] = []

    async def scenario() -> None:
        simulation = current()
        assert simulation is not None
        listener = simulation.network.listen("server")
        client = await simulation.network.dial("client 1", "server")
        server = await listener.accept()
        apply_cut(simulation, Cut(simulation.scheduler.step + 1, kind, "client 1"))
        await trio.sleep(1)
        try:
            seen.append(server.recv(9))
        except BlockingIOError:
            seen.append("nothing")
        except ConnectionResetError:
            seen.append("reset")
        assert not client.is_open

    assert simulate(scenario).error is None
    assert seen == [told]


def test_only_the_client_that_was_named_is_cut_and_what_it_opens_later_is_left_alone():
    lost: list[str] = []

    async def scenario() -> None:
        server, _ = waiting()
        async with serving(server) as served, served.connect(name="ann") as ann, served.connect(name="ben") as ben:
            for client in (ann, ben):
                try:
                    await client.call_tool("wait")
                except ConnectionLostError:
                    lost.append(client.name)
            await ann.call_tool("wait")

    cut_everywhere(scenario, client="ann", kinds=("abort",), most=10, **NOWHERE)
    assert set(lost) == {"ann"}


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_a_call_of_the_session_era_lives_on_after_a_cut_and_one_of_the_other_ends(revision: str):
    server, seen = waiting()

    async def scenario() -> None:
        seen.clear()
        async with connect(server, revision=revision) as client:
            await client.call_tool("wait")

    ends: set[tuple[str, ...]] = set()

    async def noted() -> None:
        try:
            await scenario()
        finally:
            ends.add(tuple(seen))

    cut_everywhere(noted, kinds=("abort",), **NOWHERE)
    assert (("begun", "left") in ends) == (revision == "2026-07-28")
    assert ("begun", "waited", "left") in ends
    assert ends <= {(), ("begun", "left"), ("begun", "waited", "left")}


def test_where_nothing_can_be_cut_it_says_so():
    async def nobody() -> None:
        async with serving(waiting()[0]):
            await trio.sleep(1)

    with pytest.raises(ValueError, match="'client 1' does not appear"):
        cut_everywhere(nobody, **NOWHERE)
    with pytest.raises(ValueError, match="'wait' does not appear"):
        cancel_everywhere(nobody, "wait", **NOWHERE)


def test_a_scenario_that_fails_without_a_cut_fails_as_it_is():
    async def scenario() -> None:
        async with connect(waiting()[0]) as client:
            await client.call_tool("wait")
            raise LookupError("by itself")

    with pytest.raises(SimulationFailure, match="LookupError: by itself") as caught:
        cut_everywhere(scenario, **NOWHERE)
    assert caught.value.recipe.cut is None
    assert caught.value.runs == 1


def test_a_failure_after_a_cut_tells_where_and_replays(tmp_path):
    server, seen = waiting(5)

    async def scenario() -> None:
        seen.clear()
        async with connect(server, revision="2026-07-28") as client:
            try:
                await client.call_tool("wait")
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(6)
                assert "left" not in seen or "waited" in seen, "the tool was cancelled"

    with pytest.raises(SimulationFailure, match="the tool was cancelled") as caught:
        cut_everywhere(scenario, kinds=("abort", "stall"), failures=tmp_path)
    failure = caught.value
    assert failure.shrunk.cut is not None
    assert failure.shrunk.cut.kind == "abort"
    assert f"cut: client 1: abort after step {failure.shrunk.cut.step}" in str(failure)
    assert failure.file is not None
    with pytest.raises(SimulationFailure, match="the tool was cancelled"):
        replay(scenario, failure.file)


def test_a_replay_that_fails_no_more_is_a_success(tmp_path):
    broken = True

    async def scenario() -> None:
        async with connect(waiting()[0]) as client:
            await client.call_tool("wait")
        assert not broken

    with pytest.raises(SimulationFailure) as caught:
        cut_everywhere(scenario, failures=tmp_path)
    assert caught.value.file is not None
    broken = False
    assert replay(scenario, caught.value.file).runs == 1


# Cancelling


@pytest.mark.parametrize("transport", ["http", "websocket", "memory"])
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_a_tool_is_cancelled_at_every_step_and_leaves_each_time(transport: Any, revision: str):
    server, seen = waiting()
    ends: list[tuple[str, ...]] = []

    async def scenario() -> None:
        seen.clear()
        try:
            async with connect(server, transport=transport, revision=revision) as client:
                await client.call_tool("wait")
        finally:
            ends.append(tuple(seen))

    report = cancel_everywhere(scenario, "wait", **NOWHERE)
    assert report.cuts == report.checkpoints >= 3
    assert len(ends) >= report.runs
    assert ("begun", "left") in ends
    assert all(end in ((), ("begun", "left"), ("begun", "waited", "left")) for end in ends)


def test_a_scenario_may_see_its_request_cancelled_and_may_take_it_as_it_likes():
    server, _ = waiting()
    seen: list[str] = []

    async def sees(client: Client) -> None:
        try:
            await client.call_tool("wait")
        except RequestCancelledError as error:
            seen.append(str(error))

    def make(use: Callable[[Client], Any]) -> Callable[[], Any]:
        async def scenario() -> None:
            async with connect(server) as client:
                await use(client)

        return scenario

    cancel_everywhere(make(sees), "wait", **NOWHERE)
    assert set(seen) == {"the simulation cancelled it"}
    cancel_everywhere(make(lambda client: client.call_tool("wait")), "wait", **NOWHERE)


def test_a_tool_that_swallows_its_cancellation_is_found():
    server = Server("stubborn")

    @server.tool
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
        return "never"

    async def scenario() -> None:
        async with connect(server) as client:
            with trio.move_on_after(1):
                await client.call_tool("stubborn")

    with pytest.raises(SimulationFailure):
        cancel_everywhere(scenario, "stubborn", patience=600, do_shrink=False, **NOWHERE)
