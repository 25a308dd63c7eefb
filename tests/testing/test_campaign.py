"""What is told of a run that fails, how it is shrunk, kept and replayed; and what makes a run fail at all."""

import gc
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from trio_mcp import Server
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.testing import (
    Conditions,
    Cut,
    HangError,
    InvariantError,
    Outcome,
    Recipe,
    SimulationFailure,
    connect,
    current,
    explore,
    note,
    read_recipe,
    replay,
    serving,
    simulate,
    weather,
    write_page,
)
from trio_mcp.testing.campaign import same_failure

NOWHERE: dict[str, Any] = {"failures": None}


async def fine() -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(trio.sleep, 1)


async def racy() -> None:
    """Two tasks of which the first to come wins; what depends on it is wrong."""
    winners: list[str] = []

    async def run(name: str) -> None:
        await trio.sleep(1)
        winners.append(name)

    async def bystander() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(run, name, name=f"race {name}")
        for _ in range(4):
            nursery.start_soon(bystander)
    note(f"{winners[0]} won")
    assert winners[0] == "first", f"{winners[0]} won"


def failing(scenario: Any, seeds: Any = 200, **options: Any) -> SimulationFailure:
    with pytest.raises(SimulationFailure) as caught:
        explore(scenario, seeds, **{**NOWHERE, "conditions": Conditions(), **options})
    return caught.value


# What is told


def test_a_failure_is_told_with_all_that_is_needed_to_look_at_it(tmp_path: Path):
    failure = failing(racy, failures=tmp_path, command=None)
    told = str(failure).splitlines()
    seed = failure.recipe.seed
    assert told[0] == f"racy failed in run {seed + 1}, with seed {seed}"
    assert "AssertionError: second won" in told[1]
    assert f"explore(…, seeds=[{seed}])" in str(failure)
    assert failure.file is not None
    assert f"replay(…, {str(failure.file)!r})" in str(failure)
    assert "'race second' ran before 'race first'" in str(failure)
    assert "second won" in str(failure), "the trace, with the scenario's own remark"
    assert failure.outcome.trace is not None
    assert isinstance(failure.__cause__, AssertionError)
    assert failure.runs == seed + 1


def test_a_failure_is_shrunk_to_what_it_needs():
    failure = failing(racy)
    assert len(failure.shrunk.given or {}) == 1
    assert failure.shrinking > 0
    unshrunk = failing(racy, do_shrink=False)
    assert unshrunk.shrinking == 0
    assert len(unshrunk.shrunk.given or {}) >= 1


def test_a_failure_is_kept_and_replays_and_so_does_its_seed_alone(tmp_path: Path):
    failure = failing(racy, failures=tmp_path / "deep" / "down")
    assert failure.file is not None
    assert failure.file.is_file()
    kept = json.loads(failure.file.read_text())
    assert kept["seed"] == failure.recipe.seed
    assert "second won" in kept["failure"]
    assert read_recipe(failure.file.read_text()) == failure.shrunk
    for again in (
        partial(replay, racy, failure.file),
        partial(explore, racy, [failure.recipe.seed], conditions=Conditions(), **NOWHERE),
    ):
        with pytest.raises(SimulationFailure, match="second won"):
            again()


def test_nothing_is_kept_where_nothing_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert failing(racy).file is None
    assert list(tmp_path.iterdir()) == []


def test_the_page_of_a_failure_is_written_where_it_is_wanted(tmp_path: Path):
    page = tmp_path / "page.html"
    failing(racy, trace_page=page)
    assert "second won" in page.read_text(encoding="utf-8")


def test_commands_are_made_by_who_runs_the_scenario(tmp_path: Path):
    failure = failing(racy, failures=tmp_path, command=lambda seed, file: f"do {seed} {file and Path(file).name}")
    assert f"do {failure.recipe.seed} None" in str(failure)
    assert f"do None racy-{failure.recipe.seed}.json" in str(failure)


def test_a_failure_that_does_not_repeat_is_said_to_be_none_of_the_seeds(tmp_path: Path):
    runs = iter(range(100))

    async def fickle() -> None:
        await trio.lowlevel.checkpoint()
        assert next(runs) != 2, "the third time"

    failure = failing(fickle, failures=tmp_path)
    assert "it did NOT fail again" in str(failure)
    assert "the third time" in str(failure)
    assert failure.file is None
    assert list(tmp_path.iterdir()) == []


