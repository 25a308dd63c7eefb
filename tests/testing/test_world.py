"""Chance, clocks and threads under simulation: all from the seed and the virtual clock, and put back after a run."""

import os
import random
import secrets
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from trio_mcp import Context, Server
from trio_mcp.testing import connect, explore, simulate
from trio_mcp.testing.simulation import Outcome
from trio_mcp.testing.threads import Threads
from trio_mcp.testing.world import EPOCH
from trio_mcp.wire.content import TextContent

REVISIONS = ("2025-11-25", "2026-07-28")
eras = pytest.mark.parametrize("revision", REVISIONS)


def run(scenario: Callable[[], Awaitable[None]], seed: int = 0, **options: Any) -> Outcome:
    """A run that must succeed."""
    outcome = simulate(scenario, seed, **options)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def text_of(result: Any) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


# Chance


def drawn(seed: int) -> list[Any]:
    """What a program draws in a run of that seed."""
    found: list[Any] = []

    async def scenario() -> None:
        found.append(os.urandom(8))
        found.append(secrets.token_hex(8))
        found.append(secrets.randbelow(10**9))
        found.append(uuid.uuid4())
        found.append(random.random())
        found.append(random.SystemRandom().random())
        found.append(await trio.to_thread.run_sync(os.urandom, 8))

    run(scenario, seed)
    return found


def test_what_a_program_draws_comes_from_the_seed():
    assert drawn(3) == drawn(3)
    assert all(one != other for one, other in zip(drawn(3), drawn(4), strict=True))


def test_chance_and_clocks_are_put_back_after_a_run_and_after_one_that_fails():
    names = [(os, "urandom"), (time, "time"), (time, "time_ns"), (time, "monotonic"), (time, "monotonic_ns")]
    names += [(time, "sleep"), (time, "perf_counter"), (time, "perf_counter_ns"), (trio.to_thread, "run_sync")]
    names += [(trio.from_thread, "run"), (trio.from_thread, "run_sync"), (trio.from_thread, "check_cancelled")]
    before = [getattr(where, name) for where, name in names]
    random.seed(5)
    expected = random.Random(5).random()

    async def fail() -> None:
        random.random()
        raise LookupError

    async def succeed() -> None:
        random.random()

    run(succeed)
    assert isinstance(simulate(fail).error, LookupError)
    assert [getattr(where, name) for where, name in names] == before
    assert random.random() == expected


# Clocks


def test_every_clock_is_the_virtual_one():
    seen: list[Any] = []

    async def scenario() -> None:
        for _ in range(2):
            began = time.monotonic()
            seen.append((time.time() - EPOCH, time.monotonic(), time.perf_counter(), trio.current_time()))
            assert time.time_ns() == int(time.time() * 1e9)
            assert time.monotonic_ns() == time.perf_counter_ns() == int(began * 1e9)
            await trio.sleep(90)

    assert run(scenario).seconds == 180
    assert seen == [pytest.approx((at, at, at, at)) for at in (0, 90)]


def test_a_sleep_in_the_loop_moves_the_clock_and_holds_up_everybody():
    seen: list[tuple[str, float]] = []

    async def other() -> None:
        await trio.sleep(1)
        seen.append(("other", trio.current_time()))

    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await trio.sleep(0.5)
            time.sleep(4.5)  # noqa: ASYNC251
            seen.append(("slept", trio.current_time()))

    run(scenario)
    assert seen == [("slept", 5), ("other", 5)]


def test_a_sleep_of_a_thread_that_is_not_of_the_run_is_real():
    async def scenario() -> None:
        thread = threading.Thread(target=time.sleep, args=(0,))
        thread.start()
        thread.join()
        assert trio.current_time() == 0

    run(scenario)


# Threads


