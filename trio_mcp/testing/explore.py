"""`explore`: one scenario under many orders of tasks and many networks, each from a seed."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from trio_mcp.testing.campaign import Campaign, Options, Report, scenario_name
from trio_mcp.testing.chance import Chance
from trio_mcp.testing.network import Conditions
from trio_mcp.testing.page import as_page
from trio_mcp.testing.recipe import Recipe, read_recipe
from trio_mcp.testing.simulation import PATIENCE, Outcome, Scenario
from trio_mcp.testing.trace import Trace

ConditionsOf = Conditions | Callable[[int], Conditions]

#: What networks of an exploration are like that says nothing of them: none loses anything, so no scenario may fail.
_WEATHER: Final = (
    Conditions(),
    Conditions(latency=(0, 0.001)),
    Conditions(latency=(0.005, 0.2), fragmentation=0.3),
    Conditions(latency=(0.01, 0.05), bandwidth=20_000, fragmentation=0.1),
    Conditions(buffer=2048, fragmentation=0.5),
)


def weather(seed: int) -> Conditions:
    """The conditions that `explore` gives a seed of itself; seed 0 has a perfect network."""
    return _WEATHER[Chance(seed).generator("weather").randrange(len(_WEATHER))] if seed else _WEATHER[0]


def explore(
    scenario: Scenario,
    seeds: int | Iterable[int] = 100,
    *,
    conditions: ConditionsOf = weather,
    title: str | None = None,
    settling: bool = False,
    expect_errors: bool = False,
    patience: float = PATIENCE,
    **options: Any,
) -> Report:
    """Run a scenario once for each seed, until one fails.

    Args:
        scenario: an async function without arguments; each run begins with a new clock, network and order. What it
            shares with other runs (a server that is a module's) must come back to its start by itself.
        seeds: how many, from 0 on, or which. Seed 0 is the plain order on a perfect network.
        conditions: of the network; or a function that gives them for a seed.
        title: what the scenario is called; None: by its name.
        settling: servers must come to rest by themselves before they are shut down.
        expect_errors: what the server logs as an error is no failure.
        patience: virtual seconds after which a run hangs.
        options: of `campaign.Options`.

    Raises:
        SimulationFailure: a run failed; it is told how to replay it.
    """
    campaign = Campaign(scenario, Options(title=title or scenario_name(scenario), **options))
    recipe = Recipe(settling=settling, expect_errors=expect_errors, patience=patience)
    if campaign.replays():
        return campaign.report
    with campaign.running():
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            given = conditions if isinstance(conditions, Conditions) else conditions(seed)
            campaign.run(attrs.evolve(recipe, seed=seed, conditions=given))
    return campaign.report


def replay(scenario: Scenario, file: str | Path, *, title: str | None = None, **options: Any) -> Report:
    """Run a scenario once more as a failing run that was kept.

    Raises:
        SimulationFailure: it fails still.
        ValueError: the file is none of a run.
    """
    recipe = read_recipe(Path(file).read_text(encoding="utf-8"))
    campaign = Campaign(scenario, Options(title=title or scenario_name(scenario), **options))
    campaign.replay(recipe, Path(file))
    return campaign.report


def trace_of(scenario: Scenario, recipe: Recipe, title: str | None = None) -> tuple[Trace, Outcome]:
    """The trace of one run, whatever becomes of it."""
    name = title or scenario_name(scenario)
    trace = Trace(name, recipe.seed)
    campaign = Campaign(scenario, Options(title=name, check_memory=False))
    return trace, campaign._run(recipe, trace)


def write_page(scenario: Scenario, recipe: Recipe, file: str | Path, title: str | None = None) -> Outcome:
    """Run a scenario once and write the page of its trace."""
    trace, outcome = trace_of(scenario, recipe, title)
    Path(file).write_text(as_page(trace), encoding="utf-8")
    return attrs.evolve(outcome, trace=trace)