def test_a_failure_of_the_network_is_told_in_its_words():
    async def slow() -> None:
        async with serving(Server("slow")) as server, connect(server):
            assert trio.current_time() < 0.5, "it took long"

    failure = failing(slow, conditions=Conditions(latency=(0, 1)))
    assert "latency (0, 1)" in str(failure)
    assert any(name.startswith("client 1 #1") for name, _ in failure.shrunk.given or {})
    assert "client 1 #1" in str(failure)


def test_the_same_failure_is_the_same_but_for_numbers():
    assert same_failure("E: call 12 of session ab3f", "E: call 7 of session 9d")
    assert not same_failure("E: call 12 was lost", "E: call 12 was late")
    assert not same_failure(None, "E: call 12 was lost")


# What a campaign does


def test_a_report_counts_what_was_done():
    report = explore(fine, 20, conditions=Conditions(), **NOWHERE)
    assert (report.runs, report.cuts) == (20, 0)
    assert report.seconds == 20
    assert 1 < report.schedules <= 20
    assert report.steps > 20
    assert str(report).startswith("fine: 20 runs, ")


def test_seeds_are_a_number_or_which_and_each_gets_its_network():
    seen: list[Conditions] = []

    async def scenario() -> None:
        simulation = current()
        assert simulation is not None
        seen.append(simulation.network.conditions)

    explore(scenario, [3, 5], **NOWHERE)
    assert seen == [weather(3), weather(5)]
    seen.clear()
    explore(scenario, 2, conditions=lambda seed: Conditions(buffer=seed + 10), **NOWHERE)
    assert [conditions.buffer for conditions in seen] == [10, 11]
    assert weather(0) == Conditions()
    assert len({weather(seed) for seed in range(50)}) > 3


def test_garbage_is_collected_again_after_a_campaign():
    before = gc.get_freeze_count()
    assert gc.isenabled()
    explore(fine, 2, **NOWHERE)
    failing(racy)
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_run_cannot_hold_another():
    async def scenario() -> None:
        simulate(fine)

    outcome = simulate(scenario)
    assert isinstance(outcome.error, RuntimeError)
    assert current() is None


def test_ctrl_c_ends_a_campaign_and_is_no_failure():
    async def scenario() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explore(scenario, 3, **NOWHERE)
    assert gc.isenabled()
    assert current() is None


# Recipes


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(seed=7, conditions=Conditions(latency=(0.5, 1), bandwidth=100, resets=0.5, buffer=9)),
        Recipe(given={("order", 129): 2, ("client 1 #1 up", 0): 15}, cut=Cut(17, "stall", "client 1")),
    ],
)
def test_a_recipe_survives_being_kept(recipe: Recipe):
    assert read_recipe(recipe.as_json("E: it failed", "scenario")) == recipe


@pytest.mark.parametrize(
    "text",
    ["{}", '{"seed": 1}', "[]", "nonsense", '{"seed":0,"conditions":null,"cut":{"x":1},"deviations":null}'],
)
def test_what_is_no_recipe_is_refused(text: str):
    with pytest.raises(ValueError, match=r".+"):
        read_recipe(text)


def test_a_cut_says_what_it_does():
    assert str(Cut(3, "abort", "client 1")) == "client 1: abort after step 3"
    assert str(Cut(3, "cancel", "wait")) == "a call of wait is cancelled after step 3"


# What makes a run fail


def error_of(scenario: Any, **options: Any) -> BaseException:
    outcome: Outcome = simulate(scenario, **options)
    assert outcome.error is not None
    assert outcome.failure is not None
    return outcome.error


def test_an_error_is_the_outcome_without_the_groups_that_only_wrap_it():
    async def fail() -> None:
        async with trio.open_nursery(), trio.open_nursery():
            raise LookupError("deep\ndown")

    outcome = simulate(fail)
    assert isinstance(outcome.error, LookupError)
    assert outcome.failure == "LookupError: deep"