@pytest.mark.parametrize("abandon", [False, True])
def test_a_thread_runs_beside_the_tasks_while_it_sleeps(abandon: bool):
    seen: list[tuple[str, float]] = []

    def work() -> str:
        for _ in range(2):
            time.sleep(1)
            seen.append(("thread", time.monotonic()))
        return "worked"

    async def scenario() -> None:
        async def tick() -> None:
            for _ in range(2):
                await trio.sleep(0.6)
                seen.append(("task", trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            assert await trio.to_thread.run_sync(work, abandon_on_cancel=abandon) == "worked"

    run(scenario)
    assert seen == [("task", 0.6), ("thread", 1), ("task", 1.2), ("thread", 2)]


@pytest.mark.parametrize("abandon", [False, True])
def test_a_thread_is_a_real_one_with_the_context_of_its_task_and_its_error_is_raised(abandon: bool):
    def work() -> None:
        assert threading.get_ident() != main
        with pytest.raises(RuntimeError):
            trio.current_time()
        raise LookupError("of the thread")

    main = threading.get_ident()
    unfit: Any = trio.sleep

    async def scenario() -> None:
        with pytest.raises(LookupError, match="of the thread"):
            await trio.to_thread.run_sync(work, abandon_on_cancel=abandon)
        with pytest.raises(TypeError, match="appears to be asynchronous"):
            await trio.to_thread.run_sync(unfit, 1, abandon_on_cancel=abandon)

    run(scenario)


@pytest.mark.parametrize("abandon", [False, True])
def test_a_thread_calls_into_the_loop(abandon: bool):
    async def double(number: int) -> int:
        await trio.sleep(number)
        return 2 * number

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("of the task")

    def work() -> int:
        number = trio.from_thread.run(double, 3)
        assert trio.from_thread.run_sync(trio.current_time) == 3
        trio.from_thread.check_cancelled()
        with pytest.raises(LookupError, match="of the task"):
            trio.from_thread.run(fail)
        return number

    async def scenario() -> None:
        assert await trio.to_thread.run_sync(work, abandon_on_cancel=abandon) == 6

    run(scenario)


def test_outside_of_a_thread_the_ways_into_the_loop_say_so_as_trio_does():
    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="call it from a thread"):
            trio.from_thread.run(trio.sleep, 1, trio_token=trio.lowlevel.current_trio_token())
        with pytest.raises(RuntimeError, match="call it from a thread"):
            trio.from_thread.run_sync(print, trio_token=trio.lowlevel.current_trio_token())
        with pytest.raises(RuntimeError, match="created by Trio"):
            trio.from_thread.check_cancelled()

    run(scenario)


def test_a_cancelled_thread_is_waited_for_and_can_see_it():
    seen: list[str] = []

    def work() -> None:
        time.sleep(10)
        seen.append("slept")
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    async def scenario() -> None:
        with trio.move_on_after(1) as scope:
            await trio.to_thread.run_sync(work)
        assert scope.cancelled_caught
        assert trio.current_time() == 10

    run(scenario)
    assert seen == ["slept", "cancelled"]


def test_an_abandoned_thread_goes_on_and_the_run_does_not_end_before_it():
    seen: list[Any] = []

    def work() -> None:
        time.sleep(10)
        seen.append(time.monotonic())
        with pytest.raises(trio.Cancelled):
            trio.from_thread.check_cancelled()

    async def scenario() -> None:
        limiter = trio.CapacityLimiter(1)
        with trio.move_on_after(1):
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        assert trio.current_time() == 1
        assert limiter.borrowed_tokens == 1, "its place comes back when it ends"
        seen.append("went on")

    assert run(scenario).seconds == 10
    assert seen == ["went on", 10]


def test_no_more_threads_run_than_the_limiter_has_places():
    at: list[float] = []

    async def scenario() -> None:
        limiter = trio.CapacityLimiter(2)

        async def one() -> None:
            await trio.to_thread.run_sync(lambda: time.sleep(1), limiter=limiter)
            at.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)

    run(scenario)
    assert at == [1, 1, 2, 2]


