"""`cut_everywhere` and `cancel_everywhere`: one scenario, cut once at every place where it could be.

Theory of operation. The scenario is run once as it is, and the task steps are counted at which the client is connected
(or a call of the tool runs). Then it is run once more for each of them and for each way to cut, and right after that
step the connection is closed, reset or frozen (or the call cancelled). A step ends at a checkpoint of some task, so
these are all the places where the outside can break in. After each cut the server must come to rest by itself, and
everything of `invariants` must hold.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from trio_mcp.testing.campaign import Campaign, Options, Report, scenario_name
from trio_mcp.testing.cuts import called, connected
from trio_mcp.testing.network import Conditions
from trio_mcp.testing.recipe import Cut, Kind, Recipe
from trio_mcp.testing.simulation import PATIENCE, Scenario, Simulation, simulate

#: Small buffers, so that a client that does not read is felt soon.
SMALL: Final = Conditions(buffer=1024)
CUTS: Final[tuple[Kind, ...]] = ("close", "abort", "stall")


def cut_everywhere(
    scenario: Scenario,
    *,
    client: str = "client 1",
    kinds: Sequence[Kind] = CUTS,
    seeds: Iterable[int] = (0,),
    most: int | None = None,
    conditions: Conditions = SMALL,
    title: str | None = None,
    expect_errors: bool = False,
    patience: float = PATIENCE,
    **options: Any,
) -> Report:
    """Run a scenario once for each step at which a client is connected, with its connections cut there.

    What the client sees of a cut, `ConnectionLostError`, may leave the scenario; nothing else may.

    Args:
        scenario: an async function without arguments.
        client: whose connections are cut; new ones that it opens after that are left alone.
        kinds: how, each in turn.
        seeds: whose orders of tasks are cut; 0 is first in, first out.
        most: cut at no more than so many places, spread over all; None: at each.
        options: of `campaign.Options`.

    Raises:
        SimulationFailure: something did not hold; it is told how to replay it.
        ValueError: that client is never connected.
    """
    return _everywhere(
        scenario,
        client,
        connected,
        kinds,
        seeds,
        most,
        title,
        Recipe(conditions=conditions, settling=True, expect_errors=expect_errors, patience=patience),
        options,
    )


def cancel_everywhere(
    scenario: Scenario,
    tool: str,
    *,
    seeds: Iterable[int] = (0,),
    most: int | None = None,
    conditions: Conditions = SMALL,
    title: str | None = None,
    expect_errors: bool = False,
    patience: float = PATIENCE,
    **options: Any,
) -> Report:
    """Run a scenario once for each step while a call of a tool runs, with the call cancelled there by its client.

    `RequestCancelledError` may leave the scenario. The rest is as with `cut_everywhere`.
    """
    return _everywhere(
        scenario,
        tool,
        called,
        ("cancel",),
        seeds,
        most,
        title,
        Recipe(conditions=conditions, settling=True, expect_errors=expect_errors, patience=patience),
        options,
    )


def _everywhere(
    scenario: Scenario,
    subject: str,
    place: Any,
    kinds: Sequence[Kind],
    seeds: Iterable[int],
    most: int | None,
    title: str | None,
    plain: Recipe,
    options: dict[str, Any],
) -> Report:
    campaign = Campaign(scenario, Options(title=title or scenario_name(scenario), **options))
    if campaign.replays():
        return campaign.report
    with campaign.running():
        for seed in seeds:
            recipe = attrs.evolve(plain, seed=seed)
            campaign.run(recipe)
            places = _spread(_places(scenario, recipe, subject, place), most)
            campaign.report.checkpoints += len(places)
            for kind in kinds:
                for step in places:
                    campaign.report.cuts += 1
                    campaign.run(attrs.evolve(recipe, cut=Cut(step, kind, subject)))
    return campaign.report


def _places(scenario: Scenario, recipe: Recipe, subject: str, place: Any) -> list[int]:
    """The steps after which a scenario can be cut."""
    found: list[int] = []

    def prepare(simulation: Simulation) -> None:
        simulation.on_step(lambda step: found.append(step) if place(simulation, subject) else None)

    simulate(
        scenario,
        recipe.seed,
        conditions=recipe.conditions,
        prepare=prepare,
        settling=True,
        patience=recipe.patience,
        expect_errors=True,
    )
    if not found:
        raise ValueError(f"there is nothing to cut: {subject!r} does not appear in the scenario")
    return found


def _spread(places: list[int], most: int | None) -> list[int]:
    """No more than `most` of them, the first and the last included."""
    if most is None or len(places) <= most:
        return places
    if most < 2:
        return places[:most]
    return [places[number * (len(places) - 1) // (most - 1)] for number in range(most)]
