"""What explorations and cuts have in common: many runs of one scenario, and what is told of the first that fails.

A failing run is repeated from its recipe to see that it fails again, shrunk, kept as a file that replays, and told: the
seed, the failure, one command, and in words where the run leaves the plain way. It refuses to choose recipes.
"""

import gc
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import attrs

from trio_mcp.testing import invariants
from trio_mcp.testing.cuts import apply_cut
from trio_mcp.testing.page import as_page
from trio_mcp.testing.recipe import Recipe, read_recipe
from trio_mcp.testing.server import follows_from_a_cut
from trio_mcp.testing.shrink import shrink
from trio_mcp.testing.simulation import Outcome, Scenario, simulate
from trio_mcp.testing.surroundings import surroundings
from trio_mcp.testing.telling import deviations_in_words, excerpt, network_in_words
from trio_mcp.testing.text import as_text
from trio_mcp.testing.trace import Trace

#: Runs that shrinking may cost.
SHRINKING: Final = 300


@attrs.frozen(kw_only=True)
class Options:
    """How a campaign runs its scenario.

    Attributes:
        title: of the scenario, in what is told of it.
        command, failures, trace_page: as in `Surroundings`.
        do_shrink: whether a failing run is shrunk.
        check_memory: whether the objects of servers are counted after each run.
    """

    title: str
    command: Callable[[int | None, str | None], str] | None = attrs.field(factory=lambda: surroundings().command)
    failures: Path | None = attrs.field(factory=lambda: surroundings().failures)
    trace_page: Path | None = attrs.field(factory=lambda: surroundings().trace_page)
    do_shrink: bool = True
    check_memory: bool = True


@attrs.define
class Report:
    """What a campaign did.

    Attributes:
        runs: how often the scenario was run.
        schedules: how many of the runs had an order of tasks of their own.
        cuts: how many of them were cut.
        checkpoints: places where they were.
        steps: task steps altogether.
        seconds: virtual; `wall` is what it cost.
    """

    title: str
    runs: int = 0
    cuts: int = 0
    checkpoints: int = 0
    steps: int = 0
    seconds: float = 0
    wall: float = 0
    _orders: set[int] = attrs.field(factory=set, repr=False)

    @property
    def schedules(self) -> int:
        """How many different orders of tasks there were."""
        return len(self._orders)

    def count(self, outcome: Outcome) -> None:
        """Add a run."""
        self.runs += 1
        self.steps += outcome.steps
        self.seconds += outcome.seconds
        self._orders.add(hash(tuple(sorted(item for item in outcome.deviations.items() if item[0][0] == "order"))))

    def __str__(self) -> str:
        cut = f", {self.cuts} of them cut at {self.checkpoints} places" if self.cuts else ""
        return (
            f"{self.title}: {self.runs} runs{cut}, {self.schedules} schedules, {self.steps} steps, "
            f"{self.seconds:.0f} virtual seconds in {self.wall:.1f} s"
        )


class SimulationFailure(AssertionError):
    """A run failed; `str()` tells all that is needed to look at it.

    Attributes:
        before: how many deviations it had as it was found.
        recipe: of the run as it was found; `shrunk` of the smallest that still fails.
        outcome: of the shrunk run, with its trace.
        runs: how many runs it took to find it, and `shrinking` how many to shrink it.
        file: where the shrunk run is kept.
    """

    def __init__(
        self,
        told: str,
        *,
        before: int,
        recipe: Recipe,
        shrunk: Recipe,
        outcome: Outcome,
        runs: int,
        shrinking: int,
        file: Path | None,
    ) -> None:
        super().__init__(told)
        self.before = before
        self.recipe = recipe
        self.shrunk = shrunk
        self.outcome = outcome
        self.runs = runs
        self.shrinking = shrinking
        self.file = file