@pytest.mark.parametrize("abandon", [False, True])
def test_a_thread_that_waits_for_what_another_thread_holds_fails_clearly(
    abandon: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trio_mcp.testing.simulation.Threads", lambda: Threads(silence=0.1))
    lock, given_up = threading.Lock(), threading.Event()

    def hold() -> None:
        with lock:
            time.sleep(1)

    def wait() -> None:
        given_up.wait()

    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, hold)
            await trio.sleep(0.5)
            await trio.to_thread.run_sync(wait, abandon_on_cancel=abandon)

    outcome = simulate(scenario)
    given_up.set()
    assert outcome.failure is not None
    assert "the thread 'wait' waits for something that is not simulated" in outcome.failure
    assert "in wait" in str(outcome.error)
    assert "given_up.wait()" in str(outcome.error)


def test_threads_give_the_same_run_for_the_same_seed_and_many_orders_for_many():
    def story(seed: int) -> list[str]:
        told: list[str] = []

        def work(name: str) -> None:
            for number in range(2):
                time.sleep(1)
                told.append(f"{name}{number}")

        async def scenario() -> None:
            async with trio.open_nursery() as nursery:
                for name in "abc":
                    nursery.start_soon(trio.to_thread.run_sync, work, name)

        run(scenario, seed)
        return told

    assert story(0) == ["a0", "b0", "c0", "a1", "b1", "c1"]
    stories = {seed: story(seed) for seed in range(30)}
    assert all(story(seed) == stories[seed] for seed in range(0, 30, 3))
    assert len({tuple(one) for one in stories.values()}) > 5


# A server's plain functions


def threaded() -> tuple[Server, list[str]]:
    done: list[str] = []
    server = Server("threaded")

    @server.tool(timeout=2)
    def slow(seconds: float) -> str:
        time.sleep(seconds)
        done.append(f"slow at {time.monotonic():g}")
        return "slept"

    @server.tool
    def report(ctx: Context, times: int = 3) -> str:
        for number in range(times):
            trio.from_thread.run(ctx.report_progress, number, times)
            time.sleep(0.5)
        return "reported"

    @server.tool
    def who(ctx: Context) -> str:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        try:
            answer = trio.from_thread.run(ctx.elicit, "Who?", schema)
        finally:
            done.append("who")
        return str((answer.content or {})["name"])

    return server, done


@eras
def test_a_plain_function_that_sleeps_too_long_times_out_in_virtual_time(revision: str):
    server, done = threaded()

    async def scenario() -> None:
        async with connect(server, revision=revision) as client:
            assert text_of(await client.call_tool("slow", {"seconds": 1.5})) == "slept"
            began = trio.current_time()
            result = await client.call_tool("slow", {"seconds": 60})
            assert result.is_error
            assert trio.current_time() == began + 2

    run(scenario)
    assert done == ["slow at 1.5", "slow at 61.5"]


@eras
def test_a_plain_function_reports_progress_and_asks(revision: str):
    server, _ = threaded()

    async def scenario() -> None:
        seen: list[float] = []
        answers = {"elicitation/create": lambda _: {"action": "accept", "content": {"name": "Ada"}}}
        async with connect(server, revision=revision, answers=answers) as client:
            result = await client.call_tool("report", progress=lambda done, *_: seen.append(done))
            assert text_of(result) == "reported"
            assert seen == [0, 1, 2]
            assert text_of(await client.call_tool("who")) == "Ada"

    run(scenario)
    explore(scenario, 10, failures=None)


def test_a_plain_function_whose_call_is_cancelled_while_it_asks_is_given_up():
    server, done = threaded()

    async def never(_: Any) -> Any:
        await trio.sleep_forever()

    async def scenario() -> None:
        async with connect(server, answers={"elicitation/create": never}) as client:
            pending = client.begin("tools/call", {"name": "who", "arguments": {}})
            await trio.sleep(5)
            assert done == []
            await pending.cancel()
            await trio.sleep(1)
            assert done == ["who"]

    run(scenario)