def test_a_scenario_that_does_not_end_hangs_and_what_waits_is_told():
    async def forever() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="wait for nothing")
            await trio.Event().wait()

    error = error_of(forever, patience=100)
    assert isinstance(error, HangError)
    assert "has not ended after 100 virtual seconds" in str(error)
    assert "wait for nothing" in str(error)
    assert "await trio.Event().wait()" in str(error)


def test_a_scenario_that_swallows_its_cancellation_is_stopped_as_it_stands():
    async def deaf() -> None:
        while True:
            try:
                await trio.sleep(1)
            except trio.Cancelled:
                continue

    error = error_of(deaf, patience=100)
    assert isinstance(error, HangError)
    assert "has not ended after 100 virtual seconds" in str(error)
    assert "did not end when it was cancelled" in str(error)
    assert simulate(fine).error is None, "the next run is as any other"


def test_what_looks_at_each_step_and_fails_is_a_failure_of_the_run():
    def prepare(simulation: Any) -> None:
        simulation.on_step(lambda step: 1 / 0)

    error = error_of(fine, prepare=prepare)
    assert isinstance(error, InvariantError)
    assert "what looks at each step failed: ZeroDivisionError" in str(error)


def test_the_page_of_any_run_can_be_written(tmp_path: Path):
    outcome = write_page(fine, Recipe(seed=3), tmp_path / "page.html", "a fine run")
    assert outcome.error is None
    assert "a fine run" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_scenario_that_goes_round_in_circles_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trio_mcp.testing.simulation.MOST_STEPS", 5000)

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    error = error_of(spin)
    assert isinstance(error, HangError)
    assert "goes round in circles" in str(error)


def test_a_task_that_is_left_fails_the_run():
    async def leave() -> None:
        simulation = current()
        assert simulation is not None
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left behind")

    error = error_of(leave)
    assert isinstance(error, InvariantError)
    assert error.violations == ["a task is left: left behind"]


@pytest.mark.filterwarnings("default")
def test_an_error_that_nobody_could_raise_fails_the_run():
    class Bad:
        def __del__(self) -> None:
            raise LookupError("in __del__")

    async def scenario() -> None:
        Bad()

    assert "LookupError('in __del__')" in str(error_of(scenario))


def test_what_the_server_logs_as_an_error_fails_the_run_unless_it_is_expected():
    server = Server("bad")

    @server.tool
    async def bad() -> str:
        raise LookupError("inside")

    async def scenario() -> None:
        async with connect(server) as client:
            with pytest.raises(Exception, match="Internal error"):
                await client.call_tool("bad")

    error = error_of(scenario)
    assert isinstance(error, InvariantError)
    assert "the server logged an error: trio_mcp." in str(error)
    assert "LookupError: inside" in str(error)
    assert simulate(scenario, expect_errors=True).error is None
    explore(scenario, 2, expect_errors=True, **NOWHERE)


def test_only_errors_of_the_package_count():
    async def scenario() -> None:
        logging.getLogger("somebody").error("of somebody else")
        logging.getLogger("trio_mcp.worker").warning("no error")

    assert simulate(scenario).error is None


def test_an_object_of_a_server_that_stays_in_a_circle_fails_the_run():
    class Circle:
        def __init__(self, outlet: Outlet) -> None:
            self.me = self
            self.outlet = outlet

    async def scenario() -> None:
        async with connect(Server("leaky"), revision="2025-11-25") as client:
            simulation = current()
            assert simulation is not None
            await client.ping()
            [session] = simulation.servers[0].host.sessions.values()
            Circle(session.standing)

    failure = failing(scenario, 3, do_shrink=False)
    assert "objects of Outlet are still in memory" in str(failure)
    explore(scenario, 1, check_memory=False, **NOWHERE)
    gc.collect()


def test_a_scenario_that_fails_keeps_its_own_error_before_what_its_server_says():
    async def scenario() -> None:
        async with connect(Server("plain")) as client:
            await client.list_tools()
            raise LookupError("first of all")

    assert isinstance(error_of(scenario), LookupError)


def test_an_outcome_tells_how_long_and_how_many():
    outcome = simulate(fine, 5)
    assert outcome.seconds == 1
    assert outcome.seed == 5
    assert outcome.steps > outcome.batches > 0
    assert outcome.failure is None
    assert attrs.asdict(outcome)["trace"] is None