class Campaign:
    """Runs recipes of one scenario until one fails."""

    def __init__(self, scenario: Scenario, options: Options) -> None:
        self.scenario = scenario
        self.options = options
        self.report = Report(options.title)
        self._replayed: Path | None = None

    @contextmanager
    def running(self) -> Iterator[Report]:
        """Count objects for the time of the block, and time it; what was done is told if nothing failed."""
        began = time.perf_counter()
        with _objects_counted() if self.options.check_memory else nullcontext():
            yield self.report
        self.report.wall = time.perf_counter() - began
        surroundings().done(str(self.report))

    def run(self, recipe: Recipe) -> Outcome:
        """Run a recipe.

        Raises:
            SimulationFailure: it fails.
        """
        outcome = self._run(recipe)
        self.report.count(outcome)
        if outcome.error is not None:
            self._fail(recipe, outcome)
        return outcome

    def _run(self, recipe: Recipe, trace: Trace | None = None) -> Outcome:
        options, cut = self.options, recipe.cut
        outcome = simulate(
            self.scenario,
            recipe.seed,
            given=recipe.given,
            conditions=recipe.conditions,
            prepare=(lambda simulation: None) if cut is None else (lambda simulation: apply_cut(simulation, cut)),
            patience=recipe.patience,
            settling=recipe.settling,
            trace=trace,
            expect_errors=recipe.expect_errors,
            excuse=(lambda error: False) if cut is None else follows_from_a_cut,  # that is what a cut does to a client
        )
        if outcome.error is None and options.check_memory:
            left = invariants.memory_back()
            if left:
                outcome.error = invariants.InvariantError(left)
            elif self.report.runs % 50 == 49:
                gc.collect()
        return outcome

    # What was kept

    def replays(self) -> bool:
        """Run what the surroundings want replayed, if it is of this scenario; whether anything is to be replayed.

        Raises:
            SimulationFailure: it fails still.
        """
        file = surroundings().replay
        if file is None:
            return False
        text = file.read_text(encoding="utf-8")
        recipe = read_recipe(text)
        if json.loads(text).get("scenario", self.options.title) != self.options.title:
            surroundings().passed_over(self.options.title)
            return True
        self.replay(recipe, file)
        return True

    def replay(self, recipe: Recipe, file: Path) -> None:
        """Run a recipe that was kept, alone and as it is, and show it.

        Raises:
            SimulationFailure: it fails still.
        """
        self.options = attrs.evolve(self.options, failures=None, do_shrink=False)
        self._replayed = file
        with self.running():
            self.run(recipe)
        if self.options.trace_page is not None:
            trace = Trace(self.options.title, recipe.seed)
            self._run(recipe, trace)
            self._show(trace)

    def _show(self, trace: Trace) -> None:
        file = self.options.trace_page
        if file is not None:
            file.write_text(as_text(trace) if file.suffix == ".txt" else as_page(trace), encoding="utf-8")

    # A failure

    def _fail(self, recipe: Recipe, outcome: Outcome) -> None:
        found = outcome.failure
        assert found is not None, "it failed"
        whole = attrs.evolve(recipe, given=dict(outcome.deviations))
        smallest, spent = whole, 0
        again = self._run(whole)
        replays = same_failure(again.failure, found)
        if replays and self.options.do_shrink:
            given, spent = shrink(
                dict(whole.given or {}),
                lambda some: same_failure(self._run(attrs.evolve(whole, given=some)).failure, found),
                SHRINKING,
            )
            smallest = attrs.evolve(whole, given=given)
        trace = Trace(self.options.title, recipe.seed)
        last = self._run(smallest if replays else recipe, trace)
        file = self._replayed or (self._keep(smallest, found) if replays else None)
        trace.command = self._command(None if replays and file else recipe.seed, None if file is None else str(file))
        self._show(trace)
        raise SimulationFailure(
            self._told(
                recipe, smallest, found, trace, before=len(outcome.deviations), spent=spent, file=file, replays=replays
            ),
            before=len(outcome.deviations),
            recipe=recipe,
            shrunk=smallest,
            outcome=last,
            runs=self.report.runs,
            shrinking=spent,
            file=file,
        ) from outcome.error

    def _command(self, seed: int | None, file: str | None) -> str:
        if self.options.command is not None:
            return self.options.command(seed, file)
        return f"explore(…, seeds=[{seed}])" if file is None else f"replay(…, {file!r})"

    def _keep(self, recipe: Recipe, found: str) -> Path | None:
        folder = self.options.failures
        if folder is None:
            return None
        test = surroundings().test if folder == surroundings().failures else ""
        name = re.sub(r"[^\w.-]+", "-", test or self.options.title).strip("-")
        file = folder / f"{name}-{recipe.seed}.json"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(recipe.as_json(found, self.options.title), encoding="utf-8")
        return Path(os.path.relpath(file)) if file.is_absolute() else file

    def _told(
        self,
        recipe: Recipe,
        smallest: Recipe,
        found: str,
        trace: Trace,
        *,
        before: int,
        spent: int,
        file: Path | None,
        replays: bool,
    ) -> str:
        lines = [f"{self.options.title} failed in run {self.report.runs}, with seed {recipe.seed}", f"  {found}"]
        if recipe.conditions is not None and (network := network_in_words(recipe.conditions)):
            lines.append(f"  on a network with {network}")
        if recipe.cut is not None:
            lines.append(f"  cut: {recipe.cut}")
        elif self._replayed is None:
            lines.append(f"replay it: {self._command(recipe.seed, None)}")
        if not replays:
            lines.append("it did NOT fail again: something in it comes from neither the seed nor the virtual clock")
        elif smallest.given is not None:
            if before and spent:
                lines.append(f"shrunk from {before} deviations to {len(smallest.given)} in {spent} runs:")
            order = [event["text"] for event in trace.events if event["kind"] == "deviation"]
            lines += [f"  {line}" for line in deviations_in_words(smallest.given, smallest.conditions, order)]
        if file is not None:
            lines.append(f"kept, and replayed by: {self._command(None, str(file))}")
        return "\n".join([*lines, "", excerpt(trace), ""])


@contextmanager
def _objects_counted() -> Iterator[None]:
    """Let only what is made from here on be looked at, and collect nothing by the way."""
    gc.collect()
    gc.freeze()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        gc.unfreeze()


def scenario_name(scenario: Any) -> str:
    """What a scenario is called."""
    while hasattr(scenario, "func"):
        scenario = scenario.func
    return str(getattr(scenario, "__name__", "scenario"))


def same_failure(one: str | None, other: str) -> bool:
    """Whether two failures are the same but for numbers and ids in them."""
    return one is not None and _kind(one) == _kind(other)


def _kind(failure: str) -> str:
    return re.sub(r"[A-Za-z0-9_-]*\d[A-Za-z0-9_-]*", "#", failure)
