"""`Bug`: one faulty server of the gallery, how it is hunted, and the same server with the mistake mended."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from trio_mcp.testing import (
    Recipe,
    Report,
    SimulationFailure,
    cancel_everywhere,
    cut_everywhere,
    explore,
    replay,
    trace_of,
)

#: Runs within which every bug must be found.
RUNS: Final = 200
Way = Literal["explore", "cut_everywhere", "cancel_everywhere"]
Run = Callable[[bool], Awaitable[None]]
"""A scenario; the argument says whether the server has its mistake."""


class NotFoundError(AssertionError):
    """A bug was not found within `RUNS`."""


@attrs.frozen(kw_only=True)
class Bug:
    """One bug.

    Attributes:
        name: what it is called.
        sentence: what is wrong, in one line.
        way: the function of the kit that hunts it.
        run: the scenario, with the faulty server or the mended one.
        says: what a failure must say to name the right thing.
        begins: what the trace says where it becomes interesting, and `ends` where it is no more.
        ordered: only an order of tasks, or a network, that is not the plain one shows it.
        patience: virtual seconds after which a run hangs.
        options: of the function that hunts it.
    """

    name: str
    sentence: str
    way: Way
    run: Run
    says: str
    begins: str
    ends: str
    ordered: bool = False
    patience: float = 120
    options: dict[str, Any] = attrs.field(factory=dict)

    async def scenario(self) -> None:
        """The scenario, with the faulty server."""
        await self.run(True)

    async def mended(self) -> None:
        """The same scenario, with the mistake mended."""
        await self.run(False)

    def find(self, *, failures: Path | None = None, **options: Any) -> SimulationFailure:
        """Hunt it.

        Args:
            failures: the folder where the failing run is kept.
            options: of `trio_mcp.testing.campaign.Options`.

        Raises:
            NotFoundError: it was not found, or not within `RUNS`, or something else was.
        """
        try:
            report = self._hunt(self.scenario, failures=failures, **options)
        except SimulationFailure as failure:
            if failure.runs > RUNS:
                raise NotFoundError(f"{self.name}: found only in run {failure.runs}") from failure
            if self.says not in (failure.outcome.failure or ""):
                raise NotFoundError(f"{self.name}: found was something else: {failure.outcome.failure}") from failure
            return failure
        raise NotFoundError(f"{self.name} was not found: {report}")

    def fails_with(self, recipe: Recipe) -> bool:
        """Whether one run shows this bug."""
        return self.says in (trace_of(self.scenario, recipe, self.name)[1].failure or "")

    def prove(self, **options: Any) -> Report:
        """Hunt it in the mended server.

        Raises:
            SimulationFailure: there is a bug still, or a false alarm.
        """
        return self._hunt(self.mended, failures=None, **options)

    def replay(self, file: Path | str) -> Report:
        """Run it as the run that was kept.

        Raises:
            SimulationFailure: it fails still.
        """
        return replay(self.scenario, file, title=self.name)

    def _hunt(self, scenario: Callable[[], Awaitable[None]], **options: Any) -> Report:
        ways: dict[Way, Callable[..., Report]] = {
            "explore": partial(explore, seeds=RUNS),
            "cut_everywhere": cut_everywhere,
            "cancel_everywhere": cancel_everywhere,
        }
        return ways[self.way](scenario, title=self.name, patience=self.patience, **self.options, **options)
